/* SPDX-License-Identifier: Apache-2.0 */
/* The model owner's end: sums of products with transformed weights. */
#include <stdlib.h>
#include <string.h>

#include "crypto/ring.h"
#include "crypto/secret.h"
#include "nn/he_parts.h"

static int out_of_memory(struct err *e)
{
	return err_set(e, ERR_ENV, "out of memory for the weights of the he personality");
}

static const struct row *row_of(const struct he_plan *hp, const struct he_step *s)
{
	return &hp->plan->tape.rows[s->row];
}

/* ---- the model ---- */

static int find_starts(struct matrix *m, const struct he_layout *l)
{
	if (!(m->start = calloc((size_t)l->m_blocks + 1, sizeof(*m->start))))
		return -1;
	for (uint32_t b = 0; b < l->m_blocks; b++) {
		uint32_t first, blocks;

		he_layout_needs(l, b, &first, &blocks);
		m->start[b + 1] = m->start[b] + blocks;
	}
	return 0;
}

static int matrix_fill(struct matrix *m, const struct he_params *p, unsigned limbs, const struct he_layout *l,
		       const int64_t *weights, struct err *e)
{
	size_t each = limbs * p->n;
	int64_t *poly = malloc(p->n * sizeof(*poly));

	if (!poly || find_starts(m, l) || !(m->words = aligned_alloc(64, m->start[l->m_blocks] * each * 4))) {
		free(poly);
		return out_of_memory(e);
	}
	for (uint32_t b = 0; b < l->m_blocks; b++) {
		uint32_t first, blocks;

		he_layout_needs(l, b, &first, &blocks);
		for (uint32_t c = 0; c < blocks; c++) {
			he_layout_weights(l, first + c, b, weights, poly);
			he_weights(p, limbs, poly, m->words + (m->start[b] + c) * each);
		}
	}
	secret_wipe(poly, p->n * sizeof(*poly));
	free(poly);
	return 0;
}

/* For words in clear. A convolution of one pixel is a dense layer. */
static int make_ring(struct linear **ring, const struct he_conv *c, const int64_t *weights, unsigned k,
		     struct err *e)
{
	struct term t;
	int small = 1;

	he_conv_term(&t, c);
	for (size_t i = 0; i < he_conv_weights(c); i++)
		small &= weights[i] < INT32_MAX && weights[i] > -INT32_MAX;
	*ring = linear_new(&t, (const uint64_t *)weights, k, small, e);
	return *ring ? 0 : -1;
}

static int make_terms(struct he_model *m, uint16_t step, const int64_t *weights, struct err *e)
{
	const struct he_step *s = &m->hp->steps[step];
	const struct row *row = row_of(m->hp, s);

	for (uint16_t i = 0; i < s->n_terms; i++) {
		const struct term *t = &row->terms[s->terms[i].term];
		const struct he_layout *l = &s->terms[i].layout;
		size_t n = he_conv_weights(&l->conv);
		int64_t *folded = malloc(n * sizeof(*folded));
		int r;

		if (!folded)
			return out_of_memory(e);
		he_conv_fold(&l->conv, t, s->folded ? &row->post : NULL, weights, folded);
		r = matrix_fill(&m->terms[step][i], he_width_params(m->hp->set, &s->width), s->width.limbs, l,
				folded, e);
		if (!r)
			r = make_ring(&m->rings[step][i], &l->conv, folded, s->width.k, e);
		secret_wipe(folded, n * sizeof(*folded));
		free(folded);
		if (r)
			return -1;
		weights += term_weights(t);
	}
	return 0;
}

static int make_bias(struct he_model *m, uint16_t step, const struct layer_weights *w, struct err *e)
{
	const struct he_step *s = &m->hp->steps[step];
	size_t n = shape_size(s->terms[0].layout.conv.win.out);

	if (!w->n_bias)
		return 0;
	if (!(m->bias[step] = malloc(n * sizeof(uint64_t))))
		return out_of_memory(e);
	if (s->folded)
		linear_pool(&row_of(m->hp, s)->post, (const uint64_t *)w->bias, m->bias[step]);
	else
		memcpy(m->bias[step], w->bias, n * sizeof(uint64_t));
	return 0;
}

int he_model_new(struct he_model **out, const struct he_plan *hp, const struct weights *weights,
		 struct err *e)
{
	struct he_model *m = calloc(1, sizeof(*m));

	*out = NULL;
	if (m) {
		m->hp = hp;
		m->terms = calloc(hp->n_steps + 1, sizeof(*m->terms));
		m->rings = calloc(hp->n_steps + 1, sizeof(*m->rings));
		m->bias = calloc(hp->n_steps + 1, sizeof(*m->bias));
	}
	if (!m || !m->terms || !m->rings || !m->bias) {
		he_model_free(m);
		return out_of_memory(e);
	}
	for (uint16_t i = 0; i < hp->n_steps; i++) {
		const struct layer_weights *w = &weights->rows[hp->steps[i].row];

		if (make_terms(m, i, w->weights, e) || make_bias(m, i, w, e)) {
			he_model_free(m);
			return -1;
		}
	}
	*out = m;
	return 0;
}

static void matrix_free(struct matrix *m, size_t bytes, uint32_t blocks)
{
	if (m->words)
		secret_wipe(m->words, m->start[blocks] * bytes);
	free(m->words);
	free(m->start);
}

void he_model_free(struct he_model *m)
{
	if (!m)
		return;
	for (uint16_t i = 0; m->terms && m->rings && m->bias && i < m->hp->n_steps; i++) {
		const struct he_step *s = &m->hp->steps[i];

		for (uint16_t j = 0; j < s->n_terms; j++)
			linear_free(m->rings[i][j]);
		for (uint16_t j = 0; j < s->n_terms; j++)
			matrix_free(&m->terms[i][j], s->width.limbs * s->terms[j].layout.n * 4,
				    s->terms[j].layout.m_blocks);
		if (m->bias[i])
			secret_wipe(m->bias[i],
				    shape_size(s->terms[0].layout.conv.win.out) * sizeof(uint64_t));
		free(m->bias[i]);
	}
	free(m->terms);
	free(m->rings);
	free(m->bias);
	free(m);
}

/* ---- a session ---- */

/* Outputs of the largest row with several terms. */
static size_t hidden(const struct he_plan *hp)
{
	size_t most = 1;

	for (uint16_t i = 0; i < hp->n_steps; i++) {
		size_t n = shape_size(hp->steps[i].terms[0].layout.conv.win.out);

		if (hp->steps[i].n_terms > 1 && n > most)
			most = n;
	}
	return most;
}

static int take_buffers(struct he_replier *r)
{
	const struct he_plan *hp = r->model->hp;
	const struct he_params *p = he_params(hp->set);
	size_t terms = hp->terms + 1, n = p->n;

	r->c0 = aligned_alloc(64, terms * p->limbs * n * 4);
	r->c1 = aligned_alloc(64, terms * p->limbs * n * 4);
	r->p0 = calloc(terms, sizeof(*r->p0));
	r->p1 = calloc(terms, sizeof(*r->p1));
	r->pw = calloc(terms, sizeof(*r->pw));
	r->add = calloc(n, 8);
	r->out0 = calloc(n, 8);
	r->out1 = calloc(n, 8);
	r->words = calloc(n, 8);
	r->hide = calloc(2 * hidden(hp), 8);
	r->wanted = calloc(n, sizeof(*r->wanted));
	r->element = calloc(n, sizeof(*r->element));
	return r->c0 && r->c1 && r->p0 && r->p1 && r->pw && r->add && r->out0 && r->out1 && r->words &&
		       r->hide && r->wanted && r->element
		   ? 0
		   : -1;
}

int he_replier_new(struct he_replier **out, const struct he_model *model, struct err *e)
{
	struct he_replier *r = calloc(1, sizeof(*r));

	*out = NULL;
	if (!r)
		return out_of_memory(e);
	r->model = model;
	r->rng = he_rng_new(NULL, e);
	r->work = he_work_new(model->hp->set, model->hp->terms, e);
	if (!r->rng || !r->work || take_buffers(r)) {
		he_replier_free(r);
		return out_of_memory(e);
	}
	*out = r;
	return 0;
}

void he_replier_free(struct he_replier *r)
{
	size_t n;

	if (!r)
		return;
	n = he_params(r->model->hp->set)->n * 8;
	if (r->add)
		secret_wipe(r->add, n);
	if (r->out0)
		secret_wipe(r->out0, n);
	if (r->out1)
		secret_wipe(r->out1, n);
	if (r->hide)
		secret_wipe(r->hide, 16 * hidden(r->model->hp));
	free(r->c0);
	free(r->c1);
	free(r->p0);
	free(r->p1);
	free(r->pw);
	free(r->add);
	free(r->out0);
	free(r->out1);
	free(r->words);
	free(r->hide);
	free(r->wanted);
	free(r->element);
	he_work_free(r->work);
	he_rng_free(r->rng);
	free(r);
}

void he_replier_profile(struct he_replier *r, uint64_t *ns)
{
	r->ns = ns;
	he_laps_row(&r->laps, ns, 0);
	he_work_laps(r->work, &r->laps);
}

/* ---- answers ---- */

static void read_tile(struct he_replier *r, struct place *at)
{
	const struct he_width *w = &at->step->width;
	const struct he_params *p = he_width_params(r->model->hp->set, w);

	for (uint32_t c = 0; c < at->term->layout.c_blocks; c++) {
		size_t to = (size_t)c * w->limbs * p->n;

		he_cipher_read(p, w->limbs, w->up, at->in, at->half, at->index++,
			       he_work_of(r->work, w->small), r->c0 + to, r->c1 + to);
		at->in += he_cipher_bytes(p, w->up);
	}
}

/* What is added to the wanted coefficients, as fractions of 2^64. */
static void prepare_add(struct he_replier *r, const struct place *at, size_t wanted)
{
	unsigned k = at->step->width.k;

	memset(r->add, 0, at->term->layout.n * 8);
	for (size_t i = 0; i < wanted; i++) {
		uint64_t y =
		    (at->bias ? at->bias[r->element[i]] : 0) + (at->hide ? at->hide[r->element[i]] : 0);

		r->add[r->wanted[i]] = y << (64 - k);
	}
}

static void answer_block(struct he_replier *r, struct place *at, uint64_t tile, uint32_t m)
{
	const struct he_layout *l = &at->term->layout;
	size_t poly = at->step->width.limbs * l->n,
	       wanted = he_layout_wanted(l, tile, m, r->wanted, r->element);
	const struct he_width *width = &at->step->width;
	unsigned to = width->to, cut = width->cut;
	uint32_t first, blocks;

	he_layout_needs(l, m, &first, &blocks);
	for (uint32_t c = 0; c < blocks; c++) {
		r->p0[c] = r->c0 + (first + c) * poly;
		r->p1[c] = r->c1 + (first + c) * poly;
		r->pw[c] = at->matrix->words + (at->matrix->start[m] + c) * poly;
	}
	prepare_add(r, at, wanted);
	he_lap(&r->laps, HE_LAP_REST);
	he_answer(he_public_of(at->pk, width->small), r->rng, width->limbs, r->p0, r->p1, r->pw, blocks,
		  r->add, to, cut, he_work_of(r->work, width->small), r->out0, r->out1);
	for (size_t i = 0; i < wanted; i++)
		r->words[i] = r->out0[r->wanted[i]];
	ring_pack(at->out, r->words, wanted, to - cut);
	at->out += ring_packed(wanted, to - cut);
	ring_pack(at->out, r->out1, l->n, to);
	at->out += ring_packed(l->n, to);
	he_lap(&r->laps, HE_LAP_REST);
}

static void answer_term(struct he_replier *r, struct place *at)
{
	const struct he_layout *l = &at->term->layout;

	for (uint64_t tile = 0; tile < he_layout_tiles(l); tile++) {
		read_tile(r, at);
		for (uint32_t m = 0; m < l->m_blocks; m++)
			answer_block(r, at, tile, m);
	}
}

/* Words that cancel over the terms: fresh ones for all but the last, minus their sum for that. */
static const uint64_t *hiding(struct he_replier *r, const struct he_step *s, uint16_t term, size_t n)
{
	uint64_t *now = r->hide, *sum = r->hide + n;

	if (s->n_terms < 2)
		return NULL;
	if (!term)
		memset(sum, 0, n * 8);
	if (term == s->n_terms - 1)
		return sum;
	he_words(r->rng, now, n);
	for (size_t i = 0; i < n; i++)
		sum[i] -= now[i];
	return now;
}

void he_answer_step(struct he_replier *r, struct place *at, uint16_t step)
{
	const struct he_model *m = r->model;
	const struct he_step *s = at->step = &m->hp->steps[step];

	he_laps_row(&r->laps, r->ns, s->row);
	for (uint16_t i = 0; i < s->n_terms; i++) {
		at->term = &s->terms[i];
		at->matrix = &m->terms[step][i];
		at->bias = i ? NULL : at->given ? at->given : m->bias[step];
		at->hide = hiding(r, s, i, shape_size(at->term->layout.conv.win.out));
		he_lap(&r->laps, HE_LAP_MASK);
		answer_term(r, at);
	}
}

static int answer_image(struct he_replier *r, struct place *at, uint16_t level, struct err *e)
{
	const struct he_plan *hp = r->model->hp;

	if (!(at->half = prg_new(at->in, PRG_HE_HALF, e)))
		return -1;
	at->in += HE_SEED_BYTES;
	at->index = 0;
	for (uint16_t s = 0; s < hp->n_steps; s++)
		if (hp->steps[s].level == level)
			he_answer_step(r, at, s);
	prg_free(at->half);
	return 0;
}

int he_reply(struct he_replier *r, const struct he_public *pk, uint16_t level, size_t batch,
	     const uint8_t *in, size_t bytes, uint8_t *out, struct err *e)
{
	const struct he_plan *hp = r->model->hp;
	struct place at = {.pk = pk, .in = in, .out = out};

	if (level >= hp->levels || bytes != he_request_bytes(hp, level, batch))
		return err_set(e, ERR_PEER,
			       "a request of %zu bytes for round trip %u, which has another size; the peer's "
			       "plan is another",
			       bytes, level);
	he_laps_start(&r->laps);
	for (size_t i = 0; i < batch; i++)
		if (answer_image(r, &at, level, e))
			return -1;
	return 0;
}
