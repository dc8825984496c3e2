/* SPDX-License-Identifier: Apache-2.0 */
/* The float reference against PyTorch's logits on the shared models, and against definitions on small graphs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>

#include "nn/graph.h"
#include "test/nn/npy.h"

static struct graph *shared_model(const char *name)
{
	struct err e = {0};
	struct graph *g;
	char path[512];

	if (!shared_path(path, name)) {
		print_message("no shared data (OBSCURA_SHARED): %s\n", name);
		skip();
	}
	if (graph_load(&g, path, &e))
		fail_msg("%s", e.text);
	return g;
}

static void read_shared(struct array *a, const char *name, int idx)
{
	char path[512];

	assert_non_null(shared_path(path, name));
	assert_int_equal(idx ? idx_read(a, path) : npy_read(a, path), 0);
}

/* Greatest difference from the reference over the first `limit` images (N,H,W[,C]). */
static double compare(struct graph *g, const struct array *images, const struct array *logits, size_t limit)
{
	struct shape s = g->nodes[0].shape;
	size_t area = (size_t)s.h * s.w, classes = shape_size(g->nodes[g->n - 1].shape), i, j;
	uint8_t *pixels = malloc(shape_size(s));
	float *out = malloc(classes * sizeof(*out));
	struct float_run *run;
	double worst = 0;
	struct err e = {0};

	assert_int_equal(images->n, images->dims[0] * shape_size(s));
	assert_int_equal(logits->n, images->dims[0] * classes);
	assert_int_equal(float_new(&run, g, &e), 0);
	for (i = 0; i < images->dims[0] && i < limit; i++) {
		const uint8_t *hwc = (const uint8_t *)images->data + i * shape_size(s);
		for (j = 0; j < shape_size(s); j++)
			pixels[j] = hwc[j % area * s.c + j / area];
		float_infer(run, pixels, out);
		for (j = 0; j < classes; j++)
			worst = fmax(worst,
				     fabs((double)out[j] - ((const float *)logits->data)[i * classes + j]));
	}
	float_free(run);
	free(pixels);
	free(out);
	return worst;
}

static void check_shared(const char *model, const char *images, const char *logits, float mean, float std,
			 size_t limit)
{
	struct graph *g = shared_model(model);
	struct array x, y;
	double worst;

	for (unsigned c = 0; c < g->nodes[0].shape.c; c++) {
		g->pre.mean[c] = mean;
		g->pre.std[c] = std;
	}
	read_shared(&x, images, strstr(images, "idx") != NULL);
	read_shared(&y, logits, 0);
	worst = compare(g, &x, &y, limit);
	print_message("%s: greatest difference from PyTorch %.2g\n", model, worst);
	assert_true(worst < 1e-3);
	free(x.data);
	free(y.data);
	graph_free(g);
}

static void model_x(void **state)
{
	check_shared("models/model_x.onnx", "mnist/t10k-images-idx3-ubyte.gz", "mnist/logits_model_x.npy",
		     0.1307f, 0.3081f, 10000);
}

static void model_y(void **state)
{
	check_shared("models/model_y.onnx", "mnist/t10k-images-idx3-ubyte.gz", "mnist/logits_model_y.npy",
		     0.1307f, 0.3081f, 10000);
}

static void model_z(void **state)
{
	check_shared("models/model_z.onnx", "malaria/images.npy", "malaria/logits_model_z.npy", 0.5f, 0.5f,
		     1378);
}

/* The comparison above must be able to fail. */
static void control(void **state)
{
	struct graph *g = shared_model("models/model_x.onnx");
	struct array x, y;

	read_shared(&x, "mnist/t10k-images-idx3-ubyte.gz", 1);
	read_shared(&y, "mnist/logits_model_x.npy", 0);
	assert_true(compare(g, &x, &y, 10) > 0.1); /* without the normalisation */
	free(x.data);
	free(y.data);
	graph_free(g);
}

static void outputs(void **state)
{
	float x[3] = {1000, 1001, 999}, y[2] = {-200, 200}, z[3] = {1, 2, 3}, l[2] = {0, 0};

	float_output(NN_OUT_SOFTMAX, x, 3);
	assert_true(fabsf(x[0] + x[1] + x[2] - 1) < 1e-6f && fabsf(x[1] / x[0] - 2.7182818f) < 1e-4f);
	float_output(NN_OUT_SIGMOID, y, 2);
	assert_true(y[0] >= 0 && y[0] < 1e-30f && y[1] == 1);
	float_output(NN_OUT_ARGMAX, z, 3);
	assert_true(z[0] == 1 && z[2] == 3);
	float_output(NN_OUT_LOGSOFTMAX, l, 2);
	assert_true(fabsf(l[0] + 0.6931472f) < 1e-6f);
}

/* Every kind of node at small sizes, by a second, direct evaluation of the definitions in graph.h. */
static double direct(const struct graph *g, struct float_run *run, const struct node *n, uint32_t c,
		     uint32_t y, uint32_t x)
{
	const struct window *w = &n->win;
	const float *in = float_value(run, n->inputs[0]);
	uint32_t per = w->in.c / n->groups, from = n->kind == NN_CONV ? c / (w->out.c / n->groups) * per : c,
		 to = n->kind == NN_CONV ? from + per : c + 1;
	double sum = n->kind == NN_CONV ? n->bias[c] : 0, top = -INFINITY;

	for (uint32_t ch = from; ch < to; ch++) {
		for (uint32_t i = 0; i < w->kh; i++) {
			for (uint32_t j = 0; j < w->kw; j++) {
				int64_t iy = (int64_t)y * w->sh - w->pt + (int64_t)i * w->dh,
					ix = (int64_t)x * w->sw - w->pl + (int64_t)j * w->dw;
				if (iy < 0 || ix < 0 || iy >= w->in.h || ix >= w->in.w)
					continue;
				double v = in[((size_t)ch * w->in.h + (size_t)iy) * w->in.w + (size_t)ix];
				top = fmax(top, v);
				sum +=
				    n->kind == NN_CONV
					? v * n->weights[(((size_t)c * per + ch - from) * w->kh + i) * w->kw +
							 j]
					: v;
			}
		}
	}
	if (n->kind == NN_AVGPOOL)
		return sum / n->divisors[y * w->out.w + x];
	return n->kind == NN_MAXPOOL ? top : sum;
}

static void windows(void **state)
{
	static const enum nn_kind kinds[] = {NN_CONV, NN_MAXPOOL, NN_AVGPOOL, NN_PAD};
	struct node nodes[2];
	struct graph g = {.nodes = nodes,
			  .n = 2,
			  .name = (char *)"small",
			  .pre = {.scale = 16, .mean = {0}, .std = {1, 1, 1, 1}}};
	uint8_t pixels[4 * 7 * 6];
	float weights[6 * 2 * 3 * 2], bias[6], out[6 * 9 * 9];
	uint32_t divisors[81];
	struct err e = {0};

	srand(7);
	for (size_t j = 0; j < sizeof(pixels); j++)
		pixels[j] = (uint8_t)rand();
	for (size_t j = 0; j < 72; j++)
		weights[j] = (float)(rand() % 17 - 8) / 8;
	for (size_t j = 0; j < 6; j++)
		bias[j] = (float)j;
	for (size_t j = 0; j < 81; j++)
		divisors[j] = (uint32_t)j + 1;
	for (size_t k = 0; k < 4; k++) {
		struct float_run *run;
		memset(nodes, 0, sizeof(nodes));
		nodes[0] = (struct node){.kind = NN_INPUT, .shape = {4, 7, 6}};
		nodes[1] = (struct node){
		    .kind = kinds[k], .n_inputs = 1, .groups = 1, .weights = weights, .bias = bias};
		nodes[1].win = (struct window){.in = {4, 7, 6},
					       .out = {4, 4, 5},
					       .kh = 3,
					       .kw = 2,
					       .sh = 2,
					       .sw = 1,
					       .dh = 1,
					       .dw = 2,
					       .pt = 1,
					       .pl = 0};
		if (kinds[k] == NN_CONV) {
			nodes[1].groups = 2;
			nodes[1].win.out.c = 6;
		} else if (kinds[k] == NN_PAD) {
			nodes[1].win = (struct window){.in = {4, 7, 6},
						       .out = {4, 9, 9},
						       .kh = 1,
						       .kw = 1,
						       .sh = 1,
						       .sw = 1,
						       .dh = 1,
						       .dw = 1,
						       .pt = 2,
						       .pl = 1};
		} else if (kinds[k] == NN_AVGPOOL) {
			nodes[1].divisors = divisors;
		}
		nodes[1].shape = nodes[1].win.out;
		assert_int_equal(float_new(&run, &g, &e), 0);
		float_infer(run, pixels, out);
		for (uint32_t j = 0; j < shape_size(nodes[1].shape); j++) {
			struct shape s = nodes[1].shape;
			double want = direct(&g, run, &nodes[1], j / (s.h * s.w), j / s.w % s.h, j % s.w);
			assert_true(isfinite(want) && fabs(out[j] - want) < 1e-4);
		}
		float_free(run);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(model_x), cmocka_unit_test(model_y), cmocka_unit_test(model_z),
	    cmocka_unit_test(control), cmocka_unit_test(outputs), cmocka_unit_test(windows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
