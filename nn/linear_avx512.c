/* SPDX-License-Identifier: Apache-2.0 */
/* Tiles of AVX-512: vpmulld mod 2^32, vpmadd52luq mod 2^52 (it adds the low 52 bits of the product of the
 * operands' low 52 bits), vpmullq mod 2^64. */
#include "nn/linear_row.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline, no_sanitize("undefined")))
#define UNROLL _Pragma("GCC unroll 8")

INLINE __m512i vector(const void *v, size_t at, enum tile_kind kind)
{
	if (kind == DENSE_52_INT || kind == DENSE_64_INT)
		return _mm512_cvtepi32_epi64(_mm256_loadu_si256((const void *)((const int32_t *)v + at)));
	if (kind == CONV_32 || kind == DENSE_32)
		return _mm512_loadu_si512((const uint32_t *)v + at);
	return _mm512_loadu_si512((const uint64_t *)v + at);
}

/* s(r, i) in every lane. */
INLINE __m512i scalar(const struct tile *t, size_t i, size_t r, size_t rows, enum tile_kind kind)
{
	if (kind == CONV_32)
		return _mm512_set1_epi32(((const int32_t *)t->s)[i * rows + r]);
	if (kind == DENSE_32)
		return _mm512_set1_epi32((int32_t)((const uint64_t *)t->s)[r * t->s_stride + i]);
	if (kind == CONV_52 || kind == CONV_64)
		return _mm512_set1_epi64(((const int64_t *)t->s)[i * rows + r]);
	return _mm512_set1_epi64(((const int64_t *)t->s)[r * t->s_stride + i]);
}

INLINE __m512i multiply_add(__m512i sum, __m512i a, __m512i b, enum tile_kind kind)
{
	if (kind == CONV_32 || kind == DENSE_32)
		return _mm512_add_epi32(sum, _mm512_mullo_epi32(a, b));
	if (kind == CONV_64 || kind == DENSE_64 || kind == DENSE_64_INT)
		return _mm512_add_epi64(sum, _mm512_mullo_epi64(a, b));
	return _mm512_madd52lo_epu64(sum, a, b);
}

INLINE void add_words(uint64_t *y, __m512i sum, unsigned n)
{
	__mmask8 mask = (__mmask8)((1u << n) - 1);

	_mm512_mask_storeu_epi64(y, mask, _mm512_add_epi64(_mm512_maskz_loadu_epi64(mask, y), sum));
}

/* The lowest n lanes. */
INLINE void add(uint64_t *y, __m512i sum, unsigned n, enum tile_kind kind)
{
	if (kind != CONV_32 && kind != DENSE_32) {
		add_words(y, sum, n);
		return;
	}
	add_words(y, _mm512_cvtepu32_epi64(_mm512_castsi512_si256(sum)), n < 8 ? n : 8);
	if (n > 8)
		add_words(y + 8, _mm512_cvtepu32_epi64(_mm512_extracti64x4_epi64(sum, 1)), n - 8);
}

INLINE void run(const struct tile *t, size_t rows, size_t vectors, enum tile_kind kind)
{
	const size_t lanes = kind == CONV_32 || kind == DENSE_32 ? 16 : 8;
	__m512i sum[TILE_ROWS][TILE_VECTORS], v[TILE_VECTORS];

	UNROLL for (size_t r = 0; r < rows; r++) UNROLL for (size_t p = 0; p < vectors; p++) sum[r][p] =
	    _mm512_setzero_si512();
	for (size_t i = 0; i < t->depth; i++) {
		UNROLL for (size_t p = 0; p < vectors; p++) v[p] = vector(t->v, t->at[i] + p * lanes, kind);
		UNROLL for (size_t r = 0; r < rows; r++) UNROLL for (size_t p = 0; p < vectors; p++)
		    sum[r][p] = multiply_add(sum[r][p], v[p], scalar(t, i, r, rows, kind), kind);
	}
	UNROLL for (size_t r = 0; r < rows; r++) UNROLL for (size_t p = 0; p < vectors; p++) add(
	    t->y + r * t->y_stride + p * lanes, sum[r][p], p + 1 < vectors ? (unsigned)lanes : t->last, kind);
}

#define KIND(kind, rows, vectors)                                                                            \
	__attribute__((no_sanitize("undefined"))) static void tile_##kind##_##rows##_##vectors(              \
	    const struct tile *t)                                                                            \
	{                                                                                                    \
		run(t, rows, vectors, kind);                                                                 \
	}
#define TILE(rows, vectors)                                                                                  \
	KIND(CONV_32, rows, vectors)                                                                         \
	KIND(CONV_52, rows, vectors)                                                                         \
	KIND(CONV_64, rows, vectors)                                                                         \
	KIND(DENSE_32, rows, vectors)                                                                        \
	KIND(DENSE_52, rows, vectors)                                                                        \
	KIND(DENSE_64, rows, vectors)                                                                        \
	KIND(DENSE_52_INT, rows, vectors)                                                                    \
	KIND(DENSE_64_INT, rows, vectors)
#include "nn/linear_tiles_avx512.def"
#undef TILE
#undef KIND

INLINE void store(void *out, size_t at, __mmask8 mask, __m512i words, int narrow)
{
	if (narrow)
		_mm256_mask_storeu_epi32((uint32_t *)out + at, mask, _mm512_cvtepi64_epi32(words));
	else
		_mm512_mask_storeu_epi64((uint64_t *)out + at, mask, words);
}

INLINE __mmask8 first(size_t n)
{
	return (__mmask8)(n < 8 ? (1u << n) - 1 : 0xff);
}

/* n words of every second, third … */
INLINE __m512i apart(const uint64_t *x, size_t step, size_t n)
{
	const __m512i even = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
	size_t reach = 2 * n - 1;

	if (step == 2)
		return _mm512_permutex2var_epi64(
		    _mm512_maskz_loadu_epi64(first(reach), x), even,
		    _mm512_maskz_loadu_epi64(reach > 8 ? first(reach - 8) : 0, x + 8));
	return _mm512_mask_i64gather_epi64(
	    _mm512_setzero_si512(), first(n),
	    _mm512_mullo_epi64(_mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7), _mm512_set1_epi64((long long)step)),
	    x, 8);
}

static void gather(const uint64_t *x, size_t row_step, size_t step, size_t rows, size_t n, void *out,
		   size_t width, int narrow)
{
	for (size_t r = 0; r < rows; r++, x += row_step)
		for (size_t c = 0; c < n; c += 8) {
			size_t some = n - c < 8 ? n - c : 8;
			__m512i words = step == 1 ? _mm512_maskz_loadu_epi64(first(some), x + c)
						  : apart(x + c * step, step, some);

			store(out, r * width + c, first(some), words, narrow);
		}
}

#define KIND(kind, rows, vectors) [kind][rows][vectors] = tile_##kind##_##rows##_##vectors,
#define TILE(rows, vectors)                                                                                  \
	KIND(CONV_32, rows, vectors)                                                                         \
	KIND(CONV_52, rows, vectors)                                                                         \
	KIND(CONV_64, rows, vectors)                                                                         \
	KIND(DENSE_32, rows, vectors)                                                                        \
	KIND(DENSE_52, rows, vectors)                                                                        \
	KIND(DENSE_64, rows, vectors)                                                                        \
	KIND(DENSE_52_INT, rows, vectors)                                                                    \
	KIND(DENSE_64_INT, rows, vectors)
const struct linear_kernels linear_avx512 = {
    .lanes = 8,
    .tiles =
	{
#include "nn/linear_tiles_avx512.def"
	},
    .vectors = {0, 8, 8, 6, 6, 0, 4, 0, 3},
    .take = {0, 1, 2, 3, 4, 3, 6, 4, 8, 6, 6, 8, 8},
    .gather = gather,
};
#endif
