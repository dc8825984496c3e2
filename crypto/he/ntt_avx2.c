/* SPDX-License-Identifier: Apache-2.0 */
/* Eight words a vector; the algorithms of ntt_plain.c, of which every word of every level is the same. The
 * levels of distance 4, 2 and 1 take two vectors and shuffle so that one holds all X, the other all Y. */
#include "crypto/he/ntt.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline, no_sanitize("undefined")))
typedef __m256i v8;

INLINE v8 load(const uint32_t *p)
{
	return _mm256_load_si256((const v8 *)p);
}
INLINE void store(uint32_t *p, v8 x)
{
	_mm256_store_si256((v8 *)p, x);
}
INLINE v8 odd(v8 x)
{
	return _mm256_shuffle_epi32(x, 0xf5);
}

/* a w R^-1 mod q in (-q, q): products of 64 bits of even and odd words, whose lower halves cancel. */
INLINE v8 times(v8 a, v8 w, v8 wq, v8 q)
{
	v8 m = _mm256_mullo_epi32(a, wq);
	v8 even = _mm256_sub_epi64(_mm256_mul_epi32(a, w), _mm256_mul_epi32(m, q));
	v8 odds = _mm256_sub_epi64(_mm256_mul_epi32(odd(a), odd(w)), _mm256_mul_epi32(odd(m), q));

	return _mm256_blend_epi32(odd(even), odds, 0xaa);
}

INLINE v8 positive(v8 x, v8 q)
{
	return _mm256_min_epu32(x, _mm256_add_epi32(x, q));
}

INLINE void forward_pair(v8 *x, v8 *y, v8 w, v8 wq, v8 q)
{
	v8 t = times(*y, w, wq, q);

	*y = _mm256_sub_epi32(*x, t);
	*x = _mm256_add_epi32(*x, t);
}

INLINE void inverse_pair(v8 *x, v8 *y, v8 w, v8 wq, v8 q, v8 q2)
{
	v8 sum = _mm256_add_epi32(*x, *y), difference = _mm256_sub_epi32(*x, *y);

	*x = _mm256_min_epu32(sum, _mm256_sub_epi32(sum, q2));
	*y = _mm256_add_epi32(times(difference, w, wq, q), q);
}

/* (a, b) = 16 consecutive words ↔ X and Y of distance 4. Its own inverse. */
INLINE void split4(v8 *a, v8 *b)
{
	v8 x = _mm256_permute2x128_si256(*a, *b, 0x20);

	*b = _mm256_permute2x128_si256(*a, *b, 0x31);
	*a = x;
}
/* From distance 4 to 2, and back. */
INLINE void split2(v8 *a, v8 *b)
{
	v8 x = _mm256_unpacklo_epi64(*a, *b);

	*b = _mm256_unpackhi_epi64(*a, *b);
	*a = x;
}
/* From 2 to 1: X = words 0 4 2 6, Y = 1 5 3 7 of each half. */
INLINE void split1(v8 *a, v8 *b)
{
	__m256 x = _mm256_castsi256_ps(*a), y = _mm256_castsi256_ps(*b);

	*a = _mm256_castps_si256(_mm256_shuffle_ps(x, y, 0x88));
	*b = _mm256_castps_si256(_mm256_shuffle_ps(x, y, 0xdd));
}
INLINE void join1(v8 *a, v8 *b)
{
	v8 x = _mm256_unpacklo_epi32(*a, *b);

	*b = _mm256_unpackhi_epi32(*a, *b);
	*a = x;
}

INLINE v8 wide(const uint32_t *w, v8 order)
{
	return _mm256_permutevar8x32_epi32(_mm256_loadu_si256((const v8 *)w), order);
}

/* Which twiddle each lane of X takes: 2, 4, 8 blocks in 16 words. */
#define ORDER4 _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1)
#define ORDER2 _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3)
#define ORDER1 _mm256_setr_epi32(0, 2, 1, 3, 4, 6, 5, 7)

/* The twiddles of the last levels are read eight at a time: w has n words, and the last read ends at 2 (n/16
 * - 1) + n/8 + 8 <= n. */
static void forward_ends(const struct he_limb *l, uint32_t *x, size_t n)
{
	v8 q = _mm256_set1_epi32((int)l->q), one = _mm256_set1_epi32((int)l->one),
	   one_q = _mm256_set1_epi32((int)(l->one * l->inverse));

	for (size_t i = 0; i < n / 16; i++) {
		v8 a = load(x + 16 * i), b = load(x + 16 * i + 8);
		size_t at4 = n / 8 + 2 * i, at2 = n / 4 + 4 * i, at1 = n / 2 + 8 * i;

		split4(&a, &b);
		forward_pair(&a, &b, wide(l->w + at4, ORDER4), wide(l->wq + at4, ORDER4), q);
		split2(&a, &b);
		forward_pair(&a, &b, wide(l->w + at2, ORDER2), wide(l->wq + at2, ORDER2), q);
		split1(&a, &b);
		forward_pair(&a, &b, wide(l->w + at1, ORDER1), wide(l->wq + at1, ORDER1), q);
		join1(&a, &b);
		split2(&a, &b);
		split4(&a, &b);
		store(x + 16 * i, positive(times(a, one, one_q, q), q));
		store(x + 16 * i + 8, positive(times(b, one, one_q, q), q));
	}
}

/* Two levels at once: half the loads and stores. */
static void forward_two(const struct he_limb *l, uint32_t *x, size_t m, size_t t, v8 q)
{
	for (size_t i = 0; i < m; i++) {
		v8 w = _mm256_set1_epi32((int)l->w[m + i]), wq = _mm256_set1_epi32((int)l->wq[m + i]);
		v8 u = _mm256_set1_epi32((int)l->w[2 * (m + i)]),
		   uq = _mm256_set1_epi32((int)l->wq[2 * (m + i)]);
		v8 v = _mm256_set1_epi32((int)l->w[2 * (m + i) + 1]),
		   vq = _mm256_set1_epi32((int)l->wq[2 * (m + i) + 1]);
		uint32_t *p = x + 2 * i * t;

		for (size_t j = 0; j < t / 2; j += 8) {
			v8 a = load(p + j), b = load(p + t / 2 + j), c = load(p + t + j),
			   d = load(p + t + t / 2 + j);

			forward_pair(&a, &c, w, wq, q);
			forward_pair(&b, &d, w, wq, q);
			forward_pair(&a, &b, u, uq, q);
			forward_pair(&c, &d, v, vq, q);
			store(p + j, a);
			store(p + t / 2 + j, b);
			store(p + t + j, c);
			store(p + t + t / 2 + j, d);
		}
	}
}

static void forward(const struct he_limb *l, uint32_t *x, size_t n)
{
	v8 q = _mm256_set1_epi32((int)l->q);
	size_t m = 1, t = n / 2;

	for (; t >= 16; m *= 4, t /= 4)
		forward_two(l, x, m, t, q);
	for (; t >= 8; m *= 2, t /= 2)
		for (size_t i = 0; i < m; i++) {
			v8 w = _mm256_set1_epi32((int)l->w[m + i]), wq = _mm256_set1_epi32((int)l->wq[m + i]);
			v8 a = load(x + 16 * i), b = load(x + 16 * i + 8);

			forward_pair(&a, &b, w, wq, q);
			store(x + 16 * i, a);
			store(x + 16 * i + 8, b);
		}
	forward_ends(l, x, n);
}

static void inverse_ends(const struct he_limb *l, uint32_t *x, size_t n, v8 q, v8 q2)
{
	for (size_t i = 0; i < n / 16; i++) {
		v8 a = load(x + 16 * i), b = load(x + 16 * i + 8);
		size_t at4 = n / 8 + 2 * i, at2 = n / 4 + 4 * i, at1 = n / 2 + 8 * i;

		split4(&a, &b);
		split2(&a, &b);
		split1(&a, &b);
		inverse_pair(&a, &b, wide(l->iw + at1, ORDER1), wide(l->iwq + at1, ORDER1), q, q2);
		join1(&a, &b);
		inverse_pair(&a, &b, wide(l->iw + at2, ORDER2), wide(l->iwq + at2, ORDER2), q, q2);
		split2(&a, &b);
		inverse_pair(&a, &b, wide(l->iw + at4, ORDER4), wide(l->iwq + at4, ORDER4), q, q2);
		split4(&a, &b);
		store(x + 16 * i, a);
		store(x + 16 * i + 8, b);
	}
}

/* The levels of m and m / 2 blocks. */
static void inverse_two(const struct he_limb *l, uint32_t *x, size_t m, size_t t, v8 q, v8 q2)
{
	for (size_t i = 0; i < m / 2; i++) {
		v8 u = _mm256_set1_epi32((int)l->iw[m + 2 * i]),
		   uq = _mm256_set1_epi32((int)l->iwq[m + 2 * i]);
		v8 v = _mm256_set1_epi32((int)l->iw[m + 2 * i + 1]),
		   vq = _mm256_set1_epi32((int)l->iwq[m + 2 * i + 1]);
		v8 w = _mm256_set1_epi32((int)l->iw[m / 2 + i]),
		   wq = _mm256_set1_epi32((int)l->iwq[m / 2 + i]);
		uint32_t *p = x + 4 * i * t;

		for (size_t j = 0; j < t; j += 8) {
			v8 a = load(p + j), b = load(p + t + j), c = load(p + 2 * t + j),
			   d = load(p + 3 * t + j);

			inverse_pair(&a, &b, u, uq, q, q2);
			inverse_pair(&c, &d, v, vq, q, q2);
			inverse_pair(&a, &c, w, wq, q, q2);
			inverse_pair(&b, &d, w, wq, q, q2);
			store(p + j, a);
			store(p + t + j, b);
			store(p + 2 * t + j, c);
			store(p + 3 * t + j, d);
		}
	}
}

static void inverse_last(const struct he_limb *l, uint32_t *x, size_t n, v8 q)
{
	v8 s = _mm256_set1_epi32((int)l->last), sq = _mm256_set1_epi32((int)l->last_q);
	v8 w = _mm256_set1_epi32((int)l->last_w), wq = _mm256_set1_epi32((int)l->last_wq);

	for (size_t j = 0; j < n / 2; j += 8) {
		v8 a = load(x + j), b = load(x + n / 2 + j);

		store(x + j, positive(times(_mm256_add_epi32(a, b), s, sq, q), q));
		store(x + n / 2 + j, positive(times(_mm256_sub_epi32(a, b), w, wq, q), q));
	}
}

static void inverse(const struct he_limb *l, uint32_t *x, size_t n)
{
	v8 q = _mm256_set1_epi32((int)l->q), q2 = _mm256_add_epi32(q, q);
	size_t m = n / 16, t = 8;

	inverse_ends(l, x, n, q, q2);
	for (; m >= 4; m /= 4, t *= 4)
		inverse_two(l, x, m, t, q, q2);
	for (; m > 1; m /= 2, t *= 2)
		for (size_t j = 0; j < n; j += j % t == t - 8 ? t + 8 : 8) {
			size_t i = j / (2 * t);
			v8 a = load(x + j), b = load(x + j + t);

			inverse_pair(&a, &b, _mm256_set1_epi32((int)l->iw[m + i]),
				     _mm256_set1_epi32((int)l->iwq[m + i]), q, q2);
			store(x + j, a);
			store(x + j + t, b);
		}
	inverse_last(l, x, n, q);
}

/* 2^32 one + low: congruent, < 2^58 */
INLINE v8 fold(v8 sum, v8 one)
{
	return _mm256_add_epi64(_mm256_mul_epu32(_mm256_srli_epi64(sum, 32), one),
				_mm256_blend_epi32(sum, _mm256_setzero_si256(), 0xaa));
}

INLINE v8 reduced(v8 sum, v8 one, v8 inverse_q, v8 q)
{
	v8 x = fold(sum, one);

	return _mm256_sub_epi64(x, _mm256_mul_epu32(_mm256_mul_epu32(x, inverse_q), q));
}

static void dot(const struct he_limb *l, uint32_t *out, const uint32_t *const *a, const uint32_t *const *b,
		size_t terms, size_t n)
{
	v8 q = _mm256_set1_epi32((int)l->q), inverse_q = _mm256_set1_epi32((int)l->inverse),
	   one = _mm256_set1_epi64x(l->one);

	for (size_t i = 0; i < n; i += 16) {
		v8 sum[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
			     _mm256_setzero_si256()};

		for (size_t j = 0; j < terms; j++) {
			v8 x = load(a[j] + i), y = load(b[j] + i), z = load(a[j] + i + 8),
			   u = load(b[j] + i + 8);

			sum[0] = _mm256_add_epi64(sum[0], _mm256_mul_epu32(x, y));
			sum[1] = _mm256_add_epi64(sum[1], _mm256_mul_epu32(odd(x), odd(y)));
			sum[2] = _mm256_add_epi64(sum[2], _mm256_mul_epu32(z, u));
			sum[3] = _mm256_add_epi64(sum[3], _mm256_mul_epu32(odd(z), odd(u)));
			for (int s = 0; s < 4 && j % HE_DOT_FOLD == HE_DOT_FOLD - 1; s++)
				sum[s] = fold(sum[s], one);
		}
		for (int s = 0; s < 4; s++)
			sum[s] = reduced(sum[s], one, inverse_q, q);
		store(out + i, positive(_mm256_blend_epi32(odd(sum[0]), sum[1], 0xaa), q));
		store(out + i + 8, positive(_mm256_blend_epi32(odd(sum[2]), sum[3], 0xaa), q));
	}
}

const struct he_row he_row_avx2 = {CPU_AVX2, forward, inverse, dot};
#endif
