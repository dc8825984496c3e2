/* SPDX-License-Identifier: Apache-2.0 */
/* OPEN: who may have a session on what; those that wait for the provider or for their model. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/model_owner.h"

#define OF_ONE_LEAST 8	 /* sessions that any single data owner may have; more where max_sessions is large */
#define PATIENCE_MS 1500 /* how long an OPEN waits for the provider or for its model, at most */

static void on_made(void *ctx);

/* 1: it is a session, or refused; 0: it waits. */
static int try_open(struct model_owner *o, const struct opening *w)
{
	const struct served *served;
	struct model *model;
	struct err e = {0};

	if (!models_serve(o->models, w->model, w->optimise, w->reveal, net_host(o->net), on_made, o, &model,
			  &served, &e)) {
		if (!served)
			return 0;
		if ((!personality_provider(served->personality) || (o->provider && !o->renew_us)) &&
		    !session_start(o, w->owner, w->id, model, served, w->he_offline, &e))
			return 1;
		model_release(model);
		if (!e.code)
			return 0;
	}
	o->n_sessions--;
	model_owner_refuse(w->owner, w->id, &e, "open");
	return 1;
}

void openings_try(struct model_owner *o)
{
	for (struct opening **at = &o->openings; *at;) {
		struct opening *w = *at;

		if (!try_open(o, w)) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		free(w);
	}
}

static void on_made(void *ctx)
{
	openings_try(ctx);
}

void openings_drop(struct model_owner *o, const struct conn *c, uint16_t id)
{
	for (struct opening **at = &o->openings; *at;) {
		struct opening *w = *at;

		if (w->owner != c || (id && w->id != id)) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		o->n_sessions--;
		free(w);
	}
}

void openings_expire(struct model_owner *o)
{
	uint64_t now = model_owner_now(o),
		 limit = o->config->connect_ms / 2 < PATIENCE_MS ? o->config->connect_ms / 2 : PATIENCE_MS;

	for (struct opening **at = &o->openings; *at;) {
		struct opening *w = *at;
		struct err e = {0};

		if (now < w->since_us + limit * 1000 ||
		    /* a variant that is being made may take its time */
		    o->provider || w->optimise >= MODELS_HE) {
			at = &w->next;
			continue;
		}
		err_set(&e, ERR_REACH, "the model owner has no connection to its provider: %s%s%s",
			o->provider_why.peer, o->provider_why.peer[0] ? ": " : "", o->provider_why.text);
		model_owner_refuse(w->owner, w->id, &e, "open");
		*at = w->next;
		o->n_sessions--;
		free(w);
	}
}

static int is_opening(const struct model_owner *o, const struct conn *c, uint16_t id)
{
	for (const struct opening *w = o->openings; w; w = w->next)
		if (w->owner == c && w->id == id)
			return 1;
	return 0;
}

static int offers(const struct model_owner *o, const char *personality)
{
	for (size_t i = 0; i < o->config->personalities.n; i++)
		if (!strcmp(o->config->personalities.items[i], personality))
			return personality_named(personality) < PERSONALITY_ENCLAVE;
	return 0;
}

/* The first of those that the data owner accepts which is offered, or NULL. */
static const char *chosen(const struct model_owner *o, const Wire__Open *open)
{
	if (!open->n_personalities)
		return offers(o, "smpc") ? "smpc" : NULL;
	for (size_t i = 0; i < open->n_personalities; i++)
		if (offers(o, open->personalities[i]))
			return open->personalities[i];
	return NULL;
}

static int may_open(const struct model_owner *o, struct conn *c, const Wire__Open *open, struct err *e)
{
	const struct channel *channel = conn_channel(c);
	struct access_ask ask = {.who = {conn_names(c), channel->name, channel->fingerprint},
				 .model = models_name(o->models, open->model),
				 .reveal = open->reveal};
	struct access_clock clock = {model_owner_now(o), time(NULL)};

	return access_open(o->access, &ask, &clock, e);
}

static int is_of(const struct conn *a, const struct conn *b)
{
	return !memcmp(conn_channel((struct conn *)(uintptr_t)a)->key,
		       conn_channel((struct conn *)(uintptr_t)b)->key, 32);
}

/* No data owner takes all places, over however many connections. */
static int check_share(const struct model_owner *o, const struct conn *c, struct err *e)
{
	uint64_t most =
	    o->config->max_sessions / 8 > OF_ONE_LEAST ? o->config->max_sessions / 8 : OF_ONE_LEAST;
	uint64_t n = 0;

	for (const struct session *s = o->sessions; s; s = s->next)
		n += is_of(s->owner, c);
	for (const struct opening *w = o->openings; w; w = w->next)
		n += is_of(w->owner, c);
	if (n < most)
		return 0;
	return err_set(
	    e, ERR_PEER,
	    "you have %llu sessions here, no more are allowed to one data owner (an eighth of max_sessions)",
	    (unsigned long long)n);
}

static int not_offered(const struct model_owner *o, struct err *e)
{
	char names[64] = "";

	for (enum personality p = 0; p < PERSONALITY_ENCLAVE; p++)
		if (offers(o, personality_name(p)))
			snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s",
				 names[0] ? " and " : "", personality_name(p));
	return err_set(e, ERR_PEER, "none of the personalities that you accept is offered here; there is %s",
		       names[0] ? names : "none");
}

static int check_open(const struct model_owner *o, struct conn *c, const Wire__Open *open, struct err *e)
{
	const char *personality = chosen(o, open);

	if (!personality)
		return not_offered(o, e);
	if (open->optimise > PLAN_BANDWIDTH)
		return err_set(e, ERR_PEER, "an unknown way to optimise");
	if (o->n_sessions >= o->config->max_sessions)
		return err_set(e, ERR_PEER, "%u sessions are open, which is the limit (max_sessions)",
			       o->n_sessions);
	return check_share(o, c, e) ? -1 : may_open(o, c, open, e);
}

static void open_or_wait(struct model_owner *o, struct conn *c, uint16_t id, const Wire__Open *open)
{
	struct opening *w = calloc(1, sizeof(*w));
	struct err e = {0};

	if (!w)
		err_set(&e, ERR_ENV, "out of memory");
	if (!w || check_open(o, c, open, &e)) {
		model_owner_refuse(c, id, &e, "open");
		free(w);
		return;
	}
	*w = (struct opening){.owner = c,
			      .id = id,
			      .since_us = model_owner_now(o),
			      .optimise = open->optimise,
			      .reveal = open->reveal};
	snprintf(w->model, sizeof(w->model), "%s", open->model);
	if (!strcmp(chosen(o, open), "he"))
		w->optimise = MODELS_HE;
	else if (!strcmp(chosen(o, open), "clear"))
		w->optimise = MODELS_CLEAR;
	w->he_offline = open->he_offline;
	o->n_sessions++;
	if (try_open(o, w)) {
		free(w);
		return;
	}
	w->next = o->openings;
	o->openings = w;
	net_hurry(o->net);
}

int openings_frame(struct model_owner *o, struct conn *c, const struct frame *f, struct err *e)
{
	Wire__Open *open;

	if (!f->session || session_find(o, c, f->session) || is_opening(o, c, f->session))
		return err_set(e, ERR_PEER, "opened session %u twice", f->session);
	open = wire__open__unpack(NULL, f->length, f->body);
	if (!open)
		return err_set(e, ERR_PEER, "sent an OPEN that cannot be read");
	open_or_wait(o, c, f->session, open);
	wire__open__free_unpacked(open, NULL);
	return 0;
}
