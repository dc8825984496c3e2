/* SPDX-License-Identifier: Apache-2.0 */
/* obscura model check: every node of an ONNX file and what becomes of it. */
#include <stdio.h>
#include <string.h>

#include "client/command.h"
#include "client/enclave.h"
#include "client/json.h"
#include "client/sheet.h"

/* One of the two is set. */
struct report {
	struct sheet *sheet;
	struct json_object *nodes;
};

static void report_node(void *ctx, const char *node, const char *op, const char *shape, const char *status)
{
	struct report *r = ctx;
	struct json_object *o;

	if (r->sheet) {
		sheet_row(r->sheet);
		sheet_cell(r->sheet, "%s", node);
		sheet_cell(r->sheet, "%s", op);
		sheet_cell(r->sheet, "%s", shape);
		sheet_cell(r->sheet, "%s", status);
		return;
	}
	o = json_object_new_object();
	json_text(o, "node", node);
	json_text(o, "op", op);
	json_text(o, "shape", shape);
	json_text(o, "status", status);
	json_object_array_add(r->nodes, o);
}

static void print_floats(const char *what, const float *x, unsigned n)
{
	printf("%s", what);
	for (unsigned i = 0; i < n; i++)
		printf("%s%.7g", i ? ", " : " ", x[i]);
}

static int all_are(const float *x, unsigned n, float value)
{
	while (n && x[n - 1] == value)
		n--;
	return !n;
}

static void print_summary(const struct graph *g)
{
	static const char *const outputs[] = {"as they are", "softmax", "log-softmax", "sigmoid",
					      "the greatest"};
	const struct shape in = g->nodes[0].shape, out = g->nodes[g->n - 1].shape;
	unsigned channels = in.c < NN_MAX_CHANNELS ? in.c : NN_MAX_CHANNELS;

	printf("\n%s takes %u×%u×%u 8-bit pixels, ", g->name, in.c, in.h, in.w);
	print_floats("(pixel /", &g->pre.scale, 1);
	print_floats(" - mean", g->pre.mean, channels);
	print_floats(") / std", g->pre.std, channels);
	printf(", %s.\nIt gives %zu scores, shown: %s.",
	       g->pre.resize == NN_RESIZE_NONE ? "not resized" : "resized bilinearly", shape_size(out),
	       outputs[g->output]);
	for (uint32_t i = 0; i < g->pre.n_labels; i++)
		printf("%s%s", i ? ", " : " Labels: ", g->pre.labels[i]);
	puts("");
	if (!g->pre.composed && all_are(g->pre.mean, channels, 0) && all_are(g->pre.std, channels, 1))
		puts("Neither the model nor a file beside it names a mean and a std: if it was trained with "
		     "some, its results are wrong without them.");
}

/* Import and plan: what graph_check cannot see, that the numbers do not fit, shows here. */
static int check_whole(const struct args *a, const char *path, int json, struct err *e)
{
	struct plan_options options = plan_defaults();
	struct weights *weights;
	struct graph *g;
	struct plan *plan;
	int r;

	if (args_model(a, path, &g, e))
		return -1;
	r = plan_make(&plan, &weights, NULL, g, &options, e);
	if (!r) {
		plan_free(plan);
		weights_free(weights);
		if (!json)
			print_summary(g);
	}
	graph_free(g);
	return r;
}

static int print_json(const char *path, struct json_object *nodes, int failed, const struct err *why,
		      struct err *e)
{
	struct json_object *o = json_object_new_object();

	json_text(o, "model", path);
	json_object_object_add(o, "nodes", nodes);
	json_object_object_add(o, "ok", json_object_new_boolean(!failed));
	json_text(o, "error", failed ? why->text : NULL);
	return json_line(o, e);
}

int command_model(struct args *a, struct err *e)
{
	int json = a->flag[FLAG_json] != NULL, failed;
	struct report report = {0};
	struct err why = {0};

	if (a->n && (!strcmp(a->words[0], "provision") || !strcmp(a->words[0], "seal")))
		return model_provision(a, e);
	if (a->n != 2 || strcmp(a->words[0], "check"))
		return args_wrong(a, e);
	if (json)
		report.nodes = json_object_new_array();
	else if (sheet_new(&report.sheet, "NODE|OPERATOR|SHAPE|STATUS", e))
		return -1;
	failed = graph_check(a->words[1], report_node, &report, &why);
	if (!json && sheet_print(report.sheet, e))
		return -1;
	if (!failed)
		failed = check_whole(a, a->words[1], json, &why);
	if (json && print_json(a->words[1], report.nodes, failed, &why, e))
		return -1;
	if (!failed)
		return 0;
	if (strstr(why.text, a->words[1]))
		return err_set(e, why.code, "%s", why.text);
	return err_set(e, why.code, "%.200s: %.300s", a->words[1], why.text);
}
