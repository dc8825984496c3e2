/* SPDX-License-Identifier: Apache-2.0 */
/* One-time tables (PROTOCOL.md §3). A table over the values of a digit is a bit string; the table of a mask digit r is one shift:
 *   lt = (1 << r) - 1,  eq = 1 << r;   top digit, with half = 2^(b-1) and s = r + half mod 2^b:
 *   lt = [z - r negative in b bits] = [z < r] ^ [z < s] ^ [r < half],  eq = [z = r] | [z = s] (there a borrow flips the sign).
 * Nothing branches on or is indexed by a mask, a share or a mask bit; ẑ and the opened index are public. */
#include "crypto/table.h"

#include <string.h>

#include "crypto/prg.h"
#include "crypto/ring.h"

#define INDEX_WORDS_MAX 32 /* 2^11 bits */

/* ---- shape ---- */

static unsigned msb_bits(unsigned w, unsigned kout)
{
	return kout > w ? kout - w : 0;
}

static unsigned digit_bits(unsigned w, unsigned count, unsigned i)
{
	return w / count + (i < w % count);
}

static uint64_t shape_bits(unsigned w, unsigned kout, unsigned entry, unsigned count, enum table_mode mode)
{
	unsigned index = 2 * count - 1;
	uint64_t bits = 0;

	for (unsigned i = 0; i < count; i++)
		bits += (UINT64_C(1) << digit_bits(w, count, i)) * (i ? 2 : 1);
	return bits + (mode == TABLE_LATENCY ? (uint64_t)entry << index : (UINT64_C(1) << index) + 2 * entry - kout);
}

struct table table_shape(unsigned w, unsigned kout, unsigned extra, enum table_mode mode)
{
	struct table t = {.w = w, .kout = kout, .extra = extra, .mode = mode};

	t.entry = 2 * kout + msb_bits(w, kout) + extra;
	t.digits = 1;
	for (unsigned count = 2; count <= TABLE_DIGITS_MAX && count <= w; count++)
		if (shape_bits(w, kout, t.entry, count, mode) < shape_bits(w, kout, t.entry, t.digits, mode))
			t.digits = count;
	for (unsigned i = 0; i < t.digits; i++)
		t.bits[i] = digit_bits(w, t.digits, i);
	t.index = 2 * t.digits - 1;
	t.rows = mode == TABLE_LATENCY ? 1u << t.index : 2;
	t.blocks = t.entry <= 8 * PRG_BLOCK ? 1 : 2;
	return t;
}

uint64_t table_bits(const struct table *t)
{
	return shape_bits(t->w, t->kout, t->entry, t->digits, t->mode);
}

/* ---- layout ---- */

/* 64-bit words of a table of 2^b bits in P0's stream. */
static size_t table_words(unsigned b)
{
	return b > 6 ? (size_t)1 << (b - 6) : 1;
}

static size_t whole_blocks(size_t bytes)
{
	return (bytes + PRG_BLOCK - 1) / PRG_BLOCK * PRG_BLOCK;
}

static size_t stream_piece(size_t n, unsigned b)
{
	return whole_blocks(n * table_words(b) * 8);
}

/* Bytes of n tables of 2^b bits in the corrections. */
static size_t packed_piece(size_t n, unsigned b)
{
	return ((n << b) + 7) / 8;
}

/* Bits of all rows of one comparison. In bandwidth mode the second row has no b. */
static size_t rows_bits(const struct table *t)
{
	return (size_t)t->rows * t->entry - (t->mode == TABLE_BANDWIDTH ? t->kout : 0);
}

static size_t packed_rows(const struct table *t, size_t n)
{
	return (n * rows_bits(t) + 7) / 8;
}

size_t table_correction_bytes(const struct table *t, size_t n)
{
	size_t bytes = packed_rows(t, n);

	for (unsigned i = 0; i < t->digits; i++)
		bytes += (i ? 2 : 1) * packed_piece(n, t->bits[i]);
	return bytes + (t->mode == TABLE_BANDWIDTH ? packed_piece(n, t->index) : 0);
}

size_t table_p0_select(const struct table *t, size_t n)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < t->digits; i++)
		bytes += (i ? 2 : 1) * stream_piece(n, t->bits[i]);
	return bytes + (t->mode == TABLE_BANDWIDTH ? stream_piece(n, t->index) : 0);
}

size_t table_p0_bytes(const struct table *t, size_t n)
{
	return table_p0_select(t, n) + n * t->rows * t->blocks * PRG_BLOCK;
}

size_t table_own_bytes(const struct table *t, size_t n)
{
	return whole_blocks(2 * n);
}

/* ---- bit strings ---- */

struct writer {
	uint8_t *at;
	uint64_t waiting;
	unsigned bits; /* < 64 */
};

/* Appends the low n bits of v, v < 2^n, 0 <= n <= 64. */
static inline void put(struct writer *w, uint64_t v, unsigned n)
{
	w->waiting |= v << w->bits;
	if (w->bits + n < 64) {
		w->bits += n;
		return;
	}
	memcpy(w->at, &w->waiting, 8);
	w->at += 8;
	w->waiting = w->bits ? v >> (64 - w->bits) : 0;
	w->bits = w->bits + n - 64;
}

/* Pads to a byte. */
static uint8_t *finish(struct writer *w)
{
	memcpy(w->at, &w->waiting, (w->bits + 7) / 8);
	return w->at + (w->bits + 7) / 8;
}

static inline unsigned bit_at(const uint8_t *p, size_t i)
{
	return p[i / 8] >> (i % 8) & 1;
}

/* The n bits (n <= 64) from bit `at` of a string of `bytes` bytes. */
static inline uint64_t get(const uint8_t *p, size_t bytes, size_t at, unsigned n)
{
	unsigned __int128 v = 0;
	size_t first = at / 8;

	memcpy(&v, p + first, bytes - first < 16 ? bytes - first : 16);
	return (uint64_t)(v >> (at % 8)) & ring_mask(n);
}

/* ---- dealing ---- */

/* All ones when a < b, a and b below 2^62; no branch. */
static inline uint64_t less(uint64_t a, uint64_t b)
{
	return -((a - b) >> 63);
}

/* Bits [64*i, 64*i + 64) of the string whose bits below r are 1. */
static inline uint64_t below(uint64_t r, unsigned i)
{
	uint64_t first = 64 * (uint64_t)i, here = (UINT64_C(1) << (r & 63)) - 1;
	uint64_t full = ~less(r, first + 64), empty = less(r, first);

	return (here | full) & ~empty;
}

/* Bits [64*i, 64*i + 64) of the string whose only 1 is bit r. */
static inline uint64_t single(uint64_t r, unsigned i)
{
	return (UINT64_C(1) << (r & 63)) & ~less(r, 64 * (uint64_t)i) & less(r, 64 * (uint64_t)i + 64);
}

static inline uint64_t table_word(uint64_t r, unsigned b, int top, int equal, unsigned i)
{
	uint64_t half = UINT64_C(1) << (b - 1), s = (r + half) & ring_mask(b);

	if (!top)
		return equal ? single(r, i) : below(r, i);
	return equal ? single(r, i) | single(s, i) : below(r, i) ^ below(s, i) ^ less(r, half);
}

static inline unsigned own_bits(const uint8_t *own, size_t i)
{
	return own[2 * i] | own[2 * i + 1] << 8;
}

/* One piece: the lt or eq tables of a digit. at: its bit in the index. */
static uint8_t *deal_digit(const struct table *t, size_t n, unsigned digit, int equal, unsigned shift, unsigned at, const uint64_t *r,
			   const uint8_t *half, const uint8_t *own, uint8_t *out)
{
	unsigned b = t->bits[digit], words = table_words(b), width = b < 6 ? 1u << b : 64;
	struct writer w = {.at = out};

	for (size_t c = 0; c < n; c++) {
		uint64_t digit_of_r = r[c] >> shift & ring_mask(b), m = -(uint64_t)(own_bits(own, c) >> at & 1), p0;

		for (unsigned i = 0; i < words; i++) {
			memcpy(&p0, half + (c * words + i) * 8, 8);
			put(&w, (table_word(digit_of_r, b, digit + 1 == t->digits, equal, i) ^ m ^ p0) & ring_mask(width), width);
		}
	}
	return finish(&w);
}

/* b = [z >= 0] for each value of the index, as a bit string: one borrow chain. */
static void truth(const struct table *t, uint64_t table[INDEX_WORDS_MAX])
{
	memset(table, 0, INDEX_WORDS_MAX * sizeof(*table));
	for (unsigned j = 0; j < 1u << t->index; j++) {
		unsigned borrow = j & 1;

		for (unsigned i = 1; i < t->digits; i++)
			borrow = (j >> (2 * i - 1) & 1) ^ ((j >> (2 * i) & 1) & borrow);
		table[j / 64] |= (uint64_t)(borrow ^ 1) << (j % 64);
	}
}

/* out[j] = table[j ^ m]: a swap of halves for each bit of m. */
static void permute(const struct table *t, const uint64_t *table, unsigned m, uint64_t *out)
{
	static const uint64_t low[6] = {0x5555555555555555, 0x3333333333333333, 0x0f0f0f0f0f0f0f0f,
					0x00ff00ff00ff00ff, 0x0000ffff0000ffff, 0x00000000ffffffff};
	unsigned words = table_words(t->index);

	memcpy(out, table, words * sizeof(*out));
	for (unsigned i = 0; i < t->index && i < 6; i++) {
		uint64_t on = -(uint64_t)(m >> i & 1);

		for (unsigned q = 0; q < words; q++) {
			uint64_t swapped = (out[q] >> (1u << i) & low[i]) | (out[q] & low[i]) << (1u << i);

			out[q] ^= (out[q] ^ swapped) & on;
		}
	}
	for (unsigned i = 6; i < t->index; i++) {
		uint64_t on = -(uint64_t)(m >> i & 1);

		for (unsigned q = 0; q < words; q++) {
			unsigned other = q ^ 1u << (i - 6);
			uint64_t d = (out[q] ^ out[other]) & on;

			if (other > q)
				out[q] ^= d, out[other] ^= d;
		}
	}
}

/* P0's half of a row. */
static inline struct table_row half_row(const struct table *t, const uint8_t *block)
{
	unsigned kout = t->kout, msb = msb_bits(t->w, kout);
	struct table_row row;

	if (t->blocks == 1) {
		unsigned __int128 v;

		memcpy(&v, block, sizeof(v));
		row.b = (uint64_t)v & ring_mask(kout);
		row.br = (uint64_t)(v >> kout) & ring_mask(kout);
		row.bm = (uint64_t)(v >> (2 * kout)) & ring_mask(msb);
		row.bx = t->extra ? (uint64_t)(v >> (2 * kout + msb)) & ring_mask(t->extra) : 0;
		return row;
	}
	memcpy(&row, block, sizeof(row));
	row.b &= ring_mask(kout);
	row.br &= ring_mask(kout);
	row.bm &= ring_mask(msb);
	row.bx &= ring_mask(t->extra);
	return row;
}

/* What stays the same for all rows of one comparison. */
struct factors {
	uint64_t r, top, x;
};

static inline void put_row(const struct table *t, struct writer *w, uint64_t b, int with_b, const struct factors *f, const uint8_t *block)
{
	struct table_row half = half_row(t, block);
	unsigned msb = msb_bits(t->w, t->kout);

	if (with_b)
		put(w, (b - half.b) & ring_mask(t->kout), t->kout);
	put(w, (b * f->r - half.br) & ring_mask(t->kout), t->kout);
	put(w, (b * f->top - half.bm) & ring_mask(msb), msb);
	put(w, (b * f->x - half.bx) & ring_mask(t->extra), t->extra);
}

/* Choose tables (bandwidth) and select rows of all comparisons. */
static void deal_select(const struct table *t, size_t n, const uint64_t *r, const uint64_t *x, const uint8_t *choose, const uint8_t *select,
			const uint8_t *own, uint8_t *out)
{
	uint64_t plain[INDEX_WORDS_MAX], b[INDEX_WORDS_MAX], half;
	unsigned words = table_words(t->index), width = t->index < 6 ? 1u << t->index : 64;
	struct writer chosen = {.at = out}, rows = {.at = out + (t->mode == TABLE_BANDWIDTH ? packed_piece(n, t->index) : 0)};

	truth(t, plain);
	for (size_t c = 0; c < n; c++) {
		unsigned m = own_bits(own, c), gamma = m >> t->index & 1;
		struct factors f = {r[c], r[c] >> (t->w - 1), x ? x[c] : 0};

		permute(t, plain, m & ((1u << t->index) - 1), b);
		if (t->mode == TABLE_BANDWIDTH) {
			for (unsigned i = 0; i < words; i++) {
				memcpy(&half, choose + (c * words + i) * 8, 8);
				put(&chosen, (b[i] ^ half ^ -(uint64_t)gamma) & ring_mask(width), width);
			}
			b[0] = gamma | (gamma ^ 1) << 1;
		}
		for (unsigned j = 0; j < t->rows; j++)
			put_row(t, &rows, b[j / 64] >> (j % 64) & 1, !j || t->mode == TABLE_LATENCY, &f,
				select + (c * t->rows + j) * t->blocks * PRG_BLOCK);
	}
	if (t->mode == TABLE_BANDWIDTH)
		finish(&chosen);
	finish(&rows);
}

void table_deal(const struct table *t, size_t n, const uint64_t *r, const uint64_t *x, const uint8_t *p0, const uint8_t *own, uint8_t *out)
{
	const uint8_t *select = p0 + table_p0_select(t, n);
	unsigned shift = 0, at = 0;

	for (unsigned i = 0; i < t->digits; i++) {
		for (int equal = 0; equal < (i ? 2 : 1); equal++) {
			out = deal_digit(t, n, i, equal, shift, at++, r, p0, own, out);
			p0 += stream_piece(n, t->bits[i]);
		}
		shift += t->bits[i];
	}
	deal_select(t, n, r, x, p0, select, own, out);
}

/* ---- lookup ---- */

void table_lookup_p0(const struct table *t, size_t n, const uint8_t *p0, const uint64_t *zhat, uint16_t *j)
{
	unsigned shift = 0, at = 0;

	memset(j, 0, n * sizeof(*j));
	for (unsigned i = 0; i < t->digits; i++) {
		size_t bits = 64 * table_words(t->bits[i]);

		for (int equal = 0; equal < (i ? 2 : 1); equal++, at++) {
			for (size_t c = 0; c < n; c++)
				j[c] |= bit_at(p0, c * bits + (zhat[c] >> shift & ring_mask(t->bits[i]))) << at;
			p0 += stream_piece(n, t->bits[i]);
		}
		shift += t->bits[i];
	}
}

void table_lookup_p1(const struct table *t, size_t n, const uint8_t *corrections, const uint64_t *zhat, uint16_t *j)
{
	unsigned shift = 0, at = 0;

	memset(j, 0, n * sizeof(*j));
	for (unsigned i = 0; i < t->digits; i++) {
		for (int equal = 0; equal < (i ? 2 : 1); equal++, at++) {
			for (size_t c = 0; c < n; c++)
				j[c] |= bit_at(corrections, (c << t->bits[i]) + (zhat[c] >> shift & ring_mask(t->bits[i]))) << at;
			corrections += packed_piece(n, t->bits[i]);
		}
		shift += t->bits[i];
	}
}

void table_choose_p0(const struct table *t, size_t n, const uint8_t *p0, const uint16_t *j, uint8_t *bit)
{
	const uint8_t *choose = p0 + table_p0_select(t, n) - stream_piece(n, t->index);
	size_t bits = 64 * table_words(t->index);

	for (size_t c = 0; c < n; c++)
		bit[c] = bit_at(choose, c * bits + j[c]);
}

void table_choose_p1(const struct table *t, size_t n, const uint8_t *corrections, const uint16_t *j, uint8_t *bit)
{
	const uint8_t *choose = corrections + table_correction_bytes(t, n) - packed_rows(t, n) - packed_piece(n, t->index);

	for (size_t c = 0; c < n; c++)
		bit[c] = bit_at(choose, (c << t->index) + j[c]);
}

void table_row_p0(const struct table *t, size_t n, const uint8_t *blocks, const uint16_t *row, struct table_row *out)
{
	size_t bytes = (size_t)t->blocks * PRG_BLOCK;

	for (size_t c = 0; c < n; c++) {
		if (t->mode == TABLE_LATENCY) {
			out[c] = half_row(t, blocks + c * bytes);
			continue;
		}
		out[c] = half_row(t, blocks + (2 * c + row[c]) * bytes);
		if (row[c])
			out[c].b = -half_row(t, blocks + 2 * c * bytes).b & ring_mask(t->kout);
	}
}

/* The bits of a row without its b, from bit `at`. */
static inline void get_products(const struct table *t, const uint8_t *rows, size_t bytes, size_t at, struct table_row *out)
{
	unsigned msb = msb_bits(t->w, t->kout);

	out->br = get(rows, bytes, at, t->kout);
	out->bm = msb ? get(rows, bytes, at + t->kout, msb) : 0;
	out->bx = t->extra ? get(rows, bytes, at + t->kout + msb, t->extra) : 0;
}

void table_row_p1(const struct table *t, size_t n, const uint8_t *corrections, const uint16_t *row, struct table_row *out)
{
	size_t bytes = packed_rows(t, n);
	const uint8_t *rows = corrections + table_correction_bytes(t, n) - bytes;

	for (size_t c = 0; c < n; c++) {
		size_t first = c * rows_bits(t), at = first + (size_t)row[c] * t->entry;
		int short_row = t->mode == TABLE_BANDWIDTH && row[c];

		out[c].b = get(rows, bytes, short_row ? first : at, t->kout);
		if (short_row)
			out[c].b = (1 - out[c].b) & ring_mask(t->kout);
		get_products(t, rows, bytes, short_row ? at : at + t->kout, &out[c]);
	}
}

void table_relu(const struct table *t, size_t n, const struct table_row *rows, const uint64_t *zhat, uint64_t *out)
{
	uint64_t mask = ring_mask(t->kout);

	for (size_t c = 0; c < n; c++) {
		uint64_t wrap = t->kout > t->w ? (1 - (zhat[c] >> (t->w - 1) & 1)) << t->w : 0;

		out[c] = (rows[c].b * zhat[c] - rows[c].br + rows[c].bm * wrap) & mask;
	}
}
