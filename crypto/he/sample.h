/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/he/sample.h — the distributions of RLWE: uniform words, ternary secrets, noise. */
#ifndef OBSCURA_CRYPTO_HE_SAMPLE_H
#define OBSCURA_CRYPTO_HE_SAMPLE_H

#include "crypto/he/params.h"
#include "crypto/prg.h"

#define HE_NOISE_MAX 21	       /* |e| <= 21: two sums of 21 bits */
#define HE_NOISE_VARIANCE 10.5 /* 42 bits of variance 1/4 */

/* One party's own randomness, never the same twice. Not for use by two threads at once. */
struct he_rng;

/* Returns new. seed: PRG_SEED_BYTES, or NULL for a fresh one from the system. NULL with e set when memory is
 * short. */
struct he_rng *he_rng_new(const uint8_t *seed, struct err *e);
void he_rng_free(struct he_rng *rng);

/* n values uniform in {-1, 0, 1}. What takes time is how many bytes are rejected, which says nothing of those
 * that are not. */
void he_ternary(struct he_rng *rng, int8_t *out, size_t n);
/* n values of the centred binomial distribution of variance 10.5, in constant time. n <= HE_N_MAX. */
void he_noise(struct he_rng *rng, int8_t *out, size_t n);

/* n uniform words of 64 bits. */
void he_words(struct he_rng *rng, uint64_t *out, size_t n);

/* A uniform polynomial for each of the first `limbs` primes, limb after limb: stream `index` of a public
 * seed. Both ends of a link make the same: words of 32 bits, little endian, lower 26 bits, those >= q
 * skipped; one run of words for each prime, which starts at offset limb · 2^32. */
void he_uniform(struct prg *half, uint64_t index, const struct he_params *p, unsigned limbs, uint32_t *out);

#endif
