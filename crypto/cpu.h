/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/cpu.h — which tier of kernels is in force. */
#ifndef OBSCURA_CRYPTO_CPU_H
#define OBSCURA_CRYPTO_CPU_H

#include "conf/err.h"

/* Tiers as named sets of instruction-set extensions, in order. REF is plain C, the oracle. */
enum cpu_tier { CPU_REF, CPU_AVX2, CPU_AVX512, CPU_TIERS };

/* The best tier that this processor (and operating system) can run. */
enum cpu_tier cpu_best(void);
/* The tier in force: cpu_best() until cpu_select() says otherwise. */
enum cpu_tier cpu_tier(void);
/* "auto", "ref", "avx2" or "avx512"; an error names what the processor lacks. */
int cpu_select(const char *name, struct err *e) MUST_USE;
const char *cpu_name(enum cpu_tier tier);

/* The same kernels for several tiers, best first; the last is plain C. */
struct cpu_rows {
	const struct cpu_row {
		enum cpu_tier tier;
		const void *kernels;
	} * rows;
	unsigned n;
	int (*is_right)(const void *kernels); /* whether they do on this processor what plain C does */
	unsigned adopted;		      /* 0 at first; bit i: row i is right */
};
/* The best kernels of the tier in force that are right; checked when first asked for. */
const void *cpu_kernels(struct cpu_rows *rows);

#endif
