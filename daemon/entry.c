/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of one (model, mode, reveal): they wait for the session, are merged into batches, and are
 * answered. */
#include "daemon/entry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/metrics.h"

#define LOST_US 1500000 /* how long a request waits for a peer that was there before */
#define NAMES_MAX 300

/* ---- lists ---- */

static void unlink_request(struct request **list, struct request *r)
{
	while (*list != r)
		list = &(*list)->next;
	*list = r->next;
	r->next = NULL;
}

static void append(struct request **list, struct request *r)
{
	while (*list)
		list = &(*list)->next;
	*list = r;
}

static void refuse_one(struct entry *n, struct request *r, const struct err *e)
{
	unlink_request(&n->waiting, r);
	request_refuse(r, e);
	request_free(r);
}

static void refuse_waiting(struct entry *n, const struct err *e)
{
	while (n->waiting)
		refuse_one(n, n->waiting, e);
}

/* ---- batches ---- */

static void group_done(struct inference *i)
{
	struct group *g = i->ctx, **at = &g->entry->running;
	struct entry *n = g->entry;

	if (!i->err.code)
		owner_wire_end(n->d, g);
	while (*at != g)
		at = &(*at)->next;
	*at = g->next;
	n->n_running--;
	if (i->err.code)
		group_refuse(g, &i->err);
	else
		group_answer(g, n->model, owner_plan(n->owner), owner_program(n->owner), n->personality,
			     owner_now(n->d));
	group_free(g);
}

/* The requests at the head of the queue that fit one batch, taken out of it. */
static struct request *take_fitting(struct entry *n)
{
	struct request *first = n->waiting, *last = first;
	size_t images = first->images;

	while (last->next && !last->next->describe && last->next->views == first->views &&
	       images + last->next->images <= n->d->config->max_batch &&
	       last->next->image_bytes == first->image_bytes) {
		last = last->next;
		images += last->images;
	}
	n->waiting = last->next;
	last->next = NULL;
	return first;
}

static void start(struct entry *n, struct request *requests)
{
	struct err e = {0};
	struct group *g = group_new(requests, &e);

	if (!g) {
		while (requests) {
			struct request *r = requests;

			requests = r->next;
			request_refuse(r, &e);
			request_free(r);
		}
		return;
	}
	g->entry = n;
	g->inference.done = group_done;
	owner_wire_begin(n->d, g);
	g->next = n->running;
	n->running = g;
	n->n_running++;
	owner_infer(n->owner, &g->inference);
}

/* Whether the head of the queue should wait for company; then a timer is set. */
static int waits_for_others(struct entry *n, uint64_t now)
{
	const struct config *c = n->d->config;
	uint64_t until = n->waiting->ready_us + c->max_wait_us;
	size_t images = 0;
	struct timeval tv;

	if (now >= until)
		return 0;
	for (const struct request *r = n->waiting; r; r = r->next)
		images += r->images;
	if (images >= c->max_batch)
		return 0;
	tv = (struct timeval){.tv_sec = (time_t)((until - now) / 1000000),
			      .tv_usec = (suseconds_t)((until - now) % 1000000)};
	event_add(n->gather, &tv);
	return 1;
}

/* Answers what needs no inference. Returns 1 if it did so with the head of the queue. */
static int settle(struct entry *n, struct request *r)
{
	const struct plan *plan = owner_plan(n->owner);
	struct err e = {0};

	if (!r->describe && r->image_bytes == shape_size(plan->input))
		return 0;
	unlink_request(&n->waiting, r);
	err_set(&e, ERR_INPUT, "an image of %zu bytes, where %s takes %u×%u×%u", r->image_bytes, n->model,
		plan->input.c, plan->input.h, plan->input.w);
	if (r->describe)
		request_describe(r, n->model, plan, owner_program(n->owner), n->personality);
	else
		request_refuse(r, &e);
	request_free(r);
	return 1;
}

/* The session shall end as soon as its inferences have: what waits is for the next one. */
static int is_leaving(const struct entry *n)
{
	return n->owner && (owner_leaving(n->owner) || owner_peers_leaving(n->d));
}

/* Batches start as long as there are lanes; what comes meanwhile waits and makes the next batch larger. */
static void start_waiting(struct entry *n)
{
	uint64_t now = owner_now(n->d);
	int ready;

	for (struct request *r = n->waiting; r; r = r->next)
		if (!r->ready_us)
			r->ready_us = now;
	while (n->owner && n->waiting && owner_plan(n->owner) && !is_leaving(n)) {
		ready = owner_state(n->owner) == OWNER_READY;
		n->was_ready |= ready;
		if (!ready && !n->waiting->describe)
			return;
		if (settle(n, n->waiting))
			continue;
		if (n->n_running >= n->d->config->lanes || waits_for_others(n, now))
			return;
		start(n, take_fitting(n));
	}
}

static void on_gather(evutil_socket_t fd, short what, void *ctx)
{
	entry_advance(ctx);
}

/* ---- the session ---- */

void entry_count(struct entry *n)
{
	struct pool_status pool = {0};

	if (!n->owner)
		return;
	owner_pool(n->owner, &pool);
	metrics_add(METRIC_tickets_made_total, (double)(pool.made - n->made), METRIC_NO_LABELS);
	metrics_add(METRIC_tickets_burnt_total, (double)(pool.burnt - n->burnt), METRIC_NO_LABELS);
	n->made = pool.made;
	n->burnt = pool.burnt;
}

static int id_in_use(const struct data_owner *d, uint16_t id)
{
	for (const struct entry *n = d->entries; n; n = n->next)
		if (n->owner && n->id == id)
			return 1;
	return 0;
}

static uint16_t free_id(struct data_owner *d)
{
	do
		d->last_id++;
	while (!d->last_id || id_in_use(d, d->last_id));
	return d->last_id;
}

static void open_session(struct entry *n)
{
	const struct config *c = n->d->config;
	struct owner_options options = {.model = n->model,
					.optimise = n->optimise == PLAN_AUTO ? n->chosen : n->optimise,
					.reveal = n->reveal,
					.personality = n->personality,
					.he_offline = !strcmp(c->he_offline, "on"),
					.max_batch = (uint32_t)c->max_batch,
					.pool_low = (uint32_t)c->pool_low,
					.pool_high = (uint32_t)c->pool_high,
					.pool_bytes = c->pool_memory << 20,
					.step_ms = (uint32_t)c->step_ms,
					.connect_ms = (uint32_t)c->connect_ms};
	struct err e = {0};

	n->id = free_id(n->d);
	n->ready_us = owner_now(n->d);
	n->ready_made = 0;
	if (owner_new(&n->owner, net_host(n->d->net), &options, owner_channel(n->d, MODEL_OWNER),
		      owner_channel(n->d, PROVIDER), n->id, &e)) {
		n->owner = NULL;
		refuse_waiting(n, &e);
	}
}

/* The session has failed and told its inferences. */
static void close_session(struct entry *n, const struct err *e)
{
	struct owner *o = n->owner;

	if (e->code)
		log_err(LOG_WARNING, "a session ended", e);
	entry_count(n);
	n->made = n->burnt = 0;
	n->owner = NULL;
	owner_free(o);
	for (struct request *r = n->waiting; r; r = r->next)
		r->ready_us = 0;
}

/* No name was given: the model owner's only model, or an error that lists all. Returns 0 when the name is not
 * known yet. */
static int name_model(struct entry *n)
{
	const struct data_owner *d = n->d;
	char names[NAMES_MAX] = "";
	struct err e = {0};
	size_t at = 0;
	char *name;

	if (n->model[0])
		return 1;
	if (!d->models)
		return 0;
	if (d->n_models == 1 && (name = strdup(d->models[0]))) {
		free(n->model);
		n->model = name;
		return 1;
	}
	for (size_t i = 0; i < d->n_models && at < sizeof(names); i++)
		at += (size_t)snprintf(names + at, sizeof(names) - at, "%s%s", i ? ", " : "", d->models[i]);
	err_set(&e, ERR_USAGE, "the model owner serves %s: name one of them (--model NAME)",
		d->n_models ? names : "no models");
	refuse_waiting(n, &e);
	return 0;
}

/* Gives up a request that waits for a peer for too long: at once when the peer refuses us. */
static int peer_missing(const struct data_owner *d, const struct request *r, int provider, uint64_t now,
			struct err *e)
{
	for (int i = 0; i < (provider ? PEERS : PROVIDER); i++) {
		const struct peer *p = &d->peers[i];
		uint64_t connect = d->config->connect_ms * 1000,
			 patience = p->ever && LOST_US < connect ? LOST_US : connect;
		int refused = p->why.code == ERR_PEER && p->why_us >= r->asked_us;

		if (p->conn || (!refused && now < r->asked_us + patience))
			continue;
		*e = p->why;
		err_set(e, ERR_REACH, "no connection to the %s %s within %llu ms",
			i == PROVIDER ? "provider" : "model-owner",
			i == PROVIDER ? d->config->provider : d->config->model_owner,
			(unsigned long long)(patience / 1000));
		return 1;
	}
	return 0;
}

static void wait_for_peers(struct entry *n)
{
	uint64_t now = owner_now(n->d);
	struct err e = {0};

	net_hurry(n->d->net);
	for (struct request *r = n->waiting, *next; r; r = next) {
		next = r->next;
		if (peer_missing(n->d, r, personality_provider(n->personality), now, &e))
			refuse_one(n, r, &e);
	}
}

void entry_advance(struct entry *n)
{
	if (n->waiting && !n->owner) {
		if (!n->d->peers[MODEL_OWNER].conn ||
		    (personality_provider(n->personality) && !n->d->peers[PROVIDER].conn))
			wait_for_peers(n);
		else if (owner_peers_leaving(n->d))
			return;
		else if (name_model(n) && n->waiting)
			open_session(n);
	}
	if (n->owner)
		start_waiting(n);
}

static const struct err in_order = {.code = ERR_NONE};

/* Not while the session is on the stack. */
static void leave_if_idle(struct entry *n)
{
	if (is_leaving(n) && !n->running)
		close_session(n, &in_order);
}

void entry_frame(struct entry *n, struct channel *from, const struct frame *f)
{
	struct err why = {0};

	if (owner_frame(n->owner, from, f, &why)) {
		close_session(n, &why);
		refuse_waiting(n, &why); /* they would fail alike */
	}
	leave_if_idle(n);
	entry_advance(n);
}

void entry_lost(struct entry *n, struct channel *c, const struct err *why)
{
	if (!n->owner || (!personality_provider(n->personality) && !(c->peer & ROLE_M)))
		return;
	n->weighed = 0; /* what comes back may be another link */
	owner_lost(n->owner, c, why->text);
	close_session(n, why); /* what has not begun waits for the connection to come back */
}

/* ---- the clock ---- */

/* Whom a request still waits for when its deadline has passed. */
static void deadline_passed(const struct data_owner *d, int session, struct err *e)
{
	const char *why = "the peers are there, but slow";

	for (int i = 0; i < PEERS; i++) {
		const struct peer *p = &d->peers[i];

		if (p->conn)
			continue;
		err_set(e, ERR_REACH,
			"the deadline of the request has passed; there is no connection to the %s %s%s%s",
			i == PROVIDER ? "provider" : "model-owner",
			i == PROVIDER ? d->config->provider : d->config->model_owner,
			p->why.text[0] ? ": " : "", p->why.text);
		return;
	}
	if (!session)
		why = "the model-owner and the provider are there, but the session is not open yet";
	err_set(e, session ? ERR_PEER : ERR_REACH, "the deadline of the request has passed; %s", why);
}

static void expire(struct entry *n, uint64_t now)
{
	struct err e = {0};

	deadline_passed(n->d, n->owner != NULL, &e);
	for (struct request *r = n->waiting, *next; r; r = next) {
		next = r->next;
		if (now >= r->deadline_us)
			refuse_one(n, r, &e);
	}
	/* the session works on with the images of those that run: they are freed when it is done */
	for (struct group *g = n->running; g; g = g->next)
		for (struct request *r = g->requests; r; r = r->next)
			if (now >= r->deadline_us)
				request_refuse(r, &e);
}

int entry_tick(struct entry *n)
{
	struct err e = {0};

	if (n->owner && owner_tick(n->owner, &e)) {
		close_session(n, &e);
		refuse_waiting(n, &e);
	}
	expire(n, owner_now(n->d));
	leave_if_idle(n);
	if (entry_weigh(n)) {
		close_session(n, &in_order);
		open_session(n);
	}
	entry_advance(n);
	return !n->owner && !n->was_ready && !n->waiting && !n->running;
}

int entry_rests(const struct entry *n)
{
	if (n->waiting || n->running)
		return 0;
	return n->owner ? owner_rests(n->owner) && !is_leaving(n) && !entry_weighs(n) : n->was_ready;
}

/* ---- life ---- */

struct entry *entry_get(struct data_owner *d, const char *model, unsigned optimise, unsigned reveal,
			enum personality personality, struct err *e)
{
	struct entry *n;

	if (!model[0] && d->n_models == 1)
		model = d->models[0];
	for (n = d->entries; n; n = n->next)
		if (!strcmp(n->model, model) && n->optimise == optimise && n->reveal == reveal &&
		    n->personality == personality)
			return n;
	n = calloc(1, sizeof(*n));
	if (n) {
		n->model = strdup(model);
		n->gather = event_new(net_base(d->net), -1, 0, on_gather, n);
	}
	if (!n || !n->model || !n->gather) {
		if (n && n->gather)
			event_free(n->gather);
		free(n ? n->model : NULL);
		free(n);
		err_set(e, ERR_ENV, "out of memory");
		return NULL;
	}
	n->d = d;
	n->optimise = optimise;
	n->reveal = reveal;
	n->personality = personality;
	n->next = d->entries;
	d->entries = n;
	return n;
}

void entry_ask(struct entry *n, struct request *r)
{
	const struct plan *plan = n->owner ? owner_plan(n->owner) : NULL;

	if (r->describe && plan) { /* needs not wait for images before it */
		request_describe(r, n->model, plan, owner_program(n->owner), n->personality);
		request_free(r);
		return;
	}
	r->ready_us = n->owner && owner_state(n->owner) == OWNER_READY ? r->asked_us : 0;
	append(&n->waiting, r);
	entry_advance(n);
}

void entry_free(struct entry *n, const struct err *why)
{
	struct owner *o = n->owner;

	for (struct group *g = n->running; g; g = g->next)
		group_refuse(g, why);
	entry_count(n);
	n->owner = NULL;
	owner_free(o); /* its inferences end: group_done */
	refuse_waiting(n, why);
	event_free(n->gather);
	free(n->model);
	free(n);
}
