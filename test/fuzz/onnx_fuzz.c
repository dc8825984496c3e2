/* SPDX-License-Identifier: Apache-2.0 */
/* ONNX files of strangers, with their metadata. What is accepted is also evaluated and planned, so that the
 * sanitizer sees every window and every index, and a plan that is made passes the check that strangers' plans
 * must pass. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "nn/graph.h"
#include "nn/plan.h"

static uint64_t cost(const struct graph *g)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < g->n; i++) {
		const struct node *n = &g->nodes[i];
		uint64_t size = shape_size(n->shape), per = 1;
		if (n->kind == NN_DENSE)
			per = shape_size(g->nodes[n->inputs[0]].shape);
		else if (n->win.kh)
			per = (uint64_t)n->win.kh * n->win.kw *
			      (n->kind == NN_CONV ? n->win.in.c / n->groups : 1);
		sum += size * per;
	}
	return sum;
}

static void evaluate(const struct graph *g)
{
	size_t in = shape_size(g->nodes[0].shape), classes = shape_size(g->nodes[g->n - 1].shape);
	uint8_t *pixels = malloc(in);
	float *out = malloc(classes * sizeof(*out));
	struct float_run *run = NULL;

	if (pixels && out && !float_new(&run, g, NULL)) {
		for (size_t j = 0; j < in; j++)
			pixels[j] = (uint8_t)(j * 37);
		float_infer(run, pixels, out);
		float_output(g->output, out, classes);
	}
	float_free(run);
	free(pixels);
	free(out);
}

static void plan(const struct graph *g)
{
	struct plan_options options = plan_defaults();
	struct weights *weights = NULL;
	struct plan *p = NULL;
	struct err e = {0};

	if (plan_make(&p, &weights, NULL, g, &options, &e)) {
		if (!e.code || !*e.text)
			abort();
		return;
	}
	if (tape_check(&p->tape, &e))
		abort();
	plan_free(p);
	weights_free(weights);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct graph *g;
	struct err e = {0};

	if (graph_parse(&g, "fuzz", data, size, NULL, &e)) {
		if (g || !e.code || !*e.text || strchr(e.text, '\n'))
			abort();
		return 0;
	}
	if (cost(g) < 1 << 22) {
		evaluate(g);
		plan(g);
	}
	graph_free(g);
	return 0;
}
