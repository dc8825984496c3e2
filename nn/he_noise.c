/* SPDX-License-Identifier: Apache-2.0 */
/* The noise budget of every layer: which modulus, how many primes, how short an answer.
 *
 * Error of one answered output, in units of the sum, DEVIATIONS standard deviations of what is random and all of what is not:
 *	E = 2^(k-to) (D √(N/18) + 1) + 2^k / Q (D σ √(‖w‖₂² + 4N/3 + 1) + ‖w‖₁ / 2)
 * The first part comes from rounding c1 and c0 to 2^to; the second from the noise of the upload, of the encryption of zero that
 *re-randomises, and from rounding Q m / 2^k. */
#include "nn/he_noise.h"

#include <math.h>
#include <stdlib.h>

#include "crypto/ring.h"
#include "crypto/secret.h"

#define DEVIATIONS 8   /* a normal variable is beyond with probability 2^-49 */
#define RESULT_BITS 10 /* revealed scores are wrong by at most 2^-10, in practice by a tenth of that */

/* The largest norms over all filters. */
struct norms {
	double square, sum; /* ‖w‖₂², ‖w‖₁ */
};

static int norms_of(struct norms *n, const struct row *row, const struct term *t, const struct window *post, const int64_t *weights,
		    struct err *e)
{
	struct he_conv c;
	size_t filters, each;
	int64_t *w;

	if (he_conv_of(&c, t, post, e))
		return -1;
	filters = c.win.out.c;
	each = he_conv_weights(&c) / filters;
	if (!(w = malloc(filters * each * sizeof(*w))))
		return err_set(e, ERR_ENV, "out of memory for a plan of the he personality");
	he_conv_fold(&c, t, post, weights, w);
	*n = (struct norms){0};
	for (size_t f = 0; f < filters; f++) {
		double square = 0, sum = 0;

		for (size_t i = 0; i < each; i++) {
			square += (double)w[f * each + i] * (double)w[f * each + i];
			sum += fabs((double)w[f * each + i]);
		}
		n->square = fmax(n->square, square);
		n->sum = fmax(n->sum, sum);
	}
	secret_wipe(w, filters * each * sizeof(*w));
	free(w);
	return 0;
}

/* What a step's error is made of, in units of its output: per 2^(k-to), and per 2^k / Q. */
struct budget {
	double rounding, noise, tolerance;
	unsigned k;
};

static void add_term(struct budget *b, const struct norms *n, size_t degree, double area)
{
	double random = DEVIATIONS * sqrt(HE_NOISE_VARIANCE * (n->square + 4.0 / 3 * (double)degree + 1));

	b->rounding += area * (DEVIATIONS * sqrt((double)degree / 18) + 1);
	b->noise += area * (random + n->sum / 2);
}

/* A quarter of the unit that is kept when f bits are dropped; of scores 2^-RESULT_BITS; below one half nothing at all is lost. */
static double tolerance_of(const struct plan *plan, const struct row *row)
{
	const struct value *out = &plan->tape.values[row->out];
	int bits = out->form == FORM_MASKED ? out->f - 2 : plan->result_bits - RESULT_BITS;

	return bits >= 0 ? ldexp(1, bits) : 0.49;
}

/* The least k with -2^(k-1) <= lo - E and hi + E < 2^(k-1). In `client` mode the data owner sees every value anyway: k is not rounded up to
 * hide it. */
static unsigned width_of(int64_t lo, int64_t hi, double error)
{
	unsigned k = 2;

	while (k < 64 && (ldexp(-1, (int)k - 1) > (double)lo - error - 1 || ldexp(1, (int)k - 1) <= (double)hi + error + 1))
		k++;
	return k;
}

static int budget_of(struct budget *b, const struct he_plan *hp, const struct he_step *s, const struct weights *weights,
		     const struct bounds *bounds, struct err *e)
{
	const struct row *row = &hp->plan->tape.rows[s->row];
	const int64_t *w = weights->rows[s->row].weights;
	double area = row->has_post && !s->folded ? (double)row->post.kh * row->post.kw : 1;

	*b = (struct budget){.tolerance = tolerance_of(hp->plan, row)};
	for (uint16_t i = 0; i < row->n_terms; i++) {
		struct norms n = {0};

		if (row->terms[i].kind == TERM_SKIP)
			continue;
		if (norms_of(&n, row, &row->terms[i], s->folded ? &row->post : NULL, w, e))
			return -1;
		add_term(b, &n, he_params(hp->set)->n, area);
		w += term_weights(&row->terms[i]);
	}
	b->k = width_of(bounds->lo[row->out], bounds->hi[row->out], b->tolerance);
	return 0;
}

/* The shortest answers that keep the error below the tolerance with so many primes; 0: there are none. */
static unsigned shortest(const struct budget *b, const struct he_params *p, unsigned limbs, double *error, double *noise)
{
	*noise = b->noise * exp2(b->k - he_modulus_bits(p, limbs));
	for (unsigned to = 1; to <= he_open_max(p); to++) {
		*error = *noise + b->rounding * exp2((double)b->k - to);
		if (*error <= b->tolerance)
			return to;
	}
	return 0;
}

static int refuse(const struct he_plan *hp, const struct he_step *s, const struct budget *b, struct err *e)
{
	const struct he_params *p = he_params(hp->set);
	double bits = b->k + log2(b->noise) - log2(b->tolerance) + 1;
	char name[96];

	he_row_name(&hp->plan->tape.rows[s->row], s->row, name, sizeof(name));
	if (b->k > HE_K_MAX)
		return err_set(e, ERR_INPUT,
			       "%s: its sums need words of %u bits, more than %d; use fewer --weight-bits or --activation-bits", name, b->k,
			       HE_K_MAX);
	return err_set(
	    e, ERR_INPUT,
	    "%s: words of %u bits and its noise need a modulus of %.0f bits and answers of %.0f, set %s has %.0f and %u; use %sfewer "
	    "--weight-bits or --activation-bits, or smpc",
	    name, b->k, bits, b->k + log2(b->rounding) - log2(b->tolerance) + 1, p->name, he_modulus_bits(p, p->limbs), he_open_max(p),
	    hp->set == HE_S ? "--he-set L, " : "");
}

/* The number of primes with the fewest bytes. */
static int choose_step(struct he_plan *hp, struct he_step *s, const struct budget *b, struct err *e)
{
	const struct he_params *p = he_params(hp->set);
	struct he_width best = {0};
	uint64_t least = UINT64_MAX;

	for (unsigned limbs = 1; b->k <= HE_K_MAX && limbs <= p->limbs; limbs++) {
		double error, noise;
		unsigned to = shortest(b, p, limbs, &error, &noise);

		if (!to)
			continue;
		s->width = (struct he_width){b->k, limbs, to};
		if (he_step_lay_out(hp, s, e))
			return -1;
		if (s->up + s->down < least) {
			least = s->up + s->down;
			best = s->width;
			s->error = error;
			s->noise = noise;
		}
	}
	if (least == UINT64_MAX)
		return refuse(hp, s, b, e);
	s->width = best;
	return he_step_lay_out(hp, s, e);
}

/* A sum of skips alone is the data owner's; its bias is not known there. */
static int check_sums(const struct plan *plan, const struct weights *weights, struct err *e)
{
	for (uint16_t i = 0; i < plan->tape.n_rows; i++) {
		const struct row *row = &plan->tape.rows[i];
		uint16_t skips = 0;

		while (row->kind == OP_LINEAR && skips < row->n_terms && row->terms[skips].kind == TERM_SKIP)
			skips++;
		for (size_t j = 0; row->kind == OP_LINEAR && skips == row->n_terms && j < weights->rows[i].n_bias; j++)
			if (weights->rows[i].bias[j])
				return err_set(e, ERR_INPUT,
					       "row %u adds constants to a sum without weights, which the he personality cannot; use smpc",
					       i);
	}
	return 0;
}

static int make_in(struct he_plan **out, const struct plan *plan, const struct weights *weights, const struct bounds *bounds,
		   enum he_set set, struct err *e)
{
	struct he_plan *hp;

	if (check_sums(plan, weights, e) || he_plan_new(&hp, plan, set, e))
		return -1;
	for (uint16_t i = 0; i < hp->n_steps; i++) {
		struct budget b;

		if (budget_of(&b, hp, &hp->steps[i], weights, bounds, e) || choose_step(hp, &hp->steps[i], &b, e)) {
			he_plan_free(hp);
			return -1;
		}
	}
	if (he_plan_close(hp, e)) {
		he_plan_free(hp);
		return -1;
	}
	*out = hp;
	return 0;
}

int he_plan_make(struct he_plan **out, const struct plan *plan, const struct weights *weights, const struct bounds *bounds, int set,
		 struct err *e)
{
	struct he_plan *s = NULL, *l = NULL;
	struct err why = {0};

	*out = NULL;
	if (set >= 0)
		return make_in(out, plan, weights, bounds, set, e);
	if (make_in(&s, plan, weights, bounds, HE_S, &why) && why.code != ERR_INPUT) {
		*e = why;
		return -1;
	}
	if (make_in(&l, plan, weights, bounds, HE_L, s ? &why : e) && !s)
		return -1;
	*out = s && (!l || s->total_up + s->total_down <= l->total_up + l->total_down) ? s : l;
	he_plan_free(*out == s ? l : s);
	return 0;
}
