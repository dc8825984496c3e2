/* SPDX-License-Identifier: Apache-2.0 */
/* The data owner's role: connections to the model owner and the provider, a session for each (model, mode, what is revealed), requests. */
#include <stdlib.h>
#include <string.h>

#include "daemon/local.h"
#include "daemon/log.h"
#include "daemon/requests.h"

#define TICK_US 10000
#define LOST_US 1500000 /* how long a request waits for a peer that was there before */

enum which { MODEL_OWNER, PROVIDER, PEERS };

/* A peer: its connection, or why there is none. */
struct peer {
	struct data_owner *d;
	enum which which;
	struct conn *conn;
	struct err why;
	int ever;
};

/* One session and the requests for it. */
struct entry {
	struct entry *next;
	struct data_owner *d;
	char *model;
	enum plan_optimise optimise;
	enum plan_reveal reveal;
	struct owner *owner; /* NULL: not open */
	uint16_t id;
	struct request *waiting, *running;
};

struct data_owner {
	struct net *net;
	const struct config *config;
	struct peer peers[PEERS];
	struct entry *entries;
	struct event *tick;
	uint16_t last_id;
	uint64_t started_us;
};

static uint64_t now_us(const struct data_owner *d)
{
	return net_host(d->net)->now_us(net_host(d->net)->ctx);
}

static struct channel *channel_of(const struct data_owner *d, enum which which)
{
	return d->peers[which].conn ? conn_channel(d->peers[which].conn) : NULL;
}

/* ---- requests of an entry ---- */

static void unlink_request(struct request **list, struct request *r)
{
	while (*list != r)
		list = &(*list)->next;
	*list = r->next;
}

static void refuse_waiting(struct entry *n, const struct err *e)
{
	while (n->waiting) {
		struct request *r = n->waiting;

		n->waiting = r->next;
		request_refuse(r, e);
		request_free(r);
	}
}

static void wire_now(const struct data_owner *d, uint64_t wire[2][2])
{
	for (int i = 0; i < PEERS; i++) {
		struct channel *c = channel_of(d, i);

		wire[i][0] = c ? c->wire_sent : 0;
		wire[i][1] = c ? c->wire_received : 0;
	}
}

static void inference_done(struct inference *i)
{
	struct request *r = i->ctx;
	struct entry *n = r->entry;
	uint64_t wire[2][2];

	unlink_request(&n->running, r);
	wire_now(n->d, wire);
	if (i->err.code)
		request_refuse(r, &i->err);
	else
		request_answer(r, n->model, owner_plan(n->owner), owner_program(n->owner), wire);
	request_free(r);
}

static void start(struct entry *n, struct request *r)
{
	const struct plan *plan = owner_plan(n->owner);
	struct err e = {0};

	unlink_request(&n->waiting, r);
	if (r->describe || r->image_bytes != shape_size(plan->input)) {
		err_set(&e, ERR_INPUT, "an image of %zu bytes, where %s takes %u×%u×%u", r->image_bytes, n->model, plan->input.c, plan->input.h,
			plan->input.w);
		if (r->describe)
			request_describe(r, n->model, plan, owner_program(n->owner));
		else
			request_refuse(r, &e);
		request_free(r);
		return;
	}
	r->next = n->running;
	n->running = r;
	r->ready_us = r->ready_us ? r->ready_us : r->asked_us;
	wire_now(n->d, r->wire);
	r->inference.batch = r->images;
	r->inference.pixels = r->pixels;
	r->inference.done = inference_done;
	r->inference.ctx = r;
	owner_infer(n->owner, &r->inference);
}

/* ---- the session of an entry ---- */

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
					.optimise = n->optimise,
					.reveal = n->reveal,
					.max_batch = c->max_batch,
					.pool_low = c->pool_low,
					.pool_high = c->pool_high,
					.pool_bytes = c->pool_memory << 20,
					.step_ms = c->step_ms,
					.connect_ms = c->connect_ms};
	struct err e = {0};

	n->id = free_id(n->d);
	if (owner_new(&n->owner, net_host(n->d->net), &options, channel_of(n->d, MODEL_OWNER), channel_of(n->d, PROVIDER), n->id, &e)) {
		n->owner = NULL;
		refuse_waiting(n, &e);
	}
}

/* The session has failed and told its inferences. Those that were not started would fail alike. */
static void close_session(struct entry *n, const struct err *e)
{
	struct owner *o = n->owner;

	if (e->code)
		log_err(LOG_WARNING, "a session ended", e);
	n->owner = NULL;
	owner_free(o);
	refuse_waiting(n, e);
}

/* Gives up a request that waits for a peer for too long: at once when the peer refuses us. */
static int peer_missing(const struct data_owner *d, const struct request *r, uint64_t now, struct err *e)
{
	for (int i = 0; i < PEERS; i++) {
		const struct peer *p = &d->peers[i];
		uint64_t patience = p->ever ? LOST_US : d->config->connect_ms * 1000;

		if (p->conn)
			continue;
		if (p->why.code == ERR_PEER || now > r->asked_us + patience) {
			*e = p->why;
			if (!e->code)
				err_set(e, ERR_REACH, "no connection to the %s %s within %llu ms", i == PROVIDER ? "provider" : "model-owner",
					i == PROVIDER ? d->config->provider : d->config->model_owner, (unsigned long long)d->config->connect_ms);
			return 1;
		}
	}
	return 0;
}

static void advance(struct entry *n)
{
	uint64_t now = now_us(n->d);
	struct err e = {0};

	if (!n->owner && n->waiting) {
		if (n->d->peers[MODEL_OWNER].conn && n->d->peers[PROVIDER].conn)
			open_session(n);
		else if (peer_missing(n->d, n->waiting, now, &e))
			refuse_waiting(n, &e);
	}
	while (n->owner && n->waiting && (owner_state(n->owner) == OWNER_READY || (n->waiting->describe && owner_plan(n->owner)))) {
		struct request *first = n->waiting;

		first->ready_us = now;
		start(n, first);
	}
}

static void expire(struct entry *n, struct request *r, uint64_t now)
{
	struct err e = {0};

	for (struct request *next; r; r = next) {
		next = r->next;
		if (now < r->deadline_us)
			continue;
		err_set(&e, ERR_PEER, "the request's deadline has passed (%s)", n->owner ? "peers are slow" : "no session yet");
		request_refuse(r, &e);
		if (r->inference.ctx)
			continue; /* the session still works on its images: it is freed when that ends */
		unlink_request(&n->waiting, r);
		request_free(r);
	}
}

static void on_tick(evutil_socket_t fd, short what, void *ctx)
{
	struct data_owner *d = ctx;
	uint64_t now = now_us(d);

	for (struct entry *n = d->entries; n; n = n->next) {
		struct err e = {0};

		if (n->owner && owner_tick(n->owner, &e))
			close_session(n, &e);
		expire(n, n->waiting, now);
		expire(n, n->running, now);
		advance(n);
	}
}

/* ---- connections ---- */

static void peer_up(void *ctx, struct conn *c)
{
	struct peer *p = ctx;

	log_line(LOG_INFO, "%s: connected", conn_channel(c)->name);
	p->conn = c;
	p->ever = 1;
	p->why = (struct err){0};
	for (struct entry *n = p->d->entries; n; n = n->next)
		advance(n);
}

static int peer_frame(void *ctx, struct conn *c, const struct frame *f, struct err *e)
{
	struct peer *p = ctx;
	struct err why = {0};

	for (struct entry *n = p->d->entries; n; n = n->next) {
		if (!n->owner || n->id != f->session)
			continue;
		if (owner_frame(n->owner, conn_channel(c), f, &why))
			close_session(n, &why);
		advance(n);
		break;
	}
	return 0;
}

static void peer_drained(void *ctx, struct conn *c)
{
	struct peer *p = ctx;

	on_tick(-1, 0, p->d);
}

static void peer_down(void *ctx, struct conn *c, const struct err *why)
{
	struct peer *p = ctx;
	int was = c && c == p->conn;

	if (was || !p->why.code)
		log_err(LOG_WARNING, was ? "connection lost" : "no connection", why);
	p->why = *why;
	if (!was)
		return;
	p->conn = NULL;
	for (struct entry *n = p->d->entries; n; n = n->next) {
		if (!n->owner)
			continue;
		owner_lost(n->owner, conn_channel(c), why->text);
		close_session(n, why);
	}
}

/* ---- the role ---- */

static struct entry *find_entry(struct data_owner *d, const char *model, unsigned optimise, unsigned reveal)
{
	struct entry *n;

	for (n = d->entries; n; n = n->next)
		if (!strcmp(n->model, model) && n->optimise == optimise && n->reveal == reveal)
			return n;
	n = calloc(1, sizeof(*n));
	if (!n || !(n->model = strdup(model))) {
		free(n);
		return NULL;
	}
	n->d = d;
	n->optimise = optimise;
	n->reveal = reveal;
	n->next = d->entries;
	d->entries = n;
	return n;
}

static int accepts_smpc(const Wire__Classify *q)
{
	for (size_t i = 0; i < q->n_personalities; i++)
		if (!strcmp(q->personalities[i], "smpc"))
			return 1;
	return q->n_personalities == 0;
}

static void append(struct request **list, struct request *r)
{
	while (*list)
		list = &(*list)->next;
	*list = r;
}

void data_owner_classify(struct data_owner *d, const Wire__Classify *q, data_owner_reply reply, void *ctx)
{
	struct err e = {0};
	struct request *r = request_new(q, now_us(d), d->config->deadline_ms, &e), refused = {.reply = reply, .ctx = ctx};
	struct entry *n = NULL;

	if (!r || !(accepts_smpc(q)))
		err_set(&e, ERR_USAGE, "only the personality smpc exists in this version");
	else if (q->optimise > PLAN_BANDWIDTH || q->reveal > REVEAL_LABEL)
		err_set(&e, ERR_USAGE, "an unknown way to optimise or to reveal");
	else if (!q->describe && !q->n_images)
		err_set(&e, ERR_USAGE, "no images");
	else if (!(n = find_entry(d, q->model, q->optimise, q->reveal)))
		err_set(&e, ERR_ENV, "out of memory");
	if (e.code) {
		request_free(r);
		request_refuse(&refused, &e);
		return;
	}
	r->reply = reply;
	r->ctx = ctx;
	r->entry = n;
	append(&n->waiting, r);
	advance(n);
}

int data_owner_new(struct data_owner **owner, struct net *net, const struct config *config, struct err *e)
{
	static const struct net_handler handler = {peer_up, peer_frame, peer_drained, peer_down};
	struct data_owner *d = calloc(1, sizeof(*d));
	struct timeval every = {.tv_usec = TICK_US};

	*owner = NULL;
	if (!d)
		return err_set(e, ERR_ENV, "out of memory");
	d->net = net;
	d->config = config;
	d->started_us = now_us(d);
	d->peers[MODEL_OWNER] = (struct peer){.d = d, .which = MODEL_OWNER};
	d->peers[PROVIDER] = (struct peer){.d = d, .which = PROVIDER};
	d->tick = event_new(net_base(net), -1, EV_PERSIST, on_tick, d);
	if (!d->tick || event_add(d->tick, &every) || net_connect(net, config->model_owner, ROLE_M, 1, &handler, &d->peers[MODEL_OWNER], e) ||
	    net_connect(net, config->provider, ROLE_C, 1, &handler, &d->peers[PROVIDER], e)) {
		data_owner_free(d);
		return err_set(e, ERR_ENV, "cannot start a timer");
	}
	*owner = d;
	return 0;
}

static const char *const state_names[] = {"opening", "receiving weights", "pairing", "ready", "failed"};

void data_owner_status(struct data_owner *d, Wire__Status *s)
{
	size_t sessions = 0;

	for (struct entry *n = d->entries; n; n = n->next)
		sessions++;
	s->role = "data-owner";
	s->software = "obscura";
	s->uptime = (double)(now_us(d) - d->started_us) / 1e6;
	s->peers = calloc(PEERS, sizeof(*s->peers));
	s->pools = calloc(sessions + 1, sizeof(*s->pools));
	for (int i = 0; s->peers && i < PEERS; i++) {
		Wire__Peer *p = s->peers[i] = malloc(sizeof(*p));

		if (!p)
			break;
		wire__peer__init(p);
		p->role = i == PROVIDER ? "provider" : "model-owner";
		p->name = d->peers[i].conn ? conn_channel(d->peers[i].conn)->name : "";
		p->address = i == PROVIDER ? d->config->provider : d->config->model_owner;
		p->state = d->peers[i].conn ? "connected" : "not connected";
		p->error = d->peers[i].why.text;
		s->n_peers = i + 1;
	}
	for (struct entry *n = d->entries; s->pools && n; n = n->next) {
		struct pool_status pool = {0};
		Wire__Pool *p = malloc(sizeof(*p));

		if (!p)
			break;
		wire__pool__init(p);
		if (n->owner)
			owner_pool(n->owner, &pool);
		p->model = n->model;
		p->peer = d->config->model_owner;
		p->state = n->owner ? (char *)state_names[owner_state(n->owner)] : "closed";
		p->depth = pool.depth;
		p->high = pool.high;
		p->bytes = pool.bytes;
		p->made = pool.made;
		p->burnt = pool.burnt;
		p->burn_rate = pool.burn_rate;
		s->pools[s->n_pools++] = p;
	}
}

void data_owner_status_free(Wire__Status *s)
{
	for (size_t i = 0; i < s->n_peers; i++)
		free(s->peers[i]);
	for (size_t i = 0; i < s->n_pools; i++)
		free(s->pools[i]);
	free(s->peers);
	free(s->pools);
}

void data_owner_free(struct data_owner *d)
{
	struct err e = {.code = ERR_REACH, .text = "the data owner stops"};

	if (!d)
		return;
	if (d->tick)
		event_free(d->tick);
	while (d->entries) {
		struct entry *n = d->entries;

		d->entries = n->next;
		if (n->owner) {
			struct owner *o = n->owner;

			for (struct request *r = n->running; r; r = r->next)
				request_refuse(r, &e);
			owner_lost(o, channel_of(d, MODEL_OWNER), e.text);
			n->owner = NULL;
			owner_free(o);
		}
		refuse_waiting(n, &e);
		free(n->model);
		free(n);
	}
	free(d);
}

int data_owner_main(const struct config *config)
{
	struct data_owner *d = NULL;
	struct local *local = NULL;
	struct net *net = NULL;
	struct err e = {0};
	int failed = net_new(&net, config, ROLE_D, &e) || data_owner_new(&d, net, config, &e) || local_new(&local, net, config->socket, d, &e);

	if (!failed) {
		log_line(LOG_INFO, "ready");
		failed = net_run(net, &e);
	}
	if (failed)
		log_err(LOG_ERR, "data-owner", &e);
	net_drain(net);
	data_owner_free(d);
	local_free(local);
	net_free(net);
	return failed ? (int)e.code : 0;
}
