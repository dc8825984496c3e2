/* SPDX-License-Identifier: Apache-2.0 */
/* Ciphertexts from strangers: the first byte chooses set and primes. What is taken is below its primes, and packs to the same bytes. */
#include <stdlib.h>
#include <string.h>

#include "crypto/he/parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum he_set set = size && data[0] & 1 ? HE_L : HE_S;
	const struct he_params *p = he_params(set);
	unsigned limbs = size ? 1 + (data[0] >> 1) % p->limbs : 1;
	size_t bytes = he_cipher_bytes(p, limbs), poly = p->limbs * p->n * 4;
	uint8_t *in = malloc(bytes), *again = malloc(bytes);
	uint32_t *c0 = aligned_alloc(64, poly), *c1 = aligned_alloc(64, poly);
	uint64_t *words = malloc(p->n * 8);
	struct err e = {0};
	struct prg *half = prg_new((const uint8_t *)"thirty-two bytes of a fuzzer....", PRG_HE_HALF, &e);

	for (size_t i = 0; size > 1 && i < bytes; i++)
		in[i] = data[1 + i % (size - 1)];
	if (size > 1 && he_cipher_read(p, limbs, in, half, size, c0, c1, &e) == 0) {
		for (size_t i = 0; i < limbs * p->n; i++)
			if (c0[i] >= p->limb[i / p->n].q || c1[i] >= p->limb[i / p->n].q)
				abort();
		he_pack(p, limbs, c0, words, again);
		if (memcmp(in, again, bytes) != 0)
			abort();
	} else if (size > 1 && (e.code != ERR_PEER || !e.text[0]))
		abort();
	prg_free(half);
	free(words);
	free(c0);
	free(c1);
	free(in);
	free(again);
	return 0;
}
