/* SPDX-License-Identifier: Apache-2.0 */
/* From the nodes of a graph to the rows of a tape: which form each node's value takes, and what is fused with what. */
#include <stdlib.h>
#include <string.h>

#include "nn/lower.h"

static const struct node *node_of(const struct lowering *l, uint32_t node)
{
	return &l->g->nodes[node];
}

/* Nodes whose value is naturally a sum of layers, not yet shares. */
static int is_sum(const struct lowering *l, uint32_t node)
{
	enum nn_kind kind = node_of(l, node)->kind;

	if (kind == NN_CONV || kind == NN_DENSE)
		return 1;
	if (kind != NN_ADD)
		return 0;
	return is_sum(l, node_of(l, node)->inputs[0]) || is_sum(l, node_of(l, node)->inputs[1]);
}

static int equal_divisors(const struct node *pool)
{
	for (size_t i = 1; i < (size_t)pool->shape.h * pool->shape.w; i++)
		if (pool->divisors[i] != pool->divisors[0])
			return 0;
	return 1;
}

/* An average pool that a linear row applies to its own output. */
static int is_post_pool(const struct lowering *l, uint32_t node)
{
	const struct node *n = node_of(l, node);

	return n->kind == NN_AVGPOOL && is_sum(l, n->inputs[0]) && l->consumers[n->inputs[0]] == 1 && equal_divisors(n);
}

static struct meaning *meaning_of(struct lowering *l, int value)
{
	return &l->meaning[value];
}

static int lower_masked(struct lowering *l, uint32_t node);

/* MASKED (k, f) → MASKED (w, 0). */
static int lower_max(struct lowering *l, uint32_t node, int wire)
{
	const struct node *n = node_of(l, node);
	uint16_t in = wire;
	unsigned f;
	struct pool_sets sets;
	struct row *row;
	int out;

	if (wire < 0 || (out = lower_value(l, FORM_MASKED, n->shape, 0)) < 0 || !(row = lower_row(l, OP_MAX, n->name, &in, 1, out)))
		return -1;
	row->post = n->win;
	if (pool_sets_new(&sets, &n->win, l->e))
		return -1;
	f = l->plan->tape.values[wire].f;
	for (size_t o = 0; o < sets.outputs; o++) {
		const struct range *z = &meaning_of(l, wire)->range;
		struct range *m = &meaning_of(l, out)->range;

		m->lo[o] = m->hi[o] = INT64_MIN;
		for (uint32_t i = sets.start[o]; i < sets.start[o + 1]; i++) {
			int64_t lo = interval_floor(z->lo[sets.member[i]], f), hi = interval_ceil(z->hi[sets.member[i]], f);

			m->lo[o] = lo > m->lo[o] ? lo : m->lo[o];
			m->hi[o] = hi > m->hi[o] ? hi : m->hi[o];
		}
	}
	pool_sets_free(&sets);
	meaning_of(l, out)->frac = meaning_of(l, wire)->frac - f;
	meaning_of(l, out)->divisor = meaning_of(l, wire)->divisor;
	return out;
}

/* A masked wire of a node: y with its fraction bits, ready for relu, max, trunc, square. */
static int lower_masked(struct lowering *l, uint32_t node)
{
	const struct node *n = node_of(l, node);

	if (l->masked[node] >= 0)
		return l->masked[node];
	if (n->kind == NN_MAXPOOL) {
		l->masked[node] = lower_max(l, node, lower_masked(l, n->inputs[0]));
		return l->masked[node];
	}
	return l->masked[node] = lower_linear(l, node, FORM_MASKED, -1);
}

/* Ranges of z = y / 2^f, then of what the operator makes of it. */
static void element_ranges(struct lowering *l, enum op_kind kind, int wire, int out)
{
	const struct range *y = &meaning_of(l, wire)->range;
	struct range *x = &meaning_of(l, out)->range;
	unsigned f = l->plan->tape.values[wire].f;

	for (size_t i = 0; i < x->n; i++) {
		int64_t lo = interval_floor(y->lo[i], f), hi = interval_ceil(y->hi[i], f);

		if (kind == OP_RELU) {
			lo = lo > 0 ? lo : 0;
			hi = hi > 0 ? hi : 0;
		} else if (kind == OP_SQUARE) {
			int64_t most = -lo > hi ? -lo : hi, least = lo > 0 ? lo : hi < 0 ? -hi : 0;

			lo = least * least;
			hi = most * most;
		}
		x->lo[i] = lo;
		x->hi[i] = hi;
	}
}

/* A square of more than 31 bits would not fit any word. */
static int square_fits(struct lowering *l, int wire, const char *name)
{
	int64_t lo, hi;

	range_ends(&meaning_of(l, wire)->range, &lo, &hi);
	lo = interval_floor(lo, l->plan->tape.values[wire].f);
	hi = interval_ceil(hi, l->plan->tape.values[wire].f);
	if (lo < -(INT64_C(1) << 30) || hi > INT64_C(1) << 30)
		return err_set(l->e, ERR_INPUT, "layer %s: its square can exceed 60 bits; use fewer activation bits (--activation-bits)", name);
	return 0;
}

/* MASKED → SHARE by relu, trunc or square. */
static int lower_elements(struct lowering *l, enum op_kind kind, int wire, const char *name)
{
	uint16_t in = wire;
	int out;

	if (wire < 0 || (kind == OP_SQUARE && square_fits(l, wire, name)))
		return -1;
	out = lower_value(l, FORM_SHARE, l->plan->tape.values[wire].shape, 0);
	if (out < 0 || !lower_row(l, kind, name, &in, 1, out))
		return -1;
	element_ranges(l, kind, wire, out);
	meaning_of(l, out)->frac = meaning_of(l, wire)->frac - l->plan->tape.values[wire].f;
	meaning_of(l, out)->divisor = meaning_of(l, wire)->divisor;
	if (kind == OP_SQUARE) {
		meaning_of(l, out)->frac *= 2;
		meaning_of(l, out)->divisor *= meaning_of(l, out)->divisor;
	}
	return out;
}

/* max(relu(x)) = relu(max(x)): the comparison with zero comes after, on fewer elements. */
static int relu_after_max(const struct lowering *l, uint32_t node)
{
	uint32_t in = node_of(l, node)->inputs[0];

	return node_of(l, node)->kind == NN_MAXPOOL && node_of(l, in)->kind == NN_RELU && l->consumers[in] == 1;
}

static uint32_t lcm_of(const struct node *pool)
{
	uint64_t lcm = 1;

	for (size_t i = 0; i < (size_t)pool->shape.h * pool->shape.w; i++) {
		uint64_t a = lcm, b = pool->divisors[i];

		while (b) {
			uint64_t t = a % b;

			a = b;
			b = t;
		}
		lcm = lcm / a * pool->divisors[i];
		if (lcm > 1u << 16)
			return 0;
	}
	return lcm;
}

/* Average pool of shares: a sum; what it is divided by goes into the scale. */
static int lower_pool(struct lowering *l, uint32_t node)
{
	const struct node *n = node_of(l, node);
	int share = lower_share(l, n->inputs[0]), out;
	uint32_t lcm = lcm_of(n), twos = lcm ? (uint32_t)__builtin_ctz(lcm) : 0;
	uint16_t in = share;
	struct row *row;

	if (share < 0)
		return -1;
	if (!lcm)
		return err_set(l->e, ERR_INPUT, "node %s: average windows of so many different sizes; use count_include_pad=True", n->name);
	if ((out = lower_value(l, FORM_SHARE, n->shape, 0)) < 0 || !(row = lower_row(l, OP_MAP, n->name, &in, 1, out)))
		return -1;
	row->map = MAP_POOL;
	row->post = n->win;
	if (!equal_divisors(n)) {
		size_t plane = (size_t)n->shape.h * n->shape.w;

		if (!(row->factors = calloc(plane, sizeof(*row->factors))))
			return err_set(l->e, ERR_ENV, "out of memory while planning");
		for (size_t i = 0; i < plane; i++)
			row->factors[i] = lcm / n->divisors[i];
	}
	if (interval_pool(&n->win, row->factors, &meaning_of(l, share)->range, &meaning_of(l, out)->range))
		return err_set(l->e, ERR_INPUT, "node %s: its sums can exceed 2^61", n->name);
	meaning_of(l, out)->frac = meaning_of(l, share)->frac + twos;
	meaning_of(l, out)->extra = meaning_of(l, share)->extra + twos;
	meaning_of(l, out)->divisor = meaning_of(l, share)->divisor * (lcm >> twos);
	return out;
}

static int lower_pad(struct lowering *l, uint32_t node)
{
	const struct node *n = node_of(l, node);
	int share = lower_share(l, n->inputs[0]), out;
	uint16_t in = share;
	struct row *row;

	if (share < 0 || (out = lower_value(l, FORM_SHARE, n->shape, 0)) < 0 || !(row = lower_row(l, OP_MAP, n->name, &in, 1, out)))
		return -1;
	row->map = MAP_PAD;
	row->post = n->win;
	for (uint32_t c = 0; c < n->win.in.c; c++)
		for (uint32_t y = 0; y < n->win.in.h; y++)
			for (uint32_t x = 0; x < n->win.in.w; x++) {
				int64_t to = ((int64_t)c * n->shape.h + y + n->win.pt) * n->shape.w + x + n->win.pl;
				size_t from = ((size_t)c * n->win.in.h + y) * n->win.in.w + x;

				meaning_of(l, out)->range.lo[to] = meaning_of(l, share)->range.lo[from];
				meaning_of(l, out)->range.hi[to] = meaning_of(l, share)->range.hi[from];
			}
	meaning_of(l, out)->frac = meaning_of(l, share)->frac;
	meaning_of(l, out)->extra = meaning_of(l, share)->extra;
	meaning_of(l, out)->divisor = meaning_of(l, share)->divisor;
	return out;
}

/* A share without an odd divisor: where one is left, a masked 1×1 convolution divides and is truncated. */
static int lower_plain(struct lowering *l, uint32_t node)
{
	int share = lower_share(l, node);

	if (share < 0 || meaning_of(l, share)->divisor == 1)
		return share;
	return lower_elements(l, OP_TRUNC, lower_linear(l, node, FORM_MASKED, -1), node_of(l, node)->name);
}

/* Concatenation, or the sum of shares: parts are shifted to the finest scale. */
static int lower_join(struct lowering *l, uint32_t node, enum map_kind map)
{
	const struct node *n = node_of(l, node);
	uint16_t in[NN_MAX_INPUTS];
	unsigned frac = 0, extra = 0;
	size_t at = 0;
	struct row *row;
	int out;

	for (uint32_t i = 0; i < n->n_inputs; i++) {
		int share = lower_plain(l, n->inputs[i]);

		if (share < 0)
			return -1;
		in[i] = share;
		if (frac < meaning_of(l, share)->frac) {
			frac = meaning_of(l, share)->frac;
			extra = meaning_of(l, share)->extra;
		}
	}
	if ((out = lower_value(l, FORM_SHARE, n->shape, 0)) < 0 || !(row = lower_row(l, OP_MAP, n->name, in, n->n_inputs, out)))
		return -1;
	row->map = map;
	for (uint32_t i = 0; i < n->n_inputs; i++) {
		const struct range *x = &meaning_of(l, in[i])->range;
		struct range *y = &meaning_of(l, out)->range;
		unsigned shift = frac - meaning_of(l, in[i])->frac;

		row->shift[i] = shift;
		for (size_t j = 0; j < x->n; j++) {
			size_t to = map == MAP_CONCAT ? at++ : j;

			if (x->hi[j] > INT64_C(1) << (60 - shift) || x->lo[j] < -(INT64_C(1) << (60 - shift)))
				return err_set(l->e, ERR_INPUT, "node %s: values of too different scales are joined", n->name);
			y->lo[to] += x->lo[j] * (INT64_C(1) << shift);
			y->hi[to] += x->hi[j] * (INT64_C(1) << shift);
		}
	}
	meaning_of(l, out)->frac = frac;
	meaning_of(l, out)->extra = extra;
	return out;
}

static int make_share(struct lowering *l, uint32_t node)
{
	const struct node *n = node_of(l, node);

	switch (n->kind) {
	case NN_INPUT:
		return 0;
	case NN_RELU:
		return lower_elements(l, OP_RELU, lower_masked(l, n->inputs[0]), n->name);
	case NN_SQUARE:
		return lower_elements(l, OP_SQUARE, lower_masked(l, n->inputs[0]), n->name);
	case NN_MAXPOOL:
		if (relu_after_max(l, node))
			return lower_elements(l, OP_RELU, lower_max(l, node, lower_masked(l, node_of(l, n->inputs[0])->inputs[0])), n->name);
		break;
	case NN_AVGPOOL:
		if (!is_post_pool(l, node))
			return lower_pool(l, node);
		break;
	case NN_ADD:
		if (!is_sum(l, node))
			return lower_join(l, node, MAP_ADD);
		break;
	case NN_CONCAT:
		return lower_join(l, node, MAP_CONCAT);
	case NN_PAD:
		return lower_pad(l, node);
	default:
		break;
	}
	return lower_elements(l, OP_TRUNC, lower_masked(l, node), n->name);
}

int lower_share(struct lowering *l, uint32_t node)
{
	if (l->share[node] < 0)
		l->share[node] = make_share(l, node);
	return l->share[node];
}

/* The network's result as shares: a last linear layer keeps all its bits and needs no comparison. */
static int lower_result(struct lowering *l, uint32_t last)
{
	return is_sum(l, last) || is_post_pool(l, last) ? lower_linear(l, last, FORM_SHARE, -1) : lower_share(l, last);
}

static int lower_label(struct lowering *l, uint32_t last)
{
	int wire = lower_linear(l, last, FORM_MASKED, 0), out;
	uint16_t in = wire;

	if (wire < 0 || (out = lower_value(l, FORM_SHARE, (struct shape){1, 1, 1}, 0)) < 0)
		return -1;
	meaning_of(l, out)->range.hi[0] = (int64_t)shape_size(l->plan->tape.values[wire].shape) - 1;
	return lower_row(l, OP_ARGMAX, node_of(l, last)->name, &in, 1, out) ? out : -1;
}

int lower_graph(struct lowering *l)
{
	uint32_t last = l->g->n - 1;
	int input = lower_value(l, FORM_SHARE, l->g->nodes[0].shape, 0), out, result;
	uint16_t in;

	if (input < 0)
		return -1;
	for (size_t i = 0; i < meaning_of(l, input)->range.n; i++)
		meaning_of(l, input)->range.hi[i] = 255;
	out = l->options->reveal == REVEAL_LABEL ? lower_label(l, last) : lower_result(l, last);
	if (out < 0)
		return -1;
	in = out;
	result = lower_value(l, FORM_RESULT, l->plan->tape.values[out].shape, 0);
	if (result < 0 || !lower_row(l, OP_REVEAL, node_of(l, last)->name, &in, 1, result))
		return -1;
	memcpy(meaning_of(l, result)->range.lo, meaning_of(l, out)->range.lo, 2 * meaning_of(l, out)->range.n * sizeof(int64_t));
	l->plan->result_bits = meaning_of(l, out)->frac;
	l->plan->result_divisor = meaning_of(l, out)->divisor;
	return 0;
}
