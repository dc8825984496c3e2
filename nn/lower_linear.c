/* SPDX-License-Identifier: Apache-2.0 */
/* Linear rows: convolutions, dense layers and residual additions of a graph, with input normalisation folded
 * in. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/secret.h"
#include "nn/lower.h"

#define FOLD_MAX                                                                                             \
	4 /* fractional bits of weights that are given up to what a pool left in the scale: pools of 16      \
	     elements */

/* One summand of the row. y += W x / divisor, or 2^t x as it is. */
struct part {
	const struct node *layer; /* NULL: the value itself */
	struct window win;
	uint32_t groups;
	uint16_t diff;
	int raw;	 /* x is pixels: normalisation is folded in */
	unsigned t;	 /* fractional bits of the weights, or the shift */
	double *weights; /* owns: divided, normalisation folded; NULL for a value as it is */
	size_t n;
};

struct parts {
	struct part part[TAPE_MAX_TERMS];
	uint16_t n;
	const char *name;
	struct shape shape;	 /* of y before a post pool */
	const struct node *pool; /* the average pool behind it, or NULL */
	uint32_t divisor;	 /* that y keeps */
	double *bias;		 /* owns: one per element of y */
	unsigned frac;
};

/* ---- which nodes are sums ---- */

static int is_layer(const struct node *n)
{
	return n->kind == NN_CONV || n->kind == NN_DENSE;
}

/* Is this operand of an addition computed inside the addition's row? */
static int merges(const struct lowering *l, uint32_t node)
{
	const struct node *n = lower_node(l, node);

	return l->consumers[node] == 1 && l->parts[node] && !l->apart[node] &&
	       (is_layer(n) || n->kind == NN_ADD);
}

static unsigned operand_parts(const struct lowering *l, uint32_t node)
{
	return merges(l, node) ? l->parts[node] : 1;
}

/* Operands that do not fit into one row together are made shares on their own, the longest first. */
static unsigned addition_parts(struct lowering *l, const struct node *n)
{
	for (;;) {
		unsigned total = 0, sums = 0;
		uint32_t longest = n->inputs[0];

		for (uint32_t j = 0; j < n->n_inputs; j++) {
			total += operand_parts(l, n->inputs[j]);
			sums += merges(l, n->inputs[j]);
			if (operand_parts(l, n->inputs[j]) > operand_parts(l, longest))
				longest = n->inputs[j];
		}
		if (total <= TAPE_MAX_TERMS)
			return sums ? total : 0;
		l->apart[longest] = 1;
	}
}

void lower_mark_sums(struct lowering *l)
{
	for (uint32_t i = 0; i < l->g->n; i++) {
		const struct node *n = lower_node(l, i);

		if (is_layer(n))
			l->parts[i] = 1;
		else if (n->kind == NN_ADD)
			l->parts[i] = (uint8_t)addition_parts(l, n);
		else if (n->kind == NN_AVGPOOL && l->consumers[n->inputs[0]] == 1 &&
			 lower_node(l, n->inputs[0])->kind != NN_AVGPOOL && n->win.dh == 1 &&
			 n->win.dw == 1 && lower_equal_divisors(n))
			l->parts[i] = l->parts[n->inputs[0]];
	}
}

int lower_is_sum(const struct lowering *l, uint32_t node)
{
	return l->parts[node] > 0;
}

/* ---- taking a sum apart ---- */

static struct window as_it_is(struct shape in, struct shape out)
{
	return (struct window){.in = in, .out = out, .kh = 1, .kw = 1, .sh = 1, .sw = 1, .dh = 1, .dw = 1};
}

static int part_work(struct lowering *l, const struct part *p, const char *name)
{
	const struct window *w = &p->win;
	uint64_t each =
	    p->layer->kind == NN_DENSE ? shape_size(w->in) : (uint64_t)(w->in.c / p->groups) * w->kh * w->kw;

	if (shape_size(w->out) <= LOWER_MAX_WORK / each)
		return 0;
	return err_set(l->e, ERR_INPUT,
		       "layer %s: %zu sums of %llu products are too many; use a smaller layer", name,
		       shape_size(w->out), (unsigned long long)each);
}

/* A convolution or dense layer; zeros that a node before it puts around are the convolution's own. */
static int add_layer(struct lowering *l, struct parts *p, const struct node *n)
{
	struct part *part = &p->part[p->n];
	uint32_t source = n->inputs[0];
	const struct node *from = lower_node(l, source);
	int share, diff;

	*part = (struct part){.layer = n, .groups = 1};
	part->win = as_it_is(from->shape, n->shape);
	if (n->kind == NN_CONV) {
		part->win = n->win;
		part->groups = n->groups;
	}
	if (n->kind == NN_CONV && from->kind == NN_PAD && lower_is_padding(&from->win)) {
		part->win.in = from->win.in;
		part->win.pt += from->win.pt;
		part->win.pl += from->win.pl;
		source = from->inputs[0];
	}
	if (part_work(l, part, n->name))
		return -1;
	part->raw = source == 0;
	share = lower_share(l, source);
	diff = share < 0 ? -1 : lower_diff(l, (uint16_t)share, lower_node(l, source)->name);
	if (diff < 0)
		return -1;
	part->diff = (uint16_t)diff;
	p->n++;
	return 0;
}

static int add_value(struct lowering *l, struct parts *p, int share, const char *name)
{
	int diff = share < 0 ? -1 : lower_diff(l, (uint16_t)share, name);

	if (diff < 0)
		return -1;
	p->part[p->n++] =
	    (struct part){.diff = (uint16_t)diff, .win = as_it_is(p->shape, p->shape), .groups = 1};
	return 0;
}

static int collect(struct lowering *l, struct parts *p, uint32_t node, int root)
{
	const struct node *n = lower_node(l, node);

	if (!root && !merges(l, node))
		return add_value(l, p, lower_share(l, node), n->name);
	if (is_layer(n))
		return add_layer(l, p, n);
	for (uint32_t i = 0; i < n->n_inputs; i++)
		if (collect(l, p, n->inputs[i], 0))
			return -1;
	return 0;
}

/* ---- real weights and bias ---- */

/* The input's normalisation of channel c: normalised = pixel * a + b. */
struct affine {
	double a, b;
};

static struct affine normalisation(const struct graph *g, uint32_t c)
{
	return (struct affine){1 / ((double)g->pre.scale * g->pre.std[c]),
			       -(double)g->pre.mean[c] / g->pre.std[c]};
}

/* The channel that weight i of a part reads. */
static uint32_t channel_of(const struct part *p, size_t i)
{
	const struct window *w = &p->win;
	uint32_t channels = w->in.c / p->groups;
	size_t plane = (size_t)w->kh * w->kw;

	if (p->layer->kind == NN_DENSE)
		return (uint32_t)(i / ((size_t)w->in.h * w->in.w) % w->in.c);
	return (uint32_t)(i / (plane * channels) / (w->out.c / p->groups) * channels + i / plane % channels);
}

/* What the shifts leave at output (y, x) of one filter: Σ over the taps inside the image. Zeros around the
 * image are zeros after normalisation, so the constant differs at the borders. */
static double shift_at(const struct window *w, uint32_t channels, const double *shifted, uint32_t y,
		       uint32_t x)
{
	double sum = 0;

	for (uint32_t c = 0; c < channels; c++)
		for (uint32_t i = 0; i < w->kh; i++) {
			int64_t r = (int64_t)y * w->sh - w->pt + (int64_t)i * w->dh;

			for (uint32_t j = 0; j < w->kw; j++, shifted++) {
				int64_t q = (int64_t)x * w->sw - w->pl + (int64_t)j * w->dw;

				if (r >= 0 && q >= 0 && r < w->in.h && q < w->in.w)
					sum += *shifted;
			}
		}
	return sum;
}

/* bias += W·b for weights that are already multiplied by b of their channels. */
static void add_shifts(const struct part *p, const double *shifted, double *bias)
{
	const struct window *w = &p->win;
	uint32_t channels = w->in.c / p->groups;
	size_t per_filter = (size_t)channels * w->kh * w->kw, row = shape_size(w->in);

	if (p->layer->kind == NN_DENSE) {
		for (size_t i = 0; i < p->n; i++)
			bias[i / row] += shifted[i];
		return;
	}
	for (uint32_t o = 0; o < w->out.c; o++)
		for (uint32_t y = 0; y < w->out.h; y++)
			for (uint32_t x = 0; x < w->out.w; x++)
				*bias++ += shift_at(w, channels, shifted + o * per_filter, y, x);
}

/* The first layer works on raw pixels: weights are scaled per channel, the shift goes to the bias. */
static int fold_normalisation(struct lowering *l, const struct part *p, double *bias)
{
	double *shifted = malloc((p->n + 1) * sizeof(*shifted));

	if (!shifted)
		return lower_no_memory(l);
	for (size_t i = 0; i < p->n; i++) {
		struct affine n = normalisation(l->g, channel_of(p, i));

		shifted[i] = p->weights[i] * n.b;
		p->weights[i] *= n.a;
	}
	add_shifts(p, shifted, bias);
	secret_wipe(shifted, p->n * sizeof(*shifted));
	free(shifted);
	return 0;
}

static void add_bias(const struct parts *p, const struct node *layer)
{
	size_t plane = (size_t)p->shape.h * p->shape.w;

	for (size_t i = 0; i < shape_size(p->shape); i++)
		p->bias[i] += layer->bias[layer->kind == NN_CONV ? i / plane : i];
}

static size_t layer_weights(const struct part *p)
{
	const struct window *w = &p->win;

	return p->layer->kind == NN_CONV ? (size_t)w->out.c * (w->in.c / p->groups) * w->kh * w->kw
					 : shape_size(w->out) * shape_size(w->in);
}

/* A value whose pool left an odd divisor that the sum does not keep: a 1×1 convolution per channel divides.
 */
static void becomes_division(const struct parts *p, struct part *part)
{
	part->n = part->groups = p->shape.c;
}

static int prepare(struct lowering *l, struct parts *p, struct part *part)
{
	uint32_t divisor = l->meaning[part->diff].divisor;

	if (!part->layer && divisor == p->divisor)
		return 0;
	if (part->layer)
		part->n = layer_weights(part);
	else
		becomes_division(p, part);
	part->weights = malloc((part->n + 1) * sizeof(double));
	if (!part->weights)
		return lower_no_memory(l);
	for (size_t i = 0; i < part->n; i++)
		part->weights[i] = part->layer ? part->layer->weights[i] : 1;
	if (part->raw && fold_normalisation(l, part, p->bias))
		return -1;
	if (part->layer)
		add_bias(p, part->layer);
	for (size_t i = 0; i < part->n; i++)
		part->weights[i] /= divisor;
	return 0;
}

/* ---- integers ---- */

static unsigned log2_of(uint32_t n)
{
	return 31 - (unsigned)__builtin_clz(n);
}

/* Fractional bits of a part's divided weights W / divisor. What a pool left in the scale of x (extra bits, an
 * odd divisor) is taken from them: the activation's precision is not worth more; but not more than FOLD_MAX.
 */
static unsigned weight_frac(const struct lowering *l, const struct part *p)
{
	const struct meaning *x = &l->meaning[p->diff];
	unsigned bits = l->options->weight_bits + (p->raw ? l->options->pixel_bits : 0),
		 odd = log2_of(x->divisor), fold = p->layer ? x->extra + odd : 0;

	if (fold > FOLD_MAX)
		fold = FOLD_MAX;
	return (bits > fold ? bits - fold : 0) + odd;
}

/* All summands share the fractional bits of the finest. */
static int choose_scale(struct lowering *l, struct parts *p)
{
	p->frac = 0;
	for (uint16_t j = 0; j < p->n; j++) {
		unsigned frac =
		    l->meaning[p->part[j].diff].frac + (p->part[j].weights ? weight_frac(l, &p->part[j]) : 0);

		if (p->frac < frac)
			p->frac = frac;
	}
	if (p->frac > LOWER_MAX_FRAC)
		return err_set(l->e, ERR_INPUT,
			       "layer %s: its sums have %u fractional bits; use fewer (--weight-bits, "
			       "--activation-bits)",
			       p->name, p->frac);
	for (uint16_t j = 0; j < p->n; j++)
		p->part[j].t = p->frac - l->meaning[p->part[j].diff].frac;
	return 0;
}

static int to_integer(struct lowering *l, const char *name, double v, unsigned bits, int64_t *out)
{
	double scaled = ldexp(v, (int)bits);

	if (!(fabs(scaled) < ldexp(1, 60)))
		return err_set(l->e, ERR_INPUT,
			       "layer %s: a weight or bias of %g does not fit 60 bits with %u fractional "
			       "bits; use fewer (--weight-bits)",
			       name, v, bits);
	*out = llround(scaled);
	return 0;
}

static int fill_weights(struct lowering *l, const struct parts *p, struct layer_weights *w)
{
	size_t n = 0, at = 0;

	for (uint16_t j = 0; j < p->n; j++)
		n += p->part[j].weights ? p->part[j].n : 0;
	w->weights = calloc(n + 1, sizeof(*w->weights));
	w->bias = calloc(shape_size(p->shape), sizeof(*w->bias));
	if (!w->weights || !w->bias)
		return lower_no_memory(l);
	w->n_weights = n;
	w->n_bias = shape_size(p->shape);
	for (uint16_t j = 0; j < p->n; j++)
		for (size_t i = 0; p->part[j].weights && i < p->part[j].n; i++)
			if (to_integer(l, p->name, p->part[j].weights[i], p->part[j].t, &w->weights[at++]))
				return -1;
	for (size_t i = 0; i < w->n_bias; i++)
		if (to_integer(l, p->name, p->bias[i], p->frac, &w->bias[i]))
			return -1;
	return 0;
}

static void fill_terms(const struct parts *p, struct row *row)
{
	row->n_terms = p->n;
	for (uint16_t j = 0; j < p->n; j++) {
		const struct part *part = &p->part[j];
		struct term *t = &row->terms[j];

		*t = (struct term){
		    .kind = TERM_SKIP, .in = part->diff, .win = part->win, .groups = part->groups};
		if (!part->weights)
			t->shift = (uint8_t)part->t;
		else
			t->kind = part->layer && part->layer->kind == NN_DENSE ? TERM_DENSE : TERM_CONV;
	}
	if (p->pool) {
		row->has_post = 1;
		row->post = p->pool->win;
	}
}

/* The proven range of y. */
static int prove(struct lowering *l, const struct row *row, const struct layer_weights *w, const char *name,
		 struct range *out)
{
	const struct range *in[TAPE_MAX_TERMS];
	struct range before = {0};
	int result;

	for (uint16_t j = 0; j < row->n_terms; j++)
		in[j] = &l->meaning[row->terms[j].in].range;
	if (!row->has_post)
		return lower_proven(l, name, interval_linear(row, in, w->weights, w->bias, out, l->e));
	if (range_new(&before, shape_size(row->post.in), l->e))
		return -1;
	result = interval_linear(row, in, w->weights, w->bias, &before, l->e);
	if (!result)
		result = interval_pool(&row->post, NULL, &before, out, l->e);
	range_free(&before);
	return lower_proven(l, name, result);
}

/* Bits to drop from `frac`: down to the activation's own. */
static unsigned drop_bits(const struct lowering *l, unsigned frac)
{
	return frac > l->options->activation_bits ? frac - l->options->activation_bits : 0;
}

/* The row itself, once its parts are known. */
static int emit(struct lowering *l, const struct parts *p, enum form form, int f)
{
	unsigned twos = p->pool ? (unsigned)__builtin_ctz(p->pool->divisors[0]) : 0, frac = p->frac + twos;
	unsigned drop = form != FORM_MASKED ? 0 : f >= 0 ? (unsigned)f : drop_bits(l, frac);
	int out = lower_value(l, form, p->pool ? p->pool->shape : p->shape, drop);
	uint16_t in[TAPE_MAX_TERMS];
	struct layer_weights *w;
	struct row *row;

	for (uint16_t j = 0; j < p->n; j++)
		in[j] = p->part[j].diff;
	if (out < 0 || !(row = lower_row(l, OP_LINEAR, p->name, in, p->n, (uint16_t)out)))
		return -1;
	w = &l->weights->rows[l->weights->n_rows - 1];
	fill_terms(p, row);
	if (fill_weights(l, p, w) || prove(l, row, w, p->name, &l->meaning[out].range))
		return -1;
	l->meaning[out].frac = frac;
	l->meaning[out].divisor = p->divisor * (p->pool ? p->pool->divisors[0] >> twos : 1);
	return out;
}

static struct parts *parts_new(struct lowering *l, const char *name, struct shape shape)
{
	struct parts *p = calloc(1, sizeof(*p));

	if (!p || !(p->bias = calloc(shape_size(shape), sizeof(*p->bias)))) {
		free(p);
		lower_no_memory(l);
		return NULL;
	}
	p->name = name;
	p->shape = shape;
	p->divisor = 1;
	return p;
}

static void parts_free(struct parts *p)
{
	for (uint16_t j = 0; j < p->n; j++) {
		if (p->part[j].weights)
			secret_wipe(p->part[j].weights, p->part[j].n * sizeof(double));
		free(p->part[j].weights);
	}
	secret_wipe(p->bias, shape_size(p->shape) * sizeof(*p->bias));
	free(p->bias);
	free(p);
}

/* Takes p. */
static int finish(struct lowering *l, struct parts *p, enum form form, int f)
{
	int out = 0;

	for (uint16_t j = 0; !out && j < p->n; j++)
		out = prepare(l, p, &p->part[j]);
	out = out || choose_scale(l, p) ? -1 : emit(l, p, form, f);
	parts_free(p);
	return out;
}

int lower_sum(struct lowering *l, uint32_t node, enum form form, int f)
{
	const struct node *n = lower_node(l, node), *pool = n->kind == NN_AVGPOOL ? n : NULL;
	struct parts *p;

	if (pool) {
		node = pool->inputs[0];
		n = lower_node(l, node);
	}
	if ((pool && lower_window(l, pool)) || !(p = parts_new(l, n->name, n->shape)))
		return -1;
	p->pool = pool;
	if (collect(l, p, node, 1)) {
		parts_free(p);
		return -1;
	}
	return finish(l, p, form, f);
}

int lower_identity(struct lowering *l, uint16_t share, const char *name, int f, int divide)
{
	struct parts *p = parts_new(l, name, l->plan->tape.values[share].shape);

	if (!p)
		return -1;
	if (add_value(l, p, share, name)) {
		parts_free(p);
		return -1;
	}
	if (!divide)
		p->divisor = l->meaning[share].divisor;
	return finish(l, p, FORM_MASKED, f);
}
