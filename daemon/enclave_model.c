/* SPDX-License-Identifier: Apache-2.0 */
/* The child's model: provisioning, inference. */
#include "daemon/enclave_parts.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/graph.h"
#include "nn/plan.h"
#include "wire.pb-c.h"

/* The model, when one was provisioned. Guarded by lock. */
static struct {
	pthread_mutex_t lock;
	struct graph *graph;
	struct float_run *run;
	char manifest[ENCLAVE_MANIFEST_MAX];
	uint64_t version;
} held = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- models ---- */

void enclave_model_manifest(char out[ENCLAVE_MANIFEST_MAX])
{
	pthread_mutex_lock(&held.lock);
	memcpy(out, held.manifest, ENCLAVE_MANIFEST_MAX);
	pthread_mutex_unlock(&held.lock);
}

static int provision(struct span name, uint64_t version, struct span onnx, struct span json, struct err *e)
{
	char manifest[ENCLAVE_MANIFEST_MAX], text[256],
	    *notes = json.n ? strndup((const char *)json.p, json.n) : NULL;
	struct graph *graph = NULL;
	struct float_run *run = NULL;

	if (enclave_manifest(manifest, name, version, onnx, json, e))
		return -1;
	snprintf(text, sizeof(text), "%.*s", (int)name.n, (const char *)name.p);
	if (graph_parse(&graph, text, onnx.p, onnx.n, notes, e) || float_new(&run, graph, e)) {
		graph_free(graph);
		free(notes);
		return -1;
	}
	free(notes);
	pthread_mutex_lock(&held.lock);
	if (held.graph && version < held.version) {
		err_set(e, ERR_INPUT, "version %llu would follow version %llu: models do not go back",
			(unsigned long long)version, (unsigned long long)held.version);
	} else {
		struct graph *was = held.graph;
		struct float_run *ran = held.run;

		held.graph = graph;
		held.run = run;
		held.version = version;
		memcpy(held.manifest, manifest, sizeof(manifest));
		graph = was;
		run = ran;
	}
	pthread_mutex_unlock(&held.lock);
	float_free(run);
	graph_free(graph);
	return e->code ? -1 : 0;
}

int enclave_on_provision(struct guest *g, uint8_t *body, size_t n, struct err *e)
{
	char manifest[ENCLAVE_MANIFEST_MAX];
	struct enclave_model m;

	if (!g->owner)
		return err_set(e, ERR_PEER, "only the model owner's certificate may bring a model");
	if (enclave_model_read((struct span){body, n}, &m))
		return err_set(e, ERR_PEER, "the model's message is malformed");
	if (provision(m.name, m.version, m.onnx, m.json, e))
		return -1;
	enclave_model_manifest(manifest);
	return enclave_send(g->ssl, ENCLAVE_PROVISIONED, manifest, strlen(manifest), e);
}

/* ---- inference ---- */

static uint32_t greatest(const float *x, size_t n)
{
	uint32_t best = 0;

	for (uint32_t i = 1; i < n; i++)
		if (x[i] > x[best])
			best = i;
	return best;
}

/* With held.lock held: scores of all images, one row each. Also what the client asked about the model. */
static int infer(const Wire__Classify *q, Wire__Classified *reply, float **scores, struct err *e)
{
	const struct shape in = held.graph->nodes[0].shape;
	size_t classes = shape_size(held.graph->nodes[held.graph->n - 1].shape);

	reply->classes = (uint32_t)classes;
	*reply->input = (Wire__Shape){PROTOBUF_C_MESSAGE_INIT(&wire__shape__descriptor), in.c, in.h, in.w};
	reply->resize = held.graph->pre.resize;
	for (size_t i = 0; i < q->n_images; i++)
		if (q->images[i].len != shape_size(in))
			return err_set(e, ERR_PEER, "an image of %zu bytes; the model takes %zu",
				       q->images[i].len, shape_size(in));
	*scores = calloc(q->n_images * classes + 1, sizeof(**scores));
	if (!*scores)
		return err_set(e, ERR_ENV, "out of memory");
	for (size_t i = 0; i < q->n_images; i++)
		float_infer(held.run, q->images[i].data, *scores + i * classes);
	return 0;
}

static int fill(const Wire__Classify *q, Wire__Classified *reply, float *scores, struct err *e)
{
	Wire__Result *all = calloc(q->n_images + 1, sizeof(*all));
	int label_only = q->reveal == REVEAL_LABEL || held.graph->pre.label_only;

	reply->results = calloc(q->n_images + 1, sizeof(*reply->results));
	if (!all || !reply->results) {
		free(all);
		return err_set(e, ERR_ENV, "out of memory");
	}
	for (size_t i = 0; i < q->n_images; i++) {
		float *row = scores + i * reply->classes;

		wire__result__init(&all[i]);
		reply->results[i] = &all[i];
		all[i].label = greatest(row, reply->classes);
		all[i].batch = (uint32_t)q->n_images;
		all[i].round_trips = 1;
		if (label_only)
			continue;
		float_output(held.graph->output, row, reply->classes);
		all[i].scores = row;
		all[i].n_scores = reply->classes;
	}
	reply->n_results = q->n_images;
	return 0;
}

/* The answer as bytes, so that nobody waits for a slow reader with the lock held. Returns new. */
static uint8_t *pack(const Wire__Classified *reply, size_t *n, struct err *e)
{
	uint8_t *packed;

	*n = wire__classified__get_packed_size(reply);
	packed = malloc(*n + 1);
	if (packed)
		wire__classified__pack(reply, packed);
	else
		err_set(e, ERR_ENV, "out of memory");
	return packed;
}

/* With held.lock held. */
static uint8_t *compute(const Wire__Classify *q, size_t *n, struct err *e)
{
	Wire__Classified reply = WIRE__CLASSIFIED__INIT;
	Wire__Shape input = WIRE__SHAPE__INIT;
	uint8_t *packed = NULL;
	float *scores = NULL;

	if (!held.graph) {
		err_set(e, ERR_PEER, "no model was provisioned yet: obscura model provision");
		return NULL;
	}
	if (*q->model && strcmp(q->model, held.graph->name)) {
		err_set(e, ERR_PEER, "there is no model %.100s here, but %.100s", q->model, held.graph->name);
		return NULL;
	}
	reply.input = &input;
	reply.personality = (char *)"enclave";
	reply.mode = (char *)"float";
	reply.predicted_round_trips = 1;
	reply.model = held.graph->name;
	reply.labels = held.graph->pre.labels;
	reply.n_labels = held.graph->pre.n_labels;
	if (!infer(q, &reply, &scores, e) && !fill(q, &reply, scores, e))
		packed = pack(&reply, n, e);
	if (reply.results)
		free(reply.results[0]);
	free(reply.results);
	free(scores);
	return packed;
}

static int answer(struct guest *g, const Wire__Classify *q, struct err *e)
{
	uint8_t *packed;
	size_t n = 0;
	int bad;

	pthread_mutex_lock(&held.lock);
	packed = compute(q, &n, e);
	pthread_mutex_unlock(&held.lock);
	bad = packed ? enclave_send(g->ssl, ENCLAVE_CLASSIFIED, packed, n, e) : -1;
	free(packed);
	return bad;
}

int enclave_on_classify(struct guest *g, const uint8_t *body, size_t n, struct err *e)
{
	Wire__Classify *q = wire__classify__unpack(NULL, n, body);
	int bad;

	if (!q)
		return err_set(e, ERR_PEER, "the request cannot be read");
	bad = answer(g, q, e);
	wire__classify__free_unpacked(q, NULL);
	return bad;
}
