/* SPDX-License-Identifier: Apache-2.0 */
/* The offline work of a data owner: F is unpacked once, then δ = F·a + e0 is made in blocks of tickets, as
 * jobs. */
#include <stdlib.h>
#include <string.h>
#include "protocol/owner.h"

#define BLOCK_BYTES ((uint64_t)8 << 20)
#define BLOCK_MOST 16

static void mill_destroy(struct mill *m)
{
	if (m->aheads)
		aheads_free(m->aheads);
	secret_free(m->arena);
	free(m->delta);
	free(m->kept);
	free(m->weights);
	core_unref(m->core);
	free(m);
}

static void mill_run(struct job *job)
{
	struct mill *m = (struct mill *)job;

	if (m->unmasking)
		m->failed = program_unmask(&m->core->layers, m->core->program, m->weights, &m->err) < 0;
	else
		aheads_make(m->aheads, m->first, m->n, m->delta, m->kept);
}

/* δ of the block leaves. */
static void send_delta(struct owner *o)
{
	const struct mill *m = o->mill;
	uint64_t bytes = o->core->program->delta;

	for (size_t t = 0; t < m->n; t++) {
		struct frame f = {
		    .type = FRAME_DELTA, .session = o->session, .lane = (uint32_t)(m->first + t)};

		if (bytes)
			pool_ticket(o, m->first + t)->delta =
			    send_pieces(o->model_owner, f, m->delta[t], bytes);
	}
	o->model_owner->ops->flush(o->model_owner);
	o->delta = m->first + m->n;
	pool_complete(o);
}

static int milled(struct owner *o, struct err *e)
{
	struct mill *m = o->mill;

	if (!m->unmasking) {
		send_delta(o);
		return owner_work(o, e);
	}
	m->unmasking = 0;
	free(m->weights);
	m->weights = NULL;
	if (m->failed) {
		*e = m->err;
		return -1;
	}
	return owner_unmasked(o, e) < 0 ? -1 : owner_work(o, e);
}

static void mill_done(struct job *job)
{
	struct mill *m = (struct mill *)job;
	struct owner *o = m->owner;
	struct err why = {0};

	m->busy = 0;
	if (!o)
		mill_destroy(m);
	else if (o->state != OWNER_FAILED && milled(o, &why) < 0)
		owner_fail(o, &why, NULL, NULL);
}

struct mill *mill_new(struct owner *o, struct err *e)
{
	struct mill *m = calloc(1, sizeof(*m));

	if (!m) {
		err_set(e, ERR_ENV, "out of memory for a session");
		return NULL;
	}
	m->job = (struct job){mill_run, mill_done, 0};
	m->owner = o;
	m->core = o->core;
	m->core->refs++;
	return m;
}

static void mill_submit(struct mill *m)
{
	m->busy = 1;
	m->owner->host->submit(m->owner->host->ctx, &m->job);
}

void mill_unmask(struct mill *m)
{
	m->unmasking = 1;
	mill_submit(m);
}

int mill_prepare(struct mill *m, const uint8_t *seed, struct err *e)
{
	const struct program *p = m->core->program;
	uint64_t ticket = p->delta + 8 * (p->ahead + p->live) + 1;
	size_t stride = (FRAME_HEADER + p->delta + 63) & ~(size_t)63;

	m->block = BLOCK_BYTES / ticket;
	m->block = m->block < 1 ? 1 : m->block > BLOCK_MOST ? BLOCK_MOST : m->block;
	m->delta = calloc(m->block, sizeof(*m->delta));
	m->kept = calloc(m->block, sizeof(*m->kept));
	m->arena = secret_new(m->block * stride, NULL);
	if (!m->delta || !m->kept || !m->arena)
		return err_set(e, ERR_ENV, "out of memory for tickets");
	for (size_t t = 0; t < m->block; t++) {
		uint8_t *buffer = secret_take(m->arena, stride);

		if (!buffer)
			return err_set(e, ERR_ENV, "out of memory for tickets");
		m->delta[t] = buffer + FRAME_HEADER;
	}
	return aheads_new(&m->aheads, p, m->core->layers, seed, m->block, e);
}

void mill_make(struct owner *o, size_t n)
{
	struct mill *m = o->mill;

	m->first = o->delta;
	m->n = n < m->block ? n : m->block;
	for (size_t t = 0; t < m->n; t++)
		m->kept[t] = pool_ticket(o, m->first + t)->kept;
	mill_submit(m);
}

void mill_drop(struct mill *m)
{
	if (!m)
		return;
	m->owner = NULL;
	if (!m->busy)
		mill_destroy(m);
}
