/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "nn/lower.h"

int lower_no_memory(struct lowering *l)
{
	return err_set(l->e, ERR_ENV, "out of memory while planning");
}

int lower_proven(struct lowering *l, const char *name, int result)
{
	if (result <= 0)
		return result;
	return err_set(l->e, ERR_INPUT,
		       "layer %s: its values can exceed 2^61; use fewer fractional bits (--weight-bits, "
		       "--activation-bits)",
		       name);
}

int lower_value(struct lowering *l, enum form form, struct shape shape, unsigned f)
{
	struct tape *t = &l->plan->tape;
	struct value *values = reallocarray(t->values, t->n_values + 1, sizeof(*values));
	struct meaning *meaning;
	int32_t *diff;

	if (!values)
		return lower_no_memory(l);
	t->values = values;
	meaning = reallocarray(l->meaning, t->n_values + 1, sizeof(*meaning));
	if (!meaning)
		return lower_no_memory(l);
	l->meaning = meaning;
	diff = reallocarray(l->diff, t->n_values + 1, sizeof(*diff));
	if (!diff)
		return lower_no_memory(l);
	l->diff = diff;
	values[t->n_values] = (struct value){.form = form, .shape = shape, .f = f};
	meaning[t->n_values] = (struct meaning){.divisor = 1};
	diff[t->n_values] = -1;
	t->n_values++;
	if (range_new(&meaning[t->n_values - 1].range, shape_size(shape), l->e))
		return -1;
	return t->n_values - 1;
}

struct row *lower_row(struct lowering *l, enum op_kind kind, const char *name, const uint16_t *in,
		      uint16_t n_in, uint16_t out)
{
	struct tape *t = &l->plan->tape;
	struct row *rows;
	struct layer_weights *weights;
	const char **names;

	if (t->n_rows == TAPE_MAX_ROWS || n_in > TAPE_MAX_TERMS) {
		err_set(l->e, ERR_INPUT,
			"node %s: the network has more than %d steps, or a node with more than %d inputs",
			name, TAPE_MAX_ROWS, TAPE_MAX_TERMS);
		return NULL;
	}
	rows = reallocarray(t->rows, t->n_rows + 1, sizeof(*rows));
	if (rows)
		t->rows = rows;
	weights = reallocarray(l->weights->rows, t->n_rows + 1, sizeof(*weights));
	if (weights)
		l->weights->rows = weights;
	names = reallocarray(l->name, t->n_rows + 1, sizeof(*names));
	if (names)
		l->name = names;
	if (!rows || !weights || !names) {
		lower_no_memory(l);
		return NULL;
	}
	rows[t->n_rows] = (struct row){.kind = kind, .n_in = n_in, .out = out};
	memcpy(rows[t->n_rows].in, in, n_in * sizeof(*in));
	if (kind == OP_RELU || kind == OP_MAX || kind == OP_ARGMAX)
		rows[t->n_rows].mode =
		    l->options->optimise == PLAN_BANDWIDTH ? TABLE_BANDWIDTH : TABLE_LATENCY;
	weights[t->n_rows] = (struct layer_weights){0};
	names[t->n_rows] = name;
	l->weights->n_rows = t->n_rows + 1;
	return &rows[t->n_rows++];
}

static void copy_meaning(struct lowering *l, uint16_t to, uint16_t from)
{
	struct range r = l->meaning[to].range;

	memcpy(r.lo, l->meaning[from].range.lo, 2 * r.n * sizeof(*r.lo));
	l->meaning[to] = l->meaning[from];
	l->meaning[to].range = r;
}

int lower_diff(struct lowering *l, uint16_t share, const char *name)
{
	int out;

	if (l->diff[share] >= 0)
		return l->diff[share];
	out = lower_value(l, FORM_DIFF, l->plan->tape.values[share].shape, 0);
	if (out < 0 || !lower_row(l, OP_MASK, name, &share, 1, out))
		return -1;
	copy_meaning(l, out, share);
	return l->diff[share] = out;
}
