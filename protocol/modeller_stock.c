/* SPDX-License-Identifier: Apache-2.0 */
/* The model owner's tickets: corrections from the provider and δ from the data owner arrive in order of
 * numbers, each on its own channel; a ticket is ready when both are whole. */
#include <stdlib.h>
#include <string.h>
#include "protocol/modeller.h"

static size_t delta_offset(const struct modeller *m)
{
	return (m->core->program->corrections + 63) & ~(size_t)63;
}

struct half_ticket *stock_ticket(struct modeller *m, uint64_t number)
{
	return &m->ring[number & (m->ring_size - 1)];
}

int stock_prepare(struct modeller *m, struct err *e)
{
	stock_init(&m->core->stock, delta_offset(m) + m->core->program->delta);
	for (m->ring_size = 16; m->ring_size < m->capacity;)
		m->ring_size *= 2;
	m->ring = calloc(m->ring_size, sizeof(*m->ring));
	return m->ring ? 0 : err_set(e, ERR_ENV, "out of memory for tickets");
}

/* The next piece of a stream of `total` bytes a ticket has the right number and length. */
static int check_piece(const struct modeller *m, const struct stream *s, const struct channel *from,
		       const struct frame *f, uint64_t total, struct err *e)
{
	if (f->lane != s->ticket || f->sequence != s->piece)
		return error_of(e, from, "sent %s of ticket %u, piece %u where ticket %llu, piece %u was due",
				frame_name(f->type), f->lane, f->sequence, (unsigned long long)s->ticket,
				s->piece);
	if (s->ticket >= m->credit)
		return error_of(e, from, "sent %s of ticket %u, which nobody asked for", frame_name(f->type),
				f->lane);
	if (f->length > total - s->bytes || !f->length)
		return error_of(e, from, "sent %u bytes of %s where %llu were missing", f->length,
				frame_name(f->type), (unsigned long long)(total - s->bytes));
	return 0;
}

static struct half_ticket *half(struct modeller *m, uint64_t number, struct err *e)
{
	struct half_ticket *t = stock_ticket(m, number);

	if (!t->piece)
		t->piece = stock_take(&m->core->stock);
	if (t->piece)
		return t;
	err_set(e, ERR_ENV, "out of memory for tickets");
	return NULL;
}

/* Counts a piece; after the last one the data owner is told how far both streams have come. */
static void advance(struct modeller *m, struct stream *s, uint32_t length, uint64_t total)
{
	struct frame f = {.type = FRAME_READY, .session = m->session};
	uint64_t ready;

	s->bytes += length;
	s->piece++;
	if (s->bytes < total)
		return;
	*s = (struct stream){.ticket = s->ticket + 1};
	ready = m->corrections.ticket;
	if (m->core->program->delta && m->delta.ticket < ready)
		ready = m->delta.ticket;
	if (ready == m->ready)
		return;
	m->ready = ready;
	f.lane = (uint32_t)ready;
	m->data_owner->ops->send(m->data_owner, &f);
	m->data_owner->ops->flush(m->data_owner);
}

/* The stream of one ticket is its tag, then its corrections. */
int stock_corrections(void *modeller, const struct frame *f, struct err *e)
{
	struct modeller *m = modeller;
	struct stream *s = &m->corrections;
	uint64_t total = 16 + m->core->program->corrections;
	struct half_ticket *t;

	if (check_piece(m, s, m->provider, f, total, e) < 0)
		return -1;
	if (!s->piece && f->length < 16)
		return error_of(e, m->provider, "sent corrections of ticket %u without a tag", f->lane);
	t = half(m, s->ticket, e);
	if (!t)
		return -1;
	if (s->piece) {
		memcpy(t->piece + s->bytes - 16, f->body, f->length);
	} else {
		memcpy(t->tag, f->body, 16);
		memcpy(t->piece, f->body + 16, f->length - 16);
	}
	advance(m, s, f->length, total);
	return 0;
}

int stock_delta(void *modeller, const struct frame *f, struct err *e)
{
	struct modeller *m = modeller;
	struct stream *s = &m->delta;
	uint64_t total = m->core->program->delta;
	struct half_ticket *t;

	if (check_piece(m, s, m->data_owner, f, total, e) < 0)
		return -1;
	t = half(m, s->ticket, e);
	if (!t)
		return -1;
	memcpy(t->piece + delta_offset(m) + s->bytes, f->body, f->length);
	advance(m, s, f->length, total);
	return 0;
}
