/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/he/sample.h"

#include <stdlib.h>

#include "crypto/secret.h"

#define CHUNK 4096 /* bytes that are drawn at once; a multiple of PRG_BLOCK */

struct he_rng {
	struct prg *prg;
	uint64_t offset;
	uint8_t bytes[HE_N_MAX * 8];
};

struct he_rng *he_rng_new(const uint8_t *seed, struct err *e)
{
	struct he_rng *r = calloc(1, sizeof(*r));
	uint8_t fresh[PRG_SEED_BYTES];

	if (!r) {
		err_set(e, ERR_ENV, "out of memory for randomness");
		return NULL;
	}
	if (!seed)
		prg_seed(fresh);
	r->prg = prg_new(seed ? seed : fresh, PRG_HE_OWN, e);
	secret_wipe(fresh, sizeof(fresh));
	if (r->prg)
		return r;
	free(r);
	return NULL;
}

void he_rng_free(struct he_rng *r)
{
	if (!r)
		return;
	prg_free(r->prg);
	secret_wipe(r->bytes, sizeof(r->bytes));
	free(r);
}

/* bytes: a multiple of PRG_BLOCK, at most those of the buffer */
static void draw(struct he_rng *r, size_t bytes)
{
	prg_read(r->prg, 0, r->offset, r->bytes, bytes);
	r->offset += bytes;
}

void he_ternary(struct he_rng *r, int8_t *out, size_t n)
{
	size_t done = 0;

	while (done < n) {
		draw(r, CHUNK);
		for (size_t i = 0; i < CHUNK && done < n; i++) {
			uint32_t b = r->bytes[i];

			if (b < 255) /* 255 = 3 · 85; (171 b) >> 9 = ⌊b / 3⌋ */
				out[done++] = (int8_t)(b - 3 * (171 * b >> 9)) - 1;
		}
	}
	secret_wipe(r->bytes, CHUNK);
}

/* Bits set in each half of x. */
static inline uint64_t counts(uint64_t x)
{
	x -= x >> 1 & UINT64_C(0x5555555555555555);
	x = (x & UINT64_C(0x3333333333333333)) + (x >> 2 & UINT64_C(0x3333333333333333));
	x = (x + (x >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
	x += x >> 8;
	return (x + (x >> 16)) & UINT64_C(0x3f0000003f);
}

void he_noise(struct he_rng *r, int8_t *out, size_t n)
{
	const uint64_t *words = (const uint64_t *)(const void *)r->bytes;

	draw(r, n * 8);
	for (size_t i = 0; i < n; i++) {
		uint64_t c = counts(words[i] & UINT64_C(0x001fffff001fffff));

		out[i] = (int8_t)((int)(c & 63) - (int)(c >> 32));
	}
	secret_wipe(r->bytes, n * 8);
}

void he_words(struct he_rng *r, uint64_t *out, size_t n)
{
	prg_read(r->prg, 0, r->offset, out, n * 8);
	r->offset += (n * 8 + PRG_BLOCK - 1) / PRG_BLOCK * PRG_BLOCK;
}

void he_uniform(struct prg *half, uint64_t index, const struct he_params *p, unsigned limbs, uint32_t *out)
{
	uint32_t words[CHUNK / 4];

	for (unsigned l = 0; l < limbs; l++, out += p->n) {
		uint64_t offset = (uint64_t)l << 32;

		for (size_t done = 0; done < p->n; offset += CHUNK) {
			prg_read(half, index, offset, words, CHUNK);
			for (size_t i = 0; i < CHUNK / 4 && done < p->n; i++) {
				uint32_t x = words[i] & ((1u << HE_WORD_BITS) - 1);

				out[done] = x;
				done += x < p->limb[l].q;
			}
		}
	}
}
