/* SPDX-License-Identifier: Apache-2.0 */
/* If with a constant condition: PyTorch writes one around every squeeze of a dimension that it does not know.
 * The branch that is taken is lowered in place; its names live in the one table, since ONNX forbids
 * shadowing. */
#include "nn/onnx.h"

static const Onnx__GraphProto *subgraph(const Onnx__NodeProto *p, size_t i)
{
	return p->attribute[i]->g;
}

/* Names that a graph may add to the table. Recursion is as deep as onnx_scan lets messages nest. */
size_t graph_names(const Onnx__GraphProto *g)
{
	size_t n = g->n_initializer + g->n_input;

	for (size_t i = 0; i < g->n_node; i++) {
		n += g->node[i]->n_output;
		for (size_t j = 0; j < g->node[i]->n_attribute; j++)
			n += subgraph(g->node[i], j) ? graph_names(subgraph(g->node[i], j)) : 0;
	}
	return n;
}

/* Names everything that the nodes write. */
int graph_register(struct import *im, const Onnx__GraphProto *g, struct err *e)
{
	for (size_t i = 0; i < g->n_node; i++) {
		const Onnx__NodeProto *p = g->node[i];
		for (size_t j = 0; j < p->n_output; j++)
			if (*p->output[j] && !import_value(im, p->output[j], e))
				return -1;
		for (size_t j = 0; j < p->n_attribute; j++)
			if (subgraph(p, j) && graph_register(im, subgraph(p, j), e))
				return -1;
	}
	return 0;
}

/* Marks what a node reads, in its subgraphs as well. */
void node_needs(struct import *im, const Onnx__NodeProto *p)
{
	struct val *v;

	for (size_t j = 0; j < p->n_input; j++)
		if ((v = import_find(im, p->input[j])))
			v->needed = 1;
	for (size_t j = 0; j < p->n_attribute; j++) {
		const Onnx__GraphProto *g = subgraph(p, j);
		if (!g)
			continue;
		for (size_t i = 0; i < g->n_node; i++)
			node_needs(im, g->node[i]);
		for (size_t i = 0; i < g->n_output; i++)
			if (g->output[i]->name && (v = import_find(im, g->output[i]->name)))
				v->needed = 1;
	}
}

int op_if(struct import *im, struct call *c, struct err *e)
{
	const struct val *cond = call_in(c, 0);
	const Onnx__AttributeProto *a;
	const struct val *result;
	const char *name, *key;

	if (!cond || cond->n != 1 || !cond->i)
		return refuse(c, e,
			      "the condition is not one constant; export with fixed shapes, or run onnxsim");
	a = attr_find(c, cond->i[0] ? "then_branch" : "else_branch");
	if (!a || !a->g || a->g->n_output != 1 || !a->g->output[0]->name || a->g->n_node > ONNX_MAX_NODES)
		return refuse(c, e, "its branch does not give one result");
	if (import_initialisers(im, a->g, e))
		return -1;
	for (size_t i = 0; i < a->g->n_node; i++) {
		struct call inner;
		int code = import_node(im, a->g->node[i], &inner, e);
		if (code)
			return code;
	}
	result = import_find(im, a->g->output[0]->name);
	if (!result || (result->kind != VAL_CONST && result->kind != VAL_ACT))
		return refuse(c, e, "no node of its branch writes the result");
	name = c->out->name;
	key = c->out->key;
	*c->out = *result;
	c->out->name = name;
	c->out->key = key;
	c->status = result->kind == VAL_CONST ? "constant" : "folded";
	return 0;
}
