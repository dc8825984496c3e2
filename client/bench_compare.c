/* SPDX-License-Identifier: Apache-2.0 */
/* Comparisons a second of dealer, P0 and P1: the engine's own dealer and lanes on a tape that does little
 * else (mask, x times 1, ReLU, reveal), in this process, one core. */
#include <stdlib.h>
#include <string.h>

#include "client/bench_micro.h"
#include "client/json.h"
#include "client/bench_table.h"
#include "crypto/prg.h"

#define N 4096	  /* comparisons of an image */
#define TICKETS 4 /* at once */
#define VALUES 5
#define ROWS 4

/* Widths of real layers: X and A, Z's first, Z's second. */
static const struct {
	unsigned k, f, kout;
} widths[] = {{24, 4, 40}, {20, 4, 40}, {40, 16, 44}};
#define WIDTHS (sizeof(widths) / sizeof(*widths))

enum who { WHO_DEALER, WHO_P0, WHO_P1, WHO_ALL };
static const char *const who[WHO_ALL] = {"provider", "data_owner", "model_owner"};

struct contest {
	struct value values[VALUES];
	struct row rows[ROWS];
	struct tape tape;
	struct program *program;
	struct layer *layers;
	struct dealer *dealer;
	struct aheads *aheads;
	struct prg *prg[PARTIES];
	struct lane *lane[PARTIES];
	uint8_t *corrections[TICKETS], *delta[TICKETS], tags[TICKETS][16];
	uint64_t *kept[TICKETS];
	uint8_t *pixels;
	uint64_t next;
};

static void lay_tape(struct contest *c, size_t width, enum table_mode mode)
{
	unsigned k = widths[width].k, f = widths[width].f, kout = widths[width].kout;
	struct shape n = {N, 1, 1};

	c->values[0] = (struct value){FORM_SHARE, n, (uint8_t)k, 0};
	c->values[1] = (struct value){FORM_DIFF, n, (uint8_t)k, 0};
	c->values[2] = (struct value){FORM_MASKED, n, (uint8_t)k, (uint8_t)f};
	c->values[3] = (struct value){FORM_SHARE, n, (uint8_t)kout, 0};
	c->values[4] = (struct value){FORM_RESULT, n, (uint8_t)kout, 0};
	c->rows[0] = (struct row){.kind = OP_MASK, .in = {0}, .n_in = 1, .out = 1};
	c->rows[1] = (struct row){.kind = OP_LINEAR, .in = {1}, .n_in = 1, .out = 2, .n_terms = 1};
	c->rows[1].terms[0] =
	    (struct term){.kind = TERM_SKIP, .in = 1, .groups = 1, .win = {.in = n, .out = n}};
	c->rows[2] = (struct row){.kind = OP_RELU, .in = {2}, .n_in = 1, .out = 3, .mode = mode};
	c->rows[3] = (struct row){.kind = OP_REVEAL, .in = {3}, .n_in = 1, .out = 4};
	c->tape = (struct tape){c->values, VALUES, c->rows, ROWS};
}

static int take_tickets(struct contest *c, struct err *e)
{
	for (int t = 0; t < TICKETS; t++) {
		c->corrections[t] = calloc(1, c->program->corrections + 64);
		c->delta[t] = calloc(1, c->program->delta + 64);
		c->kept[t] = calloc(c->program->ahead + 8, sizeof(uint64_t));
		if (!c->corrections[t] || !c->delta[t] || !c->kept[t])
			return err_set(e, ERR_ENV, "out of memory");
	}
	c->pixels = calloc(TICKETS, N);
	return c->pixels ? 0 : err_set(e, ERR_ENV, "out of memory");
}

static int take_parties(struct contest *c, struct err *e)
{
	static const struct layer_weights none[ROWS];
	const struct weights weights = {(struct layer_weights *)(uintptr_t)none, ROWS};
	uint8_t seeds[4][PRG_SEED_BYTES];

	for (int i = 0; i < 4; i++)
		prg_seed(seeds[i]);
	if (program_weights(&c->layers, c->program, &weights, e) ||
	    dealer_new(&c->dealer, c->program, c->layers, seeds[0], seeds[1], seeds[2], TICKETS, e) ||
	    aheads_new(&c->aheads, c->program, c->layers, seeds[0], TICKETS, e))
		return -1;
	for (int p = P0; p < PARTIES; p++)
		if (!(c->prg[p] = prg_new(seeds[p], PRG_TICKET, e)) ||
		    lane_new(&c->lane[p], c->program, (enum party)p, p == P1 ? c->layers : NULL, TICKETS, e))
			return -1;
	return 0;
}

static void contest_free(struct contest *c)
{
	for (int t = 0; t < TICKETS; t++) {
		free(c->corrections[t]);
		free(c->delta[t]);
		free(c->kept[t]);
	}
	for (int p = P0; p < PARTIES; p++) {
		lane_free(c->lane[p]);
		prg_free(c->prg[p]);
	}
	aheads_free(c->aheads);
	dealer_free(c->dealer);
	if (c->layers)
		layers_free(c->layers, c->program);
	program_free(c->program);
	free(c->pixels);
	free(c);
}

/* A message from one lane to the other, for nothing. */
static int pass(struct contest *c, enum party from, struct err *e)
{
	size_t bytes;
	uint32_t step;
	const uint8_t *m = lane_message(c->lane[from], &bytes, &step);

	return bytes ? lane_receive(c->lane[!from], m, bytes, e) : 0;
}

/* One inference; adds what each took. */
static int infer(struct contest *c, double seconds[WHO_ALL], struct err *e)
{
	static const enum who of[PARTIES] = {WHO_P0, WHO_P1};
	struct ticket tickets[TICKETS];
	enum engine_state state[PARTIES] = {ENGINE_WAIT, ENGINE_WAIT};
	double start = micro_now();

	dealer_make(c->dealer, c->next, TICKETS, c->corrections, c->tags);
	seconds[WHO_DEALER] += micro_now() - start;
	aheads_make(c->aheads, c->next, TICKETS, c->delta, c->kept);
	for (int t = 0; t < TICKETS; t++)
		tickets[t] =
		    (struct ticket){c->next + (uint64_t)t, c->corrections[t], c->delta[t], c->kept[t]};
	c->next += TICKETS;
	lane_begin(c->lane[P0], c->prg[P0], tickets, TICKETS, c->pixels);
	lane_begin(c->lane[P1], c->prg[P1], tickets, TICKETS, NULL);
	for (int p = P0; state[P0] != ENGINE_DONE || state[P1] != ENGINE_DONE; p = !p) {
		start = micro_now();
		state[p] = engine_run(c->lane[p]);
		seconds[of[p]] += micro_now() - start;
		if (pass(c, (enum party)p, e))
			return -1;
	}
	lane_reset(c->lane[P0]);
	lane_reset(c->lane[P1]);
	return 0;
}

/* The least of what each took for an inference. */
static int run(struct contest *c, double total, double best[WHO_ALL], struct err *e)
{
	double end = micro_now() + total;

	for (int i = 0; i < 4 || micro_now() < end; i++) {
		double seconds[WHO_ALL] = {0};

		if (infer(c, seconds, e))
			return -1;
		for (int w = 0; w < WHO_ALL; w++)
			if (!i || seconds[w] < best[w])
				best[w] = seconds[w];
	}
	return 0;
}

static int report(struct micro *m, struct bench_table *t, size_t width, enum table_mode mode,
		  const double best[WHO_ALL], struct err *e)
{
	bench_table_row(t);
	bench_table_cell(t, "%s", mode == TABLE_BANDWIDTH ? "bandwidth" : "latency");
	bench_table_cell(t, "%u", widths[width].k - widths[width].f);
	bench_table_cell(t, "%u", widths[width].kout);
	for (int w = 0; w < WHO_ALL; w++) {
		double rate = N * TICKETS / best[w];
		struct json_object *o = micro_line(m, "comparisons");

		json_text(o, "mode", mode == TABLE_BANDWIDTH ? "bandwidth" : "latency");
		json_count(o, "w", widths[width].k - widths[width].f);
		json_count(o, "kout", widths[width].kout);
		json_text(o, "party", who[w]);
		json_real(o, "per_second", rate);
		bench_table_cell(t, "%.2f", rate / 1e6);
		if (report_line(m->b, o, e))
			return -1;
	}
	return 0;
}

static int compare_one(struct micro *m, struct bench_table *t, size_t width, enum table_mode mode,
		       struct err *e)
{
	struct contest *c = calloc(1, sizeof(*c));
	double best[WHO_ALL];
	int r;

	if (!c)
		return err_set(e, ERR_ENV, "out of memory");
	lay_tape(c, width, mode);
	r = tape_check(&c->tape, e) || program_new(&c->program, &c->tape, e) || take_tickets(c, e) ||
		    take_parties(c, e) || run(c, 10 * m->seconds, best, e) ||
		    report(m, t, width, mode, best, e)
		? -1
		: 0;
	contest_free(c);
	return r;
}

int micro_compare(struct micro *m, struct err *e)
{
	struct bench_table *t;
	char title[128];

	snprintf(title, sizeof(title),
		 "%s: comparisons (M/s, one core) of words of W bits with results of KOUT bits",
		 cpu_name(m->tier));
	bench_progress(m->b, "%s: comparisons", cpu_name(m->tier));
	if (bench_table_new(&t, m->b->markdown, title, "MODE|>W|>KOUT|>PROVIDER|>DATA OWNER|>MODEL OWNER", e))
		return -1;
	for (int mode = TABLE_LATENCY; mode <= TABLE_BANDWIDTH; mode++)
		for (size_t width = 0; width < WIDTHS; width++)
			if (roles_go_on(e) || compare_one(m, t, width, (enum table_mode)mode, e)) {
				bench_table_free(t);
				return -1;
			}
	bench_clear(m->b);
	return bench_table_print(t, e);
}
