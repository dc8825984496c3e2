/* SPDX-License-Identifier: Apache-2.0 */
/* Tiles of AVX2. Mod 2^32: vpmulld. Mod 2^64, with x = xl + 2^32 xh: x*s = xl*sl + 2^32 (xl*sh + xh*sl);
 * vpmuludq gives the first product, vpmulld of x with its halves swapped both others mod 2^32, which are
 * summed in a second accumulator. */
#include "nn/linear_row.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline, no_sanitize("undefined")))
#define UNROLL _Pragma("GCC unroll 8")
#define NARROW(kind) ((kind) == CONV_32 || (kind) == DENSE_32)

INLINE __m256i vector(const void *v, size_t at, enum tile_kind kind)
{
	if (kind == DENSE_64_INT)
		return _mm256_cvtepi32_epi64(_mm_loadu_si128((const void *)((const int32_t *)v + at)));
	if (NARROW(kind))
		return _mm256_loadu_si256((const void *)((const uint32_t *)v + at));
	return _mm256_loadu_si256((const void *)((const uint64_t *)v + at));
}

/* s(r, i) in every lane. */
INLINE __m256i scalar(const struct tile *t, size_t i, size_t r, size_t rows, enum tile_kind kind)
{
	if (kind == CONV_32)
		return _mm256_set1_epi32(((const int32_t *)t->s)[i * rows + r]);
	if (kind == DENSE_32)
		return _mm256_set1_epi32((int32_t)((const uint64_t *)t->s)[r * t->s_stride + i]);
	if (kind == CONV_64)
		return _mm256_set1_epi64x(((const int64_t *)t->s)[i * rows + r]);
	return _mm256_set1_epi64x(((const int64_t *)t->s)[r * t->s_stride + i]);
}

INLINE void add_words(uint64_t *y, __m256i sum, unsigned n)
{
	__m256i mask = _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));

	_mm256_maskstore_epi64((long long *)y, mask,
			       _mm256_add_epi64(_mm256_maskload_epi64((const long long *)y, mask), sum));
}

/* The lowest n lanes. */
INLINE void add(uint64_t *y, __m256i low, __m256i cross, unsigned n, enum tile_kind kind)
{
	if (!NARROW(kind)) {
		cross = _mm256_add_epi32(cross, _mm256_slli_epi64(cross, 32));
		add_words(y, _mm256_add_epi64(low, _mm256_slli_epi64(_mm256_srli_epi64(cross, 32), 32)), n);
		return;
	}
	add_words(y, _mm256_cvtepu32_epi64(_mm256_castsi256_si128(low)), n < 4 ? n : 4);
	if (n > 4)
		add_words(y + 4, _mm256_cvtepu32_epi64(_mm256_extracti128_si256(low, 1)), n - 4);
}

INLINE void run(const struct tile *t, size_t rows, size_t vectors, enum tile_kind kind)
{
	const size_t lanes = NARROW(kind) ? 8 : 4;
	__m256i low[TILE_ROWS][TILE_VECTORS], cross[TILE_ROWS][TILE_VECTORS];

	UNROLL for (size_t r = 0; r < rows; r++) UNROLL for (size_t p = 0; p < vectors; p++) low[r][p] =
	    cross[r][p] = _mm256_setzero_si256();
	for (size_t i = 0; i < t->depth; i++)
		UNROLL for (size_t p = 0; p < vectors; p++)
		{
			__m256i v = vector(t->v, t->at[i] + p * lanes, kind),
				swapped = _mm256_shuffle_epi32(v, 0xb1);

			UNROLL for (size_t r = 0; r < rows; r++)
			{
				__m256i s = scalar(t, i, r, rows, kind);

				if (NARROW(kind)) {
					low[r][p] = _mm256_add_epi32(low[r][p], _mm256_mullo_epi32(v, s));
					continue;
				}
				low[r][p] = _mm256_add_epi64(low[r][p], _mm256_mul_epu32(v, s));
				cross[r][p] = _mm256_add_epi32(cross[r][p], _mm256_mullo_epi32(swapped, s));
			}
		}
	UNROLL for (size_t r = 0; r < rows; r++) UNROLL for (size_t p = 0; p < vectors; p++)
	    add(t->y + r * t->y_stride + p * lanes, low[r][p], cross[r][p],
		p + 1 < vectors ? (unsigned)lanes : t->last, kind);
}

#define KIND(kind, rows, vectors)                                                                            \
	__attribute__((no_sanitize("undefined"))) static void tile_##kind##_##rows##_##vectors(              \
	    const struct tile *t)                                                                            \
	{                                                                                                    \
		run(t, rows, vectors, kind);                                                                 \
	}
#define TILE(rows, vectors)                                                                                  \
	KIND(CONV_32, rows, vectors)                                                                         \
	KIND(CONV_64, rows, vectors)                                                                         \
	KIND(DENSE_32, rows, vectors)                                                                        \
	KIND(DENSE_64, rows, vectors)                                                                        \
	KIND(DENSE_64_INT, rows, vectors)
#include "nn/linear_tiles_avx2.def"
#undef TILE
#undef KIND

INLINE void copy(const uint64_t *x, size_t n, void *out, size_t at, int narrow)
{
	const __m256i even = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
	size_t c = 0;

	for (; c + 4 <= n; c += 4) {
		__m256i words = _mm256_loadu_si256((const void *)(x + c));

		if (narrow)
			_mm_storeu_si128((void *)((uint32_t *)out + at + c),
					 _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(words, even)));
		else
			_mm256_storeu_si256((void *)((uint64_t *)out + at + c), words);
	}
	for (; c < n; c++)
		if (narrow)
			((uint32_t *)out)[at + c] = (uint32_t)x[c];
		else
			((uint64_t *)out)[at + c] = x[c];
}

static void gather(const uint64_t *x, size_t row_step, size_t step, size_t rows, size_t n, void *out,
		   size_t width, int narrow)
{
	for (size_t r = 0; r < rows; r++, x += row_step) {
		if (step == 1) {
			copy(x, n, out, r * width, narrow);
			continue;
		}
		for (size_t c = 0; c < n; c++)
			if (narrow)
				((uint32_t *)out)[r * width + c] = (uint32_t)x[c * step];
			else
				((uint64_t *)out)[r * width + c] = x[c * step];
	}
}

#define KIND(kind, of, rows, vectors) [kind][rows][vectors] = tile_##of##_##rows##_##vectors,
#define TILE(rows, vectors)                                                                                  \
	KIND(CONV_32, CONV_32, rows, vectors)                                                                \
	KIND(CONV_52, CONV_64, rows, vectors)                                                                \
	KIND(CONV_64, CONV_64, rows, vectors)                                                                \
	KIND(DENSE_32, DENSE_32, rows, vectors)                                                              \
	KIND(DENSE_52, DENSE_64, rows, vectors)                                                              \
	KIND(DENSE_64, DENSE_64, rows, vectors)                                                              \
	KIND(DENSE_52_INT, DENSE_64_INT, rows, vectors)                                                      \
	KIND(DENSE_64_INT, DENSE_64_INT, rows, vectors)
const struct linear_kernels linear_avx2 = {
    .lanes = 4,
    .tiles =
	{
#include "nn/linear_tiles_avx2.def"
	},
    .vectors = {0, 5, 3, 2},
    .take = {0, 1, 2, 3, 2, 3, 3, 3, 3, 3, 3, 3, 3},
    .gather = gather,
};
#endif
