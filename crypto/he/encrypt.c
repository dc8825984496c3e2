/* SPDX-License-Identifier: Apache-2.0 */
/* The data owner's side: encryption under the secret key, and what c1' s is after the switch to 2^to. */
#include "crypto/he/parts.h"

#include <string.h>

#include "crypto/ring.h"

size_t he_cipher_bytes(const struct he_params *p, unsigned up)
{
	return ring_packed(p->n, up);
}

/* c0 of prime i, coefficients; r: of he_remainders. */
static void half_of(const struct he_key *key, const struct he_work *work, unsigned i, unsigned k,
		    const uint64_t *r, uint32_t *x)
{
	const struct he_params *p = key->params;
	const struct he_limb *l = &p->limb[i];
	const uint32_t *a = work->poly[1] + i * p->n, *s = key->ntt + i * p->n;
	uint32_t *product = work->poly[2];

	he_residues(l, k, r, p->n, x);
	he_add_small(l, work->small[0], p->n, x);
	he_row()->dot(l, product, &a, &s, 1, p->n);
	he_lap(work->laps, HE_LAP_ENCRYPT);
	he_row()->inverse(l, product, p->n);
	he_lap(work->laps, HE_LAP_TRANSFORM);
	for (size_t j = 0; j < p->n; j++)
		x[j] = he_sub(x[j], product[j], l);
}

void he_encrypt(const struct he_key *key, struct he_rng *rng, struct prg *half, uint64_t index,
		unsigned limbs, unsigned k, unsigned up, const uint64_t *m, struct he_work *work,
		uint8_t *out)
{
	const struct he_params *p = key->params;
	uint64_t *sent = work->words[0], *r = work->words[1];

	he_uniform(half, index, p, limbs, work->poly[1]);
	he_noise(rng, work->small[0], p->n);
	he_remainders(p, limbs, k, m, r);
	memset(sent, 0, p->n * 8);
	for (unsigned i = 0; i < limbs; i++) {
		half_of(key, work, i, k, r, work->poly[0]);
		he_fractions(p, limbs, i, work->poly[0], sent);
	}
	he_rounded(sent, p->n, up);
	ring_pack(out, sent, p->n, up);
	secret_wipe(work->small[0], p->n);
	secret_wipe(r, p->n * 8);
	he_lap(work->laps, HE_LAP_ENCRYPT);
}

/* |c1' s| <= N 2^(to-1) must lie below a quarter of the product of the primes used. */
static unsigned primes_for(const struct he_params *p, unsigned to)
{
	unsigned limbs = 1;

	while (limbs < p->primes && to + p->log_n + 2 > limbs * HE_WORD_BITS)
		limbs++;
	return limbs;
}

unsigned he_open_max(const struct he_params *p)
{
	unsigned exact = p->primes * HE_WORD_BITS - p->log_n - 2, word = 64 - p->log_n;

	return exact < word ? exact : word;
}

/* Mixed radix: x = v0 + q0 (v1 + q1 (v2 + …)), mod 2^64; v[i] in place of x[i], prime after prime. */
static void compose(const struct he_params *p, unsigned limbs, uint32_t *x, uint64_t *out)
{
	memset(out, 0, p->n * 8);
	for (unsigned i = 0; i < limbs; i++) {
		const struct he_limb *l = &p->limb[i];

		for (unsigned j = 0; j < i; j++) {
			uint32_t inverse =
			    he_power(he_mul(he_mod(p->limb[j].q, l), l->square, l), l->q - 2, l);

			for (size_t n = 0; n < p->n; n++)
				x[i * p->n + n] = he_mul(
				    he_sub(x[i * p->n + n], he_mod(x[j * p->n + n], l), l), inverse, l);
		}
	}
	for (unsigned i = limbs; i-- > 0;)
		for (size_t n = 0; n < p->n; n++)
			out[n] = out[n] * p->limb[i].q + x[i * p->n + n];
}

void he_open(const struct he_key *key, unsigned to, const uint64_t *c1, struct he_work *work, uint64_t *out)
{
	const struct he_params *p = key->params;
	unsigned limbs = primes_for(p, to);
	/* makes every coefficient positive; 0 mod 2^to */
	uint64_t offset = UINT64_C(1) << (to - 1 + p->log_n);
	uint32_t *x = work->poly[0], *y = work->poly[1];

	for (unsigned i = 0; i < limbs; i++) {
		const struct he_limb *l = &p->limb[i];
		const uint32_t *a = x, *s = key->ntt + i * p->n;
		uint32_t shift = he_mod(offset, l);

		for (size_t n = 0; n < p->n; n++)
			x[n] = he_mod_signed(ring_signed(c1[n], to), l);
		he_lap(work->laps, HE_LAP_DECRYPT);
		he_row()->forward(l, x, p->n);
		he_lap(work->laps, HE_LAP_TRANSFORM);
		he_row()->dot(l, y + i * p->n, &a, &s, 1, p->n);
		he_lap(work->laps, HE_LAP_DECRYPT);
		he_row()->inverse(l, y + i * p->n, p->n);
		he_lap(work->laps, HE_LAP_TRANSFORM);
		for (size_t n = 0; n < p->n; n++)
			y[i * p->n + n] = he_add(y[i * p->n + n], shift, l);
	}
	compose(p, limbs, y, out);
	for (size_t n = 0; n < p->n; n++)
		out[n] &= ring_mask(to);
	he_lap(work->laps, HE_LAP_DECRYPT);
}
