/* SPDX-License-Identifier: Apache-2.0 */
#include "nn/tape.h"

#include <stdlib.h>

#define K_MAX 62

static int bad(struct err *e, uint16_t row, const char *what)
{
	return err_set(e, ERR_INPUT, "plan: row %u: %s", row, what);
}

static int same(struct shape a, struct shape b)
{
	return a.c == b.c && a.h == b.h && a.w == b.w;
}

/* 1 when the shape is not empty and small enough; every product of its sides fits. */
static int sane_shape(struct shape s)
{
	uint64_t n;

	if (!s.c || !s.h || !s.w)
		return 0;
	n = (uint64_t)s.c * s.h;
	return n <= NN_MAX_ELEMENTS && n * s.w <= NN_MAX_ELEMENTS;
}

static int check_value(const struct value *v, uint16_t i, struct err *e)
{
	if (v->form > FORM_RESULT || !sane_shape(v->shape) || v->k < 1 || v->k > K_MAX)
		return err_set(e, ERR_INPUT, "plan: value %u has form %d, shape %u×%u×%u, %u bits: not possible", i, v->form, v->shape.c,
			       v->shape.h, v->shape.w, v->k);
	if (v->form == FORM_MASKED ? v->f + 2 > v->k : v->f != 0)
		return err_set(e, ERR_INPUT, "plan: value %u drops %u of %u bits", i, v->f, v->k);
	return 0;
}

/* Sides, strides and pads of a window: no overflow anywhere, and every output has a place. pool: each output covers an element of `in`. */
static int sane_window(const struct window *w, int pool)
{
	uint64_t tall, wide;

	if (!sane_shape(w->in) || !sane_shape(w->out) || !w->kh || !w->kw || !w->sh || !w->sw || !w->dh || !w->dw)
		return 0;
	if (w->kh > 4096 || w->kw > 4096 || w->sh > 4096 || w->sw > 4096 || w->dh > 4096 || w->dw > 4096 || w->pt < -4096 || w->pt > 4096 ||
	    w->pl < -4096 || w->pl > 4096)
		return 0;
	tall = (uint64_t)(w->out.h - 1) * w->sh;
	wide = (uint64_t)(w->out.w - 1) * w->sw;
	if (!pool)
		return 1;
	/* a pool's windows touch the input: first and last do, so all do (dilation 1) */
	return w->dh == 1 && w->dw == 1 && w->in.c == w->out.c && w->pt < (int64_t)w->kh && w->pl < (int64_t)w->kw && w->pt >= 0 &&
	       w->pl >= 0 && (int64_t)tall - w->pt < w->in.h && (int64_t)wide - w->pl < w->in.w &&
	       (uint64_t)w->out.h * w->out.w * w->kh * w->kw * w->out.c <= 4 * (uint64_t)NN_MAX_ELEMENTS;
}

static int check_term(const struct tape *t, const struct row *row, uint16_t i, uint16_t j, struct shape sum, struct err *e)
{
	const struct term *term = &row->terms[j];
	const struct value *in = &t->values[term->in];

	if (term->in != row->in[j] || in->form != FORM_DIFF)
		return bad(e, i, "a term's input is not a masked difference");
	if (term->shift > K_MAX)
		return bad(e, i, "a shift above 62");
	switch (term->kind) {
	case TERM_SKIP:
		return same(in->shape, sum) ? 0 : bad(e, i, "a skip of another shape");
	case TERM_DENSE:
		if (!same(term->win.in, in->shape) || term->win.out.h != 1 || term->win.out.w != 1 || term->win.out.c != shape_size(sum))
			return bad(e, i, "a dense term of another shape");
		return (uint64_t)term->win.out.c * shape_size(in->shape) <= 16 * (uint64_t)NN_MAX_ELEMENTS ? 0 : bad(e, i, "a matrix too large");
	case TERM_CONV:
		if (!sane_window(&term->win, 0) || !same(term->win.in, in->shape) || !same(term->win.out, sum))
			return bad(e, i, "a convolution of another shape");
		if (!term->groups || term->win.in.c % term->groups || term->win.out.c % term->groups)
			return bad(e, i, "groups that do not divide the channels");
		return (uint64_t)term->win.out.c * (term->win.in.c / term->groups) * term->win.kh * term->win.kw <= 16 * (uint64_t)NN_MAX_ELEMENTS
			       ? 0
			       : bad(e, i, "a kernel too large");
	}
	return bad(e, i, "a term of an unknown kind");
}

static int check_linear(const struct tape *t, const struct row *row, uint16_t i, struct err *e)
{
	const struct value *out = &t->values[row->out];
	struct shape sum = row->has_post ? row->post.in : out->shape;

	if (!row->n_terms || row->n_terms > TAPE_MAX_TERMS || row->n_in != row->n_terms)
		return bad(e, i, "a linear row without terms, or with too many");
	if (row->has_post && (!sane_window(&row->post, 1) || !same(row->post.out, out->shape)))
		return bad(e, i, "a pool of another shape");
	if (out->form != FORM_MASKED && out->form != FORM_SHARE)
		return bad(e, i, "a linear row gives a masked wire or shares");
	for (uint16_t j = 0; j < row->n_terms; j++)
		if (check_term(t, row, i, j, sum, e))
			return -1;
	return 0;
}

static int check_factors(const struct row *row)
{
	size_t n = (size_t)row->post.out.h * row->post.out.w;

	for (size_t i = 0; row->factors && i < n; i++)
		if (!row->factors[i] || row->factors[i] > 1u << 20)
			return 0;
	return 1;
}

static int check_map(const struct tape *t, const struct row *row, uint16_t i, struct err *e)
{
	struct shape in = t->values[row->in[0]].shape, out = t->values[row->out].shape;
	uint64_t channels = 0;

	for (uint16_t j = 0; j < row->n_in; j++) {
		struct shape s = t->values[row->in[j]].shape;

		channels += s.c;
		if (row->shift[j] > K_MAX)
			return bad(e, i, "a shift above 62");
		if (row->map == MAP_CONCAT ? s.h != out.h || s.w != out.w : row->map == MAP_ADD ? !same(s, out) : j > 0)
			return bad(e, i, "maps parts of other shapes");
	}
	switch (row->map) {
	case MAP_POOL:
		return sane_window(&row->post, 1) && same(row->post.in, in) && same(row->post.out, out) && check_factors(row)
			       ? 0
			       : bad(e, i, "a pool of another shape");
	case MAP_PAD:
		return sane_window(&row->post, 0) && same(row->post.in, in) && same(row->post.out, out) && row->post.kh == 1 && row->post.kw == 1 &&
				       row->post.sh == 1 && row->post.sw == 1 && in.c == out.c
			       ? 0
			       : bad(e, i, "padding of another shape");
	case MAP_CONCAT:
		return channels == out.c ? 0 : bad(e, i, "a concatenation of another shape");
	case MAP_ADD:
		return 0;
	}
	return bad(e, i, "a map of an unknown kind");
}

static unsigned index_bits(size_t classes)
{
	unsigned bits = 1;

	while ((UINT64_C(1) << bits) < classes)
		bits++;
	return bits;
}

/* Rows with one input and one output of given forms; shapes alike but for max and argmax. */
static int check_simple(const struct tape *t, const struct row *row, uint16_t i, struct err *e)
{
	static const enum form from[OP_KINDS] = {[OP_MASK] = FORM_SHARE,     [OP_RELU] = FORM_MASKED,	[OP_MAX] = FORM_MASKED,	  [OP_TRUNC] = FORM_MASKED,
						 [OP_SQUARE] = FORM_MASKED, [OP_ARGMAX] = FORM_MASKED, [OP_REVEAL] = FORM_SHARE};
	static const enum form to[OP_KINDS] = {[OP_MASK] = FORM_DIFF,	 [OP_RELU] = FORM_SHARE,   [OP_MAX] = FORM_MASKED,	   [OP_TRUNC] = FORM_SHARE,
					       [OP_SQUARE] = FORM_SHARE, [OP_ARGMAX] = FORM_SHARE, [OP_REVEAL] = FORM_RESULT};
	const struct value *in = &t->values[row->in[0]], *out = &t->values[row->out];

	if (row->n_in != 1 || in->form != from[row->kind] || out->form != to[row->kind])
		return bad(e, i, "its input or output is of the wrong form");
	if (row->mode != TABLE_LATENCY && row->mode != TABLE_BANDWIDTH)
		return bad(e, i, "an unknown mode");
	if (row->kind == OP_MAX)
		return sane_window(&row->post, 1) && same(row->post.in, in->shape) && same(row->post.out, out->shape) &&
				       out->k == in->k - in->f && !out->f
			       ? 0
			       : bad(e, i, "a maximum of another shape or width");
	if (row->kind == OP_ARGMAX)
		return !in->f && shape_size(out->shape) == 1 && shape_size(in->shape) <= 1u << 14 && out->k == index_bits(shape_size(in->shape)) && out->k <= in->k
			       ? 0
			       : bad(e, i, "an argmax of another shape or width");
	if (!same(in->shape, out->shape))
		return bad(e, i, "its output has another shape");
	if ((row->kind == OP_MASK && in->k != out->k) || (row->kind == OP_REVEAL && out->k < in->k))
		return bad(e, i, "its output has another width");
	if ((row->kind == OP_TRUNC || row->kind == OP_SQUARE) && (row->offset_log2 < in->f || row->offset_log2 >= in->k))
		return bad(e, i, "an offset outside its word");
	return 0;
}

static int check_row(const struct tape *t, uint16_t i, const uint8_t *written, struct err *e)
{
	const struct row *row = &t->rows[i];

	if (row->kind >= OP_KINDS || !row->n_in || row->n_in > TAPE_MAX_TERMS)
		return bad(e, i, "an unknown kind, or no input");
	for (uint16_t j = 0; j < row->n_in; j++)
		if (row->in[j] >= t->n_values || !written[row->in[j]])
			return bad(e, i, "reads a value that nobody has written");
	if (row->out >= t->n_values || written[row->out])
		return bad(e, i, "writes a value that does not exist or was written before");
	if ((row->kind == OP_REVEAL) != (i == t->n_rows - 1))
		return bad(e, i, "a plan ends with reveal, and only there");
	if (row->kind == OP_LINEAR)
		return check_linear(t, row, i, e);
	if (row->kind != OP_MAP)
		return check_simple(t, row, i, e);
	for (uint16_t j = 0; j < row->n_in; j++)
		if (t->values[row->in[j]].form != FORM_SHARE || t->values[row->in[j]].k < t->values[row->out].k - (row->map >= MAP_CONCAT ? row->shift[j] : 0))
			return bad(e, i, "maps a value that is not shared, or too narrow");
	if (t->values[row->out].form != FORM_SHARE)
		return bad(e, i, "a map gives shares");
	return check_map(t, row, i, e);
}

int tape_check(const struct tape *t, struct err *e)
{
	uint8_t *written;
	int result = 0;

	if (!t->n_rows || t->n_rows > TAPE_MAX_ROWS || !t->n_values || t->n_values > 2 * TAPE_MAX_ROWS)
		return err_set(e, ERR_INPUT, "plan: %u rows and %u values: at most %d rows", t->n_rows, t->n_values, TAPE_MAX_ROWS);
	for (uint16_t v = 0; v < t->n_values; v++)
		if (check_value(&t->values[v], v, e))
			return -1;
	if (t->values[0].form != FORM_SHARE)
		return err_set(e, ERR_INPUT, "plan: value 0, the input, is not shared");
	written = calloc(t->n_values, 1);
	if (!written)
		return err_set(e, ERR_ENV, "out of memory");
	written[0] = 1;
	for (uint16_t i = 0; !result && i < t->n_rows; i++) {
		result = check_row(t, i, written, e);
		if (!result)
			written[t->rows[i].out] = 1;
	}
	for (uint16_t v = 0; !result && v < t->n_values; v++)
		if (!written[v])
			result = err_set(e, ERR_INPUT, "plan: value %u is never written", v);
	free(written);
	return result;
}

void tape_free(struct tape *t)
{
	for (uint16_t i = 0; t->rows && i < t->n_rows; i++)
		free(t->rows[i].factors);
	free(t->rows);
	free(t->values);
	*t = (struct tape){0};
}

/* Rows (or columns) [*from, *to) of the input that output position `at` covers, along one side. */
static void covered(uint32_t at, uint32_t stride, int32_t pad, uint32_t kernel, uint32_t size, uint32_t *from, uint32_t *to)
{
	int64_t first = (int64_t)at * stride - pad, last = first + kernel;

	*from = first < 0 ? 0 : (uint32_t)first;
	*to = last > (int64_t)size ? size : (uint32_t)last;
}

int pool_sets_new(struct pool_sets *s, const struct window *win, struct err *e)
{
	size_t most = shape_size(win->out) * win->kh * win->kw, n = 0, at = 0;

	*s = (struct pool_sets){.outputs = shape_size(win->out)};
	s->start = calloc(s->outputs + 1, sizeof(*s->start));
	s->member = calloc(most + 1, sizeof(*s->member));
	if (!s->start || !s->member) {
		pool_sets_free(s);
		return err_set(e, ERR_ENV, "out of memory for a pool of %zu elements", most);
	}
	for (uint32_t c = 0; c < win->out.c; c++)
		for (uint32_t y = 0; y < win->out.h; y++)
			for (uint32_t x = 0; x < win->out.w; x++) {
				uint32_t y0, y1, x0, x1;

				covered(y, win->sh, win->pt, win->kh, win->in.h, &y0, &y1);
				covered(x, win->sw, win->pl, win->kw, win->in.w, &x0, &x1);
				s->start[at++] = n;
				for (uint32_t i = y0; i < y1; i++)
					for (uint32_t j = x0; j < x1; j++)
						s->member[n++] = (c * win->in.h + i) * win->in.w + j;
				if (s->largest < n - s->start[at - 1])
					s->largest = n - s->start[at - 1];
			}
	s->start[at] = n;
	return 0;
}

void pool_sets_free(struct pool_sets *s)
{
	free(s->start);
	free(s->member);
	s->start = s->member = NULL;
}
