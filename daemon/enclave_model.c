/* SPDX-License-Identifier: Apache-2.0 */
/* The child's model, and inference. */
#include "daemon/enclave_parts.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/graph.h"
#include "nn/plan.h"
#include "wire.pb-c.h"

struct enclave_ready {
	struct graph *graph;
	struct float_run *run;
	char manifest[ENCLAVE_MANIFEST_MAX];
};

/* The model, when one was brought. Guarded by lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct enclave_ready *held;

/* ---- models ---- */

void enclave_model_free(struct enclave_ready *r)
{
	if (!r)
		return;
	float_free(r->run);
	graph_free(r->graph);
	free(r);
}

int enclave_model_make(struct enclave_ready **ready, const struct enclave_model *m, struct err *e)
{
	struct enclave_ready *r = calloc(1, sizeof(*r));
	char name[256], *notes = m->json.n ? strndup((const char *)m->json.p, m->json.n) : NULL;
	int bad = r && (notes || !m->json.n)
		      ? enclave_manifest(r->manifest, m->name, m->version, m->onnx, m->json, e)
		      : err_set(e, ERR_ENV, "out of memory");

	snprintf(name, sizeof(name), "%.*s", (int)m->name.n, (const char *)m->name.p);
	bad = bad || graph_parse(&r->graph, name, m->onnx.p, m->onnx.n, notes, e) ||
	      float_new(&r->run, r->graph, e);
	free(notes);
	if (bad)
		enclave_model_free(r);
	*ready = bad ? NULL : r;
	return bad ? -1 : 0;
}

void enclave_model_take(struct enclave_ready *ready)
{
	struct enclave_ready *was;

	pthread_mutex_lock(&lock);
	was = held;
	held = ready;
	pthread_mutex_unlock(&lock);
	enclave_model_free(was);
}

void enclave_model_manifest(char out[ENCLAVE_MANIFEST_MAX])
{
	pthread_mutex_lock(&lock);
	memset(out, 0, ENCLAVE_MANIFEST_MAX);
	if (held)
		memcpy(out, held->manifest, ENCLAVE_MANIFEST_MAX);
	pthread_mutex_unlock(&lock);
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

/* With lock held: scores of all images, one row each. Also what the client asked about the model. */
static int infer(const Wire__Classify *q, Wire__Classified *reply, float **scores, struct err *e)
{
	const struct shape in = held->graph->nodes[0].shape;
	size_t classes = shape_size(held->graph->nodes[held->graph->n - 1].shape);

	reply->classes = (uint32_t)classes;
	*reply->input = (Wire__Shape){PROTOBUF_C_MESSAGE_INIT(&wire__shape__descriptor), in.c, in.h, in.w};
	reply->resize = held->graph->pre.resize;
	for (size_t i = 0; i < q->n_images; i++)
		if (q->images[i].len != shape_size(in))
			return err_set(e, ERR_PEER, "an image of %zu bytes; the model takes %zu",
				       q->images[i].len, shape_size(in));
	*scores = calloc(q->n_images * classes + 1, sizeof(**scores));
	if (!*scores)
		return err_set(e, ERR_ENV, "out of memory");
	for (size_t i = 0; i < q->n_images; i++)
		float_infer(held->run, q->images[i].data, *scores + i * classes);
	return 0;
}

static int fill(const Wire__Classify *q, Wire__Classified *reply, float *scores, struct err *e)
{
	Wire__Result *all = calloc(q->n_images + 1, sizeof(*all));
	int label_only = q->reveal == REVEAL_LABEL || held->graph->pre.label_only;

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
		float_output(held->graph->output, row, reply->classes);
		all[i].scores = row;
		all[i].n_scores = reply->classes;
	}
	reply->n_results = q->n_images;
	return 0;
}

/* The answer as bytes, so that nobody waits for a slow reader with the lock held-> Returns new. */
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

/* With lock held-> */
static uint8_t *compute(const Wire__Classify *q, size_t *n, struct err *e)
{
	Wire__Classified reply = WIRE__CLASSIFIED__INIT;
	Wire__Shape input = WIRE__SHAPE__INIT;
	uint8_t *packed = NULL;
	float *scores = NULL;

	if (!held) {
		err_set(e, ERR_PEER, "no model was provisioned yet: obscura model provision");
		return NULL;
	}
	if (*q->model && strcmp(q->model, held->graph->name)) {
		err_set(e, ERR_PEER, "there is no model %.100s here, but %.100s", q->model,
			held->graph->name);
		return NULL;
	}
	reply.input = &input;
	reply.personality = (char *)"enclave";
	reply.mode = (char *)"float";
	reply.predicted_round_trips = 1;
	reply.model = held->graph->name;
	reply.labels = held->graph->pre.labels;
	reply.n_labels = held->graph->pre.n_labels;
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

	pthread_mutex_lock(&lock);
	packed = compute(q, &n, e);
	pthread_mutex_unlock(&lock);
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
