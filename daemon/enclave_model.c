/* SPDX-License-Identifier: Apache-2.0 */
/* The child's model, and inference. */
#include "daemon/enclave_parts.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/clear.h"
#include "nn/graph.h"
#include "wire.pb-c.h"

#define TOGETHER 8 /* images that go through a layer at once */

/* The plan that all personalities run, with scores: what is not to be revealed is not sent. */
struct enclave_ready {
	struct graph *graph;
	struct plan *plan;
	struct clear_model *weights;
	struct clear *run;
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
	clear_free(r->run);
	clear_model_free(r->weights);
	plan_free(r->plan);
	graph_free(r->graph);
	free(r);
}

/* No bit of a word travels here, so that there may be more of them: labels are the float model's. The finest
 * that a proof of the model's bounds admits. */
static int make_plan(struct enclave_ready *r, struct weights **weights, struct err *e)
{
	static const struct {
		unsigned weights, activations;
	} bits[] = {{22, 18}, {20, 16}, {16, 12}};
	struct plan_options options = plan_defaults();
	int bad = -1;

	for (size_t i = 0; bad && i < sizeof(bits) / sizeof(*bits); i++) {
		*e = (struct err){0};
		options.weight_bits = bits[i].weights;
		options.activation_bits = bits[i].activations;
		bad = plan_make(&r->plan, weights, NULL, r->graph, &options, e);
	}
	return bad;
}

static int prepare(struct enclave_ready *r, struct err *e)
{
	struct weights *weights = NULL;
	int bad = make_plan(r, &weights, e) || clear_model_new(&r->weights, r->plan, weights, e) ||
		  clear_new(&r->run, r->weights, TOGETHER, e);

	weights_free(weights);
	return bad ? -1 : 0;
}

int enclave_model_make(struct enclave_ready **ready, const struct enclave_model *m, struct err *e)
{
	struct enclave_ready *r = calloc(1, sizeof(*r));
	char name[256], *notes = m->json.n ? strndup((const char *)m->json.p, m->json.n) : NULL;
	int bad = r && (notes || !m->json.n) ? enclave_manifest(r->manifest, m, e)
					     : err_set(e, ERR_ENV, "out of memory");

	snprintf(name, sizeof(name), "%.*s", (int)m->name.n, (const char *)m->name.p);
	bad = bad || graph_parse(&r->graph, name, m->onnx.p, m->onnx.n, notes, e) || prepare(r, e);
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

static int is_label_only(const Wire__Classify *q)
{
	return q->reveal == REVEAL_LABEL || held->graph->pre.label_only;
}

/* With lock held: integers of all images. Also what the client asked about the model. */
static int infer(const Wire__Classify *q, Wire__Classified *reply, int64_t **results, struct err *e)
{
	const struct shape in = held->plan->input;
	size_t words = plan_words(held->plan);

	reply->classes = plan_classes(held->plan);
	*reply->input = (Wire__Shape){PROTOBUF_C_MESSAGE_INIT(&wire__shape__descriptor), in.c, in.h, in.w};
	reply->resize = held->plan->resize;
	for (size_t i = 0; i < q->n_images; i++)
		if (q->images[i].len != shape_size(in))
			return err_set(e, ERR_PEER, "an image of %zu bytes; the model takes %zu",
				       q->images[i].len, shape_size(in));
	*results = calloc(q->n_images * words + 1, sizeof(**results));
	if (!*results)
		return err_set(e, ERR_ENV, "out of memory");
	for (size_t i = 0; i < q->n_images; i++)
		clear_infer(held->run, q->images[i].data, 1, *results + i * words);
	return 0;
}

static int fill(const Wire__Classify *q, Wire__Classified *reply, const int64_t *results, float *scores)
{
	Wire__Result *all = calloc(q->n_images + 1, sizeof(*all));
	size_t words = plan_words(held->plan);

	reply->results = calloc(q->n_images + 1, sizeof(*reply->results));
	if (!all || !reply->results) {
		free(all);
		return -1;
	}
	reply->results[0] = all; /* also without images: it is freed by this */
	for (size_t i = 0; i < q->n_images; i++, scores += reply->classes) {
		wire__result__init(&all[i]);
		reply->results[i] = &all[i];
		all[i].label = plan_scores(held->plan, results + i * words, scores);
		all[i].batch = (uint32_t)q->n_images;
		all[i].round_trips = 1;
		all[i].scores = scores;
		all[i].n_scores = is_label_only(q) ? 0 : reply->classes;
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

/* What ENCLAVE_CLASSIFIED tells of one image, as it is counted: a label and scores, 4 bytes each. */
struct described {
	Wire__Shape input;
	Wire__Counted online;
	Wire__Bytes predicted;
};

static void describe(const Wire__Classify *q, Wire__Classified *reply, struct described *d)
{
	wire__shape__init(&d->input);
	wire__counted__init(&d->online);
	wire__bytes__init(&d->predicted);
	d->online.sent = shape_size(held->plan->input);
	d->online.received = 4 * (1 + (is_label_only(q) ? 0 : (uint64_t)plan_classes(held->plan)));
	d->predicted.online = &d->online;
	reply->input = &d->input;
	reply->predicted = &d->predicted;
	reply->personality = (char *)"enclave";
	reply->mode = (char *)"fixed";
	reply->predicted_round_trips = 1;
	reply->model = held->graph->name;
	reply->labels = held->graph->pre.labels;
	reply->n_labels = held->graph->pre.n_labels;
}

/* With lock held. */
static uint8_t *compute(struct guest *g, const Wire__Classify *q, size_t *n, struct err *e)
{
	Wire__Classified reply = WIRE__CLASSIFIED__INIT;
	struct described d;
	uint8_t *packed = NULL;
	int64_t *results = NULL;
	float *scores;

	if (!held) {
		err_set(e, ERR_PEER, "no model was provisioned yet: obscura model provision");
		return NULL;
	}
	if (strcmp(g->manifest, held->manifest)) {
		g->outdated = 1;
		err_set(e, ERR_PEER, "the model has changed since the evidence of this connection");
		return NULL;
	}
	if (*q->model && strcmp(q->model, held->graph->name)) {
		err_set(e, ERR_PEER, "there is no model %.100s here, but %.100s", q->model,
			held->graph->name);
		return NULL;
	}
	if (enclave_rules_use(g->ssl, held->graph->name, (unsigned)q->reveal, q->n_images, e))
		return NULL;
	describe(q, &reply, &d);
	scores = calloc(q->n_images * plan_classes(held->plan) + 1, sizeof(*scores));
	if (!scores)
		err_set(e, ERR_ENV, "out of memory");
	else if (!infer(q, &reply, &results, e) && !fill(q, &reply, results, scores))
		packed = pack(&reply, n, e);
	if (!packed && !e->code)
		err_set(e, ERR_ENV, "out of memory");
	if (reply.results)
		free(reply.results[0]);
	free(reply.results);
	free(results);
	free(scores);
	return packed;
}

static int answer(struct guest *g, const Wire__Classify *q, struct err *e)
{
	uint8_t *packed;
	size_t n = 0;
	int bad;

	pthread_mutex_lock(&lock);
	packed = compute(g, q, &n, e);
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
