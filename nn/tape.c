/* SPDX-License-Identifier: Apache-2.0 */
/* A tape may come from a stranger: what tape_check lets pass, operators and kernels trust. */
#include "nn/tape.h"

#include <stdlib.h>

#define K_MAX 62
#define EXTENT (1 << 15)			/* kernel, stride, dilation */
#define PAD (1 << 16)				/* a convolution's own pad and one merged into it */
#define MATRIX (16 * (uint64_t)NN_MAX_ELEMENTS) /* weights of one term */
#define WORDS (UINT64_C(1) << 28)		/* values and weights of a whole tape */
#define WORK (UINT64_C(1) << 38)		/* multiply-adds of a whole tape */
#define POOLED NN_MAX_ELEMENTS /* elements of all maximum windows: each takes memory, and a comparison */
#define CLASSES (1u << 14)

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
	if ((unsigned)v->form > FORM_RESULT || !sane_shape(v->shape) || v->k < 1 || v->k > K_MAX)
		return err_set(e, ERR_INPUT,
			       "plan: value %u has form %d, shape %u×%u×%u, %u bits: not possible", i,
			       v->form, v->shape.c, v->shape.h, v->shape.w, v->k);
	if (v->form == FORM_MASKED ? v->f + 2 > v->k : v->f != 0)
		return err_set(e, ERR_INPUT, "plan: value %u drops %u of %u bits", i, v->f, v->k);
	return 0;
}

/* One side of a window: output y covers y*stride - pad + i*dilation, 0 <= i < kernel. */
struct side {
	uint32_t in, out, kernel, stride, dilation;
	int32_t pad;
};

static struct side side_of(const struct window *w, int column)
{
	return column ? (struct side){w->in.w, w->out.w, w->kw, w->sw, w->dw, w->pl}
		      : (struct side){w->in.h, w->out.h, w->kh, w->sh, w->dh, w->pt};
}

/* All positions lie within PAD of the input, so no kernel's arithmetic on them overflows. */
static int sane_side(const struct side *s)
{
	int64_t last;

	if (!s->kernel || s->kernel > EXTENT || !s->stride || s->stride > EXTENT || !s->dilation ||
	    s->dilation > EXTENT || s->pad < 0 || s->pad > PAD)
		return 0;
	last = (int64_t)(s->out - 1) * s->stride + (int64_t)(s->kernel - 1) * s->dilation - s->pad;
	return last < (int64_t)s->in + PAD;
}

/* Every output covers an element: there is a maximum, and a mean. */
static int side_covers(const struct side *s)
{
	for (uint32_t y = 0; y < s->out; y++) {
		int64_t first = (int64_t)y * s->stride - s->pad,
			skipped = first < 0 ? (-first + s->dilation - 1) / s->dilation : 0;

		if (skipped >= s->kernel || first + skipped * s->dilation >= s->in)
			return 0;
	}
	return 1;
}

static int sane_window(const struct window *w)
{
	struct side rows = side_of(w, 0), columns = side_of(w, 1);

	return sane_shape(w->in) && sane_shape(w->out) && sane_side(&rows) && sane_side(&columns);
}

static uint64_t window_work(const struct window *w)
{
	return (uint64_t)shape_size(w->out) * w->kh * w->kw;
}

static int sane_pool(const struct window *w)
{
	struct side rows = side_of(w, 0), columns = side_of(w, 1);

	return sane_window(w) && w->in.c == w->out.c && side_covers(&rows) && side_covers(&columns) &&
	       window_work(w) <= 4 * (uint64_t)NN_MAX_ELEMENTS;
}

/* Sum pools are never dilated (linear_pool). */
static int sane_sum(const struct window *w)
{
	return sane_pool(w) && w->dh == 1 && w->dw == 1;
}

/* What one pass over the tape costs so far. */
struct total {
	uint64_t words, work, pooled;
};

static int check_total(const struct total *t, struct err *e)
{
	if (t->words <= WORDS && t->work <= WORK)
		return 0;
	return err_set(e, ERR_INPUT,
		       "plan: %llu words and %llu multiply-adds in one inference are more than %llu and "
		       "%llu: use a smaller network",
		       (unsigned long long)t->words, (unsigned long long)t->work, (unsigned long long)WORDS,
		       (unsigned long long)WORK);
}

static int check_conv(const struct term *term, struct shape in, struct shape sum, uint16_t i, struct err *e)
{
	if (!sane_window(&term->win) || !same(term->win.in, in) || !same(term->win.out, sum))
		return bad(e, i, "a convolution of another shape");
	if (!term->groups || term->win.in.c % term->groups || term->win.out.c % term->groups)
		return bad(e, i, "groups that do not divide the channels");
	if ((uint64_t)term->win.out.c * (term->win.in.c / term->groups) >
	    MATRIX / ((uint64_t)term->win.kh * term->win.kw))
		return bad(e, i, "a kernel too large");
	return 0;
}

static int check_dense(const struct term *term, struct shape in, struct shape sum, uint16_t i, struct err *e)
{
	if (!same(term->win.in, in) || term->win.out.h != 1 || term->win.out.w != 1 ||
	    term->win.out.c != shape_size(sum))
		return bad(e, i, "a dense term of another shape");
	return (uint64_t)term->win.out.c * shape_size(in) <= MATRIX ? 0 : bad(e, i, "a matrix too large");
}

/* The map of a term is right mod 2^k of the output only if its input has as many bits. */
static int check_term(const struct tape *t, const struct row *row, uint16_t i, uint16_t j, struct shape sum,
		      struct err *e)
{
	const struct term *term = &row->terms[j];
	const struct value *in = &t->values[row->in[j]];

	if (term->in != row->in[j] || in->form != FORM_DIFF)
		return bad(e, i, "a term's input is not a masked difference");
	if (term->shift > K_MAX || (term->kind != TERM_SKIP && term->shift))
		return bad(e, i, "a shift above 62, or of a term with weights");
	if (in->k + term->shift < t->values[row->out].k)
		return bad(e, i, "a term narrower than the sum");
	switch (term->kind) {
	case TERM_SKIP:
		return same(in->shape, sum) ? 0 : bad(e, i, "a skip of another shape");
	case TERM_DENSE:
		return check_dense(term, in->shape, sum, i, e);
	case TERM_CONV:
		return check_conv(term, in->shape, sum, i, e);
	}
	return bad(e, i, "a term of an unknown kind");
}

static int check_linear(const struct tape *t, const struct row *row, uint16_t i, struct total *total,
			struct err *e)
{
	const struct value *out = &t->values[row->out];
	struct shape sum = row->has_post ? row->post.in : out->shape;

	if (row->has_post > 1 || row->n_in != row->n_terms)
		return bad(e, i, "a linear row without terms, or with too many");
	if (row->has_post && (!sane_sum(&row->post) || !same(row->post.out, out->shape)))
		return bad(e, i, "a pool of another shape");
	if (out->form != FORM_MASKED && out->form != FORM_SHARE)
		return bad(e, i, "a linear row gives a masked wire or shares");
	total->work += row->has_post ? window_work(&row->post) : 0;
	for (uint16_t j = 0; j < row->n_terms; j++) {
		const struct term *term = &row->terms[j];
		uint64_t plane = (uint64_t)term->win.out.h * term->win.out.w;

		if (check_term(t, row, i, j, sum, e))
			return -1;
		total->words += term_room(term);
		total->work += term->kind == TERM_SKIP ? 0 : term_weights(term) * plane;
	}
	return check_total(total, e);
}

static int check_factors(const struct row *row)
{
	size_t n = (size_t)row->post.out.h * row->post.out.w;

	for (size_t i = 0; row->factors && i < n; i++)
		if (!row->factors[i] || row->factors[i] > 1u << 20)
			return 0;
	return 1;
}

static int is_padding(const struct window *w)
{
	return sane_window(w) && w->kh == 1 && w->kw == 1 && w->sh == 1 && w->sw == 1 && w->dh == 1 &&
	       w->dw == 1 && w->in.c == w->out.c && w->in.h + (uint32_t)w->pt <= w->out.h &&
	       w->in.w + (uint32_t)w->pl <= w->out.w;
}

static int check_parts(const struct tape *t, const struct row *row, uint16_t i, struct err *e)
{
	const struct value *out = &t->values[row->out];
	uint64_t channels = 0;

	for (uint16_t j = 0; j < row->n_in; j++) {
		const struct value *in = &t->values[row->in[j]];

		channels += in->shape.c;
		if (in->form != FORM_SHARE || row->shift[j] > K_MAX || in->k + row->shift[j] < out->k)
			return bad(e, i, "maps a value that is not shared, or too narrow");
		if (row->map == MAP_CONCAT ? in->shape.h != out->shape.h || in->shape.w != out->shape.w
					   : row->map == MAP_ADD && !same(in->shape, out->shape))
			return bad(e, i, "maps parts of other shapes");
	}
	return row->map != MAP_CONCAT || channels == out->shape.c
		   ? 0
		   : bad(e, i, "a concatenation of another shape");
}

static int check_map(const struct tape *t, const struct row *row, uint16_t i, struct total *total,
		     struct err *e)
{
	struct shape in = t->values[row->in[0]].shape, out = t->values[row->out].shape;

	if ((unsigned)row->map > MAP_ADD || t->values[row->out].form != FORM_SHARE)
		return bad(e, i, "a map of an unknown kind, or one that does not give shares");
	if (check_parts(t, row, i, e))
		return -1;
	if (row->map == MAP_CONCAT || row->map == MAP_ADD)
		return row->factors ? bad(e, i, "factors without a pool") : 0;
	if (row->n_in != 1 || row->shift[0] || !same(row->post.in, in) || !same(row->post.out, out))
		return bad(e, i, "a map of another shape");
	if (row->map == MAP_PAD)
		return is_padding(&row->post) && !row->factors ? 0 : bad(e, i, "padding of another shape");
	if (!sane_sum(&row->post) || !check_factors(row))
		return bad(e, i, "a pool of another shape");
	total->work += window_work(&row->post);
	return check_total(total, e);
}

static unsigned index_bits(size_t classes)
{
	unsigned bits = 1;

	while ((UINT64_C(1) << bits) < classes)
		bits++;
	return bits;
}

static int check_max(const struct row *row, const struct value *in, const struct value *out, uint16_t i,
		     struct total *total, struct err *e)
{
	if (!sane_pool(&row->post) || !same(row->post.in, in->shape) || !same(row->post.out, out->shape) ||
	    out->k != in->k - in->f || out->f)
		return bad(e, i, "a maximum of another shape or width");
	total->pooled += window_work(&row->post);
	if (total->pooled <= POOLED)
		return 0;
	return err_set(e, ERR_INPUT,
		       "plan: maximum pools over %llu elements are more than %u: use a smaller network",
		       (unsigned long long)total->pooled, POOLED);
}

static int check_argmax(const struct value *in, const struct value *out)
{
	return !in->f && shape_size(out->shape) == 1 && shape_size(in->shape) <= CLASSES &&
	       out->k == index_bits(shape_size(in->shape)) && out->k <= in->k;
}

/* Rows with one input and one output of given forms; shapes alike but for max and argmax. */
static int check_simple(const struct tape *t, const struct row *row, uint16_t i, struct total *total,
			struct err *e)
{
	static const enum form from[OP_KINDS] = {
	    [OP_MASK] = FORM_SHARE,   [OP_RELU] = FORM_MASKED,	 [OP_MAX] = FORM_MASKED,
	    [OP_TRUNC] = FORM_MASKED, [OP_SQUARE] = FORM_MASKED, [OP_ARGMAX] = FORM_MASKED,
	    [OP_REVEAL] = FORM_SHARE};
	static const enum form to[OP_KINDS] = {
	    [OP_MASK] = FORM_DIFF,    [OP_RELU] = FORM_SHARE,	[OP_MAX] = FORM_MASKED,
	    [OP_TRUNC] = FORM_SHARE,  [OP_SQUARE] = FORM_SHARE, [OP_ARGMAX] = FORM_SHARE,
	    [OP_REVEAL] = FORM_RESULT};
	const struct value *in = &t->values[row->in[0]], *out = &t->values[row->out];

	if (row->n_in != 1 || in->form != from[row->kind] || out->form != to[row->kind])
		return bad(e, i, "its input or output is of the wrong form");
	if (row->kind == OP_MAX)
		return check_max(row, in, out, i, total, e);
	if (row->kind == OP_ARGMAX)
		return check_argmax(in, out) ? 0 : bad(e, i, "an argmax of another shape or width");
	if (!same(in->shape, out->shape))
		return bad(e, i, "its output has another shape");
	/* a label is revealed with a bit more than it is sent with: it is never negative */
	if ((row->kind == OP_MASK && in->k != out->k) ||
	    (row->kind == OP_REVEAL && (out->k < in->k || out->k > in->k + 1)))
		return bad(e, i, "its output has another width");
	if ((row->kind == OP_TRUNC || row->kind == OP_SQUARE) &&
	    (row->offset_log2 < in->f || row->offset_log2 >= in->k))
		return bad(e, i, "an offset outside its word");
	return 0;
}

/* Fields that the kind does not name are 0: others read some of them without asking for the kind. */
static int check_unused(const struct row *row, uint16_t i, struct err *e)
{
	int compares = row->kind == OP_RELU || row->kind == OP_MAX || row->kind == OP_ARGMAX;

	if (row->kind != OP_LINEAR && (row->n_terms || row->has_post))
		return bad(e, i, "terms or a pool in a row that is not linear");
	if (row->kind != OP_MAP && (row->factors || row->map))
		return bad(e, i, "a map in a row that is none");
	if ((unsigned)row->mode > TABLE_BANDWIDTH || (row->mode && !compares))
		return bad(e, i, "an unknown mode, or one where nothing is compared");
	if (row->offset_log2 && row->kind != OP_TRUNC && row->kind != OP_SQUARE)
		return bad(e, i, "an offset where nothing is truncated");
	return 0;
}

static int check_row(const struct tape *t, uint16_t i, const uint8_t *written, struct total *total,
		     struct err *e)
{
	const struct row *row = &t->rows[i];

	if ((unsigned)row->kind >= OP_KINDS || !row->n_in || row->n_in > TAPE_MAX_TERMS ||
	    row->n_terms > TAPE_MAX_TERMS)
		return bad(e, i, "an unknown kind, no input, or too many");
	for (uint16_t j = 0; j < row->n_in; j++)
		if (row->in[j] >= t->n_values || !written[row->in[j]])
			return bad(e, i, "reads a value that nobody has written");
	if (row->out >= t->n_values || written[row->out])
		return bad(e, i, "writes a value that does not exist or was written before");
	if ((row->kind == OP_REVEAL) != (i == t->n_rows - 1))
		return bad(e, i, "a plan ends with reveal, and only there");
	if (check_unused(row, i, e))
		return -1;
	if (row->kind == OP_LINEAR)
		return check_linear(t, row, i, total, e);
	return row->kind == OP_MAP ? check_map(t, row, i, total, e) : check_simple(t, row, i, total, e);
}

static int check_rows(const struct tape *t, uint8_t *written, struct total *total, struct err *e)
{
	written[0] = 1;
	for (uint16_t i = 0; i < t->n_rows; i++) {
		if (check_row(t, i, written, total, e))
			return -1;
		written[t->rows[i].out] = 1;
	}
	for (uint16_t v = 0; v < t->n_values; v++)
		if (!written[v])
			return err_set(e, ERR_INPUT, "plan: value %u is never written", v);
	return 0;
}

int tape_check(const struct tape *t, struct err *e)
{
	struct total total = {0};
	uint8_t *written;
	int result;

	if (!t->n_rows || t->n_rows > TAPE_MAX_ROWS || !t->n_values || t->n_values > TAPE_MAX_ROWS + 1)
		return err_set(e, ERR_INPUT, "plan: %u rows and %u values: at most %d rows", t->n_rows,
			       t->n_values, TAPE_MAX_ROWS);
	for (uint16_t v = 0; v < t->n_values; v++) {
		if (check_value(&t->values[v], v, e))
			return -1;
		total.words += shape_size(t->values[v].shape);
	}
	if (check_total(&total, e))
		return -1;
	if (t->values[0].form != FORM_SHARE)
		return err_set(e, ERR_INPUT, "plan: value 0, the input, is not shared");
	written = calloc(t->n_values, 1);
	if (!written)
		return err_set(e, ERR_ENV, "out of memory");
	result = check_rows(t, written, &total, e);
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

/* Appends the set of output (c, y, x): what its window covers inside the image. */
static void fill_set(struct pool_sets *s, const struct window *w, uint32_t c, uint32_t y, uint32_t x)
{
	uint32_t n = s->start[s->outputs];

	for (uint32_t i = 0; i < w->kh; i++)
		for (uint32_t j = 0; j < w->kw; j++) {
			int64_t row = (int64_t)y * w->sh - w->pt + (int64_t)i * w->dh,
				column = (int64_t)x * w->sw - w->pl + (int64_t)j * w->dw;

			if (row >= 0 && column >= 0 && row < w->in.h && column < w->in.w)
				s->member[n++] = (uint32_t)(((size_t)c * w->in.h + (size_t)row) * w->in.w +
							    (size_t)column);
		}
	if (s->largest < n - s->start[s->outputs])
		s->largest = n - s->start[s->outputs];
	s->start[++s->outputs] = n;
}

int pool_sets_new(struct pool_sets *s, const struct window *win, struct err *e)
{
	size_t outputs = shape_size(win->out), most = outputs * win->kh * win->kw;

	*s = (struct pool_sets){0};
	s->start = calloc(outputs + 1, sizeof(*s->start));
	s->member = malloc((most + 1) * sizeof(*s->member));
	if (!s->start || !s->member) {
		pool_sets_free(s);
		return err_set(e, ERR_ENV, "out of memory for a pool of %zu elements", most);
	}
	for (uint32_t c = 0; c < win->out.c; c++)
		for (uint32_t y = 0; y < win->out.h; y++)
			for (uint32_t x = 0; x < win->out.w; x++)
				fill_set(s, win, c, y, x);
	return 0;
}

void pool_sets_free(struct pool_sets *s)
{
	free(s->start);
	free(s->member);
	*s = (struct pool_sets){0};
}
