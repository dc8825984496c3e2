/* SPDX-License-Identifier: Apache-2.0 */
/* test/nn/net.h — small networks built by hand, without an importer, and reproducible numbers. */
#ifndef OBSCURA_TEST_NN_NET_H
#define OBSCURA_TEST_NN_NET_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "nn/plan.h"

#define NET_NODES 40

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLOW 1
#elif defined(__has_feature)
#define SLOW (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define SLOW 0
#endif

static uint64_t rnd_state = 1;

static inline uint64_t rnd(void)
{
	uint64_t z = rnd_state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* Uniform in [-scale, scale]. */
static inline float rnd_float(float scale)
{
	return scale * ((float)(rnd() % 20001) / 10000 - 1);
}

struct net {
	struct graph g;
	struct node nodes[NET_NODES];
	char names[NET_NODES][16];
	float scale; /* of random weights */
};

static inline void net_input(struct net *n, uint32_t c, uint32_t h, uint32_t w)
{
	memset(n, 0, sizeof(*n));
	n->g.name = "net";
	n->g.nodes = n->nodes;
	n->g.n = 1;
	n->g.pre.scale = 255;
	for (int i = 0; i < NN_MAX_CHANNELS; i++)
		n->g.pre.std[i] = 1;
	n->nodes[0] = (struct node){.kind = NN_INPUT, .name = "pixels", .shape = {c, h, w}};
	n->scale = 0.5f;
}

/* Different for each channel. */
static inline void net_normalise(struct net *n)
{
	for (uint32_t c = 0; c < n->nodes[0].shape.c; c++) {
		n->g.pre.mean[c] = 0.3f + 0.1f * (float)c;
		n->g.pre.std[c] = 0.4f + 0.2f * (float)c;
	}
}

static inline struct node *net_node(struct net *n, enum nn_kind kind, const char *what, uint32_t in,
				    struct shape shape)
{
	uint32_t at = n->g.n++;

	assert_true(at < NET_NODES);
	snprintf(n->names[at], sizeof(n->names[at]), "%s%u", what, at);
	n->nodes[at] = (struct node){
	    .kind = kind, .name = n->names[at], .inputs = {in}, .n_inputs = 1, .shape = shape, .groups = 1};
	return &n->nodes[at];
}

static inline uint32_t net_last(const struct net *n)
{
	return n->g.n - 1;
}

static inline float *net_floats(size_t n, float scale)
{
	float *f = calloc(n, sizeof(*f));

	for (size_t i = 0; i < n; i++)
		f[i] = rnd_float(scale);
	return f;
}

static inline uint32_t net_outputs(uint32_t in, uint32_t k, uint32_t s, uint32_t pad)
{
	return (in + 2 * pad - k) / s + 1;
}

static inline uint32_t net_conv(struct net *n, uint32_t in, uint32_t filters, uint32_t k, uint32_t stride,
				uint32_t pad, uint32_t groups)
{
	struct shape s = n->nodes[in].shape,
		     out = {filters, net_outputs(s.h, k, stride, pad), net_outputs(s.w, k, stride, pad)};
	struct node *node = net_node(n, NN_CONV, "conv", in, out);

	node->win = (struct window){.in = s,
				    .out = out,
				    .kh = k,
				    .kw = k,
				    .sh = stride,
				    .sw = stride,
				    .dh = 1,
				    .dw = 1,
				    .pt = (int32_t)pad,
				    .pl = (int32_t)pad};
	node->groups = groups;
	node->weights = net_floats((size_t)filters * (s.c / groups) * k * k, n->scale);
	node->bias = net_floats(filters, n->scale);
	return net_last(n);
}

static inline uint32_t net_dense(struct net *n, uint32_t in, uint32_t m)
{
	struct node *node = net_node(n, NN_DENSE, "dense", in, (struct shape){m, 1, 1});

	node->weights = net_floats(m * shape_size(n->nodes[in].shape), n->scale);
	node->bias = net_floats(m, n->scale);
	return net_last(n);
}

static inline uint32_t net_pool(struct net *n, enum nn_kind kind, uint32_t in, uint32_t k, uint32_t stride,
				uint32_t pad, int count_pad)
{
	struct shape s = n->nodes[in].shape,
		     out = {s.c, net_outputs(s.h, k, stride, pad), net_outputs(s.w, k, stride, pad)};
	struct node *node = net_node(n, kind, kind == NN_MAXPOOL ? "max" : "mean", in, out);

	node->win = (struct window){.in = s,
				    .out = out,
				    .kh = k,
				    .kw = k,
				    .sh = stride,
				    .sw = stride,
				    .dh = 1,
				    .dw = 1,
				    .pt = (int32_t)pad,
				    .pl = (int32_t)pad};
	if (kind == NN_MAXPOOL)
		return net_last(n);
	node->divisors = calloc((size_t)out.h * out.w, sizeof(*node->divisors));
	for (uint32_t y = 0; y < out.h; y++)
		for (uint32_t x = 0; x < out.w; x++)
			for (uint32_t i = 0; i < k; i++)
				for (uint32_t j = 0; j < k; j++) {
					int64_t r = (int64_t)y * stride + i - pad,
						c = (int64_t)x * stride + j - pad;

					node->divisors[y * out.w + x] +=
					    count_pad || (r >= 0 && c >= 0 && r < s.h && c < s.w);
				}
	return net_last(n);
}

static inline uint32_t net_relu(struct net *n, uint32_t in)
{
	net_node(n, NN_RELU, "relu", in, n->nodes[in].shape);
	return net_last(n);
}

static inline uint32_t net_square(struct net *n, uint32_t in)
{
	net_node(n, NN_SQUARE, "square", in, n->nodes[in].shape);
	return net_last(n);
}

static inline uint32_t net_two(struct net *n, enum nn_kind kind, uint32_t a, uint32_t b)
{
	struct shape s = n->nodes[a].shape;
	struct node *node;

	if (kind == NN_CONCAT)
		s.c += n->nodes[b].shape.c;
	node = net_node(n, kind, kind == NN_ADD ? "add" : "concat", a, s);
	node->inputs[1] = b;
	node->n_inputs = 2;
	return net_last(n);
}

static inline uint32_t net_pad(struct net *n, uint32_t in, uint32_t top, uint32_t left, uint32_t bottom,
			       uint32_t right)
{
	struct shape s = n->nodes[in].shape, out = {s.c, s.h + top + bottom, s.w + left + right};
	struct node *node = net_node(n, NN_PAD, "pad", in, out);

	node->win = (struct window){.in = s,
				    .out = out,
				    .kh = 1,
				    .kw = 1,
				    .sh = 1,
				    .sw = 1,
				    .dh = 1,
				    .dw = 1,
				    .pt = (int32_t)top,
				    .pl = (int32_t)left};
	return net_last(n);
}

static inline void net_free(struct net *n)
{
	for (uint32_t i = 0; i < n->g.n; i++) {
		free(n->nodes[i].weights);
		free(n->nodes[i].bias);
		free(n->nodes[i].divisors);
	}
}

/* What plan_make gives, together. */
struct planned {
	struct plan *plan;
	struct weights *weights;
	struct bounds *bounds;
};

static inline struct planned net_plan(const struct graph *g, const struct plan_options *o)
{
	struct planned p;
	struct err e = {0};

	if (plan_make(&p.plan, &p.weights, &p.bounds, g, o, &e))
		fail_msg("%s", e.text);
	return p;
}

static inline void planned_free(struct planned *p)
{
	plan_free(p->plan);
	weights_free(p->weights);
	bounds_free(p->bounds);
}

/* How many rows of a kind the tape has. */
static inline unsigned count_rows(const struct tape *t, enum op_kind kind)
{
	unsigned n = 0;

	for (uint16_t i = 0; i < t->n_rows; i++)
		n += t->rows[i].kind == kind;
	return n;
}

/* The networks that tests go through: one for each way of lowering. First the chains. */
static inline const char *net_chain(struct net *n, unsigned which)
{
	switch (which) {
	case 0:
		net_dense(n, net_relu(n, net_dense(n, 0, 3)), 2);
		return "dense relu dense";
	case 1:
		net_dense(n, net_dense(n, 0, 2), 2);
		return "dense dense";
	case 2:
		net_relu(n, net_dense(n, 0, 2));
		return "dense relu";
	case 3:
		net_dense(n, net_square(n, net_dense(n, 0, 2)), 2);
		return "dense square dense";
	case 4:
		net_dense(n, net_pool(n, NN_MAXPOOL, net_relu(n, net_conv(n, 0, 2, 1, 1, 0, 1)), 2, 1, 1, 0),
			  2);
		return "conv relu max dense";
	case 5:
		net_dense(n, net_pool(n, NN_MAXPOOL, net_conv(n, 0, 1, 1, 1, 0, 1), 2, 1, 1, 0), 2);
		return "conv max dense";
	case 6:
		net_dense(n, net_pool(n, NN_AVGPOOL, net_relu(n, net_conv(n, 0, 1, 1, 1, 1, 1)), 2, 1, 0, 1),
			  2);
		return "conv relu mean dense";
	case 7:
		net_relu(n, net_pool(n, NN_AVGPOOL, net_conv(n, 0, 1, 1, 1, 1, 1), 3, 1, 1, 1));
		return "conv mean relu";
	case 8:
		net_relu(n, net_pool(n, NN_AVGPOOL, net_relu(n, net_conv(n, 0, 1, 1, 1, 1, 1)), 2, 1, 1, 0));
		return "conv relu unequal mean relu";
	default:
		return NULL;
	}
}

/* Those in which values meet again, and what is strange at the ends. c: channels of the input. */
static inline const char *net_joined(struct net *n, unsigned which, uint32_t c)
{
	uint32_t a, b;

	switch (which) {
	case 9:
		a = net_relu(n, net_conv(n, 0, 1, 1, 1, 0, 1));
		b = net_conv(n, a, 1, 1, 1, 0, 1);
		net_dense(n, net_relu(n, net_two(n, NN_ADD, b, a)), 1);
		return "residual";
	case 10:
		a = net_relu(n, net_conv(n, 0, 1, 1, 1, 0, 1));
		b = net_relu(n, net_conv(n, 0, 1, 1, 1, 0, 1));
		net_relu(n, net_two(n, NN_ADD, a, b));
		return "sum of shares relu";
	case 11:
		a = net_conv(n, 0, 1, 1, 1, 0, 1);
		b = net_conv(n, net_relu(n, a), 1, 1, 1, 0, 1);
		net_dense(n, net_two(n, NN_ADD, b, a), 1);
		return "pre-activation residual";
	case 12:
		a = net_square(n, net_conv(n, 0, 1, 1, 1, 0, 1));
		b = net_relu(n, net_conv(n, 0, 1, 1, 1, 0, 1));
		net_dense(n, net_two(n, NN_CONCAT, a, b), 1);
		return "concat of two scales";
	case 13:
		a = net_pool(n, NN_AVGPOOL, net_relu(n, net_conv(n, 0, 1, 1, 1, 1, 1)), 3, 1, 1, 1);
		b = net_relu(n, net_conv(n, 0, 1, 1, 1, 1, 1));
		net_dense(n, net_two(n, NN_CONCAT, a, b), 1);
		return "concat with an odd mean";
	case 14:
		net_dense(n, net_pad(n, net_relu(n, net_conv(n, 0, 1, 1, 1, 0, 1)), 1, 0, 0, 1), 2);
		return "pad dense";
	case 15:
		net_relu(n, net_conv(n, net_pad(n, 0, 1, 1, 1, 0), 1, 2, 1, 1, 1));
		return "pad conv relu";
	case 16:
		net_dense(n, net_pool(n, NN_MAXPOOL, 0, 2, 1, 1, 0), 1);
		return "max of pixels";
	case 17:
		net_relu(n, net_two(n, NN_ADD, net_conv(n, 0, c, 1, 1, 0, 1), 0));
		return "pixels added to a convolution";
	case 18:
		a = net_conv(n, 0, 1, 1, 1, 0, 1);
		net_relu(n, net_two(n, NN_ADD, a, a));
		return "a convolution added to itself";
	case 19:
		a = net_pool(n, NN_AVGPOOL, net_relu(n, net_conv(n, 0, 1, 1, 1, 1, 1)), 3, 1, 1, 1);
		net_relu(n, net_two(n, NN_ADD, net_conv(n, a, 1, 1, 1, 0, 1), a));
		return "residual of an odd mean";
	case 20:
		net_pool(n, NN_AVGPOOL,
			 net_square(n, net_pool(n, NN_AVGPOOL, net_conv(n, 0, 1, 1, 1, 1, 1), 3, 1, 1, 1)), 3,
			 1, 1, 1);
		return "square of an odd mean, odd mean";
	case 21:
		net_pool(n, NN_MAXPOOL, net_conv(n, 0, 1, 1, 1, 0, 1), 1, 1, 0, 0);
		return "max of one";
	case 22:
		a = net_pool(n, NN_MAXPOOL, net_conv(n, 0, 1, 1, 1, 0, 1), 2, 1, 1, 0);
		net_dense(n, net_two(n, NN_CONCAT, net_relu(n, a), a), 1);
		return "max with and without relu";
	default:
		return NULL;
	}
}

/* Network number `which` over c×h×w pixels: its name, or NULL after the last. */
static inline const char *net_zoo(struct net *n, unsigned which, uint32_t c, uint32_t h, uint32_t w)
{
	const char *what;

	net_input(n, c, h, w);
	what = net_chain(n, which);
	return what ? what : net_joined(n, which, c);
}

#endif
