/* SPDX-License-Identifier: Apache-2.0 */
/* One-time tables, eight comparisons (tables of digits, rows of shares) or eight rows of the select table at
 * once. */
#include "crypto/prg.h"
#include "crypto/ring.h"
#include "crypto/table_row.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#define LANES 8
typedef __m512i vec;

static inline vec v_load(const void *p)
{
	return _mm512_loadu_si512(p);
}
static inline void v_store(void *p, vec x)
{
	_mm512_storeu_si512(p, x);
}
static inline vec v_set(uint64_t x)
{
	return _mm512_set1_epi64((long long)x);
}
static inline vec v_iota(void)
{
	return _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
}
static inline vec v_add(vec a, vec b)
{
	return _mm512_add_epi64(a, b);
}
static inline vec v_sub(vec a, vec b)
{
	return _mm512_sub_epi64(a, b);
}
static inline vec v_and(vec a, vec b)
{
	return _mm512_and_si512(a, b);
}
static inline vec v_or(vec a, vec b)
{
	return _mm512_or_si512(a, b);
}
static inline vec v_xor(vec a, vec b)
{
	return _mm512_xor_si512(a, b);
}
static inline vec v_shl(vec a, vec n)
{
	return _mm512_sllv_epi64(a, n);
}
static inline vec v_shr(vec a, vec n)
{
	return _mm512_srlv_epi64(a, n);
}
static inline vec v_floor(vec x)
{
	return _mm512_max_epi64(x, _mm512_setzero_si512());
}
/* Operands below 2^32. */
static inline vec v_multiply(vec a, uint64_t b)
{
	return _mm512_mul_epu32(a, v_set(b));
}
static inline vec v_gather(const void *base, vec offset)
{
	return _mm512_i64gather_epi64(offset, base, 1);
}
static inline vec v_spread(vec x, vec idx)
{
	return _mm512_permutexvar_epi64(idx, x);
}
static inline vec v_load8(const void *p)
{
	return _mm512_cvtepu8_epi64(_mm_loadl_epi64(p));
}
static inline vec v_load16(const void *p)
{
	return _mm512_cvtepu16_epi64(_mm_loadu_si128(p));
}
static inline vec v_load32(const void *p)
{
	return _mm512_cvtepu32_epi64(_mm256_loadu_si256(p));
}
/* The low 64, 32, 16 or 8 bits of each word. */
static inline void v_narrow(uint8_t *out, vec x, unsigned bits)
{
	if (bits == 64)
		v_store(out, x);
	else if (bits == 32)
		_mm256_storeu_si256((__m256i *)out, _mm512_cvtepi64_epi32(x));
	else if (bits == 16)
		_mm_storeu_si128((__m128i *)out, _mm512_cvtepi64_epi16(x));
	else
		_mm_storel_epi64((__m128i *)out, _mm512_cvtepi64_epi8(x));
}
static inline void v_or16(uint16_t *j, vec x)
{
	_mm_storeu_si128((__m128i *)j,
			 _mm_or_si128(_mm_loadu_si128((const __m128i *)j), _mm512_cvtepi64_epi16(x)));
}

#include "crypto/table_lanes.h"

/* ---- choose tables: truth[j ^ m] ---- */

/* Lane m: the matrix (of vgf2p8affineqb) that moves bit i ^ m of a byte to bit i. */
static vec flips_in_byte(void)
{
	uint64_t matrix[8] = {0};

	for (unsigned m = 0; m < 8; m++)
		for (unsigned i = 0; i < 8; i++)
			matrix[m] |= (uint64_t)(1u << (i ^ m)) << (8 * (7 - i));
	return v_load(matrix);
}

static inline vec byte_iota(void)
{
	uint8_t i[64];

	for (unsigned b = 0; b < 64; b++)
		i[b] = (uint8_t)b;
	return v_load(i);
}

/* Strings of 8 … 64 bytes, `own` of each in all its words: bits by affine maps, bytes by one permutation. */
static inline vec permuted(vec truth, vec own, unsigned index, vec flips_bits, vec iota)
{
	vec bits = _mm512_gf2p8affine_epi64_epi8(truth, v_spread(flips_bits, v_low(own, 3)), 0);
	vec bytes = v_low(v_shr(own, v_set(3)), index - 3);

	bytes = _mm512_shuffle_epi8(bytes, _mm512_and_si512(iota, _mm512_set1_epi8(8)));
	return _mm512_permutexvar_epi8(v_xor(iota, bytes), bits);
}

/* Tables of 2^3 … 2^9 bits; 2^(9 - index) to a vector, but at most one in 64 bits. */
static size_t deal_choose(const struct table *t, const uint64_t *truth, size_t n, const uint8_t *own,
			  const uint8_t *half, uint8_t *out)
{
	unsigned log = t->index > 6 ? t->index - 6 : 0; /* 2^log words of P0's stream each */
	vec flips_bits = flips_in_byte(), iota = byte_iota(), all;
	uint64_t words[8];

	n &= ~(size_t)7;
	if (t->index < 3 || t->index > 9)
		return 0;
	for (unsigned i = 0; i < 8; i++)
		words[i] = truth[i & ((1u << log) - 1)];
	all = v_load(words);
	for (size_t c = 0; c < n; c += 8) {
		vec mine = v_load16(own + 2 * c);

		for (unsigned v = 0; v < 1u << log; v++, half += 64) {
			vec of = v_spread(mine, v_shr(v_add(v_iota(), v_set(8 * v)), v_set(log)));
			vec gamma = v_sub(v_set(0), v_and(v_shr(of, v_set(t->index)), v_set(1)));
			vec b =
			    v_xor(v_xor(permuted(all, of, t->index, flips_bits, iota), gamma), v_load(half));

			v_narrow(out, b, log ? 64 : 1u << t->index);
			out += log ? 64 : 1u << t->index;
		}
	}
	return n;
}

/* ---- rows of the select table: P1's halves ---- */

/* Eight rows, of 128 bits each in two vectors, to the bit string that is streamed: row i goes to bit
 * start[i]. Rows are shifted right by skip[i] (a row without its b) and left within a byte; then even rows
 * and odd rows take their places byte by byte: neighbours share a byte at most. */
struct packer {
	vec skip[2], skip_back[2], left[2], left_back[2];
	vec from[4][2];	    /* bytes of even, odd rows in output vector v */
	__mmask64 is[4][2]; /* where there are such bytes */
	size_t bytes;	    /* that are touched */
};

static void packer_new(struct packer *p, unsigned phase, const unsigned *start, const unsigned *bits,
		       const unsigned *skip)
{
	uint8_t from[4][2][64] = {{{0}}};
	uint64_t shift[4][16] = {{0}};

	memset(p->is, 0, sizeof(p->is));
	for (unsigned i = 0; i < 8; i++) {
		unsigned at = phase + start[i];

		for (unsigned h = 0; h < 2; h++) {
			shift[0][2 * i + h] = skip[i];
			shift[1][2 * i + h] = 64 - skip[i];
			shift[2][2 * i + h] = at % 8;
			shift[3][2 * i + h] = 64 - at % 8;
		}
		for (unsigned b = 0; b <= (at % 8 + bits[i] - 1) / 8; b++) {
			unsigned to = at / 8 + b;

			from[to / 64][i % 2][to % 64] = (uint8_t)(16 * i + b);
			p->is[to / 64][i % 2] |= UINT64_C(1) << (to % 64);
		}
		p->bytes = (at + bits[i] + 7) / 8;
	}
	for (unsigned h = 0; h < 2; h++) {
		p->skip[h] = v_load(&shift[0][8 * h]);
		p->skip_back[h] = v_load(&shift[1][8 * h]);
		p->left[h] = v_load(&shift[2][8 * h]);
		p->left_back[h] = v_load(&shift[3][8 * h]);
	}
	for (unsigned v = 0; v < 4; v++)
		for (unsigned odd = 0; odd < 2; odd++)
			p->from[v][odd] = v_load(from[v][odd]);
}

static inline vec shifted(const struct packer *p, vec x, unsigned h, int skips)
{
	if (skips) /* high bits come down into the low word */
		x = v_or(v_shr(x, p->skip[h]), v_shl(_mm512_bsrli_epi128(x, 8), p->skip_back[h]));
	return v_or(v_shl(x, p->left[h]), v_shr(_mm512_bslli_epi128(x, 8), p->left_back[h]));
}

/* Writes p->bytes bytes at most; when `joins`, the first byte has bits already. */
static inline void pack_rows(const struct packer *p, vec a, vec b, int skips, int joins, uint8_t *out)
{
	a = shifted(p, a, 0, skips);
	b = shifted(p, b, 1, skips);
	for (unsigned v = 0; v < 4 && 64 * v < p->bytes; v++) {
		size_t left = p->bytes - 64 * v;
		__mmask64 here = left < 64 ? (UINT64_C(1) << left) - 1 : ~UINT64_C(0);
		vec bytes = v_or(_mm512_maskz_permutex2var_epi8(p->is[v][0], a, p->from[v][0], b),
				 _mm512_maskz_permutex2var_epi8(p->is[v][1], a, p->from[v][1], b));

		if (!v && joins)
			bytes = v_or(bytes, _mm512_zextsi128_si512(_mm_cvtsi32_si128(*out)));
		_mm512_mask_storeu_epi8(out + 64 * v, here, bytes);
	}
}

/* Four rows: (b ? factors : 0) - P0's half, field by field (table_plain.c's subtract): borrows pass from the
 * low word to the high one. b: 8 bits, two for each row. */
static inline vec subtract(vec factors, vec highest, vec lower, __mmask8 b, vec half)
{
	vec v = _mm512_maskz_mov_epi64(b, factors), minuend = v_or(v, highest),
	    subtrahend = v_and(half, lower);
	__mmask8 borrow = (__mmask8)((_mm512_cmplt_epu64_mask(minuend, subtrahend) & 0x55) << 1);
	vec d = v_sub(minuend, subtrahend);

	d = _mm512_mask_sub_epi64(d, borrow, d, v_set(1));
	return v_xor(d, _mm512_andnot_si512(v_xor(v, half), highest));
}

static inline vec twice(unsigned __int128 x)
{
	return _mm512_set_epi64((long long)(x >> 64), (long long)x, (long long)(x >> 64), (long long)x,
				(long long)(x >> 64), (long long)x, (long long)(x >> 64), (long long)x);
}

/* Bits 0 … 3, each twice. */
static inline __mmask8 doubled(uint64_t b)
{
	return (__mmask8)(_pdep_u32((uint32_t)b, 0x55) * 3);
}

/* All bits of the fields but the highest of each. */
static unsigned __int128 lower_bits(const struct table *t, unsigned __int128 highest)
{
	unsigned __int128 all =
	    t->entry < 128 ? ((unsigned __int128)1 << t->entry) - 1 : ~(unsigned __int128)0;

	return all & ~highest;
}

static size_t deal_rows_latency(const struct table *t, const uint64_t *truth, size_t n, const uint64_t *r,
				const uint64_t *x, const uint8_t *own, const uint8_t *half, uint8_t *out)
{
	unsigned start[8], bits[8], skip[8] = {0};
	vec highest = twice(table_fields(t, 0, 0).highest),
	    lower = twice(lower_bits(t, table_fields(t, 0, 0).highest));
	uint64_t b[TABLE_INDEX_WORDS];
	struct packer p;

	for (unsigned i = 0; i < 8; i++) {
		start[i] = i * t->entry;
		bits[i] = t->entry;
	}
	packer_new(&p, 0, start, bits, skip);
	for (size_t c = 0; c < n; c++) {
		vec factors = twice(table_fields(t, r[c], x ? x[c] : 0).factors);

		plain_permute(t, truth, table_own(own, c), b);
		for (unsigned j = 0; j < t->rows; j += 8, half += 8 * PRG_BLOCK, out += t->entry) {
			uint64_t eight = b[j / 64] >> (j % 64);

			pack_rows(
			    &p, subtract(factors, highest, lower, doubled(eight & 15), v_load(half)),
			    subtract(factors, highest, lower, doubled(eight >> 4 & 15), v_load(half + 64)), 0,
			    0, out);
		}
	}
	return n;
}

/* factors of two comparisons, each for its two rows */
static inline vec pair(const struct table *t, const uint64_t *r, const uint64_t *x, size_t c)
{
	unsigned __int128 f = table_fields(t, r[c], x ? x[c] : 0).factors,
			  g = table_fields(t, r[c + 1], x ? x[c + 1] : 0).factors;

	return _mm512_set_epi64((long long)(g >> 64), (long long)g, (long long)(g >> 64), (long long)g,
				(long long)(f >> 64), (long long)f, (long long)(f >> 64), (long long)f);
}

/* Rows γ and 1 - γ of two comparisons. */
static inline __mmask8 gammas(const struct table *t, const uint8_t *own, size_t c)
{
	unsigned f = table_own(own, c) >> t->index & 1, g = table_own(own, c + 1) >> t->index & 1;

	return doubled((2 - f) | (uint64_t)(2 - g) << 2);
}

/* Four comparisons at once; the next four begin at a whole byte or in its middle. */
static size_t deal_rows_bandwidth(const struct table *t, size_t n, const uint64_t *r, const uint64_t *x,
				  const uint8_t *own, const uint8_t *half, uint8_t *out)
{
	unsigned start[8], bits[8], skip[8], each = (unsigned)table_rows_bits(t), phase = 4 * each % 8;
	vec highest = twice(table_fields(t, 0, 0).highest),
	    lower = twice(lower_bits(t, table_fields(t, 0, 0).highest));
	struct packer p[2];

	for (unsigned i = 0; i < 8; i++) {
		start[i] = i / 2 * each + i % 2 * t->entry;
		bits[i] = t->entry - i % 2 * t->kout;
		skip[i] = i % 2 * t->kout;
	}
	packer_new(&p[0], 0, start, bits, skip);
	packer_new(&p[1], phase, start, bits, skip);
	for (size_t c = 0; c < n; c += 4, half += 8 * PRG_BLOCK) {
		unsigned second = c / 4 % 2;
		vec a = subtract(pair(t, r, x, c), highest, lower, gammas(t, own, c), v_load(half));
		vec b =
		    subtract(pair(t, r, x, c + 2), highest, lower, gammas(t, own, c + 2), v_load(half + 64));

		pack_rows(&p[second], a, b, 1, second && phase, out);
		out += (second * phase + 4 * each) / 8;
	}
	return n;
}

static size_t deal_rows(const struct table *t, const uint64_t *truth, size_t n, const uint64_t *r,
			const uint64_t *x, const uint8_t *own, const uint8_t *half, uint8_t *out)
{
	n &= ~(size_t)7;
	/* neighbours may share one byte, and a row and its shift in a byte fit 128 bits */
	if (t->blocks > 1 || t->entry > 121 || t->entry - t->kout < 8 || t->kout > 63)
		return 0;
	if (t->mode == TABLE_BANDWIDTH)
		return deal_rows_bandwidth(t, n, r, x, own, half, out);
	return t->rows < 8 ? 0 : deal_rows_latency(t, truth, n, r, x, own, half, out);
}

const struct table_kernels table_avx512 = {
    .deal_digit = deal_digit,
    .deal_choose = deal_choose,
    .deal_rows = deal_rows,
    .lookup_p0 = lookup_p0,
    .lookup_p1 = lookup_p1,
    .row_p0 = row_p0,
    .row_p1 = row_p1,
};
#endif
