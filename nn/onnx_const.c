/* SPDX-License-Identifier: Apache-2.0 */
/* Constant evaluation of what exporters leave around reshapes and pads: selection and assembly of tensors. */
#include "nn/onnx.h"

#include <math.h>
#include <string.h>

static int const_in(const struct call *c, size_t i, const struct val **v, struct err *e)
{
	*v = call_in(c, i);
	if (!*v)
		return refuse(c, e, "input %zu is missing", i);
	return (*v)->kind == VAL_CONST ? 0 : refuse(c, e, "input %zu must be constant", i);
}

static int constant_list(struct import *im, struct call *c, const Onnx__AttributeProto *a, struct err *e)
{
	int is_int = a->n_ints != 0;
	int64_t n = (int64_t)(is_int ? a->n_ints : a->n_floats);

	if (val_new_const(im, c->out, is_int, 1, &n, e))
		return -1;
	if (is_int)
		memcpy(c->out->i, a->ints, (size_t)n * sizeof(int64_t));
	else if (n)
		memcpy(c->out->f, a->floats, (size_t)n * sizeof(float));
	return 0;
}

int op_constant(struct import *im, struct call *c, struct err *e)
{
	const Onnx__AttributeProto *a;
	int is_int;

	c->status = "constant";
	a = attr_find(c, "value");
	if (a && a->t)
		return tensor_decode(im, c->out, a->t, e);
	a = attr_find(c, "value_ints");
	if (!a)
		a = attr_find(c, "value_floats");
	if (a)
		return constant_list(im, c, a, e);
	a = attr_find(c, "value_int");
	is_int = a != NULL;
	if (!a)
		a = attr_find(c, "value_float");
	if (!a)
		return refuse(c, e, "only numeric dense constants are supported");
	if (val_new_const(im, c->out, is_int, 0, NULL, e))
		return -1;
	if (is_int)
		c->out->i[0] = a->i;
	else
		c->out->f[0] = a->f;
	return 0;
}

/* ConstantOfShape: a tensor of one value, float 0 by default. */
int op_fill(struct import *im, struct call *c, struct err *e)
{
	const Onnx__AttributeProto *a = attr_find(c, "value");
	struct val one = {.name = c->out->name};
	const int64_t *dims;
	float zero = 0;
	size_t n;

	one.f = &zero;
	if (call_ints(c, 0, "", &dims, &n, e))
		return -1;
	if (n > ONNX_MAX_RANK)
		return refuse(c, e, "%zu dimensions: at most %d are accepted", n, ONNX_MAX_RANK);
	if (a && a->t && tensor_decode(im, &one, a->t, e))
		return -1;
	if (a && one.n != 1)
		return refuse(c, e, "value must hold one element");
	if (val_new_const(im, c->out, one.i != NULL, (unsigned)n, dims, e))
		return -1;
	for (size_t j = 0; j < c->out->n; j++)
		val_copy_one(c->out, j, &one, 0);
	c->status = "constant";
	return 0;
}

/* Elements before and after an axis. */
static void around(const struct val *v, unsigned axis, size_t *outer, size_t *inner)
{
	*outer = *inner = 1;
	for (unsigned d = 0; d < v->rank; d++) {
		if (d < axis)
			*outer *= (size_t)v->dims[d];
		else if (d > axis)
			*inner *= (size_t)v->dims[d];
	}
}

int op_const_gather(struct import *im, struct call *c, struct err *e)
{
	const struct val *data, *index;
	int64_t axis_attr, dims[2 * ONNX_MAX_RANK], at;
	unsigned axis, rank = 0, d;
	size_t outer, inner, o, j, k;

	if (const_in(c, 0, &data, e) || const_in(c, 1, &index, e) || attr_int(c, "axis", 0, &axis_attr, e) ||
	    call_axis(c, axis_attr, data->rank, &axis, e))
		return -1;
	if (!index->i)
		return refuse(c, e, "indices must be integers");
	for (d = 0; d < axis; d++)
		dims[rank++] = data->dims[d];
	for (d = 0; d < index->rank; d++)
		dims[rank++] = index->dims[d];
	for (d = axis + 1; d < data->rank; d++)
		dims[rank++] = data->dims[d];
	if (val_new_const(im, c->out, data->i != NULL, rank, dims, e))
		return -1;
	around(data, axis, &outer, &inner);
	for (o = 0; o < outer; o++) {
		for (j = 0; j < index->n; j++) {
			at = index->i[j] < 0 ? index->i[j] + data->dims[axis] : index->i[j];
			if (at < 0 || at >= data->dims[axis])
				return refuse(c, e, "index %lld is outside of %lld elements",
					      (long long)index->i[j], (long long)data->dims[axis]);
			for (k = 0; k < inner; k++)
				val_copy_one(c->out, (o * index->n + j) * inner + k, data,
					     (o * (size_t)data->dims[axis] + (size_t)at) * inner + k);
		}
	}
	return 0;
}

/* Dimensions of the concatenation; every input must agree but along the axis. */
static int concat_dims(struct call *c, unsigned axis, int64_t dims[ONNX_MAX_RANK], struct err *e)
{
	const struct val *a = call_in(c, 0), *v;

	memcpy(dims, a->dims, sizeof(a->dims));
	dims[axis] = 0;
	for (size_t j = 0; j < c->n_in; j++) {
		if (const_in(c, j, &v, e))
			return -1;
		if (v->rank != a->rank || !v->i != !a->i)
			return refuse(c, e, "inputs differ in rank or type");
		for (unsigned d = 0; d < v->rank; d++)
			if (d != axis && v->dims[d] != a->dims[d])
				return refuse(c, e, "inputs differ in dimension %u", d);
		if (__builtin_add_overflow(dims[axis], v->dims[axis], &dims[axis]))
			return refuse(c, e, "the result is too large");
	}
	return 0;
}

int op_const_concat(struct import *im, struct call *c, struct err *e)
{
	int64_t axis_attr, dims[ONNX_MAX_RANK];
	const struct val *a;
	size_t outer, inner, o, j, k, at = 0;
	unsigned axis;

	if (const_in(c, 0, &a, e) || attr_int(c, "axis", 0, &axis_attr, e) ||
	    call_axis(c, axis_attr, a->rank, &axis, e) || concat_dims(c, axis, dims, e) ||
	    val_new_const(im, c->out, a->i != NULL, a->rank, dims, e))
		return -1;
	around(a, axis, &outer, &inner);
	for (o = 0; o < outer; o++) {
		for (j = 0; j < c->n_in; j++) {
			size_t run = (size_t)c->in[j]->dims[axis] * inner;
			for (k = 0; k < run; k++)
				val_copy_one(c->out, at++, c->in[j], o * run + k);
		}
	}
	return 0;
}

struct slice {
	int64_t begin[ONNX_MAX_RANK], step[ONNX_MAX_RANK], count[ONNX_MAX_RANK];
};

static int64_t clamp(int64_t x, int64_t lo, int64_t hi)
{
	return x < lo ? lo : x > hi ? hi : x;
}

/* Numpy's rule: negative positions count from the end, then both are clamped; a negative step runs from begin
 * down to end + 1. */
static int slice_axis(struct call *c, struct slice *s, unsigned axis, int64_t n, int64_t begin, int64_t end,
		      int64_t step, struct err *e)
{
	if (step == 0 || step == INT64_MIN)
		return refuse(c, e, "step %lld", (long long)step);
	begin += begin < 0 ? n : 0;
	end += end < 0 ? n : 0;
	if (n == 0) {
		begin = s->count[axis] = 0;
	} else if (step > 0) {
		begin = clamp(begin, 0, n);
		end = clamp(end, 0, n);
		s->count[axis] = end > begin ? (end - begin - 1) / step + 1 : 0;
	} else {
		begin = clamp(begin, 0, n - 1);
		end = clamp(end, -1, n - 1);
		s->count[axis] = begin > end ? (begin - end - 1) / -step + 1 : 0;
	}
	s->begin[axis] = begin;
	s->step[axis] = step;
	return 0;
}

static int slice_read(struct call *c, const struct val *v, struct slice *s, struct err *e)
{
	const int64_t *begin, *end, *list, *step;
	size_t n, n_end, n_list, n_step, j;
	unsigned axis;

	if (call_ints(c, 1, "starts", &begin, &n, e) || call_ints(c, 2, "ends", &end, &n_end, e) ||
	    call_ints(c, 3, "axes", &list, &n_list, e) || call_ints(c, 4, "steps", &step, &n_step, e))
		return -1;
	if (n_end != n || (list && n_list != n) || (step && n_step != n) || n > v->rank)
		return refuse(c, e, "starts, ends, axes and steps differ in length");
	for (axis = 0; axis < v->rank; axis++) {
		s->begin[axis] = 0;
		s->step[axis] = 1;
		s->count[axis] = v->dims[axis];
	}
	for (j = 0; j < n; j++)
		if (call_axis(c, list ? list[j] : (int64_t)j, v->rank, &axis, e) ||
		    slice_axis(c, s, axis, v->dims[axis], begin[j], end[j], step ? step[j] : 1, e))
			return -1;
	return 0;
}

int op_const_slice(struct import *im, struct call *c, struct err *e)
{
	const struct val *v;
	struct slice s;
	size_t j;

	if (const_in(c, 0, &v, e) || slice_read(c, v, &s, e) ||
	    val_new_const(im, c->out, v->i != NULL, v->rank, s.count, e))
		return -1;
	for (j = 0; j < c->out->n; j++) {
		size_t rest = j, stride = 1, from = 0;
		for (unsigned d = v->rank; d-- > 0;) {
			int64_t at = (int64_t)(rest % (size_t)s.count[d]);
			from += (size_t)(s.begin[d] + at * s.step[d]) * stride;
			rest /= (size_t)s.count[d];
			stride *= (size_t)v->dims[d];
		}
		val_copy_one(c->out, j, v, from);
	}
	return 0;
}

/* Range(start, limit, delta) */
int op_const_range(struct import *im, struct call *c, struct err *e)
{
	const struct val *v[3];
	int64_t n;
	double x[3], count;
	size_t j;

	for (j = 0; j < 3; j++) {
		if (const_in(c, j, &v[j], e))
			return -1;
		if (v[j]->n != 1 || !v[j]->i != !v[0]->i)
			return refuse(c, e, "start, limit and delta must be single numbers of one type");
		x[j] = v[j]->i ? (double)v[j]->i[0] : v[j]->f[0];
	}
	count = ceil((x[1] - x[0]) / x[2]);
	if (!(fabs(x[0]) < 1e15 && fabs(x[1]) < 1e15 && fabs(x[2]) < 1e15 && count <= NN_MAX_ELEMENTS))
		return refuse(c, e, "not a range of at most %u elements", NN_MAX_ELEMENTS);
	n = count > 0 ? (int64_t)count : 0;
	if (val_new_const(im, c->out, v[0]->i != NULL, 1, &n, e))
		return -1;
	for (j = 0; j < (size_t)n; j++) {
		if (c->out->i)
			c->out->i[j] = (int64_t)(x[0] + (double)j * x[2]);
		else
			c->out->f[j] = (float)(x[0] + (double)j * x[2]);
	}
	return 0;
}
