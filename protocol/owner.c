/* SPDX-License-Identifier: Apache-2.0 */
/* The data owner's end of a session: its states, its end. What happens in them: owner_open.c, owner_pool.c,
 * owner_infer.c. */
#include "protocol/duo.h"
#include "protocol/owner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#define INLINE_WORK 4000000u

static const char *const state_names[OWNER_STATES] = {
    [OWNER_OPENING] = "the session is being opened",	[OWNER_WEIGHTS] = "masked weights are received",
    [OWNER_PAIRING] = "the provider pairs the parties", [OWNER_READY] = "the session is ready",
    [OWNER_FAILED] = "the session has failed",
};

/* Legal moves: from the row's state to the states of its bits. */
static const uint32_t moves[OWNER_STATES] = {
    [OWNER_OPENING] = 1u << OWNER_WEIGHTS | 1u << OWNER_FAILED,
    [OWNER_WEIGHTS] = 1u << OWNER_PAIRING | 1u << OWNER_READY | 1u << OWNER_FAILED,
    [OWNER_PAIRING] = 1u << OWNER_READY | 1u << OWNER_FAILED,
    [OWNER_READY] = 1u << OWNER_FAILED,
    [OWNER_FAILED] = 0,
};

#define IN(state) (1u << OWNER_##state)
static const struct legal legal[] = {
    {FRAME_OPENED, ROLE_M, IN(OPENING), owner_opened},
    {FRAME_WEIGHTS, ROLE_M, IN(WEIGHTS), owner_weights},
    {FRAME_PAIRED, ROLE_C, IN(WEIGHTS) | IN(PAIRING), owner_paired},
    {FRAME_TAGS, ROLE_C, IN(READY), pool_tags},
    {FRAME_HELD, ROLE_C, IN(READY), pool_held},
    {FRAME_READY, ROLE_M, IN(READY), pool_ready},
    {FRAME_STEP, ROLE_M, IN(READY), infer_step},
    {FRAME_ABORT, ROLE_M, IN(READY), infer_abort},
};
static const struct legals legals = {legal, sizeof(legal) / sizeof(legal[0]), state_names};

void owner_enter(struct owner *o, enum owner_state to)
{
	if (!(moves[o->state] & 1u << to)) {
		host_log(o->host, LOG_CRIT, "session %u, model %s: no move from \"%s\" to \"%s\"", o->session,
			 o->model, state_names[o->state], state_names[to]);
		abort(); /* a bug of ours: no peer can cause it */
	}
	host_log(o->host, to == OWNER_FAILED ? LOG_WARNING : LOG_DEBUG, "session %u, model %s: %s -> %s%s%s",
		 o->session, o->model, state_names[o->state], state_names[to], o->err.code ? ": " : "",
		 o->err.text);
	o->state = to;
	o->since_us = o->host->now_us(o->host->ctx);
}

int owner_fail(struct owner *o, const struct err *why, const struct channel *told, struct err *e)
{
	if (o->state != OWNER_FAILED) {
		char step[64] = "";

		infer_waiting(o, step, sizeof(step));
		o->err = *why;
		if (!o->err.code)
			err_set(&o->err, ERR_PEER, "the session failed");
		owner_enter(o, OWNER_FAILED);
		if (o->model_owner && o->model_owner != told)
			channel_send_error(o->model_owner, o->session, &o->err, step);
		if (o->provider && o->provider != told)
			channel_send_error(o->provider, o->session, &o->err, step);
		infer_fail_all(o, &o->err);
	}
	if (e)
		*e = o->err;
	return -1;
}

/* ---- life ---- */
static int owner_init(struct owner *o, struct err *e)
{
	if (different(o->model_owner, o->provider, e) < 0)
		return -1;
	if (!o->options.max_batch)
		return err_set(e, ERR_USAGE, "max_batch is 0: nothing could be classified");
	o->arena = secret_new(PRG_SEED_BYTES, NULL);
	o->seed = o->arena ? secret_take(o->arena, PRG_SEED_BYTES) : NULL;
	o->core = core_new(e);
	if (!o->seed || !o->core)
		return err_set(e, ERR_ENV, "out of memory for a session");
	o->mill = mill_new(o, e);
	if (!o->mill)
		return -1;
	open_send(o->model_owner, o->session, &o->options);
	return 0;
}

int owner_new(struct owner **owner, const struct host *host, const struct owner_options *options,
	      struct channel *model_owner, struct channel *provider, uint16_t session, struct err *e)
{
	const struct duo_owner_kind *kind = duo_owner_kind(options->personality);
	struct owner *o = calloc(1, sizeof(*o));

	*owner = NULL;
	if (!o)
		return err_set(e, ERR_ENV, "out of memory for a session");
	if (kind && duo_owner_new(&o->duo, kind, host, options, model_owner, session, e)) {
		free(o);
		return -1;
	}
	if (kind) {
		*owner = o;
		return 0;
	}
	o->host = host;
	o->options = *options;
	snprintf(o->model, sizeof(o->model), "%s", options->model);
	o->options.model = o->model;
	if (!o->options.inline_work)
		o->options.inline_work = INLINE_WORK;
	o->model_owner = model_owner;
	o->provider = provider;
	o->session = session;
	o->since_us = host->now_us(host->ctx);
	if (owner_init(o, e) < 0) {
		o->state = OWNER_FAILED; /* nobody has heard of it: no CLOSE */
		owner_free(o);
		return -1;
	}
	*owner = o;
	return 0;
}

static void close_channel(struct owner *o, struct channel *c)
{
	if (c && o->state != OWNER_FAILED)
		close_send(c, o->session, 0);
}

void owner_free(struct owner *o)
{
	struct err gone = {0};

	if (!o)
		return;
	if (o->duo) {
		duo_owner_free(o->duo);
		free(o);
		return;
	}
	close_channel(o, o->model_owner);
	close_channel(o, o->provider);
	o->state = OWNER_FAILED;
	err_set(&gone, ERR_PEER, "the session was closed");
	o->err = gone;
	infer_fail_all(o, &gone);
	for (size_t i = 0; i < OWNER_LANES; i++)
		slot_drop(o->slots[i]);
	pool_free(o);
	prg_free(o->prg);
	free(o->begin);
	secret_free(o->arena);
	mill_drop(o->mill);
	core_unref(o->core);
	secret_wipe(o, sizeof(*o));
	free(o);
}

/* ---- events ---- */
int owner_work(struct owner *o, struct err *e)
{
	int status = 0;

	/* Jobs that a host runs at once, and results whose receiver asks again, come back here: one round at
	 * a time. */
	if (o->state != OWNER_READY)
		return 0;
	if (o->working) {
		o->working |= 2;
		return 0;
	}
	do {
		o->working = 1;
		status = infer_work(o, e);
		if (status == 0 && o->state == OWNER_READY)
			status = pool_work(o, e);
	} while (status == 0 && (o->working & 2) && o->state == OWNER_READY);
	o->working = 0;
	return status;
}

int owner_frame(struct owner *o, struct channel *from, const struct frame *f, struct err *e)
{
	const struct channel *told = NULL;
	struct err why = {0};

	if (o->duo)
		return duo_owner_frame(o->duo, from, f, e);
	if (o->state == OWNER_FAILED)
		return owner_fail(o, &o->err, NULL, e);
	if (from != o->model_owner && from != o->provider)
		error_of(&why, from, "sent %s into a session that it has no part in", frame_name(f->type));
	else if (!frame_handle(o, &legals, o->state, from, f, &o->leaving, &told, &why) &&
		 (owner_work(o, &why) >= 0 || error_blame(&why, from) >= 0))
		return o->state == OWNER_FAILED ? owner_fail(o, &o->err, NULL, e) : 0;
	return owner_fail(o, &why, told, e);
}

static int opening_deadline(struct owner *o, struct err *e)
{
	uint64_t waited = o->host->now_us(o->host->ctx) - o->since_us;
	uint32_t ms = o->options.connect_ms;

	if (waited < (uint64_t)ms * 1000 || o->mill->busy)
		return 0;
	if (o->state == OWNER_OPENING)
		return error_of(e, o->model_owner, "did not open the session within %u ms", ms);
	if (o->state == OWNER_WEIGHTS)
		return error_of(e, o->model_owner,
				"sent no more masked weights within %u ms (%llu of %llu bytes)", ms,
				(unsigned long long)o->weights_got, (unsigned long long)o->weights_bytes);
	return error_of(e, o->provider, "did not pair us with %s within %u ms", o->model_owner->name, ms);
}

int owner_tick(struct owner *o, struct err *e)
{
	struct err why = {0};
	int status;

	if (o->duo)
		return duo_owner_tick(o->duo, e);
	if (o->state == OWNER_FAILED)
		return owner_fail(o, &o->err, NULL, e);
	if (o->state == OWNER_READY)
		status = infer_deadlines(o, &why) < 0 ? -1 : owner_work(o, &why);
	else
		status = opening_deadline(o, &why);
	if (status < 0)
		return owner_fail(o, &why, NULL, e);
	return o->state == OWNER_FAILED ? owner_fail(o, &o->err, NULL, e) : 0;
}

int owner_rests(const struct owner *o)
{
	if (o->duo)
		return duo_owner_rests(o->duo);
	/* δ that is not being made waits for what is queued to leave */
	return o->state == OWNER_READY && !o->head && !infer_active(o) &&
	       (o->made == o->delta || o->mill->busy);
}

void owner_lost(struct owner *o, struct channel *c, const char *why)
{
	char step[64] = "";
	struct err e = {0};

	if (o->duo)
		duo_owner_lost(o->duo, c, why);
	if (o->duo || (c != o->model_owner && c != o->provider))
		return;
	infer_waiting(o, step, sizeof(step));
	if (!step[0])
		snprintf(step, sizeof(step), "while %s", state_names[o->state]);
	error_of(&e, c, "went away %s%s%s", step, why && why[0] ? ": " : "", why ? why : "");
	if (c == o->model_owner)
		o->model_owner = NULL;
	else
		o->provider = NULL;
	owner_fail(o, &e, NULL, NULL);
}

enum owner_state owner_state(const struct owner *o)
{
	return o->duo ? o->duo->state : o->state;
}

int owner_leaving(const struct owner *o)
{
	return o->duo ? o->duo->leaving : o->leaving;
}

const struct plan *owner_plan(const struct owner *o)
{
	if (o->duo)
		return o->duo->plan;
	return o->core ? o->core->plan : NULL;
}

const struct program *owner_program(const struct owner *o)
{
	if (o->duo)
		return o->duo->plan ? &o->duo->predicted : NULL;
	return o->core ? o->core->program : NULL;
}
