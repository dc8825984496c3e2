/* SPDX-License-Identifier: Apache-2.0 */
/* The meaning of a tape in clear, on integers: the oracle of the operators' tests and of `obscura verify`.
 * Nothing here is reduced mod 2^k and no kernel of nn/linear.h multiplies, so that a wire that left its word,
 * or a wrong kernel, would show. */
#include <stdlib.h>
#include <string.h>

#include "crypto/ring.h"
#include "crypto/secret.h"
#include "nn/linear.h"
#include "nn/plan.h"

struct fixed {
	const struct plan *plan;
	const struct weights *weights;
	struct pool_sets *sets; /* per row, of OP_MAX */
	int64_t **values;
	uint64_t *wide;
	fixed_low low;
	void *ctx;
};

static const struct tape *tape_of(const struct fixed *f)
{
	return &f->plan->tape;
}

static size_t words(const struct fixed *f, uint16_t v)
{
	return shape_size(tape_of(f)->values[v].shape);
}

/* Elements of a linear row's sum, before its pool. */
static size_t sum_words(const struct fixed *f, const struct row *row)
{
	return row->has_post ? shape_size(row->post.in) : words(f, row->out);
}

static int check_weights(const struct fixed *f, uint16_t i, struct err *e)
{
	const struct row *row = &tape_of(f)->rows[i];
	const struct layer_weights *w;
	size_t n = 0;

	if (!f->weights)
		return 0;
	w = &f->weights->rows[i];
	for (uint16_t j = 0; j < row->n_terms; j++)
		n += term_weights(&row->terms[j]);
	if (w->n_weights == n && (!w->n_bias || (row->kind == OP_LINEAR && w->n_bias == sum_words(f, row))))
		return 0;
	return err_set(e, ERR_INPUT, "weights of row %u belong to another plan", i);
}

static int fixed_memory(struct fixed *f, struct err *e)
{
	const struct tape *t = tape_of(f);
	size_t wide = 1;

	f->sets = calloc(t->n_rows, sizeof(*f->sets));
	f->values = calloc(t->n_values, sizeof(*f->values));
	if (!f->sets || !f->values)
		return err_set(e, ERR_ENV, "out of memory for the fixed-point reference");
	for (uint16_t v = 0; v < t->n_values; v++)
		if (!(f->values[v] = calloc(words(f, v), sizeof(int64_t))))
			return err_set(e, ERR_ENV, "out of memory for the fixed-point reference");
	for (uint16_t i = 0; i < t->n_rows; i++)
		if (t->rows[i].has_post && wide < sum_words(f, &t->rows[i]))
			wide = sum_words(f, &t->rows[i]);
	f->wide = calloc(wide, sizeof(*f->wide));
	return f->wide ? 0 : err_set(e, ERR_ENV, "out of memory for the fixed-point reference");
}

static int fixed_prepare(struct fixed *f, struct err *e)
{
	const struct tape *t = tape_of(f);

	if (f->weights && f->weights->n_rows != t->n_rows)
		return err_set(e, ERR_INPUT, "weights belong to another plan: %u rows, not %u",
			       f->weights->n_rows, t->n_rows);
	if (fixed_memory(f, e))
		return -1;
	for (uint16_t i = 0; i < t->n_rows; i++)
		if (check_weights(f, i, e) ||
		    (t->rows[i].kind == OP_MAX && pool_sets_new(&f->sets[i], &t->rows[i].post, e)))
			return -1;
	return 0;
}

int fixed_new(struct fixed **fixed, const struct plan *plan, const struct weights *weights, struct err *e)
{
	struct fixed *f = calloc(1, sizeof(*f));

	*fixed = NULL;
	if (!f)
		return err_set(e, ERR_ENV, "out of memory for the fixed-point reference");
	f->plan = plan;
	f->weights = weights;
	if (fixed_prepare(f, e)) {
		fixed_free(f);
		return -1;
	}
	*fixed = f;
	return 0;
}

void fixed_free(struct fixed *f)
{
	if (!f)
		return;
	for (uint16_t i = 0; f->sets && i < tape_of(f)->n_rows; i++)
		pool_sets_free(&f->sets[i]);
	for (uint16_t v = 0; f->values && v < tape_of(f)->n_values; v++) {
		if (f->values[v])
			secret_wipe(f->values[v], words(f, v) * sizeof(int64_t));
		free(f->values[v]);
	}
	free(f->sets);
	free(f->values);
	free(f->wide);
	free(f);
}

/* z = (y + low) >> f of element i of a masked wire. */
static int64_t rounded(const struct fixed *f, uint16_t v, size_t i)
{
	unsigned drop = tape_of(f)->values[v].f;
	uint64_t low = drop ? UINT64_C(1) << (drop - 1) : 0;

	if (drop && f->low)
		low = f->low(f->ctx, v, i, drop) & ring_mask(drop);
	return (int64_t)((uint64_t)f->values[v][i] + low) >> drop;
}

static void add_dense(const struct term *t, const int64_t *w, const int64_t *x, uint64_t *y)
{
	size_t n = shape_size(t->win.in);

	for (size_t o = 0; o < t->win.out.c; o++, w += n) {
		uint64_t sum = 0;

		for (size_t i = 0; i < n; i++)
			sum += (uint64_t)w[i] * (uint64_t)x[i];
		y[o] += sum;
	}
}

/* Adds weight · x over one row of outputs: those whose column c·sw + first lies inside. */
static void add_row(const struct window *win, int64_t weight, int64_t first, const int64_t *x, uint64_t *y)
{
	uint32_t c = first < 0 ? (uint32_t)((-first + win->sw - 1) / win->sw) : 0;
	int64_t column = first + (int64_t)c * win->sw;

	for (; c < win->out.w && column < win->in.w; c++, column += win->sw)
		y[c] += (uint64_t)weight * (uint64_t)x[column];
}

/* Adds one kernel of one input channel to a whole output plane. */
static void add_plane(const struct window *win, const int64_t *w, const int64_t *x, uint64_t *y)
{
	for (uint32_t i = 0; i < win->kh; i++)
		for (uint32_t r = 0; r < win->out.h; r++) {
			int64_t row = (int64_t)r * win->sh - win->pt + (int64_t)i * win->dh;

			for (uint32_t j = 0; row >= 0 && row < win->in.h && j < win->kw; j++)
				add_row(win, w[(size_t)i * win->kw + j], (int64_t)j * win->dw - win->pl,
					x + row * win->in.w, y + (size_t)r * win->out.w);
		}
}

static void add_conv(const struct term *t, const int64_t *w, const int64_t *x, uint64_t *y)
{
	const struct window *win = &t->win;
	uint32_t in = win->in.c / t->groups, out = win->out.c / t->groups;

	for (uint32_t o = 0; o < win->out.c; o++)
		for (uint32_t c = 0; c < in; c++, w += (size_t)win->kh * win->kw)
			add_plane(win, w, x + (size_t)(o / out * in + c) * win->in.h * win->in.w,
				  y + (size_t)o * win->out.h * win->out.w);
}

/* y = pool(Σ W x + Σ 2^s x + bias). */
static void run_linear(struct fixed *f, uint16_t at, const struct row *row)
{
	const struct layer_weights *weights = &f->weights->rows[at];
	size_t n = sum_words(f, row);
	uint64_t *y = row->has_post ? f->wide : (uint64_t *)f->values[row->out];
	const int64_t *w = weights->weights;

	memset(y, 0, n * sizeof(*y));
	if (weights->n_bias)
		memcpy(y, weights->bias, n * sizeof(*y));
	for (uint16_t j = 0; j < row->n_terms; j++) {
		const struct term *t = &row->terms[j];
		const int64_t *x = f->values[t->in];

		if (t->kind == TERM_DENSE)
			add_dense(t, w, x, y);
		else if (t->kind == TERM_CONV)
			add_conv(t, w, x, y);
		for (size_t i = 0; t->kind == TERM_SKIP && i < n; i++)
			y[i] += (uint64_t)x[i] << t->shift;
		if (t->kind != TERM_SKIP)
			w += term_weights(t);
	}
	if (row->has_post)
		linear_pool(&row->post, y, (uint64_t *)f->values[row->out]);
}

static void run_map(struct fixed *f, const struct row *row)
{
	const uint64_t *in[TAPE_MAX_TERMS];

	for (uint16_t i = 0; i < row->n_in; i++)
		in[i] = (const uint64_t *)f->values[row->in[i]];
	map_integers(tape_of(f), row, in, (uint64_t *)f->values[row->out]);
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
	return (int64_t)best;
}

static int64_t element(const struct fixed *f, const struct row *row, size_t i)
{
	const struct value *in = &tape_of(f)->values[row->in[0]], *out = &tape_of(f)->values[row->out];
	int64_t x = f->values[row->in[0]][i], z;

	if (row->kind == OP_MASK)
		return x;
	if (row->kind == OP_REVEAL)
		return ring_signed((uint64_t)x & ring_mask(in->k), out->k);
	z = rounded(f, row->in[0], i);
	if (row->kind == OP_RELU)
		return z > 0 ? z : 0;
	return row->kind == OP_SQUARE ? (int64_t)((uint64_t)z * (uint64_t)z) : z;
}

void fixed_row(struct fixed *f, uint16_t i)
{
	const struct row *row = &tape_of(f)->rows[i];

	if (row->kind == OP_LINEAR)
		run_linear(f, i, row);
	else if (row->kind == OP_MAP)
		run_map(f, row);
	else if (row->kind == OP_MAX)
		run_max(f, i, row);
	else if (row->kind == OP_ARGMAX)
		f->values[row->out][0] = greatest(f->values[row->in[0]], words(f, row->in[0]));
	else
		for (size_t j = 0; j < words(f, row->out); j++)
			f->values[row->out][j] = element(f, row, j);
}

void fixed_infer(struct fixed *f, const uint8_t *pixels, fixed_low low, void *ctx, int64_t *result)
{
	const struct tape *t = tape_of(f);
	uint16_t last = t->rows[t->n_rows - 1].out;

	f->low = low;
	f->ctx = ctx;
	for (size_t i = 0; i < words(f, 0); i++)
		f->values[0][i] = pixels[i];
	for (uint16_t i = 0; i < t->n_rows; i++)
		fixed_row(f, i);
	memcpy(result, f->values[last], words(f, last) * sizeof(*result));
}

int64_t *fixed_values(struct fixed *f, uint16_t value)
{
	return f->values[value];
}

const int64_t *fixed_value(const struct fixed *f, uint16_t value)
{
	return f->values[value];
}
