/* SPDX-License-Identifier: Apache-2.0 */
/* ONNX import: bytes → messages (protobuf-c) → values by name, node after node → graph. */
#include "nn/onnx.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JSON_MAX_BYTES (1u << 20)

/* One file on its way in; report is for graph_check. */
struct job {
	const char *name, *json, *json_name;
	const uint8_t *bytes;
	size_t n;
	graph_report report;
	void *ctx;
};

static int check_versions(const Onnx__ModelProto *m, int64_t *opset, struct err *e)
{
	*opset = -1;
	if (!m->has_ir_version || m->ir_version < 3 || m->ir_version > 10)
		return err_set(e, ERR_INPUT,
			       "ONNX IR version %lld: 3 to 10 are accepted; export again or convert with "
			       "onnx.version_converter",
			       m->has_ir_version ? (long long)m->ir_version : 0);
	for (size_t i = 0; i < m->n_opset_import; i++) {
		const char *domain = m->opset_import[i]->domain;
		if (!domain || !*domain || !strcmp(domain, "ai.onnx"))
			*opset = m->opset_import[i]->version;
	}
	if (*opset < 7 || *opset > 21)
		return err_set(e, ERR_INPUT,
			       "ONNX opset %lld: 7 to 21 are accepted; export again with opset_version=17",
			       (long long)*opset);
	return m->graph ? 0 : err_set(e, ERR_INPUT, "the ONNX file holds no graph");
}

int import_initialisers(struct import *im, const Onnx__GraphProto *p, struct err *e)
{
	struct val *v;

	if (p->n_sparse_initializer)
		return err_set(e, ERR_INPUT,
			       "sparse initialisers are not supported: store dense float32 weights");
	for (size_t i = 0; i < p->n_initializer; i++) {
		if (!p->initializer[i]->name || !*p->initializer[i]->name)
			return err_set(e, ERR_INPUT, "initialiser %zu has no name", i);
		v = import_value(im, p->initializer[i]->name, e);
		if (!v)
			return -1;
		if (v->kind != VAL_NONE)
			return err_set(e, ERR_INPUT, "initialiser '%.80s' occurs twice", v->name);
		v->kind = VAL_INIT;
		v->init = p->initializer[i];
		v->rank = 0;
		for (size_t d = 0; d < v->init->n_dims && d < ONNX_MAX_RANK; d++)
			v->dims[v->rank++] = v->init->dims[d];
	}
	return 0;
}

/* The batch may be symbolic, 0, -1 or 1; everything else must be a number. */
static int input_dims(struct val *v, const Onnx__TensorShapeProto *s, struct err *e)
{
	int64_t dims[4];

	if (s->n_dim < 2 || s->n_dim > 4)
		return err_set(e, ERR_INPUT,
			       "input '%.80s' has %zu dimensions: (batch, channels, height, width) or "
			       "(batch, pixels) are accepted",
			       v->name, s->n_dim);
	for (size_t i = 0; i < s->n_dim; i++) {
		const Onnx__TensorShapeProto__Dimension *d = s->dim[i];
		int fixed = d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
		dims[i] = fixed ? d->dim_value : -1;
		if (i == 0 && fixed && d->dim_value > 1)
			return err_set(e, ERR_INPUT,
				       "input '%.80s' has the fixed batch %lld: export with batch 1 or with "
				       "dynamic_axes",
				       v->name, (long long)d->dim_value);
		if (i == 0)
			dims[i] = 1;
		else if (dims[i] < 1)
			return err_set(e, ERR_INPUT,
				       "input '%.80s': dimension %zu must be a fixed positive number; export "
				       "with a fixed image size",
				       v->name, i);
	}
	return val_dims(v, (unsigned)s->n_dim, dims, e);
}

/* (h, w, c) in the file, channels first in the graph. */
static int input_hwc(struct import *im, struct val *v, struct shape s, struct err *e)
{
	if (s.c == 1)
		return 0;
	v->order = import_alloc(im, v->n, sizeof(*v->order), e);
	if (!v->order)
		return -1;
	for (size_t j = 0; j < v->n; j++)
		v->order[j] = (uint32_t)(j % s.c * (s.h * s.w) + j / s.c);
	return 0;
}

/* A vector is taken for a square grey image when it can be one; reshaping the input gives it another shape
 * later. */
static struct shape vector_shape(size_t n)
{
	uint32_t side = 1;

	while ((size_t)(side + 1) * (side + 1) <= n)
		side++;
	return (size_t)side * side == n ? (struct shape){1, side, side} : (struct shape){1, 1, (uint32_t)n};
}

static int add_input(struct import *im, const Onnx__ValueInfoProto *p, struct err *e)
{
	const Onnx__TypeProto__Tensor *t;
	struct val *v = import_value(im, p->name, e);
	struct shape s;

	if (!v)
		return -1;
	if (!p->type || p->type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE ||
	    !p->type->tensor_type->shape)
		return err_set(e, ERR_INPUT, "input '%.80s' has no tensor shape: export it with one",
			       v->name);
	t = p->type->tensor_type;
	if (t->elem_type != ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT &&
	    t->elem_type != ONNX__TENSOR_PROTO__DATA_TYPE__UINT8)
		return err_set(e, ERR_INPUT, "input '%.80s' has element type %d: float32 is needed", v->name,
			       (int)t->elem_type);
	if (input_dims(v, t->shape, e))
		return -1;
	im->g->pre.scale = t->elem_type == ONNX__TENSOR_PROTO__DATA_TYPE__UINT8 ? 1 : 255;
	im->nhwc = v->rank == 4 && v->dims[1] > NN_MAX_CHANNELS && v->dims[3] <= NN_MAX_CHANNELS;
	if (v->rank == 2)
		s = vector_shape(v->n);
	else if (im->nhwc)
		s = (struct shape){(uint32_t)v->dims[3], (uint32_t)v->dims[1], (uint32_t)v->dims[2]};
	else
		s = (struct shape){v->rank == 3 ? 1 : (uint32_t)v->dims[1], (uint32_t)v->dims[v->rank - 2],
				   (uint32_t)v->dims[v->rank - 1]};
	if (s.c > NN_MAX_CHANNELS)
		return err_set(e, ERR_INPUT, "input '%.80s' has %u channels: an image of 1 to %d is needed",
			       v->name, s.c, NN_MAX_CHANNELS);
	if (im->nhwc && input_hwc(im, v, s, e))
		return -1;
	v->kind = VAL_ACT;
	return graph_add(im->g, &im->cap, NN_INPUT, v->name, s, NULL, 0, &v->node, e);
}

/* Old files list their initialisers among the inputs. */
static int find_input(struct import *im, struct err *e)
{
	const Onnx__ValueInfoProto *found = NULL;
	const struct val *v;

	for (size_t i = 0; i < im->proto->n_input; i++) {
		const Onnx__ValueInfoProto *p = im->proto->input[i];
		if (!p->name || !*p->name)
			return err_set(e, ERR_INPUT, "input %zu has no name", i);
		v = import_find(im, p->name);
		if (v && v->kind == VAL_INIT)
			continue;
		if (found)
			return err_set(e, ERR_INPUT,
				       "the network has several inputs; exactly one image is accepted");
		found = p;
	}
	return found ? add_input(im, found, e) : err_set(e, ERR_INPUT, "the network has no input");
}

/* Names what every node writes, and marks backwards what the output needs: the rest is not imported. */
static int mark_needed(struct import *im, uint8_t *needed, struct val **last, struct err *e)
{
	const Onnx__GraphProto *p = im->proto;
	struct val *v;
	size_t i, j;

	if (graph_register(im, p, e))
		return -1;
	if (p->n_output != 1 || !p->output[0]->name)
		return err_set(e, ERR_INPUT,
			       "the network has %zu outputs; keep only the scores of the classes",
			       p->n_output);
	*last = import_find(im, p->output[0]->name);
	if (!*last)
		return err_set(e, ERR_INPUT, "no node writes the output '%.40s'",
			       import_printable(im, p->output[0]->name, e));
	(*last)->needed = 1;
	for (i = p->n_node; i-- > 0;) {
		for (j = 0; j < p->node[i]->n_output; j++)
			if ((v = import_find(im, p->node[i]->output[j])))
				needed[i] |= v->needed;
		if (needed[i])
			node_needs(im, p->node[i]);
	}
	return 0;
}

/* Looks the inputs up; decodes initialisers when they are first used. Returns 1 when an input was refused
 * before. */
static int gather_inputs(struct import *im, struct call *c, struct err *e)
{
	for (size_t j = 0; j < c->p->n_input; j++) {
		struct val *v = *c->p->input[j] ? import_find(im, c->p->input[j]) : NULL;
		if (!*c->p->input[j])
			continue;
		if (!v || v->kind == VAL_NONE)
			return refuse(c, e,
				      "input '%.60s' is missing: no earlier node writes it (the graph is "
				      "incomplete, not sorted, or has a cycle)",
				      import_printable(im, c->p->input[j], NULL));
		if (v->kind == VAL_BAD)
			return 1;
		c->in[j] = v;
		if (v->kind == VAL_INIT && tensor_decode(im, v, v->init, e))
			return err_context(e, "node '%.80s' (%.40s)", c->name, c->op);
	}
	return 0;
}

/* Returns 1 when the node waits for one that was refused. */
int import_node(struct import *im, const Onnx__NodeProto *p, struct call *c, struct err *e)
{
	int code;

	*c = (struct call){.p = p, .n_in = p->n_input, .status = "ok"};
	c->op = import_printable(im, p->op_type ? p->op_type : "", e);
	c->name = import_printable(im, p->name && *p->name ? p->name : p->n_output ? p->output[0] : "", e);
	c->in = import_alloc(im, p->n_input, sizeof(*c->in), e);
	if (!c->op || !c->name || !c->in)
		return -1;
	if (!p->n_output || !*p->output[0])
		return refuse(c, e, "it has no output");
	c->out = import_find(im, p->output[0]);
	if (c->out->kind != VAL_NONE)
		return refuse(c, e, "its output '%.60s' is written twice", c->out->name);
	code = gather_inputs(im, c, e);
	if (!code)
		code = onnx_lower(im, c, e);
	if (code)
		c->out->kind = VAL_BAD;
	return code;
}

static void report_node(const struct job *job, const struct call *c, int code, const struct err *e)
{
	char shape[ONNX_SHAPE_TEXT];
	int known = !code && c->out && (c->out->kind == VAL_CONST || c->out->kind == VAL_ACT);

	if (job->report)
		job->report(job->ctx, c->name ? c->name : "", c->op ? c->op : "",
			    known ? dims_text(shape, c->out->rank, c->out->dims) : "-",
			    code > 0 ? "waits for a node that is refused"
			    : code   ? e->text
				     : c->status);
}

/* In order. With a report all nodes are tried, else the first refusal ends it. */
static int import_nodes(struct import *im, const struct job *job, const uint8_t *needed, struct err *e)
{
	int failed = 0, code;
	struct call c;

	for (size_t i = 0; i < im->proto->n_node; i++) {
		struct err one = {0};
		if (!needed[i] && !job->report)
			continue;
		code = import_node(im, im->proto->node[i], &c, &one);
		report_node(job, &c, code && !needed[i] ? 0 : code, &one);
		if (!code || !needed[i])
			continue;
		failed = -1;
		if (one.code)
			err_set(e, one.code, "%s", one.text);
		if (!job->report || one.code == ERR_ENV)
			return -1;
	}
	return failed;
}

static int finish(struct import *im, const struct val *last, struct err *e)
{
	if (last->kind != VAL_ACT)
		return err_set(e, ERR_INPUT, "the output '%.80s' does not depend on the image", last->name);
	if (last->order)
		return err_set(e, ERR_INPUT, "the output '%.80s' is transposed; keep NCHW order", last->name);
	im->g->output = last->output;
	return graph_fold(im->g, last->node, e);
}

static int preprocess(struct import *im, const Onnx__ModelProto *m, const struct job *job, struct err *e)
{
	for (size_t i = 0; i < m->n_metadata_props; i++) {
		const char *key = m->metadata_props[i]->key, *value = m->metadata_props[i]->value;
		if (key && value && !strcmp(key, "obscura.input") &&
		    graph_preprocess(im->g, value, "metadata obscura.input", im->nhwc, e))
			return -1;
	}
	return job->json ? graph_preprocess(im->g, job->json, job->json_name, im->nhwc, e) : 0;
}

static int import_graph(struct import *im, const Onnx__ModelProto *m, const struct job *job, struct err *e)
{
	struct val *last;
	uint8_t *needed;

	if (import_initialisers(im, im->proto, e) || find_input(im, e) || preprocess(im, m, job, e))
		return -1;
	needed = import_alloc(im, im->proto->n_node, 1, e);
	if (!needed || mark_needed(im, needed, &last, e) || import_nodes(im, job, needed, e))
		return -1;
	return finish(im, last, e);
}

static int import_model(struct graph *g, const Onnx__ModelProto *m, const struct job *job, struct err *e)
{
	struct import im;
	int64_t opset;
	int code;

	if (check_versions(m, &opset, e) || import_begin(&im, m->graph, opset, job->n, e))
		return -1;
	im.g = g;
	code = import_graph(&im, m, job, e);
	import_end(&im);
	if (!code && g->pre.labels && g->pre.n_labels != shape_size(g->nodes[g->n - 1].shape))
		return err_set(e, ERR_INPUT, "%u labels for %zu classes", g->pre.n_labels,
			       shape_size(g->nodes[g->n - 1].shape));
	return code;
}

static int parse(struct graph **graph, const struct job *job, struct err *e)
{
	Onnx__ModelProto *m = NULL;
	struct graph *g;
	int code = -1;

	*graph = NULL;
	g = calloc(1, sizeof(*g));
	if (!g || !(g->name = strdup(job->name))) {
		free(g);
		return err_set(e, ERR_ENV, "out of memory");
	}
	for (unsigned c = 0; c < NN_MAX_CHANNELS; c++)
		g->pre.std[c] = 1;
	if (!onnx_scan(job->bytes, job->n, e)) {
		m = onnx__model_proto__unpack(NULL, job->n, job->bytes);
		code = m ? import_model(g, m, job, e)
			 : err_set(e, ERR_INPUT, "not an ONNX file, or damaged: fetch or export it again");
		if (m)
			onnx__model_proto__free_unpacked(m, NULL);
	}
	if (code) {
		graph_free(g);
		return err_context(e, "model %.80s", job->name);
	}
	*graph = g;
	return 0;
}

int graph_parse(struct graph **graph, const char *name, const uint8_t *onnx, size_t bytes, const char *json,
		struct err *e)
{
	struct job job = {.name = name, .json = json, .json_name = "JSON", .bytes = onnx, .n = bytes};

	return parse(graph, &job, e);
}

/* A whole file with a terminating 0. optional: an absent one is no error and gives NULL. */
static int read_file(const char *path, size_t limit, int optional, uint8_t **bytes, size_t *n, struct err *e)
{
	FILE *f = fopen(path, "rbe");
	size_t cap = 1 << 16, got;
	uint8_t *p = NULL, *more;

	*bytes = NULL;
	*n = 0;
	if (!f)
		return optional && errno == ENOENT
			   ? 0
			   : err_set(e, err_of_file(errno), "cannot open %s: %s", path, strerror(errno));
	do {
		cap *= 2;
		more = realloc(p, cap);
		if (!more) {
			err_set(e, ERR_ENV, "out of memory for %s", path);
			break;
		}
		p = more;
		got = fread(p + *n, 1, cap - *n - 1, f);
		*n += got;
	} while (*n == cap - 1 && *n <= limit);
	if (more && *n > limit)
		err_set(e, ERR_INPUT, "%s is larger than %zu bytes", path, limit);
	else if (more && ferror(f))
		err_set(e, err_of_file(errno), "cannot read %s: %s", path, strerror(errno));
	fclose(f);
	if (e->code) {
		free(p);
		return -1;
	}
	p[*n] = 0;
	*bytes = p;
	return 0;
}

/* dir/name.onnx → name, and dir/name.json */
static int names(const char *path, char **name, char **json, struct err *e)
{
	const char *base = strrchr(path, '/');
	size_t n = strlen(path);

	if (n > 5 && !strcmp(path + n - 5, ".onnx"))
		n -= 5;
	base = base ? base + 1 : path;
	*name = strndup(base, n > (size_t)(base - path) ? n - (size_t)(base - path) : 0);
	if (asprintf(json, "%.*s.json", (int)n, path) < 0)
		*json = NULL;
	return *name && *json ? 0 : err_set(e, ERR_ENV, "out of memory");
}

static int load(struct graph **graph, const char *path, graph_report report, void *ctx, struct err *e)
{
	char *name = NULL, *json = NULL;
	uint8_t *onnx = NULL, *text = NULL;
	struct job job = {.report = report, .ctx = ctx};
	struct err own = {0};
	size_t n;
	int code = -1;

	*graph = NULL;
	if (!names(path, &name, &json, &own) && !read_file(path, ONNX_MAX_BYTES, 0, &onnx, &job.n, &own) &&
	    !read_file(json, JSON_MAX_BYTES, 1, &text, &n, &own)) {
		job.name = name;
		job.bytes = onnx;
		job.json = (const char *)text;
		job.json_name = json;
		code = parse(graph, &job, &own);
	}
	free(name);
	free(json);
	free(onnx);
	free(text);
	return code ? err_set(e, own.code, "%s", own.text) : 0;
}

int graph_load(struct graph **graph, const char *path, struct err *e)
{
	return load(graph, path, NULL, NULL, e);
}

int graph_check(const char *path, graph_report report, void *ctx, struct err *e)
{
	struct graph *g;

	if (load(&g, path, report, ctx, e))
		return -1;
	graph_free(g);
	return 0;
}
