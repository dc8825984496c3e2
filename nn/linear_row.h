/* SPDX-License-Identifier: Apache-2.0 */
/* nn/linear_row.h — what nn/linear*.c share: the rows of kernels, and a matrix packed for one of them. */
#ifndef OBSCURA_NN_LINEAR_ROW_H
#define OBSCURA_NN_LINEAR_ROW_H

#include "crypto/cpu.h"
#include "nn/linear.h"

/* A tile is `rows` × `vectors` accumulators, one vector register each. Step i of its depth does
 *	acc[r][p] += v[at[i] + p*lanes ...] * s(r, i)		for all r < rows, p < vectors
 * and at the end y[r*y_stride + p*lanes ...] += acc[r][p]; of the last vector only `last` lanes exist.
 * Convolution: vectors are pixels, s is the packed weight s[i*rows + r]. Dense: vectors are outputs (packed
 * weights), s is the input s[r*s_stride + i] of image r. */
struct tile {
	size_t depth;
	const void *v;
	const uint32_t *at; /* in elements of v */
	const void *s;
	size_t s_stride;
	uint64_t *y;
	size_t y_stride;
	unsigned last; /* 1 … lanes */
};
typedef void (*tile_fn)(const struct tile *t);

/* By what the products are exact: mod 2^32 in lanes of 32 bits, mod 2^52 and mod 2^64 in lanes of 64. In
 * _INT, v holds weights as int32_t, which are widened as they are loaded: half the memory. */
enum tile_kind {
	CONV_32,
	CONV_52,
	CONV_64,
	DENSE_32,
	DENSE_52,
	DENSE_64,
	DENSE_52_INT,
	DENSE_64_INT,
	TILE_KINDS
};

#define TILE_ROWS 8
#define TILE_VECTORS 8
#define TILE_TAKE 12 /* how fewer than so many rows are split is a table */

struct linear_kernels {
	unsigned lanes; /* of 64 bits */
	tile_fn tiles[TILE_KINDS][TILE_ROWS + 1][TILE_VECTORS + 1];
	uint8_t
	    vectors[TILE_ROWS + 1];  /* the most that there are for so many rows; all fewer exist as well */
	uint8_t take[TILE_TAKE + 1]; /* rows of the next tile when so many (TILE_TAKE: or more) are left */
	/* out[r*width + c] = x[r*row_step + c*step] for r < rows, c < n; out holds 32-bit words when narrow.
	 */
	void (*gather)(const uint64_t *x, size_t row_step, size_t step, size_t rows, size_t n, void *out,
		       size_t width, int narrow);
};

/* One row of the table of kernels. */
struct linear_row {
	enum cpu_tier tier;
	const struct linear_kernels *kernels; /* NULL: plain C */
};

extern const struct linear_kernels linear_avx512, linear_avx2;

#define CONV_RUNS 64 /* a kernel of more rows is left to plain C */

/* Rows of the input, each sh after the one before it, that kernel rows `first` … see; gathered one below the
 * other. */
struct conv_run {
	uint32_t first; /* kernel row */
	uint32_t more;	/* rows beyond the band's */
	uint32_t at;	/* where in the unit, in rows */
};

struct linear {
	struct term term;
	const struct linear_row *row;
	enum tile_kind kind;
	unsigned lanes;
	size_t element; /* bytes of a packed weight; of an element of v as well */
	void *m;	/* owns: the matrix as the row wants it, 64-aligned */
	size_t bytes;
	uint32_t *at; /* owns: depth entries */
	size_t depth; /* steps of a tile, at most */
	/* Dense: the outputs stand in columns of `column` vectors, input after input in each. */
	size_t column;
	/* Convolution: a unit is one column of one input channel's kernel, kh weights. So many at a time, for
	 * so many rows of output. */
	size_t units, band, unit_rows;
	unsigned n_runs;
	struct conv_run runs[CONV_RUNS];
};

/* The outputs o, from <= o < to, whose input first + o*step lies in [0, in). */
struct span {
	size_t from, to;
};
static inline struct span linear_span(int64_t first, uint32_t step, uint32_t in, size_t n)
{
	int64_t from = first < 0 ? (-first + step - 1) / step : 0,
		to = in > first ? (in - first + step - 1) / step : 0;

	if (to > (int64_t)n)
		to = (int64_t)n;
	return (struct span){(size_t)from, (size_t)(to > from ? to : from)};
}

/* nn/linear.c: the same as linear_new, for a given row. */
struct linear *linear_new_row(const struct linear_row *row, const struct term *t, const uint64_t *m,
			      unsigned k, int small, struct err *e);

/* nn/linear_plain.c */
void plain_apply(const struct linear *l, const uint64_t *x, uint64_t *y);

/* nn/linear_blocked.c: choose block sizes (0, or -1 if this shape is left to plain C); pack m into l->m,
 * l->bytes of zeros; apply. */
int blocked_choose(struct linear *l, unsigned k, int small);
void blocked_offsets(struct linear *l);
void blocked_pack(struct linear *l, const uint64_t *m);
size_t blocked_scratch(const struct linear *l);
void blocked_apply(const struct linear *l, const uint64_t *x, size_t x_stride, uint64_t *y, size_t y_stride,
		   size_t batch, void *scratch);

/* nn/linear_check.c: whether a row reproduces the fixed vectors. */
int linear_row_is_right(const struct linear_row *row);

#endif
