/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/he/params.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

/* The greatest four primes below 2^26 that are 1 mod 8192; for the rings of S two that are 1 mod 4096. */
static struct he_params sets[HE_SETS + 1] = {
    {.name = "S",
     .small = &sets[HE_SETS],
     .log_n = 11,
     .limbs = 2,
     .primes = 2,
     .n = 2048,
     .limb = {{.q = 67104769}, {.q = 67084289}}},
    {.name = "L",
     .log_n = 12,
     .limbs = 4,
     .primes = 4,
     .n = 4096,
     .limb = {{.q = 67084289}, {.q = 67043329}, {.q = 66994177}, {.q = 66969601}}},
    {.name = "S",
     .log_n = 10,
     .limbs = 1,
     .primes = 2,
     .n = 1024,
     .limb = {{.q = 67104769}, {.q = 67084289}}},
};
static uint32_t tables[HE_SETS + 1][HE_LIMBS_MAX][4][HE_N_MAX] __attribute__((aligned(64)));
static pthread_once_t once = PTHREAD_ONCE_INIT;

uint32_t he_power(uint32_t x, uint64_t e, const struct he_limb *l)
{
	uint32_t y = l->one;

	for (; e; e >>= 1, x = he_mul(x, x, l))
		if (e & 1)
			y = he_mul(y, x, l);
	return y;
}

static void constants(struct he_limb *l)
{
	uint32_t inverse = l->q; /* right mod 2^3; each step doubles the bits */

	for (int i = 0; i < 4; i++)
		inverse *= 2 - l->q * inverse;
	l->inverse = inverse;
	l->barrett = UINT64_MAX / l->q; /* q does not divide 2^64 */
	l->rest = (uint32_t)(((-l->barrett * l->q) << 26) / l->q);
	l->one = (uint32_t)((UINT64_C(1) << 32) % l->q);
	l->square = (uint32_t)((uint64_t)l->one * l->one % l->q);
}

/* The least primitive 2N-th root of 1, times R: an element whose N-th power is -1, then the least of its odd
 * powers. */
static uint32_t least_root(const struct he_limb *l, size_t n)
{
	uint32_t x = 0, least = UINT32_MAX, best = 0, step;

	for (uint32_t g = 2; !x; g++) {
		uint32_t r = he_power(he_mul(g, l->square, l), (l->q - 1) / (2 * n), l);

		if (he_power(r, n, l) == l->q - l->one)
			x = r;
	}
	step = he_mul(x, x, l);
	for (size_t i = 0; i < n; i++, x = he_mul(x, step, l)) {
		uint32_t plain = he_mul(x, 1, l);

		if (plain < least) {
			least = plain;
			best = x;
		}
	}
	return best;
}

static size_t reversed(size_t i, unsigned bits)
{
	size_t r = 0;

	for (unsigned b = 0; b < bits; b++)
		r |= (i >> b & 1) << (bits - 1 - b);
	return r;
}

static void powers(struct he_limb *l, const struct he_params *p)
{
	uint32_t root = least_root(l, p->n), inverse = he_power(root, 2 * p->n - 1, l), x = l->one,
		 y = l->one;

	for (size_t i = 0; i < p->n; i++, x = he_mul(x, root, l), y = he_mul(y, inverse, l)) {
		size_t at = reversed(i, p->log_n);

		l->w[at] = x;
		l->iw[at] = y;
	}
	for (size_t i = 0; i < p->n; i++) {
		l->wq[i] = l->w[i] * l->inverse;
		l->iwq[i] = l->iw[i] * l->inverse;
	}
	l->last = he_power(he_mul((uint32_t)p->n, l->square, l), l->q - 2, l);
	l->last_w = he_mul(l->last, l->iw[1], l);
	l->last_q = l->last * l->inverse;
	l->last_wq = l->last_w * l->inverse;
}

static void make(void)
{
	for (int s = 0; s <= HE_SETS; s++)
		for (unsigned i = 0; i < sets[s].primes; i++) {
			struct he_limb *l = &sets[s].limb[i];

			l->w = tables[s][i][0];
			l->wq = tables[s][i][1];
			l->iw = tables[s][i][2];
			l->iwq = tables[s][i][3];
			constants(l);
			powers(l, &sets[s]);
		}
}

enum he_set he_set_named(const char *name)
{
	int s = 0;

	while (s < HE_SETS && strcmp(sets[s].name, name) != 0)
		s++;
	return s;
}

const struct he_params *he_params(enum he_set set)
{
	pthread_once(&once, make);
	return &sets[set];
}

uint32_t he_cofactor(const struct he_params *p, unsigned limbs, unsigned i)
{
	const struct he_limb *l = &p->limb[i];
	uint32_t x = l->one;

	for (unsigned j = 0; j < limbs; j++)
		if (j != i)
			x = he_mul(x, he_mul(he_mod(p->limb[j].q, l), l->square, l), l);
	return he_power(x, l->q - 2, l);
}

double he_modulus_bits(const struct he_params *p, unsigned limbs)
{
	double bits = 0;

	for (unsigned i = 0; i < limbs && i < p->limbs; i++)
		bits += log2(p->limb[i].q);
	return bits;
}
