/* SPDX-License-Identifier: Apache-2.0 */
/* One-time tables, four comparisons at once. Choose tables and rows of shares are dealt in plain C. */
#include "crypto/ring.h"
#include "crypto/table_row.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#define LANES 4
typedef __m256i vec;

static inline vec v_load(const void *p)
{
	return _mm256_loadu_si256(p);
}
static inline void v_store(void *p, vec x)
{
	_mm256_storeu_si256(p, x);
}
static inline vec v_set(uint64_t x)
{
	return _mm256_set1_epi64x((long long)x);
}
static inline vec v_iota(void)
{
	return _mm256_setr_epi64x(0, 1, 2, 3);
}
static inline vec v_add(vec a, vec b)
{
	return _mm256_add_epi64(a, b);
}
static inline vec v_sub(vec a, vec b)
{
	return _mm256_sub_epi64(a, b);
}
static inline vec v_and(vec a, vec b)
{
	return _mm256_and_si256(a, b);
}
static inline vec v_or(vec a, vec b)
{
	return _mm256_or_si256(a, b);
}
static inline vec v_xor(vec a, vec b)
{
	return _mm256_xor_si256(a, b);
}
static inline vec v_shl(vec a, vec n)
{
	return _mm256_sllv_epi64(a, n);
}
static inline vec v_shr(vec a, vec n)
{
	return _mm256_srlv_epi64(a, n);
}
static inline vec v_floor(vec x)
{
	return _mm256_andnot_si256(_mm256_cmpgt_epi64(_mm256_setzero_si256(), x), x);
}
/* Operands below 2^32. */
static inline vec v_multiply(vec a, uint64_t b)
{
	return _mm256_mul_epu32(a, v_set(b));
}
static inline vec v_gather(const void *base, vec offset)
{
	return _mm256_i64gather_epi64(base, offset, 1);
}
static inline vec v_spread(vec x, vec idx)
{
	vec pairs = _mm256_add_epi64(idx, idx);

	pairs = _mm256_or_si256(pairs, _mm256_slli_epi64(_mm256_add_epi64(pairs, v_set(1)), 32));
	return _mm256_permutevar8x32_epi32(x, pairs);
}
static inline vec v_load8(const void *p)
{
	int x;

	memcpy(&x, p, sizeof(x));
	return _mm256_cvtepu8_epi64(_mm_cvtsi32_si128(x));
}
static inline vec v_load16(const void *p)
{
	return _mm256_cvtepu16_epi64(_mm_loadl_epi64(p));
}
static inline vec v_load32(const void *p)
{
	return _mm256_cvtepu32_epi64(_mm_loadu_si128(p));
}

/* The low 32, 16 or 8 bits of each word. */
static inline void v_narrow(uint8_t *out, vec x, unsigned bits)
{
	__m128i half;

	if (bits == 64) {
		v_store(out, x);
		return;
	}
	x = _mm256_permutevar8x32_epi32(x, _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6));
	half = _mm256_castsi256_si128(x);
	if (bits == 32) {
		_mm_storeu_si128((__m128i *)out, half);
		return;
	}
	if (bits == 16) {
		_mm_storel_epi64((__m128i *)out,
				 _mm_shuffle_epi8(half, _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, -1, -1, -1,
								      -1, -1, -1, -1, -1)));
	} else {
		int four = _mm_cvtsi128_si32(_mm_shuffle_epi8(
		    half, _mm_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1)));

		memcpy(out, &four, sizeof(four));
	}
}
static inline void v_or16(uint16_t *j, vec x)
{
	uint64_t now, more;
	uint8_t narrow[8];

	v_narrow(narrow, x, 16);
	memcpy(&more, narrow, sizeof(more));
	memcpy(&now, j, sizeof(now));
	now |= more;
	memcpy(j, &now, sizeof(now));
}

#include "crypto/table_lanes.h"

const struct table_kernels table_avx2 = {
    .deal_digit = deal_digit,
    .lookup_p0 = lookup_p0,
    .lookup_p1 = lookup_p1,
    .row_p0 = row_p0,
    .row_p1 = row_p1,
};
#endif
