/* SPDX-License-Identifier: Apache-2.0 */
/* What the importer refuses, and in which words: files made byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nn/graph.h"

/* tag·8 + wire type, then a varint or a length */
struct proto {
	uint8_t b[8192];
	size_t n;
};

static void put_varint(struct proto *p, uint64_t v)
{
	for (; v > 127; v >>= 7)
		p->b[p->n++] = (uint8_t)(v | 128);
	p->b[p->n++] = (uint8_t)v;
}

static void put_int(struct proto *p, unsigned field, uint64_t v)
{
	put_varint(p, field << 3);
	put_varint(p, v);
}

static void put_bytes(struct proto *p, unsigned field, const void *data, size_t n)
{
	put_varint(p, field << 3 | 2);
	put_varint(p, n);
	memcpy(p->b + p->n, data, n);
	p->n += n;
}

static void put_text(struct proto *p, unsigned field, const char *s)
{
	put_bytes(p, field, s, strlen(s));
}

static void put(struct proto *p, unsigned field, const struct proto *m)
{
	put_bytes(p, field, m->b, m->n);
}

static void node(struct proto *g, const char *op, const char *in0, const char *in1, const char *out,
		 const struct proto *attribute)
{
	struct proto n = {.n = 0};

	put_text(&n, 1, in0);
	if (in1)
		put_text(&n, 1, in1);
	put_text(&n, 2, out);
	put_text(&n, 3, "the_node");
	put_text(&n, 4, op);
	if (attribute)
		put(&n, 5, attribute);
	put(g, 1, &n);
}

static struct proto ints(const char *name, size_t n, const int64_t *v)
{
	struct proto a = {.n = 0};

	put_text(&a, 1, name);
	for (size_t j = 0; j < n; j++)
		put_int(&a, 8, (uint64_t)v[j]);
	put_int(&a, 20, 7);
	return a;
}

/* n_raw bytes of 1.0f (or of `value`) for a tensor that claims dims */
static void tensor(struct proto *g, const char *name, int type, size_t rank, const int64_t *dims, float value,
		   size_t n_raw)
{
	struct proto t = {.n = 0};
	uint8_t raw[4096];

	for (size_t j = 0; j < rank; j++)
		put_int(&t, 1, (uint64_t)dims[j]);
	put_int(&t, 2, (uint64_t)type);
	put_text(&t, 8, name);
	for (size_t j = 0; j + 4 <= sizeof(raw); j += 4)
		memcpy(raw + j, &value, 4);
	put_bytes(&t, 9, raw, n_raw);
	put(g, 5, &t);
}

static void value_info(struct proto *g, unsigned field, const char *name, size_t rank, const int64_t *dims)
{
	struct proto v = {.n = 0}, type = {.n = 0}, tt = {.n = 0}, shape = {.n = 0};

	for (size_t j = 0; j < rank; j++) {
		struct proto d = {.n = 0};
		put_int(&d, 1, (uint64_t)dims[j]);
		put(&shape, 1, &d);
	}
	put_int(&tt, 1, 1);
	put(&tt, 2, &shape);
	put(&type, 1, &tt);
	put_text(&v, 1, name);
	put(&v, 2, &type);
	put(g, field, &v);
}

static struct proto model(const struct proto *graph, uint64_t ir, uint64_t opset, const char *json)
{
	struct proto m = {.n = 0}, o = {.n = 0}, p = {.n = 0};

	put_int(&m, 1, ir);
	put(&m, 7, graph);
	put_text(&o, 1, "");
	put_int(&o, 2, opset);
	put(&m, 8, &o);
	if (json) {
		put_text(&p, 1, "obscura.input");
		put_text(&p, 2, json);
		put(&m, 14, &p);
	}
	return m;
}

static const int64_t image[4] = {1, 1, 4, 4}, square[4] = {2, 1, 3, 3}, matrix[2] = {16, 3};

static struct proto graph_io(const int64_t *dims, size_t rank)
{
	struct proto g = {.n = 0};

	value_info(&g, 11, "x", rank, dims);
	value_info(&g, 12, "y", 0, NULL);
	return g;
}

/* A good network of one dense layer, to be spoilt. */
static struct proto dense_graph(float value, size_t n_raw)
{
	struct proto g = graph_io(image, 4);

	node(&g, "Flatten", "x", NULL, "f", NULL);
	node(&g, "MatMul", "f", "w", "y", NULL);
	tensor(&g, "w", 1, 2, matrix, value, n_raw);
	return g;
}

static int parse(const struct proto *m, const char *json, struct err *e)
{
	struct graph *g;
	int code;

	memset(e, 0, sizeof(*e));
	code = graph_parse(&g, "made", m->b, m->n, json, e);
	assert_true((code == 0) == (g != NULL));
	graph_free(g);
	return code;
}

/* Refused with code 3 (bad input), in one line that holds every one of the words. */
static void refused(const struct proto *m, const char *json, const char *words)
{
	char list_[256], *word, *save;
	struct err e;

	assert_int_equal(parse(m, json, &e), -1);
	assert_int_equal(e.code, ERR_INPUT);
	assert_null(strchr(e.text, '\n'));
	snprintf(list_, sizeof(list_), "%s", words);
	for (word = strtok_r(list_, "|", &save); word; word = strtok_r(NULL, "|", &save))
		if (!strstr(e.text, word))
			fail_msg("no '%s' in: %s", word, e.text);
}

static void refused_graph(const struct proto *g, const char *words)
{
	struct proto m = model(g, 8, 13, NULL);

	refused(&m, NULL, words);
}

static void good(void **state)
{
	struct proto g = dense_graph(1, 192),
		     m = model(&g, 8, 13,
			       "{\"scale\":1,\"mean\":[2],\"std\":0.5,\"labels\":[\"a\",\"b\",\"c\"]}");
	struct err e;

	if (parse(&m, NULL, &e))
		fail_msg("%s", e.text);
	if (parse(&m, "{\"labels\":[\"x\",\"y\",\"z\"],\"resize\":\"none\",\"layout\":\"NCHW\"}", &e))
		fail_msg("%s", e.text);
}

static void metadata(void **state)
{
	struct proto g = dense_graph(1, 192), m = model(&g, 8, 13, "{\"mean\":[1,2]}");

	refused(&m, NULL, "obscura.input|mean");
	m = model(&g, 8, 13, NULL);
	refused(&m, "{\"scale\":0}", "scale");
	refused(&m, "{\"std\":0}", "std");
	refused(&m, "{\"mean\":1e99}", "mean");
	refused(&m, "{\"labels\":[\"a\"]}", "1 labels|3 classes");
	refused(&m, "{\"labels\":[\"a\",\"b\\u001b[2J\",\"c\"]}", "labels");
	refused(&m, "{\"means\":1}", "unknown key 'means'");
	refused(&m, "{\"layout\":\"NHWC\"}", "layout");
	refused(&m, "{\"resize\":\"cubic\"}", "resize");
	refused(&m, "[[[[[[[[[[]]]]]]]]]]", "not a JSON object");
	refused(&m, "{\"scale\":255} trailing", "not a JSON object");
}

static void versions(void **state)
{
	struct proto g = dense_graph(1, 192), m = model(&g, 2, 13, NULL);

	refused(&m, NULL, "IR version 2|3 to 10");
	m = model(&g, 11, 13, NULL);
	refused(&m, NULL, "IR version 11");
	m = model(&g, 8, 6, NULL);
	refused(&m, NULL, "opset 6|7 to 21");
	m = model(&g, 8, 22, NULL);
	refused(&m, NULL, "opset 22");
	m.n = 0;
	refused(&m, NULL, "IR version 0");
}

static void tensors(void **state)
{
	static const int64_t huge[2] = {INT64_C(1) << 33, INT64_C(1) << 33}, negative[2] = {16, -3},
			     large[2] = {1 << 13, 1 << 13};
	struct proto g = dense_graph(NAN, 192), t = {.n = 0}, x = {.n = 0};

	refused_graph(&g, "the_node|MatMul|'w'|NaN");
	g = dense_graph(INFINITY, 192);
	refused_graph(&g, "'w'|Inf");
	g = dense_graph(1, 191);
	refused_graph(&g, "'w'|[16,3]|48");
	g = dense_graph(1, 0);
	refused_graph(&g, "'w'|48|holds 0");
	for (size_t j = 0; j < 3; j++) {
		const int64_t *dims = j == 0 ? huge : j == 1 ? negative : large;
		g = graph_io(image, 4);
		node(&g, "MatMul", "x", "w", "y", NULL);
		tensor(&g, "w", 1, 2, dims, 1, 192);
		refused_graph(&g, "'w'|limit of 16777216");
	}
	g = graph_io(image, 4);
	node(&g, "MatMul", "x", "w", "y", NULL);
	tensor(&g, "w", 10, 2, matrix, 1, 96);
	refused_graph(&g, "'w'|element type 10|float32");
	g = graph_io(image, 4);
	node(&g, "MatMul", "x", "w", "y", NULL);
	put_text(&t, 8, "w");
	put_int(&t, 2, 1);
	put_text(&x, 1, "location");
	put_text(&x, 2, "weights.bin");
	put(&t, 13, &x);
	put_int(&t, 14, 1);
	put(&g, 5, &t);
	refused_graph(&g, "'w'|external file|save the model with its data inside");
}

static void wiring(void **state)
{
	struct proto g = graph_io(image, 4);

	node(&g, "Relu", "b", NULL, "a", NULL);
	node(&g, "Relu", "a", NULL, "b", NULL);
	node(&g, "Add", "b", "x", "y", NULL);
	refused_graph(&g, "the_node|'b'|cycle");
	g = graph_io(image, 4);
	node(&g, "Relu", "nowhere", NULL, "y", NULL);
	refused_graph(&g, "'nowhere'|missing");
	g = graph_io(image, 4);
	node(&g, "Relu", "y", NULL, "y", NULL);
	refused_graph(&g, "'y'");
	g = graph_io(image, 4);
	node(&g, "Relu", "x", NULL, "y", NULL);
	node(&g, "Relu", "x", NULL, "y", NULL);
	refused_graph(&g, "written twice");
	g = graph_io(image, 4);
	node(&g, "Identity", "x", NULL, "y", NULL);
	refused_graph(&g, "no layer");
	g = graph_io(image, 4);
	refused_graph(&g, "no node writes the output 'y'");
	g = graph_io(image, 4);
	value_info(&g, 11, "x2", 4, image);
	refused_graph(&g, "several inputs");
	g = graph_io(image, 4);
	value_info(&g, 12, "y2", 4, image);
	refused_graph(&g, "2 outputs");
	g.n = 0;
	refused_graph(&g, "no input");
}

static void inputs(void **state)
{
	static const int64_t batch[4] = {8, 1, 4, 4}, open[4] = {1, 1, -1, 4}, channels[4] = {1, 7, 8, 8},
			     huge[4] = {1, 1, 1 << 20, 1 << 20};
	struct proto g = graph_io(batch, 4);

	refused_graph(&g, "fixed batch 8|dynamic_axes");
	g = graph_io(open, 4);
	refused_graph(&g, "dimension 2|fixed");
	g = graph_io(channels, 4);
	refused_graph(&g, "7 channels");
	g = graph_io(huge, 4);
	refused_graph(&g, "limit");
	g = graph_io(image, 1);
	refused_graph(&g, "1 dimensions");
}

static void operators(void **state)
{
	static const int64_t zeros[2] = {0, 0}, big[2] = {1 << 14, 1 << 14}, five[2] = {5, 5},
			     pads[4] = {3, 3, 3, 3}, three[2] = {3, 3};
	struct proto g = graph_io(image, 4), a;

	node(&g, "Erf", "x", NULL, "y", NULL);
	refused_graph(&g, "node 'the_node' (Erf, inputs [1,1,4,4])|replace this activation by ReLU");
	g = graph_io(image, 4);
	node(&g, "If", "x", NULL, "y", NULL);
	refused_graph(&g, "If|onnxsim");
	g = graph_io(image, 4);
	node(&g, "NoSuch\033[2J", "x", NULL, "y", NULL);
	refused_graph(&g, "NoSuch?[2J|not supported");
	g = graph_io(image, 4);
	node(&g, "Softmax", "x", NULL, "s", NULL);
	refused_graph(&g, "no node writes");
	g = graph_io(image, 4);
	node(&g, "Sigmoid", "x", NULL, "s", NULL);
	node(&g, "Relu", "s", NULL, "y", NULL);
	refused_graph(&g, "only supported at the network's output");
	g = graph_io(image, 4);
	node(&g, "Relu", "x", NULL, "r", NULL);
	node(&g, "Mul", "x", "r", "y", NULL);
	refused_graph(&g, "product of two different activations");
	for (size_t j = 0; j < 3; j++) {
		const int64_t *values[] = {zeros, big, five};
		const char *names[] = {"strides", "dilations", "kernel_shape"};
		const char *words[] = {"stride 0", "does not fit", "kernel_shape differs"};
		a = ints(names[j], 2, values[j]);
		g = graph_io(image, 4);
		node(&g, "Conv", "x", "k", "y", &a);
		tensor(&g, "k", 1, 4, square, 1, 72);
		refused_graph(&g, words[j]);
	}
	a = ints("pads", 4, pads);
	g = graph_io(image, 4);
	node(&g, "MaxPool", "x", NULL, "y", &a);
	refused_graph(&g, "kernel_shape");
	a = ints("axes", 2, three);
	g = graph_io(image, 4);
	node(&g, "ReduceMean", "x", NULL, "y", &a);
	refused_graph(&g, "height and width");
	g = graph_io(image, 4);
	node(&g, "Reshape", "x", "w", "y", NULL);
	tensor(&g, "w", 7, 1, (const int64_t[]){2}, 1, 16);
	refused_graph(&g, "Reshape");
	g = graph_io(image, 4);
	node(&g, "Conv", "x", "y0", "y", NULL);
	node(&g, "Relu", "x", NULL, "y0", NULL);
	refused_graph(&g, "'y0'|missing");
}

/* Messages inside messages: protobuf-c would follow them to the end of the stack. */
static void deep(void **state)
{
	size_t depth = 100000, n = 0;
	uint8_t *b = malloc(depth * 16), *at = b + depth * 16;
	struct graph *g;
	struct err e = {0};

	for (size_t level = 0; level < depth; level++) {
		static const uint8_t tags[3] = {6 << 3 | 2, 5 << 3 | 2,
						1 << 3 | 2}; /* attribute.g, node.attribute, graph.node */
		uint8_t head[8];
		size_t len = 0, v = n;
		head[len++] = level + 1 == depth ? 7 << 3 | 2 : tags[level % 3];
		for (; v > 127; v >>= 7)
			head[len++] = (uint8_t)(v | 128);
		head[len++] = (uint8_t)v;
		at -= len;
		memcpy(at, head, len);
		n += len;
	}
	assert_int_equal(graph_parse(&g, "deep", at, n, NULL, &e), -1);
	assert_non_null(strstr(e.text, "deep"));
	assert_non_null(strstr(e.text, "nests"));
	free(b);
}

/* What `obscura model check` shows. */
struct seen {
	unsigned nodes, ok, constant, folded, bad, waits;
	char reason[512];
};

static void note(void *ctx, const char *name, const char *op, const char *shape, const char *status)
{
	struct seen *s = ctx;

	s->nodes++;
	assert_true(*name && *op && *shape);
	s->ok += !strcmp(status, "ok");
	s->constant += !strcmp(status, "constant");
	s->folded += !strcmp(status, "folded");
	s->waits += !strncmp(status, "waits", 5);
	if (!strncmp(status, "node", 4)) {
		s->bad++;
		snprintf(s->reason, sizeof(s->reason), "%s", status);
	}
}

static void check(void **state)
{
	struct seen s = {0};
	struct err e = {0};
	struct proto g = graph_io(image, 4), m;
	char path[] = "/tmp/onnx_test.XXXXXX";
	FILE *f;

	assert_int_equal(graph_check("test/models/import/torch2_dynamo.onnx", note, &s, &e), 0);
	assert_int_equal(s.nodes, 12);
	assert_int_equal(s.ok + s.constant + s.folded, 12);
	assert_int_equal(s.constant, 3); /* Shape, Concat, Transpose */
	node(&g, "Erf", "x", NULL, "a", NULL);
	node(&g, "Relu", "a", NULL, "b", NULL);
	node(&g, "Tanh", "x", NULL, "c", NULL);
	node(&g, "Add", "b", "c", "y", NULL);
	m = model(&g, 8, 13, NULL);
	f = fdopen(mkstemp(path), "wb");
	assert_int_equal(fwrite(m.b, 1, m.n, f), m.n);
	fclose(f);
	memset(&s, 0, sizeof(s));
	assert_int_equal(graph_check(path, note, &s, &e), -1);
	assert_int_equal(s.nodes, 4);
	assert_int_equal(s.bad, 2);
	assert_int_equal(s.waits, 2);
	assert_non_null(strstr(e.text, "Erf"));
	remove(path);
	memset(&e, 0, sizeof(e));
	assert_int_equal(graph_check("/nowhere/model.onnx", note, &s, &e), -1);
	assert_int_equal(e.code, ERR_INPUT);
	assert_non_null(strstr(e.text, "/nowhere/model.onnx"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(good),	 cmocka_unit_test(metadata), cmocka_unit_test(versions),
	    cmocka_unit_test(tensors),	 cmocka_unit_test(wiring),   cmocka_unit_test(inputs),
	    cmocka_unit_test(operators), cmocka_unit_test(deep),     cmocka_unit_test(check),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
