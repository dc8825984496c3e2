/* SPDX-License-Identifier: Apache-2.0 */
/* The meaning of a tape in clear, on integers: the oracle of the operators' tests and of `obscura verify`. */
#include <stdlib.h>
#include <string.h>

#include "crypto/ring.h"
#include "nn/linear.h"
#include "nn/plan.h"

struct fixed {
	const struct plan *plan;
	const struct weights *weights;
	struct linear *(*terms)[TAPE_MAX_TERMS]; /* per row */
	struct pool_sets *sets;			 /* per row, of OP_MAX */
	int64_t **values;
	uint64_t *wide, *scratch;
	fixed_low low;
	void *ctx;
};

static size_t words(const struct fixed *f, uint16_t v)
{
	return shape_size(f->plan->tape.values[v].shape);
}

static int prepare_row(struct fixed *f, uint16_t i, size_t *wide, size_t *scratch, struct err *e)
{
	const struct row *row = &f->plan->tape.rows[i];
	const int64_t *w = f->weights->rows[i].weights;

	if (row->kind == OP_MAX)
		return pool_sets_new(&f->sets[i], &row->post, e);
	for (uint16_t j = 0; j < row->n_terms; j++) {
		if (row->terms[j].kind == TERM_SKIP)
			continue;
		f->terms[i][j] = linear_new(&row->terms[j], (const uint64_t *)w, 62, 0, e);
		if (!f->terms[i][j])
			return -1;
		if (*scratch < linear_scratch(f->terms[i][j], 1))
			*scratch = linear_scratch(f->terms[i][j], 1);
		w += term_weights(&row->terms[j]);
	}
	if (row->has_post && *wide < shape_size(row->post.in))
		*wide = shape_size(row->post.in);
	return 0;
}

int fixed_new(struct fixed **fixed, const struct plan *plan, const struct weights *weights, struct err *e)
{
	struct fixed *f = calloc(1, sizeof(*f));
	size_t wide = 1, scratch = 64;

	*fixed = NULL;
	if (!f)
		goto fail;
	f->plan = plan;
	f->weights = weights;
	f->terms = calloc(plan->tape.n_rows, sizeof(*f->terms));
	f->sets = calloc(plan->tape.n_rows, sizeof(*f->sets));
	f->values = calloc(plan->tape.n_values, sizeof(*f->values));
	if (!f->terms || !f->sets || !f->values)
		goto fail;
	for (uint16_t v = 0; v < plan->tape.n_values; v++)
		if (!(f->values[v] = calloc(words(f, v), sizeof(int64_t))))
			goto fail;
	for (uint16_t i = 0; i < plan->tape.n_rows; i++)
		if (prepare_row(f, i, &wide, &scratch, e))
			goto fail;
	f->wide = calloc(wide, sizeof(*f->wide));
	f->scratch = aligned_alloc(64, (scratch + 63) / 64 * 64);
	if (!f->wide || !f->scratch)
		goto fail;
	*fixed = f;
	return 0;
fail:
	fixed_free(f);
	return err_set(e, ERR_ENV, "out of memory for the fixed-point reference");
}

void fixed_free(struct fixed *f)
{
	if (!f)
		return;
	for (uint16_t i = 0; f->terms && f->sets && i < f->plan->tape.n_rows; i++) {
		for (uint16_t j = 0; j < TAPE_MAX_TERMS; j++)
			linear_free(f->terms[i][j]);
		pool_sets_free(&f->sets[i]);
	}
	for (uint16_t v = 0; f->values && v < f->plan->tape.n_values; v++)
		free(f->values[v]);
	free(f->terms);
	free(f->sets);
	free(f->values);
	free(f->wide);
	free(f->scratch);
	free(f);
}

/* z = (y + low) >> f of element i of a masked wire. */
static int64_t rounded(const struct fixed *f, uint16_t v, size_t i)
{
	unsigned drop = f->plan->tape.values[v].f;
	uint64_t low = drop ? UINT64_C(1) << (drop - 1) : 0;

	if (drop && f->low)
		low = f->low(f->ctx, v, i, drop) & ring_mask(drop);
	return (int64_t)((uint64_t)f->values[v][i] + low) >> drop;
}

/* y = pool(Σ W x + Σ 2^s x + bias). */
static void run_linear(struct fixed *f, uint16_t at, const struct row *row)
{
	size_t n = row->has_post ? shape_size(row->post.in) : words(f, row->out);
	uint64_t *y = row->has_post ? f->wide : (uint64_t *)f->values[row->out];

	if (f->weights->rows[at].n_bias)
		memcpy(y, f->weights->rows[at].bias, n * sizeof(*y));
	else
		memset(y, 0, n * sizeof(*y));
	for (uint16_t j = 0; j < row->n_terms; j++) {
		const uint64_t *x = (const uint64_t *)f->values[row->terms[j].in];

		if (f->terms[at][j])
			linear_apply(f->terms[at][j], x, 0, y, 0, 1, f->scratch);
		for (size_t i = 0; row->terms[j].kind == TERM_SKIP && i < n; i++)
			y[i] += x[i] << row->terms[j].shift;
	}
	if (row->has_post)
		linear_pool(&row->post, y, (uint64_t *)f->values[row->out]);
	/* inputs and kernels are right mod 2^k, and y is proven to fit k bits */
	for (size_t i = 0; i < words(f, row->out); i++)
		f->values[row->out][i] = ring_signed((uint64_t)f->values[row->out][i], f->plan->tape.values[row->out].k);
}

static void run_map(struct fixed *f, const struct row *row)
{
	const uint64_t *in[TAPE_MAX_TERMS];
	unsigned k = f->plan->tape.values[row->out].k;

	for (uint16_t i = 0; i < row->n_in; i++)
		in[i] = (const uint64_t *)f->values[row->in[i]];
	map_apply(&f->plan->tape, row, in, (uint64_t *)f->values[row->out]);
	/* a map works mod 2^k of its output, which its consumers need no more of */
	for (size_t i = 0; i < words(f, row->out); i++)
		f->values[row->out][i] = ring_signed((uint64_t)f->values[row->out][i], k);
}

static void run_max(struct fixed *f, uint16_t at, const struct row *row)
{
	const struct pool_sets *s = &f->sets[at];

	for (size_t o = 0; o < s->outputs; o++) {
		int64_t best = INT64_MIN;

		for (uint32_t m = s->start[o]; m < s->start[o + 1]; m++) {
			int64_t z = rounded(f, row->in[0], s->member[m]);

			best = z > best ? z : best;
		}
		f->values[row->out][o] = best;
	}
}

static int64_t greatest(const int64_t *y, size_t n)
{
	size_t best = 0;

	for (size_t i = 1; i < n; i++)
		if (y[i] > y[best])
			best = i;
	return best;
}

static void run_elements(struct fixed *f, const struct row *row)
{
	int64_t *out = f->values[row->out];

	for (size_t i = 0; i < words(f, row->out); i++) {
		int64_t z = row->kind == OP_MASK || row->kind == OP_REVEAL ? f->values[row->in[0]][i] : rounded(f, row->in[0], i);

		if (row->kind == OP_RELU)
			z = z > 0 ? z : 0;
		else if (row->kind == OP_SQUARE)
			z = (int64_t)((uint64_t)z * (uint64_t)z);
		out[i] = z;
	}
}

void fixed_infer(struct fixed *f, const uint8_t *pixels, fixed_low low, void *ctx, int64_t *result)
{
	const struct tape *t = &f->plan->tape;
	uint16_t last = t->rows[t->n_rows - 1].out;

	f->low = low;
	f->ctx = ctx;
	for (size_t i = 0; i < words(f, 0); i++)
		f->values[0][i] = pixels[i];
	for (uint16_t i = 0; i < t->n_rows; i++) {
		const struct row *row = &t->rows[i];

		if (row->kind == OP_LINEAR)
			run_linear(f, i, row);
		else if (row->kind == OP_MAP)
			run_map(f, row);
		else if (row->kind == OP_MAX)
			run_max(f, i, row);
		else if (row->kind == OP_ARGMAX)
			f->values[row->out][0] = greatest(f->values[row->in[0]], words(f, row->in[0]));
		else
			run_elements(f, row);
	}
	memcpy(result, f->values[last], words(f, last) * sizeof(*result));
}

const int64_t *fixed_value(const struct fixed *f, uint16_t value)
{
	return f->values[value];
}
