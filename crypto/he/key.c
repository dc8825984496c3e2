/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/he/parts.h"

#include <stdlib.h>
#include <string.h>

#include "crypto/ring.h"

/* ---- memory ---- */

static int out_of_memory(struct err *e)
{
	return err_set(e, ERR_ENV, "out of memory for homomorphic encryption");
}

static int take(struct he_work *w)
{
	size_t n = w->params->n, pointers = (w->terms + 1) * sizeof(void *);

	for (int i = 0; i < 3; i++)
		if (!(w->poly[i] = secret_take(w->arena, w->params->limbs * n * 4)) || !(w->small[i] = secret_take(w->arena, n)))
			return -1;
	for (int i = 0; i < 2; i++)
		if (!(w->words[i] = secret_take(w->arena, n * 8)))
			return -1;
	w->a = secret_take(w->arena, pointers);
	w->b = secret_take(w->arena, pointers);
	return w->a && w->b ? 0 : -1;
}

struct he_work *he_work_new(enum he_set set, size_t terms, struct err *e)
{
	const struct he_params *p = he_params(set);
	struct he_work *w = calloc(1, sizeof(*w));

	if (w) {
		w->params = p;
		w->terms = terms;
		w->arena = terms < SIZE_MAX / 64 ? secret_new(p->n * (p->limbs * 12 + 3 + 16) + 2 * (terms * 8 + 128), NULL) : NULL;
	}
	if (w && w->arena && !take(w))
		return w;
	he_work_free(w);
	out_of_memory(e);
	return NULL;
}

void he_work_free(struct he_work *w)
{
	if (!w)
		return;
	secret_free(w->arena);
	free(w);
}

void he_work_laps(struct he_work *w, struct he_laps *laps)
{
	w->laps = laps;
}

/* ---- small integers and packing ---- */

void he_small(const struct he_limb *l, const int8_t *small, size_t n, uint32_t factor, uint32_t *out)
{
	for (size_t i = 0; i < n; i++)
		out[i] = he_mul(he_positive(small[i], l), factor, l);
}

void he_add_small(const struct he_limb *l, const int8_t *small, size_t n, uint32_t *x)
{
	for (size_t i = 0; i < n; i++)
		x[i] = he_add(x[i], he_positive(small[i], l), l);
}

void he_pack(const struct he_params *p, unsigned limbs, const uint32_t *x, uint64_t *words, uint8_t *out)
{
	for (unsigned l = 0; l < limbs; l++, x += p->n, out += ring_packed(p->n, HE_WORD_BITS)) {
		for (size_t i = 0; i < p->n; i++)
			words[i] = x[i];
		ring_pack(out, words, p->n, HE_WORD_BITS);
	}
}

int he_unpack(const struct he_params *p, unsigned limbs, const uint8_t *in, uint32_t *x, struct err *e)
{
	uint64_t words[256];
	size_t chunk = sizeof(words) / sizeof(*words); /* 256 words are whole bytes */

	for (unsigned l = 0; l < limbs; l++)
		for (size_t i = 0; i < p->n; i += chunk, in += ring_packed(chunk, HE_WORD_BITS), x += chunk) {
			uint64_t wrong = 0;

			ring_unpack(words, in, chunk, HE_WORD_BITS);
			for (size_t j = 0; j < chunk; j++) {
				x[j] = (uint32_t)words[j];
				wrong |= words[j] >= p->limb[l].q;
			}
			if (wrong)
				return err_set(e, ERR_PEER,
					       "a ciphertext or key has a word that is not below its prime %u; "
					       "the peer's build or link is broken",
					       p->limb[l].q);
		}
	return 0;
}

/* ---- keys ---- */

struct he_key *he_key_new(enum he_set set, struct he_rng *rng, struct err *e)
{
	const struct he_params *p = he_params(set);
	struct he_key *key = calloc(1, sizeof(*key));

	if (key) {
		key->params = p;
		key->arena = secret_new(p->n * (1 + 4 * p->limbs) + 128, NULL);
	}
	if (!key || !key->arena || !(key->s = secret_take(key->arena, p->n)) ||
	    !(key->ntt = secret_take(key->arena, p->limbs * p->n * 4))) {
		he_key_free(key);
		out_of_memory(e);
		return NULL;
	}
	he_ternary(rng, key->s, p->n);
	for (unsigned i = 0; i < p->limbs; i++) {
		he_small(&p->limb[i], key->s, p->n, p->limb[i].square, key->ntt + i * p->n);
		he_row()->forward(&p->limb[i], key->ntt + i * p->n, p->n);
	}
	return key;
}

void he_key_free(struct he_key *key)
{
	if (!key)
		return;
	secret_free(key->arena);
	free(key);
}

size_t he_public_bytes(enum he_set set)
{
	return PRG_SEED_BYTES + he_cipher_bytes(he_params(set), he_params(set)->limbs);
}

int he_key_public(const struct he_key *key, struct he_rng *rng, struct he_work *work, uint8_t *out, struct err *e)
{
	const struct he_params *p = key->params;
	uint64_t *zero = work->words[0];
	struct prg *half;

	prg_seed(out);
	if (!(half = prg_new(out, PRG_HE_HALF, e)))
		return -1;
	memset(zero, 0, p->n * 8); /* -a s + e is an encryption of zero */
	he_encrypt(key, rng, half, 0, p->limbs, 1, zero, work, out + PRG_SEED_BYTES);
	prg_free(half);
	return 0;
}

static struct he_public *public_memory(const struct he_params *p)
{
	struct he_public *pk = calloc(1, sizeof(*pk));

	if (!pk)
		return NULL;
	pk->params = p;
	pk->b = aligned_alloc(64, p->limbs * p->n * 4);
	pk->a = aligned_alloc(64, p->limbs * p->n * 4);
	if (pk->a && pk->b)
		return pk;
	he_public_free(pk);
	return NULL;
}

int he_public_new(struct he_public **out, enum he_set set, const uint8_t *in, size_t bytes, struct err *e)
{
	const struct he_params *p = he_params(set);
	struct prg *half = NULL;
	struct he_public *pk;

	*out = NULL;
	if (bytes != he_public_bytes(set))
		return err_set(e, ERR_PEER, "a public key of %zu bytes, not %zu as set %s has it; the peer's build is another", bytes,
			       he_public_bytes(set), p->name);
	if (!(pk = public_memory(p)))
		return out_of_memory(e);
	if (he_unpack(p, p->limbs, in + PRG_SEED_BYTES, pk->b, e) || !(half = prg_new(in, PRG_HE_HALF, e))) {
		he_public_free(pk);
		return -1;
	}
	he_uniform(half, 0, p, p->limbs, pk->a);
	prg_free(half);
	*out = pk;
	return 0;
}

void he_public_free(struct he_public *pk)
{
	if (!pk)
		return;
	free(pk->b);
	free(pk->a);
	free(pk);
}
