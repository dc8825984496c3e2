/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/ring.h"

#include <string.h>

/* Bits wait in a 128-bit register and leave eight bytes at a time. */
void ring_pack(uint8_t *out, const uint64_t *in, size_t n, unsigned k)
{
	unsigned __int128 waiting = 0;
	uint64_t mask = ring_mask(k), word;
	unsigned bits = 0;

	for (size_t i = 0; i < n; i++) {
		waiting |= (unsigned __int128)(in[i] & mask) << bits;
		bits += k;
		if (bits < 64)
			continue;
		word = (uint64_t)waiting;
		memcpy(out, &word, 8);
		out += 8;
		waiting >>= 64;
		bits -= 64;
	}
	word = (uint64_t)waiting;
	memcpy(out, &word, (bits + 7) / 8);
}

void ring_unpack(uint64_t *out, const uint8_t *in, size_t n, unsigned k)
{
	const uint8_t *end = in + ring_packed(n, k);
	unsigned __int128 waiting = 0;
	uint64_t mask = ring_mask(k), word;
	unsigned bits = 0;

	for (size_t i = 0; i < n; i++) {
		if (bits < k) {
			size_t take = end - in < 8 ? (size_t)(end - in) : 8;

			word = 0;
			memcpy(&word, in, take);
			in += take;
			waiting |= (unsigned __int128)word << bits;
			bits += 8 * take;
		}
		out[i] = (uint64_t)waiting & mask;
		waiting >>= k;
		bits -= k;
	}
}

void ring_add(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, unsigned k)
{
	uint64_t mask = ring_mask(k);

	for (size_t i = 0; i < n; i++)
		out[i] = (a[i] + b[i]) & mask;
}

void ring_sub(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, unsigned k)
{
	uint64_t mask = ring_mask(k);

	for (size_t i = 0; i < n; i++)
		out[i] = (a[i] - b[i]) & mask;
}
