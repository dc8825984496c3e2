/* SPDX-License-Identifier: Apache-2.0 */
/* The networks of the literature as bench writes them: they are imported and planned in both modes, their
 * layers have the shapes that are said, weights stay within ±1/√inputs, and the same seed gives the same
 * file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/bench_nets.h"
#include "client/private.h"

#define LAYERS 12

struct want {
	enum nn_kind kind;
	struct shape shape;
};
static const struct {
	char network;
	struct want layers[LAYERS]; /* without the input */
	uint64_t comparisons;
	uint32_t round_trips[2]; /* latency, bandwidth: PROTOCOL.md §4 */
} nets[] = {
    {'A',
     {{NN_DENSE, {128, 1, 1}},
      {NN_RELU, {128, 1, 1}},
      {NN_DENSE, {128, 1, 1}},
      {NN_RELU, {128, 1, 1}},
      {NN_DENSE, {10, 1, 1}}},
     256,
     {3, 5}},
    {'B',
     {{NN_CONV, {5, 13, 13}},
      {NN_SQUARE, {5, 13, 13}},
      {NN_DENSE, {100, 1, 1}},
      {NN_SQUARE, {100, 1, 1}},
      {NN_DENSE, {10, 1, 1}}},
     0,
     {3, 3}},
    {'C',
     {{NN_CONV, {5, 14, 14}},
      {NN_RELU, {5, 14, 14}},
      {NN_DENSE, {100, 1, 1}},
      {NN_RELU, {100, 1, 1}},
      {NN_DENSE, {10, 1, 1}}},
     1080,
     {3, 5}},
    {'D',
     {{NN_CONV, {16, 24, 24}},
      {NN_MAXPOOL, {16, 12, 12}},
      {NN_RELU, {16, 12, 12}},
      {NN_CONV, {16, 8, 8}},
      {NN_MAXPOOL, {16, 4, 4}},
      {NN_RELU, {16, 4, 4}},
      {NN_DENSE, {100, 1, 1}},
      {NN_RELU, {100, 1, 1}},
      {NN_DENSE, {10, 1, 1}}},
     3 * 2304 + 2304 + 3 * 256 + 256 + 100,
     {8, 15}},
};
#define NETS (sizeof(nets) / sizeof(*nets))

static void must(int result, const struct err *e)
{
	if (result)
		fail_msg("%s", e->text);
}

static void path_of(char path[64], char network, const char *which)
{
	snprintf(path, 64, "/tmp/obscura-net-%d-%c%s.onnx", (int)getpid(), network, which);
}

static struct graph *load(char network, uint64_t seed)
{
	struct err e = {0};
	struct graph *g;
	char path[64];

	path_of(path, network, "");
	must(bench_net_write(path, network, seed, &e), &e);
	must(graph_load(&g, path, &e), &e);
	unlink(path);
	return g;
}

static size_t layer_weights_n(const struct node *n, const struct node *before)
{
	if (n->kind == NN_CONV)
		return (size_t)n->win.out.c * n->win.in.c * n->win.kh * n->win.kw;
	return n->kind == NN_DENSE ? shape_size(n->shape) * shape_size(before->shape) : 0;
}

/* Uniform within ±1/√inputs: none beyond, and some in the outer tenth on either side. */
static void check_weights(const struct node *n, const struct node *before)
{
	size_t count = layer_weights_n(n, before);
	float most = 1 / sqrtf((float)(count / n->shape.c)), least_seen = 1, most_seen = -1;

	for (size_t i = 0; i < count; i++) {
		least_seen = fminf(least_seen, n->weights[i]);
		most_seen = fmaxf(most_seen, n->weights[i]);
	}
	assert_true(least_seen >= -most * 1.0001F && least_seen < -0.9F * most);
	assert_true(most_seen <= most * 1.0001F && most_seen > 0.9F * most);
}

static void test_layers(void **state)
{
	for (size_t i = 0; i < NETS; i++) {
		struct graph *g = load(nets[i].network, 1);
		uint32_t n = 0;

		while (n < LAYERS && nets[i].layers[n].shape.c)
			n++;
		assert_int_equal(g->n, n + 1);
		assert_int_equal(shape_size(g->nodes[0].shape), 784);
		for (uint32_t j = 0; j < n; j++) {
			const struct node *node = &g->nodes[j + 1];

			assert_int_equal(node->kind, nets[i].layers[j].kind);
			assert_memory_equal(&node->shape, &nets[i].layers[j].shape, sizeof(struct shape));
			if (node->weights)
				check_weights(node, &g->nodes[j]);
		}
		graph_free(g);
	}
}

static void test_plans(void **state)
{
	for (size_t i = 0; i < NETS; i++)
		for (int mode = PLAN_LATENCY; mode <= PLAN_BANDWIDTH; mode++) {
			struct graph *g = load(nets[i].network, 1);
			struct plan_options options = plan_defaults();
			struct private_model m;
			struct err e = {0};

			options.optimise = mode;
			must(private_model_new(&m, g, &options, &e), &e);
			assert_int_equal(m.program->comparisons, nets[i].comparisons);
			assert_int_equal(m.program->round_trips, nets[i].round_trips[mode]);
			private_model_free(&m);
			graph_free(g);
		}
}

/* The private label is the float model's on random pictures: the weights are of a size that fixed point
 * carries. */
static void test_results(void **state)
{
	for (size_t i = 0; i < NETS; i++) {
		struct graph *g = load(nets[i].network, 1);
		struct plan_options options = plan_defaults();
		struct private_model m;
		struct private *p;
		struct float_run *f;
		struct err e = {0};
		uint8_t pixels[784];
		int64_t result[10];
		float want[10], got[10];

		must(private_model_new(&m, g, &options, &e), &e);
		must(private_new(&p, &m, 1, &e), &e);
		must(float_new(&f, g, &e), &e);
		randombytes_buf(pixels, sizeof(pixels));
		must(private_infer(p, pixels, 1, result, &e), &e);
		float_infer(f, pixels, want);
		plan_scores(m.plan, result, got);
		for (int j = 0; j < 10; j++)
			assert_true(fabsf(want[j] - got[j]) < 0.02F);
		float_free(f);
		private_free(p);
		private_model_free(&m);
		graph_free(g);
	}
}

static size_t read_all(const char *path, uint8_t *bytes, size_t room)
{
	FILE *f = fopen(path, "rb");
	size_t n = f ? fread(bytes, 1, room, f) : 0;

	if (f)
		fclose(f);
	return n;
}

static void test_seeds(void **state)
{
	static uint8_t bytes[3][1 << 20];
	char path[3][64];
	size_t n[3];
	struct err e = {0};

	for (int i = 0; i < 3; i++) {
		path_of(path[i], 'C', (const char *[]){"1", "2", "3"}[i]);
		must(bench_net_write(path[i], 'C', i == 2 ? 8 : 7, &e), &e);
		n[i] = read_all(path[i], bytes[i], sizeof(bytes[i]));
		unlink(path[i]);
	}
	assert_true(n[0] > 300000 && n[0] == n[1] && n[0] == n[2]);
	assert_memory_equal(bytes[0], bytes[1], n[0]);
	assert_memory_not_equal(bytes[0], bytes[2], n[0]);
}

static void test_refusals(void **state)
{
	struct err e = {0};

	assert_int_equal(bench_net_write("/tmp/obscura-no-net", 'E', 1, &e), -1);
	assert_int_equal(e.code, ERR_USAGE);
	e = (struct err){0};
	assert_int_equal(bench_net_write("/nowhere/net.onnx", 'A', 1, &e), -1);
	assert_int_equal(e.code, ERR_ENV);
	assert_non_null(strstr(e.text, "/nowhere/net.onnx"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_layers), cmocka_unit_test(test_plans),    cmocka_unit_test(test_results),
	    cmocka_unit_test(test_seeds),  cmocka_unit_test(test_refusals),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
