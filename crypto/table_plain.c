/* SPDX-License-Identifier: Apache-2.0 */
/* The pieces of one-time tables in plain C (PROTOCOL.md §3). A table over the values of a digit is a bit
 * string; the table of a mask digit r is one shift: lt = (1 << r) - 1,  eq = 1 << r;   top digit, with half =
 * 2^(b-1) and s = r + half mod 2^b: lt = [z - r negative in b bits] = [z < r] ^ [z < s] ^ [r < half],  eq =
 * [z = r] | [z = s] (there a borrow flips the sign). Nothing branches on or is indexed by a mask, a share or
 * a mask bit; ẑ and the opened index are public. */
#include <string.h>

#include "crypto/prg.h"
#include "crypto/ring.h"
#include "crypto/table_row.h"

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

static inline void put_wide(struct writer *w, unsigned __int128 v, unsigned n)
{
	put(w, (uint64_t)v, n < 64 ? n : 64);
	if (n > 64)
		put(w, (uint64_t)(v >> 64), n - 64);
}

/* Pads to a byte. */
static void finish(struct writer *w)
{
	memcpy(w->at, &w->waiting, (w->bits + 7) / 8);
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

/* ---- tables of digits ---- */

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

static inline uint64_t table_word(const struct table_digit *g, uint64_t r, unsigned i)
{
	uint64_t half = UINT64_C(1) << (g->bits - 1), s = (r + half) & ring_mask(g->bits);

	if (!g->top)
		return g->equal ? single(r, i) : below(r, i);
	return g->equal ? single(r, i) | single(s, i) : below(r, i) ^ below(s, i) ^ less(r, half);
}

void plain_deal_digit(const struct table_digit *g, size_t n, const uint64_t *r, const uint8_t *own,
		      const uint8_t *half, uint8_t *out)
{
	unsigned words = table_words(g->bits), width = g->bits < 6 ? 1u << g->bits : 64;
	struct writer w = {.at = out};

	for (size_t c = 0; c < n; c++) {
		uint64_t digit = r[c] >> g->shift & ring_mask(g->bits),
			 m = -(uint64_t)(table_own(own, c) >> g->at & 1), p0;

		for (unsigned i = 0; i < words; i++) {
			memcpy(&p0, half + (c * words + i) * 8, 8);
			put(&w, (table_word(g, digit, i) ^ m ^ p0) & ring_mask(width), width);
		}
	}
	finish(&w);
}

void plain_lookup_p0(const struct table_digit *g, size_t n, const uint8_t *half, const uint64_t *zhat,
		     uint16_t *j)
{
	size_t bits = 64 * table_words(g->bits);

	for (size_t c = 0; c < n; c++)
		j[c] |= bit_at(half, c * bits + (zhat[c] >> g->shift & ring_mask(g->bits))) << g->at;
}

void plain_lookup_p1(const struct table_digit *g, size_t n, const uint8_t *tables, const uint64_t *zhat,
		     uint16_t *j)
{
	for (size_t c = 0; c < n; c++)
		j[c] |= bit_at(tables, (c << g->bits) + (zhat[c] >> g->shift & ring_mask(g->bits))) << g->at;
}

/* ---- the index ---- */

/* One borrow chain. */
void plain_truth(unsigned digits, uint64_t truth[TABLE_INDEX_WORDS])
{
	memset(truth, 0, TABLE_INDEX_WORDS * sizeof(*truth));
	for (unsigned j = 0; j < 1u << (2 * digits - 1); j++) {
		unsigned borrow = j & 1;

		for (unsigned i = 1; i < digits; i++)
			borrow = (j >> (2 * i - 1) & 1) ^ ((j >> (2 * i) & 1) & borrow);
		truth[j / 64] |= (uint64_t)(borrow ^ 1) << (j % 64);
	}
}

static void permute_word(uint64_t *out, unsigned index, unsigned m)
{
	static const uint64_t low[6] = {0x5555555555555555, 0x3333333333333333, 0x0f0f0f0f0f0f0f0f,
					0x00ff00ff00ff00ff, 0x0000ffff0000ffff, 0x00000000ffffffff};

	for (unsigned i = 0; i < index && i < 6; i++) {
		uint64_t swapped = (*out >> (1u << i) & low[i]) | (*out & low[i]) << (1u << i);

		*out ^= (*out ^ swapped) & -(uint64_t)(m >> i & 1);
	}
}

void plain_permute(const struct table *t, const uint64_t *truth, unsigned m, uint64_t *out)
{
	unsigned words = table_words(t->index);

	for (unsigned q = 0; q < words; q++) {
		out[q] = truth[q];
		permute_word(&out[q], t->index, m);
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

void plain_deal_choose(const struct table *t, const uint64_t *truth, size_t n, const uint8_t *own,
		       const uint8_t *half, uint8_t *out)
{
	unsigned words = table_words(t->index), width = t->index < 6 ? 1u << t->index : 64;
	uint64_t b[TABLE_INDEX_WORDS], p0;
	struct writer w = {.at = out};

	for (size_t c = 0; c < n; c++) {
		unsigned m = table_own(own, c);
		uint64_t gamma = -(uint64_t)(m >> t->index & 1);

		plain_permute(t, truth, m, b);
		for (unsigned i = 0; i < words; i++) {
			memcpy(&p0, half + (c * words + i) * 8, 8);
			put(&w, (b[i] ^ p0 ^ gamma) & ring_mask(width), width);
		}
	}
	finish(&w);
}

/* ---- rows of the select table ---- */

struct row {
	uint64_t b, br, bm, bx;
};

/* P0's half of a row. */
static inline struct row half_row(const struct table *t, const uint8_t *block)
{
	unsigned kout = t->kout, msb = table_msb(t);
	struct row row;

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

/* P1's half of a row of at most 128 bits: b·factors - P0's half, field by field. Without the highest bits no
 * field borrows from the next; they are added without carry. */
static inline unsigned __int128 subtract(const struct table_fields *f, uint64_t b, unsigned __int128 half)
{
	unsigned __int128 v = f->factors & -(unsigned __int128)b, h = f->highest;

	return ((v | h) - (half & ~h)) ^ (~(v ^ half) & h);
}

static inline void put_narrow(const struct table *t, struct writer *w, const struct table_fields *f,
			      uint64_t b, int with_b, const uint8_t *block)
{
	unsigned skip = with_b ? 0 : t->kout;
	unsigned __int128 half;

	memcpy(&half, block, sizeof(half));
	if (t->entry < 128)
		half &= ((unsigned __int128)1 << t->entry) - 1;
	put_wide(w, subtract(f, b, half) >> skip, t->entry - skip);
}

static inline void put_fields(const struct table *t, struct writer *w, uint64_t r, uint64_t x, uint64_t b,
			      int with_b, const uint8_t *block)
{
	struct row half = half_row(t, block);
	unsigned msb = table_msb(t);

	if (with_b)
		put(w, (b - half.b) & ring_mask(t->kout), t->kout);
	put(w, (b * r - half.br) & ring_mask(t->kout), t->kout);
	put(w, (b * (r >> (t->w - 1)) - half.bm) & ring_mask(msb), msb);
	put(w, (b * x - half.bx) & ring_mask(t->extra), t->extra);
}

void plain_deal_rows(const struct table *t, const uint64_t *truth, size_t n, const uint64_t *r,
		     const uint64_t *x, const uint8_t *own, const uint8_t *half, uint8_t *out)
{
	struct writer w = {.at = out};
	uint64_t b[TABLE_INDEX_WORDS];

	for (size_t c = 0; c < n; c++) {
		uint64_t extra = x ? x[c] : 0;
		struct table_fields f =
		    t->blocks == 1 ? table_fields(t, r[c], extra) : (struct table_fields){0};
		unsigned m = table_own(own, c);

		if (t->mode == TABLE_BANDWIDTH)
			b[0] = 1 + (~m >> t->index & 1); /* the rows' b: γ, 1 - γ */
		else
			plain_permute(t, truth, m, b);
		for (unsigned j = 0; j < t->rows; j++, half += t->blocks * PRG_BLOCK) {
			int with_b = !j || t->mode == TABLE_LATENCY;

			if (t->blocks == 1)
				put_narrow(t, &w, &f, b[j / 64] >> (j % 64) & 1, with_b, half);
			else
				put_fields(t, &w, r[c], extra, b[j / 64] >> (j % 64) & 1, with_b, half);
		}
	}
	finish(&w);
}

static inline void store_row(const struct table_rows *out, size_t c, struct row row)
{
	out->b[c] = row.b;
	out->br[c] = row.br;
	out->bm[c] = row.bm;
	out->bx[c] = row.bx;
}

void plain_row_p0(const struct table *t, size_t from, size_t n, const uint8_t *blocks, const uint16_t *row,
		  const struct table_rows *out)
{
	size_t bytes = (size_t)t->blocks * PRG_BLOCK;

	for (size_t c = from; c < n; c++) {
		if (t->mode == TABLE_LATENCY) {
			store_row(out, c, half_row(t, blocks + c * bytes));
			continue;
		}
		store_row(out, c, half_row(t, blocks + (2 * c + row[c]) * bytes));
		if (row[c])
			out->b[c] = -half_row(t, blocks + 2 * c * bytes).b & ring_mask(t->kout);
	}
}

/* The bits of a row without its b, from bit `at`. */
static inline void get_products(const struct table *t, const uint8_t *rows, size_t bytes, size_t at,
				struct row *out)
{
	unsigned msb = table_msb(t);

	out->br = get(rows, bytes, at, t->kout);
	out->bm = msb ? get(rows, bytes, at + t->kout, msb) : 0;
	out->bx = t->extra ? get(rows, bytes, at + t->kout + msb, t->extra) : 0;
}

void plain_row_p1(const struct table *t, size_t from, size_t n, const uint8_t *rows, size_t bytes,
		  const uint16_t *row, const struct table_rows *out)
{
	for (size_t c = from; c < n; c++) {
		size_t first = c * table_rows_bits(t), at = first + (size_t)row[c] * t->entry;
		int short_row = t->mode == TABLE_BANDWIDTH && row[c];
		struct row found;

		found.b = get(rows, bytes, short_row ? first : at, t->kout);
		if (short_row)
			found.b = (1 - found.b) & ring_mask(t->kout);
		get_products(t, rows, bytes, short_row ? at : at + t->kout, &found);
		store_row(out, c, found);
	}
}
