/* SPDX-License-Identifier: Apache-2.0 */
/* The noise budget of every layer: which modulus, how many primes, how short an answer.
 *
 * Error of one answered output, in units of the sum, D = DEVIATIONS standard deviations of what is random and
 * all of what is not:
 *	E = D √(4^(k-to) N/18 + 4^(k-up) ‖w‖₂²/12 + 4^k/Q² σ² (‖w‖₂² + 4N/3 + 1))
 *	    + 2^(k-to+cut) / 2 + 2^k/Q ‖w‖₁ / 2
 * In turn: c1 is rounded to 2^to; c0 is sent with `up` bits; the noise of the upload and of the encryption of
 * zero that re-randomises; c0 is rounded to 2^(to-cut); Q m / 2^k is rounded. ‖w‖₂ is of a polynomial, that is
 * of all its filters, ‖w‖₁ of one: coefficients in which a message is zero are encoded exactly. */
#include "nn/he_noise.h"

#include <math.h>
#include <stdlib.h>

#include "crypto/ring.h"
#include "crypto/secret.h"

#define DEVIATIONS 8.0 /* a normal variable is beyond with probability 2^-49 */
#define RESULT_BITS 10 /* revealed scores may be wrong by 2^-10, in practice by a tenth of that */
#define CUT_MAX 6

/* A term's largest ‖w‖₁ of a filter, and sums of ‖w‖₂²: of the f largest, [f - 1]. */
struct norms {
	double sum;
	double *squares; /* owns */
	uint32_t filters;
};

static int falling(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x < y) - (x > y);
}

static void measure(struct norms *n, const int64_t *w, size_t each)
{
	for (uint32_t f = 0; f < n->filters; f++) {
		double square = 0, sum = 0;

		for (size_t i = 0; i < each; i++, w++) {
			square += (double)*w * (double)*w;
			sum += fabs((double)*w);
		}
		n->squares[f] = square;
		n->sum = fmax(n->sum, sum);
	}
	qsort(n->squares, n->filters, sizeof(*n->squares), falling);
	for (uint32_t f = 1; f < n->filters; f++)
		n->squares[f] += n->squares[f - 1];
}

static int norms_of(struct norms *n, const struct row *row, const struct term *t, const struct window *post,
		    const int64_t *weights, struct err *e)
{
	struct he_conv c;
	size_t all;
	int64_t *w;

	if (he_conv_of(&c, t, post, e))
		return -1;
	n->filters = c.win.out.c;
	all = he_conv_weights(&c);
	n->squares = malloc(n->filters * sizeof(*n->squares));
	w = malloc((all + 1) * sizeof(*w));
	if (!w || !n->squares) {
		free(w);
		return err_set(e, ERR_ENV, "out of memory for a plan of the he personality");
	}
	he_conv_fold(&c, t, post, weights, w);
	measure(n, w, all / n->filters);
	secret_wipe(w, all * sizeof(*w));
	free(w);
	return 0;
}

/* What a step's error depends on. area: outputs of the terms that the data owner adds up for one of the
 * row. */
struct budget {
	struct norms terms[TAPE_MAX_TERMS]; /* own */
	unsigned n_terms, k;
	double area, tolerance;
};

static void budget_free(struct budget *b)
{
	for (unsigned i = 0; i < b->n_terms; i++)
		free(b->terms[i].squares);
}

/* ‖w‖₂² of all terms' polynomials of so many filters: an error in any coefficient that is sent meets all of a
 * polynomial's weights. */
static double square_of(const struct budget *b, uint32_t filters)
{
	double square = 0;

	for (unsigned i = 0; i < b->n_terms; i++)
		square +=
		    b->terms[i].squares[(filters < b->terms[i].filters ? filters : b->terms[i].filters) - 1];
	return square;
}

/* ‖w‖₁ of one filter, over all terms */
static double sum_of(const struct budget *b)
{
	double sum = 0;

	for (unsigned i = 0; i < b->n_terms; i++)
		sum += b->terms[i].sum;
	return sum;
}

/* DEVIATIONS quarters of the unit that is kept when f bits are dropped, so that the deviation is below the
 * 0.29 of that rounding. Of scores likewise: what rounding the last layer's inputs does to them, or
 * 2^-RESULT_BITS. */
static double tolerance_of(const struct plan *plan, const struct row *row, double square)
{
	const struct value *out = &plan->tape.values[row->out];

	if (out->form == FORM_MASKED)
		return ldexp(DEVIATIONS / 4.0, out->f);
	return fmax(fmax(ldexp(1, plan->result_bits - RESULT_BITS), 0.49), DEVIATIONS / 4.0 * sqrt(square));
}

/* The least k with -2^(k-1) <= lo - E and hi + E < 2^(k-1). In `client` mode the data owner sees every value
 * anyway: k is not rounded up to hide it. */
static unsigned width_of(int64_t lo, int64_t hi, double error)
{
	unsigned k = 2;

	while (k < 64 && (ldexp(-1, (int)k - 1) > (double)lo - error - 1 ||
			  ldexp(1, (int)k - 1) <= (double)hi + error + 1))
		k++;
	return k;
}

/* `beyond`: how far a row's values may lie beyond their proven interval; the row's own error is added. */
static int budget_of(struct budget *b, const struct he_plan *hp, const struct he_step *s,
		     const struct weights *weights, const struct bounds *bounds, double *beyond,
		     struct err *e)
{
	const struct row *row = &hp->plan->tape.rows[s->row];
	const int64_t *w = weights->rows[s->row].weights;
	double square = 0;

	b->area = row->has_post && !s->folded ? (double)row->post.kh * row->post.kw : 1;
	for (uint16_t i = 0; i < row->n_terms; i++) {
		const struct term *t = &row->terms[i];
		struct norms *n = &b->terms[b->n_terms];

		if (t->kind == TERM_SKIP)
			continue;
		b->n_terms++;
		if (norms_of(n, row, t, s->folded ? &row->post : NULL, w, e))
			return -1;
		*beyond += b->area * n->sum * hp->beyond[t->in];
		square += t->in ? b->area * b->area * n->squares[0] : 0; /* pixels are not rounded */
		w += term_weights(t);
	}
	b->tolerance = tolerance_of(hp->plan, row, square);
	*beyond += b->tolerance;
	b->k = width_of(bounds->lo[row->out], bounds->hi[row->out], *beyond);
	return 0;
}

/* Of the upload, of re-randomisation and of Q c0 / 2^up, times Q / 2^k. */
static double noise_variance(const struct budget *b, const struct he_params *p, uint32_t filters)
{
	return (HE_NOISE_VARIANCE + 1 / 12.0) * square_of(b, filters) +
	       b->n_terms * HE_NOISE_VARIANCE * (4.0 / 3 * (double)p->n + 1);
}

static double noise_of(const struct budget *b, const struct he_params *p, const struct he_width *w)
{
	return b->area * (DEVIATIONS * sqrt(noise_variance(b, p, w->filters)) + sum_of(b) / 2) *
	       exp2(b->k - he_modulus_bits(p, w->limbs));
}

static double error_of(const struct budget *b, const struct he_params *p, const struct he_width *w)
{
	double k = b->k, scale = exp2(k - he_modulus_bits(p, w->limbs)),
	       variance = b->n_terms * (double)p->n / 18 * exp2(2 * (k - w->to)) +
			  square_of(b, w->filters) / 12 * exp2(2 * (k - w->up)) +
			  noise_variance(b, p, w->filters) * scale * scale;

	return b->area * (DEVIATIONS * sqrt(variance) + b->n_terms * exp2(k - w->to + w->cut) / 2 +
			  sum_of(b) / 2 * scale);
}

static int refuse(const struct he_plan *hp, const struct he_step *s, const struct budget *b, struct err *e)
{
	const struct he_params *p = he_params(hp->set);
	struct he_width w = {.limbs = (uint8_t)p->limbs, .filters = 1};
	double noise = noise_of(b, p, &w),
	       answer = b->area * DEVIATIONS * sqrt(b->n_terms * (double)p->n / 18);
	char name[96];

	he_row_name(&hp->plan->tape.rows[s->row], s->row, name, sizeof(name));
	if (b->k > HE_K_MAX)
		return err_set(e, ERR_INPUT,
			       "%s: its sums need words of %u bits, more than %d; use fewer --weight-bits or "
			       "--activation-bits",
			       name, b->k, HE_K_MAX);
	return err_set(e, ERR_INPUT,
		       "%s: words of %u bits and its noise need a modulus of %.0f bits and answers of %.0f, "
		       "set %s has %.0f and %u; use %sfewer "
		       "--weight-bits or --activation-bits, or smpc",
		       name, b->k, ceil(he_modulus_bits(p, p->limbs) + log2(noise / b->tolerance)),
		       ceil(b->k + log2(answer / b->tolerance)), p->name, he_modulus_bits(p, p->limbs),
		       he_open_max(p), hp->set == HE_S ? "--he-set L, " : "");
}

/* ---- the widths with the fewest bytes */
struct choice {
	struct he_width best;
	const struct he_params *p; /* of what is being tried */
	double bytes;		   /* INFINITY: none yet */
};

static int fits(const struct budget *b, const struct choice *c, const struct he_width *w)
{
	return error_of(b, c->p, w) <= b->tolerance;
}

/* The fewest bits that do with all else as it is; 0: there are none. */
static int least_up(const struct budget *b, const struct choice *c, struct he_width *w)
{
	for (w->up = 1; w->up <= HE_UP_MAX; w->up++)
		if (fits(b, c, w))
			return w->up;
	return 0;
}

static int least_to(const struct budget *b, const struct choice *c, struct he_width *w)
{
	w->up = HE_UP_MAX;
	for (w->to = 1; w->to <= he_open_max(c->p); w->to++)
		if (fits(b, c, w))
			return w->to;
	return 0;
}

/* The layout is that of answers with one bit to spare. Then what these answers spare more or less, others may
 * use. */
static int try_filters(struct he_plan *hp, struct he_step *s, const struct budget *b, struct he_width w,
		       struct choice *c, struct err *e)
{
	double sent = 0, answered = 0, wanted = 0;
	int least = least_to(b, c, &w);

	if (!least || least == (int)he_open_max(c->p))
		return 0;
	w.to = (uint8_t)(least + 1);
	least_up(b, c, &w);
	s->width = w;
	if (he_step_lay_out(hp, s, e))
		return -1;
	for (uint16_t i = 0; i < s->n_terms; i++) {
		sent += (double)he_layout_inputs(&s->terms[i].layout) * (double)c->p->n;
		answered += (double)he_layout_outputs(&s->terms[i].layout) * (double)c->p->n;
		wanted += (double)shape_size(s->terms[i].layout.conv.win.out);
	}
	for (w.to = (uint8_t)least; w.to < least + 4 && w.to <= he_open_max(c->p); w.to++)
		for (w.cut = 0; w.cut < CUT_MAX && w.cut < w.to; w.cut++) {
			double bytes = least_up(b, c, &w)
					   ? sent * w.up + answered * w.to + wanted * (w.to - w.cut)
					   : INFINITY;

			if (bytes < c->bytes) {
				c->bytes = bytes;
				c->best = w;
			}
		}
	return 0;
}

/* More primes leave less noise, until there is almost none; so do fewer filters in a polynomial. */
static int try_ring(struct he_plan *hp, struct he_step *s, const struct budget *b, int small,
		    struct choice *c, struct err *e)
{
	uint32_t filters = 0;
	int enough = 0;

	for (unsigned i = 0; i < b->n_terms; i++)
		filters = b->terms[i].filters > filters ? b->terms[i].filters : filters;
	c->p = small ? he_params(hp->set)->small : he_params(hp->set);
	for (unsigned limbs = 1; b->k <= HE_K_MAX && limbs <= c->p->limbs && !enough; limbs++) {
		struct he_width w = {.k = (uint8_t)b->k, .limbs = (uint8_t)limbs, .small = (uint8_t)small};

		for (uint32_t f = filters, blocks; f; f = f > 1 ? (filters + blocks) / (blocks + 1) : 0) {
			w.filters = f < c->p->n ? (uint16_t)f : (uint16_t)c->p->n;
			if (try_filters(hp, s, b, w, c, e)) {
				if (!small || e->code != ERR_INPUT)
					return -1;
				*e = (struct err){0}; /* a kernel may be too large for the smaller ring */
				return 0;
			}
			blocks = (filters + f - 1) / f;
			while (f > 1 && (filters + blocks) / (blocks + 1) == f)
				blocks++;
		}
		w.filters = filters < c->p->n ? (uint16_t)filters : (uint16_t)c->p->n;
		enough = noise_of(b, c->p, &w) < b->tolerance / 16;
	}
	return 0;
}

static int choose_step(struct he_plan *hp, struct he_step *s, const struct budget *b, struct err *e)
{
	struct choice c = {.bytes = INFINITY};

	if (try_ring(hp, s, b, 0, &c, e) || (he_params(hp->set)->small && try_ring(hp, s, b, 1, &c, e)))
		return -1;
	if (c.bytes == INFINITY)
		return refuse(hp, s, b, e);
	s->width = c.best;
	c.p = he_width_params(hp->set, &s->width);
	s->error = error_of(b, c.p, &s->width);
	s->noise = noise_of(b, c.p, &s->width);
	return he_step_lay_out(hp, s, e);
}

/* ---- how far errors carry */

/* Summed windows of a map, times its factors. */
static double pooled(const struct tape *t, const struct row *row)
{
	double factor = 1;

	for (size_t i = 0;
	     row->factors && i < (size_t)t->values[row->out].shape.h * t->values[row->out].shape.w; i++)
		factor = fmax(factor, row->factors[i]);
	return factor * row->post.kh * row->post.kw;
}

static double mapped(const struct tape *t, const struct row *row, const double *beyond)
{
	double sum = 0, most = 0;

	for (uint16_t i = 0; i < row->n_in; i++) {
		double x = ldexp(beyond[row->in[i]], row->shift[i]);

		sum += x;
		most = fmax(most, x);
	}
	return row->map == MAP_POOL ? pooled(t, row) * beyond[row->in[0]] : row->map == MAP_ADD ? sum : most;
}

/* How far a row's values may lie beyond their proven interval, because its inputs do. Linear: of skips
 * alone. */
static double carried(const struct he_plan *hp, const struct row *row, const struct bounds *bounds)
{
	const struct tape *t = &hp->plan->tape;
	double x = hp->beyond[row->in[0]], sum = 0,
	       area = row->has_post ? (double)row->post.kh * row->post.kw : 1;

	x = x > 0 ? ldexp(x, -t->values[row->in[0]].f) + 1 : 0; /* and another rounding */
	switch (row->kind) {
	case OP_LINEAR:
		for (uint16_t i = 0; i < row->n_terms; i++)
			sum += row->terms[i].kind == TERM_SKIP
				   ? area * ldexp(hp->beyond[row->terms[i].in], row->terms[i].shift)
				   : 0;
		return sum;
	case OP_MAP:
		return mapped(t, row, hp->beyond);
	case OP_SQUARE:
		return x * (2 * sqrt((double)bounds->hi[row->out]) + x);
	default:
		return x;
	}
}

/* A sum of skips alone is the data owner's; its bias is not known there. */
static int check_sums(const struct plan *plan, const struct weights *weights, struct err *e)
{
	for (uint16_t i = 0; i < plan->tape.n_rows; i++) {
		const struct row *row = &plan->tape.rows[i];
		uint16_t skips = 0;

		while (row->kind == OP_LINEAR && skips < row->n_terms && row->terms[skips].kind == TERM_SKIP)
			skips++;
		for (size_t j = 0;
		     row->kind == OP_LINEAR && skips == row->n_terms && j < weights->rows[i].n_bias; j++)
			if (weights->rows[i].bias[j])
				return err_set(e, ERR_INPUT,
					       "row %u adds constants to a sum without weights, which the he "
					       "personality cannot; use smpc",
					       i);
	}
	return 0;
}

static int choose(struct he_plan *hp, const struct weights *weights, const struct bounds *bounds,
		  struct err *e)
{
	const struct tape *t = &hp->plan->tape;
	struct he_step *s = hp->steps;

	if (!(hp->beyond = calloc(t->n_values, sizeof(*hp->beyond))))
		return err_set(e, ERR_ENV, "out of memory for a plan of the he personality");
	for (uint16_t i = 0; i < t->n_rows; i++) {
		double *beyond = &hp->beyond[t->rows[i].out];
		struct budget b = {0};
		int status;

		*beyond = carried(hp, &t->rows[i], bounds);
		if (s == hp->steps + hp->n_steps || s->row != i)
			continue;
		status =
		    budget_of(&b, hp, s, weights, bounds, beyond, e) || choose_step(hp, s, &b, e) ? -1 : 0;
		budget_free(&b);
		if (status)
			return -1;
		s++;
	}
	return 0;
}

static int make_in(struct he_plan **out, const struct plan *plan, const struct weights *weights,
		   const struct bounds *bounds, enum he_set set, struct err *e)
{
	struct he_plan *hp;

	if (check_sums(plan, weights, e) || he_plan_new(&hp, plan, set, e))
		return -1;
	if (choose(hp, weights, bounds, e)) {
		he_plan_free(hp);
		return -1;
	}
	if (he_plan_close(hp, e)) {
		he_plan_free(hp);
		return -1;
	}
	*out = hp;
	return 0;
}

static uint64_t total(const struct he_plan *hp)
{
	return hp->total_up + hp->total_down;
}

/* A refusal stands only when no set takes the plan: that of the widest, which is tried last. */
int he_plan_make(struct he_plan **out, const struct plan *plan, const struct weights *weights,
		 const struct bounds *bounds, int set, struct err *e)
{
	static const enum he_set sets[HE_SETS] = {HE_S, HE_L};

	*out = NULL;
	if (set >= 0)
		return make_in(out, plan, weights, bounds, set, e);
	for (int i = 0; i < HE_SETS; i++) {
		struct he_plan *hp = NULL;
		struct err why = {0};

		if (make_in(&hp, plan, weights, bounds, sets[i], &why) &&
		    (why.code != ERR_INPUT || (i == HE_SETS - 1 && !*out))) {
			he_plan_free(*out);
			*out = NULL;
			*e = why;
			return -1;
		}
		if (hp && (!*out || total(hp) < total(*out))) {
			he_plan_free(*out);
			*out = hp;
		} else
			he_plan_free(hp);
	}
	return 0;
}
