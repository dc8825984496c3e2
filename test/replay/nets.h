/* SPDX-License-Identifier: Apache-2.0 */
/* test/replay/nets.h — small networks made by hand, served as the model owner would. */
#ifndef OBSCURA_TEST_REPLAY_NETS_H
#define OBSCURA_TEST_REPLAY_NETS_H

#include <stdlib.h>
#include <string.h>
#include "protocol/session.h"

static uint32_t nets_state = 1;
static inline float nets_random(float scale)
{
	nets_state = nets_state * 1664525u + 1013904223u;
	return ((float)(nets_state >> 8) / 8388608.0f - 1.0f) * scale;
}

static inline struct graph *nets_graph(uint32_t n)
{
	struct graph *g = calloc(1, sizeof(*g));

	g->name = strdup("net");
	g->nodes = calloc(n, sizeof(*g->nodes));
	g->pre.scale = 255;
	for (int c = 0; c < NN_MAX_CHANNELS; c++)
		g->pre.std[c] = 1;
	return g;
}

static inline struct node *nets_node(struct graph *g, enum nn_kind kind, struct shape shape)
{
	struct node *n = &g->nodes[g->n];

	n->kind = kind;
	n->name = strdup("node");
	n->shape = shape;
	if (g->n) {
		n->inputs[0] = g->n - 1;
		n->n_inputs = 1;
	}
	g->n++;
	return n;
}

static inline void nets_weights(struct node *n, size_t weights, size_t bias, float scale)
{
	n->weights = calloc(weights, sizeof(float));
	n->bias = calloc(bias, sizeof(float));
	for (size_t i = 0; i < weights; i++)
		n->weights[i] = nets_random(scale);
	for (size_t i = 0; i < bias; i++)
		n->bias[i] = nets_random(scale);
}

static inline void nets_dense(struct graph *g, uint32_t m)
{
	struct shape in = g->nodes[g->n - 1].shape;
	struct node *n = nets_node(g, NN_DENSE, (struct shape){m, 1, 1});

	nets_weights(n, m * shape_size(in), m, 0.5f);
}

static inline void nets_conv(struct graph *g, uint32_t filters)
{
	struct shape in = g->nodes[g->n - 1].shape, out = {filters, in.h, in.w};
	struct node *n = nets_node(g, NN_CONV, out);

	n->win = (struct window){
	    .in = in, .out = out, .kh = 3, .kw = 3, .sh = 1, .sw = 1, .dh = 1, .dw = 1, .pt = 1, .pl = 1};
	n->groups = 1;
	nets_weights(n, (size_t)filters * in.c * 9, filters, 0.5f);
}

static inline void nets_pool(struct graph *g)
{
	struct shape in = g->nodes[g->n - 1].shape, out = {in.c, in.h / 2, in.w / 2};
	struct node *n = nets_node(g, NN_MAXPOOL, out);

	n->win = (struct window){.in = in, .out = out, .kh = 2, .kw = 2, .sh = 2, .sw = 2, .dh = 1, .dw = 1};
}

/* Two dense layers: 16 pixels, `hidden` comparisons, 3 classes. */
static inline struct graph *nets_small(uint32_t hidden)
{
	struct graph *g = nets_graph(4);

	nets_node(g, NN_INPUT, (struct shape){1, 4, 4});
	nets_dense(g, hidden);
	nets_node(g, NN_RELU, (struct shape){hidden, 1, 1});
	nets_dense(g, 3);
	return g;
}

/* Convolution, ReLU, maximum, dense: side × side pixels, 3 classes. */
static inline struct graph *nets_conv_net(uint32_t side, uint32_t filters)
{
	struct graph *g = nets_graph(5);

	nets_node(g, NN_INPUT, (struct shape){1, side, side});
	nets_conv(g, filters);
	nets_node(g, NN_RELU, g->nodes[1].shape);
	nets_pool(g);
	nets_dense(g, 3);
	return g;
}

static inline struct served *nets_serve(struct graph *g, enum plan_optimise optimise, enum plan_reveal reveal)
{
	struct plan_options options = plan_defaults();
	struct served *served = NULL;
	struct err e = {0};

	options.optimise = optimise;
	options.reveal = reveal;
	if (served_new(&served, PERSONALITY_SMPC, g, &options, -1, &e) < 0)
		fprintf(stderr, "%s\n", e.text);
	return served;
}

#endif
