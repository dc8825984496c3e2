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
		if (!(w->poly[i] = secret_take(w->arena, w->params->primes * n * 4)) ||
		    !(w->small[i] = secret_take(w->arena, n)))
			return -1;
	for (int i = 0; i < 2; i++)
		if (!(w->words[i] = secret_take(w->arena, n * 8)))
			return -1;
	w->a = secret_take(w->arena, pointers);
	w->b = secret_take(w->arena, pointers);
	return w->a && w->b ? 0 : -1;
}

static struct he_work *work_new(const struct he_params *p, size_t terms)
{
	struct he_work *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->params = p;
	w->terms = terms;
	w->arena = terms < SIZE_MAX / 64
		       ? secret_new(p->n * (p->primes * 12 + 3 + 16) + 2 * (terms * 8 + 128), NULL)
		       : NULL;
	if (w->arena && !take(w) && (!p->small || (w->small_ring = work_new(p->small, terms))))
		return w;
	he_work_free(w);
	return NULL;
}

struct he_work *he_work_new(enum he_set set, size_t terms, struct err *e)
{
	struct he_work *w = work_new(he_params(set), terms);

	if (!w)
		out_of_memory(e);
	return w;
}

void he_work_free(struct he_work *w)
{
	if (!w)
		return;
	he_work_free(w->small_ring);
	secret_free(w->arena);
	free(w);
}

struct he_work *he_work_of(struct he_work *w, int small)
{
	return small ? w->small_ring : w;
}

void he_work_laps(struct he_work *w, struct he_laps *laps)
{
	for (; w; w = w->small_ring)
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

/* N residues of each prime, to HE_WORD_BITS each. words: N, for the way between. */
static void he_pack(const struct he_params *p, unsigned limbs, const uint32_t *x, uint64_t *words,
		    uint8_t *out)
{
	for (unsigned l = 0; l < limbs; l++, x += p->n, out += ring_packed(p->n, HE_WORD_BITS)) {
		for (size_t i = 0; i < p->n; i++)
			words[i] = x[i];
		ring_pack(out, words, p->n, HE_WORD_BITS);
	}
}

/* And back: those of a stranger. */
static int he_unpack(const struct he_params *p, unsigned limbs, const uint8_t *in, uint32_t *x, struct err *e)
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
				return err_set(
				    e, ERR_PEER,
				    "a ciphertext or key has a word that is not below its prime %u; "
				    "the peer's build or link is broken",
				    p->limb[l].q);
		}
	return 0;
}

/* ---- keys ---- */

static struct he_key *key_new(const struct he_params *p, struct he_rng *rng)
{
	struct he_key *key = calloc(1, sizeof(*key));

	if (!key)
		return NULL;
	key->params = p;
	key->arena = secret_new(p->n * (1 + 4 * p->primes) + 128, NULL);
	if (!key->arena || !(key->s = secret_take(key->arena, p->n)) ||
	    !(key->ntt = secret_take(key->arena, p->primes * p->n * 4))) {
		he_key_free(key);
		return NULL;
	}
	he_ternary(rng, key->s, p->n);
	for (unsigned i = 0; i < p->primes; i++) {
		he_small(&p->limb[i], key->s, p->n, p->limb[i].square, key->ntt + i * p->n);
		he_row()->forward(&p->limb[i], key->ntt + i * p->n, p->n);
	}
	if (!p->small || (key->small = key_new(p->small, rng)))
		return key;
	he_key_free(key);
	return NULL;
}

struct he_key *he_key_new(enum he_set set, struct he_rng *rng, struct err *e)
{
	struct he_key *key = key_new(he_params(set), rng);

	if (!key)
		out_of_memory(e);
	return key;
}

void he_key_free(struct he_key *key)
{
	if (!key)
		return;
	he_key_free(key->small);
	secret_free(key->arena);
	free(key);
}

const struct he_key *he_key_of(const struct he_key *key, int small)
{
	return small ? key->small : key;
}

static size_t bytes_of(const struct he_params *p)
{
	return PRG_SEED_BYTES + p->limbs * ring_packed(p->n, HE_WORD_BITS);
}

size_t he_public_bytes(enum he_set set)
{
	const struct he_params *p = he_params(set);

	return bytes_of(p) + (p->small ? bytes_of(p->small) : 0);
}

/* b = e - a s, transformed. work->poly[1]: a, of all primes. */
static void zero(const struct he_key *key, struct he_rng *rng, struct he_work *work, uint32_t *b)
{
	const struct he_params *p = key->params;
	uint32_t *product = work->poly[2];

	he_noise(rng, work->small[0], p->n);
	for (unsigned i = 0; i < p->limbs; i++, b += p->n) {
		const struct he_limb *l = &p->limb[i];
		const uint32_t *a = work->poly[1] + i * p->n, *s = key->ntt + i * p->n;

		memset(b, 0, p->n * 4);
		he_add_small(l, work->small[0], p->n, b);
		he_row()->forward(l, b, p->n);
		he_row()->dot(l, product, &a, &s, 1, p->n);
		for (size_t j = 0; j < p->n; j++)
			b[j] = he_sub(b[j], product[j], l);
	}
	secret_wipe(work->small[0], p->n);
}

int he_key_public(const struct he_key *key, struct he_rng *rng, struct he_work *work, uint8_t *out,
		  struct err *e)
{
	for (; key; out += bytes_of(key->params), key = key->small, work = work->small_ring) {
		const struct he_params *p = key->params;
		struct prg *half;

		prg_seed(out);
		if (!(half = prg_new(out, PRG_HE_HALF, e)))
			return -1;
		he_uniform(half, 0, p, p->limbs, work->poly[1]);
		prg_free(half);
		zero(key, rng, work, work->poly[0]);
		he_pack(p, p->limbs, work->poly[0], work->words[0], out + PRG_SEED_BYTES);
	}
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

static int public_read(struct he_public **out, const struct he_params *p, const uint8_t *in, struct err *e)
{
	struct he_public *pk = public_memory(p);
	struct prg *half = NULL;

	if (!pk)
		return out_of_memory(e);
	if (he_unpack(p, p->limbs, in + PRG_SEED_BYTES, pk->b, e) || !(half = prg_new(in, PRG_HE_HALF, e)) ||
	    (p->small && public_read(&pk->small, p->small, in + bytes_of(p), e))) {
		prg_free(half);
		he_public_free(pk);
		return -1;
	}
	he_uniform(half, 0, p, p->limbs, pk->a);
	prg_free(half);
	*out = pk;
	return 0;
}

int he_public_new(struct he_public **out, enum he_set set, const uint8_t *in, size_t bytes, struct err *e)
{
	*out = NULL;
	if (bytes != he_public_bytes(set))
		return err_set(
		    e, ERR_PEER,
		    "a public key of %zu bytes, not %zu as set %s has it; the peer's build is another", bytes,
		    he_public_bytes(set), he_params(set)->name);
	return public_read(out, he_params(set), in, e);
}

void he_public_free(struct he_public *pk)
{
	if (!pk)
		return;
	he_public_free(pk->small);
	free(pk->b);
	free(pk->a);
	free(pk);
}

const struct he_public *he_public_of(const struct he_public *pk, int small)
{
	return small ? pk->small : pk;
}
