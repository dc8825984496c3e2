/* SPDX-License-Identifier: Apache-2.0 */
/* nn/he_pack.h — linear layers as products of polynomials: coefficient packing (Cheetah, USENIX Security
 * 2022).
 *
 * Every term of a linear row becomes one convolution: a dense layer is one of 1 × 1 pixels, a sum pool behind
 * a convolution is merged into its kernel. The (padded) image is cut into tiles of h × w pixels that overlap;
 * a polynomial holds c channels of one tile:
 *	x[(i h + y) w + x']			pixel (y, x') of channel i of the block
 *	w[((m c + c-1-i) h + K_h-1-a) w + K_w-1-b]	weight (a, b) of filter m of the block for channel i
 *	y[((m c + c-1) h + y s_h + K_h-1) w + x s_w + K_w-1]
 *						output (y, x) of filter m in the negacyclic product
 * K: the kernel's extent. Wanted coefficients get no other products when m c h w <= N: an output's window
 * never leaves its row, its tile or its block, and what wraps around X^N = -1 lands below the first of
 * them. */
#ifndef OBSCURA_NN_HE_PACK_H
#define OBSCURA_NN_HE_PACK_H

#include "nn/tape.h"

/* A term without its values: y = conv(x), weights out.c × in.c/groups × kh × kw. */
struct he_conv {
	struct window win;
	uint32_t groups;
};

/* 1: every window of the pool lies inside the sum, so that it can be merged into the kernels of the terms. */
int he_conv_folds(const struct window *post);
/* The convolution that a term (not TERM_SKIP) is; post: a pool to merge, or NULL. ERR_INPUT when its kernel
 * becomes too large. */
int he_conv_of(struct he_conv *conv, const struct term *t, const struct window *post, struct err *e) MUST_USE;
static inline size_t he_conv_weights(const struct he_conv *c)
{
	return (size_t)c->win.out.c * (c->win.in.c / c->groups) * c->win.kh * c->win.kw;
}
/* Its weights, he_conv_weights of them, from the term's. */
void he_conv_fold(const struct he_conv *conv, const struct term *t, const struct window *post,
		  const int64_t *weights, int64_t *out);

/* The same as a term of a linear row, for kernels of nn/linear.h: dense when there is but one pixel. */
void he_conv_term(struct term *t, const struct he_conv *conv);

/* How a convolution is cut. One axis: pixel p of the padded image is pixel p * step - pad of the input. */
struct he_axis {
	uint32_t tiles, outputs; /* in a tile */
	uint32_t size;		 /* pixels of a tile: (outputs - 1) stride + extent */
	uint32_t stride, extent, step;
};
struct he_layout {
	struct he_conv conv;
	size_t n; /* N */
	struct he_axis y, x;
	uint32_t c, m;		     /* channels and filters in a polynomial */
	uint32_t c_blocks, m_blocks; /* polynomials for all of them */
};
/* What decides: bytes of a ciphertext up, of c1 down; at most so many filters in a polynomial. */
struct he_price {
	size_t up, down;
	uint32_t filters;
};

/* The cheapest cut, ties to the fewer weight polynomials. -1 when not even one output fits N coefficients
 * (ERR_INPUT). */
int he_layout_choose(struct he_layout *l, const struct he_conv *conv, size_t n, const struct he_price *price,
		     struct err *e) MUST_USE;

static inline uint64_t he_layout_tiles(const struct he_layout *l)
{
	return (uint64_t)l->y.tiles * l->x.tiles;
}
static inline uint64_t he_layout_inputs(const struct he_layout *l)
{
	return he_layout_tiles(l) * l->c_blocks;
}
static inline uint64_t he_layout_outputs(const struct he_layout *l)
{
	return he_layout_tiles(l) * l->m_blocks;
}

/* Polynomial `block` of `tile`: N words, from the input's integers. */
void he_layout_input(const struct he_layout *l, uint64_t tile, uint32_t block, const int64_t *x,
		     uint64_t *poly);
/* The first and the number of channel blocks that filters of a block need. */
void he_layout_needs(const struct he_layout *l, uint32_t m_block, uint32_t *first, uint32_t *blocks);
/* The weight polynomial of a pair of blocks: N coefficients. */
void he_layout_weights(const struct he_layout *l, uint32_t c_block, uint32_t m_block, const int64_t *weights,
		       int64_t *poly);
/* How many outputs polynomial `block` of `tile` has. */
size_t he_layout_count(const struct he_layout *l, uint64_t tile, uint32_t block);
/* Which coefficients of output polynomial `block` of `tile` are wanted, in rising order, and which elements
 * of the output they are. Returns how many, at most N. */
size_t he_layout_wanted(const struct he_layout *l, uint64_t tile, uint32_t block, uint32_t *coefficient,
			uint32_t *element);

#endif
