/* SPDX-License-Identifier: Apache-2.0 */
/* Removes what a network does not need at run time: pads go into windows, s·x + t goes into the weights
 * before or behind it. What cannot be absorbed becomes a depthwise 1×1 convolution. */
#include "nn/onnx.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LAYERS 4096 /* folding compares all pairs */

struct fold {
	struct graph *g;
	uint32_t last;
	uint32_t *uses; /* how often each node is read; the output counts once */
};

static void count_uses(struct fold *f)
{
	memset(f->uses, 0, f->g->n * sizeof(*f->uses));
	f->uses[f->last] = 1;
	for (uint32_t i = f->last + 1; i-- > 0;)
		for (uint32_t j = 0; f->uses[i] && j < f->g->nodes[i].n_inputs; j++)
			f->uses[f->g->nodes[i].inputs[j]]++;
}

/* Whoever reads `from` reads `to`, and nobody reads `from`. */
static void redirect(struct fold *f, uint32_t from, uint32_t to)
{
	for (uint32_t i = from + 1; i < f->g->n; i++)
		for (uint32_t j = 0; j < f->g->nodes[i].n_inputs; j++)
			if (f->g->nodes[i].inputs[j] == from)
				f->g->nodes[i].inputs[j] = to;
	if (f->last == from)
		f->last = to;
	count_uses(f);
}

static size_t area(const struct node *n)
{
	return (size_t)n->shape.h * n->shape.w;
}

/* How many taps of the window of output y lie in [0, n). */
static uint32_t covered(uint32_t y, uint32_t k, uint32_t stride, uint32_t dilation, int32_t pad, uint32_t n)
{
	int64_t start = (int64_t)y * stride - pad,
		first = start >= 0 ? 0 : (-start + dilation - 1) / dilation;
	int64_t end = start >= (int64_t)n ? 0 : ((int64_t)n - start + dilation - 1) / dilation;

	end = end > k ? k : end;
	return end > first ? (uint32_t)(end - first) : 0;
}

static uint32_t covered_at(const struct window *w, uint32_t y, uint32_t x)
{
	return covered(y, w->kh, w->sh, w->dh, w->pt, w->in.h) *
	       covered(x, w->kw, w->sw, w->dw, w->pl, w->in.w);
}

static int unpadded(const struct window *w)
{
	return !w->pt && !w->pl &&
	       (uint64_t)(w->out.h - 1) * w->sh + (uint64_t)(w->kh - 1) * w->dh < w->in.h &&
	       (uint64_t)(w->out.w - 1) * w->sw + (uint64_t)(w->kw - 1) * w->dw < w->in.w;
}

/* An average that divides by what it covers maps a constant to itself. */
static int exact_mean(const struct node *n)
{
	for (uint32_t y = 0; y < n->win.out.h; y++)
		for (uint32_t x = 0; x < n->win.out.w; x++)
			if (n->divisors[(size_t)y * n->win.out.w + x] != covered_at(&n->win, y, x))
				return 0;
	return 1;
}

static int never_negative(const struct graph *g, uint32_t i)
{
	const struct node *n = &g->nodes[i];

	while (n->kind == NN_MAXPOOL || n->kind == NN_AVGPOOL || n->kind == NN_PAD)
		n = &g->nodes[n->inputs[0]];
	return n->kind == NN_RELU || n->kind == NN_SQUARE;
}

/* Zeros around the input: what a convolution and a mean take positions outside for; and no loss to a maximum
 * of numbers >= 0. */
static int takes_pad(const struct graph *g, const struct node *pad, const struct node *n)
{
	struct window w = n->win;

	if (n->kind == NN_CONV || n->kind == NN_AVGPOOL)
		return 1;
	if (n->kind != NN_MAXPOOL || !never_negative(g, pad->inputs[0]))
		return 0;
	w.in = pad->win.in;
	w.pt += pad->win.pt;
	w.pl += pad->win.pl;
	for (uint32_t y = 0; y < w.out.h; y++)
		for (uint32_t x = 0; x < w.out.w; x++)
			if (!covered_at(&w, y, x))
				return 0;
	return 1;
}

static void fold_pad(struct fold *f, uint32_t i)
{
	struct node *pad = &f->g->nodes[i];
	uint32_t k;

	if (i == f->last)
		return;
	for (k = i + 1; k < f->g->n; k++)
		for (uint32_t j = 0; f->uses[k] && j < f->g->nodes[k].n_inputs; j++)
			if (f->g->nodes[k].inputs[j] == i && !takes_pad(f->g, pad, &f->g->nodes[k]))
				return;
	for (k = i + 1; k < f->g->n; k++) {
		struct node *n = &f->g->nodes[k];
		if (!f->uses[k] || !n->n_inputs || n->inputs[0] != i)
			continue;
		n->win.in = pad->win.in;
		n->win.pt += pad->win.pt;
		n->win.pl += pad->win.pl;
	}
	redirect(f, i, pad->inputs[0]);
}

/* Facts about an affine node a. */
struct facts {
	int growing, /* s >= 0 */
	    pure,    /* t = 0 */
	    per_channel, identity;
};

static struct facts facts(const struct node *a)
{
	struct facts is = {.growing = 1, .pure = 1, .per_channel = a->groups == 1, .identity = 1};
	size_t n = a->groups ? a->shape.c : shape_size(a->shape);

	for (size_t j = 0; j < n; j++) {
		is.growing &= a->weights[j] >= 0;
		is.pure &= a->bias[j] == 0;
		is.identity &= a->weights[j] == 1 && a->bias[j] == 0;
	}
	return is;
}

/* Does n(s·x + t) = s·n(x) + t hold? */
static int commutes(const struct node *n, const struct facts *is)
{
	switch (n->kind) {
	case NN_RELU:
		return is->growing && is->pure;
	case NN_MAXPOOL:
		return is->growing && is->per_channel;
	case NN_AVGPOOL:
		return is->per_channel && (is->pure || exact_mean(n));
	case NN_PAD:
		return is->per_channel && is->pure;
	default:
		return 0;
	}
}

/* One pair per element instead of one per channel. */
static int expand(struct node *a, struct err *e)
{
	size_t n = shape_size(a->shape), per = area(a), j;
	float *s = malloc(n * sizeof(*s)), *t = malloc(n * sizeof(*t));

	if (!s || !t) {
		free(s);
		free(t);
		return err_set(e, ERR_ENV, "out of memory for %zu constants", 2 * n);
	}
	for (j = 0; j < n; j++) {
		s[j] = a->weights[j / per];
		t[j] = a->bias[j / per];
	}
	free(a->weights);
	free(a->bias);
	a->weights = s;
	a->bias = t;
	a->groups = 0;
	return 0;
}

/* Pairs of a at the elements (per = their number in a channel) of another node. */
static size_t pair(const struct node *a, size_t element, size_t per)
{
	return a->groups ? element / per : element;
}

/* Weights of n that one output row holds. */
static size_t columns(const struct graph *g, const struct node *n)
{
	if (n->kind == NN_CONV)
		return (size_t)(n->win.in.c / n->groups) * n->win.kh * n->win.kw;
	return n->kind == NN_DENSE ? shape_size(g->nodes[n->inputs[0]].shape) : 1;
}

/* p := a ∘ p, for p a convolution, a dense layer or affine */
static int absorb_behind(const struct graph *g, struct node *p, const struct node *a, struct err *e)
{
	size_t per = columns(g, p), rows, each, r, j;

	if (p->kind == NN_AFFINE && p->groups && !a->groups && expand(p, e))
		return -1;
	rows = p->kind == NN_AFFINE && !p->groups ? shape_size(p->shape) : p->shape.c;
	each = rows / p->shape.c;
	for (r = 0; r < rows; r++) {
		double s = a->weights[pair(a, r, each)], t = a->bias[pair(a, r, each)];
		for (j = 0; j < per; j++)
			p->weights[r * per + j] = (float)(p->weights[r * per + j] * s);
		p->bias[r] = (float)(p->bias[r] * s + t);
	}
	return 0;
}

/* Row r of k reads its column j through the pair of a that this returns. */
static size_t pair_before(const struct graph *g, const struct node *k, const struct node *a, size_t r,
			  size_t j)
{
	size_t taps = (size_t)k->win.kh * k->win.kw;

	if (k->kind == NN_CONV)
		return r / (k->shape.c / k->groups) * (k->win.in.c / k->groups) + j / taps;
	if (k->kind == NN_DENSE)
		return pair(a, j, area(&g->nodes[k->inputs[0]]));
	return pair(a, r, k->groups ? 1 : area(k));
}

/* k := k ∘ a, for k as above; k's bias takes Σ w·t, so a convolution must not see padding unless t = 0 */
static int absorb_before(const struct graph *g, struct node *k, const struct node *a, struct err *e)
{
	size_t per = columns(g, k), rows, r, j;

	if (k->kind == NN_AFFINE && k->groups && !a->groups && expand(k, e))
		return -1;
	rows = k->kind == NN_AFFINE && !k->groups ? shape_size(k->shape) : k->shape.c;
	for (r = 0; r < rows; r++) {
		double bias = k->bias[r];
		for (j = 0; j < per; j++) {
			size_t at = pair_before(g, k, a, r, j);
			bias += (double)k->weights[r * per + j] * a->bias[at];
			k->weights[r * per + j] = (float)((double)k->weights[r * per + j] * a->weights[at]);
		}
		k->bias[r] = (float)bias;
	}
	return 0;
}

/* Up through operators that commute, each read only once, to one that absorbs. */
static int fold_behind(struct fold *f, uint32_t i, const struct facts *is, int *done, struct err *e)
{
	struct node *nodes = f->g->nodes;
	uint32_t p = nodes[i].inputs[0];

	while (f->uses[p] == 1 && commutes(&nodes[p], is))
		p = nodes[p].inputs[0];
	if (f->uses[p] != 1)
		return 0;
	if (nodes[p].kind != NN_DENSE && nodes[p].kind != NN_AFFINE &&
	    !(nodes[p].kind == NN_CONV && is->per_channel))
		return 0;
	if (absorb_behind(f->g, &nodes[p], &nodes[i], e))
		return -1;
	redirect(f, i, nodes[i].inputs[0]);
	*done = 1;
	return 0;
}

/* Down through operators that commute: does everything that reads node v absorb? With a not NULL: let it. */
static int sink(struct fold *f, uint32_t v, const struct facts *is, const struct node *a, struct err *e)
{
	struct node *nodes = f->g->nodes;

	if (v == f->last)
		return -1;
	for (uint32_t k = v + 1; k < f->g->n; k++) {
		struct node *n = &nodes[k];
		if (!f->uses[k] || (n->inputs[0] != v && n->kind != NN_ADD && n->kind != NN_CONCAT))
			continue;
		if (n->kind == NN_ADD || n->kind == NN_CONCAT) {
			for (uint32_t j = 0; j < n->n_inputs; j++)
				if (n->inputs[j] == v)
					return -1;
			continue;
		}
		if (commutes(n, is)) {
			if (sink(f, k, is, a, e))
				return -1;
			continue;
		}
		if (n->kind != NN_DENSE && n->kind != NN_AFFINE &&
		    !(n->kind == NN_CONV && is->per_channel && (is->pure || unpadded(&n->win))))
			return -1;
		if (a && absorb_before(f->g, n, a, e))
			return -1;
	}
	return 0;
}

/* s·x + t on the pixels themselves: ((v - mean)/std)·s + t = (v - (mean - t·std/s)) / (std/s) */
static int fold_input(struct fold *f, uint32_t i, const struct facts *is)
{
	const struct node *a = &f->g->nodes[i];
	struct preprocess *pre = &f->g->pre;
	uint32_t c;

	if (a->inputs[0] != 0 || f->uses[0] != 1 || !is->per_channel)
		return 0;
	for (c = 0; c < a->shape.c; c++)
		if (!(a->weights[c] > 0))
			return 0;
	for (c = 0; c < a->shape.c; c++) {
		double std = pre->std[c] / (double)a->weights[c];
		pre->mean[c] = (float)(pre->mean[c] - a->bias[c] * std);
		pre->std[c] = (float)std;
	}
	pre->composed = 1;
	redirect(f, i, 0);
	return 1;
}

/* What nothing absorbed: out[c] = s[c]·in[c] + t[c], a convolution of c groups. */
static int materialise(struct node *a, struct err *e)
{
	if (a->groups != 1)
		return err_set(e, ERR_INPUT,
			       "node '%.80s': the constant differs from pixel to pixel and no dense layer "
			       "follows that could absorb it; "
			       "use one value per channel",
			       a->name);
	a->kind = NN_CONV;
	a->groups = a->shape.c;
	a->win = (struct window){
	    .in = a->shape, .out = a->shape, .kh = 1, .kw = 1, .sh = 1, .sw = 1, .dh = 1, .dw = 1};
	return 0;
}

static int fold_affine(struct fold *f, uint32_t i, struct err *e)
{
	struct node *a = &f->g->nodes[i];
	struct facts is = facts(a);
	int done = 0;

	if (is.identity) {
		redirect(f, i, a->inputs[0]);
		return 0;
	}
	if (fold_behind(f, i, &is, &done, e))
		return -1;
	if (done)
		return 0;
	if (!sink(f, i, &is, NULL, e)) {
		if (sink(f, i, &is, a, e))
			return -1;
		redirect(f, i, a->inputs[0]);
		return 0;
	}
	return fold_input(f, i, &is) ? 0 : materialise(a, e);
}

static void drop(struct node *n)
{
	free(n->name);
	free(n->weights);
	free(n->bias);
	free(n->divisors);
}

/* Unused nodes out, the others moved up; the output becomes the last. */
static void compact(struct fold *f)
{
	struct graph *g = f->g;
	uint32_t i, j, n = 0;

	for (i = 0; i < g->n; i++) {
		if (!f->uses[i]) {
			drop(&g->nodes[i]);
			continue;
		}
		for (j = 0; j < g->nodes[i].n_inputs; j++)
			g->nodes[i].inputs[j] = f->uses[g->nodes[i].inputs[j]];
		f->uses[i] = n; /* from here on: the new index */
		g->nodes[n++] = g->nodes[i];
	}
	g->n = n;
}

static int check_finite(const struct graph *g, struct err *e)
{
	for (uint32_t i = 0; i < g->n; i++) {
		const struct node *n = &g->nodes[i];
		size_t weights = n->weights ? columns(g, n) * n->shape.c : 0;
		for (size_t j = 0; j < weights; j++)
			if (!isfinite(n->weights[j]))
				return err_set(e, ERR_INPUT,
					       "node '%.80s': folded weights overflow float32; train with "
					       "smaller weights",
					       n->name);
		for (size_t j = 0; n->bias && j < n->shape.c; j++)
			if (!isfinite(n->bias[j]))
				return err_set(e, ERR_INPUT,
					       "node '%.80s': the folded bias overflows float32; train with "
					       "smaller weights",
					       n->name);
	}
	for (uint32_t c = 0; c < g->nodes[0].shape.c; c++)
		if (!isfinite(g->pre.mean[c]) || !isfinite(g->pre.std[c]) || g->pre.std[c] == 0)
			return err_set(e, ERR_INPUT, "the normalisation at the input overflows float32");
	return 0;
}

static int fold_all(struct fold *f, struct err *e)
{
	uint32_t i;

	count_uses(f);
	for (i = 0; i < f->g->n; i++)
		if (f->uses[i] && f->g->nodes[i].kind == NN_PAD)
			fold_pad(f, i);
	for (i = 0; i < f->g->n; i++)
		if (f->uses[i] && f->g->nodes[i].kind == NN_AFFINE && fold_affine(f, i, e))
			return -1;
	if (!f->uses[0])
		return err_set(e, ERR_INPUT, "the output does not depend on the image");
	if (f->last == 0)
		return err_set(e, ERR_INPUT, "the network has no layer");
	compact(f);
	return check_finite(f->g, e);
}

int graph_fold(struct graph *g, uint32_t last, struct err *e)
{
	struct fold f = {.g = g, .last = last};
	int code;

	if (g->n > MAX_LAYERS)
		return err_set(e, ERR_INPUT, "%u layers: at most %d are accepted", g->n, MAX_LAYERS);
	f.uses = calloc(g->n, sizeof(*f.uses));
	if (!f.uses)
		return err_set(e, ERR_ENV, "out of memory");
	code = fold_all(&f, e);
	free(f.uses);
	return code;
}
