/* SPDX-License-Identifier: Apache-2.0 */
/* test/protocol/trio.h — dealer, P0 and P1 of one tape in one process and one thread, under fixed seeds. */
#ifndef OBSCURA_TEST_PROTOCOL_TRIO_H
#define OBSCURA_TEST_PROTOCOL_TRIO_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <sodium.h>

#include "nn/plan.h"
#include "crypto/ring.h"
#include "protocol/engine.h"

#define TRIO_BATCH_MAX 8

/* A tape under construction: rows are appended, values numbered as they come. */
struct build {
	struct plan plan;
	struct weights weights;
};

static inline uint16_t build_value(struct build *b, enum form form, struct shape shape, unsigned k,
				   unsigned f)
{
	struct tape *t = &b->plan.tape;

	t->values = reallocarray(t->values, t->n_values + 1, sizeof(*t->values));
	t->values[t->n_values] = (struct value){form, shape, k, f};
	return t->n_values++;
}

static inline struct row *build_row(struct build *b, enum op_kind kind, uint16_t in, uint16_t out)
{
	struct tape *t = &b->plan.tape;

	t->rows = reallocarray(t->rows, t->n_rows + 1, sizeof(*t->rows));
	b->weights.rows = reallocarray(b->weights.rows, t->n_rows + 1, sizeof(*b->weights.rows));
	t->rows[t->n_rows] = (struct row){.kind = kind, .in = {in}, .n_in = 1, .out = out};
	b->weights.rows[t->n_rows] = (struct layer_weights){0};
	b->weights.n_rows = t->n_rows + 1;
	return &t->rows[t->n_rows++];
}

static inline struct shape flat(uint32_t n)
{
	return (struct shape){n, 1, 1};
}

static inline void build_input(struct build *b, struct shape shape, unsigned k)
{
	memset(b, 0, sizeof(*b));
	b->plan.input = shape;
	b->plan.result_divisor = 1;
	build_value(b, FORM_SHARE, shape, k, 0);
}

static inline uint16_t build_mask(struct build *b, uint16_t in)
{
	struct value v = b->plan.tape.values[in];
	uint16_t out = build_value(b, FORM_DIFF, v.shape, v.k, 0);

	build_row(b, OP_MASK, in, out);
	return out;
}

static inline struct window dense_window(uint32_t n, uint32_t m)
{
	return (struct window){
	    .in = flat(n), .out = flat(m), .kh = 1, .kw = 1, .sh = 1, .sw = 1, .dh = 1, .dw = 1};
}

/* y = W x + bias; takes W and bias. */
static inline uint16_t build_dense(struct build *b, uint16_t in, uint32_t m, enum form form, unsigned k,
				   unsigned f, int64_t *w, int64_t *bias)
{
	uint32_t n = shape_size(b->plan.tape.values[in].shape);
	uint16_t out = build_value(b, form, flat(m), k, f);
	struct row *row = build_row(b, OP_LINEAR, in, out);

	row->n_terms = 1;
	row->terms[0] = (struct term){.kind = TERM_DENSE, .in = in, .win = dense_window(n, m), .groups = 1};
	row->terms[0].win.in = b->plan.tape.values[in].shape;
	b->weights.rows[b->weights.n_rows - 1] = (struct layer_weights){w, (size_t)n * m, bias, m};
	return out;
}

/* y = 2^shift x + bias (bias may be NULL); takes bias. */
static inline uint16_t build_skip(struct build *b, uint16_t in, unsigned shift, enum form form, unsigned k,
				  unsigned f, int64_t *bias)
{
	struct shape shape = b->plan.tape.values[in].shape;
	uint16_t out = build_value(b, form, shape, k, f);
	struct row *row = build_row(b, OP_LINEAR, in, out);

	row->n_terms = 1;
	row->terms[0] = (struct term){.kind = TERM_SKIP, .in = in, .shift = shift, .groups = 1};
	row->terms[0].win.in = row->terms[0].win.out = shape;
	b->weights.rows[b->weights.n_rows - 1] =
	    (struct layer_weights){NULL, 0, bias, bias ? shape_size(shape) : 0};
	return out;
}

static inline void build_reveal(struct build *b, uint16_t in)
{
	struct value v = b->plan.tape.values[in];

	build_row(b, OP_REVEAL, in, build_value(b, FORM_RESULT, v.shape, v.k, 0));
}

static inline void build_free(struct build *b)
{
	for (uint16_t i = 0; i < b->weights.n_rows; i++) {
		free(b->weights.rows[i].weights);
		free(b->weights.rows[i].bias);
		free(b->plan.tape.rows[i].factors);
	}
	free(b->weights.rows);
	free(b->plan.tape.rows);
	free(b->plan.tape.values);
}

/* The three roles. mask[v]: the dealer's a or ρ of every value of every ticket, kept apart so that the oracle
 * can round as the protocol does. */
struct trio {
	const struct build *b;
	struct program *program;
	struct layer *w, *f, *mask_layers;
	struct prg *p0, *p1, *own, *d0, *d1;
	struct lane *lane[PARTIES];
	struct aheads *aheads;
	uint64_t *mask[256], *wide;
	uint8_t *corrections[TRIO_BATCH_MAX], *delta[TRIO_BATCH_MAX];
	uint64_t *kept[TRIO_BATCH_MAX];
	crypto_generichash_state wire; /* every byte that is sent */
	uint64_t sent[PARTIES];
	unsigned messages;
};

static inline void must(int result, const struct err *e)
{
	if (result)
		fail_msg("%s", e->text);
}

static inline void trio_new(struct trio *t, const struct build *b, uint64_t seed)
{
	uint8_t s[4][PRG_SEED_BYTES], *packed;
	struct err e = {0};

	memset(t, 0, sizeof(*t));
	t->b = b;
	for (int i = 0; i < 4; i++) {
		memset(s[i], i + 1, sizeof(s[i]));
		memcpy(s[i], &seed, sizeof(seed));
	}
	must(tape_check(&b->plan.tape, &e), &e);
	must(program_new(&t->program, &b->plan.tape, &e), &e);
	must(program_weights(&t->w, t->program, &b->weights, &e), &e);
	must(program_mask(&t->mask_layers, t->program, s[3], &e), &e);
	packed = malloc(t->program->setup + 1);
	must(program_masked_weights(packed, t->program, &b->weights, s[3], &e), &e);
	must(program_unmask(&t->f, t->program, packed, &e), &e);
	free(packed);
	t->p0 = prg_new(s[0], PRG_TICKET, &e);
	t->d0 = prg_new(s[0], PRG_TICKET, &e);
	t->p1 = prg_new(s[1], PRG_TICKET, &e);
	t->d1 = prg_new(s[1], PRG_TICKET, &e);
	t->own = prg_new(s[2], PRG_OWN, &e);
	must(lane_new(&t->lane[P0], t->program, P0, NULL, TRIO_BATCH_MAX, &e), &e);
	must(lane_new(&t->lane[P1], t->program, P1, t->w, TRIO_BATCH_MAX, &e), &e);
	must(aheads_new(&t->aheads, t->program, t->f, s[0], TRIO_BATCH_MAX, &e), &e);
	for (uint16_t v = 0; v < b->plan.tape.n_values; v++)
		t->mask[v] = calloc(TRIO_BATCH_MAX * shape_size(b->plan.tape.values[v].shape), 8);
	t->wide = calloc(TRIO_BATCH_MAX * t->program->wide + 1, 8);
	for (int i = 0; i < TRIO_BATCH_MAX; i++) {
		t->corrections[i] = calloc(1, t->program->corrections + 1);
		t->delta[i] = calloc(1, t->program->delta + 1);
		t->kept[i] = calloc(t->program->ahead + 1, 8);
	}
	crypto_generichash_init(&t->wire, NULL, 0, 32);
}

static inline void trio_free(struct trio *t)
{
	for (int i = 0; i < TRIO_BATCH_MAX; i++) {
		free(t->corrections[i]);
		free(t->delta[i]);
		free(t->kept[i]);
	}
	for (uint16_t v = 0; v < t->b->plan.tape.n_values; v++)
		free(t->mask[v]);
	free(t->wide);
	aheads_free(t->aheads);
	lane_free(t->lane[P0]);
	lane_free(t->lane[P1]);
	prg_free(t->p0);
	prg_free(t->p1);
	prg_free(t->own);
	prg_free(t->d0);
	prg_free(t->d1);
	layers_free(t->w, t->program);
	layers_free(t->f, t->program);
	layers_free(t->mask_layers, t->program);
	program_free(t->program);
}

/* The dealer's part, operator by operator as dealer_make does it, but with masks that stay. */
static inline void trio_deal(struct trio *t, uint64_t first, size_t n)
{
	const struct tape *tape = &t->b->plan.tape;
	uint8_t *scratch = aligned_alloc(64, (t->program->scratch + 127) / 64 * 64);
	uint8_t *linear = aligned_alloc(64, (layers_scratch(t->mask_layers, t->program, n) + 127) / 64 * 64);
	struct deal d = {.program = t->program,
			 .layers = t->mask_layers,
			 .p0 = t->d0,
			 .p1 = t->d1,
			 .own = t->own,
			 .first = first,
			 .tickets = n,
			 .mask = t->mask,
			 .corrections = t->corrections,
			 .scratch = scratch,
			 .wide = t->wide,
			 .linear = linear};

	for (; d.row < tape->n_rows; d.row++)
		if (ops[tape->rows[d.row].kind]->deal)
			ops[tape->rows[d.row].kind]->deal(&d, &tape->rows[d.row]);
	free(scratch);
	free(linear);
}

static inline void trio_pass(struct trio *t, enum party from)
{
	size_t bytes, missing;
	uint32_t step;
	uint8_t *m = lane_message(t->lane[from], &bytes, &step);
	struct err e = {0};

	if (!bytes)
		return;
	assert_int_equal(step, t->messages);
	assert_int_equal(lane_awaits(t->lane[!from], &missing), step);
	assert_int_equal(missing, bytes);
	crypto_generichash_update(&t->wire, m, bytes);
	/* in two pieces, as a network would */
	must(lane_receive(t->lane[!from], m, bytes / 2, &e), &e);
	must(lane_receive(t->lane[!from], m + bytes / 2, bytes - bytes / 2, &e), &e);
	assert_int_equal(lane_receive(t->lane[!from], m, 1, &e), -1);
	t->sent[from] += bytes;
	t->messages++;
}

/* One inference of `batch` images on tickets first…; checks messages and bytes against the program's
 * prediction. result: batch × n. */
static inline void trio_infer(struct trio *t, uint64_t first, size_t batch, const uint8_t *pixels,
			      int64_t *result)
{
	struct ticket tickets[TRIO_BATCH_MAX];
	enum engine_state s0, s1;
	const struct tape *tape = &t->b->plan.tape;

	trio_deal(t, first, batch);
	aheads_make(t->aheads, first, batch, t->delta, t->kept);
	for (size_t i = 0; i < batch; i++) {
		crypto_generichash_update(&t->wire, t->corrections[i], t->program->corrections);
		crypto_generichash_update(&t->wire, t->delta[i], t->program->delta);
		tickets[i] = (struct ticket){first + i, t->corrections[i], t->delta[i], t->kept[i]};
	}
	t->messages = 0;
	t->sent[P0] = t->sent[P1] = 0;
	lane_begin(t->lane[P0], t->p0, tickets, batch, pixels);
	lane_begin(t->lane[P1], t->p1, tickets, batch, NULL);
	do {
		s0 = engine_run(t->lane[P0]);
		trio_pass(t, P0);
		s1 = engine_run(t->lane[P1]);
		trio_pass(t, P1);
		assert_true(t->messages <= t->program->n_messages);
	} while (s0 != ENGINE_DONE || s1 != ENGINE_DONE);
	assert_int_equal(t->messages, t->program->n_messages);
	assert_int_equal(t->sent[P0], batch * t->program->online[P0]);
	assert_int_equal(t->sent[P1], batch * t->program->online[P1]);
	memcpy(result, lane_result(t->lane[P0]),
	       batch * shape_size(tape->values[tape->n_values - 1].shape) * 8);
	lane_reset(t->lane[P0]);
	lane_reset(t->lane[P1]);
}

/* The oracle's rounding: the low bits of the dealer's own masks. */
struct trio_low {
	const struct trio *t;
	size_t image;
};
static inline uint64_t trio_low(void *ctx, uint16_t value, size_t i, unsigned f)
{
	const struct trio_low *low = ctx;
	size_t n = shape_size(low->t->b->plan.tape.values[value].shape);

	return low->t->mask[value][low->image * n + i] & ring_mask(f);
}

#endif
