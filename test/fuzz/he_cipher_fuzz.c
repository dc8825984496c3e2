/* SPDX-License-Identifier: Apache-2.0 */
/* Ciphertexts from strangers: the first two bytes choose ring, primes and bits. All bytes are a ciphertext;
 * it is below its primes, and sent again is the same. */
#include <stdlib.h>
#include <string.h>

#include "crypto/he/parts.h"
#include "crypto/ring.h"

static void again(const struct he_params *p, unsigned limbs, unsigned up, uint32_t *c0, uint8_t *out)
{
	uint64_t *words = calloc(p->n, 8);

	for (unsigned i = 0; i < limbs; i++) {
		he_row()->inverse(&p->limb[i], c0 + i * p->n, p->n);
		he_fractions(p, limbs, i, c0 + i * p->n, words);
	}
	he_rounded(words, p->n, up);
	ring_pack(out, words, p->n, up);
	free(words);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char seed[] = "thirty-two bytes of a fuzzer....";
	enum he_set set = size && data[0] & 1 ? HE_L : HE_S;
	int small = size && data[0] & 2 && set == HE_S;
	const struct he_params *p = small ? he_params(set)->small : he_params(set);
	unsigned limbs = size ? 1 + (data[0] >> 2) % p->limbs : 1,
		 up = size > 1 ? 1 + data[1] % HE_UP_MAX : 1;
	size_t bytes = he_cipher_bytes(p, up), poly = p->limbs * p->n * 4;
	uint8_t *in = malloc(bytes), *out = malloc(bytes);
	uint32_t *c0 = aligned_alloc(64, poly), *c1 = aligned_alloc(64, poly);
	struct err e = {0};
	struct prg *half = prg_new((const uint8_t *)seed, PRG_HE_HALF, &e);
	struct he_work *work = he_work_new(set, 0, &e);

	if (size > 2) {
		for (size_t i = 0; i < bytes; i++)
			in[i] = data[2 + i % (size - 2)];
		he_cipher_read(p, limbs, up, in, half, size, he_work_of(work, small), c0, c1);
		for (size_t i = 0; i < limbs * p->n; i++)
			if (c0[i] >= p->limb[i / p->n].q || c1[i] >= p->limb[i / p->n].q)
				abort();
		again(p, limbs, up, c0, out);
		if (up + 1 < he_modulus_bits(p, limbs) && memcmp(in, out, bytes) != 0)
			abort();
	}
	he_work_free(work);
	prg_free(half);
	free(c0);
	free(c1);
	free(in);
	free(out);
	return 0;
}
