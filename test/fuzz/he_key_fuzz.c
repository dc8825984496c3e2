/* SPDX-License-Identifier: Apache-2.0 */
/* Public keys from strangers: the first byte chooses the set. What is taken must be usable and below its
 * primes. */
#include <stdlib.h>
#include <string.h>

#include "crypto/he/parts.h"

static void use_ring(const struct he_params *p, const struct he_public *pk, struct he_rng *rng,
		     struct he_work *work)
{
	uint64_t *out = calloc(2 * p->n, 8);

	for (unsigned l = 0; l < p->limbs; l++)
		for (size_t i = 0; i < p->n; i++)
			if (pk->b[l * p->n + i] >= p->limb[l].q)
				abort();
	he_answer(pk, rng, p->limbs, NULL, NULL, NULL, 0, NULL, 32, 0, work, out, out + p->n);
	for (size_t i = 0; i < 2 * p->n; i++)
		if (out[i] >> 32)
			abort();
	free(out);
}

static void use(enum he_set set, const struct he_public *pk)
{
	struct err e = {0};
	struct he_rng *rng = he_rng_new((const uint8_t *)"thirty-two bytes of a fuzzer....", &e);
	struct he_work *work = he_work_new(set, 0, &e);

	for (int small = 0; small <= (he_params(set)->small != NULL); small++)
		use_ring(small ? he_params(set)->small : he_params(set), he_public_of(pk, small), rng,
			 he_work_of(work, small));
	he_work_free(work);
	he_rng_free(rng);
}

/* The rest of a key that the fuzzer did not care to write is repeated from what it did write. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum he_set set = size && data[0] & 1 ? HE_L : HE_S;
	size_t bytes = he_public_bytes(set);
	uint8_t *in = malloc(bytes);
	struct he_public *pk;
	struct err e = {0};

	if (!in || size < 2) {
		free(in);
		return 0;
	}
	for (size_t i = 0; i < bytes; i++)
		in[i] = data[1 + i % (size - 1)];
	if (he_public_new(&pk, set, in, data[0] & 2 ? size - 1 : bytes, &e) == 0) {
		use(set, pk);
		he_public_free(pk);
	} else if (e.code != ERR_PEER || !e.text[0] || pk)
		abort();
	free(in);
	return 0;
}
