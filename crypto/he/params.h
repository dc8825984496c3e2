/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/he/params.h — the parameter sets and the arithmetic modulo their primes. */
#ifndef OBSCURA_CRYPTO_HE_PARAMS_H
#define OBSCURA_CRYPTO_HE_PARAMS_H

#include <stddef.h>
#include <stdint.h>
#include "conf/err.h"

/* S: N = 2048, 52 bits of modulus, and beside it a smaller ring for small words: N = 1024, 26 bits. L: N =
 * 4096, up to 104. The table of homomorphicencryption.org allows 54, 27 and 109 bits for 128-bit security
 * with a ternary secret. A ciphertext may use fewer primes than its ring has: less modulus under the same key
 * is only harder to break. The two rings of S have keys of their own. */
enum he_set { HE_S, HE_L, HE_SETS };

#define HE_N_MAX 4096
#define HE_LIMBS_MAX 4
#define HE_WORD_BITS 26 /* of a residue: every prime is just below 2^26 */

/* One prime q ≡ 1 mod 2N. R = 2^32. */
struct he_limb {
	uint32_t q, inverse;  /* inverse: q^-1 mod R */
	uint32_t one, square; /* R mod q, R^2 mod q */
	uint64_t barrett;     /* ⌊2^64 / q⌋ */
	/* ⌊2^26 (2^64 mod q) / q⌋: 2^64 / q = barrett + rest / 2^26, less than 2^-26 too little */
	uint32_t rest;
	/* Powers of ψ, the least primitive 2N-th root of 1: w[i] = ψ^bitrev(i) R mod q and iw[i] =
	 * ψ^-bitrev(i) R mod q; wq, iwq are the same times q^-1 mod 2^32. The last step of the inverse also
	 * divides by N: last = N^-1 R, last_w = N^-1 iw[1]. */
	uint32_t *w, *wq, *iw, *iwq;
	uint32_t last, last_q, last_w, last_wq;
};

struct he_params {
	const char *name;	       /* "S", "L" */
	const struct he_params *small; /* the smaller ring, NULL: none */
	unsigned log_n, limbs;
	/* limbs of ciphertexts, and perhaps more that only exact products of the key's holder use
	 * (he_open) */
	unsigned primes;
	size_t n;
	struct he_limb limb[HE_LIMBS_MAX];
};

/* The set of a name; HE_SETS: there is none. */
enum he_set he_set_named(const char *name);

/* The (greater) ring of a set. Borrows: made at the first call, constant afterwards. */
const struct he_params *he_params(enum he_set set);

/* (Q / q)^-1 R mod q of prime i, Q the product of the first `limbs` primes: x / Q = Σ (x_i (Q / q_i)^-1 mod
 * q_i) / q_i mod 1. */
uint32_t he_cofactor(const struct he_params *p, unsigned limbs, unsigned i);

/* Bits of the product of the first `limbs` primes, as log2. */
double he_modulus_bits(const struct he_params *p, unsigned limbs);

/* t * R^-1 mod q in (-q, q), for |t| < 2^31 q. */
static inline int32_t he_redc(int64_t t, const struct he_limb *l)
{
	int32_t m = (int32_t)((uint32_t)t * l->inverse);

	return (int32_t)((t - (int64_t)m * (int32_t)l->q) >> 32);
}

/* [-q, q) → [0, q), without a branch. */
static inline uint32_t he_positive(int32_t x, const struct he_limb *l)
{
	return (uint32_t)(x + ((x >> 31) & (int32_t)l->q));
}

/* a * b * R^-1 mod q in [0, q), for a, b < q. */
static inline uint32_t he_mul(uint32_t a, uint32_t b, const struct he_limb *l)
{
	return he_positive(he_redc((int64_t)((uint64_t)a * b), l), l);
}

/* a + b and a - b mod q, for a, b < q. */
static inline uint32_t he_add(uint32_t a, uint32_t b, const struct he_limb *l)
{
	return he_positive((int32_t)(a + b - l->q), l);
}
static inline uint32_t he_sub(uint32_t a, uint32_t b, const struct he_limb *l)
{
	return he_positive((int32_t)(a - b), l);
}

/* x mod q, without a branch. */
static inline uint32_t he_mod(uint64_t x, const struct he_limb *l)
{
	uint64_t r = x - (uint64_t)(((unsigned __int128)x * l->barrett) >> 64) * l->q; /* < 2q */

	return he_positive((int32_t)((uint32_t)r - l->q), l);
}
static inline uint32_t he_mod_signed(int64_t x, const struct he_limb *l)
{
	uint32_t negative = (uint32_t)((uint64_t)x >> 63),
		 r = he_mod(((uint64_t)x ^ -(uint64_t)negative) + negative, l);

	/* r or q - r, where 0 stays 0 */
	return he_positive((int32_t)((r ^ -negative) + negative), l);
}

/* 2^64 x / q for x < q, at most 2 too little; x / q as a fraction of 2^64. */
static inline uint64_t he_fraction(uint32_t x, const struct he_limb *l)
{
	return x * l->barrett + ((uint64_t)x * l->rest >> 26);
}

/* x^e mod q, x R mod q in and out; e is public. */
uint32_t he_power(uint32_t x, uint64_t e, const struct he_limb *l);

#endif
