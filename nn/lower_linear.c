/* SPDX-License-Identifier: Apache-2.0 */
/* Linear rows: convolutions, dense layers and residual additions of a graph, with input normalisation folded in. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/lower.h"

/* One summand of the row: a layer with weights, or the value of a node as it is. */
struct part {
	const struct node *layer; /* NULL: skip */
	uint32_t source;	  /* the node whose value is mapped */
	struct window win;	  /* with a padding before it merged */
	uint16_t diff;
	unsigned t;		  /* fractional bits of the weights, or the shift */
	double *weights;	  /* owns: as doubles, normalisation folded; NULL for a skip that stays one */
	size_t n;
};

struct parts {
	struct part part[TAPE_MAX_TERMS];
	uint16_t n;
	struct shape shape; /* of y before a post pool */
	double *bias;	    /* owns: one per element of y */
	unsigned frac;
};

static int is_layer(const struct node *n)
{
	return n->kind == NN_CONV || n->kind == NN_DENSE;
}

static int add_part(struct lowering *l, struct parts *p, const struct node *layer, uint32_t source, const char *name)
{
	struct part *part = &p->part[p->n];

	if (p->n == TAPE_MAX_TERMS)
		return err_set(l->e, ERR_INPUT, "node %s: more than %d values are added at once; add them in two steps with a ReLU between",
			       name, TAPE_MAX_TERMS);
	*part = (struct part){.layer = layer, .source = source};
	if (layer && layer->kind == NN_CONV) {
		const struct node *from = &l->g->nodes[source];

		part->win = layer->win;
		if (from->kind == NN_PAD) { /* its zeros are the convolution's own */
			part->win.in = from->win.in;
			part->win.pt += from->win.pt;
			part->win.pl += from->win.pl;
			part->source = from->inputs[0];
		}
	} else if (layer) {
		part->win = (struct window){.in = l->g->nodes[source].shape, .out = layer->shape, .kh = 1, .kw = 1, .sh = 1, .sw = 1, .dh = 1, .dw = 1};
	}
	p->n++;
	return 0;
}

/* Splits a node into parts; additions whose operands nobody else uses are taken apart. */
static int collect(struct lowering *l, struct parts *p, uint32_t node, int root)
{
	const struct node *n = &l->g->nodes[node];

	if (is_layer(n) && (root || l->consumers[node] == 1))
		return add_part(l, p, n, n->inputs[0], n->name);
	if (n->kind != NN_ADD || !(root || l->consumers[node] == 1))
		return add_part(l, p, NULL, node, n->name);
	for (uint32_t i = 0; i < n->n_inputs; i++)
		if (collect(l, p, n->inputs[i], 0))
			return -1;
	return 0;
}

/* Scale and shift of the input's normalisation for channel c: normalised = pixel * a + b. */
static void normalisation(const struct graph *g, uint32_t c, double *a, double *b)
{
	uint32_t at = g->nodes[0].shape.c <= NN_MAX_CHANNELS ? c : 0;

	*a = 1 / ((double)g->pre.scale * g->pre.std[at]);
	*b = -(double)g->pre.mean[at] / g->pre.std[at];
}

static size_t layer_weights(const struct part *p)
{
	const struct node *n = p->layer;

	return n->kind == NN_CONV ? (size_t)n->win.out.c * (n->win.in.c / n->groups) * n->win.kh * n->win.kw :
				    (size_t)n->shape.c * shape_size(p->win.in);
}

/* Σ over the taps inside the image of w times the shift of their channel: the constant that normalisation leaves at each output. */
static void conv_shift(const struct graph *g, const struct part *p, const float *w, double *bias)
{
	const struct window *win = &p->win;
	uint32_t channels = win->in.c / p->layer->groups;

	for (uint32_t o = 0; o < win->out.c; o++)
		for (uint32_t y = 0; y < win->out.h; y++)
			for (uint32_t x = 0; x < win->out.w; x++, bias++)
				for (uint32_t c = 0; c < channels; c++)
					for (uint32_t i = 0; i < win->kh; i++)
						for (uint32_t j = 0; j < win->kw; j++) {
							int64_t r = (int64_t)y * win->sh - win->pt + (int64_t)i * win->dh;
							int64_t q = (int64_t)x * win->sw - win->pl + (int64_t)j * win->dw;
							double a, b;

							if (r < 0 || q < 0 || r >= win->in.h || q >= win->in.w)
								continue;
							normalisation(g, o / (win->out.c / p->layer->groups) * channels + c, &a, &b);
							*bias += b * w[(((size_t)o * channels + c) * win->kh + i) * win->kw + j];
						}
}

/* The first layer works on raw pixels: weights are scaled per channel, the shift goes to the bias. */
static void fold_normalisation(const struct graph *g, struct part *p, double *bias)
{
	const struct node *n = p->layer;
	size_t plane = (size_t)p->win.in.h * p->win.in.w, per_channel = n->kind == NN_CONV ? (size_t)n->win.kh * n->win.kw : plane;
	uint32_t channels = n->kind == NN_CONV ? n->win.in.c / n->groups : p->win.in.c;
	double a, b;

	if (n->kind == NN_CONV)
		conv_shift(g, p, n->weights, bias);
	for (size_t i = 0; i < p->n; i++) {
		uint32_t o = i / (per_channel * channels), c = i / per_channel % channels;

		if (n->kind == NN_CONV)
			c += o / (n->win.out.c / n->groups) * channels;
		normalisation(g, c, &a, &b);
		if (n->kind == NN_DENSE)
			bias[o] += b * p->weights[i];
		p->weights[i] *= a;
	}
}

static void add_bias(const struct parts *p, const struct node *layer, double *bias)
{
	size_t plane = (size_t)p->shape.h * p->shape.w;

	for (size_t i = 0; i < shape_size(p->shape); i++)
		bias[i] += layer->bias[layer->kind == NN_CONV ? i / plane : i];
}

/* Real weights and bias of one part, and its masked input. */
static int prepare(struct lowering *l, struct parts *p, struct part *part)
{
	int share = lower_share(l, part->source), diff = share < 0 ? -1 : lower_diff(l, share, l->g->nodes[part->source].name);
	const struct meaning *x;

	if (diff < 0)
		return -1;
	part->diff = diff;
	x = &l->meaning[diff];
	if (!part->layer && x->divisor == 1)
		return 0;
	part->n = part->layer ? layer_weights(part) : p->shape.c;
	part->weights = malloc((part->n + 1) * sizeof(double));
	if (!part->weights)
		return err_set(l->e, ERR_ENV, "out of memory while planning");
	for (size_t i = 0; i < part->n; i++)
		part->weights[i] = part->layer ? part->layer->weights[i] : 1;
	if (part->layer && part->source == 0)
		fold_normalisation(l->g, part, p->bias);
	if (part->layer)
		add_bias(p, part->layer, p->bias);
	else /* a skip whose pool left an odd divisor: a 1×1 convolution per channel divides */
		part->win = (struct window){.in = p->shape, .out = p->shape, .kh = 1, .kw = 1, .sh = 1, .sw = 1, .dh = 1, .dw = 1};
	for (size_t i = 0; i < part->n; i++)
		part->weights[i] /= x->divisor;
	return 0;
}

/* All summands share the fractional bits of the finest. */
static void choose_scale(struct lowering *l, struct parts *p)
{
	p->frac = 0;
	for (uint16_t j = 0; j < p->n; j++) {
		const struct meaning *x = &l->meaning[p->part[j].diff];
		unsigned bits = l->options->weight_bits, own = bits > x->extra ? bits - x->extra : 0;
		unsigned frac = x->frac + (p->part[j].weights ? own : 0);

		if (p->frac < frac)
			p->frac = frac;
	}
	for (uint16_t j = 0; j < p->n; j++)
		p->part[j].t = p->frac - l->meaning[p->part[j].diff].frac;
}

static int to_integer(struct lowering *l, const char *name, double v, unsigned bits, int64_t *out)
{
	double scaled = ldexp(v, (int)bits);

	if (!(fabs(scaled) < ldexp(1, 60)))
		return err_set(l->e, ERR_INPUT, "layer %s: a weight or bias of %g does not fit 60 bits with %u fractional bits; use fewer (--weight-bits)",
			       name, v, bits);
	*out = llround(scaled);
	return 0;
}

static int fill_weights(struct lowering *l, const struct parts *p, const char *name, struct layer_weights *w)
{
	size_t n = 0, at = 0;

	for (uint16_t j = 0; j < p->n; j++)
		n += p->part[j].weights ? p->part[j].n : 0;
	w->n_weights = n;
	w->n_bias = shape_size(p->shape);
	w->weights = calloc(n + 1, sizeof(*w->weights));
	w->bias = calloc(w->n_bias, sizeof(*w->bias));
	if (!w->weights || !w->bias)
		return err_set(l->e, ERR_ENV, "out of memory while planning");
	for (uint16_t j = 0; j < p->n; j++)
		for (size_t i = 0; p->part[j].weights && i < p->part[j].n; i++)
			if (to_integer(l, name, p->part[j].weights[i], p->part[j].t, &w->weights[at++]))
				return -1;
	for (size_t i = 0; i < w->n_bias; i++)
		if (to_integer(l, name, p->bias[i], p->frac, &w->bias[i]))
			return -1;
	return 0;
}

static void fill_terms(const struct parts *p, struct row *row)
{
	row->n_terms = p->n;
	for (uint16_t j = 0; j < p->n; j++) {
		const struct part *part = &p->part[j];
		struct term *t = &row->terms[j];

		*t = (struct term){.kind = TERM_SKIP, .in = part->diff, .win = {.in = p->shape, .out = p->shape}, .groups = 1, .shift = part->t};
		if (!part->weights)
			continue;
		t->kind = part->layer && part->layer->kind == NN_DENSE ? TERM_DENSE : TERM_CONV;
		t->win = part->win;
		t->shift = 0;
		t->groups = part->layer ? part->layer->groups : p->shape.c;
		if (t->kind == TERM_DENSE)
			t->groups = 1;
	}
}

/* The proven range of y. */
static int prove(struct lowering *l, const struct row *row, const struct layer_weights *w, const char *name, struct range *out)
{
	const struct range *in[TAPE_MAX_TERMS];
	struct range before = {0};
	int result;

	for (uint16_t j = 0; j < row->n_terms; j++)
		in[j] = &l->meaning[row->terms[j].in].range;
	if (!row->has_post) {
		result = interval_linear(row, in, w->weights, w->bias, out);
	} else {
		if (range_new(&before, shape_size(row->post.in), l->e))
			return -1;
		result = interval_linear(row, in, w->weights, w->bias, &before) || interval_pool(&row->post, NULL, &before, out);
		range_free(&before);
	}
	if (result)
		err_set(l->e, ERR_INPUT, "layer %s: its sums can exceed 2^61; use fewer fractional bits (--weight-bits, --activation-bits)", name);
	return result ? -1 : 0;
}

static unsigned twos(uint32_t n)
{
	return (unsigned)__builtin_ctz(n);
}

/* The row itself, once its parts are known. pool: the average pool behind it, or NULL. */
static int emit(struct lowering *l, const struct parts *p, const struct node *n, const struct node *pool, enum form form, int f)
{
	unsigned frac = p->frac + (pool ? twos(pool->divisors[0]) : 0), activation = l->options->activation_bits;
	unsigned drop = form != FORM_MASKED ? 0 : f >= 0 ? (unsigned)f : frac > activation ? frac - activation : 0;
	int out = lower_value(l, form, pool ? pool->shape : p->shape, drop);
	uint16_t in[TAPE_MAX_TERMS];
	struct row *row;

	for (uint16_t j = 0; j < p->n; j++)
		in[j] = p->part[j].diff;
	if (out < 0 || !(row = lower_row(l, OP_LINEAR, n->name, in, p->n, out)))
		return -1;
	fill_terms(p, row);
	if (pool) {
		row->has_post = 1;
		row->post = pool->win;
	}
	if (fill_weights(l, p, n->name, &l->weights->rows[l->weights->n_rows - 1]) ||
	    prove(l, row, &l->weights->rows[l->weights->n_rows - 1], n->name, &l->meaning[out].range))
		return -1;
	l->meaning[out].frac = frac;
	l->meaning[out].divisor = pool ? pool->divisors[0] >> twos(pool->divisors[0]) : 1;
	return out;
}

int lower_linear(struct lowering *l, uint32_t node, enum form form, int f)
{
	const struct node *n = &l->g->nodes[node], *pool = n->kind == NN_AVGPOOL ? n : NULL;
	struct parts p = {0};
	int out = -1;

	if (pool) {
		node = n->inputs[0];
		n = &l->g->nodes[node];
	}
	p.shape = n->shape;
	p.bias = calloc(shape_size(p.shape), sizeof(*p.bias));
	if (!p.bias) {
		err_set(l->e, ERR_ENV, "out of memory while planning");
		return -1;
	}
	if (collect(l, &p, node, 1))
		goto done;
	for (uint16_t j = 0; j < p.n; j++)
		if (prepare(l, &p, &p.part[j]))
			goto done;
	choose_scale(l, &p);
	out = emit(l, &p, n, pool, form, f);
done:
	for (uint16_t j = 0; j < p.n; j++)
		free(p.part[j].weights);
	free(p.bias);
	return out;
}
