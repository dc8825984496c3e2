/* SPDX-License-Identifier: Apache-2.0 */
/* Sixteen words a vector; the algorithms of ntt_plain.c, of which every word of every level is the same. For
 * the levels of distance 8, 4, 2 and 1, two vectors are permuted so that one holds all X, the other all Y. */
#include "crypto/he/ntt.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline, no_sanitize("undefined")))
#define UNROLL _Pragma("GCC unroll 4")
typedef __m512i v16;

INLINE v16 load(const uint32_t *p)
{
	return _mm512_load_si512(p);
}
INLINE void store(uint32_t *p, v16 x)
{
	_mm512_store_si512(p, x);
}
INLINE v16 all(uint32_t x)
{
	return _mm512_set1_epi32((int)x);
}
INLINE v16 odd(v16 x)
{
	return _mm512_shuffle_epi32(x, 0xf5);
}

/* a w R^-1 mod q in (-q, q): products of 64 bits of even and odd words, whose lower halves cancel. */
INLINE v16 times(v16 a, v16 w, v16 wq, v16 q)
{
	v16 m = _mm512_mullo_epi32(a, wq);
	v16 even = _mm512_sub_epi64(_mm512_mul_epi32(a, w), _mm512_mul_epi32(m, q));
	v16 odds = _mm512_sub_epi64(_mm512_mul_epi32(odd(a), odd(w)), _mm512_mul_epi32(odd(m), q));

	return _mm512_mask_shuffle_epi32(odds, 0x5555, even, 0xf5);
}

INLINE v16 positive(v16 x, v16 q)
{
	return _mm512_min_epu32(x, _mm512_add_epi32(x, q));
}

INLINE void forward_pair(v16 *x, v16 *y, v16 w, v16 wq, v16 q)
{
	v16 t = times(*y, w, wq, q);

	*y = _mm512_sub_epi32(*x, t);
	*x = _mm512_add_epi32(*x, t);
}

INLINE void inverse_pair(v16 *x, v16 *y, v16 w, v16 wq, v16 q, v16 q2)
{
	v16 sum = _mm512_add_epi32(*x, *y), difference = _mm512_sub_epi32(*x, *y);

	*x = _mm512_min_epu32(sum, _mm512_sub_epi32(sum, q2));
	*y = _mm512_add_epi32(times(difference, w, wq, q), q);
}

/* What a level of distance 2^s takes of 32 consecutive words: lane i of X is word 2^(s+1) ⌊i / 2^s⌋ + i mod
 * 2^s, that of Y 2^s further, and its twiddle that of block ⌊i / 2^s⌋. back: where words 0 … 15 and 16 … 31
 * then are, Y counted from 16. */
struct shuffle {
	v16 x, y, back_low, back_high, block;
};

INLINE struct shuffle shuffle(unsigned s)
{
	v16 i = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	v16 high = _mm512_srli_epi32(i, s), low = _mm512_and_si512(i, all((1u << s) - 1));
	struct shuffle r;

	r.block = high;
	r.x = _mm512_or_si512(_mm512_slli_epi32(high, s + 1), low);
	r.y = _mm512_or_si512(r.x, all(1u << s));
	/* word j is lane 2^s ⌊j / 2^(s+1)⌋ + j mod 2^s, in Y when bit s of j is set */
	r.back_low = _mm512_or_si512(_mm512_slli_epi32(_mm512_srli_epi32(i, s + 1), s), low);
	r.back_low = _mm512_or_si512(r.back_low, _mm512_slli_epi32(_mm512_and_si512(high, all(1)), 4));
	r.back_high = _mm512_or_si512(r.back_low, all(8));
	return r;
}

INLINE v16 wide(const uint32_t *w, v16 block)
{
	return _mm512_permutexvar_epi32(block, _mm512_loadu_si512(w));
}

INLINE void split(v16 *a, v16 *b, const struct shuffle *s)
{
	v16 x = _mm512_permutex2var_epi32(*a, s->x, *b);

	*b = _mm512_permutex2var_epi32(*a, s->y, *b);
	*a = x;
}

INLINE void join(v16 *a, v16 *b, const struct shuffle *s)
{
	v16 x = _mm512_permutex2var_epi32(*a, s->back_low, *b);

	*b = _mm512_permutex2var_epi32(*a, s->back_high, *b);
	*a = x;
}

/* The twiddles are read sixteen at a time, the last of them up to the end of w. */
INLINE void forward_ends(const struct he_limb *l, uint32_t *x, size_t n)
{
	v16 q = all(l->q), one = all(l->one), one_q = all(l->one * l->inverse);
	const struct shuffle s[4] = {shuffle(3), shuffle(2), shuffle(1), shuffle(0)};

	for (size_t i = 0; i < n / 32; i++) {
		v16 a = load(x + 32 * i), b = load(x + 32 * i + 16);

		UNROLL
		for (int k = 0; k < 4; k++) {
			size_t at = (n / 32 + i) * (2u << k);

			split(&a, &b, &s[k]);
			forward_pair(&a, &b, wide(l->w + at, s[k].block), wide(l->wq + at, s[k].block), q);
			join(&a, &b, &s[k]);
		}
		store(x + 32 * i, positive(times(a, one, one_q, q), q));
		store(x + 32 * i + 16, positive(times(b, one, one_q, q), q));
	}
}

/* Two levels at once: half the loads and stores. */
static void forward_two(const struct he_limb *l, uint32_t *x, size_t m, size_t t, v16 q)
{
	for (size_t i = 0; i < m; i++) {
		v16 w = all(l->w[m + i]), wq = all(l->wq[m + i]);
		v16 u = all(l->w[2 * (m + i)]), uq = all(l->wq[2 * (m + i)]);
		v16 v = all(l->w[2 * (m + i) + 1]), vq = all(l->wq[2 * (m + i) + 1]);
		uint32_t *p = x + 2 * i * t;

		for (size_t j = 0; j < t / 2; j += 16) {
			v16 a = load(p + j), b = load(p + t / 2 + j), c = load(p + t + j),
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
	v16 q = all(l->q);
	size_t m = 1, t = n / 2;

	for (; t >= 32; m *= 4, t /= 4)
		forward_two(l, x, m, t, q);
	for (; t >= 16; m *= 2, t /= 2)
		for (size_t i = 0; i < m; i++) {
			v16 a = load(x + 32 * i), b = load(x + 32 * i + 16);

			forward_pair(&a, &b, all(l->w[m + i]), all(l->wq[m + i]), q);
			store(x + 32 * i, a);
			store(x + 32 * i + 16, b);
		}
	forward_ends(l, x, n);
}

INLINE void inverse_ends(const struct he_limb *l, uint32_t *x, size_t n, v16 q, v16 q2)
{
	const struct shuffle s[4] = {shuffle(0), shuffle(1), shuffle(2), shuffle(3)};

	for (size_t i = 0; i < n / 32; i++) {
		v16 a = load(x + 32 * i), b = load(x + 32 * i + 16);

		UNROLL
		for (int k = 0; k < 4; k++) {
			size_t at = (n / 32 + i) * (16u >> k);

			split(&a, &b, &s[k]);
			inverse_pair(&a, &b, wide(l->iw + at, s[k].block), wide(l->iwq + at, s[k].block), q,
				     q2);
			join(&a, &b, &s[k]);
		}
		store(x + 32 * i, a);
		store(x + 32 * i + 16, b);
	}
}

/* The levels of m and m / 2 blocks. */
static void inverse_two(const struct he_limb *l, uint32_t *x, size_t m, size_t t, v16 q, v16 q2)
{
	for (size_t i = 0; i < m / 2; i++) {
		v16 u = all(l->iw[m + 2 * i]), uq = all(l->iwq[m + 2 * i]);
		v16 v = all(l->iw[m + 2 * i + 1]), vq = all(l->iwq[m + 2 * i + 1]);
		v16 w = all(l->iw[m / 2 + i]), wq = all(l->iwq[m / 2 + i]);
		uint32_t *p = x + 4 * i * t;

		for (size_t j = 0; j < t; j += 16) {
			v16 a = load(p + j), b = load(p + t + j), c = load(p + 2 * t + j),
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

static void inverse_last(const struct he_limb *l, uint32_t *x, size_t n, v16 q)
{
	v16 s = all(l->last), sq = all(l->last_q), w = all(l->last_w), wq = all(l->last_wq);

	for (size_t j = 0; j < n / 2; j += 16) {
		v16 a = load(x + j), b = load(x + n / 2 + j);

		store(x + j, positive(times(_mm512_add_epi32(a, b), s, sq, q), q));
		store(x + n / 2 + j, positive(times(_mm512_sub_epi32(a, b), w, wq, q), q));
	}
}

static void inverse(const struct he_limb *l, uint32_t *x, size_t n)
{
	v16 q = all(l->q), q2 = all(2 * l->q);
	size_t m = n / 32, t = 16;

	inverse_ends(l, x, n, q, q2);
	for (; m >= 4; m /= 4, t *= 4)
		inverse_two(l, x, m, t, q, q2);
	for (; m > 1; m /= 2, t *= 2)
		for (size_t i = 0; i < m; i++)
			for (size_t j = 2 * i * t; j < 2 * i * t + t; j += 16) {
				v16 a = load(x + j), b = load(x + j + t);

				inverse_pair(&a, &b, all(l->iw[m + i]), all(l->iwq[m + i]), q, q2);
				store(x + j, a);
				store(x + j + t, b);
			}
	inverse_last(l, x, n, q);
}

/* 2^32 one + low: congruent, < 2^58 */
INLINE v16 fold(v16 sum, v16 one)
{
	return _mm512_add_epi64(_mm512_mul_epu32(_mm512_srli_epi64(sum, 32), one),
				_mm512_maskz_mov_epi32(0x5555, sum));
}

INLINE v16 reduced(v16 sum, v16 one, v16 inverse_q, v16 q)
{
	v16 x = fold(sum, one);

	return _mm512_sub_epi64(x, _mm512_mul_epu32(_mm512_mul_epu32(x, inverse_q), q));
}

static void dot(const struct he_limb *l, uint32_t *out, const uint32_t *const *a, const uint32_t *const *b,
		size_t terms, size_t n)
{
	v16 q = all(l->q), inverse_q = all(l->inverse), one = all(l->one);

	for (size_t i = 0; i < n; i += 32) {
		v16 sum[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
			      _mm512_setzero_si512()};

		for (size_t j = 0; j < terms; j++) {
			v16 x = load(a[j] + i), y = load(b[j] + i), z = load(a[j] + i + 16),
			    u = load(b[j] + i + 16);

			sum[0] = _mm512_add_epi64(sum[0], _mm512_mul_epu32(x, y));
			sum[1] = _mm512_add_epi64(sum[1], _mm512_mul_epu32(odd(x), odd(y)));
			sum[2] = _mm512_add_epi64(sum[2], _mm512_mul_epu32(z, u));
			sum[3] = _mm512_add_epi64(sum[3], _mm512_mul_epu32(odd(z), odd(u)));
			for (int s = 0; s < 4 && j % HE_DOT_FOLD == HE_DOT_FOLD - 1; s++)
				sum[s] = fold(sum[s], one);
		}
		for (int s = 0; s < 4; s++)
			sum[s] = reduced(sum[s], one, inverse_q, q);
		store(out + i, positive(_mm512_mask_shuffle_epi32(sum[1], 0x5555, sum[0], 0xf5), q));
		store(out + i + 16, positive(_mm512_mask_shuffle_epi32(sum[3], 0x5555, sum[2], 0xf5), q));
	}
}

const struct he_row he_row_avx512 = {CPU_AVX512, forward, inverse, dot};
#endif
