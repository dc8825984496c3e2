/* SPDX-License-Identifier: Apache-2.0 */
/* The operators by name, and a way out for those that are not there. */
#include "nn/onnx.h"

#include <string.h>

#define AFTER 1 /* may follow an output function such as Softmax */
#define MIXED 2 /* input 0 may be constant although another one is not */

/* act: some input depends on the image. constant: none does. */
struct op_row {
	const char *name;
	op_fn act, constant;
	int flags;
};

static const struct op_row ops[] = {
    {"Add", op_add, op_const_binary, MIXED},
    {"ArgMax", op_last, NULL, AFTER},
    {"AveragePool", op_avgpool, NULL, 0},
    {"BatchNormalization", op_batchnorm, NULL, 0},
    {"Cast", op_cast, op_cast, AFTER},
    {"Ceil", NULL, op_const_unary, 0},
    {"Clip", op_clip, NULL, 0},
    {"Concat", op_concat, op_const_concat, MIXED},
    {"Constant", NULL, op_constant, 0},
    {"ConstantOfShape", NULL, op_fill, 0},
    {"Conv", op_conv, NULL, 0},
    {"Div", op_scale, op_const_binary, MIXED},
    {"Dropout", op_dropout, op_dropout, AFTER},
    {"Equal", NULL, op_const_binary, 0},
    {"Exp", NULL, op_const_unary, 0},
    {"Expand", NULL, op_const_expand, 0},
    {"Flatten", op_flatten, op_flatten, AFTER},
    {"Floor", NULL, op_const_unary, 0},
    {"Gather", NULL, op_const_gather, 0},
    {"Gemm", op_gemm, NULL, MIXED},
    {"GlobalAveragePool", op_globalpool, NULL, 0},
    {"Greater", NULL, op_const_binary, 0},
    {"Identity", op_identity, op_identity, AFTER},
    {"If", NULL, op_if, 0},
    {"LeakyRelu", op_leaky, NULL, 0},
    {"Less", NULL, op_const_binary, 0},
    {"LogSoftmax", op_last, NULL, 0},
    {"MatMul", op_matmul, NULL, MIXED},
    {"Max", NULL, op_const_binary, 0},
    {"MaxPool", op_maxpool, NULL, 0},
    {"Min", NULL, op_const_binary, 0},
    {"Mul", op_mul, op_const_binary, MIXED},
    {"Neg", op_neg, op_const_unary, 0},
    {"Pad", op_pad, NULL, 0},
    {"Pow", op_pow, op_const_binary, 0},
    {"Range", NULL, op_const_range, 0},
    {"Reciprocal", NULL, op_const_unary, 0},
    {"ReduceMean", op_reduce_mean, NULL, 0},
    {"Relu", op_relu, NULL, 0},
    {"Reshape", op_reshape, op_reshape, AFTER},
    {"Shape", op_shape, op_shape, AFTER},
    {"Sigmoid", op_last, NULL, 0},
    {"Size", op_shape, op_shape, AFTER},
    {"Slice", NULL, op_const_slice, 0},
    {"Softmax", op_last, NULL, 0},
    {"Sqrt", NULL, op_const_unary, 0},
    {"Squeeze", op_squeeze, op_squeeze, AFTER},
    {"Sub", op_add, op_const_binary, MIXED},
    {"Sum", op_add, NULL, MIXED},
    {"Transpose", op_transpose, op_transpose, 0},
    {"Unsqueeze", op_unsqueeze, op_unsqueeze, AFTER},
    {"Where", NULL, op_const_where, 0},
};

/* Operators that people meet, and what to do about them. */
static const struct {
	const char *names, *way_out;
} ways_out[] = {
    {" Tanh Elu Selu Celu Gelu Softplus Softsign HardSigmoid HardSwish Mish Erf PRelu ThresholdedRelu Abs "
     "Exp ",
     "replace this activation by ReLU or a square and train again"},
    {" If Loop Scan ",
     "control flow has no place in a public plan: export with fixed shapes, or run onnxsim"},
    {" QLinearConv QLinearMatMul QuantizeLinear DequantizeLinear ConvInteger MatMulInteger "
     "DynamicQuantizeLinear ",
     "export the float32 model; quantisation is done here"},
    {" LSTM GRU RNN Attention LayerNormalization InstanceNormalization GroupNormalization LpNormalization "
     "LRN ",
     "use BatchNormalization and feed-forward layers"},
    {" GlobalMaxPool ReduceMax ", "use MaxPool with a kernel as large as the image"},
    {" ReduceSum LpPool ", "use AveragePool or ReduceMean over height and width"},
    {" ConvTranspose Upsample Resize ", "only classification is supported; resize images before they enter"},
    {" Slice Split Gather Expand Where ",
     "activations cannot be cut apart; run onnxsim if this is left over from an export"},
    {" Max Min ", "express it with Relu or Clip"},
    {" HardMax TopK ", "end the network with its scores; the client ranks them"},
};

static const char *way_out(const char *op)
{
	char word[64];
	size_t n = strlen(op);

	if (n > sizeof(word) - 3)
		n = sizeof(word) - 3;
	word[0] = ' ';
	memcpy(word + 1, op, n);
	word[n + 1] = ' ';
	word[n + 2] = 0;
	for (size_t i = 0; i < sizeof(ways_out) / sizeof(*ways_out); i++)
		if (strstr(ways_out[i].names, word))
			return ways_out[i].way_out;
	return "replace it by Conv, Gemm, Relu, pooling, BatchNormalization or Add, or run onnxsim to remove "
	       "it";
}

static const struct op_row *op_find(const char *name)
{
	for (size_t i = 0; i < sizeof(ops) / sizeof(*ops); i++)
		if (!strcmp(ops[i].name, name))
			return &ops[i];
	return NULL;
}

int onnx_lower(struct import *im, struct call *c, struct err *e)
{
	const struct op_row *row = op_find(c->p->op_type ? c->p->op_type : "");
	int active = 0, after = 0;
	op_fn fn;

	if (c->p->domain && *c->p->domain && strcmp(c->p->domain, "ai.onnx"))
		return refuse(c, e,
			      "operators of other domains than ONNX's own are not supported; export without "
			      "custom operators");
	for (size_t j = 0; j < c->n_in; j++) {
		active |= c->in[j] && c->in[j]->kind == VAL_ACT;
		after |= c->in[j] && c->in[j]->output != NN_OUT_NONE;
	}
	fn = !row ? NULL : active ? row->act : row->constant;
	if (!fn)
		return refuse(
		    c, e,
		    row && !active
			? "its inputs are constant, which is only supported for shape arithmetic; %s"
			: "this operator is not supported; %s",
		    way_out(c->op));
	if (after && !(row->flags & AFTER))
		return refuse(c, e,
			      "Softmax, LogSoftmax, Sigmoid and ArgMax are only supported at the network's "
			      "output; use ReLU inside it");
	if (active && (!call_in(c, 0) || (c->in[0]->kind != VAL_ACT && !(row->flags & MIXED))))
		return refuse(c, e, "input 0 must depend on the image");
	c->status = active ? "ok" : "constant";
	return fn(im, c, e);
}
