/* SPDX-License-Identifier: Apache-2.0 */
/* The model owner's side: ciphertexts in, weights, sums, re-randomisation, the switch to 2^to. */
#include "crypto/he/parts.h"

#include <string.h>

#include "crypto/ring.h"

void he_cipher_read(const struct he_params *p, unsigned limbs, unsigned up, const uint8_t *in,
		    struct prg *half, uint64_t index, struct he_work *work, uint32_t *c0, uint32_t *c1)
{
	uint64_t *words = work->words[0];

	ring_unpack(words, in, p->n, up);
	he_remainders(p, limbs, up, words, words);
	for (unsigned i = 0; i < limbs; i++, c0 += p->n) {
		he_residues(&p->limb[i], up, words, p->n, c0);
		he_lap(work->laps, HE_LAP_REST);
		he_row()->forward(&p->limb[i], c0, p->n);
		he_lap(work->laps, HE_LAP_TRANSFORM);
	}
	he_uniform(half, index, p, limbs, c1);
	he_lap(work->laps, HE_LAP_REST);
}

void he_weights(const struct he_params *p, unsigned limbs, const int64_t *w, uint32_t *out)
{
	for (unsigned i = 0; i < limbs; i++, out += p->n) {
		const struct he_limb *l = &p->limb[i];

		for (size_t n = 0; n < p->n; n++)
			out[n] = he_mul(he_mod_signed(w[n], l), l->square, l);
		he_row()->forward(l, out, p->n);
	}
}

/* Σ c w + u key, then back to coefficients, plus noise: one half of prime i. work->b: the weights and u. */
static void half_of(const struct he_work *work, unsigned i, const uint32_t *const *c, const uint32_t *key,
		    size_t terms, const int8_t *noise, uint32_t *out)
{
	const struct he_params *p = work->params;
	const struct he_limb *l = &p->limb[i];

	for (size_t j = 0; j < terms; j++)
		work->a[j] = c[j] + i * p->n;
	work->a[terms] = key + i * p->n;
	he_row()->dot(l, out, work->a, work->b, terms + 1, p->n);
	he_lap(work->laps, HE_LAP_MULTIPLY);
	he_row()->inverse(l, out, p->n);
	he_lap(work->laps, HE_LAP_TRANSFORM);
	he_add_small(l, noise, p->n, out);
}

void he_answer(const struct he_public *pk, struct he_rng *rng, unsigned limbs, const uint32_t *const *c0,
	       const uint32_t *const *c1, const uint32_t *const *w, size_t terms, const uint64_t *add,
	       unsigned to, unsigned cut, struct he_work *work, uint64_t *out0, uint64_t *out1)
{
	const struct he_params *p = pk->params;
	uint32_t *u = work->poly[0], *x = work->poly[1];

	he_ternary(rng, work->small[0], p->n);
	he_noise(rng, work->small[1], p->n);
	he_noise(rng, work->small[2], p->n);
	memset(out1, 0, p->n * 8);
	if (add)
		memcpy(out0, add, p->n * 8);
	else
		memset(out0, 0, p->n * 8);
	for (unsigned i = 0; i < limbs; i++) {
		const struct he_limb *l = &p->limb[i];

		he_small(l, work->small[0], p->n, l->square, u);
		he_lap(work->laps, HE_LAP_MASK);
		he_row()->forward(l, u, p->n);
		he_lap(work->laps, HE_LAP_TRANSFORM);
		for (size_t j = 0; j < terms; j++)
			work->b[j] = w[j] + i * p->n;
		work->b[terms] = u;
		half_of(work, i, c0, pk->b, terms, work->small[1], x);
		he_fractions(p, limbs, i, x, out0);
		he_lap(work->laps, HE_LAP_MASK);
		half_of(work, i, c1, pk->a, terms, work->small[2], x);
		he_fractions(p, limbs, i, x, out1);
	}
	he_rounded(out0, p->n, to - cut);
	he_rounded(out1, p->n, to);
	for (int i = 0; i < 3; i++)
		secret_wipe(work->small[i], p->n);
	he_lap(work->laps, HE_LAP_MASK);
}
