/* SPDX-License-Identifier: Apache-2.0 */
/* nn/graph.h — a network after import: a few kinds of nodes over (channels, height, width) tensors of one
 * image. */
#ifndef OBSCURA_NN_GRAPH_H
#define OBSCURA_NN_GRAPH_H

#include <stddef.h>
#include <stdint.h>
#include "conf/err.h"

#define NN_MAX_ELEMENTS (1u << 24) /* of one tensor; a larger one is refused */
#define NN_MAX_CHANNELS 4	   /* of an input image */
#define NN_MAX_INPUTS 8		   /* of one node */

/* Elements are stored channel-major: index = (c*h + y)*w + x. A vector has h = w = 1. */
struct shape {
	uint32_t c, h, w;
};
static inline size_t shape_size(struct shape s)
{
	return (size_t)s.c * s.h * s.w;
}

/* A sliding window over `in`, for convolutions and pools. Output (y, x) covers input rows y*sh - pt + i*dh, 0
 * <= i < kh, and columns alike; positions outside `in` are zero (convolution, average) or absent (maximum).
 * Pads at the bottom and right are implied by `out`. */
struct window {
	struct shape in, out; /* out.c = filters (convolution) or in.c (pool) */
	uint32_t kh, kw, sh, sw, dh, dw;
	int32_t pt, pl;
};

enum nn_kind {
	NN_INPUT,
	NN_CONV,  /* win, groups, weights out.c × in.c/groups × kh × kw, bias out.c */
	NN_DENSE, /* weights m × n row-major over the flattened input, bias m; shape (m,1,1) */
	NN_RELU,
	NN_MAXPOOL, /* win */
	NN_AVGPOOL, /* win, divisors: out.h × out.w */
	NN_ADD,	    /* two inputs of one shape (they may be the same node) */
	NN_SQUARE,
	NN_CONCAT, /* along channels */
	NN_PAD,	   /* zeros: win with kh = kw = sh = sw = dh = dw = 1 and out larger than in */
	NN_KINDS
};

struct node {
	enum nn_kind kind;
	char *name;			/* owns; the ONNX node's name or output, for messages */
	uint32_t inputs[NN_MAX_INPUTS]; /* indices of earlier nodes */
	uint32_t n_inputs;
	struct shape shape; /* of the output */
	struct window win;
	uint32_t groups;
	float *weights, *bias; /* own; finite */
	/* owns; of NN_AVGPOOL: how many elements each output position is divided by */
	uint32_t *divisors;
};

/* Applied by the data owner to the revealed result. */
enum nn_output { NN_OUT_NONE, NN_OUT_SOFTMAX, NN_OUT_LOGSOFTMAX, NN_OUT_SIGMOID, NN_OUT_ARGMAX };

enum nn_resize { NN_RESIZE_BILINEAR, NN_RESIZE_NONE };

/* What turns 8-bit pixels into the network's input: (pixel/scale - mean[c]) / std[c]. From metadata_props
 * "obscura.input" or MODEL.json. */
struct preprocess {
	float scale, mean[NN_MAX_CHANNELS], std[NN_MAX_CHANNELS];
	enum nn_resize resize;
	char **labels; /* owns; NULL or n_labels names */
	uint32_t n_labels;
	int label_only; /* the model's owner lets data owners learn labels, no scores */
	/* mean and std include arithmetic of the network itself on its input: overriding them would undo
	 * it */
	int composed;
};

/* nodes[0] is the input, nodes[n-1] is the output; each node's inputs come before it; no node is unused. */
struct graph {
	char *name; /* owns: the file's base name without .onnx */
	struct node *nodes;
	uint32_t n;
	struct preprocess pre;
	enum nn_output output;
};

/* Imports an ONNX file (and MODEL.json beside it, if there is one). Constants are evaluated, relabelling
 * operators vanish, BatchNormalization, MatMul + Add and scalings are folded into neighbours (a
 * BatchNormalization that has no convolution or dense layer before it becomes a depthwise 1×1 convolution).
 * Normalisation of `pre` is NOT folded here. On failure e names node, operator, shapes and a way out
 * (ERR_INPUT). */
int graph_load(struct graph **graph, const char *path, struct err *e) MUST_USE;
/* The same from memory: bytes is hostile. json may be NULL. */
int graph_parse(struct graph **graph, const char *name, const uint8_t *onnx, size_t bytes, const char *json,
		struct err *e) MUST_USE;
void graph_free(struct graph *graph);

/* Calls back for every node of the ONNX file in order, importable or not: for `obscura model check`. status
 * is "ok", "constant", "folded" or the reason of the refusal with a way out. Returns 0 when the model can be
 * imported, else -1 with e set to the first reason. */
typedef void (*graph_report)(void *ctx, const char *node, const char *op, const char *shape,
			     const char *status);
int graph_check(const char *path, graph_report report, void *ctx, struct err *e) MUST_USE;

/* Float reference (nn/float.c). pixels: shape_size(nodes[0].shape) 8-bit values, CHW; preprocessed as g->pre
 * says. out: shape_size of the last node floats, before g->output is applied. values, when not NULL, receives
 * each node's output (array of n pointers to buffers that the caller owns). */
struct float_run;
int float_new(struct float_run **run, const struct graph *g, struct err *e) MUST_USE;
void float_infer(struct float_run *run, const uint8_t *pixels, float *out);
const float *float_value(const struct float_run *run, uint32_t node);
void float_free(struct float_run *run);

/* Applies g->output to n logits in place, numerically stable; ARGMAX and NONE leave them. */
void float_output(enum nn_output output, float *logits, size_t n);

#endif
