/* SPDX-License-Identifier: Apache-2.0 */
/* Operators that only relabel: the elements stay, their names change. They work on constants and on
 * activations. */
#include "nn/onnx.h"

#include <string.h>

/* out = in with other dimensions of the same product. */
static int relabel(struct call *c, unsigned rank, const int64_t *dims, struct err *e)
{
	const struct val *in = call_in(c, 0);
	char text[ONNX_SHAPE_TEXT];
	struct val to = *c->out;

	if (val_dims(&to, rank, dims, e))
		return -1;
	if (to.n != in->n)
		return refuse(c, e,
			      "%zu elements do not fit shape %s; export with batch 1 or a symbolic batch",
			      in->n, dims_text(text, rank, dims));
	to.kind = in->kind;
	to.f = in->f;
	to.i = in->i;
	to.node = in->node;
	to.order = in->order;
	to.output = in->output;
	*c->out = to;
	c->status = in->kind == VAL_CONST ? "constant" : "folded";
	return 0;
}

static int first(const struct call *c, const struct val **v, struct err *e)
{
	*v = call_in(c, 0);
	return *v ? 0 : refuse(c, e, "input 0 is missing");
}

int op_identity(struct import *im, struct call *c, struct err *e)
{
	const struct val *v;

	return first(c, &v, e) ? -1 : relabel(c, v->rank, v->dims, e);
}

int op_dropout(struct import *im, struct call *c, struct err *e)
{
	const struct val *v, *training = call_in(c, 2);

	if (training && (training->kind != VAL_CONST || training->n != 1 || !training->i || training->i[0]))
		return refuse(c, e, "exported in training mode; call model.eval() before exporting");
	return first(c, &v, e) ? -1 : relabel(c, v->rank, v->dims, e);
}

/* shape[j]: 0 copies the dimension (unless allowzero), one -1 is what remains. */
int op_reshape(struct import *im, struct call *c, struct err *e)
{
	int64_t dims[ONNX_MAX_RANK], allow_zero;
	const int64_t *want;
	const struct val *v;
	size_t n, j, known = 1, open = ONNX_MAX_RANK;

	if (first(c, &v, e) || call_ints(c, 1, "shape", &want, &n, e) ||
	    attr_int(c, "allowzero", 0, &allow_zero, e))
		return -1;
	if (n > ONNX_MAX_RANK || (!want && n))
		return refuse(c, e, "%zu dimensions: at most %d are accepted", n, ONNX_MAX_RANK);
	for (j = 0; j < n; j++) {
		dims[j] = want[j];
		if (want[j] == 0 && !allow_zero)
			dims[j] = j < v->rank ? v->dims[j] : 0;
		if (dims[j] < -1 || dims[j] > NN_MAX_ELEMENTS || (dims[j] == -1 && open < n))
			return refuse(c, e, "shape holds %lld at position %zu", (long long)dims[j], j);
		if (dims[j] == -1)
			open = j;
		else if (__builtin_mul_overflow(known, (size_t)dims[j], &known))
			return refuse(c, e, "the shape overflows");
	}
	if (open < n)
		dims[open] = known && v->n % known == 0 ? (int64_t)(v->n / known) : 0;
	return relabel(c, (unsigned)n, dims, e);
}

int op_flatten(struct import *im, struct call *c, struct err *e)
{
	int64_t axis, dims[2] = {1, 1};
	const struct val *v;
	unsigned j;

	if (first(c, &v, e) || attr_int(c, "axis", 1, &axis, e))
		return -1;
	if (axis < -(int64_t)v->rank || axis > (int64_t)v->rank)
		return refuse(c, e, "axis %lld is outside of %u dimensions", (long long)axis, v->rank);
	axis += axis < 0 ? v->rank : 0;
	for (j = 0; j < v->rank; j++)
		dims[j >= axis] *= v->dims[j];
	return relabel(c, 2, dims, e);
}

/* marks[j] = 1 for each listed axis of `rank` dimensions. */
static int axes(struct call *c, unsigned rank, const int64_t *list, size_t n, uint8_t marks[ONNX_MAX_RANK],
		struct err *e)
{
	unsigned axis;

	memset(marks, 0, ONNX_MAX_RANK);
	for (size_t j = 0; j < n; j++) {
		if (call_axis(c, list[j], rank, &axis, e))
			return -1;
		if (marks[axis]++)
			return refuse(c, e, "axis %u is listed twice", axis);
	}
	return 0;
}

int op_squeeze(struct import *im, struct call *c, struct err *e)
{
	int64_t dims[ONNX_MAX_RANK];
	uint8_t drop[ONNX_MAX_RANK];
	const int64_t *list;
	const struct val *v;
	unsigned j, rank = 0;
	size_t n;

	if (first(c, &v, e) || call_ints(c, 1, "axes", &list, &n, e) || axes(c, v->rank, list, n, drop, e))
		return -1;
	for (j = 0; j < v->rank; j++) {
		if (list ? drop[j] : v->dims[j] == 1) {
			if (v->dims[j] != 1)
				return refuse(c, e, "dimension %u has %lld elements and cannot be squeezed",
					      j, (long long)v->dims[j]);
		} else {
			dims[rank++] = v->dims[j];
		}
	}
	return relabel(c, rank, dims, e);
}

int op_unsqueeze(struct import *im, struct call *c, struct err *e)
{
	int64_t dims[ONNX_MAX_RANK];
	uint8_t add[ONNX_MAX_RANK];
	const int64_t *list;
	const struct val *v;
	unsigned j, at = 0, rank;
	size_t n;

	if (first(c, &v, e) || call_ints(c, 1, "axes", &list, &n, e))
		return -1;
	if (n > ONNX_MAX_RANK || v->rank + n > ONNX_MAX_RANK)
		return refuse(c, e, "more than %d dimensions", ONNX_MAX_RANK);
	rank = v->rank + (unsigned)n;
	if (axes(c, rank, list, n, add, e))
		return -1;
	for (j = 0; j < rank; j++)
		dims[j] = add[j] ? 1 : v->dims[at++];
	return relabel(c, rank, dims, e);
}

static int permutation(struct call *c, const struct val *v, int64_t perm[ONNX_MAX_RANK], struct err *e)
{
	uint8_t seen[ONNX_MAX_RANK];
	const int64_t *list;
	size_t n, j;

	if (attr_ints(c, "perm", &list, &n, e))
		return -1;
	if (list && n != v->rank)
		return refuse(c, e, "perm names %zu of %u dimensions", n, v->rank);
	for (j = 0; j < v->rank; j++)
		perm[j] = list ? list[j] : (int64_t)(v->rank - 1 - j);
	return axes(c, v->rank, perm, v->rank, seen, e);
}

/* from[j]: which element of v becomes element j. Returns 1 when that is j everywhere. */
static int permute(const struct val *v, const int64_t *perm, const int64_t *dims, uint32_t *from)
{
	size_t stride[ONNX_MAX_RANK], step[ONNX_MAX_RANK], j, at = 0;
	int64_t pos[ONNX_MAX_RANK] = {0};
	int same = 1;
	unsigned d;

	for (d = v->rank, j = 1; d-- > 0; j *= (size_t)v->dims[d])
		stride[d] = j;
	for (d = 0; d < v->rank; d++)
		step[d] = stride[perm[d] < 0 ? perm[d] + v->rank : perm[d]];
	for (j = 0; j < v->n; j++) {
		from[j] = (uint32_t)at;
		same &= at == j;
		for (d = v->rank; d-- > 0;) {
			at += step[d];
			if (++pos[d] < dims[d])
				break;
			at -= step[d] * (size_t)dims[d];
			pos[d] = 0;
		}
	}
	return same;
}

static int permute_const(struct import *im, struct call *c, const struct val *v, const uint32_t *from,
			 struct err *e)
{
	if (val_new_const(im, c->out, v->i != NULL, c->out->rank, c->out->dims, e))
		return -1;
	for (size_t j = 0; j < v->n; j++) {
		if (v->i)
			c->out->i[j] = v->i[from[j]];
		else
			c->out->f[j] = v->f[from[j]];
	}
	c->status = "constant";
	return 0;
}

/* An activation keeps its elements where they are: the value remembers the order, a dense layer permutes its
 * columns by it. */
int op_transpose(struct import *im, struct call *c, struct err *e)
{
	int64_t perm[ONNX_MAX_RANK], dims[ONNX_MAX_RANK];
	const struct val *v;
	uint32_t *from;
	int same = 1;

	if (first(c, &v, e) || permutation(c, v, perm, e))
		return -1;
	for (unsigned d = 0; d < v->rank; d++)
		dims[d] = v->dims[perm[d] < 0 ? perm[d] + v->rank : perm[d]];
	from = import_alloc(im, v->n, sizeof(*from), e);
	if (!from)
		return -1;
	same = permute(v, perm, dims, from);
	if (relabel(c, v->rank, dims, e))
		return -1;
	if (v->kind == VAL_CONST)
		return permute_const(im, c, v, from, e);
	if (v->order && !same) {
		for (size_t j = 0; j < v->n; j++)
			from[j] = v->order[from[j]];
		for (size_t j = same = 1; j < v->n; j++)
			same &= from[j] == j;
		same &= from[0] == 0;
		c->out->order = same ? NULL : from;
	} else if (!same) {
		c->out->order = from;
	}
	return 0;
}

int op_cast(struct import *im, struct call *c, struct err *e)
{
	const struct val *v;
	int to_int;
	int64_t to;

	if (first(c, &v, e) || attr_int(c, "to", 0, &to, e))
		return -1;
	if (v->kind == VAL_ACT) {
		if (to != ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT && v->output != NN_OUT_ARGMAX)
			return refuse(c, e, "cast to element type %lld: only float32 networks are accepted",
				      (long long)to);
		return relabel(c, v->rank, v->dims, e);
	}
	to_int = to == ONNX__TENSOR_PROTO__DATA_TYPE__INT64 || to == ONNX__TENSOR_PROTO__DATA_TYPE__INT32 ||
		 to == ONNX__TENSOR_PROTO__DATA_TYPE__BOOL;
	if (!to_int && to != ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT &&
	    to != ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE)
		return refuse(c, e, "cast of a constant to element type %lld is not supported",
			      (long long)to);
	if (val_new_const(im, c->out, to_int, v->rank, v->dims, e))
		return -1;
	for (size_t j = 0; j < v->n; j++) {
		double d = v->i ? (double)v->i[j] : v->f[j];
		if (!to_int) {
			c->out->f[j] = v->i ? (float)v->i[j] : v->f[j];
			continue;
		}
		if (!v->i && !(d > -9e18 && d < 9e18))
			return refuse(c, e, "a constant does not fit an integer");
		c->out->i[j] = to == ONNX__TENSOR_PROTO__DATA_TYPE__BOOL ? d != 0
			       : v->i					 ? v->i[j]
									 : (int64_t)d;
	}
	c->status = "constant";
	return 0;
}

/* Shape of anything is known: the batch is 1. */
int op_shape(struct import *im, struct call *c, struct err *e)
{
	const struct val *v;
	int64_t begin, end, n, rank;

	if (first(c, &v, e) || attr_int(c, "start", 0, &begin, e) || attr_int(c, "end", v->rank, &end, e))
		return -1;
	rank = v->rank;
	begin = begin < -rank ? 0 : begin < 0 ? begin + rank : begin > rank ? rank : begin;
	end = end < -rank ? 0 : end < 0 ? end + rank : end > rank ? rank : end;
	n = end > begin ? end - begin : 0;
	if (!strcmp(c->op, "Size")) {
		if (val_new_const(im, c->out, 1, 0, &n, e))
			return -1;
		c->out->i[0] = (int64_t)v->n;
	} else {
		if (val_new_const(im, c->out, 1, 1, &n, e))
			return -1;
		for (int64_t j = 0; j < n; j++)
			c->out->i[j] = v->dims[begin + j];
	}
	c->status = "constant";
	return 0;
}
