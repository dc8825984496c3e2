/* SPDX-License-Identifier: Apache-2.0 */
/* nn/onnx.h — the inside of the ONNX importer: values by name, one call per node. Only nn/onnx*.c and
 * nn/graph*.c include it. */
#ifndef OBSCURA_NN_ONNX_H
#define OBSCURA_NN_ONNX_H

#include <stddef.h>
#include <stdint.h>
#include "conf/err.h"
#include "nn/graph.h"
#include "onnx.pb-c.h"

#define ONNX_MAX_BYTES (512u << 20) /* of a file */
#define ONNX_MAX_NODES 65536u
#define ONNX_MAX_RANK 8
#define ONNX_MAX_EXTENT (1 << 15) /* kernel, stride, dilation, pad */
#define ONNX_SHAPE_TEXT 96

/* s·x + t before it is folded into a neighbour. groups = 1: one pair per channel; 0: one per element. weights
 * = s, bias = t. */
#define NN_AFFINE NN_KINDS

enum val_kind {
	VAL_NONE,  /* not written yet */
	VAL_BAD,   /* its node was refused (graph_check goes on) */
	VAL_INIT,  /* an initialiser that nobody asked for yet */
	VAL_CONST, /* f or i */
	VAL_ACT	   /* element j of the value is element order[j] of node's output (order NULL: j) */
};

struct val {
	const char *name; /* printable */
	const char *key;  /* as in the file */
	enum val_kind kind;
	unsigned rank;
	int64_t dims[ONNX_MAX_RANK]; /* each >= 0; product n <= NN_MAX_ELEMENTS */
	size_t n;
	float *f;   /* VAL_CONST of a float type */
	int64_t *i; /* VAL_CONST of an integer or boolean type */
	uint32_t node;
	uint32_t *order;
	enum nn_output output; /* what was already moved behind the network */
	const Onnx__TensorProto *init;
	int needed; /* the output depends on it */
};

/* One import. Everything that is not part of the graph lives in the arena and goes with it. */
struct import {
	const Onnx__GraphProto *proto;
	int64_t opset;
	struct graph *g;
	uint32_t cap;
	struct val *vals; /* open addressing by key; mask + 1 slots */
	size_t mask;
	struct block *blocks;
	int nhwc;      /* the input has its channels last */
	size_t budget; /* bytes that may still be allocated: a small file must not ask for the whole memory */
};

/* One node of the file while it is lowered. */
struct call {
	const Onnx__NodeProto *p;
	const char *name, *op;
	struct val **in; /* NULL where an optional input is absent */
	size_t n_in;
	struct val *out;
	const char *status; /* for graph_check: "ok" unless the operator says otherwise */
};

/* nn/onnx_scan.c — before protobuf-c, which recurses: nesting, counts and lengths of the raw bytes. */
int onnx_scan(const uint8_t *bytes, size_t n, struct err *e) MUST_USE;

/* nn/onnx_value.c */
int import_begin(struct import *im, const Onnx__GraphProto *proto, int64_t opset, size_t file_bytes,
		 struct err *e) MUST_USE;
void import_end(struct import *im);
void *import_alloc(struct import *im, size_t n, size_t size,
		   struct err *e) MUST_USE; /* zeroed; owned by im */
int import_spend(struct import *im, size_t n, size_t size, struct err *e) MUST_USE;
const char *import_printable(struct import *im, const char *s, struct err *e) MUST_USE;
struct val *import_find(const struct import *im, const char *key);
struct val *import_value(struct import *im, const char *key, struct err *e) MUST_USE; /* finds or adds */
int tensor_decode(struct import *im, struct val *v, const Onnx__TensorProto *t, struct err *e) MUST_USE;
int val_dims(struct val *v, unsigned rank, const int64_t *dims,
	     struct err *e) MUST_USE; /* sets rank, dims, n */
int val_new_const(struct import *im, struct val *v, int is_int, unsigned rank, const int64_t *dims,
		  struct err *e) MUST_USE;
/* Element k of a constant becomes element j of another of its type. */
void val_copy_one(struct val *to, size_t j, const struct val *from, size_t k);
const char *dims_text(char text[ONNX_SHAPE_TEXT], unsigned rank, const int64_t *dims);

/* nn/onnx_call.c — what every operator needs. */
int refuse(const struct call *c, struct err *e, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
const Onnx__AttributeProto *attr_find(const struct call *c, const char *name);
int attr_int(const struct call *c, const char *name, int64_t absent, int64_t *value, struct err *e) MUST_USE;
int attr_float(const struct call *c, const char *name, float absent, float *value, struct err *e) MUST_USE;
int attr_ints(const struct call *c, const char *name, const int64_t **values, size_t *n,
	      struct err *e) MUST_USE; /* absent: NULL, 0 */
int attr_is(const struct call *c, const char *name, const char *absent, const char *text);
struct val *call_in(const struct call *c, size_t i); /* NULL when absent */
int call_floats(const struct call *c, size_t i, const struct val **v, struct err *e) MUST_USE;
int call_ints(const struct call *c, size_t i, const char *attr, const int64_t **values, size_t *n,
	      struct err *e) MUST_USE;
int call_scalar(const struct call *c, size_t i, const char *attr, float absent, float *value,
		struct err *e) MUST_USE;
int call_axis(const struct call *c, int64_t axis, unsigned rank, unsigned *out, struct err *e) MUST_USE;
int call_image(struct import *im, const struct call *c, size_t i, struct shape *s, struct err *e) MUST_USE;
int call_node(struct import *im, const struct call *c, enum nn_kind kind, struct shape s,
	      const uint32_t *inputs, uint32_t n, uint32_t *node, struct err *e) MUST_USE;
int call_result(const struct call *c, uint32_t node, unsigned rank, const int64_t *dims,
		struct err *e) MUST_USE;
int call_result_image(const struct call *c, uint32_t node, struct shape s, struct err *e) MUST_USE;
int call_like(const struct call *c, uint32_t node, const struct val *x);
float *call_floats_new(struct import *im, size_t n,
		       struct err *e) MUST_USE; /* zeroed, malloc: to be owned by a node */

/* nn/onnx.c: one node; 1 when it waits for one that was refused. The initialisers of a graph. */
int import_node(struct import *im, const Onnx__NodeProto *p, struct call *c, struct err *e) MUST_USE;
int import_initialisers(struct import *im, const Onnx__GraphProto *p, struct err *e) MUST_USE;

/* nn/onnx_if.c: graphs inside of nodes. */
size_t graph_names(const Onnx__GraphProto *g);
int graph_register(struct import *im, const Onnx__GraphProto *g, struct err *e) MUST_USE;
void node_needs(struct import *im, const Onnx__NodeProto *p);
int op_if(struct import *im, struct call *c, struct err *e);

/* The operators (nn/onnx_ops.c holds the table). */
typedef int (*op_fn)(struct import *im, struct call *c, struct err *e);
int onnx_lower(struct import *im, struct call *c, struct err *e) MUST_USE;

int op_identity(struct import *im, struct call *c, struct err *e); /* nn/onnx_shape.c */
int op_reshape(struct import *im, struct call *c, struct err *e);
int op_flatten(struct import *im, struct call *c, struct err *e);
int op_squeeze(struct import *im, struct call *c, struct err *e);
int op_unsqueeze(struct import *im, struct call *c, struct err *e);
int op_transpose(struct import *im, struct call *c, struct err *e);
int op_dropout(struct import *im, struct call *c, struct err *e);
int op_cast(struct import *im, struct call *c, struct err *e);
int op_shape(struct import *im, struct call *c, struct err *e);

int op_constant(struct import *im, struct call *c, struct err *e); /* nn/onnx_const.c */
int op_fill(struct import *im, struct call *c, struct err *e);
int op_const_gather(struct import *im, struct call *c, struct err *e);
int op_const_concat(struct import *im, struct call *c, struct err *e);
int op_const_slice(struct import *im, struct call *c, struct err *e);
int op_const_range(struct import *im, struct call *c, struct err *e);
int op_const_expand(struct import *im, struct call *c, struct err *e); /* nn/onnx_math.c */
int op_const_binary(struct import *im, struct call *c, struct err *e);
int op_const_unary(struct import *im, struct call *c, struct err *e);
int op_const_where(struct import *im, struct call *c, struct err *e);
size_t bcast_index(const struct val *v, unsigned rank, const int64_t *dims, size_t at);

int op_conv(struct import *im, struct call *c, struct err *e); /* nn/onnx_window.c */
int op_maxpool(struct import *im, struct call *c, struct err *e);
int op_avgpool(struct import *im, struct call *c, struct err *e);
int op_globalpool(struct import *im, struct call *c, struct err *e);
int op_reduce_mean(struct import *im, struct call *c, struct err *e);
int op_pad(struct import *im, struct call *c, struct err *e);

int op_gemm(struct import *im, struct call *c, struct err *e); /* nn/onnx_linear.c */
int op_matmul(struct import *im, struct call *c, struct err *e);
int op_batchnorm(struct import *im, struct call *c, struct err *e);
int op_scale(struct import *im, struct call *c, struct err *e); /* Add, Sub, Mul, Div by a constant; Neg */
int op_add(struct import *im, struct call *c, struct err *e);	/* Add, Sub, Sum */
int op_neg(struct import *im, struct call *c, struct err *e);
int op_mul(struct import *im, struct call *c, struct err *e);
int op_affine(struct import *im, struct call *c, uint32_t in, float s, float t, uint32_t *node,
	      struct err *e); /* s·x + t */

int op_relu(struct import *im, struct call *c, struct err *e); /* nn/onnx_point.c */
int op_leaky(struct import *im, struct call *c, struct err *e);
int op_clip(struct import *im, struct call *c, struct err *e);
int op_pow(struct import *im, struct call *c, struct err *e);
int op_concat(struct import *im, struct call *c, struct err *e);
int op_last(struct import *im, struct call *c, struct err *e);

/* nn/graph.c */
int graph_add(struct graph *g, uint32_t *cap, enum nn_kind kind, const char *name, struct shape s,
	      const uint32_t *inputs, uint32_t n, uint32_t *index, struct err *e) MUST_USE;
/* nn/graph_fold.c: pads into windows, affine nodes into neighbours, unused nodes out. last: index of the
 * output. */
int graph_fold(struct graph *g, uint32_t last, struct err *e) MUST_USE;
/* nn/graph_pre.c: applies JSON text to g->pre; where names it in messages. */
int graph_preprocess(struct graph *g, const char *json, const char *where, int nhwc, struct err *e) MUST_USE;

#endif
