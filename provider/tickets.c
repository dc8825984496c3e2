/* SPDX-License-Identifier: Apache-2.0 */
/* Tickets are made in blocks, as jobs, for the sessions in turn: as many as both parties asked for, and no
 * more than their channels take. */
#include <stdlib.h>
#include <string.h>
#include "provider/parts.h"

#define JOBS_MOST 4			/* blocks under way at once, of all sessions */
#define BLOCK_BYTES ((uint64_t)8 << 20) /* memory of one block, unless one ticket takes more */
#define TAG_BYTES 16
#define HELD_US 250000			/* what rules count by the second is not asked for much more often */
#define LEAD (FRAME_HEADER + TAG_BYTES) /* before the corrections of a ticket */

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void tickets_run(struct job *job)
{
	struct pairing *x = (struct pairing *)job;

	dealer_make(x->dealer, x->next_ticket, x->n, x->corrections, x->tags);
}

static void put32(uint8_t *out, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		out[i] = (uint8_t)(v >> (8 * i));
}

/* Corrections to the model owner; tags, and how much was sent for each ticket, to the data owner. */
static void send_block(struct provider *p, struct pairing *x)
{
	struct channel *m = x->model_owner->channel, *d = x->data_owner->channel;
	uint64_t bytes = TAG_BYTES + x->mask->program->corrections;
	struct frame tags = {.type = FRAME_TAGS,
			     .session = x->data_owner->session,
			     .lane = (uint32_t)x->next_ticket,
			     .length = (uint32_t)(x->n * (TAG_BYTES + 4))};

	ticket_log(p->host, x->data_owner->token, x->next_ticket, x->n, "made");
	for (size_t t = 0; t < x->n; t++) {
		struct frame f = {.type = FRAME_CORRECTIONS,
				  .session = x->model_owner->session,
				  .lane = (uint32_t)(x->next_ticket + t)};
		uint64_t sent;

		memcpy(x->buffers[t] + FRAME_HEADER, x->tags[t], TAG_BYTES);
		sent = send_pieces(m, f, x->buffers[t] + FRAME_HEADER, bytes) - TAG_BYTES;
		memcpy(x->report + t * (TAG_BYTES + 4), x->tags[t], TAG_BYTES);
		put32(x->report + t * (TAG_BYTES + 4) + TAG_BYTES, (uint32_t)sent);
		p->bytes += sent;
	}
	m->ops->flush(m);
	tags.body = x->report;
	d->ops->send(d, &tags);
	d->ops->flush(d);
	x->next_ticket += x->n;
	p->made += x->n;
}

static void tickets_done(struct job *job)
{
	struct pairing *x = (struct pairing *)job;
	struct provider *p = x->provider;

	x->busy = 0;
	p->blocks--;
	if (x->over)
		pairing_destroy(x);
	else
		send_block(p, x);
	if (!p->gone)
		tickets_work(p);
	provider_job_done(p);
}

static int take_buffers(struct pairing *x, struct err *e)
{
	size_t stride = (LEAD + x->mask->program->corrections + 63) & ~(size_t)63;

	x->buffers = calloc(x->block, sizeof(*x->buffers));
	x->corrections = calloc(x->block, sizeof(*x->corrections));
	x->tags = calloc(x->block, sizeof(*x->tags));
	x->report = calloc(x->block, TAG_BYTES + 4);
	x->arena = secret_new(x->block * stride, NULL);
	if (!x->buffers || !x->corrections || !x->tags || !x->report || !x->arena)
		return err_set(e, ERR_ENV, "the provider is out of memory for tickets");
	for (size_t t = 0; t < x->block; t++) {
		x->buffers[t] = secret_take(x->arena, stride);
		if (!x->buffers[t])
			return err_set(e, ERR_ENV, "the provider is out of memory for tickets");
		x->corrections[t] = x->buffers[t] + LEAD;
	}
	return 0;
}

int tickets_prepare(struct pairing *x, const uint8_t *p0, const uint8_t *p1, struct err *e)
{
	const struct provider *p = x->provider;
	const struct program *program = x->mask->program;
	uint64_t ticket = program->corrections + 8 * (program->live + program->wide) + 1;
	struct secret *arena;
	uint8_t *own;
	int status;

	if (ticket > p->options.mask_bytes + p->options.queue_bytes ||
	    program->corrections > UINT32_MAX - LEAD)
		return err_set(e, ERR_PEER,
			       "one ticket of this plan takes %llu bytes, more than the provider allows",
			       (unsigned long long)ticket);
	x->job = (struct job){tickets_run, tickets_done, 0};
	x->block = least(p->options.block, BLOCK_BYTES / ticket);
	x->block += !x->block;
	if (take_buffers(x, e) < 0)
		return -1;
	arena = secret_new(PRG_SEED_BYTES, NULL);
	if (!arena)
		return err_set(e, ERR_ENV, "the provider is out of memory");
	own = secret_take(arena, PRG_SEED_BYTES);
	prg_seed(own);
	status = dealer_new(&x->dealer, program, x->mask->layers, p0, p1, own, x->block, e);
	secret_free(arena);
	return status;
}

/* The rules give fewer than the n that are wanted, or none: then the data owner is told why, once. */
static int allowed(const struct provider *p, struct pairing *x)
{
	const struct rules *rules = p->options.rules;
	struct use use = use_of(x->data_owner, x->model_owner);
	struct err why = {0};

	use.first = x->next_ticket;
	use.n = (uint32_t)x->n;
	if (rules)
		x->n = rules->take(rules->ctx, &use, &why);
	if (!x->n && !x->held)
		held_send(x->data_owner->channel, x->data_owner->session, &why);
	x->held = !x->n;
	x->held_round = x->held ? p->round : 0;
	x->held_us = provider_now(p);
	return !x->held;
}

/* Tickets are asked for, and none are being made. */
static int is_wanting(const struct pairing *x)
{
	return x->live && !x->busy && x->next_ticket < least(x->model_owner->credit, x->data_owner->credit);
}

static int eligible(const struct provider *p, const struct pairing *x)
{
	const struct channel *m, *d;

	if (!is_wanting(x) || x->held_round == p->round)
		return 0;
	m = x->model_owner->channel;
	d = x->data_owner->channel;
	return m->ops->queued(m) < p->options.queue_bytes && d->ops->queued(d) < p->options.queue_bytes;
}

uint64_t tickets_due(const struct provider *p)
{
	uint64_t due = UINT64_MAX;

	for (const struct pairing *x = p->pairings; x; x = x->next)
		if (is_wanting(x))
			due = least(due, x->held ? x->held_us + HELD_US : 0);
	return due;
}

/* The next session whose turn it is, moved behind all others. */
static struct pairing *next_turn(struct provider *p)
{
	struct pairing **at = &p->pairings, *x;

	while (*at && !eligible(p, *at))
		at = &(*at)->next;
	x = *at;
	if (!x)
		return NULL;
	*at = x->next;
	x->next = NULL;
	for (at = &p->pairings; *at; at = &(*at)->next)
		;
	*at = x;
	return x;
}

void tickets_work(struct provider *p)
{
	struct pairing *x;

	if (p->producing) /* a host that runs jobs at once: the loop below goes on */
		return;
	p->producing = 1;
	p->round++;
	while (p->blocks < JOBS_MOST && (x = next_turn(p))) {
		x->n = least(x->block, least(x->model_owner->credit, x->data_owner->credit) - x->next_ticket);
		if (!allowed(p, x))
			continue;
		x->busy = 1;
		p->blocks++;
		provider_submit(p, &x->job);
	}
	p->producing = 0;
}
