/* SPDX-License-Identifier: Apache-2.0 */
#include "nn/graph.h"

#include <stdlib.h>
#include <string.h>

#include "nn/onnx.h"

int graph_add(struct graph *g, uint32_t *cap, enum nn_kind kind, const char *name, struct shape s,
	      const uint32_t *inputs, uint32_t n, uint32_t *index, struct err *e)
{
	struct node *node;

	if (g->n == *cap) {
		uint32_t more = *cap ? 2 * *cap : 32;
		node = realloc(g->nodes, more * sizeof(*node));
		if (!node)
			return err_set(e, ERR_ENV, "out of memory for %u nodes", more);
		g->nodes = node;
		*cap = more;
	}
	node = &g->nodes[g->n];
	memset(node, 0, sizeof(*node));
	node->kind = kind;
	node->shape = s;
	node->groups = 1;
	node->n_inputs = n;
	for (uint32_t j = 0; j < n; j++)
		node->inputs[j] = inputs[j];
	node->name = strdup(name);
	if (!node->name)
		return err_set(e, ERR_ENV, "out of memory for a name");
	*index = g->n++;
	return 0;
}

void graph_free(struct graph *graph)
{
	if (!graph)
		return;
	for (uint32_t i = 0; i < graph->n; i++) {
		free(graph->nodes[i].name);
		free(graph->nodes[i].weights);
		free(graph->nodes[i].bias);
		free(graph->nodes[i].divisors);
	}
	for (uint32_t i = 0; i < graph->pre.n_labels; i++)
		free(graph->pre.labels[i]);
	free(graph->pre.labels);
	free(graph->nodes);
	free(graph->name);
	free(graph);
}
