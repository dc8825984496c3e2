/* SPDX-License-Identifier: Apache-2.0 */
/* Pointwise operators, concatenation, and what is left to the data owner after the network. */
#include "nn/onnx.h"

#include <string.h>

#define CLIP_NONE 3.0e38f /* exporters write "no bound" as the greatest float */

static int relu(struct import *im, struct call *c, uint32_t in, uint32_t *node, struct err *e)
{
	return call_node(im, c, NN_RELU, im->g->nodes[in].shape, &in, 1, node, e);
}

int op_relu(struct import *im, struct call *c, struct err *e)
{
	uint32_t node;

	return relu(im, c, c->in[0]->node, &node, e) ? -1 : call_like(c, node, c->in[0]);
}

/* LeakyRelu(x) = a·x + (1 - a)·ReLU(x) */
int op_leaky(struct import *im, struct call *c, struct err *e)
{
	uint32_t in[2], node;
	float alpha;

	if (attr_float(c, "alpha", 0.01f, &alpha, e))
		return -1;
	if (alpha == 0)
		return op_relu(im, c, e);
	if (op_affine(im, c, c->in[0]->node, alpha, 0, &in[0], e) || relu(im, c, c->in[0]->node, &node, e) ||
	    op_affine(im, c, node, 1 - alpha, 0, &in[1], e) ||
	    call_node(im, c, NN_ADD, im->g->nodes[node].shape, in, 2, &node, e))
		return -1;
	return call_like(c, node, c->in[0]);
}

/* max(x, lo) = lo + ReLU(x - lo); min(x, hi) = hi - ReLU(hi - x) */
int op_clip(struct import *im, struct call *c, struct err *e)
{
	uint32_t node = c->in[0]->node;
	float lo, hi;

	if (call_scalar(c, 1, "min", -CLIP_NONE, &lo, e) || call_scalar(c, 2, "max", CLIP_NONE, &hi, e))
		return -1;
	if (lo > hi)
		return refuse(c, e, "the lower bound %g exceeds the upper bound %g", lo, hi);
	if (lo <= -CLIP_NONE && hi >= CLIP_NONE)
		return op_identity(im, c, e);
	if (lo > -CLIP_NONE) {
		if ((lo != 0 && op_affine(im, c, node, 1, -lo, &node, e)) || relu(im, c, node, &node, e))
			return -1;
		if (hi >= CLIP_NONE && lo != 0 && op_affine(im, c, node, 1, lo, &node, e))
			return -1;
	} else {
		lo = 0;
	}
	if (hi < CLIP_NONE && (op_affine(im, c, node, -1, hi - lo, &node, e) || relu(im, c, node, &node, e) ||
			       op_affine(im, c, node, -1, hi, &node, e)))
		return -1;
	return call_like(c, node, c->in[0]);
}

int op_pow(struct import *im, struct call *c, struct err *e)
{
	uint32_t node;
	float power;

	if (c->in[0]->kind != VAL_ACT || !call_in(c, 1))
		return refuse(c, e, "only the square of an activation is supported");
	if (call_scalar(c, 1, "", 0, &power, e))
		return -1;
	if (power == 1)
		return op_identity(im, c, e);
	if (power != 2)
		return refuse(c, e, "only the power 2 is supported, not %g", power);
	if (call_node(im, c, NN_SQUARE, im->g->nodes[c->in[0]->node].shape, &c->in[0]->node, 1, &node, e))
		return -1;
	return call_like(c, node, c->in[0]);
}

/* Channels of images, or elements of vectors: in both cases the elements simply follow one another. */
static int concat_check(struct import *im, struct call *c, unsigned axis, struct shape *s,
			int64_t dims[ONNX_MAX_RANK], struct err *e)
{
	const struct val *first = c->in[0], *v;
	struct shape own;

	memcpy(dims, first->dims, sizeof(first->dims));
	dims[axis] = 0;
	for (size_t j = 0; j < c->n_in; j++) {
		v = c->in[j];
		if (!v || v->kind != VAL_ACT || v->order || v->rank != first->rank)
			return refuse(c, e, "only activations in NCHW order can be concatenated");
		if (v->rank == 4 && call_image(im, c, j, &own, e))
			return -1;
		own = im->g->nodes[v->node].shape;
		if (j == 0)
			*s = (struct shape){0, own.h, own.w};
		for (unsigned d = 0; d < v->rank; d++)
			if ((d < axis && v->dims[d] != 1) || (d != axis && v->dims[d] != first->dims[d]))
				return refuse(c, e, "only channels (axis 1) can be concatenated");
		if (own.h != s->h || own.w != s->w)
			return refuse(c, e, "the images differ in height or width");
		s->c += own.c;
		dims[axis] += v->dims[axis];
		if (s->c > NN_MAX_ELEMENTS)
			return refuse(c, e, "more than %u channels", NN_MAX_ELEMENTS);
	}
	return 0;
}

int op_concat(struct import *im, struct call *c, struct err *e)
{
	uint32_t in[NN_MAX_INPUTS], node, n = 0;
	int64_t axis_attr, dims[ONNX_MAX_RANK];
	struct shape whole, part;
	unsigned axis;

	if (attr_int(c, "axis", 1, &axis_attr, e) ||
	    call_axis(c, axis_attr, c->in[0] ? c->in[0]->rank : 0, &axis, e) ||
	    concat_check(im, c, axis, &whole, dims, e))
		return -1;
	part = whole;
	part.c = 0;
	node = c->in[0]->node;
	for (size_t j = 0; j < c->n_in; j++) {
		in[n++] = c->in[j]->node;
		part.c += im->g->nodes[c->in[j]->node].shape.c;
		if (n < NN_MAX_INPUTS && j + 1 < c->n_in)
			continue;
		if (n > 1 && call_node(im, c, NN_CONCAT, part, in, n, &node, e))
			return -1;
		in[0] = node;
		n = 1;
	}
	return call_result(c, node, c->in[0]->rank, dims, e);
}

static enum nn_output output_of(const char *op)
{
	if (!strcmp(op, "Softmax"))
		return NN_OUT_SOFTMAX;
	if (!strcmp(op, "LogSoftmax"))
		return NN_OUT_LOGSOFTMAX;
	return strcmp(op, "ArgMax") ? NN_OUT_SIGMOID : NN_OUT_ARGMAX;
}

/* Does [axis] (from opset 13, and of ArgMax always) or [axis, ...] hold all elements of x? */
static int over_classes(struct import *im, struct call *c, const struct val *x, int64_t absent,
			unsigned *axis, struct err *e)
{
	int64_t attr, n = 1;
	unsigned d;

	if (attr_int(c, "axis", absent, &attr, e) || call_axis(c, attr, x->rank, axis, e))
		return -1;
	for (d = *axis;
	     d < x->rank && (d == *axis || im->opset < 13) && (d == *axis || strcmp(c->op, "ArgMax")); d++)
		n *= x->dims[d];
	return n == (int64_t)x->n ? 0 : refuse(c, e, "it must run over all classes of one image");
}

/* Softmax, LogSoftmax, Sigmoid, ArgMax: remembered for the data owner; nothing but relabelling may follow,
 * which onnx_lower checks. */
int op_last(struct import *im, struct call *c, struct err *e)
{
	enum nn_output output = output_of(c->op);
	const struct val *x = c->in[0];
	int64_t last, keep;
	unsigned axis = 0;

	if (x->output != NN_OUT_NONE && output != NN_OUT_ARGMAX)
		return refuse(c, e, "an output function of an output function is not supported");
	if (x->order)
		return refuse(c, e, "the classes are transposed; keep NCHW order");
	if (output != NN_OUT_SIGMOID && over_classes(im, c, x,
						     output == NN_OUT_ARGMAX ? 0
						     : im->opset < 13	     ? 1
									     : -1,
						     &axis, e))
		return -1;
	call_like(c, x->node, x);
	c->out->output = output;
	if (output != NN_OUT_ARGMAX)
		return 0;
	if (attr_int(c, "select_last_index", 0, &last, e) || attr_int(c, "keepdims", 1, &keep, e))
		return -1;
	if (last)
		return refuse(c, e, "select_last_index is not supported");
	for (unsigned d = axis; !keep && d + 1 < x->rank; d++)
		c->out->dims[d] = x->dims[d + 1];
	if (keep)
		c->out->dims[axis] = 1;
	else
		c->out->rank--;
	c->out->n = 1;
	return 0;
}
