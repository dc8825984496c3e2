/* SPDX-License-Identifier: Apache-2.0 */
/* The input's normalisation is folded into the layers that read it. Where something else reads it (a pool, an
 * addition, an operator), a depthwise 1×1 convolution is put between, which then is the layer. */
#include <stdlib.h>

#include "nn/lower.h"

static int is_layer(enum nn_kind kind)
{
	return kind == NN_CONV || kind == NN_DENSE;
}

/* A padding is merged into convolutions, so it may read the input when only they read it. */
static int folds(const struct graph *g, uint32_t node)
{
	if (g->nodes[node].kind != NN_PAD)
		return is_layer(g->nodes[node].kind);
	for (uint32_t i = node + 1; i < g->n; i++)
		for (uint32_t j = 0; j < g->nodes[i].n_inputs; j++)
			if (g->nodes[i].inputs[j] == node && g->nodes[i].kind != NN_CONV)
				return 0;
	return node + 1 < g->n;
}

static int reads_input(const struct node *n)
{
	for (uint32_t j = 0; j < n->n_inputs; j++)
		if (n->inputs[j] == 0)
			return 1;
	return 0;
}

static int identity(struct node *n, struct shape s, struct err *e)
{
	*n = (struct node){.kind = NN_CONV, .name = "input", .n_inputs = 1, .shape = s, .groups = s.c};
	n->win = (struct window){.in = s, .out = s, .kh = 1, .kw = 1, .sh = 1, .sw = 1, .dh = 1, .dw = 1};
	n->weights = calloc(s.c, sizeof(*n->weights));
	n->bias = calloc(s.c, sizeof(*n->bias));
	for (uint32_t c = 0; n->weights && c < s.c; c++)
		n->weights[c] = 1;
	return n->weights && n->bias ? 0 : err_set(e, ERR_ENV, "out of memory while planning");
}

int lower_input(struct graph **whole, const struct graph *g, struct err *e)
{
	struct graph *w;
	int all = g->n > 1;

	*whole = NULL;
	for (uint32_t i = 1; i < g->n; i++)
		if (reads_input(&g->nodes[i]) && !folds(g, i))
			all = 0;
	if (all)
		return 0;
	w = malloc(sizeof(*w));
	if (!w)
		return err_set(e, ERR_ENV, "out of memory while planning");
	*w = *g;
	w->nodes = calloc((size_t)g->n + 1, sizeof(*w->nodes));
	w->n = g->n + 1;
	*whole = w;
	if (!w->nodes || identity(&w->nodes[1], g->nodes[0].shape, e)) {
		lower_input_free(w);
		*whole = NULL;
		return err_set(e, ERR_ENV, "out of memory while planning");
	}
	w->nodes[0] = g->nodes[0];
	for (uint32_t i = 1; i < g->n; i++) {
		struct node *n = &w->nodes[i + 1];

		*n = g->nodes[i];
		for (uint32_t j = 0; j < n->n_inputs; j++)
			n->inputs[j] = n->inputs[j] || !folds(g, i) ? n->inputs[j] + 1 : 0;
	}
	return 0;
}

void lower_input_free(struct graph *whole)
{
	if (!whole)
		return;
	if (whole->nodes) {
		free(whole->nodes[1].weights);
		free(whole->nodes[1].bias);
	}
	free(whole->nodes);
	free(whole);
}
