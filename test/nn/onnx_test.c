/* SPDX-License-Identifier: Apache-2.0 */
/* ONNX import: what exporters write gives PyTorch's scores; what strangers write gives a clear error. Runs in
 * the repository's root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <dirent.h>
#include <math.h>

#include "nn/graph.h"
#include "test/nn/npy.h"

#define IMPORT "test/models/import"

struct bytes {
	uint8_t *p; /* owns */
	size_t n;
};

static struct bytes read_bytes(const char *path)
{
	struct bytes b = {malloc(1 << 20), 0};
	FILE *f = fopen(path, "rb");

	if (!f)
		fail_msg("%s is missing: run in the repository's root", path);
	b.n = fread(b.p, 1, 1 << 20, f);
	fclose(f);
	return b;
}

/* The stream of test/models/import.py. */
static void fill_pixels(uint8_t *pixels, size_t n, uint32_t image)
{
	uint64_t x = image + 1;

	for (size_t j = 0; j < n; j++) {
		x = (x * 1103515245 + 12345) % (UINT64_C(1) << 31);
		pixels[j] = (uint8_t)(x >> 16);
	}
}

static double worst_difference(struct graph *g, const struct array *want, const uint8_t *images)
{
	size_t n = shape_size(g->nodes[0].shape), classes = shape_size(g->nodes[g->n - 1].shape);
	uint8_t *pixels = malloc(n);
	float *out = malloc(classes * sizeof(*out));
	struct float_run *run;
	struct err e = {0};
	double worst = 0;

	assert_int_equal(float_new(&run, g, &e), 0);
	assert_int_equal(want->n, want->dims[0] * classes);
	for (size_t i = 0; i < want->dims[0]; i++) {
		if (images)
			memcpy(pixels, images + i * n, n);
		else
			fill_pixels(pixels, n, (uint32_t)i);
		float_infer(run, pixels, out);
		float_output(g->output, out, classes);
		for (size_t j = 0; j < classes; j++)
			worst =
			    fmax(worst, fabs((double)out[j] - ((const float *)want->data)[i * classes + j]));
	}
	float_free(run);
	free(pixels);
	free(out);
	return worst;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Base names of the sample graphs; the caller owns them. */
static size_t list(char *names[128])
{
	DIR *d = opendir(IMPORT);
	struct dirent *f;
	size_t n = 0;

	if (!d)
		fail_msg("%s is missing: run in the repository's root", IMPORT);
	while ((f = readdir(d)) && n < 128) {
		char *dot = strstr(f->d_name, ".onnx");
		if (dot)
			names[n++] = strndup(f->d_name, (size_t)(dot - f->d_name));
	}
	closedir(d);
	qsort(names, n, sizeof(*names), by_name);
	return n;
}

static void exporters(void **state)
{
	char *names[128], path[512];
	size_t n = list(names), failed = 0;
	double worst = 0;

	assert_true(n >= 50);
	for (size_t i = 0; i < n; i++) {
		struct array want;
		struct graph *g;
		struct err e = {0};
		double d;
		snprintf(path, sizeof(path), IMPORT "/%s.npy", names[i]);
		assert_int_equal(npy_read(&want, path), 0);
		snprintf(path, sizeof(path), IMPORT "/%s.onnx", names[i]);
		if (graph_load(&g, path, &e)) {
			print_error("%s\n", e.text);
			failed++;
		} else {
			d = worst_difference(g, &want, NULL);
			worst = fmax(worst, d);
			if (!(d < 1e-4)) {
				print_error("%s: differs from PyTorch by %g\n", names[i], d);
				failed++;
			}
			graph_free(g);
		}
		free(want.data);
		free(names[i]);
	}
	print_message("%zu graphs, greatest difference from PyTorch %.2g\n", n, worst);
	assert_int_equal(failed, 0);
}

static void check_sample(const char *name, const char *idx)
{
	struct array want, images;
	struct graph *g;
	struct err e = {0};
	char path[512];

	snprintf(path, sizeof(path), "test/models/%s.npy", name);
	assert_int_equal(npy_read(&want, path), 0);
	assert_int_equal(idx_read(&images, idx), 0);
	snprintf(path, sizeof(path), "test/models/%s.onnx", name);
	if (graph_load(&g, path, &e))
		fail_msg("%s", e.text);
	assert_int_equal(g->pre.n_labels, 10);
	assert_true(worst_difference(g, &want, images.data) < 1e-4);
	assert_string_equal(g->name, name);
	graph_free(g);
	free(want.data);
	free(images.data);
}

static void samples(void **state)
{
	check_sample("digits_mlp", "test/images/digits-idx3-ubyte");
	check_sample("digits_conv", "test/images/digits-idx3-ubyte");
	check_sample("fashion_res", "test/images/fashion-idx3-ubyte");
}

static struct graph *load(const char *name)
{
	struct graph *g;
	struct err e = {0};
	char path[512];

	snprintf(path, sizeof(path), "%s/%s.onnx", strchr(name, '/') ? "test/models" : IMPORT,
		 strchr(name, '/') ? name + 2 : name);
	if (graph_load(&g, path, &e))
		fail_msg("%s", e.text);
	return g;
}

static unsigned count(const struct graph *g, enum nn_kind kind)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < g->n; i++)
		n += g->nodes[i].kind == kind;
	return n;
}

/* What graph.h promises about every graph. */
static const char *broken(const struct graph *g)
{
	uint8_t *used = calloc(g->n, 1);
	const char *why = NULL;

	used[g->n - 1] = 1;
	for (uint32_t i = g->n; i-- > 0 && !why;) {
		const struct node *n = &g->nodes[i];
		why = !used[i]				  ? "unused node"
		      : n->kind >= NN_KINDS		  ? "unknown kind"
		      : (n->kind == NN_INPUT) != (i == 0) ? "inputs"
							  : NULL;
		if (!why && (!shape_size(n->shape) || shape_size(n->shape) > NN_MAX_ELEMENTS || !n->name))
			why = "size";
		for (uint32_t j = 0; j < n->n_inputs && !why; j++) {
			if (n->inputs[j] >= i)
				why = "order";
			else
				used[n->inputs[j]] = 1;
		}
		if (!why &&
		    (n->kind == NN_CONV || n->kind == NN_MAXPOOL || n->kind == NN_AVGPOOL ||
		     n->kind == NN_PAD) &&
		    (memcmp(&n->win.in, &g->nodes[n->inputs[0]].shape, sizeof(n->shape)) ||
		     memcmp(&n->win.out, &n->shape, sizeof(n->shape))))
			why = "window";
	}
	free(used);
	return why;
}

static void promises(void **state)
{
	char *names[128];
	size_t n = list(names);

	for (size_t i = 0; i < n; i++) {
		struct graph *g = load(names[i]);
		if (broken(g))
			fail_msg("%s: %s", names[i], broken(g));
		graph_free(g);
		free(names[i]);
	}
}

/* Folding leaves nothing that costs a round: counts of nodes, not only values. */
static void folding(void **state)
{
	struct graph *g = load("residual_bn");

	assert_int_equal(g->n, 9); /* input, 3 convolutions, 2 ReLU, add, pool, dense */
	assert_int_equal(count(g, NN_CONV), 3);
	graph_free(g);
	g = load("pad_opset11");
	assert_int_equal(count(g, NN_PAD), 0);
	graph_free(g);
	g = load("pad_pools"); /* one pad stays: the maximum of numbers that may be negative sees its zeros */
	assert_int_equal(count(g, NN_PAD), 1);
	graph_free(g);
	g = load("bn_after_pools");
	assert_int_equal(count(g, NN_CONV), 2);
	graph_free(g);
	g = load("normalise_valid");
	assert_int_equal(g->n, 4);
	assert_int_equal(g->pre.composed, 0);
	graph_free(g);
	g = load("normalise_padded");
	assert_int_equal(g->n, 4);
	assert_int_equal(g->pre.composed, 1);
	graph_free(g);
	g = load("keras_nhwc");
	assert_int_equal(g->n, 4);
	assert_int_equal(g->nodes[0].shape.c, 3);
	graph_free(g);
	g = load("argmax");
	assert_int_equal(g->output, NN_OUT_ARGMAX);
	graph_free(g);
}

/* ---- mutations of good files: each gives a graph that keeps its promises, or one clear line ---- */
static void survive(const uint8_t *b, size_t n, unsigned *accepted)
{
	struct err e = {0};
	struct graph *g;
	uint8_t *copy = malloc(n ? n : 1); /* of exactly n bytes, so that ASan sees a read beyond */

	memcpy(copy, b, n);
	if (graph_parse(&g, "mutant", copy, n, NULL, &e)) {
		assert_null(g);
		assert_int_equal(e.code, ERR_INPUT);
		assert_true(strlen(e.text) > 20 && !strchr(e.text, '\n'));
	} else {
		if (broken(g))
			fail_msg("a mutant is accepted with a broken promise: %s", broken(g));
		++*accepted;
		graph_free(g);
	}
	free(copy);
}

static void mutants(void **state)
{
	char *names[128], path[512];
	size_t n = list(names), total = 0;
	unsigned accepted = 0;

	for (size_t i = 0; i < n; i++) {
		struct bytes b;
		snprintf(path, sizeof(path), IMPORT "/%s.onnx", names[i]);
		b = read_bytes(path);
		for (size_t cut = 0; cut < b.n; cut += 1 + b.n / 97, total++)
			survive(b.p, cut, &accepted);
		assert_true(accepted < total);
		srand((unsigned)i);
		for (unsigned k = 0; k < 400; k++, total++) {
			size_t at = (size_t)rand() % b.n;
			uint8_t old = b.p[at];
			b.p[at] = k % 4 ? old ^ (uint8_t)(1 << rand() % 8) : k % 8 ? 255 : 0;
			survive(b.p, b.n, &accepted);
			b.p[at] = old;
		}
		free(b.p);
		free(names[i]);
	}
	print_message("%zu mutants, %u accepted\n", total, accepted);
	assert_true(accepted > 0); /* flipped weights and names are no error */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(exporters), cmocka_unit_test(samples), cmocka_unit_test(promises),
	    cmocka_unit_test(folding),	 cmocka_unit_test(mutants),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
