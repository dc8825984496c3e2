/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/requests.h"

#include <stdio.h>
#include <string.h>

#include "daemon/metrics.h"
#include "protocol/op.h"

/* ---- requests ---- */

static int copy_images(struct request *r, const Wire__Classify *q, struct err *e)
{
	for (size_t i = 0; i < q->n_images; i++)
		if (!q->images[i].len || q->images[i].len != r->image_bytes)
			return err_set(e, ERR_INPUT, "image %zu has %zu bytes, the first has %zu", i,
				       q->images[i].len, r->image_bytes);
	r->pixels = memory_take(r->memory, r->images * r->image_bytes);
	if (!r->pixels)
		return err_set(e, ERR_ENV, "out of memory for %zu images", r->images);
	for (size_t i = 0; i < q->n_images; i++)
		memcpy(r->pixels + i * r->image_bytes, q->images[i].data, r->image_bytes);
	*r->total += r->images * r->image_bytes;
	return 0;
}

struct request *request_new(struct memory_pool *pool, const Wire__Classify *q, uint64_t now_us,
			    uint64_t deadline_ms, size_t *total, struct err *e)
{
	struct memory *m = memory_new(pool);
	struct request *r = m ? memory_take(m, sizeof(*r)) : NULL;

	if (!r) {
		memory_free(m);
		err_set(e, ERR_ENV, "out of memory");
		return NULL;
	}
	r->memory = m;
	r->total = total;
	r->describe = q->describe;
	r->views = q->views;
	r->images = q->n_images;
	r->image_bytes = q->n_images ? q->images[0].len : 0;
	r->asked_us = now_us;
	r->deadline_us = now_us + (q->deadline_ms ? q->deadline_ms : deadline_ms) * 1000;
	if (!copy_images(r, q, e))
		return r;
	request_free(r);
	return NULL;
}

void request_free(struct request *r)
{
	if (!r)
		return;
	if (r->pixels)
		*r->total -= r->images * r->image_bytes;
	memory_free(r->memory);
}

static void count_answer(const Wire__Classified *m)
{
	metrics_add(METRIC_requests_total, 1, METRIC_NO_LABELS);
	if (m->error) {
		metrics_add(METRIC_failures_total, 1, METRIC_LABELS(err_name((enum err_code)m->error->code)));
		return;
	}
	metrics_add(METRIC_images_total, (double)m->n_results, METRIC_NO_LABELS);
	if (m->n_results)
		metrics_observe(METRIC_request_seconds, m->results[0]->total, METRIC_NO_LABELS);
}

void request_answer(struct request *r, const Wire__Classified *m)
{
	if (!r->answered && (!r->describe || m->error))
		count_answer(m);
	if (!r->answered)
		r->reply(r->ctx, m);
	r->answered = 1;
}

void request_refuse(struct request *r, const struct err *e)
{
	Wire__Classified m = WIRE__CLASSIFIED__INIT;
	Wire__Error error = WIRE__ERROR__INIT;
	char text[sizeof(e->peer) + sizeof(e->text) + 4];
	int named = !e->peer[0] || strstr(e->text, e->peer);

	snprintf(text, sizeof(text), "%s%s%s", named ? "" : e->peer, named ? "" : ": ", e->text);
	error.code = e->code;
	error.text = text;
	m.error = &error;
	request_answer(r, &m);
}

/* The parts of a reply that follow from the plan. They live in the caller's frame. */
struct described {
	Wire__Shape shape;
	Wire__Counted online, offline;
	Wire__Bytes predicted;
};

static const char *mode_name(enum personality personality, const struct plan *plan)
{
	if (personality == PERSONALITY_HE)
		return "client";
	if (personality == PERSONALITY_CLEAR)
		return "fixed";
	return plan->optimise == PLAN_BANDWIDTH ? "bandwidth" : "latency";
}

static void describe(Wire__Classified *m, struct described *d, const char *model, const struct plan *plan,
		     const struct program *p, enum personality personality)
{
	wire__shape__init(&d->shape);
	wire__counted__init(&d->online);
	wire__counted__init(&d->offline);
	wire__bytes__init(&d->predicted);
	d->shape.c = plan->input.c;
	d->shape.h = plan->input.h;
	d->shape.w = plan->input.w;
	d->online.sent = p->online[P0];
	d->online.received = p->online[P1];
	d->offline.sent = p->delta;
	if (!personality_provider(personality))
		d->offline.received = p->corrections;
	else
		d->offline.provider = p->corrections;
	d->predicted.online = &d->online;
	d->predicted.offline = &d->offline;
	m->model = (char *)(uintptr_t)model;
	m->personality = (char *)(uintptr_t)personality_name(personality);
	m->mode = (char *)(uintptr_t)mode_name(personality, plan);
	m->input = &d->shape;
	m->resize = plan->resize;
	m->labels = plan->labels;
	m->n_labels = plan->n_labels;
	m->classes = (uint32_t)plan_classes(plan);
	m->predicted = &d->predicted;
	m->predicted_round_trips = p->round_trips;
	m->setup_bytes = p->setup;
}

void request_describe(struct request *r, const char *model, const struct plan *plan,
		      const struct program *program, enum personality personality)
{
	Wire__Classified m = WIRE__CLASSIFIED__INIT;
	struct described d;

	describe(&m, &d, model, plan, program, personality);
	request_answer(r, &m);
}

/* ---- batches ---- */

static void *group_memory(struct inference *i, size_t n)
{
	struct group *g = i->ctx;

	return memory_take(g->requests->memory, n);
}

/* The images of all requests in one piece; those of one are so already. */
static const uint8_t *gather(const struct group *g)
{
	struct request *first = g->requests;
	uint8_t *pixels, *at;

	if (!first->next)
		return first->pixels;
	at = pixels = memory_take(first->memory, g->images * first->image_bytes);
	for (struct request *r = first; pixels && r; r = r->next) {
		memcpy(at, r->pixels, r->images * r->image_bytes);
		at += r->images * r->image_bytes;
	}
	return pixels;
}

struct group *group_new(struct request *requests, struct err *e)
{
	struct group *g = memory_take(requests->memory, sizeof(*g));

	if (g) {
		g->requests = requests;
		for (struct request *r = requests; r; r = r->next)
			g->images += r->images;
		g->inference.pixels = gather(g);
	}
	if (!g || !g->inference.pixels) {
		err_set(e, ERR_ENV, "out of memory for a batch");
		return NULL;
	}
	g->inference.batch = g->images;
	g->inference.views = requests->views;
	g->inference.memory = group_memory;
	g->inference.ctx = g;
	return g;
}

void group_free(struct group *g)
{
	struct request *next = g->requests;

	while (next) { /* g goes with the first */
		struct request *r = next;

		next = r->next;
		request_free(r);
	}
}

void group_refuse(struct group *g, const struct err *e)
{
	for (struct request *r = g->requests; r; r = r->next)
		request_refuse(r, e);
}

/* One image's result and all that hangs on it. */
struct answered {
	Wire__Result result;
	Wire__Counted counted[4];
	Wire__Bytes bytes, wire;
};

/* What a batch shares with its answers. */
struct shared {
	const struct group *batch;
	const struct plan *plan;
	size_t words, classes; /* of one image */
	uint64_t now_us;
};

/* A batch's count as one image's share; the first images carry what does not divide, so that nothing is lost.
 */
static void count(Wire__Counted *c, const struct counted *all, size_t images, size_t image)
{
	wire__counted__init(c);
	c->sent = all->sent / images + (image < all->sent % images);
	c->received = all->received / images + (image < all->received % images);
	c->provider = all->provider / images + (image < all->provider % images);
}

static void fill_bytes(struct answered *a, const struct shared *s, size_t image)
{
	const struct inference *i = &s->batch->inference;

	wire__bytes__init(&a->bytes);
	wire__bytes__init(&a->wire);
	count(&a->counted[0], &i->online, i->batch, image);
	count(&a->counted[1], &i->offline, i->batch, image);
	count(&a->counted[2], &s->batch->wire_online, i->batch, image);
	count(&a->counted[3], &s->batch->wire_offline, i->batch, image);
	a->bytes.online = &a->counted[0];
	a->bytes.offline = &a->counted[1];
	a->wire.online = &a->counted[2];
	a->wire.offline = &a->counted[3];
	a->result.bytes = &a->bytes;
	a->result.wire = &a->wire;
}

/* image: its place in the batch. */
static void fill(struct answered *a, const struct shared *s, const struct request *r, float *scores,
		 size_t image)
{
	const struct inference *i = &s->batch->inference;

	wire__result__init(&a->result);
	fill_bytes(a, s, image);
	a->result.label = plan_scores(s->plan, i->result + image * s->words, scores);
	a->result.scores = scores;
	a->result.n_scores = s->classes;
	a->result.batch = (uint32_t)i->batch;
	a->result.online = i->seconds_online;
	a->result.offline = i->seconds_offline;
	a->result.connect = r->ready_us > r->asked_us ? (double)(r->ready_us - r->asked_us) / 1e6 : 0;
	a->result.total = (double)(s->now_us - r->asked_us) / 1e6;
	a->result.round_trips = i->round_trips;
	if (i->masked && r->views) {
		a->result.masked.data = i->masked + image * r->image_bytes;
		a->result.masked.len = r->image_bytes;
	}
}

/* at: the place of the request's first image in the batch. */
static void answer(struct request *r, const struct shared *s, Wire__Classified m, size_t at)
{
	struct answered *answers = memory_take(r->memory, r->images * sizeof(*answers));
	Wire__Result **results = memory_take(r->memory, r->images * sizeof(Wire__Result *));
	float *scores = memory_take(r->memory, r->images * s->classes * sizeof(*scores));
	struct err e = {0};

	for (size_t i = 0; answers && results && scores && i < r->images; i++) {
		fill(&answers[i], s, r, scores + i * s->classes, at + i);
		results[i] = &answers[i].result;
		m.n_results = i + 1;
	}
	m.results = results;
	err_set(&e, ERR_ENV, "out of memory for %zu results", r->images);
	if (m.n_results == r->images)
		request_answer(r, &m);
	else
		request_refuse(r, &e);
}

static void count_payload(const struct counted *c, const char *phase)
{
	metrics_add(METRIC_payload_bytes_total, (double)c->sent, METRIC_LABELS(phase, "sent"));
	metrics_add(METRIC_payload_bytes_total, (double)c->received, METRIC_LABELS(phase, "received"));
	if (c->provider)
		metrics_add(METRIC_payload_bytes_total, (double)c->provider,
			    METRIC_LABELS(phase, "provider"));
}

static void count_inference(const struct inference *i, const char *model, enum personality personality)
{
	metrics_add(METRIC_inferences_total, 1, METRIC_NO_LABELS);
	if (personality == PERSONALITY_CLEAR)
		metrics_add(METRIC_clear_inferences_total, 1, METRIC_NO_LABELS);
	if (personality == PERSONALITY_HE)
		metrics_add(METRIC_he_leaky_inferences_total, 1, METRIC_NO_LABELS);
	metrics_add(METRIC_round_trips_total, i->round_trips, METRIC_NO_LABELS);
	metrics_observe(METRIC_online_seconds, i->seconds_online, METRIC_LABELS(model));
	metrics_observe(METRIC_offline_seconds, i->seconds_offline, METRIC_LABELS(model));
	count_payload(&i->online, "online");
	count_payload(&i->offline, "offline");
}

/* Times and bytes of the rows, of the whole batch. They live in layers and list: n_rows of each. */
static void fill_layers(Wire__Classified *m, Wire__Layer *layers, Wire__Layer **list,
			const struct inference *i, const struct program *program)
{
	const struct tape *tape = program->tape;
	const uint64_t *times = i->times;

	for (size_t row = 0; row < tape->n_rows; row++) {
		const struct placed *at = &program->rows[row];

		wire__layer__init(&layers[row]);
		for (const struct move *v = program->moves + at->move;
		     v < program->moves + at->move + at->moves; v++)
			*(v->from == P0 ? &layers[row].sent : &layers[row].received) += i->batch * v->bytes;
		layers[row].op = (char *)(uintptr_t)ops[tape->rows[row].kind]->name;
		layers[row].compute = times[row];
		layers[row].wait = times[tape->n_rows + row];
		list[row] = &layers[row];
	}
	m->layers = list;
	m->n_layers = tape->n_rows;
}

void group_answer(struct group *g, const char *model, const struct plan *plan, const struct program *program,
		  enum personality personality, uint64_t now_us)
{
	Wire__Classified m = WIRE__CLASSIFIED__INIT;
	struct described d;
	struct shared s = {.batch = g, .plan = plan, .classes = plan_classes(plan), .now_us = now_us};
	size_t at = 0, rows = plan->tape.n_rows;
	Wire__Layer *layers = NULL, **list = NULL;

	if (g->inference.times) {
		layers = memory_take(g->requests->memory, rows * sizeof(*layers));
		list = memory_take(g->requests->memory, rows * sizeof(*list));
	}
	s.words = plan_words(plan);
	describe(&m, &d, model, plan, program, personality);
	count_inference(&g->inference, model, personality);
	if (layers && list)
		fill_layers(&m, layers, list, &g->inference, program);
	for (struct request *r = g->requests; r; r = r->next) {
		answer(r, &s, m, at);
		at += r->images;
	}
}
