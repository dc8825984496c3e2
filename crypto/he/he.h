/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/he/he.h — encryption of polynomials over words mod 2^k, and linear maps of what is encrypted.
 *
 * R_q = Z_q[X] / (X^N + 1), Q = the product of the first `limbs` primes of a set. The holder of the secret s
 * encrypts m (N words mod 2^k):
 * 	c1 uniform,  c0 = -c1 s + e + round(Q m / 2^k)
 * so that c0 + c1 s = Q m / 2^k + small. Rounding Q m / 2^k itself, not ⌊Q / 2^k⌋ m, keeps products with
 * weights exact mod 2^k. The other party multiplies by polynomials w, adds up, re-randomises (below) and
 * switches both halves to the modulus 2^k':
 * 	c0' + c1' s = 2^k' (Σ w m + add) / 2^k + error  (mod 2^k')
 * error: rms √(N/18 + (σ ‖w‖₂ 2^k' / Q)²), from rounding c1' to integers and from the noise e of variance σ²
 * = 10.5. Polynomials are stored prime after prime, N words each; those of ciphertexts and weights are
 * transformed (ntt.h). */
#ifndef OBSCURA_CRYPTO_HE_HE_H
#define OBSCURA_CRYPTO_HE_HE_H

#include "crypto/he/laps.h"
#include "crypto/he/ntt.h"
#include "crypto/he/sample.h"

#define HE_K_MAX 60 /* of the words that are encrypted */

/* ---- memory for one thread's work; wiped at the end */
struct he_work;
/* Returns new; terms: the longest sum that he_answer will be asked for. */
struct he_work *he_work_new(enum he_set set, size_t terms, struct err *e);
void he_work_free(struct he_work *work);
/* That of the greater or of the smaller ring, of which the caller makes sure that the set has it. Keys
 * likewise. */
struct he_work *he_work_of(struct he_work *work, int small);
/* laps: borrowed; NULL: off. */
void he_work_laps(struct he_work *work, struct he_laps *laps);

/* ---- keys */
struct he_key; /* the secret key, in guarded memory */
struct he_key *he_key_new(enum he_set set, struct he_rng *rng, struct err *e);
void he_key_free(struct he_key *key);
const struct he_key *he_key_of(const struct he_key *key, int small);

/* The public key (b, a) = (-a s + e, a) of a set: for each ring, the greater first, the 32-byte seed of a,
 * then b of all primes. */
size_t he_public_bytes(enum he_set set);
int he_key_public(const struct he_key *key, struct he_rng *rng, struct he_work *work, uint8_t *out,
		  struct err *e) MUST_USE;

struct he_public;
/* Returns in *pk new; bytes is hostile: ERR_PEER when its size or a word is wrong. a comes from the seed
 * through a hash, so that no sender can choose it: with a = 0 the re-randomisation below would hide
 * nothing. */
int he_public_new(struct he_public **pk, enum he_set set, const uint8_t *in, size_t bytes,
		  struct err *e) MUST_USE;
void he_public_free(struct he_public *pk);
const struct he_public *he_public_of(const struct he_public *pk, int small);

/* ---- the way there */
#define HE_UP_MAX 56 /* fractions of 2^64 are exact to 8 units */
/* Bytes of c0 as sent: round(2^up c0 / Q) mod 2^up, 1 <= up <= HE_UP_MAX. c1 is stream `index` of the public
 * seed behind `half`. */
size_t he_cipher_bytes(const struct he_params *p, unsigned up);
/* m: N words mod 2^k, 1 <= k <= HE_K_MAX; out: he_cipher_bytes. (seed of half, index) must never serve twice
 * under one key. */
void he_encrypt(const struct he_key *key, struct he_rng *rng, struct prg *half, uint64_t index,
		unsigned limbs, unsigned k, unsigned up, const uint64_t *m, struct he_work *work,
		uint8_t *out);
/* What was sent, times Q / 2^up and rounded: off by at most Q / 2^(up+1) + 1/2 a coefficient. Any bytes are a
 * ciphertext. c0, c1: limbs × N words, aligned to 64. */
void he_cipher_read(const struct he_params *p, unsigned limbs, unsigned up, const uint8_t *in,
		    struct prg *half, uint64_t index, struct he_work *work, uint32_t *c0, uint32_t *c1);

/* w: N coefficients as signed integers; out: limbs × N words, aligned to 64. */
void he_weights(const struct he_params *p, unsigned limbs, const int64_t *w, uint32_t *out);

/* ---- the way back */
/* c0[j], c1[j], w[j]: of ciphertexts and weights, `terms` of each. Adds a fresh encryption of zero under pk:
 * without it, the key's holder, who knows every c1[j], would read Σ c1[j] w[j]. add: N words, fractions of
 * 2^64 that are added to (Σ w m) / 2^k, or NULL. out1: N words mod 2^to, 1 <= to <= HE_K_MAX; out0: N words
 * mod 2^(to-cut), in units of 2^cut of out1's: the rounding of c1, which the secret multiplies, is the larger
 * one. 0 <= cut < to. */
void he_answer(const struct he_public *pk, struct he_rng *rng, unsigned limbs, const uint32_t *const *c0,
	       const uint32_t *const *c1, const uint32_t *const *w, size_t terms, const uint64_t *add,
	       unsigned to, unsigned cut, struct he_work *work, uint64_t *out0, uint64_t *out1);

/* The widest 2^to that he_open can take: the primes of the set must hold c1' s exactly. */
unsigned he_open_max(const struct he_params *p);
/* out = c1' s mod 2^to, N words; what was encrypted is 2^cut c0' + out. */
void he_open(const struct he_key *key, unsigned to, const uint64_t *c1, struct he_work *work, uint64_t *out);

#endif
