/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/program.h"

#include <stdlib.h>
#include <string.h>

#include "crypto/ring.h"
#include "nn/plan.h"

#define OP(kind, prefix) extern const struct op operator_##prefix;
#include "protocol/ops.def"
#undef OP

const struct op *const ops[OP_KINDS] = {
#define OP(kind, prefix) [OP_##kind] = &operator_##prefix,
#include "protocol/ops.def"
#undef OP
};

static size_t value_words(const struct tape *t, uint16_t value)
{
	return shape_size(t->values[value].shape);
}

static int out_of_memory(struct err *e)
{
	return err_set(e, ERR_ENV, "out of memory");
}

void program_prepared(struct program *p, void *prepared)
{
	p->rows[p->declaring].prepared = prepared;
}

/* Appends a move; consecutive moves of one sender are one message. */
int program_move(struct program *p, enum party from, uint64_t bytes, struct err *e)
{
	struct move *moves = reallocarray(p->moves, p->n_moves + 1, sizeof(*moves));
	struct message *messages;

	if (!moves)
		return out_of_memory(e);
	p->moves = moves;
	if (!p->n_messages || p->messages[p->n_messages - 1].from != from) {
		messages = reallocarray(p->messages, p->n_messages + 1, sizeof(*messages));
		if (!messages)
			return out_of_memory(e);
		p->messages = messages;
		messages[p->n_messages++] = (struct message){.from = from};
	}
	p->messages[p->n_messages - 1].bytes += bytes;
	moves[p->n_moves++] = (struct move){.from = from, .message = p->n_messages - 1, .bytes = bytes};
	p->online[from] += bytes;
	return 0;
}

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Declares row i and places its pieces behind those of the rows before it. */
static int place_row(struct program *p, uint16_t i, struct err *e)
{
	const struct row *row = &p->tape->rows[i];
	struct placed *at = &p->rows[i];

	p->declaring = i;
	at->move = p->n_moves;
	at->p0 = p->p0;
	at->p1 = p->p1;
	at->own = p->own;
	at->corrections = p->corrections;
	at->delta = p->delta;
	at->ahead = p->ahead;
	if (ops[row->kind]->declare(p->tape, row, &at->cost, p, e))
		return err_context(e, "row %u (%s)", i, ops[row->kind]->name);
	at->moves = p->n_moves - at->move;
	p->p0 += at->cost.p0;
	p->p1 += at->cost.p1;
	p->own += at->cost.own;
	p->corrections += at->cost.corrections;
	p->delta += at->cost.delta;
	p->ahead += at->cost.ahead;
	p->comparisons += at->cost.comparisons;
	p->temp = later(p->temp, at->cost.temp);
	p->wide = later(p->wide, at->cost.wide);
	p->scratch = later(p->scratch, at->cost.scratch);
	return 0;
}

/* First and last row in which each value is touched. */
static void lifetimes(const struct tape *t, uint16_t *birth, uint16_t *death)
{
	for (uint16_t v = 0; v < t->n_values; v++)
		birth[v] = death[v] = 0;
	for (uint16_t i = 0; i < t->n_rows; i++) {
		const struct row *row = &t->rows[i];

		birth[row->out] = death[row->out] = i;
		for (uint16_t j = 0; j < row->n_in; j++)
			death[row->in[j]] = i;
	}
	death[t->rows[t->n_rows - 1].out] = t->n_rows;
}

/* Gives each value the lowest place that no value alive at the same time occupies. */
static int place_values(struct program *p, struct err *e)
{
	const struct tape *t = p->tape;
	uint16_t *birth = calloc(2 * (size_t)t->n_values, sizeof(*birth)), *death = birth + t->n_values;

	p->slot = calloc(t->n_values, sizeof(*p->slot));
	if (!birth || !p->slot) {
		free(birth);
		return out_of_memory(e);
	}
	lifetimes(t, birth, death);
	for (uint16_t v = 0; v < t->n_values; v++) {
		size_t n = value_words(t, v);

		for (uint16_t u = 0; u < v; u++) {
			int together = birth[u] <= death[v] && birth[v] <= death[u];

			if (together && p->slot[v] < p->slot[u] + value_words(t, u) &&
			    p->slot[u] < p->slot[v] + n) {
				p->slot[v] = p->slot[u] + value_words(t, u);
				u = UINT16_MAX; /* look again from the first */
			}
		}
		p->live = later(p->live, p->slot[v] + n);
	}
	free(birth);
	return 0;
}

static uint64_t setup_bytes(const struct tape *t)
{
	uint64_t bytes = 0;

	for (uint16_t i = 0; i < t->n_rows; i++)
		for (uint16_t j = 0; j < t->rows[i].n_terms; j++)
			bytes += ring_packed(term_weights(&t->rows[i].terms[j]), t->values[t->rows[i].out].k);
	return bytes;
}

int program_new(struct program **program, const struct tape *tape, struct err *e)
{
	struct program *p = calloc(1, sizeof(*p));

	*program = NULL;
	if (!p)
		return out_of_memory(e);
	p->tape = tape;
	p->rows = calloc(tape->n_rows, sizeof(*p->rows));
	if (!p->rows) {
		out_of_memory(e);
		goto fail;
	}
	for (uint16_t i = 0; i < tape->n_rows; i++)
		if (place_row(p, i, e))
			goto fail;
	if (place_values(p, e))
		goto fail;
	p->round_trips = (p->n_messages + 1) / 2;
	p->setup = setup_bytes(tape);
	p->profile = profile_new(tape->n_rows);
	*program = p;
	return 0;
fail:
	program_free(p);
	return -1;
}

static const char *row_name(const void *ctx, size_t row)
{
	const struct program *p = ctx;

	return ops[p->tape->rows[row].kind]->name;
}

void program_free(struct program *p)
{
	if (!p)
		return;
	for (uint16_t i = 0; p->rows && i < p->tape->n_rows; i++)
		if (p->rows[i].prepared)
			ops[p->tape->rows[i].kind]->release(p->rows[i].prepared);
	profile_write(p->profile, row_name, p);
	profile_free(p->profile);
	free(p->rows);
	free(p->moves);
	free(p->messages);
	free(p->slot);
	free(p);
}
