/* SPDX-License-Identifier: Apache-2.0 */
/* From the nodes of a graph to the rows of a tape: which form each node's value takes. Values are made when
 * they are first needed. */
#include <string.h>

#include "nn/lower.h"

static int lower_masked(struct lowering *l, uint32_t node);

/* MASKED (k, f) → MASKED (w, 0). */
static int lower_max(struct lowering *l, uint32_t node, int wire)
{
	const struct node *n = lower_node(l, node);
	uint16_t in = (uint16_t)wire;
	struct pool_sets sets;
	struct row *row;
	unsigned f;
	int out;

	if (wire < 0 || lower_window(l, n) || (out = lower_value(l, FORM_MASKED, n->shape, 0)) < 0 ||
	    !(row = lower_row(l, OP_MAX, n->name, &in, 1, (uint16_t)out)) ||
	    pool_sets_new(&sets, &n->win, l->e))
		return -1;
	row->post = n->win;
	f = l->plan->tape.values[wire].f;
	interval_max(&sets, &l->meaning[wire].range, f, &l->meaning[out].range);
	pool_sets_free(&sets);
	l->meaning[out].frac = l->meaning[wire].frac - f;
	l->meaning[out].divisor = l->meaning[wire].divisor;
	return out;
}

/* max(relu(x)) = relu(max(x)): the comparison with zero comes after, on fewer elements. */
static int relu_after_max(const struct lowering *l, uint32_t node)
{
	uint32_t in = lower_node(l, node)->inputs[0];

	return lower_node(l, node)->kind == NN_MAXPOOL && lower_node(l, in)->kind == NN_RELU &&
	       l->consumers[in] == 1;
}

/* A node that is a masked wire before it is anything else. */
static int is_wire(const struct lowering *l, uint32_t node)
{
	return lower_is_sum(l, node) || (lower_node(l, node)->kind == NN_MAXPOOL && !relu_after_max(l, node));
}

/* Does anyone need the node's shares? */
static int shares_wanted(const struct lowering *l, uint32_t node)
{
	for (uint32_t i = node + 1; i < l->g->n; i++) {
		const struct node *n = lower_node(l, i);

		for (uint32_t j = 0; j < n->n_inputs; j++)
			if (n->inputs[j] == node && n->kind != NN_RELU && n->kind != NN_SQUARE &&
			    n->kind != NN_MAXPOOL)
				return 1;
	}
	return 0;
}

static int make_masked(struct lowering *l, uint32_t node)
{
	const struct node *n = lower_node(l, node);
	int share;

	if (lower_is_sum(l, node))
		return lower_sum(l, node, FORM_MASKED, -1);
	if (is_wire(l, node))
		return lower_max(l, node, lower_masked(l, n->inputs[0]));
	share = lower_share(l, node);
	return share < 0 ? -1 : lower_identity(l, (uint16_t)share, n->name, -1, 0);
}

/* A masked wire of a node: y with its fraction bits, ready for relu, max, trunc, square. */
static int lower_masked(struct lowering *l, uint32_t node)
{
	if (l->masked[node] >= 0)
		return l->masked[node];
	l->masked[node] = make_masked(l, node);
	/* shares that will be wanted are made at once: their words travel in the same message as the
	 * comparison's */
	if (l->masked[node] >= 0 && is_wire(l, node) && l->share[node] < 0 && shares_wanted(l, node)) {
		l->share[node] = lower_elements(l, OP_TRUNC, l->masked[node], lower_node(l, node)->name);
		if (l->share[node] < 0)
			return -1;
	}
	return l->masked[node];
}

static int element_ranges(struct lowering *l, enum op_kind kind, int wire, int out)
{
	const struct range *y = &l->meaning[wire].range;
	struct range *x = &l->meaning[out].range;
	unsigned f = l->plan->tape.values[wire].f;

	if (kind == OP_SQUARE)
		return interval_square(y, f, x);
	if (kind == OP_RELU)
		interval_relu(y, f, x);
	else
		interval_trunc(y, f, x);
	return 0;
}

/* MASKED → SHARE by relu, trunc or square. */
int lower_elements(struct lowering *l, enum op_kind kind, int wire, const char *name)
{
	uint16_t in = (uint16_t)wire;
	struct meaning *x;
	int out;

	if (wire < 0)
		return -1;
	out = lower_value(l, FORM_SHARE, l->plan->tape.values[wire].shape, 0);
	if (out < 0 || !lower_row(l, kind, name, &in, 1, (uint16_t)out) ||
	    lower_proven(l, name, element_ranges(l, kind, wire, out)))
		return -1;
	x = &l->meaning[out];
	x->frac = l->meaning[wire].frac - l->plan->tape.values[wire].f;
	x->divisor = l->meaning[wire].divisor;
	if (kind == OP_SQUARE) {
		x->frac *= 2;
		x->divisor *= x->divisor;
	}
	return out;
}

int lower_divided(struct lowering *l, int share, const char *name)
{
	if (share < 0 || l->meaning[share].divisor == 1)
		return share;
	return lower_elements(l, OP_TRUNC, lower_identity(l, (uint16_t)share, name, -1, 1), name);
}

static int lower_square(struct lowering *l, const struct node *n)
{
	int wire = lower_masked(l, n->inputs[0]);

	if (wire >= 0 && l->meaning[wire].divisor > LOWER_MAX_DIVISOR) {
		int share = lower_elements(l, OP_TRUNC, wire, n->name);

		wire = share < 0 ? -1 : lower_identity(l, (uint16_t)share, n->name, -1, 1);
	}
	return lower_elements(l, OP_SQUARE, wire, n->name);
}

/* Shares of a node that is a masked wire first. */
static int truncated(struct lowering *l, uint32_t node)
{
	int wire = lower_masked(l, node);

	return wire < 0 || l->share[node] >= 0 ? l->share[node]
					       : lower_elements(l, OP_TRUNC, wire, lower_node(l, node)->name);
}

static int make_share(struct lowering *l, uint32_t node)
{
	const struct node *n = lower_node(l, node);

	if (is_wire(l, node))
		return truncated(l, node);
	switch (n->kind) {
	case NN_INPUT:
		return 0;
	case NN_RELU:
		return lower_elements(l, OP_RELU, lower_masked(l, n->inputs[0]), n->name);
	case NN_SQUARE:
		return lower_square(l, n);
	case NN_MAXPOOL: /* relu_after_max */
		return lower_elements(
		    l, OP_RELU, lower_max(l, node, lower_masked(l, lower_node(l, n->inputs[0])->inputs[0])),
		    n->name);
	case NN_AVGPOOL:
		return lower_pool(l, node);
	case NN_ADD:
		return lower_join(l, node, MAP_ADD);
	case NN_CONCAT:
		return lower_join(l, node, MAP_CONCAT);
	case NN_PAD:
		return lower_pad(l, node);
	default:
		return err_set(l->e, ERR_INPUT, "node %s: cannot be planned", n->name);
	}
}

int lower_share(struct lowering *l, uint32_t node)
{
	if (l->share[node] < 0)
		l->share[node] = make_share(l, node);
	return l->share[node];
}

/* Argmax reads a wire that drops nothing. */
static int label_wire(struct lowering *l, uint32_t last)
{
	int share;

	if (lower_is_sum(l, last))
		return lower_sum(l, last, FORM_MASKED, 0);
	if (is_wire(l, last))
		return lower_masked(l, last);
	share = lower_share(l, last);
	return share < 0 ? -1 : lower_identity(l, (uint16_t)share, lower_node(l, last)->name, 0, 0);
}

static int lower_label(struct lowering *l, uint32_t last)
{
	int wire = label_wire(l, last), out;
	uint16_t in = (uint16_t)wire;

	if (wire < 0 || (out = lower_value(l, FORM_SHARE, (struct shape){1, 1, 1}, 0)) < 0)
		return -1;
	l->meaning[out].range.hi[0] = (int64_t)shape_size(l->plan->tape.values[wire].shape) - 1;
	return lower_row(l, OP_ARGMAX, lower_node(l, last)->name, &in, 1, (uint16_t)out) ? out : -1;
}

/* The network's result as shares: a last linear layer keeps all its bits and needs no comparison. */
static int lower_result(struct lowering *l, uint32_t last)
{
	if (l->options->reveal == REVEAL_LABEL)
		return lower_label(l, last);
	return lower_is_sum(l, last) ? lower_sum(l, last, FORM_SHARE, 0) : lower_share(l, last);
}

static int lower_reveal(struct lowering *l, uint16_t share, const char *name)
{
	int result = lower_value(l, FORM_RESULT, l->plan->tape.values[share].shape, 0);
	struct range *to, *from;

	if (result < 0 || !lower_row(l, OP_REVEAL, name, &share, 1, (uint16_t)result))
		return -1;
	to = &l->meaning[result].range;
	from = &l->meaning[share].range;
	memcpy(to->lo, from->lo, from->n * sizeof(*to->lo));
	memcpy(to->hi, from->hi, from->n * sizeof(*to->hi));
	if (l->meaning[share].frac > LOWER_MAX_FRAC)
		return err_set(l->e, ERR_INPUT,
			       "layer %s: its result has %u fractional bits; use fewer (--activation-bits)",
			       name, l->meaning[share].frac);
	l->plan->result_bits = (uint8_t)l->meaning[share].frac;
	l->plan->result_divisor = l->meaning[share].divisor;
	return 0;
}

int lower_graph(struct lowering *l)
{
	uint32_t last = l->g->n - 1;
	int input, out;

	if (l->g->n > LOWER_MAX_NODES)
		return err_set(l->e, ERR_INPUT, "the network has %u nodes, more than %d", l->g->n,
			       LOWER_MAX_NODES);
	lower_mark_sums(l);
	input = lower_value(l, FORM_SHARE, l->g->nodes[0].shape, 0);
	if (input < 0)
		return -1;
	for (size_t i = 0; i < l->meaning[input].range.n; i++)
		l->meaning[input].range.hi[i] = 255;
	out = lower_result(l, last);
	return out < 0 ? -1 : lower_reveal(l, (uint16_t)out, lower_node(l, last)->name);
}
