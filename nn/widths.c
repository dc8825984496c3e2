/* SPDX-License-Identifier: Apache-2.0 */
/* The width of every wire: the least that PROTOCOL.md §6 allows, rounded up to the granularity. */
#include "nn/lower.h"

#define K_MAX 62

static struct value *value_of(struct lowering *l, uint16_t v)
{
	return &l->plan->tape.values[v];
}

static int too_wide(struct lowering *l, uint16_t row)
{
	return err_set(l->e, ERR_INPUT,
		       "layer %s: its values are proven only below 2^61, words would need more than %d bits; "
		       "use fewer fractional bits (--weight-bits %u or less, --activation-bits %u or less)",
		       l->name[row], K_MAX, l->options->weight_bits > 4 ? l->options->weight_bits - 4 : 1,
		       l->options->activation_bits > 4 ? l->options->activation_bits - 4 : 1);
}

static void require(struct lowering *l, uint16_t v, unsigned k)
{
	if (l->meaning[v].need < k)
		l->meaning[v].need = k;
}

/* Ends over all elements, or over one set of them. */
struct ends {
	int64_t lo, hi;
};

static int fits(const struct row *row, struct ends r, unsigned k, unsigned f)
{
	switch (row->kind) {
	case OP_RELU:
		return interval_relu_fits(r.lo, r.hi, k, f);
	case OP_MAX:
	case OP_ARGMAX:
		return interval_max_fits(r.lo, r.hi, k, f);
	case OP_TRUNC:
	case OP_SQUARE:
		return interval_offset_fits(r.lo, r.hi, k, f, k - 2);
	default:
		return interval_last_fits(r.lo, r.hi, k);
	}
}

static int least(struct lowering *l, uint16_t i, struct ends r, unsigned f)
{
	const struct row *row = &l->plan->tape.rows[i];

	for (unsigned k = f + 2; k <= K_MAX; k++)
		if (fits(row, r, k, f)) {
			require(l, row->in[0], k);
			return 0;
		}
	return too_wide(l, i);
}

/* §6: over each set, the greatest against the least. The output's own need carries over: its words are the
 * input's upper ones. */
static int least_max(struct lowering *l, uint16_t i, unsigned f)
{
	const struct row *row = &l->plan->tape.rows[i];
	const struct range *y = &l->meaning[row->in[0]].range;
	struct pool_sets sets;
	int result = 0;

	if (pool_sets_new(&sets, &row->post, l->e))
		return -1;
	for (size_t o = 0; !result && o < sets.outputs; o++) {
		struct ends r = {INT64_MAX, INT64_MIN};

		for (uint32_t m = sets.start[o]; m < sets.start[o + 1]; m++) {
			r.lo = y->lo[sets.member[m]] < r.lo ? y->lo[sets.member[m]] : r.lo;
			r.hi = y->hi[sets.member[m]] > r.hi ? y->hi[sets.member[m]] : r.hi;
		}
		result = least(l, i, r, f);
	}
	pool_sets_free(&sets);
	if (!result && l->meaning[row->out].need + f > K_MAX)
		return too_wide(l, i);
	require(l, row->in[0], l->meaning[row->out].need + f);
	return result;
}

static unsigned index_bits(size_t classes)
{
	unsigned bits = 1;

	while ((UINT64_C(1) << bits) < classes)
		bits++;
	return bits;
}

static int needs(struct lowering *l)
{
	const struct tape *t = &l->plan->tape;

	for (int i = t->n_rows - 1; i >= 0; i--) {
		const struct row *row = &t->rows[i];
		unsigned f = t->values[row->in[0]].f;
		struct ends r;

		if (row->kind == OP_MASK || row->kind == OP_LINEAR || row->kind == OP_MAP)
			continue;
		range_ends(&l->meaning[row->in[0]].range, &r.lo, &r.hi);
		if (row->kind == OP_ARGMAX) /* the tournament's words carry an index too */
			require(l, row->in[0], index_bits(shape_size(t->values[row->in[0]].shape)));
		if (row->kind == OP_MAX ? least_max(l, i, f) : least(l, i, r, f))
			return -1;
	}
	return 0;
}

static unsigned rounded_up(const struct lowering *l, unsigned k)
{
	unsigned g = l->options->granularity;

	k = (k + g - 1) / g * g;
	return k > K_MAX ? K_MAX : k;
}

static void widen(struct lowering *l, uint16_t v, int k)
{
	if (value_of(l, v)->k < (k < 1 ? 1 : k))
		value_of(l, v)->k = k < 1 ? 1 : k;
}

/* Masked wires first: their width is their own. */
static void width_masked(struct lowering *l)
{
	struct tape *t = &l->plan->tape;

	for (uint16_t i = 0; i < t->n_rows; i++) {
		struct row *row = &t->rows[i];
		struct value *out = value_of(l, row->out), *in = value_of(l, row->in[0]);

		if (row->kind == OP_LINEAR)
			out->k = rounded_up(l, l->meaning[row->out].need);
		else if (row->kind == OP_MAX)
			out->k = in->k - in->f;
		else if (row->kind == OP_ARGMAX)
			out->k = index_bits(shape_size(in->shape));
		else if (row->kind == OP_TRUNC || row->kind == OP_SQUARE)
			row->offset_log2 = in->k - 2;
	}
}

/* kout of a step: the greatest that any consumer needs. */
static void width_shares(struct lowering *l)
{
	struct tape *t = &l->plan->tape;

	for (int i = t->n_rows - 1; i >= 0; i--) {
		const struct row *row = &t->rows[i];
		int k = value_of(l, row->out)->k;

		for (uint16_t j = 0; j < row->n_in; j++) {
			if (row->kind == OP_LINEAR)
				widen(l, row->in[j],
				      k - (row->terms[j].kind == TERM_SKIP ? row->terms[j].shift : 0));
			else if (row->kind == OP_MAP)
				widen(l, row->in[j], k - (row->map >= MAP_CONCAT ? row->shift[j] : 0));
			else if (row->kind == OP_MASK)
				widen(l, row->in[j], k);
			else if (row->kind == OP_REVEAL && !value_of(l, row->in[j])->k)
				widen(l, row->in[j], rounded_up(l, l->meaning[row->in[j]].need));
		}
	}
	for (uint16_t i = 0; i < t->n_rows; i++) {
		const struct row *row = &t->rows[i];

		if (row->kind == OP_MASK)
			value_of(l, row->out)->k = value_of(l, row->in[0])->k;
		else if (row->kind ==
			 OP_REVEAL) /* an index is never negative: one bit more than it is sent with */
			value_of(l, row->out)->k =
			    value_of(l, row->in[0])->k + (l->plan->reveal == REVEAL_LABEL);
	}
}

int plan_widths(struct lowering *l)
{
	if (needs(l))
		return -1;
	width_masked(l);
	width_shares(l);
	return 0;
}
