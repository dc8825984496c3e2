/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/engine.h"

#include <stdlib.h>
#include <string.h>

#include "crypto/secret.h"

#define PART (16u << 10) /* bytes of a message that leave before the rest is written */

struct lane {
	const struct program *program;
	struct secret *arena;
	size_t batch_max;
	struct run run; /* program, layers, party, memory; batch and tickets of the inference at hand */
	struct ticket *tickets;
	uint64_t **values;
	uint64_t *live; /* batch_max × program->live words */
	uint8_t *inbox, *outbox;
	/* where the tape stands */
	uint32_t move; /* in program->moves */
	int done;
	/* the message that is being read: its index, bytes received, bytes consumed by moves */
	uint32_t in_message;
	size_t in_have, in_used;
	/* the message that is being written */
	uint32_t out_message;
	size_t out_have, out_gone; /* bytes in the outbox; of this message handed out before */
	int out_taken, in_parts;
	/* borrows; NULL also for the first inference, which finds memory and caches cold */
	struct profile *profile;
	struct profile *own; /* owns; of one inference, for lane_time */
	uint64_t lap;
	int begun;
};

/* Sizes of the arena's pieces, in the order in which they are taken. */
struct pieces {
	size_t live, temp, scratch, wide, linear, inbox, outbox;
};

static size_t rounded(size_t bytes)
{
	return (bytes + 63) & ~(size_t)63;
}

static size_t longest_message(const struct program *p, enum party from)
{
	size_t most = 0;

	for (uint32_t m = 0; m < p->n_messages; m++)
		if (p->messages[m].from == from && most < p->messages[m].bytes)
			most = p->messages[m].bytes;
	return most;
}

static struct pieces lane_pieces(const struct program *p, enum party party, const struct layer *layers,
				 size_t batch)
{
	return (struct pieces){
	    .live = rounded(batch * p->live * 8),
	    .temp = rounded(batch * p->temp),
	    .scratch = rounded(p->scratch),
	    .wide = layers ? rounded(batch * p->wide * 8) : 0,
	    .linear = rounded(layers_scratch(layers, p, batch)),
	    .inbox = rounded(batch * longest_message(p, party == P0 ? P1 : P0)),
	    .outbox = rounded(ENGINE_HEADROOM + batch * longest_message(p, party)),
	};
}

static size_t total(const struct pieces *s)
{
	return s->live + s->temp + s->scratch + s->wide + s->linear + s->inbox + s->outbox + 64;
}

size_t lane_bytes(const struct program *program, size_t batch_max)
{
	struct pieces s = lane_pieces(program, P0, NULL, batch_max);

	return total(&s);
}

int lane_new(struct lane **lane, const struct program *program, enum party party, const struct layer *layers,
	     size_t batch_max, struct err *e)
{
	struct pieces s = lane_pieces(program, party, layers, batch_max);
	struct lane *l = calloc(1, sizeof(*l));

	*lane = NULL;
	if (!l)
		goto fail;
	l->tickets = calloc(batch_max, sizeof(*l->tickets));
	l->values = calloc(program->tape->n_values, sizeof(*l->values));
	l->arena = secret_new(total(&s), NULL);
	if (!l->tickets || !l->values || !l->arena)
		goto fail;
	l->program = program;
	l->batch_max = batch_max;
	l->live = secret_take(l->arena, s.live);
	l->run = (struct run){
	    .program = program,
	    .layers = layers,
	    .party = party,
	    .tickets = l->tickets,
	    .values = l->values,
	    .temp = secret_take(l->arena, s.temp),
	    .scratch = secret_take(l->arena, s.scratch),
	    .wide = secret_take(l->arena, s.wide),
	    .linear = secret_take(l->arena, s.linear),
	};
	l->inbox = secret_take(l->arena, s.inbox);
	l->outbox = secret_take(l->arena, s.outbox);
	l->done = 1;
	*lane = l;
	return 0;
fail:
	lane_free(l);
	return err_set(e, ERR_ENV, "out of memory: a lane of %zu images needs %zu bytes", batch_max,
		       total(&s));
}

void lane_free(struct lane *l)
{
	if (!l)
		return;
	secret_free(l->arena);
	profile_free(l->own);
	free(l->values);
	free(l->tickets);
	free(l);
}

/* Value v of a batch lies at batch × slot: images of one value are neighbours, values never overlap while
 * both live. */
static void place(uint64_t **values, uint64_t *live, const struct program *p, size_t batch)
{
	for (uint16_t v = 0; v < p->tape->n_values; v++)
		values[v] = live + batch * p->slot[v];
}

static uint32_t next_message(const struct program *p, uint32_t from, enum party sender)
{
	while (from < p->n_messages && p->messages[from].from != sender)
		from++;
	return from;
}

void lane_begin(struct lane *l, struct prg *prg, const struct ticket *tickets, size_t batch,
		const uint8_t *pixels)
{
	size_t n = shape_size(l->program->tape->values[0].shape);

	l->profile = l->begun ? l->program->profile : NULL;
	l->begun = 1;
	profile_start(l->profile, &l->lap);
	memcpy(l->tickets, tickets, batch * sizeof(*tickets));
	l->run.prg = prg;
	l->run.batch = batch;
	l->run.row = 0;
	l->move = 0;
	l->done = 0;
	l->in_have = l->in_used = l->out_have = 0;
	l->out_taken = 0;
	l->in_message = next_message(l->program, 0, l->run.party == P0 ? P1 : P0);
	l->out_message = 0;
	l->out_gone = 0;
	place(l->values, l->live, l->program, batch);
	for (size_t i = 0; i < batch * n; i++)
		l->values[0][i] = pixels ? pixels[i] : 0;
	profile_lap(l->profile, PROFILE_COMPUTE, 0, &l->lap);
}

void lane_time(struct lane *l)
{
	if (!l->own)
		l->own = profile_make(l->program->tape->n_rows);
	if (!l->own)
		return;
	profile_zero(l->own);
	l->profile = l->own;
	profile_start(l->profile, &l->lap);
}

void lane_times(const struct lane *l, uint64_t *compute, uint64_t *wait)
{
	for (size_t row = 0; l->own && row < l->program->tape->n_rows; row++) {
		compute[row] +=
		    profile_ns(l->own, PROFILE_COMPUTE, row) + profile_ns(l->own, PROFILE_SEND, row);
		wait[row] += profile_ns(l->own, PROFILE_WAIT, row);
	}
}

static size_t awaited(const struct lane *l)
{
	return l->in_message < l->program->n_messages
		   ? l->run.batch * l->program->messages[l->in_message].bytes
		   : 0;
}

int lane_receive(struct lane *l, const uint8_t *bytes, size_t n, struct err *e)
{
	if (l->done || n > awaited(l) - l->in_have)
		return err_set(e, ERR_PEER,
			       "message %u is longer than the plan says: %zu bytes, then %zu more",
			       l->in_message, l->in_have, n);
	memcpy(l->inbox + l->in_have, bytes, n);
	l->in_have += n;
	return 0;
}

/* The move's bytes, or 0 when they have not all come. */
static int take_in(struct lane *l, const struct move *m)
{
	size_t bytes = l->run.batch * m->bytes;

	if (!bytes)
		return 1;
	if (m->message != l->in_message || l->in_have - l->in_used < bytes)
		return 0;
	l->run.in = l->inbox + l->in_used;
	l->in_used += bytes;
	return 1;
}

/* A message that has been read to its end makes room for the next. */
static void retire_in(struct lane *l)
{
	if (!l->in_used || l->in_used < awaited(l))
		return;
	l->in_have = l->in_used = 0;
	l->in_message = next_message(l->program, l->in_message + 1, l->run.party == P0 ? P1 : P0);
}

static void take_out(struct lane *l, const struct move *m)
{
	if (l->out_message != m->message)
		l->out_gone = 0;
	l->run.out = l->outbox + ENGINE_HEADROOM + l->out_have;
	l->out_message = m->message;
	l->out_have += l->run.batch * m->bytes;
}

/* Whether enough has been written to leave before the message is complete. */
static int has_part(const struct lane *l)
{
	return l->in_parts && l->out_have >= PART && l->move + 1 < l->program->n_moves &&
	       l->program->moves[l->move + 1].message == l->out_message;
}

enum ran { RAN_WAITS, RAN_PART, RAN_ALL };

/* Runs one row from where it stands. */
static enum ran run_row(struct lane *l, const struct row *row)
{
	const struct placed *at = &l->program->rows[l->run.row];
	void (*act)(struct run *, const struct row *, unsigned) =
	    l->run.party == P0 ? ops[row->kind]->p0 : ops[row->kind]->p1;

	if (!at->moves)
		act(&l->run, row, 0);
	for (; l->move < at->move + at->moves; l->move++) {
		const struct move *m = &l->program->moves[l->move];
		int reads = m->from != l->run.party;

		if (reads && !take_in(l, m))
			return RAN_WAITS;
		if (!reads)
			take_out(l, m);
		act(&l->run, row, l->move - at->move);
		if (reads)
			retire_in(l);
		if (!reads && has_part(l)) {
			l->move++;
			return RAN_PART;
		}
	}
	return RAN_ALL;
}

enum engine_state engine_run(struct lane *l)
{
	const struct tape *tape = l->program->tape;

	if (!l->done)
		profile_lap(l->profile, PROFILE_WAIT, l->run.row, &l->lap);
	if (l->out_taken)
		l->out_have = l->out_taken = 0;
	for (; !l->done && l->run.row < tape->n_rows; l->run.row++) {
		enum ran ran = run_row(l, &tape->rows[l->run.row]);

		profile_lap(l->profile, PROFILE_COMPUTE, l->run.row, &l->lap);
		if (ran != RAN_ALL)
			return ran == RAN_PART ? ENGINE_PART : ENGINE_WAIT;
	}
	if (!l->done)
		profile_count(l->profile, PROFILE_COMPUTE, l->run.batch);
	l->done = 1;
	return ENGINE_DONE;
}

void lane_sent(struct lane *l)
{
	profile_lap(l->profile, PROFILE_SEND, l->run.row, &l->lap);
}

void lane_in_parts(struct lane *l, int in_parts)
{
	l->in_parts = in_parts;
}

uint8_t *lane_message(struct lane *l, size_t *bytes, uint32_t *step)
{
	*bytes = l->out_taken ? 0 : l->out_have;
	*step = l->out_message;
	l->out_gone += *bytes;
	l->out_taken = 1;
	return l->outbox + ENGINE_HEADROOM;
}

int lane_continues(const struct lane *l)
{
	return l->out_gone < l->run.batch * l->program->messages[l->out_message].bytes;
}

const uint8_t *lane_peek(const struct lane *l, size_t *bytes)
{
	*bytes = l->out_taken ? 0 : l->out_have;
	return l->outbox + ENGINE_HEADROOM;
}

uint32_t lane_awaits(const struct lane *l, size_t *missing)
{
	*missing = l->done ? 0 : awaited(l) - l->in_have;
	return l->in_message;
}

const int64_t *lane_result(const struct lane *l)
{
	const struct tape *tape = l->program->tape;

	return (const int64_t *)l->values[tape->rows[tape->n_rows - 1].out];
}

void lane_reset(struct lane *l)
{
	if (!l->run.batch)
		return;
	/* the secret state of this inference: what its batch touched */
	secret_wipe(l->live, l->run.batch * l->program->live * 8);
	secret_wipe(l->run.temp, l->run.batch * l->program->temp);
	secret_wipe(l->run.scratch, l->program->scratch);
	secret_wipe(l->inbox, l->run.batch * longest_message(l->program, l->run.party == P0 ? P1 : P0));
	secret_wipe(l->outbox, ENGINE_HEADROOM + l->run.batch * longest_message(l->program, l->run.party));
	l->run.batch = 0;
	l->done = 1;
}
