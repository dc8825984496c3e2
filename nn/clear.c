/* SPDX-License-Identifier: Apache-2.0 */
/* Values of a batch stand one image after another. A masked wire (FORM_MASKED) holds its words mod 2^k,
 * whatever is above: who reads it takes y = the signed representative, then z = (y + 2^(f-1)) >> f. All other
 * values are the integers themselves. */
#include "nn/clear.h"

#include <stdlib.h>
#include <string.h>

#include "crypto/ring.h"
#include "crypto/secret.h"
#include "nn/linear.h"

#define NOT_SMALL (INT64_C(1) << 31)

struct clear_row {
	struct linear *terms[TAPE_MAX_TERMS]; /* own; NULL: TERM_SKIP */
	uint64_t *bias;			      /* owns; NULL: none */
	struct pool_sets sets;		      /* of OP_MAX */
};

struct clear_model {
	const struct plan *plan;
	struct clear_row *rows;
	uint64_t work;
};

struct clear {
	const struct clear_model *model;
	size_t images;
	uint64_t **values; /* what OP_MASK gives is its input */
	uint64_t *memory;  /* owns what they point to */
	size_t words;
	uint64_t *wide; /* sums before their pool, of all images */
	void *scratch;	/* owns; of linear_apply */
};

static size_t value_words(const struct plan *plan, uint16_t v)
{
	return shape_size(plan->tape.values[v].shape);
}

/* Elements of a linear row's sum, before its pool. */
static size_t sum_words(const struct plan *plan, const struct row *row)
{
	return row->has_post ? shape_size(row->post.in) : value_words(plan, row->out);
}

static const struct row *last_row(const struct plan *plan)
{
	return &plan->tape.rows[plan->tape.n_rows - 1];
}

size_t clear_bytes(const struct plan *plan)
{
	return ring_packed(plan_words(plan), plan->tape.values[last_row(plan)->in[0]].k);
}

/* ---- the model ---- */

static int pack_term(struct clear_row *to, const struct row *row, uint16_t j, const int64_t *w, unsigned k,
		     struct err *e)
{
	size_t n = term_weights(&row->terms[j]);
	int small = 1;

	for (size_t i = 0; small && i < n; i++)
		small = w[i] < NOT_SMALL && w[i] > -NOT_SMALL;
	to->terms[j] = linear_new(&row->terms[j], (const uint64_t *)w, k, small, e);
	return to->terms[j] ? 0 : -1;
}

static int pack_linear(struct clear_model *m, uint16_t at, const struct layer_weights *w, struct err *e)
{
	const struct row *row = &m->plan->tape.rows[at];
	struct clear_row *to = &m->rows[at];
	size_t n = sum_words(m->plan, row), first = 0, all = 0;

	for (uint16_t j = 0; j < row->n_terms; j++)
		all += term_weights(&row->terms[j]);
	if (all != w->n_weights || (w->n_bias && w->n_bias != n))
		return err_set(e, ERR_INPUT, "weights of row %u belong to another plan", at);
	for (uint16_t j = 0; j < row->n_terms; j++) {
		if (row->terms[j].kind == TERM_SKIP)
			continue;
		if (pack_term(to, row, j, w->weights + first, m->plan->tape.values[row->out].k, e))
			return -1;
		first += term_weights(&row->terms[j]);
		m->work += term_multiply_adds(&row->terms[j]);
	}
	if (w->n_bias && !(to->bias = malloc(n * sizeof(*to->bias))))
		return err_set(e, ERR_ENV, "out of memory for a model");
	if (w->n_bias)
		memcpy(to->bias, w->bias, n * sizeof(*to->bias));
	return 0;
}

static int pack_rows(struct clear_model *m, const struct weights *weights, struct err *e)
{
	const struct tape *t = &m->plan->tape;

	if (weights->n_rows != t->n_rows)
		return err_set(e, ERR_INPUT, "weights belong to another plan: %u rows, not %u",
			       weights->n_rows, t->n_rows);
	for (uint16_t i = 0; i < t->n_rows; i++)
		if ((t->rows[i].kind == OP_LINEAR && pack_linear(m, i, &weights->rows[i], e)) ||
		    (t->rows[i].kind == OP_MAX && pool_sets_new(&m->rows[i].sets, &t->rows[i].post, e)))
			return -1;
	return 0;
}

int clear_model_new(struct clear_model **model, const struct plan *plan, const struct weights *weights,
		    struct err *e)
{
	struct clear_model *m = calloc(1, sizeof(*m));

	*model = NULL;
	if (m)
		m->plan = plan;
	if (!m || !(m->rows = calloc(plan->tape.n_rows, sizeof(*m->rows)))) {
		free(m);
		return err_set(e, ERR_ENV, "out of memory for a model");
	}
	if (pack_rows(m, weights, e)) {
		clear_model_free(m);
		return -1;
	}
	*model = m;
	return 0;
}

void clear_model_free(struct clear_model *m)
{
	if (!m)
		return;
	for (uint16_t i = 0; i < m->plan->tape.n_rows; i++) {
		struct clear_row *r = &m->rows[i];

		for (int j = 0; j < TAPE_MAX_TERMS; j++)
			linear_free(r->terms[j]);
		if (r->bias)
			secret_wipe(r->bias, sum_words(m->plan, &m->plan->tape.rows[i]) * sizeof(*r->bias));
		free(r->bias);
		pool_sets_free(&r->sets);
	}
	free(m->rows);
	free(m);
}

uint64_t clear_work(const struct clear_model *m)
{
	return m->work;
}

/* ---- memory ---- */

static size_t up64(size_t words)
{
	return (words + 7) / 8 * 8; /* to a line of the cache */
}

/* Words of all values and of the widest sum, for so many images. */
static size_t count_words(const struct plan *plan, size_t images, size_t *wide)
{
	const struct tape *t = &plan->tape;
	size_t words = up64(value_words(plan, 0) * images);

	*wide = 1;
	for (uint16_t i = 0; i < t->n_rows; i++) {
		const struct row *row = &t->rows[i];

		if (row->kind != OP_MASK)
			words += up64(value_words(plan, row->out) * images);
		if (row->has_post && *wide < sum_words(plan, row) * images)
			*wide = sum_words(plan, row) * images;
	}
	return words + up64(*wide);
}

static void place(struct clear *c, size_t wide)
{
	const struct plan *plan = c->model->plan;
	uint64_t *next = c->memory;

	c->values[0] = next;
	next += up64(value_words(plan, 0) * c->images);
	for (uint16_t i = 0; i < plan->tape.n_rows; i++) {
		const struct row *row = &plan->tape.rows[i];

		if (row->kind == OP_MASK) {
			c->values[row->out] = c->values[row->in[0]];
			continue;
		}
		c->values[row->out] = next;
		next += up64(value_words(plan, row->out) * c->images);
	}
	c->wide = next;
}

static size_t scratch_bytes(const struct clear_model *m, size_t images)
{
	size_t most = 64;

	for (uint16_t i = 0; i < m->plan->tape.n_rows; i++)
		for (int j = 0; j < TAPE_MAX_TERMS; j++) {
			size_t n = m->rows[i].terms[j] ? linear_scratch(m->rows[i].terms[j], images) : 0;

			most = n > most ? n : most;
		}
	return (most + 127) / 64 * 64;
}

int clear_new(struct clear **clear, const struct clear_model *model, size_t images, struct err *e)
{
	struct clear *c = calloc(1, sizeof(*c));
	size_t wide;

	*clear = NULL;
	if (!c)
		return err_set(e, ERR_ENV, "out of memory for an inference");
	c->model = model;
	c->images = images;
	c->words = count_words(model->plan, images, &wide);
	c->values = calloc(model->plan->tape.n_values, sizeof(*c->values));
	c->memory = aligned_alloc(64, (c->words * sizeof(*c->memory) + 127) / 64 * 64);
	c->scratch = aligned_alloc(64, scratch_bytes(model, images));
	if (!c->values || !c->memory || !c->scratch) {
		clear_free(c);
		return err_set(e, ERR_ENV, "out of memory for inferences of %zu images", images);
	}
	place(c, wide);
	*clear = c;
	return 0;
}

void clear_free(struct clear *c)
{
	if (!c)
		return;
	if (c->memory)
		secret_wipe(c->memory, c->words * sizeof(*c->memory));
	free(c->memory);
	free(c->values);
	free(c->scratch);
	free(c);
}

/* ---- rows ---- */

/* y = pool(Σ W x + Σ 2^s x + bias). */
static void run_linear(struct clear *c, uint16_t at, const struct row *row, size_t n)
{
	const struct plan *plan = c->model->plan;
	const struct clear_row *r = &c->model->rows[at];
	size_t words = sum_words(plan, row), out = value_words(plan, row->out);
	uint64_t *y = row->has_post ? c->wide : c->values[row->out];

	for (size_t b = 0; b < n; b++)
		if (r->bias)
			memcpy(y + b * words, r->bias, words * sizeof(*y));
		else
			memset(y + b * words, 0, words * sizeof(*y));
	for (uint16_t j = 0; j < row->n_terms; j++) {
		const struct term *t = &row->terms[j];
		const uint64_t *x = c->values[t->in];

		if (r->terms[j])
			linear_apply(r->terms[j], x, value_words(plan, t->in), y, words, n, c->scratch);
		for (size_t i = 0; t->kind == TERM_SKIP && i < n * words; i++)
			y[i] += x[i] << t->shift;
	}
	for (size_t b = 0; row->has_post && b < n; b++)
		linear_pool(&row->post, y + b * words, c->values[row->out] + b * out);
}

static void run_map(struct clear *c, const struct row *row, size_t n)
{
	const struct plan *plan = c->model->plan;
	const uint64_t *in[TAPE_MAX_TERMS];

	for (size_t b = 0; b < n; b++) {
		for (uint16_t i = 0; i < row->n_in; i++)
			in[i] = c->values[row->in[i]] + b * value_words(plan, row->in[i]);
		map_integers(&plan->tape, row, in, c->values[row->out] + b * value_words(plan, row->out));
	}
}

/* The signed representative; the low f bits dropped, to nearest. */
static inline int64_t rounded(uint64_t y, unsigned above, uint64_t half, unsigned f)
{
	return (((int64_t)(y << above) >> above) + (int64_t)half) >> f;
}

static void run_max(const struct pool_sets *s, const uint64_t *y, const struct value *v, uint64_t *out)
{
	unsigned above = 64 - v->k;
	uint64_t half = v->f ? UINT64_C(1) << (v->f - 1) : 0;

	for (size_t o = 0; o < s->outputs; o++) {
		/* rounding is monotone: the greatest word gives the greatest integer */
		int64_t best = INT64_MIN;

		for (uint32_t m = s->start[o]; m < s->start[o + 1]; m++) {
			int64_t x = (int64_t)(y[s->member[m]] << above);

			best = x > best ? x : best;
		}
		out[o] = (uint64_t)(((best >> above) + (int64_t)half) >> v->f);
	}
}

static uint64_t greatest(const uint64_t *y, size_t n, const struct value *v)
{
	size_t best = 0;

	for (size_t i = 1; i < n; i++)
		if (rounded(y[i], 64 - v->k, 0, 0) > rounded(y[best], 64 - v->k, 0, 0))
			best = i;
	return best;
}

static void reveal(const struct value *in, const struct value *out, const uint64_t *y, uint64_t *to, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] = (uint64_t)ring_signed(y[i] & ring_mask(in->k), out->k);
}

/* OP_RELU, OP_TRUNC, OP_SQUARE: n words, one by one. */
static void run_words(enum op_kind kind, const struct value *v, const uint64_t *y, uint64_t *out, size_t n)
{
	unsigned above = 64 - v->k, f = v->f;
	uint64_t half = f ? UINT64_C(1) << (f - 1) : 0;

	if (kind == OP_RELU)
		for (size_t i = 0; i < n; i++) {
			int64_t z = rounded(y[i], above, half, f);

			out[i] = (uint64_t)(z & ~(z >> 63));
		}
	else if (kind == OP_SQUARE)
		for (size_t i = 0; i < n; i++) {
			int64_t z = rounded(y[i], above, half, f);

			out[i] = (uint64_t)z * (uint64_t)z;
		}
	else
		for (size_t i = 0; i < n; i++)
			out[i] = (uint64_t)rounded(y[i], above, half, f);
}

static void run_row(struct clear *c, uint16_t at, size_t n)
{
	const struct plan *plan = c->model->plan;
	const struct row *row = &plan->tape.rows[at];
	const struct value *in = &plan->tape.values[row->in[0]];
	size_t from = value_words(plan, row->in[0]), to = value_words(plan, row->out);

	if (row->kind == OP_LINEAR)
		run_linear(c, at, row, n);
	else if (row->kind == OP_MAP)
		run_map(c, row, n);
	else if (row->kind == OP_REVEAL)
		reveal(in, &plan->tape.values[row->out], c->values[row->in[0]], c->values[row->out], n * to);
	else if (row->kind == OP_RELU || row->kind == OP_TRUNC || row->kind == OP_SQUARE)
		run_words(row->kind, in, c->values[row->in[0]], c->values[row->out], n * to);
	for (size_t b = 0; row->kind == OP_MAX && b < n; b++)
		run_max(&c->model->rows[at].sets, c->values[row->in[0]] + b * from, in,
			c->values[row->out] + b * to);
	for (size_t b = 0; row->kind == OP_ARGMAX && b < n; b++)
		c->values[row->out][b] = greatest(c->values[row->in[0]] + b * from, from, in);
}

/* A sum that is not masked (the last layer's) is read as an integer by maps. */
static void settle(struct clear *c, const struct row *row, size_t n)
{
	const struct value *v = &c->model->plan->tape.values[row->out];

	if (row->kind == OP_LINEAR && v->form == FORM_SHARE)
		run_words(OP_TRUNC, v, c->values[row->out], c->values[row->out], n * shape_size(v->shape));
}

void clear_infer(struct clear *c, const uint8_t *pixels, size_t n, int64_t *result)
{
	const struct plan *plan = c->model->plan;
	size_t input = value_words(plan, 0), words = plan_words(plan);

	for (size_t part; n; n -= part, pixels += part * input, result += part * words) {
		part = n < c->images ? n : c->images;
		for (size_t i = 0; i < part * input; i++)
			c->values[0][i] = pixels[i];
		for (uint16_t i = 0; i < plan->tape.n_rows; i++) {
			run_row(c, i, part);
			settle(c, &plan->tape.rows[i], part);
		}
		memcpy(result, c->values[last_row(plan)->out], part * words * sizeof(*result));
	}
}
