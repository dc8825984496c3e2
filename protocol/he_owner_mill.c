/* SPDX-License-Identifier: Apache-2.0 */
/* Tickets of the data owner: made one after another on a worker, kept in a pool, each used once. */
#include <stdlib.h>
#include <string.h>
#include "protocol/ends.h"
#include "protocol/he_parts.h"

static uint64_t now_us(const struct he_owner *o)
{
	return o->host->now_us(o->host->ctx);
}

static void forget(uint64_t *ticket, size_t words)
{
	if (ticket)
		secret_wipe(ticket, words * 8);
	free(ticket);
}

/* ---- memory ---- */

int he_mill_open(struct he_owner *o, uint64_t allowed, struct err *e)
{
	struct desk *d = o->desk;
	struct mill *m = &d->mill;
	uint64_t fit;

	o->ticket_words = he_ticket_words(d->hp);
	fit = o->options.pool_bytes / (o->ticket_words * 8 + 1);
	o->capacity = fit < allowed ? fit : allowed;
	if (o->capacity > HE_TICKETS_MAX)
		o->capacity = HE_TICKETS_MAX;
	if (!o->capacity)
		return error_of(e, o->model_owner, "allows no tickets, or there is no memory for one of %zu bytes (pool_memory)",
				o->ticket_words * 8);
	o->high = o->options.pool_high < o->capacity ? o->options.pool_high : o->capacity;
	o->low = o->options.pool_low < o->high ? o->options.pool_low : o->high;
	if (o->batch_max > o->capacity)
		o->batch_max = o->capacity;
	m->desk = d;
	m->request = malloc(FRAME_HEADER + he_ticket_request(d->hp) + 1);
	m->answer = malloc(he_ticket_answer(d->hp) + 1);
	o->pool = calloc(o->capacity, sizeof(*o->pool));
	d->tickets = calloc(o->batch_max + 1, sizeof(*d->tickets));
	if (!m->request || !m->answer || !o->pool || !d->tickets)
		return err_set(e, ERR_ENV, "out of memory for tickets of model %s", o->model);
	return he_lane_new(&m->lane, d->hp, d->pair->key, 0, e);
}

void he_mill_spend(struct desk *d)
{
	for (size_t i = 0; d->tickets && d->tickets[i]; i++) {
		forget(d->tickets[i], he_ticket_words(d->hp));
		d->tickets[i] = NULL;
	}
}

void he_mill_free(struct desk *d)
{
	struct mill *m = &d->mill;

	he_mill_spend(d);
	if (d->hp)
		forget(m->ticket, he_ticket_words(d->hp));
	free(d->tickets);
	free(m->request);
	free(m->answer);
	he_lane_free(m->lane);
}

void he_mill_close(struct he_owner *o)
{
	for (uint64_t t = o->next; o->pool && t < o->made; t++)
		forget(o->pool[t % o->capacity], o->ticket_words);
	free(o->pool);
	o->pool = NULL;
}

/* ---- the pool ---- */

void he_mill_take(struct he_owner *o, size_t n)
{
	for (size_t i = 0; i < n; i++, o->next++) {
		o->desk->tickets[i] = o->pool[o->next % o->capacity];
		o->pool[o->next % o->capacity] = NULL;
	}
	rate_add(&o->rate, now_us(o), n);
}

void he_owner_pool(const void *owner, struct pool_status *s)
{
	const struct he_owner *o = owner;
	uint64_t depth = o->made - o->next;

	*s = (struct pool_status){.depth = depth,
				  .high = o->high,
				  .bytes = depth * o->ticket_words * 8,
				  .made = o->made,
				  .burnt = o->next,
				  .due = o->refilling && depth < o->high ? o->high - depth : 0,
				  .burn_rate = rate_read(&o->rate, now_us(o))};
}

/* ---- making ---- */

static void run(struct job *job)
{
	struct mill *m = (struct mill *)job;
	const struct he_plan *hp = m->desk->hp;

	m->err = (struct err){0};
	if (m->answered)
		m->failed = he_ticket_take(m->lane, m->ticket, m->answer, he_ticket_answer(hp), &m->err);
	else
		m->failed = he_ticket_ask(m->lane, m->ticket, m->request + FRAME_HEADER, &m->err);
}

static void asked(struct he_owner *o)
{
	struct mill *m = &o->desk->mill;
	struct frame f = {.type = FRAME_HE_TICKET, .session = o->session, .lane = (uint32_t)o->made};

	send_step(o->model_owner, f, m->request + FRAME_HEADER, he_ticket_request(o->desk->hp), 0);
	o->model_owner->ops->flush(o->model_owner);
	m->got = 0;
	m->waiting = 1;
	m->since_us = now_us(o);
}

static void milled(struct he_owner *o)
{
	struct mill *m = &o->desk->mill;

	if (o->state != OWNER_READY)
		return;
	if (m->failed) {
		he_owner_broken(o, &m->err);
		return;
	}
	if (!m->answered) {
		asked(o);
		return;
	}
	o->pool[o->made++ % o->capacity] = m->ticket;
	m->ticket = NULL;
	m->answered = 0;
	he_owner_work(o);
}

static void done(struct job *job)
{
	struct mill *m = (struct mill *)job;
	struct desk *d = m->desk;

	m->busy = 0;
	if (d->owner)
		milled(d->owner);
	else if (!d->busy)
		he_desk_free(d);
}

static void submit(struct he_owner *o)
{
	struct mill *m = &o->desk->mill;

	m->job = (struct job){run, done, 0};
	m->busy = 1;
	o->host->submit(o->host->ctx, &m->job);
}

static uint64_t demand(const struct he_owner *o)
{
	uint64_t images = 0;

	for (const struct inference *i = o->head; i && images < o->capacity; i = i->next)
		images += i->batch - i->begun;
	return images < o->batch_max ? images : o->batch_max;
}

/* Tickets that run are still the model owner's to keep: they count as well. */
void he_mill_work(struct he_owner *o)
{
	struct mill *m = &o->desk->mill;
	uint64_t depth = o->made - o->next, running = o->running ? o->desk->batch : 0;
	struct err e = {0};

	o->refilling = depth < o->low || (o->refilling && depth < o->high);
	if (m->busy || m->waiting || m->answered || depth + running >= o->capacity || !(o->refilling || depth < demand(o)))
		return;
	m->ticket = malloc(o->ticket_words * 8);
	if (m->ticket) {
		submit(o);
		return;
	}
	err_set(&e, ERR_ENV, "out of memory for a ticket of model %s", o->model);
	he_owner_broken(o, &e);
}

int he_mill_frame(void *owner, const struct frame *f, struct err *e)
{
	struct he_owner *o = owner;
	struct mill *m = &o->desk->mill;
	size_t bytes = he_ticket_answer(o->desk->hp);
	int whole;

	if (!m->waiting || f->lane != (uint32_t)o->made)
		return error_of(e, o->model_owner, "answered the masks of ticket %u, which were not sent", f->lane);
	whole = piece_take(m->answer, &m->got, bytes, f);
	if (whole < 0)
		return error_of(e, o->model_owner, "answered masks with another size than %zu bytes", bytes);
	m->since_us = now_us(o);
	if (!whole)
		return 0;
	m->waiting = 0;
	m->answered = 1;
	submit(o);
	return 0;
}
