/* SPDX-License-Identifier: Apache-2.0 */
/* The data owner's end of a session of two parties. */
#include "protocol/duo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

const char *const duo_owner_states[OWNER_STATES] = {
    [OWNER_OPENING] = "the session is being opened",
    [OWNER_WEIGHTS] = "keys are exchanged",
    [OWNER_READY] = "the session is ready",
    [OWNER_FAILED] = "the session has failed",
};

uint64_t duo_owner_now(const struct duo_owner *o)
{
	return o->host->now_us(o->host->ctx);
}

/* ---- life ---- */

int duo_owner_new(struct duo_owner **owner, const struct duo_owner_kind *kind, const struct host *host,
		  const struct owner_options *options, struct channel *model_owner, uint16_t session,
		  struct err *e)
{
	struct duo_owner *o = options->max_batch ? calloc(1, kind->bytes) : NULL;

	*owner = o;
	if (!o)
		return err_set(e, ERR_ENV, "out of memory for a session, or max_batch is 0");
	o->kind = kind;
	o->host = host;
	o->options = *options;
	snprintf(o->model, sizeof(o->model), "%s", options->model);
	o->options.model = o->model;
	o->model_owner = model_owner;
	o->session = session;
	o->since_us = duo_owner_now(o);
	open_send(model_owner, session, &o->options);
	return 0;
}

static void tell(struct duo_owner *o, const struct err *why)
{
	inference_tell(inference_pop(&o->head, &o->tail), why);
}

static void end(struct duo_owner *o, const struct err *why)
{
	o->err = *why;
	o->state = OWNER_FAILED;
	o->part = 0;
	o->waiting = 0;
}

static void tell_all(struct duo_owner *o)
{
	while (o->head)
		tell(o, &o->err);
}

int duo_owner_fail(struct duo_owner *o, const struct err *why, const struct channel *told, struct err *e)
{
	if (o->state != OWNER_FAILED) {
		const char *state = duo_owner_states[o->state];

		end(o, why);
		if (!o->err.code)
			err_set(&o->err, ERR_PEER, "the session failed");
		host_log(o->host, LOG_WARNING, "session %u, model %s (%s): %s -> failed: %s", o->session,
			 o->model, personality_name(o->options.personality), state, o->err.text);
		if (o->model_owner && o->model_owner != told)
			channel_send_error(o->model_owner, o->session, &o->err, "");
		tell_all(o);
	}
	if (e)
		*e = o->err;
	return -1;
}

void duo_owner_free(struct duo_owner *o)
{
	struct err gone = {0};

	if (o->model_owner && o->state != OWNER_FAILED)
		close_send(o->model_owner, o->session, 0);
	err_set(&gone, ERR_PEER, "the session was closed");
	end(o, &gone);
	tell_all(o);
	o->kind->free(o);
	free(o);
}

/* ---- inferences ---- */

void duo_owner_infer(struct duo_owner *o, struct inference *i)
{
	i->waiting_us = duo_owner_now(o);
	inference_push(&o->head, &o->tail, i);
	if (o->state == OWNER_FAILED)
		tell_all(o);
	else
		o->kind->work(o);
}

int duo_owner_results(struct duo_owner *o)
{
	struct inference *i = o->head;
	size_t n = i->batch * plan_words(o->plan) * sizeof(*i->result);
	struct err e = {0};

	if (!i->result)
		i->result = i->memory ? i->memory(i, n) : calloc(1, n);
	if (i->result)
		return 0;
	err_set(&e, ERR_ENV, "out of memory for %zu results", i->batch);
	tell(o, &e);
	return -1;
}

const uint8_t *duo_owner_part(struct duo_owner *o, size_t images)
{
	struct inference *i = o->head;
	const uint8_t *pixels = i->pixels + i->begun * shape_size(o->plan->input);

	o->part = images;
	i->begun += images;
	i->begun_us = duo_owner_now(o); /* of this part */
	return pixels;
}

void duo_owner_begin(struct duo_owner *o)
{
	uint8_t body[BEGIN_BYTES];
	struct frame f = {.type = FRAME_BEGIN,
			  .session = o->session,
			  .lane = o->lane,
			  .length = sizeof(body),
			  .body = body};

	begin_write(body, o->epoch, o->part);
	o->model_owner->ops->send(o->model_owner, &f);
}

void duo_owner_wait(struct duo_owner *o, unsigned trip, size_t sent, uint8_t *answer, size_t bytes)
{
	o->head->online.sent += sent;
	o->trip = trip;
	o->answer = answer;
	o->answer_bytes = bytes;
	o->got = 0;
	o->waiting = 1;
	o->since_us = duo_owner_now(o);
}

void duo_owner_done(struct duo_owner *o)
{
	struct inference *i = o->head;
	struct err fine = {0};

	i->finished += o->part;
	i->seconds_online += (double)(duo_owner_now(o) - i->begun_us) / 1e6;
	o->part = 0;
	o->kind->over(o);
	if (i->finished < i->batch)
		return;
	/* the queue, and tickets */
	i->seconds_offline = (double)(duo_owner_now(o) - i->waiting_us) / 1e6 - i->seconds_online;
	tell(o, &fine);
}

/* ---- events ---- */

int duo_owner_step(void *owner, const struct frame *f, struct err *e)
{
	struct duo_owner *o = owner;
	struct inference *i = o->head;
	int whole;

	if (!o->waiting || f->lane != o->lane || f->sequence != 2 * o->trip + 1)
		return error_of(e, o->model_owner, "sent answer %u of inference %u, which was not asked for",
				f->sequence, f->lane);
	whole = piece_take(o->answer, &o->got, o->answer_bytes, f);
	if (whole < 0)
		return error_of(e, o->model_owner, "sent an answer of another size than %zu bytes",
				o->answer_bytes);
	o->since_us = duo_owner_now(o);
	if (!whole)
		return 0;
	o->waiting = 0;
	i->online.received += o->answer_bytes;
	if (i->round_trips <= o->trip) /* of parts, the most of any */
		i->round_trips = o->trip + 1;
	o->kind->answered(o);
	return 0;
}

int duo_owner_abort(void *owner, const struct frame *f, struct err *e)
{
	struct duo_owner *o = owner;
	struct err why = {0};

	if (!o->waiting || f->lane != o->lane)
		return error_of(e, o->model_owner, "aborted inference %u, which does not run", f->lane);
	error_read(&why, o->model_owner, f);
	o->part = 0;
	o->waiting = 0;
	o->kind->over(o);
	tell(o, &why);
	return 0;
}

int duo_owner_frame(struct duo_owner *o, struct channel *from, const struct frame *f, struct err *e)
{
	const struct channel *told = NULL;
	struct err why = {0};

	if (o->state == OWNER_FAILED)
		return duo_owner_fail(o, &o->err, NULL, e);
	if (from != o->model_owner)
		error_of(&why, from, "sent %s into a session that it has no part in", frame_name(f->type));
	else if (!frame_handle(o, &o->kind->legals, o->state, from, f, &o->leaving, &told, &why)) {
		if (o->state == OWNER_READY)
			o->kind->work(o);
		return o->state == OWNER_FAILED ? duo_owner_fail(o, &o->err, NULL, e) : 0;
	}
	return duo_owner_fail(o, &why, told, e);
}

int duo_owner_tick(struct duo_owner *o, struct err *e)
{
	uint32_t ms = o->state == OWNER_READY ? o->options.step_ms : o->options.connect_ms;
	uint64_t limit_us = (uint64_t)ms * 1000;
	struct err why = {0};

	if (o->state == OWNER_FAILED)
		return duo_owner_fail(o, &o->err, NULL, e);
	if (o->state == OWNER_READY && o->kind->late && o->kind->late(o, limit_us, &why))
		return duo_owner_fail(o, &why, NULL, e);
	if ((o->state == OWNER_READY && !o->waiting) || duo_owner_now(o) - o->since_us < limit_us)
		return 0;
	if (o->state == OWNER_READY)
		error_of(&why, o->model_owner, "did not answer round trip %u of %u within %u ms", o->trip + 1,
			 o->predicted.round_trips, ms);
	else
		error_of(&why, o->model_owner, "did not go on within %u ms while %s", ms,
			 duo_owner_states[o->state]);
	return duo_owner_fail(o, &why, NULL, e);
}

int duo_owner_rests(const struct duo_owner *o)
{
	return o->state == OWNER_READY && !o->waiting && !(o->kind->awaits && o->kind->awaits(o));
}

void duo_owner_lost(struct duo_owner *o, struct channel *c, const char *why)
{
	struct err e = {0};

	if (c != o->model_owner)
		return;
	error_of(&e, c, "went away while %s%s%s",
		 o->waiting ? "an answer was waited for" : duo_owner_states[o->state],
		 why && why[0] ? ": " : "", why ? why : "");
	o->model_owner = NULL;
	duo_owner_fail(o, &e, NULL, NULL);
}

void duo_owner_pool(const struct duo_owner *o, struct pool_status *s)
{
	*s = (struct pool_status){0};
	if (o->kind->pool)
		o->kind->pool(o, s);
}
