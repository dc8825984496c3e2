/* SPDX-License-Identifier: Apache-2.0 */
/* From residues mod Q to multiples of Q / 2^to and back: what modulus switching and encoding are made of. */
#include "crypto/he/parts.h"

#include "crypto/ring.h"

void he_fractions(const struct he_params *p, unsigned limbs, unsigned i, const uint32_t *x, uint64_t *out)
{
	const struct he_limb *l = &p->limb[i];
	uint32_t cofactor = he_cofactor(p, limbs, i);

	for (size_t n = 0; n < p->n; n++)
		out[n] += he_fraction(he_mul(x[n], cofactor, l), l);
}

void he_rounded(uint64_t *x, size_t n, unsigned to)
{
	uint64_t half = UINT64_C(1) << (63 - to);

	for (size_t i = 0; i < n; i++)
		x[i] = (x[i] + half) >> (64 - to);
}

void he_remainders(const struct he_params *p, unsigned limbs, unsigned k, const uint64_t *m, uint64_t *r)
{
	uint64_t q = 1; /* Q mod 2^64 */

	for (unsigned i = 0; i < limbs; i++)
		q *= p->limb[i].q;
	for (size_t i = 0; i < p->n; i++)
		r[i] = (uint64_t)ring_signed(q * m[i], k);
}

/* -2^-k R^2 mod q */
static uint32_t minus_shift(const struct he_limb *l, unsigned k)
{
	uint32_t x = l->square;

	for (; k; k--) /* of an even number the half, of an odd one that of x + q */
		x = (x + (x & 1) * l->q) >> 1;
	return l->q - x;
}

/* round(Q m / 2^k) = (Q m - r) / 2^k with r = Q m mod 2^k, and Q = 0 mod q: it is -r 2^-k mod q. */
void he_residues(const struct he_limb *l, unsigned k, const uint64_t *r, size_t n, uint32_t *out)
{
	uint32_t factor = he_mul(minus_shift(l, k), 1, l); /* -2^-k R */

	for (size_t i = 0; i < n; i++)
		out[i] = he_mul(he_mod_signed((int64_t)r[i], l), factor, l);
}
