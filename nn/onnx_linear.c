/* SPDX-License-Identifier: Apache-2.0 */
/* Linear operators without a window: dense layers, normalisation, sums, scalings by constants. */
#include "nn/onnx.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One dense layer: y[r] = alpha * Σ_j w(r, j) x[j], w(r, j) = f[r*n + j], or f[j*m + r] when the constant is
 * transposed. */
struct dense {
	const struct val *x, *w;
	size_t m, n;
	int transposed;
	float alpha;
};

/* Column j of the constant belongs to element j of the value, which is element order[j] of the node. */
static int dense_node(struct import *im, struct call *c, const struct dense *d, uint32_t *index,
		      struct err *e)
{
	struct shape s = {(uint32_t)d->m, 1, 1};
	struct node *node;

	if (d->x->n != d->n)
		return refuse(
		    c, e,
		    "%zu inputs do not fit a matrix of %zu columns; keep the batch dimension 1 or symbolic",
		    d->x->n, d->n);
	if (call_node(im, c, NN_DENSE, s, &d->x->node, 1, index, e))
		return -1;
	node = &im->g->nodes[*index];
	node->weights = call_floats_new(im, d->w->n, e);
	node->bias = call_floats_new(im, d->m, e);
	if (!node->weights || !node->bias)
		return -1;
	for (size_t j = 0; j < d->n; j++) {
		size_t to = d->x->order ? d->x->order[j] : j;
		for (size_t r = 0; r < d->m; r++)
			node->weights[r * d->n + to] =
			    d->alpha * d->w->f[d->transposed ? j * d->m + r : r * d->n + j];
	}
	return 0;
}

/* beta * C, broadcast over the m outputs */
static int gemm_bias(struct import *im, struct call *c, uint32_t index, size_t m, float beta, struct err *e)
{
	float *bias = im->g->nodes[index].bias;
	const struct val *b;

	if (!call_in(c, 2))
		return 0;
	if (call_floats(c, 2, &b, e))
		return -1;
	if (b->n != m && b->n != 1)
		return refuse(c, e, "bias '%.60s' has %zu elements for %zu outputs", b->name, b->n, m);
	for (size_t r = 0; r < m; r++)
		bias[r] = beta * b->f[b->n == 1 ? 0 : r];
	return 0;
}

/* Y = alpha A' B' + beta C, with either A or B the activation; the other is the matrix. */
int op_gemm(struct import *im, struct call *c, struct err *e)
{
	const struct val *x = call_in(c, 0), *w = call_in(c, 1);
	int64_t trans_a, trans_b, dims[2] = {1, 1};
	struct dense d = {.alpha = 1};
	uint32_t index;
	int right; /* the activation stands at the right */
	float beta;

	if (!x || !w)
		return refuse(c, e, "two matrices are needed");
	if (attr_int(c, "transA", 0, &trans_a, e) || attr_int(c, "transB", 0, &trans_b, e) ||
	    attr_float(c, "alpha", 1, &d.alpha, e) || attr_float(c, "beta", 1, &beta, e))
		return -1;
	right = x->kind == VAL_CONST;
	if (call_floats(c, right ? 0 : 1, &d.w, e))
		return -1;
	d.x = right ? w : x;
	if (d.x->rank != 2 || d.w->rank != 2 || !d.w->n)
		return refuse(c, e, "two matrices are needed");
	/* The vector must be a row at the left, a column at the right, after its own transposition. */
	if (d.x->dims[right ? !trans_b : !!trans_a] != 1)
		return refuse(c, e,
			      "the activation must be one row (at the right: one column); keep the batch "
			      "dimension 1 or symbolic");
	d.transposed = right ? trans_a != 0 : !trans_b;
	d.m = (size_t)d.w->dims[d.transposed ? 1 : 0];
	d.n = (size_t)d.w->dims[d.transposed ? 0 : 1];
	if (dense_node(im, c, &d, &index, e) || gemm_bias(im, c, index, d.m, beta, e))
		return -1;
	dims[right ? 0 : 1] = (int64_t)d.m;
	return call_result(c, index, 2, dims, e);
}

/* MatMul: x·W with W n × m, or W·x with W m × n; every dimension of x but the summed one is 1. */
int op_matmul(struct import *im, struct call *c, struct err *e)
{
	const struct val *x = call_in(c, 0), *w = call_in(c, 1);
	int64_t dims[ONNX_MAX_RANK];
	struct dense d = {.alpha = 1};
	unsigned rank, at, j;
	uint32_t index;
	int right;

	if (!x || !w)
		return refuse(c, e, "two matrices are needed");
	right = x->kind == VAL_CONST;
	if (call_floats(c, right ? 0 : 1, &d.w, e))
		return -1;
	d.x = right ? w : x;
	if (d.w->rank != 2 || !d.w->n || !d.x->rank)
		return refuse(c, e,
			      "one side must depend on the image, the other be a constant matrix; attention "
			      "is not supported");
	rank = d.x->rank;
	at = right && rank > 1 ? rank - 2 : rank - 1;
	if (d.x->dims[at] != (int64_t)d.x->n)
		return refuse(c, e,
			      "the activation must be one vector; keep the batch dimension 1 or symbolic");
	d.transposed = !right;
	d.m = (size_t)d.w->dims[right ? 0 : 1];
	d.n = (size_t)d.w->dims[right ? 1 : 0];
	if (dense_node(im, c, &d, &index, e))
		return -1;
	for (j = 0; j < rank; j++)
		dims[j] = j == at ? (int64_t)d.m : 1;
	return call_result(c, index, rank, dims, e);
}

/* Keeps one pair per channel when all elements of a channel agree. */
static void affine_compress(struct node *node)
{
	size_t area = (size_t)node->shape.h * node->shape.w, n = node->shape.c * area, j;

	for (j = 0; j < n; j++)
		if (node->weights[j] != node->weights[j - j % area] ||
		    node->bias[j] != node->bias[j - j % area])
			return;
	for (j = 0; j < node->shape.c; j++) {
		node->weights[j] = node->weights[j * area];
		node->bias[j] = node->bias[j * area];
	}
	node->groups = 1;
}

/* y = s·x + t, where s and t have k's shape and broadcast over x. */
static int affine(struct import *im, struct call *c, const struct val *x, const struct val *k, const float *s,
		  const float *t, struct err *e)
{
	struct node *node;
	uint32_t index;
	size_t j;

	for (unsigned d = 0; d < k->rank; d++)
		if (k->rank > x->rank || (k->dims[d] != 1 && k->dims[d] != x->dims[d + x->rank - k->rank]))
			return refuse(c, e, "the constant does not broadcast to the other input's shape");
	if (call_node(im, c, NN_AFFINE, im->g->nodes[x->node].shape, &x->node, 1, &index, e))
		return -1;
	node = &im->g->nodes[index];
	node->weights = call_floats_new(im, x->n, e);
	node->bias = call_floats_new(im, x->n, e);
	if (!node->weights || !node->bias)
		return -1;
	for (j = 0; j < x->n; j++) {
		size_t to = x->order ? x->order[j] : j, from = bcast_index(k, x->rank, x->dims, j);
		node->weights[to] = s[from];
		node->bias[to] = t[from];
	}
	node->groups = 0;
	affine_compress(node);
	c->status = "folded";
	return call_like(c, index, x);
}

int op_affine(struct import *im, struct call *c, uint32_t in, float s, float t, uint32_t *node, struct err *e)
{
	struct shape shape = im->g->nodes[in].shape;
	float *weights, *bias;

	if (call_node(im, c, NN_AFFINE, shape, &in, 1, node, e))
		return -1;
	im->g->nodes[*node].weights = weights = call_floats_new(im, shape.c, e);
	im->g->nodes[*node].bias = bias = call_floats_new(im, shape.c, e);
	if (!weights || !bias)
		return -1;
	im->g->nodes[*node].groups = 1;
	for (uint32_t j = 0; j < shape.c; j++) {
		weights[j] = s;
		bias[j] = t;
	}
	return 0;
}

static int batchnorm_inputs(struct call *c, const struct val *in[5], struct err *e)
{
	const struct val *x = call_in(c, 0);

	if (!x || x->rank < 2)
		return refuse(c, e, "a batch of channels is needed");
	in[0] = x;
	for (size_t j = 1; j < 5; j++) {
		if (call_floats(c, j, &in[j], e))
			return -1;
		if ((int64_t)in[j]->n != x->dims[1])
			return refuse(c, e, "'%.60s' has %zu elements for %lld channels", in[j]->name,
				      in[j]->n, (long long)x->dims[1]);
	}
	return 0;
}

/* y = scale (x - mean) / sqrt(var + epsilon) + B = s·x + t, per channel. */
int op_batchnorm(struct import *im, struct call *c, struct err *e)
{
	struct val k = {.rank = 1};
	const struct val *in[5];
	int64_t training, spatial;
	float epsilon, *s, *t;
	size_t n, j;

	if (batchnorm_inputs(c, in, e) || attr_int(c, "training_mode", 0, &training, e) ||
	    attr_int(c, "spatial", 1, &spatial, e) || attr_float(c, "epsilon", 1e-5f, &epsilon, e))
		return -1;
	if (training || !spatial)
		return refuse(
		    c, e, "exported in training mode or not per channel; call model.eval() before exporting");
	n = in[1]->n;
	s = import_alloc(im, n, sizeof(*s), e);
	t = import_alloc(im, n, sizeof(*t), e);
	if (!s || !t)
		return -1;
	for (j = 0; j < n; j++) {
		double var = (double)in[4]->f[j] + epsilon, scale;
		if (!(var > 0))
			return refuse(c, e, "variance '%.60s' is not positive at channel %zu", in[4]->name,
				      j);
		scale = in[1]->f[j] / sqrt(var);
		s[j] = (float)scale;
		t[j] = (float)(in[2]->f[j] - in[3]->f[j] * scale);
	}
	k.rank = in[0]->rank - 1;
	for (j = 0; j < k.rank; j++)
		k.dims[j] = j ? 1 : (int64_t)n;
	k.n = n;
	return affine(im, c, in[0], &k, s, t, e);
}

/* The pair (s, t) that `op` with the constant k is; left: k stands at the left. */
static int scale_of(const char *op, int left, float k, float *s, float *t)
{
	*s = 1;
	*t = 0;
	if (!strcmp(op, "Add") || !strcmp(op, "Sum")) {
		*t = k;
	} else if (!strcmp(op, "Sub")) {
		*s = left ? -1 : 1;
		*t = left ? k : -k;
	} else if (!strcmp(op, "Mul")) {
		*s = k;
	} else if (left || k == 0) {
		return -1;
	} else {
		*s = 1 / k;
	}
	return 0;
}

int op_scale(struct import *im, struct call *c, struct err *e)
{
	const struct val *k, *x;
	int left = call_in(c, 0) && c->in[0]->kind == VAL_CONST;
	float *s, *t;

	if (c->n_in != 2 || !(x = call_in(c, left ? 1 : 0)))
		return refuse(c, e, "two inputs are needed");
	if (call_floats(c, left ? 0 : 1, &k, e))
		return -1;
	s = import_alloc(im, k->n, sizeof(*s), e);
	t = import_alloc(im, k->n, sizeof(*t), e);
	if (!s || !t)
		return -1;
	for (size_t j = 0; j < k->n; j++)
		if (scale_of(c->op, left, k->f[j], &s[j], &t[j]))
			return refuse(
			    c, e, "a constant divided by the activation, or division by 0, is not supported");
	return affine(im, c, x, k, s, t, e);
}

int op_neg(struct import *im, struct call *c, struct err *e)
{
	uint32_t node;

	if (op_affine(im, c, c->in[0]->node, -1, 0, &node, e))
		return -1;
	c->status = "folded";
	return call_like(c, node, c->in[0]);
}

static int same_layout(struct import *im, const struct val *a, const struct val *b)
{
	struct shape s = im->g->nodes[a->node].shape, r = im->g->nodes[b->node].shape;

	if (a->rank != b->rank || memcmp(a->dims, b->dims, a->rank * sizeof(*a->dims)))
		return 0;
	if (!a->order != !b->order || (a->order && memcmp(a->order, b->order, a->n * sizeof(*a->order))))
		return 0;
	return s.c == r.c && s.h == r.h && s.w == r.w;
}

/* Add, Sub of two activations, Sum of several. */
int op_add(struct import *im, struct call *c, struct err *e)
{
	uint32_t in[2], node;
	size_t j;

	if (c->n_in == 2 && call_in(c, 0) && call_in(c, 1) &&
	    (c->in[0]->kind == VAL_CONST || c->in[1]->kind == VAL_CONST))
		return op_scale(im, c, e);
	if (!call_in(c, 0) || c->in[0]->kind != VAL_ACT)
		return refuse(c, e, "activations are needed");
	node = c->in[0]->node;
	for (j = 1; j < c->n_in; j++) {
		if (!c->in[j] || c->in[j]->kind != VAL_ACT || !same_layout(im, c->in[0], c->in[j]))
			return refuse(c, e,
				      "activations of one shape are needed; broadcasting one over the other "
				      "is not supported");
		in[0] = node;
		in[1] = c->in[j]->node;
		if (!strcmp(c->op, "Sub") && op_affine(im, c, in[1], -1, 0, &in[1], e))
			return -1;
		if (call_node(im, c, NN_ADD, im->g->nodes[node].shape, in, 2, &node, e))
			return -1;
	}
	return call_like(c, node, c->in[0]);
}

int op_mul(struct import *im, struct call *c, struct err *e)
{
	uint32_t node;

	if (c->n_in != 2 || !c->in[0] || !c->in[1])
		return refuse(c, e, "two inputs are needed");
	if (c->in[0]->kind == VAL_CONST || c->in[1]->kind == VAL_CONST)
		return op_scale(im, c, e);
	if (c->in[0]->node != c->in[1]->node || !same_layout(im, c->in[0], c->in[1]))
		return refuse(c, e,
			      "a product of two different activations is not supported; use a sum, a square "
			      "or a constant factor");
	if (call_node(im, c, NN_SQUARE, im->g->nodes[c->in[0]->node].shape, &c->in[0]->node, 1, &node, e))
		return -1;
	return call_like(c, node, c->in[0]);
}
