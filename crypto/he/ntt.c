/* SPDX-License-Identifier: Apache-2.0 */
/* Which row of kernels is in force, and the fixed vectors that it must reproduce first. */
#include "crypto/he/ntt.h"

#include <string.h>

static const struct cpu_row rows[] = {
#if defined(__x86_64__)
    {CPU_AVX512, &he_row_avx512},
    {CPU_AVX2, &he_row_avx2},
#endif
    {CPU_REF, &he_row_plain},
};

static int is_right(const void *row)
{
	return he_row_is_right(row);
}

const struct he_row *he_row(void)
{
	static struct cpu_rows all = {rows, sizeof(rows) / sizeof(*rows), is_right, 0};

	return cpu_kernels(&all);
}

#define TERMS 3

/* Of the plain row, for words from the congruential sequence below: forward, inverse of that sequence, dot.
 */
static const uint64_t wanted[][3] = {
    {UINT64_C(0x5873a50d1ff74fa4), UINT64_C(0xde18d82c8be07ea6), UINT64_C(0x8983a53ea74e4012)},
    {UINT64_C(0x04c2a25770c83bfc), UINT64_C(0x295f939013cfc5f2), UINT64_C(0x055fbf99f49d2f41)},
    {UINT64_C(0xe4e03ebfaa1a3096), UINT64_C(0xa707b9470af3b21a), UINT64_C(0xe812e97bbf2def27)},
};

static uint64_t digest(const uint32_t *x, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum = sum * UINT64_C(0xd1342543de82ef95) + x[i] + 1;
	return sum;
}

static void draw(uint32_t *x, size_t n, const struct he_limb *l, uint64_t seed)
{
	for (size_t i = 0; i < n; i++) {
		seed = seed * UINT64_C(0xd1342543de82ef95) + 1;
		x[i] = he_mod(seed >> 20, l);
	}
	x[0] = l->q - 1;
	x[1] = 0;
}

static int reproduces(const struct he_row *row, const struct he_params *p, const uint64_t *want)
{
	static uint32_t words[TERMS + 1][HE_N_MAX]
	    __attribute__((aligned(64))); /* adopt runs once; tests run alone */
	const struct he_limb *l = &p->limb[p->primes - 1];
	const uint32_t *a[TERMS] = {words[0], words[1], words[2]}, *b[TERMS] = {words[2], words[0], words[0]};
	int right;

	for (int i = 0; i < TERMS; i++)
		draw(words[i], p->n, l, i + 1);
	row->forward(l, words[0], p->n);
	row->inverse(l, words[1], p->n);
	row->dot(l, words[TERMS], a, b, TERMS, p->n);
	right = digest(words[0], p->n) == want[0] && digest(words[1], p->n) == want[1];
	return right && digest(words[TERMS], p->n) == want[2];
}

int he_row_is_right(const struct he_row *row)
{
	return reproduces(row, he_params(HE_S), wanted[0]) && reproduces(row, he_params(HE_L), wanted[1]) &&
	       reproduces(row, he_params(HE_S)->small, wanted[2]);
}
