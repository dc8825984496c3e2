/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/requests.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/secret.h"

struct request *request_new(const Wire__Classify *q, uint64_t now_us, uint64_t deadline_ms, struct err *e)
{
	struct request *r = calloc(1, sizeof(*r));

	if (!r) {
		err_set(e, ERR_ENV, "out of memory");
		return NULL;
	}
	r->describe = q->describe;
	r->images = q->n_images;
	r->image_bytes = q->n_images ? q->images[0].len : 0;
	r->asked_us = now_us;
	r->deadline_us = now_us + (q->deadline_ms ? q->deadline_ms : deadline_ms) * 1000;
	r->inference.views = q->views;
	for (size_t i = 0; i < q->n_images; i++)
		if (!q->images[i].len || q->images[i].len != r->image_bytes) {
			err_set(e, ERR_INPUT, "image %zu has %zu bytes, the first has %zu", i, q->images[i].len, r->image_bytes);
			request_free(r);
			return NULL;
		}
	r->pixels = malloc(r->images * r->image_bytes + 1);
	if (!r->pixels) {
		err_set(e, ERR_ENV, "out of memory for %zu images", r->images);
		request_free(r);
		return NULL;
	}
	for (size_t i = 0; i < q->n_images; i++)
		memcpy(r->pixels + i * r->image_bytes, q->images[i].data, r->image_bytes);
	return r;
}

void request_free(struct request *r)
{
	if (!r)
		return;
	if (r->pixels)
		secret_wipe(r->pixels, r->images * r->image_bytes);
	free(r->pixels);
	free(r->inference.result);
	free(r->inference.masked);
	free(r);
}

static void answer_once(struct request *r, const Wire__Classified *m)
{
	if (!r->answered)
		r->reply(r->ctx, m);
	r->answered = 1;
}

void request_refuse(struct request *r, const struct err *e)
{
	Wire__Classified m = WIRE__CLASSIFIED__INIT;
	Wire__Error error = WIRE__ERROR__INIT;
	char text[sizeof(e->peer) + sizeof(e->text) + 4];

	snprintf(text, sizeof(text), "%s%s%s", e->peer, e->peer[0] ? ": " : "", e->text);
	error.code = e->code;
	error.text = text;
	m.error = &error;
	answer_once(r, &m);
}

/* The parts of a reply that follow from the plan. They live in the caller's frame. */
struct described {
	Wire__Shape shape;
	Wire__Counted online, offline;
	Wire__Bytes predicted;
};

static void describe(Wire__Classified *m, struct described *d, const char *model, const struct plan *plan, const struct program *p)
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
	d->offline.provider = p->corrections;
	d->predicted.online = &d->online;
	d->predicted.offline = &d->offline;
	m->model = (char *)model;
	m->personality = "smpc";
	m->mode = plan->optimise == PLAN_BANDWIDTH ? "bandwidth" : "latency";
	m->input = &d->shape;
	m->resize = plan->resize;
	m->labels = plan->labels;
	m->n_labels = plan->n_labels;
	m->predicted = &d->predicted;
	m->predicted_round_trips = p->round_trips;
	m->setup_bytes = p->setup;
}

void request_describe(struct request *r, const char *model, const struct plan *plan, const struct program *program)
{
	Wire__Classified m = WIRE__CLASSIFIED__INIT;
	struct described d;

	describe(&m, &d, model, plan, program);
	answer_once(r, &m);
}

/* One image's result and all that hangs on it. */
struct answered {
	Wire__Result result;
	Wire__Counted counted[4];
	Wire__Bytes bytes, wire;
};

/* A batch's count as one image's share; the first image carries what does not divide, so that nothing is lost. */
static uint64_t part(uint64_t all, size_t images, size_t image)
{
	return all / images + (image == 0 ? all % images : 0);
}

static void count(Wire__Counted *c, const struct counted *all, size_t images, size_t image)
{
	wire__counted__init(c);
	c->sent = part(all->sent, images, image);
	c->received = part(all->received, images, image);
	c->provider = part(all->provider, images, image);
}

static void fill(struct answered *a, const struct request *r, const struct plan *plan, float *scores, size_t image, const uint64_t now[2][2])
{
	const struct inference *i = &r->inference;
	size_t words = shape_size(plan->tape.values[plan->tape.rows[plan->tape.n_rows - 1].out].shape);
	/* What TLS moved meanwhile. The model owner's connection also carries δ and other requests' frames, the provider's its tags. */
	struct counted online = {now[0][0] - r->wire[0][0], now[0][1] - r->wire[0][1], 0};
	struct counted offline = {now[1][0] - r->wire[1][0], now[1][1] - r->wire[1][1], 0};

	wire__result__init(&a->result);
	wire__bytes__init(&a->bytes);
	wire__bytes__init(&a->wire);
	count(&a->counted[0], &i->online, r->images, image);
	count(&a->counted[1], &i->offline, r->images, image);
	count(&a->counted[2], &online, r->images, image);
	count(&a->counted[3], &offline, r->images, image);
	a->bytes.online = &a->counted[0];
	a->bytes.offline = &a->counted[1];
	a->wire.online = &a->counted[2];
	a->wire.offline = &a->counted[3];
	a->result.bytes = &a->bytes;
	a->result.wire = &a->wire;
	a->result.label = plan_scores(plan, i->result + image * words, scores);
	a->result.scores = scores;
	a->result.n_scores = plan_classes(plan);
	a->result.batch = r->images;
	a->result.online = i->seconds_online;
	a->result.offline = i->seconds_offline;
	a->result.connect = r->ready_us > r->asked_us ? (double)(r->ready_us - r->asked_us) / 1e6 : 0;
	a->result.round_trips = i->round_trips;
	if (i->masked) {
		a->result.masked.data = i->masked + image * r->image_bytes;
		a->result.masked.len = r->image_bytes;
	}
}

void request_answer(struct request *r, const char *model, const struct plan *plan, const struct program *program, uint64_t wire[2][2])
{
	size_t n = r->images, classes = plan_classes(plan);
	struct answered *answers = calloc(n, sizeof(*answers));
	Wire__Result **results = calloc(n, sizeof(*results));
	float *scores = calloc(n * classes, sizeof(*scores));
	Wire__Classified m = WIRE__CLASSIFIED__INIT;
	struct err e = {0};
	struct described d;

	describe(&m, &d, model, plan, program);
	if (answers && results && scores) {
		for (size_t i = 0; i < n; i++) {
			fill(&answers[i], r, plan, scores + i * classes, i, (const uint64_t(*)[2])wire);
			answers[i].result.total = answers[i].result.connect + r->inference.seconds_offline + r->inference.seconds_online;
			results[i] = &answers[i].result;
		}
		m.results = results;
		m.n_results = n;
		answer_once(r, &m);
	} else {
		err_set(&e, ERR_ENV, "out of memory for %zu results", n);
		request_refuse(r, &e);
	}
	if (scores)
		secret_wipe(scores, n * classes * sizeof(*scores));
	free(answers);
	free(results);
	free(scores);
}
