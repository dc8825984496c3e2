/* SPDX-License-Identifier: Apache-2.0 */
/* Constant evaluation: arithmetic with numpy's broadcasting. */
#include "nn/onnx.h"

#include <math.h>
#include <string.h>

/* The element of v that stands at position `at` of a tensor of shape dims (v's dimensions are aligned to the
 * right). */
size_t bcast_index(const struct val *v, unsigned rank, const int64_t *dims, size_t at)
{
	size_t index = 0, stride = 1;

	if (v->n == 1)
		return 0;
	for (unsigned d = rank; d-- > 0;) {
		size_t pos = at % (size_t)dims[d];
		unsigned back = rank - d;
		at /= (size_t)dims[d];
		if (back > v->rank)
			break;
		if (v->dims[v->rank - back] != 1)
			index += pos * stride;
		stride *= (size_t)v->dims[v->rank - back];
	}
	return index;
}

static int bcast_dims(struct call *c, unsigned *rank, int64_t dims[ONNX_MAX_RANK], struct err *e)
{
	*rank = 0;
	for (size_t j = 0; j < c->n_in; j++) {
		if (!c->in[j])
			return refuse(c, e, "input %zu is missing", j);
		if (c->in[j]->rank > *rank)
			*rank = c->in[j]->rank;
	}
	for (unsigned d = 0; d < *rank; d++) {
		dims[d] = 1;
		for (size_t j = 0; j < c->n_in; j++) {
			const struct val *v = c->in[j];
			int64_t own = d + v->rank < *rank ? 1 : v->dims[d + v->rank - *rank];
			if (own != 1 && dims[d] != 1 && own != dims[d])
				return refuse(c, e, "the shapes do not broadcast");
			dims[d] = own != 1 ? own : dims[d];
		}
	}
	return 0;
}

static double float_op(const char *op, double a, double b)
{
	if (!strcmp(op, "Add"))
		return a + b;
	if (!strcmp(op, "Sub"))
		return a - b;
	if (!strcmp(op, "Mul"))
		return a * b;
	if (!strcmp(op, "Div"))
		return a / b;
	if (!strcmp(op, "Pow"))
		return pow(a, b);
	if (!strcmp(op, "Min"))
		return fmin(a, b);
	return fmax(a, b);
}

static int int_op(const char *op, int64_t a, int64_t b, int64_t *r)
{
	if (!strcmp(op, "Add"))
		return __builtin_add_overflow(a, b, r);
	if (!strcmp(op, "Sub"))
		return __builtin_sub_overflow(a, b, r);
	if (!strcmp(op, "Mul"))
		return __builtin_mul_overflow(a, b, r);
	if (!strcmp(op, "Div")) {
		if (b == 0 || (a == INT64_MIN && b == -1))
			return 1;
		*r = a / b;
		return 0;
	}
	if (!strcmp(op, "Pow"))
		return 1;
	*r = !strcmp(op, "Min") ? (a < b ? a : b) : (a > b ? a : b);
	return 0;
}

static int compare(const char *op, double a, double b)
{
	if (!strcmp(op, "Equal"))
		return a == b;
	return !strcmp(op, "Less") ? a < b : a > b;
}

static int is_compare(const char *op)
{
	return !strcmp(op, "Equal") || !strcmp(op, "Less") || !strcmp(op, "Greater");
}

static int binary_one(struct call *c, size_t j, const struct val *a, size_t ka, const struct val *b,
		      size_t kb, struct err *e)
{
	if (is_compare(c->op))
		c->out->i[j] = a->i ? compare(c->op, (double)a->i[ka], (double)b->i[kb])
				    : compare(c->op, a->f[ka], b->f[kb]);
	else if (!a->i)
		c->out->f[j] = (float)float_op(c->op, a->f[ka], b->f[kb]);
	else if (int_op(c->op, a->i[ka], b->i[kb], &c->out->i[j]))
		return refuse(c, e, "integer overflow or division by zero in a constant");
	return 0;
}

int op_const_binary(struct import *im, struct call *c, struct err *e)
{
	int64_t dims[ONNX_MAX_RANK];
	const struct val *a, *b;
	unsigned rank;

	if (bcast_dims(c, &rank, dims, e))
		return -1;
	a = call_in(c, 0);
	b = call_in(c, 1);
	if (c->n_in != 2 || !a->i != !b->i)
		return refuse(c, e, "two constants of one type are needed");
	if (val_new_const(im, c->out, a->i != NULL || is_compare(c->op), rank, dims, e))
		return -1;
	for (size_t j = 0; j < c->out->n; j++)
		if (binary_one(c, j, a, bcast_index(a, rank, dims, j), b, bcast_index(b, rank, dims, j), e))
			return -1;
	return 0;
}

static double unary(const char *op, double x)
{
	if (!strcmp(op, "Sqrt"))
		return sqrt(x);
	if (!strcmp(op, "Floor"))
		return floor(x);
	if (!strcmp(op, "Ceil"))
		return ceil(x);
	if (!strcmp(op, "Reciprocal"))
		return 1 / x;
	if (!strcmp(op, "Exp"))
		return exp(x);
	return -x;
}

int op_const_unary(struct import *im, struct call *c, struct err *e)
{
	const struct val *v = call_in(c, 0);

	if (!v || v->kind != VAL_CONST)
		return refuse(c, e, "a constant is needed");
	if (v->i && strcmp(c->op, "Neg"))
		return refuse(c, e, "a float constant is needed");
	if (val_new_const(im, c->out, v->i != NULL, v->rank, v->dims, e))
		return -1;
	for (size_t j = 0; j < v->n; j++) {
		if (v->i)
			c->out->i[j] = (int64_t)(0 - (uint64_t)v->i[j]);
		else
			c->out->f[j] = (float)unary(c->op, v->f[j]);
	}
	return 0;
}

int op_const_expand(struct import *im, struct call *c, struct err *e)
{
	const struct val *v = call_in(c, 0);
	struct val like = {.rank = 0}, *both[2] = {call_in(c, 0), &like};
	struct call shapes = *c;
	int64_t dims[ONNX_MAX_RANK];
	const int64_t *want;
	unsigned rank;
	size_t n;

	if (call_ints(c, 1, "", &want, &n, e))
		return -1;
	if (!v || v->kind != VAL_CONST || n > ONNX_MAX_RANK)
		return refuse(c, e, "a constant and a constant shape are needed");
	like.name = c->out->name;
	shapes.in = both;
	shapes.n_in = 2;
	if (val_dims(&like, (unsigned)n, want, e) || bcast_dims(&shapes, &rank, dims, e) ||
	    val_new_const(im, c->out, v->i != NULL, rank, dims, e))
		return -1;
	for (size_t j = 0; j < c->out->n; j++)
		val_copy_one(c->out, j, v, bcast_index(v, rank, dims, j));
	return 0;
}

/* Where(condition, a, b) */
int op_const_where(struct import *im, struct call *c, struct err *e)
{
	int64_t dims[ONNX_MAX_RANK];
	unsigned rank;

	if (bcast_dims(c, &rank, dims, e))
		return -1;
	if (c->n_in != 3 || !c->in[0]->i || !c->in[1]->i != !c->in[2]->i)
		return refuse(c, e, "a boolean and two constants of one type are needed");
	if (val_new_const(im, c->out, c->in[1]->i != NULL, rank, dims, e))
		return -1;
	for (size_t j = 0; j < c->out->n; j++) {
		const struct val *v = c->in[c->in[0]->i[bcast_index(c->in[0], rank, dims, j)] ? 1 : 2];

		val_copy_one(c->out, j, v, bcast_index(v, rank, dims, j));
	}
	return 0;
}
