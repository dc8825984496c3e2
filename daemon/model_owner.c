/* SPDX-License-Identifier: Apache-2.0 */
/* The model owner's role: models, the sessions of many data owners, one connection to the provider. */
#include <stdlib.h>
#include <string.h>

#include "daemon/data_owner.h"
#include "daemon/log.h"
#include "nn/plan.h"
#include "protocol/session.h"
#include "wire.pb-c.h"

#define TICK_US 20000
#define NAMES_MAX 300

/* A model, and what is served of it: one epoch for each choice of mode and of what is revealed, made when first asked for. */
struct model {
	struct graph *g;
	struct served *served[2][2]; /* [optimise][reveal] */
};

struct session {
	struct session *next;
	struct modeller *m;
	struct conn *owner, *provider;
	uint16_t id, provider_id;
};

/* An OPEN that waits for the provider. */
struct opening {
	struct opening *next;
	struct conn *owner;
	uint16_t id;
	uint64_t since_us;
	const struct served *served;
};

struct model_owner {
	struct net *net;
	const struct config *config;
	struct model *models;
	size_t n_models;
	struct conn *provider;
	struct err provider_why;
	struct session *sessions;
	struct opening *openings;
	unsigned n_sessions;
	uint16_t last_id;
};

/* ---- models ---- */

static struct plan_options options_of(const struct config *c, unsigned optimise, unsigned reveal)
{
	struct plan_options o = plan_defaults();

	o.optimise = optimise;
	o.reveal = reveal;
	o.weight_bits = c->weight_bits;
	o.activation_bits = c->activation_bits;
	o.granularity = c->granularity;
	return o;
}

static int serve(struct model_owner *o, struct model *m, unsigned optimise, unsigned reveal, struct err *e)
{
	struct plan_options options = options_of(o->config, optimise, reveal);

	return m->served[optimise][reveal] ? 0 : served_new(&m->served[optimise][reveal], m->g, &options, e);
}

/* Every model must be servable before the role says that it is ready. */
static int load_models(struct model_owner *o, struct err *e)
{
	o->models = calloc(o->config->models.n + 1, sizeof(*o->models));
	if (!o->models)
		return err_set(e, ERR_ENV, "out of memory");
	for (size_t i = 0; i < o->config->models.n; i++) {
		struct model *m = &o->models[o->n_models];

		if (graph_load(&m->g, o->config->models.items[i], e))
			return -1;
		o->n_models++;
		for (size_t j = 0; j < i; j++)
			if (!strcmp(o->models[j].g->name, m->g->name))
				return err_set(e, ERR_INPUT, "two models are named %s; rename one of the files", m->g->name);
		if (serve(o, m, PLAN_LATENCY, REVEAL_LOGITS, e))
			return err_context(e, "%s", o->config->models.items[i]);
		log_line(LOG_INFO, "serves %s", m->g->name);
	}
	return o->n_models ? 0 : err_set(e, ERR_USAGE, "no models; name some with --models=FILE.onnx,…");
}

static struct model *find_model(struct model_owner *o, const char *name)
{
	for (size_t i = 0; i < o->n_models; i++)
		if (!strcmp(o->models[i].g->name, name))
			return &o->models[i];
	return NULL;
}

static void model_names(const struct model_owner *o, char *out, size_t bytes)
{
	size_t at = 0;

	out[0] = 0;
	for (size_t i = 0; i < o->n_models && at + 2 < bytes; i++) {
		int n = snprintf(out + at, bytes - at, "%s%s", i ? ", " : "", o->models[i].g->name);

		at += n > 0 ? (size_t)n : 0;
	}
}

/* ---- sessions ---- */

static void refuse(struct conn *c, uint16_t session, const struct err *e, const char *step)
{
	log_line(LOG_WARNING, "%s: refused: %s", conn_channel(c)->name, e->text);
	channel_send_error(conn_channel(c), session, e, step);
	conn_channel(c)->ops->flush(conn_channel(c));
}

static void end_session(struct model_owner *o, struct session *s)
{
	struct session **at = &o->sessions;

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	o->n_sessions--;
	modeller_free(s->m);
	free(s);
}

static int id_in_use(const struct model_owner *o, uint16_t id)
{
	for (const struct session *s = o->sessions; s; s = s->next)
		if (s->provider_id == id)
			return 1;
	return 0;
}

static uint16_t free_id(struct model_owner *o)
{
	do
		o->last_id++;
	while (!o->last_id || id_in_use(o, o->last_id));
	return o->last_id;
}

static void start_session(struct model_owner *o, struct conn *c, uint16_t id, const struct served *served)
{
	struct modeller_options options = {.pool_bytes = o->config->pool_memory << 20,
					   .step_ms = o->config->step_ms,
					   .connect_ms = o->config->connect_ms,
					   .max_batch = o->config->max_batch,
					   .lanes = o->config->lanes};
	struct session *s = calloc(1, sizeof(*s));
	struct err e = {0};

	if (!s) {
		err_set(&e, ERR_ENV, "out of memory");
		refuse(c, id, &e, "open");
		return;
	}
	*s = (struct session){.owner = c, .provider = o->provider, .id = id, .provider_id = free_id(o)};
	if (modeller_new(&s->m, net_host(o->net), &options, served, conn_channel(c), id, conn_channel(o->provider), s->provider_id, &e)) {
		refuse(c, id, &e, "open");
		free(s);
		return;
	}
	s->next = o->sessions;
	o->sessions = s;
	o->n_sessions++;
	log_line(LOG_INFO, "%s: session %u on %s", conn_channel(c)->name, id, served->name);
}

static void wait_for_provider(struct model_owner *o, struct conn *c, uint16_t id, const struct served *served)
{
	struct opening *w = calloc(1, sizeof(*w));
	struct err e = {0};

	if (!w) {
		err_set(&e, ERR_ENV, "out of memory");
		refuse(c, id, &e, "open");
		return;
	}
	*w = (struct opening){o->openings, c, id, net_host(o->net)->now_us(net_host(o->net)->ctx), served};
	o->openings = w;
}

static int speaks_smpc(const Wire__Open *open)
{
	for (size_t i = 0; i < open->n_personalities; i++)
		if (!strcmp(open->personalities[i], "smpc"))
			return 1;
	return open->n_personalities == 0;
}

/* What OPEN asks for, or NULL with the reason. */
static const struct served *wanted(struct model_owner *o, const Wire__Open *open, struct err *e)
{
	struct model *m = find_model(o, open->model);
	char names[NAMES_MAX];

	if (!m) {
		model_names(o, names, sizeof(names));
		err_set(e, ERR_PEER, "there is no model \"%.64s\"; this model owner serves %s", open->model, names);
		return NULL;
	}
	if (!speaks_smpc(open)) {
		err_set(e, ERR_PEER, "none of the personalities that you accept is offered; %s has smpc", m->g->name);
		return NULL;
	}
	if (open->optimise > PLAN_BANDWIDTH || open->reveal > REVEAL_LABEL) {
		err_set(e, ERR_PEER, "an unknown way to optimise or to reveal");
		return NULL;
	}
	if (o->n_sessions >= o->config->max_sessions) {
		err_set(e, ERR_PEER, "%u sessions are open, which is the limit (max_sessions)", o->n_sessions);
		return NULL;
	}
	return serve(o, m, open->optimise, open->reveal, e) ? NULL : m->served[open->optimise][open->reveal];
}

static struct session *find_session(struct model_owner *o, const struct conn *c, uint16_t id)
{
	for (struct session *s = o->sessions; s; s = s->next)
		if ((s->owner == c && s->id == id) || (s->provider == c && s->provider_id == id))
			return s;
	return NULL;
}

static int on_open(struct model_owner *o, struct conn *c, const struct frame *f, struct err *e)
{
	Wire__Open *open = wire__open__unpack(NULL, f->length, f->body);
	const struct served *served;
	struct err why = {0};

	if (!open)
		return err_set(e, ERR_PEER, "sent an OPEN that cannot be read");
	if (!f->session || find_session(o, c, f->session)) {
		wire__open__free_unpacked(open, NULL);
		return err_set(e, ERR_PEER, "opened session %u twice", f->session);
	}
	served = wanted(o, open, &why);
	if (!served)
		refuse(c, f->session, &why, "open");
	else if (o->provider)
		start_session(o, c, f->session, served);
	else
		wait_for_provider(o, c, f->session, served);
	wire__open__free_unpacked(open, NULL);
	return 0;
}

static void send_models(struct model_owner *o, struct conn *c)
{
	static char *personalities[] = {"smpc"};
	Wire__ModelList list = WIRE__MODEL_LIST__INIT;
	Wire__ModelInfo *info = calloc(o->n_models, sizeof(*info)), **infos = calloc(o->n_models, sizeof(*infos));
	Wire__Shape *shapes = calloc(o->n_models, sizeof(*shapes));

	for (size_t i = 0; info && infos && shapes && i < o->n_models; i++) {
		struct shape s = o->models[i].g->nodes[0].shape;

		wire__model_info__init(&info[i]);
		wire__shape__init(&shapes[i]);
		shapes[i].c = s.c;
		shapes[i].h = s.h;
		shapes[i].w = s.w;
		info[i].name = o->models[i].g->name;
		info[i].input = &shapes[i];
		info[i].personalities = personalities;
		info[i].n_personalities = 1;
		infos[i] = &info[i];
		list.n_models = i + 1;
	}
	list.models = infos;
	channel_send_message(conn_channel(c), FRAME_MODEL_LIST, 0, 0, &list);
	conn_channel(c)->ops->flush(conn_channel(c));
	free(info);
	free(infos);
	free(shapes);
}

/* A frame of an open session. One that has just ended may still have frames under way: they are dropped. */
static void on_session_frame(struct model_owner *o, struct conn *c, const struct frame *f)
{
	struct session *s = find_session(o, c, f->session);
	struct err why = {0};

	if (!s || !modeller_frame(s->m, conn_channel(c), f, &why))
		return;
	if (why.code)
		log_err(LOG_WARNING, "a session failed", &why);
	end_session(o, s);
}

static void tick(struct model_owner *o);

/* ---- data owners' connections ---- */

static void owner_up(void *ctx, struct conn *c)
{
	log_line(LOG_INFO, "%s: connected", conn_channel(c)->name);
}

static int owner_on_frame(void *ctx, struct conn *c, const struct frame *f, struct err *e)
{
	struct model_owner *o = ctx;

	if (f->type == FRAME_OPEN)
		return on_open(o, c, f, e);
	if (f->type == FRAME_MODELS)
		send_models(o, c);
	else
		on_session_frame(o, c, f);
	return 0;
}

static void drop_openings(struct model_owner *o, struct conn *c)
{
	for (struct opening **at = &o->openings; *at;) {
		struct opening *w = *at;

		if (w->owner != c) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		free(w);
	}
}

static void end_all(struct model_owner *o, struct conn *c, const struct err *why)
{
	struct session *next;

	for (struct session *s = o->sessions; s; s = next) {
		next = s->next;
		if (s->owner != c && s->provider != c)
			continue;
		modeller_lost(s->m, conn_channel(c), why->text);
		end_session(o, s);
	}
}

static void owner_down(void *ctx, struct conn *c, const struct err *why)
{
	log_err(LOG_INFO, "disconnected", why);
	drop_openings(ctx, c);
	end_all(ctx, c, why);
}

static void drained(void *ctx, struct conn *c)
{
	tick(ctx);
}

/* ---- the provider's connection ---- */

static void provider_up(void *ctx, struct conn *c)
{
	struct model_owner *o = ctx;

	log_line(LOG_INFO, "%s: connected", conn_channel(c)->name);
	o->provider = c;
	o->provider_why = (struct err){0};
	while (o->openings) {
		struct opening *w = o->openings;

		o->openings = w->next;
		start_session(o, w->owner, w->id, w->served);
		free(w);
	}
}

static int provider_on_frame(void *ctx, struct conn *c, const struct frame *f, struct err *e)
{
	on_session_frame(ctx, c, f);
	return 0;
}

static void provider_down(void *ctx, struct conn *c, const struct err *why)
{
	struct model_owner *o = ctx;

	if (!o->provider_why.code || c == o->provider)
		log_err(LOG_WARNING, "no provider", why);
	o->provider_why = *why;
	if (c && c == o->provider) {
		o->provider = NULL;
		end_all(o, c, why);
	}
}

/* ---- the clock ---- */

static void expire_openings(struct model_owner *o)
{
	uint64_t now = net_host(o->net)->now_us(net_host(o->net)->ctx);

	for (struct opening **at = &o->openings; *at;) {
		struct opening *w = *at;
		struct err e = {0};

		if (now < w->since_us + o->config->connect_ms * 1000) {
			at = &w->next;
			continue;
		}
		err_set(&e, ERR_REACH, "the model owner has no connection to its provider: %s: %s", o->provider_why.peer, o->provider_why.text);
		refuse(w->owner, w->id, &e, "open");
		*at = w->next;
		free(w);
	}
}

static void tick(struct model_owner *o)
{
	struct session *next;

	for (struct session *s = o->sessions; s; s = next) {
		struct err why = {0};

		next = s->next;
		if (modeller_tick(s->m, &why)) {
			log_err(LOG_WARNING, "a session failed", &why);
			end_session(o, s);
		}
	}
	expire_openings(o);
}

static void on_tick(evutil_socket_t fd, short what, void *ctx)
{
	tick(ctx);
}

static void free_all(struct model_owner *o)
{
	while (o->sessions)
		end_session(o, o->sessions);
	while (o->openings) {
		struct opening *w = o->openings;

		o->openings = w->next;
		free(w);
	}
	net_free(o->net);
	for (size_t i = 0; i < o->n_models; i++) {
		for (int k = 0; k < 4; k++)
			served_free(o->models[i].served[k / 2][k % 2]);
		graph_free(o->models[i].g);
	}
	free(o->models);
}

int model_owner_main(const struct config *config)
{
	static const struct net_handler owners = {owner_up, owner_on_frame, drained, owner_down};
	static const struct net_handler provider = {provider_up, provider_on_frame, drained, provider_down};
	struct timeval every = {.tv_usec = TICK_US};
	struct model_owner o = {.config = config};
	struct event *timer;
	struct err e = {0};
	int failed = net_new(&o.net, config, ROLE_M, &e) || load_models(&o, &e) ||
		     net_connect(o.net, config->provider, ROLE_C, 1, &provider, &o, &e) ||
		     net_listen(o.net, config->listen, ROLE_D, &owners, &o, &e);

	if (!failed) {
		timer = event_new(net_base(o.net), -1, EV_PERSIST, on_tick, &o);
		event_add(timer, &every);
		log_line(LOG_INFO, "ready");
		failed = net_run(o.net, &e);
		event_free(timer);
	}
	if (failed)
		log_err(LOG_ERR, "model-owner", &e);
	net_drain(o.net);
	free_all(&o);
	return failed ? (int)e.code : 0;
}
