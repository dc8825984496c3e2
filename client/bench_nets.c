/* SPDX-License-Identifier: Apache-2.0 */
/* Networks of the literature: SecureML's (A), CryptoNets' (B), DeepSecure's (C), MiniONN's (D);
 * docs/BENCHMARKS.md. Weights are uniform within ±1/√(inputs of a neuron), as PyTorch starts a layer:
 * activations neither vanish nor grow, and words get the widths that trained networks need. */
#include "client/bench_nets.h"

#include <errno.h>
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnx.pb-c.h"

#define LAYERS_MAX 12
#define SIDE 28
#define NAME_MAX_BYTES 16

enum kind { END, CONV, DENSE, RELU, SQUARE, MAXPOOL };
struct layer_of {
	enum kind kind;
	int outputs, kernel, stride, pad;
};
static const struct layer_of networks[][LAYERS_MAX] = {
    ['A' - 'A'] = {{.kind = DENSE, .outputs = 128},
		   {.kind = RELU},
		   {.kind = DENSE, .outputs = 128},
		   {.kind = RELU},
		   {.kind = DENSE, .outputs = 10}},
    ['B' - 'A'] = {{CONV, 5, 5, 2, 1},
		   {.kind = SQUARE},
		   {.kind = DENSE, .outputs = 100},
		   {.kind = SQUARE},
		   {.kind = DENSE, .outputs = 10}},
    ['C' - 'A'] = {{CONV, 5, 5, 2, 2},
		   {.kind = RELU},
		   {.kind = DENSE, .outputs = 100},
		   {.kind = RELU},
		   {.kind = DENSE, .outputs = 10}},
    ['D' - 'A'] = {{CONV, 16, 5, 1, 0},
		   {MAXPOOL, 0, 2, 2, 0},
		   {.kind = RELU},
		   {CONV, 16, 5, 1, 0},
		   {MAXPOOL, 0, 2, 2, 0},
		   {.kind = RELU},
		   {.kind = DENSE, .outputs = 100},
		   {.kind = RELU},
		   {.kind = DENSE, .outputs = 10}},
};

/* The messages of one file; all memory is one list. */
struct chunk {
	struct chunk *next;
	_Alignas(max_align_t) char bytes[];
};
struct writer {
	struct chunk *chunks;
	int failed; /* memory was short */
	Onnx__GraphProto graph;
	Onnx__NodeProto *nodes[2 * LAYERS_MAX];
	Onnx__TensorProto *tensors[2 * LAYERS_MAX];
	char *at;    /* the value that the next node reads */
	int c, side; /* its shape: c × side × side; side 0: c numbers */
	unsigned named;
	uint8_t seed[randombytes_SEEDBYTES];
};

static void *take(struct writer *w, size_t bytes)
{
	struct chunk *c = calloc(1, sizeof(*c) + bytes);

	if (!c) {
		w->failed = 1;
		return NULL;
	}
	c->next = w->chunks;
	w->chunks = c;
	return c->bytes;
}

static char *name(struct writer *w, const char *what)
{
	char *text = take(w, NAME_MAX_BYTES);

	if (text)
		snprintf(text, NAME_MAX_BYTES, "%s%u", what, w->named++);
	return text;
}

/* ---- tensors ---- */

/* Uniform within ±1/√inputs, from the seed and the tensor's number. */
static void randomise(struct writer *w, float *x, size_t n, int inputs)
{
	uint32_t *bits = malloc(n * sizeof(*bits) + 1);
	double most = 1 / sqrt(inputs);

	if (!bits) {
		w->failed = 1;
		return;
	}
	w->seed[8] = (uint8_t)w->graph.n_initializer;
	randombytes_buf_deterministic(bits, n * sizeof(*bits), w->seed);
	for (size_t i = 0; i < n; i++)
		x[i] = (float)(most * ((double)bits[i] / 0x1p31 - 1));
	free(bits);
}

/* An initialiser of `rank` dimensions. Returns its name. */
static char *tensor(struct writer *w, int rank, const int64_t *dims, int inputs)
{
	Onnx__TensorProto *t = take(w, sizeof(*t));
	int64_t *copy = take(w, (size_t)rank * sizeof(*copy));
	size_t n = 1;

	if (!t || !copy)
		return NULL;
	onnx__tensor_proto__init(t);
	for (int i = 0; i < rank; i++) {
		copy[i] = dims[i];
		n *= (size_t)dims[i];
	}
	t->n_dims = (size_t)rank;
	t->dims = copy;
	t->has_data_type = 1;
	t->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
	t->name = name(w, "w");
	t->n_float_data = n;
	t->float_data = take(w, n * sizeof(float));
	if (t->float_data)
		randomise(w, t->float_data, n, inputs);
	w->tensors[w->graph.n_initializer++] = t;
	return t->name;
}

/* ---- nodes ---- */

/* Reads w->at and two more inputs (NULL: none); becomes w->at. */
static Onnx__NodeProto *node(struct writer *w, const char *op, char *second, char *third)
{
	Onnx__NodeProto *n = take(w, sizeof(*n));
	char **in = take(w, 3 * sizeof(*in)), **out = take(w, sizeof(*out));

	if (!n || !in || !out)
		return NULL;
	onnx__node_proto__init(n);
	in[0] = w->at;
	in[1] = second;
	in[2] = third;
	n->n_input = third ? 3 : second ? 2 : 1;
	n->input = in;
	n->output = out;
	n->n_output = 1;
	out[0] = w->at = name(w, "v");
	n->op_type = (char *)(uintptr_t)op;
	n->name = name(w, "n");
	n->attribute = take(w, 4 * sizeof(*n->attribute));
	w->nodes[w->graph.n_node++] = n;
	return n->attribute ? n : NULL;
}

static void attribute(struct writer *w, Onnx__NodeProto *n, const char *key, size_t count, int value)
{
	Onnx__AttributeProto *a = take(w, sizeof(*a));
	int64_t *ints = take(w, (count + 1) * sizeof(*ints));

	if (!a || !ints || !n)
		return;
	onnx__attribute_proto__init(a);
	a->name = (char *)(uintptr_t)key;
	a->has_type = 1;
	a->type =
	    count ? ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS : ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
	a->has_i = !count;
	a->i = value;
	a->n_ints = count;
	a->ints = ints;
	for (size_t i = 0; i < count; i++)
		ints[i] = value;
	n->attribute[n->n_attribute++] = a;
}

static void window(struct writer *w, Onnx__NodeProto *n, const struct layer_of *l)
{
	attribute(w, n, "kernel_shape", 2, l->kernel);
	attribute(w, n, "strides", 2, l->stride);
	attribute(w, n, "pads", 4, l->pad);
	w->side = (w->side + 2 * l->pad - l->kernel) / l->stride + 1;
}

static void conv(struct writer *w, const struct layer_of *l)
{
	int inputs = w->c * l->kernel * l->kernel;
	char *weights = tensor(w, 4, (int64_t[]){l->outputs, w->c, l->kernel, l->kernel}, inputs),
	     *bias = tensor(w, 1, (int64_t[]){l->outputs}, inputs);

	window(w, node(w, "Conv", weights, bias), l);
	w->c = l->outputs;
}

static void dense(struct writer *w, const struct layer_of *l)
{
	int inputs = w->side ? w->c * w->side * w->side : w->c;
	char *weights, *bias;

	if (w->side)
		node(w, "Flatten", NULL, NULL);
	weights = tensor(w, 2, (int64_t[]){l->outputs, inputs}, inputs);
	bias = tensor(w, 1, (int64_t[]){l->outputs}, inputs);
	attribute(w, node(w, "Gemm", weights, bias), "transB", 0, 1);
	w->c = l->outputs;
	w->side = 0;
}

static void add(struct writer *w, const struct layer_of *l)
{
	if (l->kind == CONV)
		conv(w, l);
	else if (l->kind == DENSE)
		dense(w, l);
	else if (l->kind == RELU)
		node(w, "Relu", NULL, NULL);
	else if (l->kind == SQUARE)
		node(w, "Mul", w->at, NULL);
	else
		window(w, node(w, "MaxPool", NULL, NULL), l);
}

/* ---- the file ---- */

/* A float tensor of these dimensions, as the graph's input or output says it. */
static Onnx__ValueInfoProto *info(struct writer *w, char *value, size_t rank, const int64_t *dims)
{
	Onnx__ValueInfoProto *v = take(w, sizeof(*v));
	Onnx__TypeProto *type = take(w, sizeof(*type));
	Onnx__TypeProto__Tensor *t = take(w, sizeof(*t));
	Onnx__TensorShapeProto *shape = take(w, sizeof(*shape));
	Onnx__TensorShapeProto__Dimension **list = take(w, rank * sizeof(*list));

	if (!v || !type || !t || !shape || !list)
		return NULL;
	onnx__value_info_proto__init(v);
	onnx__type_proto__init(type);
	onnx__type_proto__tensor__init(t);
	onnx__tensor_shape_proto__init(shape);
	for (size_t i = 0; i < rank; i++) {
		list[i] = take(w, sizeof(*list[i]));
		if (!list[i])
			return NULL;
		onnx__tensor_shape_proto__dimension__init(list[i]);
		list[i]->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
		list[i]->dim_value = dims[i];
	}
	shape->n_dim = rank;
	shape->dim = list;
	t->has_elem_type = 1;
	t->elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
	t->shape = shape;
	type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
	type->tensor_type = t;
	v->name = value;
	v->type = type;
	return v;
}

static int write_all(const char *path, const uint8_t *bytes, size_t n, struct err *e)
{
	FILE *f = fopen(path, "we");
	int failed = !f || fwrite(bytes, 1, n, f) != n;

	if (f && fclose(f))
		failed = 1;
	return failed ? err_set(e, ERR_ENV, "cannot write %s: %s", path, strerror(errno)) : 0;
}

static int save(struct writer *w, const char *path, struct err *e)
{
	Onnx__ValueInfoProto *in = info(w, "image", 4, (int64_t[]){1, 1, SIDE, SIDE}),
			     *out = info(w, w->at, 2, (int64_t[]){1, w->c});
	Onnx__OperatorSetIdProto opset = ONNX__OPERATOR_SET_ID_PROTO__INIT, *sets = &opset;
	Onnx__ModelProto model = ONNX__MODEL_PROTO__INIT;
	uint8_t *bytes;
	size_t n;
	int r;

	opset.domain = "";
	opset.has_version = 1;
	opset.version = 13;
	model.has_ir_version = 1;
	model.ir_version = 7;
	model.producer_name = "obscura bench";
	model.opset_import = &sets;
	model.n_opset_import = 1;
	model.graph = &w->graph;
	w->graph.name = "network";
	w->graph.input = &in;
	w->graph.output = &out;
	w->graph.n_input = w->graph.n_output = 1;
	w->graph.node = w->nodes;
	w->graph.initializer = w->tensors;
	n = w->failed ? 0 : onnx__model_proto__get_packed_size(&model);
	bytes = n ? malloc(n) : NULL;
	if (!bytes)
		return err_set(e, ERR_ENV, "out of memory for a network");
	onnx__model_proto__pack(&model, bytes);
	r = write_all(path, bytes, n, e);
	free(bytes);
	return r;
}

int bench_net_write(const char *path, char network, uint64_t seed, struct err *e)
{
	struct writer w = {.graph = ONNX__GRAPH_PROTO__INIT, .at = "image", .c = 1, .side = SIDE};
	const struct layer_of *l;
	int r;

	if (network < 'A' || network > 'D')
		return err_set(e, ERR_USAGE, "there is no network %c; there are A, B, C, D", network);
	memcpy(w.seed, &seed, sizeof(seed));
	w.seed[9] = (uint8_t)network;
	for (l = networks[network - 'A']; l->kind && !w.failed; l++)
		add(&w, l);
	r = save(&w, path, e);
	while (w.chunks) {
		struct chunk *next = w.chunks->next;

		free(w.chunks);
		w.chunks = next;
	}
	return r;
}
