/* SPDX-License-Identifier: Apache-2.0 */
/* What `verify` rests on: three parties in memory give the fixed-point reference's integers to the bit, and
 * the comparison can fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "client/private.h"

#define SIDE 8
#define IMAGES 37

static float small(void)
{
	return ((float)randombytes_uniform(2001) - 1000) / 1500;
}

static float *randoms(size_t n)
{
	float *x = calloc(n, sizeof(*x));

	for (size_t i = 0; i < n; i++)
		x[i] = small();
	return x;
}

static struct node *add(struct graph *g, enum nn_kind kind, const char *name, struct shape shape)
{
	struct node *n = &g->nodes[g->n];

	*n = (struct node){.kind = kind,
			   .name = strdup(name),
			   .inputs = {g->n - 1},
			   .n_inputs = g->n ? 1 : 0,
			   .shape = shape,
			   .groups = 1};
	g->n++;
	return n;
}

/* Input, convolution 3×3, ReLU, maximum 2×2, dense 5. */
static struct graph *network(void)
{
	struct graph *g = calloc(1, sizeof(*g));
	struct shape in = {1, SIDE, SIDE}, conv = {3, SIDE - 2, SIDE - 2},
		     pool = {3, SIDE / 2 - 1, SIDE / 2 - 1};
	struct node *n;

	g->name = strdup("net");
	g->nodes = calloc(5, sizeof(*g->nodes));
	g->pre = (struct preprocess){.scale = 255, .mean = {0.1F}, .std = {0.3F, 1, 1, 1}};
	add(g, NN_INPUT, "input", in);
	n = add(g, NN_CONV, "conv", conv);
	n->win = (struct window){in, conv, 3, 3, 1, 1, 1, 1, 0, 0};
	n->weights = randoms(27);
	n->bias = randoms(3);
	add(g, NN_RELU, "relu", conv);
	n = add(g, NN_MAXPOOL, "pool", pool);
	n->win = (struct window){conv, pool, 2, 2, 2, 2, 1, 1, 0, 0};
	n = add(g, NN_DENSE, "dense", (struct shape){5, 1, 1});
	n->weights = randoms(5 * shape_size(pool));
	n->bias = randoms(5);
	return g;
}

static void check_mode(enum plan_optimise optimise, enum plan_reveal reveal)
{
	struct plan_options options = plan_defaults();
	struct graph *g = network();
	struct private_model m;
	struct private *p;
	struct fixed *fixed;
	struct err e = {0};
	size_t words, differs = 0, batch;
	uint8_t pixels[IMAGES * SIDE * SIDE];
	int64_t result[64 * 5], want[5];

	options.optimise = optimise;
	options.reveal = reveal;
	randombytes_buf(pixels, sizeof(pixels));
	if (private_model_new(&m, g, &options, &e))
		fail_msg("%s", e.text);
	words = reveal == REVEAL_LABEL ? 1 : 5;
	batch = private_batch(&m, (size_t)1 << 20);
	assert_in_range(batch, 1, 64);
	assert_int_equal(private_new(&p, &m, batch, &e), 0);
	assert_int_equal(fixed_new(&fixed, m.plan, m.weights, &e), 0);
	for (size_t at = 0; at < IMAGES; at += batch) {
		size_t n = IMAGES - at < batch ? IMAGES - at : batch;

		if (private_infer(p, pixels + at * SIDE * SIDE, n, result, &e))
			fail_msg("%s", e.text);
		for (size_t i = 0; i < n; i++) {
			struct private_rounding rounding = {p, i};

			fixed_infer(fixed, pixels + (at + i) * SIDE * SIDE, private_low, &rounding, want);
			assert_memory_equal(result + i * words, want, words * sizeof(*want));
			fixed_infer(fixed, pixels + (at + i) * SIDE * SIDE, NULL, NULL, want);
			differs += memcmp(result + i * words, want, words * sizeof(*want)) != 0;
		}
	}
	/* with another rounding the integers do differ: equality above was no accident */
	if (reveal == REVEAL_LOGITS)
		assert_true(differs > IMAGES / 2);
	fixed_free(fixed);
	private_free(p);
	private_model_free(&m);
	graph_free(g);
}

static void test_latency(void **state)
{
	check_mode(PLAN_LATENCY, REVEAL_LOGITS);
}

static void test_bandwidth(void **state)
{
	check_mode(PLAN_BANDWIDTH, REVEAL_LOGITS);
}

static void test_label(void **state)
{
	check_mode(PLAN_LATENCY, REVEAL_LABEL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_latency),
	    cmocka_unit_test(test_bandwidth),
	    cmocka_unit_test(test_label),
	};

	return sodium_init() < 0 || cmocka_run_group_tests(tests, NULL, NULL);
}
