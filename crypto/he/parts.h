/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/he/parts.h — what the files behind he.h share. */
#ifndef OBSCURA_CRYPTO_HE_PARTS_H
#define OBSCURA_CRYPTO_HE_PARTS_H

#include "crypto/he/he.h"
#include "crypto/secret.h"

struct he_key {
	const struct he_params *params;
	struct secret *arena;
	int8_t *s;	      /* N */
	uint32_t *ntt;	      /* primes × N: s R, transformed */
	struct he_key *small; /* owns; of the smaller ring or NULL, as in all that follows */
};

struct he_public {
	const struct he_params *params;
	uint32_t *b, *a; /* limbs × N each, transformed */
	struct he_public *small;
};

struct he_work {
	const struct he_params *params;
	struct secret *arena;
	size_t terms;
	struct he_laps *laps;	 /* borrows; NULL: off */
	uint32_t *poly[3];	 /* primes × N */
	int8_t *small[3];	 /* N */
	uint64_t *words[2];	 /* N */
	const uint32_t **a, **b; /* terms + 1 */
	struct he_work *small_ring;
};

/* Residues of small integers mod q, times `factor` (R^2 mod q: times R; R: themselves). */
void he_small(const struct he_limb *l, const int8_t *small, size_t n, uint32_t factor, uint32_t *out);
/* x += small mod q. */
void he_add_small(const struct he_limb *l, const int8_t *small, size_t n, uint32_t *x);

/* ---- between residues and fractions of Q (scale.c) */
/* out += x_i (Q / q_i)^-1 / q_i as a fraction of 2^64, for the residues x of prime i: over all primes, x / Q
 * mod 1. */
void he_fractions(const struct he_params *p, unsigned limbs, unsigned i, const uint32_t *x, uint64_t *out);
/* Rounds fractions of 2^64 to those of 2^to, to < 64. */
void he_rounded(uint64_t *x, size_t n, unsigned to);
/* Q m mod 2^k in [-2^(k-1), 2^(k-1)), from which he_residues takes round(Q m / 2^k) mod q. */
void he_remainders(const struct he_params *p, unsigned limbs, unsigned k, const uint64_t *m, uint64_t *r);
void he_residues(const struct he_limb *l, unsigned k, const uint64_t *r, size_t n, uint32_t *out);

#endif
