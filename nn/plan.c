/* SPDX-License-Identifier: Apache-2.0 */
#include "nn/plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/secret.h"
#include "nn/lower.h"

enum plan_optimise plan_optimise_named(const char *name)
{
	return !strcmp(name, "bandwidth") ? PLAN_BANDWIDTH : !strcmp(name, "auto") ? PLAN_AUTO : PLAN_LATENCY;
}

struct plan_options plan_defaults(void)
{
	return (struct plan_options){.weight_bits = 16, .activation_bits = 12, .granularity = 4};
}

static int check_options(const struct plan_options *o, struct err *e)
{
	if (o->weight_bits < 1 || o->weight_bits > 30 || o->activation_bits < 1 || o->activation_bits > 30)
		return err_set(e, ERR_USAGE,
			       "weight-bits and activation-bits are between 1 and 30, not %u and %u",
			       o->weight_bits, o->activation_bits);
	if (o->granularity < 1 || o->granularity > 32)
		return err_set(e, ERR_USAGE, "granularity is between 1 and 32, not %u", o->granularity);
	return 0;
}

static char **copy_labels(char *const *labels, uint32_t n)
{
	char **copy = calloc((size_t)n + 1, sizeof(*copy));

	for (uint32_t i = 0; copy && i < n; i++)
		if (!(copy[i] = strdup(labels[i]))) {
			while (i)
				free(copy[--i]);
			free(copy);
			return NULL;
		}
	return copy;
}

static int describe(struct lowering *l)
{
	struct plan *p = l->plan;

	p->input = l->g->nodes[0].shape;
	p->resize = l->g->pre.resize;
	p->output = l->g->output;
	p->reveal = l->options->reveal;
	p->optimise = l->options->optimise;
	p->result_divisor = 1;
	if (!l->g->pre.n_labels)
		return 0;
	p->labels = copy_labels(l->g->pre.labels, l->g->pre.n_labels);
	p->n_labels = p->labels ? l->g->pre.n_labels : 0;
	return p->labels ? 0 : err_set(l->e, ERR_ENV, "out of memory while planning");
}

static void count_consumers(struct lowering *l)
{
	for (uint32_t i = 0; i < l->g->n; i++)
		for (uint32_t j = 0; j < l->g->nodes[i].n_inputs; j++)
			l->consumers[l->g->nodes[i].inputs[j]]++;
}

static int check_labels(const struct plan *p, struct err *e)
{
	if (p->n_labels <= plan_classes(p))
		return 0;
	return err_set(e, ERR_INPUT,
		       "the model names %u labels but has %u classes; correct the labels in its metadata",
		       p->n_labels, plan_classes(p));
}

static int bounds_of(struct bounds **bounds, const struct lowering *l)
{
	uint16_t n = l->plan->tape.n_values;
	struct bounds *b = calloc(1, sizeof(*b));

	*bounds = b;
	if (!b)
		return err_set(l->e, ERR_ENV, "out of memory while planning");
	b->lo = calloc(n, sizeof(*b->lo));
	b->hi = calloc(n, sizeof(*b->hi));
	if (!b->lo || !b->hi)
		return err_set(l->e, ERR_ENV, "out of memory while planning");
	b->n = n;
	b->spare = 64;
	for (uint16_t v = 0; v < n; v++) {
		unsigned need = l->meaning[v].need, k = l->plan->tape.values[v].k;

		range_ends(&l->meaning[v].range, &b->lo[v], &b->hi[v]);
		if (need && k >= need && b->spare > k - need)
			b->spare = k - need;
	}
	return 0;
}

static int lowering_new(struct lowering *l)
{
	size_t n = l->g->n;

	l->plan = calloc(1, sizeof(*l->plan));
	l->weights = calloc(1, sizeof(*l->weights));
	l->consumers = calloc(n, sizeof(*l->consumers));
	l->parts = calloc(n, 1);
	l->apart = calloc(n, 1);
	l->share = malloc(n * sizeof(*l->share));
	l->masked = malloc(n * sizeof(*l->masked));
	if (!l->plan || !l->weights || !l->consumers || !l->parts || !l->apart || !l->share || !l->masked)
		return err_set(l->e, ERR_ENV, "out of memory while planning");
	for (size_t i = 0; i < n; i++)
		l->share[i] = l->masked[i] = -1;
	return 0;
}

static void lowering_free(struct lowering *l)
{
	for (uint16_t v = 0; l->meaning && v < l->plan->tape.n_values; v++)
		range_free(&l->meaning[v].range);
	free(l->meaning);
	free(l->diff);
	free(l->consumers);
	free(l->parts);
	free(l->apart);
	free(l->share);
	free(l->masked);
	free(l->name);
}

int plan_make(struct plan **plan, struct weights **weights, struct bounds **bounds, const struct graph *g,
	      const struct plan_options *options, struct err *e)
{
	struct lowering l = {.options = options, .e = e};
	struct graph *whole = NULL;
	int result = -1;

	*plan = NULL;
	*weights = NULL;
	if (bounds)
		*bounds = NULL;
	if (check_options(options, e) || lower_input(&whole, g, e))
		return -1;
	l.g = whole ? whole : g;
	if (!lowering_new(&l)) {
		count_consumers(&l);
		if (!describe(&l) && !lower_graph(&l) && !plan_widths(&l) && !tape_check(&l.plan->tape, e) &&
		    !check_labels(l.plan, e) && (!bounds || !bounds_of(bounds, &l)))
			result = 0;
	}
	lowering_free(&l);
	lower_input_free(whole);
	if (result) {
		plan_free(l.plan);
		weights_free(l.weights);
		if (bounds) {
			bounds_free(*bounds);
			*bounds = NULL;
		}
		return -1;
	}
	*plan = l.plan;
	*weights = l.weights;
	return 0;
}

void plan_free(struct plan *p)
{
	if (!p)
		return;
	tape_free(&p->tape);
	for (uint32_t i = 0; i < p->n_labels; i++)
		free(p->labels[i]);
	free(p->labels);
	free(p);
}

void weights_free(struct weights *w)
{
	if (!w)
		return;
	for (uint16_t i = 0; i < w->n_rows; i++) {
		if (w->rows[i].weights)
			secret_wipe(w->rows[i].weights, w->rows[i].n_weights * sizeof(int64_t));
		if (w->rows[i].bias)
			secret_wipe(w->rows[i].bias, w->rows[i].n_bias * sizeof(int64_t));
		free(w->rows[i].weights);
		free(w->rows[i].bias);
	}
	free(w->rows);
	free(w);
}

void bounds_free(struct bounds *b)
{
	if (!b)
		return;
	free(b->lo);
	free(b->hi);
	free(b);
}

size_t plan_words(const struct plan *p)
{
	return shape_size(p->tape.values[p->tape.rows[p->tape.n_rows - 1].out].shape);
}

uint32_t plan_classes(const struct plan *p)
{
	const struct row *last = &p->tape.rows[p->tape.n_rows - 1];

	if (p->reveal == REVEAL_LABEL && p->tape.n_rows > 1 &&
	    p->tape.rows[p->tape.n_rows - 2].kind == OP_ARGMAX)
		last--;
	return shape_size(p->tape.values[last->in[0]].shape);
}

uint32_t plan_scores(const struct plan *p, const int64_t *result, float *scores)
{
	uint32_t n = plan_classes(p), best = 0;

	if (p->reveal == REVEAL_LABEL) {
		best = *result >= 0 && *result < n ? (uint32_t)*result : 0;
		for (uint32_t i = 0; i < n; i++)
			scores[i] = i == best;
		return best;
	}
	for (uint32_t i = 1; i < n; i++)
		if (result[i] > result[best])
			best = i;
	for (uint32_t i = 0; i < n; i++)
		scores[i] = (float)(ldexp((double)result[i], -(int)p->result_bits) / p->result_divisor);
	float_output(p->output, scores, n);
	return best;
}
