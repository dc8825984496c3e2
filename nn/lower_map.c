/* SPDX-License-Identifier: Apache-2.0 */
/* Public linear maps of shares: average pools, padding, concatenation, additions. */
#include <stdlib.h>

#include "nn/lower.h"

#define LISTED (4 * (uint64_t)NN_MAX_ELEMENTS) /* members of all windows of a pool (tape_check) */
#define LCM_MAX (1u << 16)

int lower_equal_divisors(const struct node *pool)
{
	for (size_t i = 1; i < (size_t)pool->shape.h * pool->shape.w; i++)
		if (pool->divisors[i] != pool->divisors[0])
			return 0;
	return 1;
}

int lower_window(struct lowering *l, const struct node *n)
{
	if (n->kind == NN_AVGPOOL && (n->win.dh > 1 || n->win.dw > 1))
		return err_set(l->e, ERR_INPUT,
			       "node %s: dilated average pools are not supported; use dilation 1", n->name);
	if (shape_size(n->shape) > LISTED / ((uint64_t)n->win.kh * n->win.kw))
		return err_set(
		    l->e, ERR_INPUT,
		    "node %s: its windows cover too many elements; use smaller windows or larger strides",
		    n->name);
	return 0;
}

/* 0 when there are too many different divisors. */
static uint32_t common_divisor(const struct node *pool)
{
	uint64_t lcm = 1;

	if (lower_equal_divisors(pool))
		return pool->divisors[0];
	for (size_t i = 0; i < (size_t)pool->shape.h * pool->shape.w; i++) {
		uint64_t a = lcm, b = pool->divisors[i];

		while (b) {
			uint64_t rest = a % b;

			a = b;
			b = rest;
		}
		lcm = lcm / a * pool->divisors[i];
		if (lcm > LCM_MAX)
			return 0;
	}
	return (uint32_t)lcm;
}

static int set_factors(struct lowering *l, struct row *row, const struct node *n, uint32_t lcm)
{
	size_t plane = (size_t)n->shape.h * n->shape.w;

	if (lower_equal_divisors(n))
		return 0;
	row->factors = calloc(plane, sizeof(*row->factors));
	if (!row->factors)
		return lower_no_memory(l);
	for (size_t i = 0; i < plane; i++)
		row->factors[i] = lcm / n->divisors[i];
	return 0;
}

/* Average pool of shares: a sum; what it is divided by goes into the scale, powers of two as fractional bits.
 */
int lower_pool(struct lowering *l, uint32_t node)
{
	const struct node *n = lower_node(l, node);
	int share = lower_share(l, n->inputs[0]), out;
	uint32_t lcm, twos;
	struct row *row;
	uint16_t in;

	if (share < 0 || lower_window(l, n))
		return -1;
	lcm = common_divisor(n);
	if (!lcm)
		return err_set(
		    l->e, ERR_INPUT,
		    "node %s: average windows of so many different sizes; use count_include_pad=True",
		    n->name);
	twos = (uint32_t)__builtin_ctz(lcm);
	if (l->meaning[share].divisor != 1 &&
	    l->meaning[share].divisor * (uint64_t)(lcm >> twos) > LOWER_MAX_DIVISOR)
		share = lower_divided(l, share, n->name);
	in = (uint16_t)share;
	if (share < 0 || (out = lower_value(l, FORM_SHARE, n->shape, 0)) < 0 ||
	    !(row = lower_row(l, OP_MAP, n->name, &in, 1, (uint16_t)out)))
		return -1;
	row->map = MAP_POOL;
	row->post = n->win;
	if (set_factors(l, row, n, lcm) ||
	    lower_proven(
		l, n->name,
		interval_pool(&n->win, row->factors, &l->meaning[share].range, &l->meaning[out].range, l->e)))
		return -1;
	l->meaning[out].frac = l->meaning[share].frac + twos;
	l->meaning[out].extra = l->meaning[share].extra + twos;
	l->meaning[out].divisor = l->meaning[share].divisor * (lcm >> twos);
	return out;
}

static void pad_range(const struct window *w, const struct range *in, struct range *out)
{
	for (uint32_t c = 0; c < w->in.c; c++)
		for (uint32_t y = 0; y < w->in.h; y++)
			for (uint32_t x = 0; x < w->in.w; x++) {
				size_t to = ((size_t)c * w->out.h + y + (uint32_t)w->pt) * w->out.w + x +
					    (uint32_t)w->pl;
				size_t from = ((size_t)c * w->in.h + y) * w->in.w + x;

				out->lo[to] = in->lo[from];
				out->hi[to] = in->hi[from];
			}
}

int lower_is_padding(const struct window *w)
{
	return w->pt >= 0 && w->pl >= 0 && (uint64_t)w->in.h + (uint32_t)w->pt <= w->out.h &&
	       (uint64_t)w->in.w + (uint32_t)w->pl <= w->out.w;
}

int lower_pad(struct lowering *l, uint32_t node)
{
	const struct node *n = lower_node(l, node);
	const struct window *w = &n->win;
	int share = lower_share(l, n->inputs[0]), out;
	uint16_t in = (uint16_t)share;
	struct row *row;

	if (share < 0)
		return -1;
	if (!lower_is_padding(w))
		return err_set(l->e, ERR_INPUT, "node %s: negative pads are not supported", n->name);
	if ((out = lower_value(l, FORM_SHARE, n->shape, 0)) < 0 ||
	    !(row = lower_row(l, OP_MAP, n->name, &in, 1, (uint16_t)out)))
		return -1;
	row->map = MAP_PAD;
	row->post = n->win;
	pad_range(w, &l->meaning[share].range, &l->meaning[out].range);
	l->meaning[out].frac = l->meaning[share].frac;
	l->meaning[out].extra = l->meaning[share].extra;
	l->meaning[out].divisor = l->meaning[share].divisor;
	return out;
}

/* The shares to be joined, with one divisor: their own if it is the same, else 1. */
static int join_inputs(struct lowering *l, const struct node *n, uint16_t in[NN_MAX_INPUTS])
{
	int same = 1;

	for (uint32_t i = 0; i < n->n_inputs; i++) {
		int share = lower_share(l, n->inputs[i]);

		if (share < 0)
			return -1;
		in[i] = (uint16_t)share;
		same &= l->meaning[share].divisor == l->meaning[in[0]].divisor;
	}
	for (uint32_t i = 0; !same && i < n->n_inputs; i++) {
		int share = lower_divided(l, in[i], n->name);

		if (share < 0)
			return -1;
		in[i] = (uint16_t)share;
	}
	return 0;
}

/* Shifts that bring all to the finest scale; returns its value. */
static int finest(struct lowering *l, const uint16_t *in, uint32_t n, uint8_t *shift, const char *name)
{
	int best = in[0];

	for (uint32_t i = 1; i < n; i++)
		if (l->meaning[in[i]].frac > l->meaning[best].frac)
			best = in[i];
	for (uint32_t i = 0; i < n; i++) {
		unsigned s = l->meaning[best].frac - l->meaning[in[i]].frac;

		if (s > LOWER_MAX_FRAC)
			return err_set(l->e, ERR_INPUT,
				       "node %s: joins values whose scales are %u bits apart", name, s);
		shift[i] = (uint8_t)s;
	}
	return best;
}

/* Concatenation, or the sum of shares. */
int lower_join(struct lowering *l, uint32_t node, enum map_kind map)
{
	const struct node *n = lower_node(l, node);
	const struct range *from[NN_MAX_INPUTS];
	uint16_t in[NN_MAX_INPUTS] = {0};
	uint8_t shift[NN_MAX_INPUTS];
	struct row *row;
	int out, best;

	if (join_inputs(l, n, in) || (best = finest(l, in, n->n_inputs, shift, n->name)) < 0 ||
	    (out = lower_value(l, FORM_SHARE, n->shape, 0)) < 0 ||
	    !(row = lower_row(l, OP_MAP, n->name, in, (uint16_t)n->n_inputs, (uint16_t)out)))
		return -1;
	row->map = map;
	for (uint32_t i = 0; i < n->n_inputs; i++) {
		row->shift[i] = shift[i];
		from[i] = &l->meaning[in[i]].range;
	}
	if (lower_proven(l, n->name,
			 interval_join(from, shift, (uint16_t)n->n_inputs, map == MAP_CONCAT,
				       &l->meaning[out].range, l->e)))
		return -1;
	l->meaning[out].frac = l->meaning[best].frac;
	l->meaning[out].extra = l->meaning[best].extra;
	l->meaning[out].divisor = l->meaning[best].divisor;
	return out;
}
