/* SPDX-License-Identifier: Apache-2.0 */
#include "client/private.h"

#include <stdlib.h>
#include <string.h>

#include "crypto/ring.h"

struct private
{
	const struct private_model *model;
	size_t batch_max;
	uint64_t next; /* ticket */
	struct prg *p0, *p1, *own, *dealer_p0, *dealer_p1;
	struct lane *lane[PARTIES];
	struct aheads *aheads;
	uint64_t **mask; /* owns: per value of the tape, batch × n words: a or ρ */
	uint64_t *wide;
	void *scratch, *linear;
	uint8_t **corrections, **delta; /* own; per ticket */
	uint64_t **kept;
	struct ticket *tickets;
};

static int out_of_memory(struct err *e)
{
	return err_set(e, ERR_ENV, "out of memory");
}

/* ---- the model ---- */

static int mask_weights(struct private_model *m, struct err *e)
{
	uint8_t seed[PRG_SEED_BYTES], *packed = malloc(m->program->setup + 1);
	int r = -1;

	if (!packed)
		return out_of_memory(e);
	prg_seed(seed);
	if (!program_weights(&m->w, m->program, m->weights, e) && !program_mask(&m->b, m->program, seed, e) &&
	    !program_masked_weights(packed, m->program, m->weights, seed, e))
		r = program_unmask(&m->f, m->program, packed, e);
	free(packed);
	return r;
}

int private_model_new(struct private_model *m, const struct graph *g, const struct plan_options *options,
		      struct err *e)
{
	struct bounds *bounds = NULL;

	memset(m, 0, sizeof(*m));
	if (plan_make(&m->plan, &m->weights, &bounds, g, options, e))
		return -1;
	m->spare = bounds->spare;
	bounds_free(bounds);
	if (!program_new(&m->program, &m->plan->tape, e) && !mask_weights(m, e))
		return 0;
	private_model_free(m);
	return -1;
}

void private_model_free(struct private_model *m)
{
	if (m->program) {
		layers_free(m->w, m->program);
		layers_free(m->f, m->program);
		layers_free(m->b, m->program);
	}
	program_free(m->program);
	weights_free(m->weights);
	plan_free(m->plan);
	memset(m, 0, sizeof(*m));
}

size_t private_batch(const struct private_model *m, size_t bytes)
{
	const struct tape *tape = &m->plan->tape;
	uint64_t one = m->program->corrections + m->program->delta + m->program->ahead * 8 +
		       2 * lane_bytes(m->program, 1);
	uint64_t batch;

	for (uint16_t v = 0; v < tape->n_values; v++)
		one += shape_size(tape->values[v].shape) * 8;
	batch = bytes / (one + 1);
	return batch < 1 ? 1 : batch > 64 ? 64 : (size_t)batch;
}

/* ---- three parties ---- */

static void *aligned(size_t bytes)
{
	return aligned_alloc(64, (bytes + 127) / 64 * 64);
}

static int take_buffers(struct private *p, struct err *e)
{
	const struct program *g = p->model->program;
	size_t n = p->batch_max;
	int short_of = 0;

	p->mask = calloc(g->tape->n_values, sizeof(*p->mask));
	p->corrections = calloc(n, sizeof(*p->corrections));
	p->delta = calloc(n, sizeof(*p->delta));
	p->kept = calloc(n, sizeof(*p->kept));
	p->tickets = calloc(n, sizeof(*p->tickets));
	p->wide = aligned(n * g->wide * 8);
	p->scratch = aligned(g->scratch);
	p->linear = aligned(layers_scratch(p->model->b, g, n));
	if (!p->mask || !p->corrections || !p->delta || !p->kept || !p->tickets || !p->wide || !p->scratch ||
	    !p->linear)
		return out_of_memory(e);
	for (uint16_t v = 0; v < g->tape->n_values; v++)
		short_of |= !(p->mask[v] = aligned(n * shape_size(g->tape->values[v].shape) * 8));
	for (size_t i = 0; i < n; i++) {
		short_of |= !(p->corrections[i] = aligned(g->corrections));
		short_of |= !(p->delta[i] = aligned(g->delta));
		short_of |= !(p->kept[i] = aligned(g->ahead * 8));
	}
	return short_of ? out_of_memory(e) : 0;
}

static int take_parties(struct private *p, struct err *e)
{
	const struct private_model *m = p->model;
	uint8_t p0[PRG_SEED_BYTES], p1[PRG_SEED_BYTES], own[PRG_SEED_BYTES];

	prg_seed(p0);
	prg_seed(p1);
	prg_seed(own);
	p->p0 = prg_new(p0, PRG_TICKET, e);
	p->p1 = prg_new(p1, PRG_TICKET, e);
	p->own = prg_new(own, PRG_OWN, e);
	p->dealer_p0 = prg_new(p0, PRG_TICKET, e);
	p->dealer_p1 = prg_new(p1, PRG_TICKET, e);
	if (!p->p0 || !p->p1 || !p->own || !p->dealer_p0 || !p->dealer_p1)
		return -1;
	if (lane_new(&p->lane[P0], m->program, P0, NULL, p->batch_max, e) ||
	    lane_new(&p->lane[P1], m->program, P1, m->w, p->batch_max, e))
		return -1;
	return aheads_new(&p->aheads, m->program, m->f, p0, p->batch_max, e);
}

int private_new(struct private **out, const struct private_model *m, size_t batch_max, struct err *e)
{
	struct private *p = calloc(1, sizeof(*p));

	*out = NULL;
	if (!p)
		return out_of_memory(e);
	p->model = m;
	p->batch_max = batch_max;
	if (take_buffers(p, e) || take_parties(p, e)) {
		private_free(p);
		return -1;
	}
	*out = p;
	return 0;
}

static void free_lists(struct private *p)
{
	for (uint16_t v = 0; p->mask && v < p->model->program->tape->n_values; v++)
		free(p->mask[v]);
	for (size_t i = 0; i < p->batch_max; i++) {
		if (p->corrections)
			free(p->corrections[i]);
		if (p->delta)
			free(p->delta[i]);
		if (p->kept)
			free(p->kept[i]);
	}
}

void private_free(struct private *p)
{
	if (!p)
		return;
	free_lists(p);
	free(p->mask);
	free(p->corrections);
	free(p->delta);
	free(p->kept);
	free(p->tickets);
	free(p->wide);
	free(p->scratch);
	free(p->linear);
	aheads_free(p->aheads);
	lane_free(p->lane[P0]);
	lane_free(p->lane[P1]);
	prg_free(p->p0);
	prg_free(p->p1);
	prg_free(p->own);
	prg_free(p->dealer_p0);
	prg_free(p->dealer_p1);
	free(p);
}

/* ---- one inference ---- */

/* dealer_make with masks that stay. */
static void deal(struct private *p, size_t n)
{
	const struct tape *tape = p->model->program->tape;
	struct deal d = {.program = p->model->program,
			 .layers = p->model->b,
			 .p0 = p->dealer_p0,
			 .p1 = p->dealer_p1,
			 .own = p->own,
			 .first = p->next,
			 .tickets = n,
			 .mask = p->mask,
			 .corrections = p->corrections,
			 .scratch = p->scratch,
			 .wide = p->wide,
			 .linear = p->linear};

	for (; d.row < tape->n_rows; d.row++)
		if (ops[tape->rows[d.row].kind]->deal)
			ops[tape->rows[d.row].kind]->deal(&d, &tape->rows[d.row]);
}

/* Takes the message of one lane to the other; holds it against the plan. */
static int pass(struct private *p, enum party from, size_t batch, uint32_t *messages, struct err *e)
{
	const struct program *g = p->model->program;
	size_t bytes;
	uint32_t step;
	uint8_t *m = lane_message(p->lane[from], &bytes, &step);

	if (!bytes)
		return 0;
	if (*messages >= g->n_messages || step != *messages || g->messages[step].from != from ||
	    g->messages[step].bytes * batch != bytes)
		return err_set(e, ERR_RESULT,
			       "message %u has %zu bytes, which is not what the plan predicted", step, bytes);
	++*messages;
	return lane_receive(p->lane[!from], m, bytes, e);
}

static int exchange(struct private *p, size_t batch, struct err *e)
{
	enum engine_state s0, s1;
	uint32_t messages = 0, before;

	do {
		before = messages;
		s0 = engine_run(p->lane[P0]);
		if (pass(p, P0, batch, &messages, e))
			return -1;
		s1 = engine_run(p->lane[P1]);
		if (pass(p, P1, batch, &messages, e))
			return -1;
	} while ((s0 != ENGINE_DONE || s1 != ENGINE_DONE) && messages != before);
	if (s0 == ENGINE_DONE && s1 == ENGINE_DONE && messages == p->model->program->n_messages)
		return 0;
	return err_set(e, ERR_RESULT, "the parties stopped after %u of %u messages", messages,
		       p->model->program->n_messages);
}

int private_infer(struct private *p, const uint8_t *pixels, size_t batch, int64_t *result, struct err *e)
{
	int r;

	deal(p, batch);
	aheads_make(p->aheads, p->next, batch, p->delta, p->kept);
	for (size_t i = 0; i < batch; i++)
		p->tickets[i] = (struct ticket){p->next + i, p->corrections[i], p->delta[i], p->kept[i]};
	p->next += batch;
	lane_begin(p->lane[P0], p->p0, p->tickets, batch, pixels);
	lane_begin(p->lane[P1], p->p1, p->tickets, batch, NULL);
	r = exchange(p, batch, e);
	if (!r)
		memcpy(result, lane_result(p->lane[P0]),
		       batch * plan_words(p->model->plan) * sizeof(*result));
	lane_reset(p->lane[P0]);
	lane_reset(p->lane[P1]);
	return r;
}

uint64_t private_low(void *ctx, uint16_t value, size_t i, unsigned f)
{
	const struct private_rounding *x = ctx;
	size_t n = shape_size(x->run->model->plan->tape.values[value].shape);

	return x->run->mask[value][x->image * n + i] & ring_mask(f);
}
