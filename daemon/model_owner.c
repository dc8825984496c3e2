/* SPDX-License-Identifier: Apache-2.0 */
/* The model owner's role: the sessions of many data owners on several models, and one connection to the
 * provider. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/enclave_front.h"
#include "daemon/data_owner.h"
#include "daemon/log.h"
#include "daemon/metrics.h"
#include "daemon/model_owner.h"
#include "daemon/serve.h"

#define QUIET_US 100000 /* no message of an inference for so long: none is under way */

uint64_t model_owner_now(const struct model_owner *o)
{
	const struct host *host = net_host(o->net);

	return host->now_us(host->ctx);
}

void model_owner_refuse(struct conn *c, uint16_t session, const struct err *e, const char *step)
{
	log_peer(LOG_WARNING, conn_channel(c)->name, "refused: %s", e->text);
	channel_send_error(conn_channel(c), session, e, step);
}

/* ---- sessions ---- */

struct session *session_find(const struct model_owner *o, const struct conn *c, uint16_t id)
{
	for (struct session *s = o->sessions; s; s = s->next)
		if ((s->owner == c && s->id == id) || (s->provider == c && s->provider_id == id))
			return s;
	return NULL;
}

static void end_session(struct model_owner *o, struct session *s)
{
	struct session **at = &o->sessions;

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	o->n_sessions--;
	session_count(s);
	modeller_free(s->m);
	model_release(s->model);
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

int session_start(struct model_owner *o, struct conn *c, uint16_t id, struct model *model,
		  const struct served *served, int he_offline, struct err *e)
{
	struct modeller_options options = {.pool_bytes = o->config->pool_memory << 20,
					   .step_ms = (uint32_t)o->config->step_ms,
					   .connect_ms = (uint32_t)o->config->connect_ms,
					   .max_batch = (uint32_t)o->config->max_batch,
					   .lanes = (uint32_t)o->config->lanes,
					   .he_offline = he_offline,
					   .rules = access_rules(o->access)};
	struct session *s = calloc(1, sizeof(*s));

	if (!s)
		return err_set(e, ERR_ENV, "out of memory");
	*s = (struct session){.model = model, .owner = c, .id = id, .provider_id = free_id(o)};
	if (personality_provider(served->personality))
		s->provider = o->provider;
	if (modeller_new(&s->m, net_host(o->net), &options, served, conn_channel(c), id,
			 s->provider ? conn_channel(s->provider) : NULL, s->provider_id, e)) {
		free(s);
		return -1;
	}
	s->next = o->sessions;
	o->sessions = s;
	log_peer(LOG_INFO, conn_channel(c)->name, "session %u on %s", id, served->name);
	return 0;
}

/* A frame of an open session. One that has just ended may still have frames under way: they are dropped. */
static void on_session_frame(struct model_owner *o, struct conn *c, const struct frame *f)
{
	struct session *s = session_find(o, c, f->session);
	struct err why = {0};

	if (f->type == FRAME_BEGIN || f->type == FRAME_STEP)
		o->online_us = model_owner_now(o);
	if (f->type == FRAME_BEGIN)
		metrics_add(METRIC_inferences_total, 1, METRIC_NO_LABELS);
	if (!s || !modeller_frame(s->m, conn_channel(c), f, &why))
		return;
	if (why.code)
		log_err(LOG_WARNING, "a session failed", &why);
	end_session(o, s);
}

/* Asks for the end of those on models that are no longer served, or (all) of each. */
static void leave_sessions(struct model_owner *o, int all)
{
	for (struct session *s = o->sessions; s; s = s->next)
		if (!s->leave_us && (all || model_retired(s->model))) {
			s->leave_us = model_owner_now(o);
			modeller_leave(s->m);
		}
}

static int overdue(const struct model_owner *o, uint64_t since_us)
{
	return since_us && model_owner_now(o) > since_us + o->config->drain_ms * 1000;
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

/* ---- data owners' connections ---- */

static void owner_up(void *ctx, struct conn *c)
{
	log_peer(LOG_INFO, conn_channel(c)->name, "connected");
}

static int send_models(struct model_owner *o, struct conn *c, struct err *e)
{
	Wire__ModelList *list = models_list(o->models, o->access, o->config, conn_names(c));

	if (!list)
		return err_set(e, ERR_ENV, "the model owner is out of memory");
	channel_send_message(conn_channel(c), FRAME_MODEL_LIST, 0, 0, list);
	models_list_free(list);
	return 0;
}

static int owner_frame_in(void *ctx, struct conn *c, const struct frame *f, struct err *e)
{
	struct model_owner *o = ctx;

	if (f->type == FRAME_OPEN)
		return openings_frame(o, c, f, e);
	if (f->type == FRAME_MODELS)
		return send_models(o, c, e);
	if (f->type == FRAME_CLOSE || f->type == FRAME_ERROR)
		openings_drop(o, c, f->session);
	on_session_frame(o, c, f);
	return 0;
}

static void owner_down(void *ctx, struct conn *c, const struct err *why)
{
	log_err(LOG_INFO, "disconnected", why);
	openings_drop(ctx, c, 0);
	end_all(ctx, c, why);
}

/* ---- the provider's connection ---- */

static void provider_up(void *ctx, struct conn *c)
{
	struct model_owner *o = ctx;

	log_peer(LOG_INFO, conn_channel(c)->name, "connected");
	o->provider = c;
	o->provider_why = (struct err){0};
	openings_try(o);
}

/* Sessions are of two connections, and the provider knows us by the certificate of this one: it is made anew
 * when no session uses it. */
static void renew_provider(struct model_owner *o)
{
	if (!o->provider || o->renew_us)
		return;
	o->renew_us = model_owner_now(o);
	leave_sessions(o, 1);
}

static int provider_frame_in(void *ctx, struct conn *c, const struct frame *f, struct err *e)
{
	if (f->type == FRAME_CLOSE && !f->session) {
		log_peer(LOG_INFO, conn_channel(c)->name, "asks for a new connection");
		renew_provider(ctx);
		return 0;
	}
	on_session_frame(ctx, c, f);
	return 0;
}

static void provider_down(void *ctx, struct conn *c, const struct err *why)
{
	struct model_owner *o = ctx;
	int was = c && c == o->provider;

	if (was || strcmp(o->provider_why.text, why->text))
		log_err(why->code ? LOG_WARNING : LOG_INFO, was ? "connection lost" : "no connection", why);
	o->provider_why = *why;
	if (!was)
		return;
	o->provider = NULL;
	o->renew_us = 0;
	end_all(o, c, why);
}

/* ---- the clock, and the end ---- */

static uint64_t due(void *ctx)
{
	const struct model_owner *o = ctx;

	if (o->openings || models_retiring(o->models) || (o->renew_us && o->provider))
		return 0;
	for (const struct session *s = o->sessions; s; s = s->next)
		if (s->leave_us || !modeller_rests(s->m))
			return 0;
	return UINT64_MAX;
}

static void on_tick(void *ctx)
{
	struct model_owner *o = ctx;
	struct session *next;

	for (struct session *s = o->sessions; s; s = next) {
		struct err why = {0};

		next = s->next;
		if (modeller_tick(s->m, &why) || overdue(o, s->leave_us)) {
			if (why.code)
				log_err(LOG_WARNING, "a session failed", &why);
			end_session(o, s);
		}
	}
	if (o->renew_us && o->provider && (!o->sessions || overdue(o, o->renew_us)))
		conn_close(o->provider);
	if (!net_jobs(o->net))
		models_sweep(o->models);
	if (o->openings && !o->provider)
		net_hurry(o->net);
	openings_expire(o);
}

static void on_drained(void *ctx, struct conn *c)
{
	on_tick(ctx);
}

static int is_busy(void *ctx)
{
	const struct model_owner *o = ctx;

	return net_jobs(o->net) || model_owner_now(o) < o->online_us + QUIET_US;
}

/* ---- a new configuration ---- */

struct loaded {
	struct models *models;
	struct access_next *access;
};

static void drop_loaded(void *loaded)
{
	struct loaded *l = loaded;

	models_free(l->models);
	access_drop(l->access);
	free(l);
}

static void *load_next(void *ctx, const struct config *next, struct err *e)
{
	struct model_owner *o = ctx;
	struct loaded *l = calloc(1, sizeof(*l));

	if (!l)
		err_set(e, ERR_ENV, "out of memory");
	if (!l || access_read(&l->access, next, ROLE_M, e) || models_next(&l->models, o->models, next, e)) {
		if (l)
			drop_loaded(l);
		return NULL;
	}
	return l;
}

static void tell_models(void *ctx, struct conn *c)
{
	struct err e = {0};

	if (send_models(ctx, c, &e))
		conn_end(c, &e);
}

static void take_reload(void *ctx, void *loaded, int identity)
{
	struct model_owner *o = ctx;
	struct loaded *l = loaded;
	struct err e = {0};

	if (enclave_front_rules(o->front, o->config, &e))
		log_err(LOG_ERR, "reload", &e);
	models_replace(o->models, l->models);
	access_take(o->access, l->access);
	enclave_front_reload(o->front, o->config);
	free(l);
	leave_sessions(o, 0);
	if (identity)
		renew_provider(o);
	net_each(o->net, ROLE_D, tell_models, o);
	openings_try(o);
}

static void on_status(void *ctx, char *line, size_t bytes)
{
	const struct model_owner *o = ctx;

	snprintf(line, bytes, "provider %s; %u sessions", o->provider ? "connected" : "not connected",
		 o->n_sessions);
}

static int run(struct model_owner *o, struct err *e)
{
	static const struct serve how = {
	    {load_next, take_reload, drop_loaded}, on_status, {model_owner_ready, model_owner_collect}};
	static const struct net_clock clock = {due, on_tick};
	char ready[128];

	net_set_clock(o->net, &clock, o);
	net_on_stop(o->net, is_busy, o);
	snprintf(ready, sizeof(ready), "ready; provider %.80s", o->config->provider);
	return serve(o->net, &how, o, ready, e);
}

int model_owner_main(const struct config *config)
{
	static const struct net_handler owners = {owner_up, owner_frame_in, on_drained, owner_down};
	static const struct net_handler provider = {provider_up, provider_frame_in, on_drained,
						    provider_down};
	struct model_owner o = {.config = config};
	struct err e = {0};
	int failed = net_new(&o.net, config, ROLE_M, &e) || access_new(&o.access, config, ROLE_M, &e) ||
		     models_load(&o.models, config, &e) ||
		     net_connect(o.net, config->provider, ROLE_C, 1, &provider, &o, &e) ||
		     net_listen(o.net, config->listen, ROLE_D, &owners, &o, &e) ||
		     enclave_front_new(&o.front, o.net, config, &e) || run(&o, &e);

	if (failed)
		log_err(LOG_ERR, "cannot run", &e);
	while (o.sessions)
		end_session(&o, o.sessions);
	while (o.openings)
		openings_drop(&o, o.openings->owner, o.openings->id);
	enclave_front_free(o.front);
	net_drain(o.net);
	net_free(o.net);
	models_free(o.models);
	access_free(o.access);
	return failed ? (int)e.code : 0;
}
