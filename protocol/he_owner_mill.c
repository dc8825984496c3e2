/* SPDX-License-Identifier: Apache-2.0 */
/* Tickets of the data owner: made one after another on a worker, kept in a pool, each used once. */
#include <stdlib.h>
#include <string.h>
#include "protocol/he_parts.h"

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
	fit = o->duo.options.pool_bytes / (o->ticket_words * 8 + 1);
	o->capacity = fit < allowed ? fit : allowed;
	if (o->capacity > HE_TICKETS_MAX)
		o->capacity = HE_TICKETS_MAX;
	if (!o->capacity)
		return error_of(e, o->duo.model_owner,
				"allows no tickets, or there is no memory for one of %zu bytes (pool_memory)",
				o->ticket_words * 8);
	o->high = o->duo.options.pool_high < o->capacity ? o->duo.options.pool_high : o->capacity;
	o->low = o->duo.options.pool_low < o->high ? o->duo.options.pool_low : o->high;
	if (o->duo.batch_max > o->capacity)
		o->duo.batch_max = o->capacity;
	m->desk = d;
	m->request = malloc(FRAME_HEADER + he_ticket_request(d->hp) + 1);
	m->answer = malloc(he_ticket_answer(d->hp) + 1);
	o->pool = calloc(o->capacity, sizeof(*o->pool));
	d->tickets = calloc(o->duo.batch_max + 1, sizeof(*d->tickets));
	if (!m->request || !m->answer || !o->pool || !d->tickets)
		return err_set(e, ERR_ENV, "out of memory for tickets of model %s", o->duo.model);
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
	rate_add(&o->rate, duo_owner_now(&o->duo), n);
}

void he_owner_pool(const struct duo_owner *owner, struct pool_status *s)
{
	const struct he_owner *o = (const struct he_owner *)owner;
	uint64_t depth = o->made - o->next;

	*s = (struct pool_status){.depth = depth,
				  .high = o->high,
				  .bytes = depth * o->ticket_words * 8,
				  .made = o->made,
				  .burnt = o->next,
				  .due = o->refilling && depth < o->high ? o->high - depth : 0,
				  .burn_rate = rate_read(&o->rate, duo_owner_now(&o->duo))};
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
	struct frame f = {.type = FRAME_HE_TICKET, .session = o->duo.session, .lane = (uint32_t)o->made};

	send_step(o->duo.model_owner, f, m->request + FRAME_HEADER, he_ticket_request(o->desk->hp), 0);
	o->duo.model_owner->ops->flush(o->duo.model_owner);
	m->got = 0;
	m->waiting = 1;
	m->since_us = duo_owner_now(&o->duo);
}

static void milled(struct he_owner *o)
{
	struct mill *m = &o->desk->mill;

	if (o->duo.state != OWNER_READY)
		return;
	if (m->failed) {
		duo_owner_fail(&o->duo, &m->err, NULL, NULL);
		return;
	}
	if (!m->answered) {
		asked(o);
		return;
	}
	o->pool[o->made++ % o->capacity] = m->ticket;
	m->ticket = NULL;
	m->answered = 0;
	he_owner_work(&o->duo);
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
	o->duo.host->submit(o->duo.host->ctx, &m->job);
}

static uint64_t demand(const struct he_owner *o)
{
	uint64_t images = 0;

	for (const struct inference *i = o->duo.head; i && images < o->capacity; i = i->next)
		images += i->batch - i->begun;
	return images < o->duo.batch_max ? images : o->duo.batch_max;
}

/* Tickets that run are still the model owner's to keep: they count as well. */
void he_mill_work(struct he_owner *o)
{
	struct mill *m = &o->desk->mill;
	uint64_t depth = o->made - o->next, running = o->duo.part;
	struct err e = {0};

	o->refilling = depth < o->low || (o->refilling && depth < o->high);
	if (m->busy || m->waiting || m->answered || depth + running >= o->capacity ||
	    !(o->refilling || depth < demand(o)))
		return;
	m->ticket = malloc(o->ticket_words * 8);
	if (m->ticket) {
		submit(o);
		return;
	}
	err_set(&e, ERR_ENV, "out of memory for a ticket of model %s", o->duo.model);
	duo_owner_fail(&o->duo, &e, NULL, NULL);
}

int he_mill_frame(void *owner, const struct frame *f, struct err *e)
{
	struct he_owner *o = owner;
	struct mill *m = &o->desk->mill;
	size_t bytes = he_ticket_answer(o->desk->hp);
	int whole;

	if (!m->waiting || f->lane != (uint32_t)o->made)
		return error_of(e, o->duo.model_owner, "answered the masks of ticket %u, which were not sent",
				f->lane);
	whole = piece_take(m->answer, &m->got, bytes, f);
	if (whole < 0)
		return error_of(e, o->duo.model_owner, "answered masks with another size than %zu bytes",
				bytes);
	m->since_us = duo_owner_now(&o->duo);
	if (!whole)
		return 0;
	m->waiting = 0;
	m->answered = 1;
	submit(o);
	return 0;
}
