/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/he/ntt.h — the negacyclic number-theoretic transform and sums of products, as rows of kernels. */
#ifndef OBSCURA_CRYPTO_HE_NTT_H
#define OBSCURA_CRYPTO_HE_NTT_H

#include "crypto/cpu.h"
#include "crypto/he/params.h"

/* Polynomials mod (X^n + 1, q) as n words. Transformed, word i is the value at ψ^(2 bitrev(i) + 1): products
 * are word by word. All pointers are aligned to 64, n is a multiple of 32 (plain C: of 2). No branch or index
 * depends on a word.
 *
 * forward, inverse: in place, [0, q) → [0, q). dot: out[i] = Σ_j a[j][i] b[j][i] R^-1 mod q for `terms` pairs
 * of vectors of words in [0, q): one factor carries R (he_mul's convention). / */
struct he_row {
	enum cpu_tier tier;
	void (*forward)(const struct he_limb *l, uint32_t *x, size_t n);
	void (*inverse)(const struct he_limb *l, uint32_t *x, size_t n);
	void (*dot)(const struct he_limb *l, uint32_t *out, const uint32_t *const *a,
		    const uint32_t *const *b, size_t terms, size_t n);
};
extern const struct he_row he_row_plain;
#if defined(__x86_64__)
extern const struct he_row he_row_avx2, he_row_avx512;
#endif

/* The row in force: the best of cpu_tier() that reproduced the fixed vectors on this processor. */
const struct he_row *he_row(void);
/* 1: the row reproduces the fixed vectors. */
int he_row_is_right(const struct he_row *row);

/* Products that a 63-bit accumulator takes between two folds, which leave less than 2^58: 2^58 + 1984 · 2^52
 * < 2^63. */
#define HE_DOT_FOLD 1984

#endif
