/* SPDX-License-Identifier: Apache-2.0 */
/* nn/interval.h — proven ranges of integers, and the conditions of PROTOCOL.md §6 that tie them to a word's
 * width. */
#ifndef OBSCURA_NN_INTERVAL_H
#define OBSCURA_NN_INTERVAL_H

#include "nn/plan.h"

/* Ranges of the elements of one value: lo[i] <= integer <= hi[i] for every input and every rounding. */
struct range {
	int64_t *lo, *hi; /* own; NULL before they are known */
	size_t n;
};
int range_new(struct range *r, size_t n, struct err *e) MUST_USE;
void range_free(struct range *r);
void range_ends(const struct range *r, int64_t *lo, int64_t *hi);

/* ⌊v / 2^f⌋ and ⌈v / 2^f⌉: what y / 2^f can become when it is rounded down or up. */
int64_t interval_floor(int64_t v, unsigned f);
int64_t interval_ceil(int64_t v, unsigned f);

/* The rows of §6, each as written there. 1: the range fits words of k bits. */
int interval_relu_fits(int64_t lo, int64_t hi, unsigned k, unsigned f);
int interval_max_fits(int64_t lo, int64_t hi, unsigned k, unsigned f); /* ends over one set */
int interval_offset_fits(int64_t lo, int64_t hi, unsigned k, unsigned f, unsigned offset_log2);
int interval_last_fits(int64_t lo, int64_t hi, unsigned k);

/* Ranges of what a row gives, element by element. RANGE_BEYOND: some bound is beyond 2^61, no word holds it;
 * -1: e is set. */
enum { RANGE_BEYOND = 1 };
/* Σ terms + bias, before a post pool; in[j]: the range of term j's input; weights, bias as in struct
 * layer_weights. */
int interval_linear(const struct row *row, const struct range *const in[], const int64_t *weights,
		    const int64_t *bias, struct range *out, struct err *e) MUST_USE;
/* factor(position) · sum over the windows; factors may be NULL. */
int interval_pool(const struct window *win, const uint32_t *factors, const struct range *in,
		  struct range *out, struct err *e) MUST_USE;
/* n ranges, each times 2^shift, added or one after another. */
int interval_join(const struct range *const in[], const uint8_t *shift, uint16_t n, int concat,
		  struct range *out, struct err *e) MUST_USE;
/* Of y / 2^f, rounded either way: its positive part, itself, its square, its maximum over sets. */
void interval_relu(const struct range *y, unsigned f, struct range *out);
void interval_trunc(const struct range *y, unsigned f, struct range *out);
int interval_square(const struct range *y, unsigned f, struct range *out) MUST_USE;
void interval_max(const struct pool_sets *sets, const struct range *y, unsigned f, struct range *out);

#endif
