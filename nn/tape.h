/* SPDX-License-Identifier: Apache-2.0 */
/* nn/tape.h — the public plan of one network: values and operator rows. No weight, bias, interval or
 * activation is in it. */
#ifndef OBSCURA_NN_TAPE_H
#define OBSCURA_NN_TAPE_H

#include <stddef.h>
#include <stdint.h>
#include "conf/err.h"
#include "crypto/table.h"
#include "nn/graph.h"

#define TAPE_MAX_ROWS 512
#define TAPE_MAX_TERMS 8

/* What a value is to the parties (PROTOCOL.md §1-2). */
enum form {
	FORM_SHARE, /* x = x0 + x1 mod 2^k: P0 holds x0, P1 holds x1. The input is x0 = pixels, x1 = 0. */
	FORM_DIFF,  /* P1 holds x̄ = x - a mod 2^k; P0 and D hold a */
	/* P1 holds ŷ = y + ρ mod 2^k; D holds ρ; P0 holds nothing yet. f low bits are to be dropped. */
	FORM_MASKED,
	FORM_RESULT, /* revealed to P0, mod 2^k, signed */
};

struct value {
	enum form form;
	struct shape shape;
	uint8_t k, f; /* 1 <= k <= 62; w = k - f >= 2 for FORM_MASKED; f = 0 otherwise */
};

enum op_kind {
	OP_MASK,
	OP_LINEAR,
	OP_MAP,
	OP_RELU,
	OP_MAX,
	OP_TRUNC,
	OP_SQUARE,
	OP_ARGMAX,
	OP_REVEAL,
	OP_KINDS
};

/* One summand of a linear row: a map of a FORM_DIFF value. */
enum term_kind {
	TERM_CONV,  /* win, groups; weights out.c × in.c/groups × kh × kw */
	TERM_DENSE, /* weights m × n, m = win.out.c, n = shape_size(win.in) */
	TERM_SKIP,  /* 2^shift times the value itself, public */
};
struct term {
	enum term_kind kind;
	uint16_t in; /* value */
	struct window win;
	uint32_t groups;
	uint8_t shift;
};
static inline size_t term_weights(const struct term *t)
{
	if (t->kind == TERM_CONV)
		return (size_t)t->win.out.c * (t->win.in.c / t->groups) * t->win.kh * t->win.kw;
	return t->kind == TERM_DENSE ? (size_t)t->win.out.c * shape_size(t->win.in) : 0;
}

/* Words of memory that the weights take at most in a kernel's layout (nn/linear_blocked.c): of a dense term,
 * outputs in whole vectors of 64 bytes, so that a row of one output for many inputs takes eight times its
 * words. */
static inline uint64_t term_room(const struct term *t)
{
	return t->kind == TERM_DENSE ? ((uint64_t)t->win.out.c + 7) / 8 * 8 * shape_size(t->win.in)
				     : term_weights(t);
}

/* Public linear maps that each party applies to its own FORM_SHARE part; no message (OP_MAP). */
enum map_kind {
	/* out = factor(position) * sum over win of in[0]; factor = 1, or lcm(divisors)/divisor where the
	 * divisors differ */
	MAP_POOL,
	MAP_PAD,    /* zeros around in[0]: win with kernel and stride 1, like NN_PAD */
	MAP_CONCAT, /* in[0..n) along channels, each shifted left by shift[i] */
	MAP_ADD,    /* Σ in[i] << shift[i] */
};

/* One step of the tape. Fields that a kind does not name are 0. */
struct row {
	enum op_kind kind;
	uint16_t in[TAPE_MAX_TERMS], n_in; /* OP_LINEAR: = the terms' in; others: 1, or n for OP_MAP */
	uint16_t out;
	/* OP_LINEAR: out is FORM_MASKED (k, f) or FORM_SHARE (k; the last layer of §2: c1 streamed, then
	 * OP_REVEAL). y = pool(Σ terms + bias) with pool = sum over `post` windows when has_post. Terms' maps
	 * are computed mod 2^k of out. */
	struct term terms[TAPE_MAX_TERMS];
	uint16_t n_terms;
	uint8_t has_post;
	struct window post; /* OP_LINEAR post pool; OP_MAX and OP_MAP: the window */
	/* OP_MAP */
	enum map_kind map;
	uint8_t shift[TAPE_MAX_TERMS];
	/* owns: MAP_POOL with unequal divisors: out.h × out.w public factors; else NULL */
	uint32_t *factors;
	/* OP_RELU, OP_MAX, OP_ARGMAX: mode of the comparisons */
	enum table_mode mode;
	/* OP_TRUNC, OP_SQUARE: z = y / 2^f with offset 2^offset_log2 added by P1 before masking is used
	 * (offset_log2 >= f) */
	uint8_t offset_log2;
};
/* Kinds, forms:
 *   OP_MASK    SHARE → DIFF (same k, shape)			P0 sends e = x0 - a
 *   OP_LINEAR  DIFF… → MASKED | SHARE
 *   OP_MAP     SHARE… → SHARE
 *   OP_RELU    MASKED → SHARE (k = kout)			max(y / 2^f, 0)
 *   OP_MAX     MASKED (k, f) → MASKED (k = w, f = 0)		windowed maximum of y / 2^f, w = k - f
 *   OP_TRUNC   MASKED → SHARE					y / 2^f, signed
 *   OP_SQUARE  MASKED → SHARE					(y / 2^f)^2
 *   OP_ARGMAX  MASKED (f = 0) → SHARE (k = ⌈log2 C⌉, shape 1)	index of the maximum, ties to the lower
 *   OP_REVEAL  SHARE → RESULT					P1 sends its share; always the last row */

/* Owns everything. Value 0 is the input (FORM_SHARE). */
struct tape {
	struct value *values;
	uint16_t n_values;
	struct row *rows;
	uint16_t n_rows;
};

/* Checks everything that a stranger's tape could break: indices, forms, shapes, widths, windows inside
 * bounds, sizes ≤ NN_MAX_ELEMENTS, order (each value written once, before it is read), last row OP_REVEAL.
 * Everything after tape_check may trust the tape. */
int tape_check(const struct tape *tape, struct err *e) MUST_USE;
void tape_free(struct tape *tape);

/* The elements of each output of a pooling window, for OP_MAX: sets of input indices. */
struct pool_sets {
	size_t outputs;	  /* shape_size(win.out) */
	uint32_t *start;  /* outputs + 1 */
	uint32_t *member; /* input indices, in window order */
	uint32_t largest; /* size of the largest set */
};
int pool_sets_new(struct pool_sets *sets, const struct window *win, struct err *e) MUST_USE;
void pool_sets_free(struct pool_sets *sets);

/* MAP rows in the ring: out = map of in[] mod 2^k (nn/map.c). in[i]: n_i words; out: shape_size words. */
void map_apply(const struct tape *tape, const struct row *row, const uint64_t *const in[], uint64_t *out);
/* The same before it is reduced: mod 2^64. */
void map_integers(const struct tape *tape, const struct row *row, const uint64_t *const in[], uint64_t *out);

#endif
