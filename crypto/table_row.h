/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/table_row.h — what crypto/table*.c share: the pieces of the one-time tables, and rows of kernels for
 * them. */
#ifndef OBSCURA_CRYPTO_TABLE_ROW_H
#define OBSCURA_CRYPTO_TABLE_ROW_H

#include "crypto/cpu.h"
#include "crypto/ring.h"
#include "crypto/table.h"

#define TABLE_INDEX_WORDS 32 /* 2^11 bits */

/* The lt or eq tables of one digit: bits [shift, shift + bits) of a word; their share is bit `at` of the
 * index. */
struct table_digit {
	uint8_t bits, shift, at;
	uint8_t equal, top;
};

/* Each kernel does the first of n comparisons and returns how many: a multiple of 8, so that the rest begins
 * at a whole byte of every piece. NULL: none. Arguments as those of the functions of table_plain.c, which do
 * the rest. */
struct table_kernels {
	size_t (*deal_digit)(const struct table_digit *g, size_t n, const uint64_t *r, const uint8_t *own,
			     const uint8_t *half, uint8_t *out);
	size_t (*deal_choose)(const struct table *t, const uint64_t *truth, size_t n, const uint8_t *own,
			      const uint8_t *half, uint8_t *out);
	size_t (*deal_rows)(const struct table *t, const uint64_t *truth, size_t n, const uint64_t *r,
			    const uint64_t *x, const uint8_t *own, const uint8_t *half, uint8_t *out);
	size_t (*lookup_p0)(const struct table_digit *g, size_t n, const uint8_t *half, const uint64_t *zhat,
			    uint16_t *j);
	size_t (*lookup_p1)(const struct table_digit *g, size_t n, const uint8_t *tables,
			    const uint64_t *zhat, uint16_t *j);
	size_t (*row_p0)(const struct table *t, size_t n, const uint8_t *blocks, const uint16_t *row,
			 const struct table_rows *out);
	size_t (*row_p1)(const struct table *t, size_t n, const uint8_t *rows, size_t bytes,
			 const uint16_t *row, const struct table_rows *out);
};
extern const struct table_kernels table_avx2, table_avx512;

/* 64-bit words of a table of 2^b bits in P0's stream. */
static inline size_t table_words(unsigned b)
{
	return b > 6 ? (size_t)1 << (b - 6) : 1;
}

/* Bits of b·msb(r) in a row. */
static inline unsigned table_msb(const struct table *t)
{
	return t->kout > t->w ? t->kout - t->w : 0;
}

/* Bits of all rows of one comparison. In bandwidth mode the second row has no b. */
static inline size_t table_rows_bits(const struct table *t)
{
	return (size_t)t->rows * t->entry - (t->mode == TABLE_BANDWIDTH ? t->kout : 0);
}

/* The 16 bits of the dealer's own stream for comparison i. */
static inline unsigned table_own(const uint8_t *own, size_t i)
{
	return own[2 * i] | own[2 * i + 1] << 8;
}

/* The fields of a row of at most 128 bits as one number: 1, r, msb(r), x, and the highest bit of each. */
struct table_fields {
	unsigned __int128 factors, highest;
};
static inline struct table_fields table_fields(const struct table *t, uint64_t r, uint64_t x)
{
	unsigned kout = t->kout, msb = table_msb(t);
	unsigned __int128 one = 1;
	struct table_fields f = {
	    .factors = one | (unsigned __int128)(r & ring_mask(kout)) << kout,
	    .highest = one << (kout - 1) | one << (2 * kout - 1),
	};

	if (msb) {
		f.factors |= (unsigned __int128)(r >> (t->w - 1) & 1) << (2 * kout);
		f.highest |= one << (2 * kout + msb - 1);
	}
	if (t->extra) {
		f.factors |= (unsigned __int128)(x & ring_mask(t->extra)) << (2 * kout + msb);
		f.highest |= one << (t->entry - 1);
	}
	return f;
}

/* crypto/table_plain.c, the oracle. truth: b = [z >= 0] for each value of the index, a bit string.
 * out[j] = truth[j ^ m]: a swap of halves for each bit of m. */
void plain_truth(unsigned digits, uint64_t truth[TABLE_INDEX_WORDS]);
void plain_permute(const struct table *t, const uint64_t *truth, unsigned m, uint64_t *out);
void plain_deal_digit(const struct table_digit *g, size_t n, const uint64_t *r, const uint8_t *own,
		      const uint8_t *half, uint8_t *out);
void plain_deal_choose(const struct table *t, const uint64_t *truth, size_t n, const uint8_t *own,
		       const uint8_t *half, uint8_t *out);
/* x: NULL if there is none. */
void plain_deal_rows(const struct table *t, const uint64_t *truth, size_t n, const uint64_t *r,
		     const uint64_t *x, const uint8_t *own, const uint8_t *half, uint8_t *out);
void plain_lookup_p0(const struct table_digit *g, size_t n, const uint8_t *half, const uint64_t *zhat,
		     uint16_t *j);
void plain_lookup_p1(const struct table_digit *g, size_t n, const uint8_t *tables, const uint64_t *zhat,
		     uint16_t *j);
/* Rows from comparison `from` on; blocks, rows and out begin at comparison 0. */
void plain_row_p0(const struct table *t, size_t from, size_t n, const uint8_t *blocks, const uint16_t *row,
		  const struct table_rows *out);
void plain_row_p1(const struct table *t, size_t from, size_t n, const uint8_t *rows, size_t bytes,
		  const uint16_t *row, const struct table_rows *out);

/* crypto/table.c: the functions of table.h with given kernels. crypto/table_check.c: whether kernels do what
 * plain C does. */
void table_deal_by(const struct table_kernels *k, const struct table *t, size_t n, const uint64_t *r,
		   const uint64_t *x, const uint8_t *p0, const uint8_t *own, uint8_t *out);
void table_lookup_p0_by(const struct table_kernels *k, const struct table *t, size_t n, const uint8_t *p0,
			const uint64_t *zhat, uint16_t *j);
void table_lookup_p1_by(const struct table_kernels *k, const struct table *t, size_t n,
			const uint8_t *corrections, const uint64_t *zhat, uint16_t *j);
void table_row_p0_by(const struct table_kernels *k, const struct table *t, size_t n, const uint8_t *blocks,
		     const uint16_t *row, const struct table_rows *out);
void table_row_p1_by(const struct table_kernels *k, const struct table *t, size_t n,
		     const uint8_t *corrections, const uint16_t *row, const struct table_rows *out);
int table_kernels_are_right(const void *kernels);

#endif
