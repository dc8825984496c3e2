/* SPDX-License-Identifier: Apache-2.0 */
/* The data owner's role: kept connections to the model owner and the provider, and an entry for each session
 * (entry.c). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/text.h"
#include "daemon/api.h"
#include "daemon/enclave_link.h"
#include "daemon/entry.h"
#include "daemon/jobs.h"
#include "daemon/local.h"
#include "daemon/log.h"
#include "daemon/serve.h"

#define PIXELS_MAX ((size_t)1 << 30) /* of all requests that wait or run */
#define SESSIONS_MAX 1024
#define MODELS_MAX 10000 /* of one model owner */

uint64_t owner_now(const struct data_owner *d)
{
	const struct host *host = net_host(d->net);

	return host->now_us(host->ctx);
}

struct channel *owner_channel(const struct data_owner *d, enum which which)
{
	return d->peers[which].conn ? conn_channel(d->peers[which].conn) : NULL;
}

int owner_peers_leaving(const struct data_owner *d)
{
	return d->peers[MODEL_OWNER].leaving || d->peers[PROVIDER].leaving;
}

static struct conn_wire wire_of(const struct data_owner *d, enum which which)
{
	return d->peers[which].conn ? conn_wire(d->peers[which].conn) : (struct conn_wire){0};
}

void owner_wire_begin(const struct data_owner *d, struct group *g)
{
	g->before[MODEL_OWNER] = wire_of(d, MODEL_OWNER);
	g->before[PROVIDER] = wire_of(d, PROVIDER);
}

/* Frames count as offline when they are whole, bytes when they arrive: the difference may be less than
 * nothing for a moment. */
static uint64_t charge(uint64_t payload, uint64_t moved, uint64_t offline, uint64_t steps)
{
	return steps && moved > offline + steps
		   ? (uint64_t)((double)payload * (double)(moved - offline) / (double)steps)
		   : payload;
}

void owner_wire_end(const struct data_owner *d, struct group *g)
{
	struct conn_wire m = wire_of(d, MODEL_OWNER), c = wire_of(d, PROVIDER), *m0 = &g->before[MODEL_OWNER],
			 *c0 = &g->before[PROVIDER];
	const struct inference *i = &g->inference;
	uint64_t images = 0; /* g's at least: it is still in its list */

	for (const struct entry *n = d->entries; n; n = n->next)
		for (const struct group *other = n->running; other; other = other->next)
			images += other->images;
	g->wire_online.sent = charge(i->online.sent, m.sent - m0->sent, m.offline_sent - m0->offline_sent,
				     m.steps_sent - m0->steps_sent);
	g->wire_online.received =
	    charge(i->online.received, m.received - m0->received, m.offline_received - m0->offline_received,
		   m.steps_received - m0->steps_received);
	g->wire_offline.sent = (c.sent - c0->sent + m.offline_sent - m0->offline_sent) * g->images / images;
	g->wire_offline.received =
	    (c.received - c0->received + m.offline_received - m0->offline_received) * g->images / images;
}

static void remove_entry(struct data_owner *d, struct entry *n, const struct err *why)
{
	struct entry **at = &d->entries;

	while (*at != n)
		at = &(*at)->next;
	*at = n->next;
	entry_free(n, why);
}

/* Those that are to be connected anew, once no session needs them. */
static void leave_peers(struct data_owner *d)
{
	for (const struct entry *n = d->entries; n; n = n->next)
		if (n->owner)
			return;
	for (int i = 0; i < PEERS; i++)
		if (d->peers[i].leaving && d->peers[i].conn)
			conn_close(d->peers[i].conn);
}

static uint64_t due(void *ctx)
{
	const struct data_owner *d = ctx;

	if (owner_peers_leaving(d))
		return 0;
	for (const struct entry *n = d->entries; n; n = n->next)
		if (!entry_rests(n))
			return 0;
	return enclave_link_due(d->enclave);
}

static void on_tick(void *ctx)
{
	static const struct err over = {.code = ERR_PEER, .text = "the session is over"};
	struct data_owner *d = ctx;
	struct entry *next;

	for (struct entry *n = d->entries; n; n = next) {
		int useless = entry_tick(n);

		next = n->next;
		if (useless)
			remove_entry(d, n, &over);
	}
	if (owner_peers_leaving(d))
		leave_peers(d);
	enclave_link_tick(d->enclave);
}

/* ---- what the model owner serves ---- */

static void forget_models(struct data_owner *d)
{
	for (size_t i = 0; d->models && i < d->n_models; i++)
		free(d->models[i]);
	free(d->models);
	d->models = NULL;
	d->n_models = 0;
}

static void ask_models(struct conn *c)
{
	struct channel *channel = conn_channel(c);

	channel->ops->send(channel, &(struct frame){.type = FRAME_MODELS});
	channel->ops->flush(channel);
}

/* Names end on terminals. */
static int models_fine(const Wire__ModelList *list)
{
	for (size_t i = 0; i < list->n_models; i++)
		if (!text_is_clean(list->models[i]->name))
			return 0;
	return list->n_models <= MODELS_MAX;
}

static int take_models(struct data_owner *d, const struct frame *f, struct err *e)
{
	Wire__ModelList *list = wire__model_list__unpack(NULL, f->length, f->body);

	if (!list)
		return err_set(e, ERR_PEER, "sent a list of models that cannot be read");
	if (!models_fine(list)) {
		wire__model_list__free_unpacked(list, NULL);
		return err_set(e, ERR_PEER,
			       "sent a list of models with too many, or with a name that cannot be shown");
	}
	forget_models(d);
	d->models = calloc(list->n_models + 1, sizeof(*d->models));
	for (size_t i = 0; d->models && i < list->n_models; i++) {
		d->models[d->n_models] = strdup(list->models[i]->name);
		d->n_models += d->models[d->n_models] != NULL;
	}
	wire__model_list__free_unpacked(list, NULL);
	return d->models ? 0 : err_set(e, ERR_ENV, "out of memory");
}

/* ---- connections ---- */

static void advance_all(struct data_owner *d)
{
	for (struct entry *n = d->entries; n; n = n->next)
		entry_advance(n);
}

static void peer_up(void *ctx, struct conn *c)
{
	struct peer *p = ctx;

	log_peer(LOG_INFO, conn_channel(c)->name, "connected");
	p->conn = c;
	p->leaving = 0;
	p->ever = 1;
	p->why = (struct err){0};
	if (p->which == MODEL_OWNER)
		ask_models(c);
	advance_all(p->d);
}

static int peer_frame(void *ctx, struct conn *c, const struct frame *f, struct err *e)
{
	struct peer *p = ctx;

	if (f->type == FRAME_MODEL_LIST) {
		if (take_models(p->d, f, e))
			return -1;
		advance_all(p->d);
		return 0;
	}
	if (f->type == FRAME_CLOSE && !f->session) {
		log_peer(LOG_INFO, conn_channel(c)->name, "asks for a new connection");
		p->leaving = 1;
		return 0;
	}
	/* frames of a session that has just ended may still be under way: they are dropped */
	for (struct entry *n = p->d->entries; n; n = n->next)
		if (n->owner && n->id == f->session) {
			entry_frame(n, conn_channel(c), f);
			break;
		}
	return 0;
}

static void peer_drained(void *ctx, struct conn *c)
{
	struct peer *p = ctx;

	on_tick(p->d);
}

static void peer_down(void *ctx, struct conn *c, const struct err *why)
{
	struct peer *p = ctx;
	int was = c && c == p->conn;

	if (was || strcmp(p->why.text, why->text))
		log_err(why->code ? LOG_WARNING : LOG_INFO, was ? "connection lost" : "no connection", why);
	p->why = *why;
	p->why_us = owner_now(p->d);
	if (!was)
		return;
	p->conn = NULL;
	p->leaving = 0;
	if (p->which == MODEL_OWNER)
		forget_models(p->d);
	for (struct entry *n = p->d->entries; n; n = n->next)
		entry_lost(n, conn_channel(c), why);
}

/* ---- requests ---- */

/* The first that exists, or PERSONALITIES. */
static enum personality personality(const Wire__Classify *q)
{
	for (size_t i = 0; i < q->n_personalities; i++) {
		enum personality p = personality_named(q->personalities[i]);

		if (p < PERSONALITIES)
			return p;
	}
	return q->n_personalities ? PERSONALITIES : PERSONALITY_SMPC;
}

static int check_request(const struct data_owner *d, const Wire__Classify *q, struct err *e)
{
	size_t sessions = 0;

	for (const struct entry *n = d->entries; n; n = n->next)
		sessions++;
	if (net_stopping(d->net))
		return err_set(e, ERR_REACH, "the data owner is stopping; ask again when it is back");
	if (personality(q) == PERSONALITIES)
		return err_set(e, ERR_USAGE, "there are only the personalities smpc, he, clear and enclave");
	/* whose daemon it is decides whether pictures may be shown, not any of its clients; standalone, they
	 * are the same */
	if (personality(q) == PERSONALITY_CLEAR && d->config->role == 'D' && strcmp(d->config->clear, "on"))
		return err_set(e, ERR_USAGE,
			       "personality clear shows the picture to the model owner, which this data "
			       "owner does not allow "
			       "(option clear)");
	if (q->optimise > PLAN_AUTO || q->reveal > REVEAL_LABEL)
		return err_set(e, ERR_USAGE, "an unknown way to optimise or to reveal");
	if (!q->describe && !q->n_images)
		return err_set(e, ERR_USAGE, "no images");
	if (d->pixels > PIXELS_MAX || sessions > SESSIONS_MAX)
		return err_set(e, ERR_ENV, "the data owner has too much to do: %zu MB of images wait",
			       d->pixels >> 20);
	return 0;
}

void data_owner_classify(struct data_owner *d, const Wire__Classify *q, data_owner_reply reply, void *ctx)
{
	struct err e = {0};
	struct request refused = {.reply = reply, .ctx = ctx, .describe = q->describe}, *r = NULL;
	struct entry *n = NULL;

	if (!check_request(d, q, &e))
		r = request_new(&d->memory, q, owner_now(d), d->config->deadline_ms, &d->pixels, &e);
	if (r) {
		r->reply = reply;
		r->ctx = ctx;
	}
	if (r && personality(q) == PERSONALITY_ENCLAVE) {
		enclave_link_ask(d->enclave, r, q);
		return;
	}
	if (r)
		n = entry_get(d, q->model, q->optimise, q->reveal, personality(q), &e);
	if (!n) {
		request_free(r);
		request_refuse(&refused, &e);
		return;
	}
	entry_ask(n, r);
}

/* ---- status ---- */

static Wire__Peer *status_of_peer(const struct data_owner *d, enum which which)
{
	Wire__Peer *p = malloc(sizeof(*p));
	const struct peer *peer = &d->peers[which];

	if (!p)
		return NULL;
	wire__peer__init(p);
	p->role = (char *)(uintptr_t)(which == PROVIDER ? "provider" : "model-owner");
	p->name = peer->conn ? conn_channel(peer->conn)->name : (char *)(uintptr_t) "";
	p->address = which == PROVIDER ? d->config->provider : d->config->model_owner;
	p->state = (char *)(uintptr_t)(peer->conn ? "connected" : "not connected");
	p->error = (char *)(uintptr_t)peer->why.text;
	return p;
}

/* NULL: there is none, or memory is short. */
static Wire__Peer *status_of_enclave(const struct data_owner *d)
{
	const char *error, *state = enclave_link_state(d->enclave, &error);
	Wire__Peer *p = state ? malloc(sizeof(*p)) : NULL;

	if (!p)
		return NULL;
	wire__peer__init(p);
	p->role = (char *)(uintptr_t) "enclave";
	p->address = d->config->enclave;
	p->state = (char *)(uintptr_t)state;
	p->error = (char *)(uintptr_t)error;
	return p;
}

static Wire__Pool *status_of_pool(const struct data_owner *d, const struct entry *n)
{
	static const char *const names[OWNER_STATES] = {"opening", "receiving weights", "pairing", "ready",
							"failed"};
	enum plan_optimise mode = n->optimise == PLAN_AUTO ? n->chosen : n->optimise;
	struct pool_status pool = {0};
	Wire__Pool *p = malloc(sizeof(*p));

	if (!p)
		return NULL;
	wire__pool__init(p);
	if (n->owner)
		owner_pool(n->owner, &pool);
	p->model = n->model;
	p->peer = d->config->model_owner;
	p->personality = (char *)(uintptr_t)personality_name(n->personality);
	p->mode = (char *)(uintptr_t)(mode == PLAN_BANDWIDTH ? "bandwidth" : "latency");
	p->reveal = (char *)(uintptr_t)(n->reveal == REVEAL_LABEL ? "label" : "logits");
	p->state = (char *)(uintptr_t)(n->owner ? names[owner_state(n->owner)] : "closed");
	p->depth = pool.depth;
	p->high = pool.high;
	p->bytes = pool.bytes;
	p->made = pool.made;
	p->burnt = pool.burnt;
	p->due = pool.due;
	p->burn_rate = pool.burn_rate;
	return p;
}

static void add_warning(void *ctx, const char *text)
{
	Wire__Status *s = ctx;
	char **longer = reallocarray(s->warnings, s->n_warnings + 1, sizeof(*longer));

	if (!longer)
		return;
	s->warnings = longer;
	if ((longer[s->n_warnings] = strdup(text)))
		s->n_warnings++;
}

void data_owner_status(struct data_owner *d, Wire__Status *s)
{
	size_t sessions = 0;

	for (struct entry *n = d->entries; n; n = n->next)
		sessions++;
	s->role = (char *)(uintptr_t) "data-owner";
	s->software = (char *)(uintptr_t) "obscura";
	s->uptime = (double)(owner_now(d) - d->started_us) / 1e6;
	s->peers = calloc(PEERS + 1, sizeof(*s->peers));
	s->pools = calloc(sessions + 1, sizeof(*s->pools));
	for (int i = 0; s->peers && i < PEERS; i++)
		if ((s->peers[s->n_peers] = status_of_peer(d, i)))
			s->n_peers++;
	if (s->peers && (s->peers[s->n_peers] = status_of_enclave(d)))
		s->n_peers++;
	for (struct entry *n = d->entries; s->pools && n; n = n->next)
		if ((s->pools[s->n_pools] = status_of_pool(d, n)))
			s->n_pools++;
	net_expiring(d->net, add_warning, s);
}

void data_owner_status_free(Wire__Status *s)
{
	for (size_t i = 0; i < s->n_peers; i++)
		free(s->peers[i]);
	for (size_t i = 0; i < s->n_pools; i++)
		free(s->pools[i]);
	for (size_t i = 0; i < s->n_warnings; i++)
		free(s->warnings[i]);
	free(s->peers);
	free(s->pools);
	free(s->warnings);
}

/* ---- the role ---- */

static int is_busy(void *ctx)
{
	const struct data_owner *d = ctx;

	for (const struct entry *n = d->entries; n; n = n->next)
		if (n->running || n->waiting)
			return 1;
	return enclave_link_busy(d->enclave);
}

int data_owner_new(struct data_owner **owner, struct net *net, const struct config *config, struct err *e)
{
	static const struct net_handler handler = {peer_up, peer_frame, peer_drained, peer_down};
	struct data_owner *d = calloc(1, sizeof(*d));
	static const struct net_clock clock = {due, on_tick};

	*owner = NULL;
	if (!d)
		return err_set(e, ERR_ENV, "out of memory");
	d->net = net;
	d->config = config;
	d->started_us = owner_now(d);
	d->enclave = enclave_link_new(net, config);
	d->peers[MODEL_OWNER] = (struct peer){.d = d, .which = MODEL_OWNER};
	d->peers[PROVIDER] = (struct peer){.d = d, .which = PROVIDER};
	net_set_clock(net, &clock, d);
	if (!d->enclave ||
	    net_connect(net, config->model_owner, ROLE_M, 1, &handler, &d->peers[MODEL_OWNER], e) ||
	    net_connect(net, config->provider, ROLE_C, 1, &handler, &d->peers[PROVIDER], e)) {
		data_owner_free(d);
		return err_set(e, ERR_ENV, "out of memory");
	}
	*owner = d;
	return 0;
}

void data_owner_free(struct data_owner *d)
{
	static const struct err stops = {.code = ERR_REACH, .text = "the data owner stops"};

	if (!d)
		return;
	net_set_clock(d->net, NULL, NULL);
	while (d->entries)
		remove_entry(d, d->entries, &stops);
	enclave_link_free(d->enclave);
	forget_models(d);
	memory_pool_free(&d->memory);
	free(d);
}

/* ---- as a daemon ---- */

/* What the process has besides the role. */
struct daemon {
	struct net *net;
	struct data_owner *owner;
	struct decoder *decoder;
	struct jobs *jobs;
	struct local *local;
	struct api *api;
};

static int is_busy_stopping(void *ctx)
{
	struct daemon *x = ctx;

	jobs_pause(x->jobs);
	api_stop(x->api);
	return is_busy(x->owner);
}

/* Sessions are of two connections: both ends must know us by the same certificate. */
static void on_reload(void *ctx, void *loaded, int identity)
{
	struct daemon *x = ctx;
	struct data_owner *d = x->owner;

	for (int i = 0; i < PEERS && identity; i++)
		d->peers[i].leaving = d->peers[i].conn != NULL;
	enclave_link_renew(d->enclave);
	api_reload(x->api);
}

static void on_status(void *ctx, char *line, size_t bytes)
{
	const struct data_owner *d = ((struct daemon *)ctx)->owner;
	unsigned sessions = 0, running = 0;

	for (const struct entry *n = d->entries; n; n = n->next) {
		sessions += n->owner != NULL;
		running += n->n_running;
	}
	snprintf(line, bytes, "model owner %s, provider %s; %u sessions, %u inferences under way",
		 d->peers[MODEL_OWNER].conn ? "connected" : "not connected",
		 d->peers[PROVIDER].conn ? "connected" : "not connected", sessions, running);
}

static int is_ready(void *ctx, struct err *e)
{
	return data_owner_ready(((struct daemon *)ctx)->owner, NULL, e);
}

static void collect(void *ctx)
{
	owner_collect(((struct daemon *)ctx)->owner);
}

/* The decoder of pictures first: it inherits what is there. */
static int open_all(struct daemon *x, const struct config *config, struct err *e)
{
	if (decoder_new(&x->decoder, e) || net_new(&x->net, config, ROLE_D, e) ||
	    data_owner_new(&x->owner, x->net, config, e) || jobs_new(&x->jobs, x->net, config, x->owner, e))
		return -1;
	decoder_attach(x->decoder, net_base(x->net));
	return local_new(&x->local, x->net, config->socket, x->owner, x->jobs, e) ||
		       api_new(&x->api, x->net, x->owner, x->decoder, config, e)
		   ? -1
		   : 0;
}

static int run(struct daemon *x, const struct config *config, struct err *e)
{
	static const struct serve how = {
	    .reload = {.take = on_reload}, .status = on_status, .admin = {is_ready, collect}};
	char ready[200];

	net_on_stop(x->net, is_busy_stopping, x);
	snprintf(ready, sizeof(ready), "ready; model owner %.80s, provider %.80s", config->model_owner,
		 config->provider);
	return serve(x->net, &how, x, ready, e);
}

int data_owner_main(const struct config *config)
{
	struct daemon x = {0};
	struct err e = {0};
	int failed = open_all(&x, config, &e) || run(&x, config, &e);

	if (failed)
		log_err(LOG_ERR, "cannot run", &e);
	api_end(x.api);
	data_owner_free(x.owner);
	net_drain(x.net);
	jobs_free(x.jobs);
	local_free(x.local);
	api_free(x.api);
	decoder_free(x.decoder);
	net_free(x.net);
	return failed ? (int)e.code : 0;
}
