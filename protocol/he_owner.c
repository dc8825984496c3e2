/* SPDX-License-Identifier: Apache-2.0 */
/* The data owner's end of a session of the he personality. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include "protocol/ends.h"
#include "protocol/he_parts.h"

static const char *const state_names[OWNER_STATES] = {
    [OWNER_OPENING] = "the session is being opened",
    [OWNER_WEIGHTS] = "keys are exchanged",
    [OWNER_READY] = "the session is ready",
    [OWNER_FAILED] = "the session has failed",
};

static uint64_t now_us(const struct he_owner *o)
{
	return o->host->now_us(o->host->ctx);
}

/* ---- memory ---- */

void he_desk_free(struct desk *d)
{
	he_mill_free(d);
	he_profile_close(&d->profile);
	he_lane_free(d->lane);
	he_plan_free(d->hp);
	plan_free(d->plan);
	he_pair_drop(d->pair);
	free(d->request);
	free(d->answer);
	free(d);
}

static void desk_drop(struct desk *d)
{
	if (!d)
		return;
	d->owner = NULL;
	if (!d->busy && !d->mill.busy)
		he_desk_free(d);
}

/* ---- inferences ---- */

static void tell(struct he_owner *o, const struct err *why)
{
	inference_tell(inference_pop(&o->head, &o->tail), why);
}

static void fail_all(struct he_owner *o, const struct err *why)
{
	o->running = o->waiting = 0;
	while (o->head)
		tell(o, why);
}

static int fail(struct he_owner *o, const struct err *why, const struct channel *told, struct err *e)
{
	if (o->state != OWNER_FAILED) {
		o->err = *why;
		if (!o->err.code)
			err_set(&o->err, ERR_PEER, "the session failed");
		host_log(o->host, LOG_WARNING, "session %u, model %s (he): %s -> failed: %s", o->session, o->model, state_names[o->state],
			 o->err.text);
		o->state = OWNER_FAILED;
		if (o->model_owner && o->model_owner != told)
			channel_send_error(o->model_owner, o->session, &o->err, "");
		fail_all(o, &o->err);
	}
	if (e)
		*e = o->err;
	return -1;
}

static size_t result_words(const struct plan *plan)
{
	return shape_size(plan->tape.values[plan->tape.rows[plan->tape.n_rows - 1].out].shape);
}

static size_t request_bytes(const struct desk *d)
{
	return d->tickets ? he_masked_up(d->hp, d->level) * d->batch : he_request_bytes(d->hp, d->level, d->batch);
}

static size_t answer_bytes(const struct desk *d)
{
	return d->tickets ? he_masked_down(d->hp, d->level) * d->batch : he_answer_bytes(d->hp, d->level, d->batch);
}

static int take_answer(struct desk *d)
{
	if (d->tickets)
		return he_masked_take(d->lane, d->tickets, d->answer, answer_bytes(d), &d->err);
	return he_lane_take(d->lane, d->answer, answer_bytes(d), &d->err);
}

static void run(struct job *job)
{
	struct desk *d = (struct desk *)job;

	d->err = (struct err){0};
	d->asked = d->answered ? take_answer(d) : 0;
	d->answered = 0;
	if (d->asked)
		return;
	if (d->tickets)
		d->asked = he_masked_ask(d->lane, d->tickets, &d->level, d->request + FRAME_HEADER, &d->err);
	else
		d->asked = he_lane_ask(d->lane, &d->level, d->request + FRAME_HEADER, &d->err);
}

static void stepped(struct he_owner *o);

static void done(struct job *job)
{
	struct desk *d = (struct desk *)job;

	d->busy = 0;
	if (d->owner)
		stepped(d->owner);
	else if (!d->mill.busy)
		he_desk_free(d);
}

static void submit(struct he_owner *o)
{
	struct desk *d = o->desk;

	d->job = (struct job){run, done, 1};
	d->busy = 1;
	o->host->submit(o->host->ctx, &d->job);
}

static void send_begin(struct he_owner *o)
{
	struct {
		uint8_t header[FRAME_HEADER], body[BEGIN_BYTES];
	} message;
	struct frame f = {.type = FRAME_BEGIN, .session = o->session, .lane = o->lane, .length = BEGIN_BYTES, .body = message.body};

	begin_write(message.body, o->epoch, o->desk->batch);
	o->model_owner->ops->send_inplace(o->model_owner, &f, message.body);
}

/* A request is written: it leaves. */
static void send_request(struct he_owner *o)
{
	struct desk *d = o->desk;
	size_t bytes = request_bytes(d);
	struct frame f = {.type = FRAME_STEP, .session = o->session, .lane = o->lane, .sequence = 2u * d->level};

	he_profile_start(&d->profile);
	if (!d->level)
		send_begin(o);
	send_step(o->model_owner, f, d->request + FRAME_HEADER, bytes, 0);
	o->model_owner->ops->flush(o->model_owner);
	he_profile_lap(&d->profile, PROFILE_SEND, d->hp, d->level);
	o->head->online.sent += bytes;
	o->got = 0;
	o->waiting = 1;
	o->since_us = now_us(o);
}

/* Tickets are spent, whatever became of the images. */
static void next_lane(struct he_owner *o)
{
	struct desk *d = o->desk;

	if (d->tickets)
		he_mill_spend(d);
	if (d->tickets)
		o->lane = (uint32_t)o->next;
	else
		o->lane += d->hp->levels > 0; /* else nothing was begun */
}

/* The images of a part are done. */
static void finish_part(struct he_owner *o)
{
	struct desk *d = o->desk;
	struct inference *i = o->head;
	size_t n = result_words(d->plan);
	struct err fine = {0};

	for (size_t b = 0; b < d->batch; b++)
		memcpy(i->result + (i->finished + b) * n, he_lane_result(d->lane, b), n * sizeof(*i->result));
	i->finished += d->batch;
	i->seconds_online += (double)(now_us(o) - i->begun_us) / 1e6;
	o->running = 0;
	he_profile_end(&d->profile, d->batch);
	next_lane(o);
	if (i->finished < i->batch)
		return;
	i->seconds_offline = (double)(now_us(o) - i->waiting_us) / 1e6 - i->seconds_online; /* the queue, and tickets */
	tell(o, &fine);
}

static void stepped(struct he_owner *o)
{
	struct desk *d = o->desk;

	he_profile_job(&d->profile);
	if (o->state != OWNER_READY || !o->running)
		return;
	if (d->asked < 0)
		fail(o, &d->err, NULL, NULL);
	else if (d->asked)
		send_request(o);
	else
		finish_part(o);
	he_owner_work(o);
}

/* Memory for results, the first time. */
static int prepare(struct he_owner *o, struct inference *i)
{
	size_t n = i->batch * result_words(o->desk->plan) * sizeof(*i->result);
	struct err e = {0};

	if (i->result)
		return 0;
	i->result = i->memory ? i->memory(i, n) : calloc(1, n);
	if (i->result)
		return 0;
	err_set(&e, ERR_ENV, "out of memory for %zu results", i->batch);
	tell(o, &e);
	return -1;
}

/* Tickets for the images that begin, and what making them cost. */
static void count_offline(struct he_owner *o, struct inference *i)
{
	struct desk *d = o->desk;

	he_mill_take(o, d->batch);
	i->offline.sent += d->batch * he_ticket_request(d->hp);
	i->offline.received += d->batch * he_ticket_answer(d->hp);
}

void he_owner_broken(struct he_owner *o, const struct err *why)
{
	fail(o, why, NULL, NULL);
}

void he_owner_work(struct he_owner *o)
{
	size_t pixels;

	while (o->state == OWNER_READY && !o->running && !o->desk->busy && o->head) {
		struct inference *i = o->head;
		struct desk *d = o->desk;

		if (prepare(o, i))
			continue;
		pixels = shape_size(d->plan->input);
		d->batch = i->batch - i->begun < o->batch_max ? i->batch - i->begun : o->batch_max;
		if (d->tickets && o->made == o->next)
			break;
		if (d->tickets && d->batch > o->made - o->next)
			d->batch = o->made - o->next;
		if (d->tickets)
			count_offline(o, i);
		he_lane_profile(d->lane, he_profile_begin(&d->profile));
		he_lane_begin(d->lane, i->pixels + i->begun * pixels, d->batch);
		i->begun += d->batch;
		i->begun_us = now_us(o); /* of this part */
		o->running = 1;
		d->answered = 0;
		submit(o);
	}
	if (o->state == OWNER_READY && o->desk->tickets)
		he_mill_work(o);
}

static void infer_session(void *owner, struct inference *i)
{
	struct he_owner *o = owner;

	i->waiting_us = now_us(o);
	inference_push(&o->head, &o->tail, i);
	if (o->state == OWNER_FAILED)
		fail_all(o, &o->err);
	else
		he_owner_work(o);
}

static int on_step(void *owner, const struct frame *f, struct err *e)
{
	struct he_owner *o = owner;
	struct desk *d = o->desk;
	size_t bytes = answer_bytes(d);
	int whole;

	if (!o->waiting || f->lane != o->lane || f->sequence != 2u * d->level + 1)
		return error_of(e, o->model_owner, "sent answer %u of inference %u, which was not asked for", f->sequence, f->lane);
	whole = piece_take(d->answer, &o->got, bytes, f);
	if (whole < 0)
		return error_of(e, o->model_owner, "sent an answer of another size than %zu bytes", bytes);
	o->since_us = now_us(o);
	if (!whole)
		return 0;
	o->waiting = 0;
	he_profile_lap(&d->profile, PROFILE_WAIT, d->hp, d->level);
	o->head->online.received += bytes;
	o->head->round_trips = o->head->round_trips > d->level + 1u ? o->head->round_trips : d->level + 1u;
	d->answered = 1;
	submit(o);
	return 0;
}

static int on_abort(void *owner, const struct frame *f, struct err *e)
{
	struct he_owner *o = owner;
	struct err why = {0};

	if (!o->waiting || f->lane != o->lane)
		return error_of(e, o->model_owner, "aborted inference %u, which does not run", f->lane);
	error_read(&why, o->model_owner, f);
	o->waiting = o->running = 0;
	next_lane(o);
	tell(o, &why);
	he_owner_work(o);
	return 0;
}

/* ---- events ---- */

#define IN(state) (1u << OWNER_##state)
static const struct legal legal[] = {
    {FRAME_OPENED, ROLE_M, IN(OPENING), he_owner_opened},
    {FRAME_HE_READY, ROLE_M, IN(WEIGHTS), he_owner_ready},
    {FRAME_STEP, ROLE_M, IN(READY), on_step},
    {FRAME_ABORT, ROLE_M, IN(READY), on_abort},
    {FRAME_HE_TICKET, ROLE_M, IN(READY), he_mill_frame},
};
static const struct legals legals = {legal, sizeof(legal) / sizeof(legal[0]), state_names};

static int open_session(void **owner, const struct host *host, const struct owner_options *options, struct channel *model_owner,
			uint16_t session, struct err *e)
{
	struct he_owner *o = calloc(1, sizeof(*o));

	*owner = NULL;
	if (o)
		o->desk = calloc(1, sizeof(*o->desk));
	if (!o || !o->desk || !options->max_batch) {
		free(o ? o->desk : NULL);
		free(o);
		return err_set(e, ERR_ENV, "out of memory for a session, or max_batch is 0");
	}
	o->desk->owner = o;
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

static int frame_session(void *owner, struct channel *from, const struct frame *f, struct err *e)
{
	struct he_owner *o = owner;
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
	struct he_owner *o = owner;
	uint64_t waited = now_us(o) - o->since_us;
	uint32_t ms = o->state == OWNER_READY ? o->options.step_ms : o->options.connect_ms;
	struct err why = {0};

	if (o->state == OWNER_FAILED)
		return fail(o, &o->err, NULL, e);
	if (o->state == OWNER_READY && o->desk->mill.waiting && now_us(o) - o->desk->mill.since_us >= (uint64_t)ms * 1000) {
		error_of(&why, o->model_owner, "did not answer the masks of ticket %llu within %u ms", (unsigned long long)o->made, ms);
		return fail(o, &why, NULL, e);
	}
	if ((o->state == OWNER_READY && !o->waiting) || waited < (uint64_t)ms * 1000)
		return 0;
	if (o->state == OWNER_READY)
		error_of(&why, o->model_owner, "did not answer round trip %u of %u within %u ms", o->desk->level + 1, o->desk->hp->levels,
			 ms);
	else
		error_of(&why, o->model_owner, "did not go on within %u ms while %s", ms, state_names[o->state]);
	return fail(o, &why, NULL, e);
}

static void lost_session(void *owner, struct channel *c, const char *why)
{
	struct he_owner *o = owner;
	struct err e = {0};

	if (c != o->model_owner)
		return;
	error_of(&e, c, "went away while %s%s%s", o->waiting ? "an answer was waited for" : state_names[o->state],
		 why && why[0] ? ": " : "", why ? why : "");
	o->model_owner = NULL;
	fail(o, &e, NULL, NULL);
}

static unsigned state_session(const void *owner)
{
	const struct he_owner *o = owner;

	return o->state;
}

static int leaving_session(const void *owner)
{
	const struct he_owner *o = owner;

	return o->leaving;
}

static const struct plan *plan_session(const void *owner)
{
	const struct he_owner *o = owner;

	return o->desk->lane ? o->desk->plan : NULL;
}

static const struct program *program_session(const void *owner)
{
	const struct he_owner *o = owner;

	return o->desk->lane ? &o->desk->predicted : NULL;
}

static void free_session(void *owner)
{
	struct he_owner *o = owner;
	struct err gone = {0};

	if (!o)
		return;
	if (o->model_owner && o->state != OWNER_FAILED)
		close_send(o->model_owner, o->session, 0);
	err_set(&gone, ERR_PEER, "the session was closed");
	o->err = gone;
	o->state = OWNER_FAILED;
	fail_all(o, &gone);
	he_mill_close(o);
	desk_drop(o->desk);
	free(o);
}

const struct owner_kind he_owner_kind = {
    .open = open_session,
    .frame = frame_session,
    .tick = tick_session,
    .infer = infer_session,
    .lost = lost_session,
    .state = state_session,
    .leaving = leaving_session,
    .plan = plan_session,
    .program = program_session,
    .pool = he_owner_pool,
    .free = free_session,
};
