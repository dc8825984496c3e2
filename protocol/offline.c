/* SPDX-License-Identifier: Apache-2.0 */
/* The two offline producers: the dealer's corrections and P0's δ, for blocks of tickets. */
#include <stdlib.h>
#include <string.h>

#include "crypto/secret.h"
#include "protocol/engine.h"

/* Memory of one producer: values of a block of tickets, and what operators need while they run. */
struct block {
	const struct program *program;
	struct secret *arena;
	uint64_t **values, *live;
	uint64_t *wide;
	void *scratch, *linear;
	size_t tickets;
};

static int block_new(struct block *b, const struct program *p, const struct layer *layers, size_t tickets,
		     struct err *e)
{
	size_t live = tickets * p->live * 8, wide = tickets * p->wide * 8,
	       linear = layers_scratch(layers, p, tickets);

	b->program = p;
	b->tickets = tickets;
	b->values = calloc(p->tape->n_values, sizeof(*b->values));
	b->arena = secret_new(live + p->scratch + wide + linear + 5 * 64, NULL);
	if (!b->values || !b->arena)
		return err_set(e, ERR_ENV, "out of memory for a block of %zu tickets", tickets);
	b->live = secret_take(b->arena, live);
	b->scratch = secret_take(b->arena, p->scratch);
	b->wide = secret_take(b->arena, wide);
	b->linear = secret_take(b->arena, linear);
	return 0;
}

static void block_place(struct block *b, size_t n)
{
	for (uint16_t v = 0; v < b->program->tape->n_values; v++)
		b->values[v] = b->live + n * b->program->slot[v];
}

static void block_free(struct block *b)
{
	secret_free(b->arena);
	free(b->values);
}

struct dealer {
	struct block block;
	const struct layer *layers;
	struct prg *p0, *p1, *own, *tag;
};

int dealer_new(struct dealer **dealer, const struct program *program, const struct layer *mask,
	       const uint8_t p0[PRG_SEED_BYTES], const uint8_t p1[PRG_SEED_BYTES],
	       const uint8_t own[PRG_SEED_BYTES], size_t block, struct err *e)
{
	struct dealer *d = calloc(1, sizeof(*d));

	*dealer = NULL;
	if (!d)
		return err_set(e, ERR_ENV, "out of memory");
	d->layers = mask;
	if (block_new(&d->block, program, mask, block, e) || !(d->p0 = prg_new(p0, PRG_TICKET, e)) ||
	    !(d->p1 = prg_new(p1, PRG_TICKET, e)) || !(d->own = prg_new(own, PRG_OWN, e)) ||
	    !(d->tag = prg_new(own, PRG_TAG, e))) {
		dealer_free(d);
		return -1;
	}
	*dealer = d;
	return 0;
}

void dealer_make(struct dealer *d, uint64_t first, size_t n, uint8_t *const *corrections, uint8_t (*tags)[16])
{
	const struct tape *tape = d->block.program->tape;
	struct deal deal = {
	    .program = d->block.program,
	    .layers = d->layers,
	    .p0 = d->p0,
	    .p1 = d->p1,
	    .own = d->own,
	    .first = first,
	    .tickets = n,
	    .mask = d->block.values,
	    .corrections = corrections,
	    .scratch = d->block.scratch,
	    .wide = d->block.wide,
	    .linear = d->block.linear,
	};
	uint64_t lap = 0;

	block_place(&d->block, n);
	profile_start(deal.program->profile, &lap);
	for (; deal.row < tape->n_rows; deal.row++) {
		if (ops[tape->rows[deal.row].kind]->deal)
			ops[tape->rows[deal.row].kind]->deal(&deal, &tape->rows[deal.row]);
		profile_lap(deal.program->profile, PROFILE_DEAL, deal.row, &lap);
	}
	profile_count(deal.program->profile, PROFILE_DEAL, n);
	for (size_t t = 0; t < n; t++)
		prg_read(d->tag, first + t, 0, tags[t], sizeof(tags[t]));
}

void dealer_free(struct dealer *d)
{
	if (!d)
		return;
	block_free(&d->block);
	prg_free(d->p0);
	prg_free(d->p1);
	prg_free(d->own);
	prg_free(d->tag);
	free(d);
}

struct aheads {
	struct block block;
	const struct layer *layers;
	struct prg *prg;
};

int aheads_new(struct aheads **aheads, const struct program *program, const struct layer *f,
	       const uint8_t p0[PRG_SEED_BYTES], size_t block, struct err *e)
{
	struct aheads *a = calloc(1, sizeof(*a));

	*aheads = NULL;
	if (!a)
		return err_set(e, ERR_ENV, "out of memory");
	a->layers = f;
	if (block_new(&a->block, program, f, block, e) || !(a->prg = prg_new(p0, PRG_TICKET, e))) {
		aheads_free(a);
		return -1;
	}
	*aheads = a;
	return 0;
}

void aheads_make(struct aheads *a, uint64_t first, size_t n, uint8_t *const *delta, uint64_t *const *kept)
{
	const struct tape *tape = a->block.program->tape;
	struct ahead ahead = {
	    .program = a->block.program,
	    .layers = a->layers,
	    .prg = a->prg,
	    .first = first,
	    .tickets = n,
	    .a = a->block.values,
	    .delta = delta,
	    .kept = kept,
	    .scratch = a->block.scratch,
	    .wide = a->block.wide,
	    .linear = a->block.linear,
	};
	uint64_t lap = 0;

	block_place(&a->block, n);
	profile_start(ahead.program->profile, &lap);
	for (; ahead.row < tape->n_rows; ahead.row++) {
		if (ops[tape->rows[ahead.row].kind]->ahead)
			ops[tape->rows[ahead.row].kind]->ahead(&ahead, &tape->rows[ahead.row]);
		profile_lap(ahead.program->profile, PROFILE_AHEAD, ahead.row, &lap);
	}
	profile_count(ahead.program->profile, PROFILE_AHEAD, n);
}

void aheads_free(struct aheads *a)
{
	if (!a)
		return;
	block_free(&a->block);
	prg_free(a->prg);
	free(a);
}
