/* SPDX-License-Identifier: Apache-2.0 */
/* The data owner's end of a session of the he personality. */
#include <stdlib.h>
#include <string.h>
#include "protocol/he_parts.h"

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

static size_t request_bytes(const struct desk *d)
{
	return d->tickets ? he_masked_up(d->hp, d->level) * d->batch
			  : he_request_bytes(d->hp, d->level, d->batch);
}

static size_t answer_bytes(const struct desk *d)
{
	return d->tickets ? he_masked_down(d->hp, d->level) * d->batch
			  : he_answer_bytes(d->hp, d->level, d->batch);
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
	o->duo.host->submit(o->duo.host->ctx, &d->job);
}

/* A request is written: it leaves. */
static void send_request(struct he_owner *o)
{
	struct duo_owner *duo = &o->duo;
	struct desk *d = o->desk;
	size_t bytes = request_bytes(d);
	struct frame f = {
	    .type = FRAME_STEP, .session = duo->session, .lane = duo->lane, .sequence = 2u * d->level};

	he_profile_start(&d->profile);
	if (!d->level)
		duo_owner_begin(duo);
	send_step(duo->model_owner, f, d->request + FRAME_HEADER, bytes, 0);
	duo->model_owner->ops->flush(duo->model_owner);
	he_profile_lap(&d->profile, PROFILE_SEND, d->hp, d->level);
	duo_owner_wait(duo, d->level, bytes, d->answer, answer_bytes(d));
}

/* Tickets are spent, whatever became of the images. */
static void over(struct duo_owner *duo)
{
	struct he_owner *o = (struct he_owner *)duo;
	struct desk *d = o->desk;

	if (d->tickets) {
		he_mill_spend(d);
		duo->lane = (uint32_t)o->next;
	} else {
		duo->lane += d->hp->levels > 0; /* else nothing was begun */
	}
}

/* The images of a part are done. */
static void finish_part(struct he_owner *o)
{
	struct desk *d = o->desk;
	struct inference *i = o->duo.head;
	size_t n = plan_words(d->plan);

	for (size_t b = 0; b < d->batch; b++)
		memcpy(i->result + (i->finished + b) * n, he_lane_result(d->lane, b), n * sizeof(*i->result));
	he_profile_end(&d->profile, d->batch);
	duo_owner_done(&o->duo);
}

static void stepped(struct he_owner *o)
{
	struct desk *d = o->desk;

	he_profile_job(&d->profile);
	if (o->duo.state != OWNER_READY || !o->duo.part)
		return;
	if (d->asked < 0)
		duo_owner_fail(&o->duo, &d->err, NULL, NULL);
	else if (d->asked)
		send_request(o);
	else
		finish_part(o);
	he_owner_work(&o->duo);
}

/* Tickets for the images that begin, and what making them cost. */
static void count_offline(struct he_owner *o)
{
	struct inference *i = o->duo.head;
	struct desk *d = o->desk;

	he_mill_take(o, d->batch);
	i->offline.sent += d->batch * he_ticket_request(d->hp);
	i->offline.received += d->batch * he_ticket_answer(d->hp);
}

void he_owner_work(struct duo_owner *duo)
{
	struct he_owner *o = (struct he_owner *)duo;
	struct desk *d = o->desk;

	while (duo->state == OWNER_READY && !duo->part && !d->busy && duo->head) {
		if (duo_owner_results(duo))
			continue;
		d->batch = duo->head->batch - duo->head->begun;
		d->batch = d->batch < duo->batch_max ? d->batch : duo->batch_max;
		if (d->tickets && o->made == o->next)
			break;
		if (d->tickets && d->batch > o->made - o->next)
			d->batch = o->made - o->next;
		if (d->tickets)
			count_offline(o);
		he_lane_profile(d->lane, he_profile_begin(&d->profile));
		he_lane_begin(d->lane, duo_owner_part(duo, d->batch), d->batch);
		d->answered = 0;
		submit(o);
	}
	if (duo->state == OWNER_READY && d->tickets)
		he_mill_work(o);
}

static void answered(struct duo_owner *duo)
{
	struct he_owner *o = (struct he_owner *)duo;
	struct desk *d = o->desk;

	he_profile_lap(&d->profile, PROFILE_WAIT, d->hp, d->level);
	d->answered = 1;
	submit(o);
}

/* ---- the session ---- */

static int awaits(const struct duo_owner *duo)
{
	return ((const struct he_owner *)duo)->desk->mill.waiting;
}

static int late(const struct duo_owner *duo, uint64_t limit_us, struct err *why)
{
	const struct he_owner *o = (const struct he_owner *)duo;
	const struct mill *m = &o->desk->mill;

	if (!m->waiting || duo_owner_now(duo) - m->since_us < limit_us)
		return 0;
	return error_of(why, duo->model_owner, "did not answer the masks of ticket %llu within %llu ms",
			(unsigned long long)o->made, (unsigned long long)limit_us / 1000);
}

static void free_session(struct duo_owner *duo)
{
	he_mill_close((struct he_owner *)duo);
	desk_drop(((struct he_owner *)duo)->desk);
}

#define IN(state) (1u << OWNER_##state)
static const struct legal legal[] = {
    {FRAME_OPENED, ROLE_M, IN(OPENING), he_owner_opened},
    {FRAME_HE_READY, ROLE_M, IN(WEIGHTS), he_owner_ready},
    {FRAME_STEP, ROLE_M, IN(READY), duo_owner_step},
    {FRAME_ABORT, ROLE_M, IN(READY), duo_owner_abort},
    {FRAME_HE_TICKET, ROLE_M, IN(READY), he_mill_frame},
};

const struct duo_owner_kind he_owner_kind = {
    .bytes = sizeof(struct he_owner),
    .legals = {legal, sizeof(legal) / sizeof(legal[0]), duo_owner_states},
    .work = he_owner_work,
    .answered = answered,
    .over = over,
    .awaits = awaits,
    .late = late,
    .pool = he_owner_pool,
    .free = free_session,
};
