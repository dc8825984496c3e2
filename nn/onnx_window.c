/* SPDX-License-Identifier: Apache-2.0 */
/* Operators with a sliding window: convolutions, pools, padding. */
#include "nn/onnx.h"

#include <stdlib.h>
#include <string.h>

/* One axis: output y covers y*stride - begin + i*dilation, 0 <= i < k. */
struct axis {
	int64_t in, k, stride, dilation, begin, end, out;
};

static int axis_read(const struct call *c, unsigned d, struct axis *a, struct err *e)
{
	const int64_t *list;
	size_t n;

	if (attr_ints(c, "strides", &list, &n, e))
		return -1;
	a->stride = n ? list[d] : 1;
	if (n && n != 2)
		goto two;
	if (attr_ints(c, "dilations", &list, &n, e))
		return -1;
	a->dilation = n ? list[d] : 1;
	if (n && n != 2)
		goto two;
	if (attr_ints(c, "pads", &list, &n, e))
		return -1;
	if (n && n != 4)
		goto two;
	a->begin = n ? list[d] : 0;
	a->end = n ? list[d + 2] : 0;
	if (a->k < 1 || a->k > ONNX_MAX_EXTENT || a->stride < 1 || a->stride > ONNX_MAX_EXTENT ||
	    a->dilation < 1 || a->dilation > ONNX_MAX_EXTENT || a->begin < 0 || a->begin > ONNX_MAX_EXTENT ||
	    a->end < 0 || a->end > ONNX_MAX_EXTENT)
		return refuse(c, e,
			      "kernel %lld, stride %lld, dilation %lld, pads %lld and %lld must lie in 1 "
			      "(pads: 0) to %d",
			      (long long)a->k, (long long)a->stride, (long long)a->dilation,
			      (long long)a->begin, (long long)a->end, ONNX_MAX_EXTENT);
	return 0;
two:
	return refuse(c, e,
		      "strides, dilations and pads must be two-dimensional; only 2-D images are supported");
}

/* Number of outputs, and the pads of auto_pad. With ceil_mode a window that would start behind the left pad
 * and the input is dropped. */
static int axis_outputs(const struct call *c, struct axis *a, int ceil_mode, struct err *e)
{
	int64_t reach = (a->k - 1) * a->dilation + 1, room, pad;

	if (attr_is(c, "auto_pad", "NOTSET", "SAME_UPPER") ||
	    attr_is(c, "auto_pad", "NOTSET", "SAME_LOWER")) {
		a->out = (a->in + a->stride - 1) / a->stride;
		pad = (a->out - 1) * a->stride + reach - a->in;
		pad = pad > 0 ? pad : 0;
		a->begin = attr_is(c, "auto_pad", "NOTSET", "SAME_UPPER") ? pad / 2 : pad - pad / 2;
		a->end = pad - a->begin;
		return 0;
	}
	if (attr_is(c, "auto_pad", "NOTSET", "VALID"))
		a->begin = a->end = 0;
	else if (!attr_is(c, "auto_pad", "NOTSET", "NOTSET"))
		return refuse(c, e, "unknown auto_pad");
	room = a->in + a->begin + a->end - reach;
	if (room < 0)
		return refuse(c, e,
			      "a window of %lld does not fit %lld padded elements; use a larger image or a "
			      "smaller kernel",
			      (long long)reach, (long long)(a->in + a->begin + a->end));
	a->out = (room + (ceil_mode ? a->stride - 1 : 0)) / a->stride + 1;
	if (ceil_mode && (a->out - 1) * a->stride >= a->in + a->begin)
		a->out--;
	return 0;
}

static int window_read(const struct call *c, struct shape in, const int64_t k[2], int ceil_mode,
		       struct window *w, struct axis ax[2], struct err *e)
{
	for (unsigned d = 0; d < 2; d++) {
		ax[d] = (struct axis){.in = d ? in.w : in.h, .k = k[d]};
		if (axis_read(c, d, &ax[d], e) || axis_outputs(c, &ax[d], ceil_mode, e))
			return -1;
	}
	if (ax[0].out > NN_MAX_ELEMENTS || ax[1].out > NN_MAX_ELEMENTS)
		return refuse(c, e, "the result exceeds %u elements", NN_MAX_ELEMENTS);
	*w = (struct window){.in = in,
			     .out = {in.c, (uint32_t)ax[0].out, (uint32_t)ax[1].out},
			     .kh = (uint32_t)k[0],
			     .kw = (uint32_t)k[1],
			     .sh = (uint32_t)ax[0].stride,
			     .sw = (uint32_t)ax[1].stride,
			     .dh = (uint32_t)ax[0].dilation,
			     .dw = (uint32_t)ax[1].dilation,
			     .pt = (int32_t)ax[0].begin,
			     .pl = (int32_t)ax[1].begin};
	return 0;
}

/* The weights' own shape is what counts; groups divide both sides. */
static int conv_check(const struct call *c, const struct val *w, struct shape in, int64_t groups,
		      struct err *e)
{
	const int64_t *kernel;
	size_t n;

	if (w->rank != 4 || !w->n)
		return refuse(c, e,
			      "weights must be (filters, channels/groups, height, width); only 2-D "
			      "convolutions are supported");
	if (groups < 1 || w->dims[0] % groups || in.c % groups || w->dims[1] != in.c / groups)
		return refuse(c, e, "%u channels in %lld groups do not fit the weights", in.c,
			      (long long)groups);
	if (attr_ints(c, "kernel_shape", &kernel, &n, e))
		return -1;
	if (n && (n != 2 || kernel[0] != w->dims[2] || kernel[1] != w->dims[3]))
		return refuse(c, e, "kernel_shape differs from the weights' shape");
	return 0;
}

int op_conv(struct import *im, struct call *c, struct err *e)
{
	const struct val *w, *b = NULL;
	struct axis ax[2];
	struct window win;
	struct shape in;
	struct node *node;
	int64_t groups;
	uint32_t index;

	if (call_image(im, c, 0, &in, e) || call_floats(c, 1, &w, e) || attr_int(c, "group", 1, &groups, e) ||
	    conv_check(c, w, in, groups, e) || window_read(c, in, w->dims + 2, 0, &win, ax, e))
		return -1;
	if (call_in(c, 2) && call_floats(c, 2, &b, e))
		return -1;
	if (b && (int64_t)b->n != w->dims[0])
		return refuse(c, e, "bias '%.60s' has %zu elements for %lld filters", b->name, b->n,
			      (long long)w->dims[0]);
	win.out.c = (uint32_t)w->dims[0];
	if (call_node(im, c, NN_CONV, win.out, &c->in[0]->node, 1, &index, e))
		return -1;
	node = &im->g->nodes[index];
	node->win = win;
	node->groups = (uint32_t)groups;
	node->weights = call_floats_new(im, w->n, e);
	node->bias = call_floats_new(im, win.out.c, e);
	if (!node->weights || !node->bias)
		return -1;
	memcpy(node->weights, w->f, w->n * sizeof(float));
	if (b)
		memcpy(node->bias, b->f, b->n * sizeof(float));
	return call_result_image(c, index, win.out, e);
}

static int pool_window(struct import *im, struct call *c, struct window *win, struct axis ax[2],
		       struct err *e)
{
	const int64_t *kernel;
	struct shape in;
	int64_t ceil_mode;
	size_t n;

	if (call_image(im, c, 0, &in, e) || attr_ints(c, "kernel_shape", &kernel, &n, e) ||
	    attr_int(c, "ceil_mode", 0, &ceil_mode, e))
		return -1;
	if (n != 2)
		return refuse(c, e, "kernel_shape must have two elements; only 2-D images are supported");
	return window_read(c, in, kernel, ceil_mode != 0, win, ax, e);
}

/* How many positions of the window of output y lie in [from, to). */
static uint64_t taps(const struct axis *a, int64_t y, int64_t from, int64_t to)
{
	int64_t start = y * a->stride - a->begin, first, last;

	first = start >= from ? 0 : (from - start + a->dilation - 1) / a->dilation;
	last = to <= start ? 0 : (to - start + a->dilation - 1) / a->dilation;
	last = last > a->k ? a->k : last;
	return last > first ? (uint64_t)(last - first) : 0;
}

/* A window that covers no element has no maximum and no mean. */
static int pool_covers(const struct call *c, const struct axis ax[2], struct err *e)
{
	for (unsigned d = 0; d < 2; d++)
		for (int64_t y = 0; y < ax[d].out; y++)
			if (!taps(&ax[d], y, 0, ax[d].in))
				return refuse(
				    c, e,
				    "a window lies wholly in the padding; use pads smaller than the kernel");
	return 0;
}

int op_maxpool(struct import *im, struct call *c, struct err *e)
{
	struct window win;
	struct axis ax[2];
	int64_t order;
	uint32_t index;

	if (pool_window(im, c, &win, ax, e) || attr_int(c, "storage_order", 0, &order, e))
		return -1;
	if (order)
		return refuse(c, e, "column-major storage_order is not supported");
	if (call_node(im, c, NN_MAXPOOL, win.out, &c->in[0]->node, 1, &index, e) || pool_covers(c, ax, e))
		return -1;
	im->g->nodes[index].win = win;
	return call_result_image(c, index, win.out, e);
}

/* divisor = elements covered, zeros of the pads counted if asked; what ceil_mode adds behind the pads never
 * counts. */
static int average(struct import *im, struct call *c, const struct window *win, const struct axis ax[2],
		   int count_pad, uint32_t *index, struct err *e)
{
	uint32_t *divisors;
	int64_t y, x;

	if (call_node(im, c, NN_AVGPOOL, win->out, &c->in[0]->node, 1, index, e) || pool_covers(c, ax, e) ||
	    import_spend(im, (size_t)win->out.h * win->out.w, sizeof(*divisors), e))
		return -1;
	divisors = calloc((size_t)win->out.h * win->out.w, sizeof(*divisors));
	if (!divisors)
		return err_set(e, ERR_ENV, "out of memory for a pool");
	im->g->nodes[*index].win = *win;
	im->g->nodes[*index].divisors = divisors;
	for (y = 0; y < ax[0].out; y++) {
		uint64_t rows = count_pad ? taps(&ax[0], y, -ax[0].begin, ax[0].in + ax[0].end)
					  : taps(&ax[0], y, 0, ax[0].in);
		for (x = 0; x < ax[1].out; x++) {
			uint64_t cols = count_pad ? taps(&ax[1], x, -ax[1].begin, ax[1].in + ax[1].end)
						  : taps(&ax[1], x, 0, ax[1].in);
			divisors[(size_t)y * win->out.w + (size_t)x] = (uint32_t)(rows * cols);
		}
	}
	return 0;
}

int op_avgpool(struct import *im, struct call *c, struct err *e)
{
	struct window win;
	struct axis ax[2];
	int64_t count_pad;
	uint32_t index;

	if (pool_window(im, c, &win, ax, e) || attr_int(c, "count_include_pad", 0, &count_pad, e) ||
	    average(im, c, &win, ax, count_pad != 0, &index, e))
		return -1;
	return call_result_image(c, index, win.out, e);
}

static int whole_mean(struct import *im, struct call *c, struct shape *in, uint32_t *index, struct err *e)
{
	struct axis ax[2];
	struct window win;

	if (call_image(im, c, 0, in, e))
		return -1;
	for (unsigned d = 0; d < 2; d++)
		ax[d] = (struct axis){
		    .in = d ? in->w : in->h, .k = d ? in->w : in->h, .stride = 1, .dilation = 1, .out = 1};
	win = (struct window){
	    .in = *in, .out = {in->c, 1, 1}, .kh = in->h, .kw = in->w, .sh = 1, .sw = 1, .dh = 1, .dw = 1};
	return average(im, c, &win, ax, 0, index, e);
}

int op_globalpool(struct import *im, struct call *c, struct err *e)
{
	struct shape in;
	uint32_t index;

	if (whole_mean(im, c, &in, &index, e))
		return -1;
	return call_result_image(c, index, (struct shape){in.c, 1, 1}, e);
}

/* The mean over height and width is a global pool. */
int op_reduce_mean(struct import *im, struct call *c, struct err *e)
{
	int64_t keep, dims[2] = {1, 0};
	const int64_t *list;
	struct shape in;
	unsigned a, b;
	uint32_t index;
	size_t n;

	if (call_image(im, c, 0, &in, e) || call_ints(c, 1, "axes", &list, &n, e) ||
	    attr_int(c, "keepdims", 1, &keep, e))
		return -1;
	if (n != 2 || call_axis(c, list[0], 4, &a, e) || call_axis(c, list[1], 4, &b, e) || a + b != 5 ||
	    (a != 2 && a != 3))
		return refuse(c, e, "only the mean over height and width is supported");
	if (whole_mean(im, c, &in, &index, e))
		return -1;
	dims[1] = in.c;
	return keep ? call_result_image(c, index, (struct shape){in.c, 1, 1}, e)
		    : call_result(c, index, 2, dims, e);
}

/* pads[d] and pads[rank + d] for every dimension, from any of the three forms (attribute; input; input with
 * axes). */
static int pad_read(struct call *c, const struct val *v, int64_t pads[2 * ONNX_MAX_RANK], struct err *e)
{
	const int64_t *list, *axes;
	size_t n, n_axes, j;
	unsigned axis;
	float value;

	if (call_ints(c, 1, "pads", &list, &n, e) || call_ints(c, 3, "", &axes, &n_axes, e) ||
	    call_scalar(c, 2, "value", 0, &value, e))
		return -1;
	if (!attr_is(c, "mode", "constant", "constant") || value != 0)
		return refuse(c, e, "only padding with the constant 0 is supported");
	n_axes = axes ? n_axes : v->rank;
	if (n != 2 * n_axes)
		return refuse(c, e, "%zu pads for %zu dimensions", n, n_axes);
	memset(pads, 0, 2 * ONNX_MAX_RANK * sizeof(*pads));
	for (j = 0; j < n_axes; j++) {
		if (call_axis(c, axes ? axes[j] : (int64_t)j, v->rank, &axis, e))
			return -1;
		pads[axis] = list[j];
		pads[v->rank + axis] = list[n_axes + j];
	}
	return 0;
}

int op_pad(struct import *im, struct call *c, struct err *e)
{
	int64_t pads[2 * ONNX_MAX_RANK];
	const struct val *v = call_in(c, 0);
	struct window win;
	struct shape in;
	uint32_t index;
	unsigned j, any = 0;

	if (!v)
		return refuse(c, e, "input 0 is missing");
	if (pad_read(c, v, pads, e))
		return -1;
	for (j = 0; j < 2 * v->rank; j++)
		any |= pads[j] != 0;
	if (!any)
		return op_identity(im, c, e);
	if (call_image(im, c, 0, &in, e))
		return -1;
	for (j = 0; j < 8; j++)
		if (pads[j] < 0 || pads[j] > ONNX_MAX_EXTENT || (j % 4 < 2 && pads[j]))
			return refuse(c, e,
				      "only non-negative padding of height and width is supported; crop "
				      "images before they enter");
	win = (struct window){
	    .in = in,
	    .out = {in.c, in.h + (uint32_t)(pads[2] + pads[6]), in.w + (uint32_t)(pads[3] + pads[7])},
	    .kh = 1,
	    .kw = 1,
	    .sh = 1,
	    .sw = 1,
	    .dh = 1,
	    .dw = 1,
	    .pt = (int32_t)pads[2],
	    .pl = (int32_t)pads[3]};
	if (call_node(im, c, NN_PAD, win.out, &v->node, 1, &index, e))
		return -1;
	im->g->nodes[index].win = win;
	return call_result_image(c, index, win.out, e);
}
