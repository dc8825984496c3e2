/* SPDX-License-Identifier: Apache-2.0 */
/* The data owner's end of a session of the clear personality. */
#include "protocol/clear.h"
#include "protocol/ends.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include "crypto/ring.h"

struct clear_owner {
	const struct host *host;
	struct owner_options options;
	char model[128];
	struct channel *model_owner; /* borrows; NULL when lost */
	uint16_t session;
	enum owner_state state;
	int leaving;
	struct err err;
	uint64_t since_us;
	uint8_t epoch[16];
	struct plan *plan; /* owns */
	struct program predicted;
	size_t batch_max;
	struct inference *head, *tail; /* the head runs when `part` */
	size_t part;		       /* images that are asked for */
	uint32_t lane;		       /* number of the inference, from 0 */
	uint8_t *answer;	       /* owns; of batch_max images */
	size_t got;
};

static const char *const state_names[OWNER_STATES] = {
    [OWNER_OPENING] = "the session is being opened",
    [OWNER_READY] = "the session is ready",
    [OWNER_FAILED] = "the session has failed",
};

void clear_predict(struct program *predicted, const struct plan *plan)
{
	*predicted = (struct program){.tape = &plan->tape, .round_trips = 1, .n_messages = 2};
	predicted->online[P0] = shape_size(plan->input);
	predicted->online[P1] = clear_bytes(plan);
}

size_t clear_batch(const struct plan *plan, size_t most, uint64_t bytes)
{
	uint64_t fit = bytes / (shape_size(plan->input) + clear_bytes(plan));

	return fit < most ? (size_t)fit : most;
}

static uint64_t now_us(const struct clear_owner *o)
{
	return o->host->now_us(o->host->ctx);
}

/* ---- the end ---- */

static void tell(struct clear_owner *o, const struct err *why)
{
	inference_tell(inference_pop(&o->head, &o->tail), why);
}

static int fail(struct clear_owner *o, const struct err *why, const struct channel *told, struct err *e)
{
	if (o->state != OWNER_FAILED) {
		o->err = *why;
		if (!o->err.code)
			err_set(&o->err, ERR_PEER, "the session failed");
		host_log(o->host, LOG_WARNING, "session %u, model %s (clear): %s -> failed: %s", o->session,
			 o->model, state_names[o->state], o->err.text);
		o->state = OWNER_FAILED;
		if (o->model_owner && o->model_owner != told)
			channel_send_error(o->model_owner, o->session, &o->err, "");
		o->part = 0;
		while (o->head)
			tell(o, &o->err);
	}
	if (e)
		*e = o->err;
	return -1;
}

/* ---- opening ---- */

static int take_opened(void *owner, const Wire__Opened *in, struct err *e)
{
	struct clear_owner *o = owner;

	if (strcmp(in->personality, personality_name(PERSONALITY_CLEAR)) != 0)
		return error_of(e, o->model_owner, "opened a session of another personality than clear");
	if (in->epoch.len != 16 || !in->plan || !in->max_batch)
		return error_of(e, o->model_owner, "opened the session without plan, epoch or batch");
	memcpy(o->epoch, in->epoch.data, 16);
	if (plan_take(&o->plan, in->plan, NULL, o->model_owner, e))
		return -1;
	clear_predict(&o->predicted, o->plan);
	o->batch_max = o->options.max_batch < in->max_batch ? o->options.max_batch : in->max_batch;
	o->batch_max = clear_batch(o->plan, o->batch_max, o->options.pool_bytes);
	o->answer = malloc(o->batch_max * o->predicted.online[P1] + 1);
	if (!o->batch_max || !o->answer)
		return err_set(e, ERR_ENV, "out of memory for an image of model %s", o->model);
	o->state = OWNER_READY;
	return 0;
}

/* ---- inferences ---- */

/* Memory for results, the first time; what the model owner will see is what there is. */
static int prepare(struct clear_owner *o, struct inference *i)
{
	size_t pixels = i->batch * shape_size(o->plan->input),
	       n = i->batch * clear_words(o->plan) * sizeof(*i->result);
	struct err e = {0};

	if (i->result)
		return 0;
	i->result = i->memory ? i->memory(i, n) : calloc(1, n);
	if (i->views)
		i->masked = i->memory ? i->memory(i, pixels) : malloc(pixels);
	if (i->masked)
		memcpy(i->masked, i->pixels, pixels);
	if (i->result)
		return 0;
	err_set(&e, ERR_ENV, "out of memory for %zu results", i->batch);
	tell(o, &e);
	return -1;
}

static void send_begin(struct clear_owner *o)
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

static void send_pixels(struct clear_owner *o, const uint8_t *pixels, size_t bytes)
{
	struct frame f = {.type = FRAME_STEP, .session = o->session, .lane = o->lane};

	for (; bytes; bytes -= f.length, pixels += f.length) {
		f.length = bytes < FRAME_BODY_MAX ? (uint32_t)bytes : FRAME_BODY_MAX;
		f.flags = f.length < bytes ? FRAME_MORE : 0;
		f.body = pixels;
		o->model_owner->ops->send(o->model_owner, &f);
	}
	o->model_owner->ops->flush(o->model_owner);
}

static void work(struct clear_owner *o)
{
	while (o->state == OWNER_READY && !o->part && o->head) {
		struct inference *i = o->head;
		size_t image = shape_size(o->plan->input), left = i->batch - i->begun;

		if (prepare(o, i))
			continue;
		o->part = left < o->batch_max ? left : o->batch_max;
		o->got = 0;
		i->begun_us = o->since_us = now_us(o);
		send_begin(o);
		send_pixels(o, i->pixels + i->begun * image, o->part * image);
		i->online.sent += o->part * image;
		i->begun += o->part;
	}
}

static void infer_session(void *owner, struct inference *i)
{
	struct clear_owner *o = owner;

	i->waiting_us = now_us(o);
	inference_push(&o->head, &o->tail, i);
	if (o->state == OWNER_FAILED)
		tell(o, &o->err);
	else
		work(o);
}

/* The answer to a part is whole. */
static void finish_part(struct clear_owner *o)
{
	const struct tape *t = &o->plan->tape;
	const struct row *last = &t->rows[t->n_rows - 1];
	size_t words = clear_words(o->plan), bytes = o->predicted.online[P1];
	struct inference *i = o->head;
	struct err fine = {0};

	for (size_t b = 0; b < o->part; b++) {
		int64_t *y = i->result + (i->finished + b) * words;

		ring_unpack((uint64_t *)y, o->answer + b * bytes, words, t->values[last->in[0]].k);
		for (size_t j = 0; j < words; j++)
			y[j] = ring_signed((uint64_t)y[j], t->values[last->out].k);
	}
	i->online.received += o->part * bytes;
	i->finished += o->part;
	i->round_trips = 1;
	i->seconds_online += (double)(now_us(o) - i->begun_us) / 1e6;
	o->part = 0;
	o->lane++;
	if (i->finished < i->batch)
		return;
	i->seconds_offline = (double)(now_us(o) - i->waiting_us) / 1e6 - i->seconds_online; /* the queue */
	tell(o, &fine);
}

static int on_step(struct clear_owner *o, const struct frame *f, struct err *e)
{
	size_t bytes = o->part * o->predicted.online[P1];
	int whole;

	if (!o->part || f->lane != o->lane || f->sequence != 1)
		return error_of(e, o->model_owner, "sent answer %u of inference %u, which was not asked for",
				f->sequence, f->lane);
	whole = piece_take(o->answer, &o->got, bytes, f);
	if (whole < 0)
		return error_of(e, o->model_owner, "sent an answer of another size than %zu bytes", bytes);
	o->since_us = now_us(o);
	if (whole)
		finish_part(o);
	return 0;
}

static int on_abort(struct clear_owner *o, const struct frame *f, struct err *e)
{
	struct err why = {0};

	if (!o->part || f->lane != o->lane)
		return error_of(e, o->model_owner, "aborted inference %u, which does not run", f->lane);
	error_read(&why, o->model_owner, f);
	o->part = 0;
	o->lane++;
	tell(o, &why);
	return 0;
}

/* ---- events ---- */

static int step_frame(void *owner, const struct frame *f, struct err *e)
{
	struct clear_owner *o = owner;

	if (on_step(o, f, e))
		return -1;
	work(o);
	return 0;
}

static int abort_frame(void *owner, const struct frame *f, struct err *e)
{
	struct clear_owner *o = owner;

	if (on_abort(o, f, e))
		return -1;
	work(o);
	return 0;
}

static int opened_frame(void *owner, const struct frame *f, struct err *e)
{
	struct clear_owner *o = owner;
	int status = opened_read(o, o->model_owner, f, take_opened, e);

	if (!status)
		work(o);
	return status;
}

#define IN(state) (1u << OWNER_##state)
static const struct legal legal[] = {
    {FRAME_OPENED, ROLE_M, IN(OPENING), opened_frame},
    {FRAME_STEP, ROLE_M, IN(READY), step_frame},
    {FRAME_ABORT, ROLE_M, IN(READY), abort_frame},
};
static const struct legals legals = {legal, sizeof(legal) / sizeof(legal[0]), state_names};

static int frame_session(void *owner, struct channel *from, const struct frame *f, struct err *e)
{
	struct clear_owner *o = owner;
	const struct channel *told = NULL;
	struct err why = {0};

	if (o->state == OWNER_FAILED)
		return fail(o, &o->err, NULL, e);
	if (from != o->model_owner)
		error_of(&why, from, "sent %s into a session that it has no part in", frame_name(f->type));
	else if (!frame_handle(o, &legals, o->state, from, f, &o->leaving, &told, &why))
		return o->state == OWNER_FAILED ? fail(o, &o->err, NULL, e) : 0;
	return fail(o, &why, told, e);
}

static int tick_session(void *owner, struct err *e)
{
	struct clear_owner *o = owner;
	uint32_t ms = o->state == OWNER_READY ? o->options.step_ms : o->options.connect_ms;
	struct err why = {0};

	if (o->state == OWNER_FAILED)
		return fail(o, &o->err, NULL, e);
	if ((o->state == OWNER_READY && !o->part) || now_us(o) - o->since_us < (uint64_t)ms * 1000)
		return 0;
	error_of(&why, o->model_owner,
		 o->part ? "did not answer within %u ms" : "did not open the session within %u ms", ms);
	return fail(o, &why, NULL, e);
}

static void lost_session(void *owner, struct channel *c, const char *why)
{
	struct clear_owner *o = owner;
	struct err e = {0};

	if (c != o->model_owner)
		return;
	error_of(&e, c, "went away while %s%s%s",
		 o->part ? "an answer was waited for" : state_names[o->state], why && why[0] ? ": " : "",
		 why ? why : "");
	o->model_owner = NULL;
	fail(o, &e, NULL, NULL);
}

/* ---- what is asked of it ---- */

static unsigned state_session(const void *owner)
{
	return ((const struct clear_owner *)owner)->state;
}

static int leaving_session(const void *owner)
{
	return ((const struct clear_owner *)owner)->leaving;
}

static const struct plan *plan_session(const void *owner)
{
	return ((const struct clear_owner *)owner)->plan;
}

static const struct program *program_session(const void *owner)
{
	const struct clear_owner *o = owner;

	return o->plan ? &o->predicted : NULL;
}

static void pool_session(const void *owner, struct pool_status *s)
{
	*s = (struct pool_status){0}; /* nothing is made ahead */
}

static int open_session(void **owner, const struct host *host, const struct owner_options *options,
			struct channel *model_owner, uint16_t session, struct err *e)
{
	struct clear_owner *o = calloc(1, sizeof(*o));

	*owner = NULL;
	if (!o || !options->max_batch) {
		free(o);
		return err_set(e, ERR_ENV, "out of memory for a session, or max_batch is 0");
	}
	o->host = host;
	o->options = *options;
	snprintf(o->model, sizeof(o->model), "%s", options->model);
	o->options.model = o->model;
	o->model_owner = model_owner;
	o->session = session;
	o->since_us = now_us(o);
	open_send(model_owner, session, &o->options);
	*owner = o;
	return 0;
}

static void free_session(void *owner)
{
	struct clear_owner *o = owner;

	if (o->model_owner && o->state != OWNER_FAILED)
		close_send(o->model_owner, o->session, 0);
	o->state = OWNER_FAILED;
	err_set(&o->err, ERR_PEER, "the session was closed");
	while (o->head)
		tell(o, &o->err);
	plan_free(o->plan);
	free(o->answer);
	free(o);
}

const struct owner_kind clear_owner_kind = {
    .open = open_session,
    .frame = frame_session,
    .tick = tick_session,
    .infer = infer_session,
    .lost = lost_session,
    .state = state_session,
    .leaving = leaving_session,
    .plan = plan_session,
    .program = program_session,
    .pool = pool_session,
    .free = free_session,
};
