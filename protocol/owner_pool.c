/* SPDX-License-Identifier: Apache-2.0 */
/* The data owner's tickets. Numbers rise by one; next <= ready <= delta <= made <= credit:
 *   [next, ready) complete at both parties; [ready, delta) δ sent; [delta, made) made by the provider; [made,
 * credit) asked for. */
#include <stdlib.h>
#include <string.h>
#include "protocol/duo.h"
#include "protocol/owner.h"

#define TICKETS_END UINT64_C(0xffffffff) /* a ticket's number is a frame's lane */
#define TAG_BYTES 20			 /* tag, u32 bytes of corrections */
#define LATE 16				 /* after about so many smaller batches a large one is forgotten */
#define QUEUE_BYTES                                                                                          \
	((size_t)256 << 10) /* δ waits while more than this has not left: a step may come behind it */

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

struct ahead_ticket *pool_ticket(struct owner *o, uint64_t number)
{
	return &o->ring[number & (o->ring_size - 1)];
}

int pool_init(struct owner *o, struct err *e)
{
	uint64_t fit = o->options.pool_bytes / o->ticket_bytes; /* >= batch_max, see fit_memory */

	stock_init(&o->core->stock, 8 * o->core->program->ahead);
	o->pool_fit = fit;
	o->pool_high = least(o->options.pool_high, fit);
	o->pool_low = least(o->options.pool_low ? o->options.pool_low : 1, o->pool_high);
	o->ring_size = 16;
	o->ring = calloc(o->ring_size, sizeof(*o->ring));
	return o->ring ? 0 : err_set(e, ERR_ENV, "out of memory for tickets");
}

/* Room for tickets [next, end). */
static int ring_reserve(struct owner *o, uint64_t end, struct err *e)
{
	uint64_t size = o->ring_size;
	struct ahead_ticket *ring;

	while (size < end - o->next)
		size *= 2;
	if (size == o->ring_size)
		return 0;
	ring = calloc(size, sizeof(*ring));
	if (!ring)
		return err_set(e, ERR_ENV, "out of memory for tickets");
	for (uint64_t t = o->next; t < o->made; t++)
		ring[t & (size - 1)] = *pool_ticket(o, t);
	secret_wipe(o->ring, o->ring_size * sizeof(*o->ring));
	free(o->ring);
	o->ring = ring;
	o->ring_size = size;
	return 0;
}

static int raise_credit(struct owner *o, uint64_t to, struct err *e)
{
	struct frame f = {.type = FRAME_CREDIT, .session = o->session};

	if (to > TICKETS_END)
		return err_set(e, ERR_PEER,
			       "all ticket numbers of the session are used: it must be opened again");
	if (ring_reserve(o, to, e) < 0)
		return -1;
	if (o->made == o->credit)
		o->since_us = o->host->now_us(o->host->ctx);
	o->credit = to;
	f.lane = (uint32_t)to;
	o->provider->ops->send(o->provider, &f);
	o->provider->ops->flush(o->provider);
	return 0;
}

/* Watermarks that suit the batches of late: the next one finds its tickets while those of the one after it
 * are made. */
static uint64_t low_mark(const struct owner *o)
{
	uint64_t low = o->pool_low > o->late_batch ? o->pool_low : o->late_batch;

	return o->pool_high ? least(low, o->pool_fit) : 0;
}

static uint64_t high_mark(const struct owner *o)
{
	uint64_t high = o->pool_high > 2 * o->late_batch ? o->pool_high : 2 * o->late_batch;

	return o->pool_high ? least(high, o->pool_fit) : 0;
}

/* Offline yields to online: while an inference is under way, tickets are made only if they are short. */
int pool_work(struct owner *o, struct err *e)
{
	uint64_t demand = infer_demand(o, o->pool_fit), low = low_mark(o);
	int may = !infer_active(o) || o->ready - o->next < (demand > low ? demand : low);
	uint64_t want = o->next + demand;

	if (may && o->credit - o->next < low && want < o->next + high_mark(o))
		want = o->next + high_mark(o);
	if (want > o->credit && raise_credit(o, want, e) < 0)
		return -1;
	if (may && o->made > o->delta && !o->mill->busy &&
	    o->model_owner->ops->queued(o->model_owner) < QUEUE_BYTES)
		mill_make(o, o->made - o->delta);
	return 0;
}

int pool_tags(void *owner, const struct frame *f, struct err *e)
{
	struct owner *o = owner;
	size_t n = f->length / TAG_BYTES;

	if (!n || f->length % TAG_BYTES)
		return error_of(e, o->provider, "sent TAGS of %u bytes", f->length);
	if (f->lane != o->made || n > o->credit - o->made)
		return error_of(
		    e, o->provider,
		    "sent tags of %zu tickets from %u on where %llu was due and %llu were asked for", n,
		    f->lane, (unsigned long long)o->made, (unsigned long long)o->credit);
	for (size_t i = 0; i < n; i++) {
		struct ahead_ticket *t = pool_ticket(o, o->made);
		const uint8_t *in = f->body + i * TAG_BYTES;

		t->kept = stock_take(&o->core->stock);
		if (!t->kept)
			return err_set(e, ERR_ENV, "out of memory for tickets");
		memcpy(t->tag, in, 16);
		t->corrections =
		    in[16] | (uint32_t)in[17] << 8 | (uint32_t)in[18] << 16 | (uint32_t)in[19] << 24;
		t->delta = 0;
		o->made++;
	}
	o->since_us = o->host->now_us(o->host->ctx);
	o->held = (struct err){0};
	return 0;
}

/* Whoever waits for tickets need not wait any longer; those that are there, and those that come later, are
 * used. */
int pool_held(void *owner, const struct frame *f, struct err *e)
{
	struct owner *o = owner;

	o->held = (struct err){0};
	error_read(&o->held, o->provider, f);
	return 0;
}

void pool_complete(struct owner *o)
{
	o->ready = least(o->said, o->delta);
}

int pool_ready(void *owner, const struct frame *f, struct err *e)
{
	struct owner *o = owner;
	/* Without hidden layers there is no δ: the model owner may know of a ticket before we do. */
	uint64_t most = o->core->program->delta ? o->delta : o->credit;

	if (f->lane <= o->said || f->lane > most)
		return error_of(e, o->model_owner,
				"says that tickets below %u are complete; %llu were, %llu can be", f->lane,
				(unsigned long long)o->said, (unsigned long long)most);
	o->said = f->lane;
	pool_complete(o);
	o->since_us = o->host->now_us(o->host->ctx);
	return 0;
}

void pool_burn(struct owner *o, size_t n)
{
	rate_add(&o->rate, o->host->now_us(o->host->ctx), n);
	o->late_batch -= (o->late_batch + LATE - 1) / LATE;
	if (o->late_batch < n && n > 1)
		o->late_batch = n;
	for (size_t i = 0; i < n; i++)
		secret_wipe(pool_ticket(o, o->next + i), sizeof(struct ahead_ticket));
	o->next += n;
}

void owner_pool(const struct owner *o, struct pool_status *s)
{
	if (o->duo) {
		duo_owner_pool(o->duo, s);
		return;
	}
	*s = (struct pool_status){.depth = o->ready - o->next,
				  .high = high_mark(o),
				  .bytes = (o->made - o->next) * o->ticket_bytes,
				  .made = o->made,
				  .burnt = o->next,
				  .due = o->credit - o->ready,
				  .burn_rate = rate_read(&o->rate, o->host->now_us(o->host->ctx))};
}

void pool_free(struct owner *o)
{
	/* The pieces themselves belong to the stock, which a job may still read. */
	if (o->ring)
		secret_wipe(o->ring, o->ring_size * sizeof(*o->ring));
	free(o->ring);
	o->ring = NULL;
}
