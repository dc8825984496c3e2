/* SPDX-License-Identifier: Apache-2.0 */
/* nn/linear.h — ring kernels of linear rows: y += M·x mod 2^k for convolutions and dense layers, many images
 * at once. */
#ifndef OBSCURA_NN_LINEAR_H
#define OBSCURA_NN_LINEAR_H

#include "nn/tape.h"

/* The matrix of one term, packed once for the kernel tier in force. */
struct linear;

/* Returns new. m: term_weights(t) words mod 2^64 (only their low k bits matter), k <= 62 the ring of the
 * row's output. small: every |m[i]| as int64 is < 2^31 (a hint for narrower kernels: W is small, F and B are
 * not). NULL when memory is short. */
struct linear *linear_new(const struct term *t, const uint64_t *m, unsigned k, int small, struct err *e);
void linear_free(struct linear *l); /* wipes */

/* For b in [0, batch): y[b] += M·x[b]; x[b] = x + b*x_stride (shape_size(win.in) words), y[b] = y +
 * b*y_stride (shape_size(win.out)). Results are right mod 2^k; upper bits are unspecified: mask after the
 * last addition. scratch: linear_scratch(l, batch) bytes, 64-aligned. */
void linear_apply(const struct linear *l, const uint64_t *x, size_t x_stride, uint64_t *y, size_t y_stride,
		  size_t batch, void *scratch);
size_t linear_scratch(const struct linear *l, size_t batch);

/* out[c][y][x] = Σ window of in (sum pool), mod 2^64. */
void linear_pool(const struct window *win, const uint64_t *in, uint64_t *out);

/* Multiply-adds of the term for one image. */
uint64_t term_multiply_adds(const struct term *t);

#endif
