/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/ring.h — words mod 2^k (held in uint64_t) and their packed form on the wire. */
#ifndef OBSCURA_CRYPTO_RING_H
#define OBSCURA_CRYPTO_RING_H

#include <stddef.h>
#include <stdint.h>

/* 2^k - 1, 0 <= k <= 64. */
static inline uint64_t ring_mask(unsigned k)
{
	return k >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << k) - 1;
}

/* The representative of x mod 2^k in [-2^(k-1), 2^(k-1)), 1 <= k <= 64. */
static inline int64_t ring_signed(uint64_t x, unsigned k)
{
	return (int64_t)(x << (64 - k)) >> (64 - k);
}

/* Bytes of n words of k bits, packed. The only place where bits become bytes. */
static inline size_t ring_packed(size_t n, unsigned k)
{
	return (n * (size_t)k + 7) / 8;
}

/* Packs n words, each reduced mod 2^k first, into ring_packed(n, k) bytes: word i occupies bits [i*k,
 * (i+1)*k) of the little-endian bit string; unused bits of the last byte are 0. 1 <= k <= 64. Writes not one
 * byte more. */
void ring_pack(uint8_t *out, const uint64_t *in, size_t n, unsigned k);
/* The inverse; reads not one byte more than ring_packed(n, k). Returned words are < 2^k. */
void ring_unpack(uint64_t *out, const uint8_t *in, size_t n, unsigned k);

/* The same for short words, 1 <= k <= 16. */
void ring_pack16(uint8_t *out, const uint16_t *in, size_t n, unsigned k);
void ring_unpack16(uint16_t *out, const uint8_t *in, size_t n, unsigned k);

/* out[i] = a[i] + b[i], a[i] - b[i] mod 2^k; out may be a or b. */
void ring_add(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, unsigned k);
void ring_sub(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, unsigned k);

#endif
