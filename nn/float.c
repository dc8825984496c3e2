/* SPDX-License-Identifier: Apache-2.0 */
/* The float reference: every node as its definition says, one image at a time. */
#include "nn/graph.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct float_run {
	const struct graph *g;
	float **values; /* owns; one per node */
};

int float_new(struct float_run **run, const struct graph *g, struct err *e)
{
	struct float_run *r = calloc(1, sizeof(*r));
	uint32_t i;

	*run = NULL;
	if (r)
		r->values = calloc(g->n, sizeof(*r->values));
	if (!r || !r->values)
		goto memory;
	r->g = g;
	for (i = 0; i < g->n; i++) {
		r->values[i] = calloc(shape_size(g->nodes[i].shape), sizeof(float));
		if (!r->values[i])
			goto memory;
	}
	*run = r;
	return 0;
memory:
	float_free(r);
	return err_set(e, ERR_ENV, "out of memory for the float reference of %s", g->name);
}

void float_free(struct float_run *run)
{
	if (!run)
		return;
	for (uint32_t i = 0; run->g && i < run->g->n; i++)
		free(run->values[i]);
	free(run->values);
	free(run);
}

const float *float_value(const struct float_run *run, uint32_t node)
{
	return run->values[node];
}

/* The outputs [*from, *to) whose tap at offset o (already minus the pad) lies inside n inputs: 0 <= y·stride
 * + o < n. */
static void inside(int64_t o, uint32_t stride, uint32_t n, uint32_t outputs, uint32_t *from, uint32_t *to)
{
	int64_t first = o >= 0 ? 0 : (-o + stride - 1) / stride;
	int64_t end = o >= (int64_t)n ? 0 : ((int64_t)n - o + stride - 1) / stride;

	*from = first > outputs ? outputs : (uint32_t)first;
	*to = end > outputs ? outputs : (uint32_t)end;
}

/* out[y][x] (op)= scale * in at one tap (i, j) of the window, over one channel. */
static void tap(const struct window *w, uint32_t i, uint32_t j, float scale, int maximum, const float *in,
		float *out)
{
	int64_t oy = (int64_t)i * w->dh - w->pt, ox = (int64_t)j * w->dw - w->pl;
	uint32_t y, y1, x, x0, x1;

	inside(oy, w->sh, w->in.h, w->out.h, &y, &y1);
	inside(ox, w->sw, w->in.w, w->out.w, &x0, &x1);
	for (; y < y1; y++) {
		const float *row = in + (y * (int64_t)w->sh + oy) * w->in.w + ox;
		float *to = out + (size_t)y * w->out.w;
		for (x = x0; x < x1; x++) {
			float v = row[(int64_t)x * w->sw] * scale;
			to[x] = maximum ? fmaxf(to[x], v) : to[x] + v;
		}
	}
}

static void conv(const struct node *n, const float *in, float *out)
{
	const struct window *w = &n->win;
	uint32_t per = w->in.c / n->groups, filters = w->out.c / n->groups, f, c, i, j;
	size_t area = (size_t)w->out.h * w->out.w;
	const float *weight = n->weights;

	for (f = 0; f < w->out.c; f++, out += area) {
		const float *from = in + (size_t)(f / filters) * per * w->in.h * w->in.w;
		for (size_t p = 0; p < area; p++)
			out[p] = n->bias[f];
		for (c = 0; c < per; c++, from += (size_t)w->in.h * w->in.w)
			for (i = 0; i < w->kh; i++)
				for (j = 0; j < w->kw; j++)
					tap(w, i, j, *weight++, 0, from, out);
	}
}

static void pool(const struct node *n, int maximum, const float *in, float *out)
{
	const struct window *w = &n->win;
	size_t area = (size_t)w->out.h * w->out.w, p;
	uint32_t c, i, j;

	for (c = 0; c < w->out.c; c++, out += area, in += (size_t)w->in.h * w->in.w) {
		for (p = 0; p < area; p++)
			out[p] = maximum ? -INFINITY : 0;
		for (i = 0; i < w->kh; i++)
			for (j = 0; j < w->kw; j++)
				tap(w, i, j, 1, maximum, in, out);
		for (p = 0; n->divisors && p < area; p++)
			out[p] /= (float)n->divisors[p];
	}
}

/* Eight partial sums, so that the additions need not wait for each other. */
static float dot(const float *a, const float *b, size_t n)
{
	float s[8] = {0}, tail = 0;
	size_t j = 0;

	for (; j + 8 <= n; j += 8)
		for (size_t k = 0; k < 8; k++)
			s[k] += a[j + k] * b[j + k];
	for (; j < n; j++)
		tail += a[j] * b[j];
	return ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7])) + tail;
}

static void dense(const struct node *n, const float *in, size_t columns, float *out)
{
	for (size_t r = 0; r < n->shape.c; r++)
		out[r] = n->bias[r] + dot(n->weights + r * columns, in, columns);
}

static void concat(const struct float_run *run, const struct node *n, float *out)
{
	for (uint32_t j = 0; j < n->n_inputs; j++) {
		size_t size = shape_size(run->g->nodes[n->inputs[j]].shape);
		memcpy(out, run->values[n->inputs[j]], size * sizeof(*out));
		out += size;
	}
}

static void evaluate(const struct float_run *run, const struct node *n, float *out)
{
	const float *a = run->values[n->inputs[0]], *b = n->n_inputs > 1 ? run->values[n->inputs[1]] : NULL;
	size_t size = shape_size(n->shape), j;

	switch (n->kind) {
	case NN_CONV:
		conv(n, a, out);
		break;
	case NN_DENSE:
		dense(n, a, shape_size(run->g->nodes[n->inputs[0]].shape), out);
		break;
	case NN_MAXPOOL:
	case NN_AVGPOOL:
	case NN_PAD: /* a pool of one element whose outside is 0 */
		pool(n, n->kind == NN_MAXPOOL, a, out);
		break;
	case NN_RELU:
		for (j = 0; j < size; j++)
			out[j] = a[j] > 0 ? a[j] : 0;
		break;
	case NN_ADD:
		for (j = 0; j < size; j++)
			out[j] = a[j] + b[j];
		break;
	case NN_SQUARE:
		for (j = 0; j < size; j++)
			out[j] = a[j] * a[j];
		break;
	case NN_CONCAT:
		concat(run, n, out);
		break;
	case NN_INPUT:
	case NN_KINDS:
		break;
	}
}

void float_infer(struct float_run *run, const uint8_t *pixels, float *out)
{
	const struct graph *g = run->g;
	struct shape s = g->nodes[0].shape;
	size_t area = (size_t)s.h * s.w;

	for (size_t j = 0; j < shape_size(s); j++) {
		size_t c = j / area;
		run->values[0][j] = (pixels[j] / g->pre.scale - g->pre.mean[c]) / g->pre.std[c];
	}
	for (uint32_t i = 1; i < g->n; i++)
		evaluate(run, &g->nodes[i], run->values[i]);
	memcpy(out, run->values[g->n - 1], shape_size(g->nodes[g->n - 1].shape) * sizeof(*out));
}

void float_output(enum nn_output output, float *logits, size_t n)
{
	float top = -INFINITY;
	double sum = 0;
	size_t j;

	if (output == NN_OUT_SIGMOID) {
		for (j = 0; j < n; j++)
			logits[j] = logits[j] >= 0 ? 1 / (1 + expf(-logits[j]))
						   : expf(logits[j]) / (1 + expf(logits[j]));
	} else if (output == NN_OUT_SOFTMAX || output == NN_OUT_LOGSOFTMAX) {
		for (j = 0; j < n; j++)
			top = fmaxf(top, logits[j]);
		for (j = 0; j < n; j++)
			sum += exp(logits[j] - (double)top);
		for (j = 0; j < n; j++) {
			double log_p = logits[j] - (double)top - log(sum);
			logits[j] = (float)(output == NN_OUT_SOFTMAX ? exp(log_p) : log_p);
		}
	}
}
