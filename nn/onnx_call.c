/* SPDX-License-Identifier: Apache-2.0 */
/* What every operator needs: attributes, inputs of the right kind, results, and one way to refuse. */
#include "nn/onnx.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "node 'conv1' (Conv, inputs [1,3,32,32] [8,3,3,3]): reason; way out" */
int refuse(const struct call *c, struct err *e, const char *format, ...)
{
	char reason[288], shapes[160] = "", text[ONNX_SHAPE_TEXT];
	size_t at = 0, i;
	va_list ap;

	va_start(ap, format);
	vsnprintf(reason, sizeof(reason), format, ap);
	va_end(ap);
	for (i = 0; i < c->n_in && at < sizeof(shapes) - 50; i++)
		if (c->in[i])
			at += (size_t)snprintf(shapes + at, sizeof(shapes) - at, " %.40s",
					       dims_text(text, c->in[i]->rank, c->in[i]->dims));
	return err_set(e, ERR_INPUT, "node '%.80s' (%.40s, inputs%s): %s", c->name, c->op,
		       at ? shapes : " none", reason);
}

const Onnx__AttributeProto *attr_find(const struct call *c, const char *name)
{
	for (size_t i = 0; i < c->p->n_attribute; i++)
		if (c->p->attribute[i]->name && !strcmp(c->p->attribute[i]->name, name))
			return c->p->attribute[i];
	return NULL;
}

int attr_int(const struct call *c, const char *name, int64_t absent, int64_t *value, struct err *e)
{
	const Onnx__AttributeProto *a = attr_find(c, name);

	*value = a ? a->i : absent;
	if (a && !a->has_i && a->has_type && a->type != ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT)
		return refuse(c, e, "attribute %s is not an integer", name);
	return 0;
}

int attr_float(const struct call *c, const char *name, float absent, float *value, struct err *e)
{
	const Onnx__AttributeProto *a = attr_find(c, name);

	*value = a ? a->f : absent;
	if (a && !a->has_f && a->has_type && a->type != ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT)
		return refuse(c, e, "attribute %s is not a number", name);
	return isfinite(*value) ? 0 : refuse(c, e, "attribute %s is not finite", name);
}

int attr_ints(const struct call *c, const char *name, const int64_t **values, size_t *n, struct err *e)
{
	const Onnx__AttributeProto *a = attr_find(c, name);

	*values = a ? a->ints : NULL;
	*n = a ? a->n_ints : 0;
	if (a && !a->n_ints && a->has_type && a->type != ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS)
		return refuse(c, e, "attribute %s is not a list of integers", name);
	return 0;
}

int attr_is(const struct call *c, const char *name, const char *absent, const char *text)
{
	const Onnx__AttributeProto *a = attr_find(c, name);
	size_t n = strlen(text);

	if (!a || !a->has_s)
		return !strcmp(absent, text);
	return a->s.len == n && !memcmp(a->s.data, text, n);
}

struct val *call_in(const struct call *c, size_t i)
{
	return i < c->n_in ? c->in[i] : NULL;
}

/* A constant float tensor whose elements are finite. */
int call_floats(const struct call *c, size_t i, const struct val **v, struct err *e)
{
	size_t j;

	*v = call_in(c, i);
	if (!*v)
		return refuse(c, e, "input %zu is missing", i);
	if ((*v)->kind != VAL_CONST || !(*v)->f)
		return refuse(
		    c, e,
		    "input '%.60s' must be a float constant of the file; freeze the weights when exporting",
		    (*v)->name);
	for (j = 0; j < (*v)->n; j++)
		if (!isfinite((*v)->f[j]))
			return refuse(
			    c, e, "tensor '%.60s' holds NaN or Inf at element %zu; train or export it again",
			    (*v)->name, j);
	return 0;
}

/* A list of integers: input i, or the attribute of older opsets. Absent: NULL. */
int call_ints(const struct call *c, size_t i, const char *attr, const int64_t **values, size_t *n,
	      struct err *e)
{
	const struct val *v = call_in(c, i);

	if (!v)
		return attr_ints(c, attr, values, n, e);
	if (v->kind != VAL_CONST || !v->i || v->rank > 1)
		return refuse(c, e,
			      "input '%.60s' must be a constant list of integers; export with fixed shapes "
			      "or run onnxsim",
			      v->name);
	*values = v->i;
	*n = v->n;
	return 0;
}

/* One number: input i, or the attribute of older opsets. May be infinite, never NaN. */
int call_scalar(const struct call *c, size_t i, const char *attr, float absent, float *value, struct err *e)
{
	const struct val *v = call_in(c, i);

	if (!v)
		return attr_float(c, attr, absent, value, e);
	if (v->kind != VAL_CONST || v->n != 1)
		return refuse(c, e, "input '%.60s' must be one constant number", v->name);
	*value = v->f ? v->f[0] : (float)v->i[0];
	return isnan(*value) ? refuse(c, e, "input '%.60s' is NaN", v->name) : 0;
}

int call_axis(const struct call *c, int64_t axis, unsigned rank, unsigned *out, struct err *e)
{
	if (axis < -(int64_t)rank || axis >= (int64_t)rank)
		return refuse(c, e, "axis %lld is outside of %u dimensions", (long long)axis, rank);
	*out = (unsigned)(axis < 0 ? axis + rank : axis);
	return 0;
}

/* The same elements as an image of another shape: only the network's input can be read so, since nothing has
 * given it a shape yet. */
static int reshape_input(struct import *im, uint32_t node, struct shape s)
{
	if (node != 0 || im->g->n != 1 || s.c > NN_MAX_CHANNELS)
		return -1;
	im->g->nodes[0].shape = s;
	return 0;
}

/* Input i as (1, c, h, w) in the order of its node; refuses what is not an image. */
int call_image(struct import *im, const struct call *c, size_t i, struct shape *s, struct err *e)
{
	const struct val *v = call_in(c, i);
	struct shape own;

	if (!v || v->kind != VAL_ACT)
		return refuse(c, e, "input %zu must depend on the image", i);
	if (v->rank != 4 || v->dims[0] != 1)
		return refuse(c, e,
			      "only tensors (1, channels, height, width) are accepted here; export a 2-D "
			      "network with batch 1 or a symbolic batch");
	if (v->order)
		return refuse(c, e, "the tensor is transposed; keep images in NCHW order up to here");
	*s = (struct shape){(uint32_t)v->dims[1], (uint32_t)v->dims[2], (uint32_t)v->dims[3]};
	own = im->g->nodes[v->node].shape;
	if ((own.c != s->c || own.h != s->h || own.w != s->w) && reshape_input(im, v->node, *s))
		return refuse(c, e,
			      "a vector or image of %u x %u x %u was reshaped to %u x %u x %u, which is only "
			      "supported at the network's input",
			      own.c, own.h, own.w, s->c, s->h, s->w);
	return 0;
}

int call_node(struct import *im, const struct call *c, enum nn_kind kind, struct shape s,
	      const uint32_t *inputs, uint32_t n, uint32_t *node, struct err *e)
{
	uint64_t size = (uint64_t)s.c * s.h;

	if (!s.c || !s.h || !s.w)
		return refuse(c, e, "the result is empty (%u x %u x %u)", s.c, s.h, s.w);
	if (size > NN_MAX_ELEMENTS || size * s.w > NN_MAX_ELEMENTS)
		return refuse(c, e, "the result of %u x %u x %u exceeds %u elements", s.c, s.h, s.w,
			      NN_MAX_ELEMENTS);
	return graph_add(im->g, &im->cap, kind, c->name, s, inputs, n, node, e);
}

int call_result(const struct call *c, uint32_t node, unsigned rank, const int64_t *dims, struct err *e)
{
	c->out->kind = VAL_ACT;
	c->out->node = node;
	return val_dims(c->out, rank, dims, e);
}

int call_result_image(const struct call *c, uint32_t node, struct shape s, struct err *e)
{
	int64_t dims[4] = {1, s.c, s.h, s.w};

	return call_result(c, node, 4, dims, e);
}

/* An elementwise result: the shape and the order of x. */
int call_like(const struct call *c, uint32_t node, const struct val *x)
{
	c->out->kind = VAL_ACT;
	c->out->node = node;
	c->out->rank = x->rank;
	c->out->n = x->n;
	c->out->order = x->order;
	memcpy(c->out->dims, x->dims, sizeof(x->dims));
	return 0;
}

float *call_floats_new(struct import *im, size_t n, struct err *e)
{
	float *p;

	if (import_spend(im, n, sizeof(float), e))
		return NULL;
	p = calloc(n ? n : 1, sizeof(float));
	if (!p)
		err_set(e, ERR_ENV, "out of memory for %zu weights", n);
	return p;
}
