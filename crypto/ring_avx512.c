/* SPDX-License-Identifier: Apache-2.0 */
/* Words mod 2^k, eight at once: eight words of k bits are k bytes. Word i begins at byte i*k/8, bit i*k%8;
 * with k <= 57 it lies in eight bytes. */
#include "crypto/ring_row.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

static inline __m512i bit_in_byte(unsigned k)
{
	return _mm512_setr_epi64(0, k % 8, 2 * k % 8, 3 * k % 8, 4 * k % 8, 5 * k % 8, 6 * k % 8, 7 * k % 8);
}

/* Even and odd words take their bytes apart, since neighbours share one. */
struct places {
	__m512i from[2];
	__mmask64 is[2];
};

static struct places places_of(unsigned k)
{
	uint8_t from[2][64] = {{0}};
	struct places p = {.is = {0, 0}};

	for (unsigned i = 0; i < 8; i++)
		for (unsigned b = 0; b <= (i * k % 8 + k - 1) / 8; b++) {
			unsigned to = i * k / 8 + b;

			from[i % 2][to] = (uint8_t)(8 * i + b);
			p.is[i % 2] |= UINT64_C(1) << to;
		}
	p.from[0] = _mm512_loadu_si512(from[0]);
	p.from[1] = _mm512_loadu_si512(from[1]);
	return p;
}

static size_t pack_short(uint8_t *out, const uint64_t *in, size_t n, unsigned k)
{
	uint64_t bits = ring_mask(k) * UINT64_C(0x0101010101010101), word;
	size_t bytes = ring_packed(n, k);

	n &= ~(size_t)7;
	while (n && (n - 8) / 8 * k + 8 > bytes)
		n -= 8;
	for (size_t i = 0; i < n; i += 8, out += k) {
		word = (uint64_t)_mm_cvtsi128_si64(_mm512_cvtepi64_epi8(_mm512_loadu_si512(in + i)));
		word = _pext_u64(word, bits);
		memcpy(out, &word, sizeof(word)); /* what is too much is written again */
	}
	return n;
}

static size_t pack(uint8_t *out, const uint64_t *in, size_t n, unsigned k)
{
	const __m512i mask = _mm512_set1_epi64((long long)ring_mask(k)), left = bit_in_byte(k);
	struct places p;

	if (k < 8)
		return pack_short(out, in, n, k);
	if (k > 57)
		return 0;
	p = places_of(k);
	n &= ~(size_t)7;
	for (size_t i = 0; i < n; i += 8, out += k) {
		__m512i x = _mm512_sllv_epi64(_mm512_and_si512(_mm512_loadu_si512(in + i), mask), left);
		__m512i bytes = _mm512_or_si512(_mm512_maskz_permutexvar_epi8(p.is[0], p.from[0], x),
						_mm512_maskz_permutexvar_epi8(p.is[1], p.from[1], x));

		_mm512_mask_storeu_epi8(out, (UINT64_C(1) << k) - 1, bytes);
	}
	return n;
}

static size_t unpack(uint64_t *out, const uint8_t *in, size_t n, unsigned k)
{
	const __m512i mask = _mm512_set1_epi64((long long)ring_mask(k)), right = bit_in_byte(k);
	uint8_t from[64];
	__m512i bytes;

	if (k > 57)
		return 0;
	for (unsigned b = 0; b < 64; b++)
		from[b] = (uint8_t)(b / 8 * k / 8 + b % 8);
	bytes = _mm512_loadu_si512(from);
	n &= ~(size_t)7;
	for (size_t i = 0; i < n; i += 8, in += k) {
		__m512i x =
		    _mm512_permutexvar_epi8(bytes, _mm512_maskz_loadu_epi8((UINT64_C(1) << k) - 1, in));

		_mm512_storeu_si512(out + i, _mm512_and_si512(_mm512_srlv_epi64(x, right), mask));
	}
	return n;
}

/* Four words of 16 bits at a time; as many groups of eight as leave room for writing (reading) 16 bytes. */
static size_t room16(size_t n, unsigned k)
{
	size_t bytes = ring_packed(n, k);

	n &= ~(size_t)7;
	while (n && (n - 8) / 8 * k + 16 > bytes)
		n -= 8;
	return n;
}

static size_t pack16(uint8_t *out, const uint16_t *in, size_t n, unsigned k)
{
	uint64_t bits = ring_mask(k) * UINT64_C(0x0001000100010001), four[2];
	unsigned __int128 all;

	n = room16(n, k);
	for (size_t i = 0; i < n; i += 8, out += k) {
		memcpy(four, in + i, sizeof(four));
		all = _pext_u64(four[0], bits) | (unsigned __int128)_pext_u64(four[1], bits) << (4 * k);
		memcpy(out, &all, sizeof(all));
	}
	return n;
}

static size_t unpack16(uint16_t *out, const uint8_t *in, size_t n, unsigned k)
{
	uint64_t bits = ring_mask(k) * UINT64_C(0x0001000100010001), four[2];
	unsigned __int128 all;

	n = room16(n, k);
	for (size_t i = 0; i < n; i += 8, in += k) {
		memcpy(&all, in, sizeof(all));
		four[0] = _pdep_u64((uint64_t)all, bits);
		four[1] = _pdep_u64((uint64_t)(all >> (4 * k)), bits);
		memcpy(out + i, four, sizeof(four));
	}
	return n;
}

static size_t add(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, unsigned k)
{
	const __m512i mask = _mm512_set1_epi64((long long)ring_mask(k));

	n &= ~(size_t)7;
	for (size_t i = 0; i < n; i += 8)
		_mm512_storeu_si512(out + i, _mm512_and_si512(_mm512_add_epi64(_mm512_loadu_si512(a + i),
									       _mm512_loadu_si512(b + i)),
							      mask));
	return n;
}

static size_t sub(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, unsigned k)
{
	const __m512i mask = _mm512_set1_epi64((long long)ring_mask(k));

	n &= ~(size_t)7;
	for (size_t i = 0; i < n; i += 8)
		_mm512_storeu_si512(out + i, _mm512_and_si512(_mm512_sub_epi64(_mm512_loadu_si512(a + i),
									       _mm512_loadu_si512(b + i)),
							      mask));
	return n;
}

const struct ring_kernels ring_avx512 = {
    .pack = pack, .unpack = unpack, .pack16 = pack16, .unpack16 = unpack16, .add = add, .sub = sub};
#endif
