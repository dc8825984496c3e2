/* SPDX-License-Identifier: Apache-2.0 */
/* Inferences of the data owner: a queue; lanes; each lane takes a contiguous range of complete tickets, burnt
 * before BEGIN leaves. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "crypto/ring.h"
#include "protocol/duo.h"
#include "protocol/owner.h"

static uint64_t now_us(const struct owner *o)
{
	return o->host->now_us(o->host->ctx);
}

size_t infer_demand(const struct owner *o, size_t most)
{
	size_t images = 0;

	for (const struct inference *i = o->head; i && images < most; i = i->next)
		images += i->batch - i->begun;
	return images < most ? images : most;
}

int infer_active(const struct owner *o)
{
	int n = 0;

	for (size_t i = 0; i < OWNER_LANES; i++)
		n += o->slots[i] && o->slots[i]->state != SLOT_FREE;
	return n;
}

/* ---- the queue ---- */
static void unlink_inference(struct owner *o, struct inference *i)
{
	struct inference *before = NULL;

	for (struct inference *at = o->head; at; before = at, at = at->next) {
		if (at != i)
			continue;
		if (before)
			before->next = i->next;
		else
			o->head = i->next;
		if (o->tail == i)
			o->tail = before;
		i->next = NULL;
		return;
	}
}

/* Tells the inference; lanes that still work for it run on for nobody. */
static void infer_fail(struct owner *o, struct inference *i, const struct err *why)
{
	unlink_inference(o, i);
	for (size_t s = 0; s < OWNER_LANES; s++)
		if (o->slots[s] && o->slots[s]->of == i)
			o->slots[s]->of = NULL;
	inference_tell(i, why);
}

void infer_fail_all(struct owner *o, const struct err *why)
{
	for (size_t s = 0; s < OWNER_LANES; s++) {
		struct slot *slot = o->slots[s];

		if (slot && slot->of)
			infer_fail(o, slot->of, why);
		if (slot && slot->state == SLOT_WAIT)
			slot_clear(slot);
	}
	while (o->head)
		infer_fail(o, o->head, why);
}

void owner_infer(struct owner *o, struct inference *i)
{
	struct err why = {0};

	i->err = why;
	i->result = NULL;
	i->masked = NULL;
	i->times = NULL;
	i->round_trips = 0;
	i->online = i->offline = (struct counted){0};
	i->seconds_online = i->seconds_offline = 0;
	i->next = NULL;
	i->begun = i->finished = 0;
	i->begun_us = i->waiting_us = 0;
	if (!i->batch)
		err_set(&why, ERR_USAGE, "an inference of no image");
	else if (o->duo) {
		duo_owner_infer(o->duo, i);
		return;
	}
	if (o->state == OWNER_FAILED || !i->batch) {
		infer_fail(o, i, o->state == OWNER_FAILED ? &o->err : &why);
		return;
	}
	inference_push(&o->head, &o->tail, i);
	if (owner_work(o, &why) < 0)
		owner_fail(o, &why, NULL, NULL);
}

/* ---- a lane ---- */
/* The first message starts with e of the image, batch × n words packed to k bits, image by image: its top
 * bits are what a picture of the model owner's view shows. Nothing is kept when the plan maps the image
 * before it is masked. */
static void keep_view(const struct owner *o, const struct slot *s)
{
	const struct tape *tape = &o->core->plan->tape;
	unsigned k = tape->values[0].k;
	size_t n = shape_size(tape->values[0].shape), image = ring_packed(n, k), bytes;
	uint64_t *words = calloc(n + 1, sizeof(*words));
	const uint8_t *e = lane_peek(s->lane, &bytes); /* slot_send takes it */

	for (size_t b = 0; words && b < s->batch && (b + 1) * image <= bytes; b++) {
		uint8_t *out = s->of->masked + (s->at + b) * n;

		ring_unpack(words, e + b * image, n, k);
		for (size_t i = 0; i < n; i++)
			out[i] = (uint8_t)(k > 8 ? words[i] >> (k - 8) : words[i] << (8 - k));
	}
	free(words);
}

static void finish_part(struct owner *o, struct slot *s)
{
	size_t words = plan_words(o->core->plan), batch = s->batch;
	struct inference *i = s->of;

	if (i) {
		memcpy(i->result + s->at * words, lane_result(s->lane), batch * words * sizeof(*i->result));
		if (i->times)
			lane_times(s->lane, i->times, i->times + o->core->plan->tape.n_rows);
		i->online.sent += s->sent;
		i->online.received += s->received;
		i->offline.sent += s->delta;
		i->offline.provider += s->provider;
		if (i->round_trips < s->messages) /* parts of a large batch have the same number each */
			i->round_trips = s->messages;
		i->finished += batch;
	}
	slot_clear(s);
	o->since_us = now_us(o);
	if (!i || i->finished < i->batch)
		return;
	i->seconds_online = (double)(now_us(o) - i->begun_us) / 1e6;
	i->done(i);
}

static void lane_ran(struct slot *s)
{
	struct owner *o = s->session;
	struct err why = {0};

	if (o->state == OWNER_FAILED) {
		slot_clear(s);
		return;
	}
	if (s->of && s->of->masked && !s->sent)
		keep_view(o, s);
	/* An aborted lane sends what it was about to: the model owner drops it, and then the lane is over on
	 * both sides. */
	slot_send(s);
	if (s->aborted)
		slot_clear(s);
	else if (s->result == ENGINE_DONE)
		finish_part(o, s);
	if (owner_work(o, &why) < 0)
		owner_fail(o, &why, NULL, NULL);
}

static struct slot *free_slot(struct owner *o, struct err *e)
{
	for (size_t i = 0; i < o->lanes; i++) {
		if (!o->slots[i]) {
			o->slots[i] = slot_new(o, lane_ran, o->host, o->core, o->prg, P0, e);
			if (o->slots[i]) {
				o->slots[i]->inline_work = o->options.inline_work;
				o->slots[i]->to = o->model_owner;
				o->slots[i]->number = o->session;
			}
			return o->slots[i];
		}
		if (o->slots[i]->state == SLOT_FREE)
			return o->slots[i];
	}
	return NULL;
}

static void *zeroed(struct inference *i, size_t n)
{
	return i->memory ? i->memory(i, n) : calloc(1, n);
}

static int take_memory(struct owner *o, struct inference *i, struct err *e)
{
	const struct tape *tape = &o->core->plan->tape;
	size_t n = shape_size(o->core->plan->input);
	int views;

	if (i->result)
		return 0;
	i->result = zeroed(i, i->batch * plan_words(o->core->plan) * sizeof(*i->result));
	views = i->views && tape->rows[0].kind == OP_MASK && tape->rows[0].in[0] == 0;
	if (views)
		i->masked = zeroed(i, i->batch * n);
	if (i->views)
		i->times = zeroed(i, 2 * tape->n_rows * sizeof(*i->times));
	if (!i->result || (views && !i->masked) || (i->views && !i->times))
		return err_set(e, ERR_ENV, "out of memory for %zu results", i->batch);
	return 0;
}

/* Takes the next n tickets, burns them, and says so: epoch, count, tags. */
static void send_begin(struct owner *o, struct slot *s, size_t n)
{
	struct frame f = {.type = FRAME_BEGIN, .session = o->session, .lane = (uint32_t)o->next};
	uint8_t *out = o->begin + FRAME_HEADER;

	begin_write(out, o->epoch, n);
	for (size_t t = 0; t < n; t++) {
		struct ahead_ticket *ticket = pool_ticket(o, o->next + t);

		memcpy(out + 20 + 16 * t, ticket->tag, 16);
		s->tickets[t] = (struct ticket){.number = o->next + t, .ahead = ticket->kept};
		s->pieces[t] = ticket->kept;
		s->delta += ticket->delta;
		s->provider += ticket->corrections;
	}
	ticket_log(o->host, o->token, o->next, n, "burnt");
	pool_burn(o, n);
	f.length = (uint32_t)(20 + 16 * n);
	f.body = out;
	o->model_owner->ops->send_inplace(o->model_owner, &f, out);
}

static int begin_part(struct owner *o, struct inference *i, struct slot *s, size_t n, struct err *e)
{
	const uint8_t *pixels = i->pixels + i->begun * shape_size(o->core->plan->input);
	uint32_t first = (uint32_t)o->next;

	if (slot_prepare(s, n, o->batch_max, e) < 0 || take_memory(o, i, e) < 0)
		return -1;
	if (i->waiting_us)
		i->seconds_offline += (double)(now_us(o) - i->waiting_us) / 1e6;
	i->waiting_us = 0;
	if (!i->begun)
		i->begun_us = now_us(o);
	s->of = i;
	s->at = i->begun;
	i->begun += n;
	if (i->begun == i->batch)
		unlink_inference(o, i);
	send_begin(o, s, n);
	slot_begin(s, first, n, pixels);
	if (i->times)
		lane_time(s->lane);
	slot_run(s);
	return 0;
}

int infer_work(struct owner *o, struct err *e)
{
	while (o->head && o->state == OWNER_READY) {
		struct inference *i = o->head;
		struct err why = {0};
		size_t n = i->batch - i->begun;
		struct slot *s = free_slot(o, &why);

		if (!s && !why.code)
			return 0;
		n = n < o->batch_max ? n : o->batch_max;
		if (s && o->held.code && o->made - o->next < n) {
			infer_fail(o, i, &o->held);
			continue;
		}
		if (s && o->ready - o->next < n) {
			if (!i->waiting_us)
				i->waiting_us = now_us(o);
			return 0;
		}
		/* No memory for this one is no reason to end the session. */
		if (!s || begin_part(o, i, s, n, &why) < 0)
			infer_fail(o, i, &why);
	}
	return 0;
}

/* ---- frames ---- */
static struct slot *lane_of(struct owner *o, uint32_t lane)
{
	for (size_t i = 0; i < OWNER_LANES; i++)
		if (o->slots[i] && o->slots[i]->state != SLOT_FREE && o->slots[i]->first == lane)
			return o->slots[i];
	return NULL;
}

int infer_step(void *owner, const struct frame *f, struct err *e)
{
	struct owner *o = owner;
	struct slot *s = lane_of(o, f->lane);
	int whole;

	if (!s)
		return error_of(e, o->model_owner, "sent message %u of ticket %u, which is not under way",
				f->sequence + 1, f->lane);
	whole = slot_receive(s, o->model_owner, f, e);
	if (whole > 0)
		slot_run(s);
	return whole < 0 ? -1 : 0;
}

int infer_abort(void *owner, const struct frame *f, struct err *e)
{
	struct owner *o = owner;
	struct slot *s = lane_of(o, f->lane);
	struct err why = {0};
	struct inference *i;

	if (!s || s->aborted)
		return error_of(e, o->model_owner, "aborted ticket %u, which is not under way", f->lane);
	error_read(&why, o->model_owner, f);
	i = s->of;
	if (s->state == SLOT_WAIT)
		slot_clear(s);
	else
		s->aborted = 1;
	if (i)
		infer_fail(o, i, &why);
	return 0;
}

/* ---- waiting ---- */
static const struct slot *waiting_slot(const struct owner *o)
{
	const struct slot *oldest = NULL;

	for (size_t i = 0; i < OWNER_LANES; i++) {
		const struct slot *s = o->slots[i];

		if (s && s->state == SLOT_WAIT && (!oldest || s->since_us < oldest->since_us))
			oldest = s;
	}
	return oldest;
}

void infer_waiting(const struct owner *o, char *text, size_t bytes)
{
	const struct slot *s = waiting_slot(o);
	size_t missing;

	if (s)
		snprintf(text, bytes, "while waiting for message %u of %u",
			 lane_awaits(s->lane, &missing) + 1, o->core->program->n_messages);
	else if (o->state == OWNER_READY && o->head)
		snprintf(text, bytes, "while waiting for tickets");
}

/* Whoever owes the next step towards a complete ticket. */
static int tickets_late(struct owner *o, struct err *e)
{
	uint32_t ms = o->options.step_ms;
	const struct inference *i = o->head;
	size_t n = i->batch - i->begun;

	n = n < o->batch_max ? n : o->batch_max;
	if (o->made - o->next < n)
		return error_of(e, o->provider, "made no tickets for %u ms (%llu of %zu were there)", ms,
				(unsigned long long)(o->made - o->next), n);
	return error_of(e, o->model_owner,
			"did not complete its tickets within %u ms (%llu of %zu were ready)", ms,
			(unsigned long long)(o->ready - o->next), n);
}

int infer_deadlines(struct owner *o, struct err *e)
{
	uint64_t now = now_us(o), limit = (uint64_t)o->options.step_ms * 1000, since = o->since_us;
	const struct slot *s = waiting_slot(o);
	size_t missing;

	if (s && now - s->since_us >= limit)
		return error_of(e, o->model_owner, "did not send message %u of %u within %u ms",
				lane_awaits(s->lane, &missing) + 1, o->core->program->n_messages,
				o->options.step_ms);
	if (!o->head || !o->head->waiting_us || o->mill->busy)
		return 0;
	if (since < o->head->waiting_us)
		since = o->head->waiting_us;
	return now - since >= limit ? tickets_late(o, e) : 0;
}
