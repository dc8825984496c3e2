/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/slot.h"

#include <stdlib.h>
#include <string.h>

static void slot_destroy(struct slot *s)
{
	if (s->lane)
		lane_free(s->lane);
	for (size_t i = 0; i < s->batch; i++)
		stock_give(&s->core->stock, s->pieces[i]);
	prg_free(s->prg);
	core_unref(s->core);
	free(s->tickets);
	free(s->pieces);
	free(s);
}

static void job_run(struct job *job)
{
	struct slot *s = (struct slot *)job;

	s->result = engine_run(s->lane);
}

static void job_done(struct job *job)
{
	struct slot *s = (struct slot *)job;

	if (!s->session) {
		slot_destroy(s);
		return;
	}
	s->state = SLOT_WAIT;
	s->ran(s);
}

struct slot *slot_new(void *session, void (*ran)(struct slot *), const struct host *host, struct core *core,
		      const struct prg *prg, enum party party, struct err *e)
{
	struct slot *s = calloc(1, sizeof(*s));

	if (!s || !(s->prg = prg_clone(prg, e))) {
		free(s);
		err_set(e, ERR_ENV, "out of memory for an inference");
		return NULL;
	}
	s->job = (struct job){job_run, job_done, 1};
	s->session = session;
	s->ran = ran;
	s->host = host;
	s->core = core;
	core->refs++;
	s->party = party;
	return s;
}

int slot_prepare(struct slot *s, size_t batch, size_t most, struct err *e)
{
	size_t room = 1;

	if (s->lane && s->room >= batch)
		return 0;
	while (room < batch)
		room *= 2;
	if (room > most)
		room = most > batch ? most : batch;
	if (s->lane)
		lane_free(s->lane);
	s->lane = NULL;
	free(s->tickets);
	free(s->pieces);
	s->tickets = calloc(room, sizeof(*s->tickets));
	s->pieces = calloc(room, sizeof(*s->pieces));
	s->room = 0;
	if (!s->tickets || !s->pieces)
		return err_set(e, ERR_ENV, "out of memory for an inference");
	if (lane_new(&s->lane, s->core->program, s->party, s->core->layers, room, e) < 0) {
		s->lane = NULL;
		return err_context(e, "inference of %zu images", batch);
	}
	s->room = room;
	return 0;
}

void slot_begin(struct slot *s, uint32_t first, size_t batch, const uint8_t *pixels)
{
	s->first = first;
	s->batch = batch;
	s->messages = 0;
	s->sent = s->received = 0;
	s->since_us = s->host->now_us(s->host->ctx);
	s->state = SLOT_WAIT;
	lane_begin(s->lane, s->prg, s->tickets, batch, pixels);
}

static int is_inline(const struct slot *s)
{
	return s->core->work * s->batch <= s->inline_work;
}

void slot_run(struct slot *s)
{
	s->state = SLOT_BUSY;
	lane_in_parts(s->lane, is_inline(s));
	if (!is_inline(s)) {
		s->host->submit(s->host->ctx, &s->job);
		return;
	}
	for (job_run(&s->job); s->result == ENGINE_PART; job_run(&s->job))
		slot_send(s);
	job_done(&s->job);
}

int slot_receive(struct slot *s, const struct channel *from, const struct frame *f, struct err *e)
{
	uint32_t total = s->core->program->n_messages, awaited;
	size_t missing;

	if (s->state != SLOT_WAIT)
		return error_of(e, from, "sent message %u of ticket %u before it was its turn",
				f->sequence + 1, f->lane);
	awaited = lane_awaits(s->lane, &missing);
	if (f->sequence != awaited)
		return error_of(e, from, "sent message %u of %u where message %u was due", f->sequence + 1,
				total, awaited + 1);
	if (f->length > missing || (f->length == 0 && missing))
		return error_of(e, from, "sent %u bytes of message %u of %u where %zu were missing",
				f->length, awaited + 1, total, missing);
	if (!(f->flags & FRAME_MORE) != (f->length == missing))
		return error_of(e, from, "marked the end of message %u of %u wrongly", awaited + 1, total);
	if (lane_receive(s->lane, f->body, f->length, e) < 0)
		return -1;
	s->since_us = s->host->now_us(s->host->ctx);
	s->received += f->length;
	if (f->flags & FRAME_MORE)
		return is_inline(s);
	s->messages++;
	return 1;
}

void slot_send(struct slot *s)
{
	struct frame f = {.type = FRAME_STEP, .session = s->number, .lane = s->first};
	uint32_t step = 0;
	size_t bytes = 0;
	uint8_t *body = lane_message(s->lane, &bytes, &step);

	if (!bytes)
		return;
	f.sequence = step;
	send_step(s->to, f, body, bytes, lane_continues(s->lane));
	s->sent += bytes;
	s->to->ops->flush(s->to);
	lane_sent(s->lane);
	s->since_us = s->host->now_us(s->host->ctx);
}

void slot_clear(struct slot *s)
{
	if (s->lane)
		lane_reset(s->lane);
	for (size_t i = 0; i < s->batch; i++) {
		stock_give(&s->core->stock, s->pieces[i]);
		s->pieces[i] = NULL;
	}
	s->batch = 0;
	s->aborted = 0;
	s->of = NULL;
	s->delta = s->provider = 0;
	s->state = SLOT_FREE;
}

void slot_drop(struct slot *s)
{
	if (!s)
		return;
	s->session = NULL;
	if (s->state != SLOT_BUSY)
		slot_destroy(s);
}
