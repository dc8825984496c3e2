/* SPDX-License-Identifier: Apache-2.0 */
/* The model owner answers inferences. A ticket is burnt at BEGIN, before anything is answered; no step is
 * answered twice. */
#include <stdio.h>
#include <string.h>
#include "protocol/ends.h"
#include "protocol/modeller.h"

static struct slot *lane_of(struct modeller *m, uint32_t lane)
{
	for (size_t i = 0; i < MODELLER_LANES; i++)
		if (m->slots[i] && m->slots[i]->state != SLOT_FREE && m->slots[i]->first == lane)
			return m->slots[i];
	return NULL;
}

/* The lane's tickets are gone: there is memory for others. */
static int finish(struct modeller *m, struct slot *s, struct err *e)
{
	m->answered += s->batch;
	slot_clear(s);
	return modeller_credit(m, e);
}

static void answer_ran(struct slot *s)
{
	struct modeller *m = s->session;
	struct err why = {0};

	if (m->state == MODELLER_OVER) {
		slot_clear(s);
		return;
	}
	if (!s->aborted)
		slot_send(s);
	if ((s->result == ENGINE_DONE || s->aborted) && finish(m, s, &why) < 0)
		modeller_fail(m, &why, NULL, NULL);
}

static struct slot *free_slot(struct modeller *m, struct err *e)
{
	for (size_t i = 0; i < m->options.lanes; i++) {
		if (!m->slots[i]) {
			m->slots[i] = slot_new(m, answer_ran, m->host, m->core, m->prg, P1, e);
			if (m->slots[i]) {
				m->slots[i]->inline_work = m->options.inline_work;
				m->slots[i]->to = m->data_owner;
				m->slots[i]->number = m->session;
			}
			return m->slots[i];
		}
		if (m->slots[i]->state == SLOT_FREE)
			return m->slots[i];
	}
	error_of(e, m->data_owner, "began more than %u inferences at once", m->options.lanes);
	return NULL;
}

/* PROTOCOL.md §7: epoch, number and tags are as expected, or the randomness of both sides would not fit. */
static int check_begin(struct modeller *m, const struct frame *f, uint32_t n, struct err *e)
{
	if (!same_bytes(f->body, m->served->epoch, 16))
		return error_of(e, m->data_owner, "began an inference of another epoch");
	if (!n || n > m->batch_max || f->length != 20 + 16 * n)
		return error_of(e, m->data_owner,
				"began an inference of %u images (%u bytes), at most %zu are allowed", n,
				f->length, m->batch_max);
	if (f->lane != m->next)
		return error_of(e, m->data_owner, "began an inference on ticket %u where ticket %llu is next",
				f->lane, (unsigned long long)m->next);
	if (n > m->ready - m->next)
		return error_of(e, m->data_owner,
				"began an inference on tickets up to %u; those below %llu are complete",
				f->lane + n - 1, (unsigned long long)m->ready);
	for (uint32_t t = 0; t < n; t++)
		if (!same_bytes(f->body + 20 + 16 * t, stock_ticket(m, m->next + t)->tag, 16))
			return error_of(e, m->data_owner,
					"has another tag for ticket %llu: its randomness is not ours",
					(unsigned long long)(m->next + t));
	return 0;
}

/* No memory for this lane, or it is refused: its tickets are burnt all the same, the session goes on. */
static int abort_lane(struct modeller *m, struct slot *s, uint32_t first, uint32_t n, const struct err *why)
{
	for (uint32_t t = 0; t < n; t++) {
		struct half_ticket *ticket = stock_ticket(m, first + t);

		stock_give(&m->core->stock, ticket->piece);
		secret_wipe(ticket, sizeof(*ticket));
	}
	ticket_log(m->host, m->token, first, n, "burnt");
	m->next += n;
	m->answered += n;
	s->first = first;
	s->since_us = m->host->now_us(m->host->ctx);
	s->state = SLOT_SWALLOW;
	abort_send(m->data_owner, m->session, first, why);
	return 0;
}

static void take_tickets(struct modeller *m, struct slot *s, uint32_t n)
{
	size_t delta = (m->core->program->corrections + 63) & ~(size_t)63;

	for (uint32_t t = 0; t < n; t++) {
		struct half_ticket *ticket = stock_ticket(m, m->next + t);

		s->tickets[t] = (struct ticket){
		    .number = m->next + t, .corrections = ticket->piece, .delta = ticket->piece + delta};
		s->pieces[t] = ticket->piece;
		secret_wipe(ticket, sizeof(*ticket));
	}
	ticket_log(m->host, m->token, m->next, n, "burnt");
	m->next += n;
	rate_add(&m->rate, m->host->now_us(m->host->ctx), n);
}

int answer_begin(void *modeller, const struct frame *f, struct err *e)
{
	struct modeller *m = modeller;
	struct err why = {0};
	struct slot *s;
	uint32_t n;

	if (f->length < BEGIN_BYTES)
		return error_of(e, m->data_owner, "sent a BEGIN of %u bytes", f->length);
	n = begin_images(f->body);
	if (check_begin(m, f, n, e) < 0)
		return -1;
	s = free_slot(m, e);
	if (!s)
		return -1;
	if (slot_prepare(s, n, m->batch_max, &why) < 0 ||
	    !use_allowed(&m->options, m->served, m->data_owner, m->token, m->next, n, &why))
		return abort_lane(m, s, f->lane, n, &why);
	take_tickets(m, s, n);
	slot_begin(s, f->lane, n, NULL);
	/* Nothing can be computed before the first message; the engine only learns what it waits for. */
	s->result = engine_run(s->lane);
	slot_send(s);
	return 0;
}

int answer_step(void *modeller, const struct frame *f, struct err *e)
{
	struct modeller *m = modeller;
	struct slot *s = lane_of(m, f->lane);
	int whole;

	if (!s)
		return error_of(e, m->data_owner, "sent message %u of ticket %u, which is not under way",
				f->sequence + 1, f->lane);
	if (s->state == SLOT_SWALLOW) {
		if (!(f->flags & FRAME_MORE))
			slot_clear(s);
		return modeller_credit(m, e);
	}
	whole = slot_receive(s, m->data_owner, f, e);
	if (whole > 0)
		slot_run(s);
	return whole < 0 ? -1 : 0;
}

int answer_abort(void *modeller, const struct frame *f, struct err *e)
{
	struct modeller *m = modeller;
	struct slot *s = lane_of(m, f->lane);

	if (!s || s->state == SLOT_SWALLOW)
		return error_of(e, m->data_owner, "aborted ticket %u, which is not under way", f->lane);
	if (s->state == SLOT_WAIT)
		return finish(m, s, e);
	s->aborted = 1;
	return 0;
}

static const struct slot *waiting_slot(const struct modeller *m)
{
	const struct slot *oldest = NULL;

	for (size_t i = 0; i < MODELLER_LANES; i++) {
		const struct slot *s = m->slots[i];

		if (s && (s->state == SLOT_WAIT || s->state == SLOT_SWALLOW) &&
		    (!oldest || s->since_us < oldest->since_us))
			oldest = s;
	}
	return oldest;
}

static uint32_t awaited(const struct slot *s)
{
	size_t missing;

	return s->state == SLOT_WAIT ? lane_awaits(s->lane, &missing) : 0;
}

void answer_waiting(const struct modeller *m, char *text, size_t bytes)
{
	const struct slot *s = waiting_slot(m);

	if (s)
		snprintf(text, bytes, "while we waited for message %u of %u", awaited(s) + 1,
			 m->core->program->n_messages);
}

int answer_rests(const struct modeller *m)
{
	return !waiting_slot(m);
}

int answer_deadlines(struct modeller *m, struct err *e)
{
	uint64_t now = m->host->now_us(m->host->ctx);
	const struct slot *s = waiting_slot(m);

	if (!s || now - s->since_us < (uint64_t)m->options.step_ms * 1000)
		return 0;
	return error_of(e, m->data_owner, "did not send message %u of %u within %u ms", awaited(s) + 1,
			m->core->program->n_messages, m->options.step_ms);
}
