/* SPDX-License-Identifier: Apache-2.0 */
/* obscura plan and verify --personality clear: every picture through the fast evaluation, held against the
 * fixed-point reference bit by bit and against the float model. */
#include "client/clear.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/clear.h"

#define TOGETHER 16 /* pictures of one call */

struct local {
	struct plan *plan; /* own */
	struct weights *weights;
	struct clear_model *model;
	struct program predicted;
};

static int local_new(struct local *m, const struct args *a, const struct graph *g, struct err *e)
{
	struct plan_options options;

	memset(m, 0, sizeof(*m));
	if (args_plan(a, &options, e) || plan_make(&m->plan, &m->weights, NULL, g, &options, e))
		return -1;
	clear_predict(&m->predicted, m->plan);
	return clear_model_new(&m->model, m->plan, m->weights, e);
}

static void local_free(struct local *m)
{
	clear_model_free(m->model);
	weights_free(m->weights);
	plan_free(m->plan);
}

static struct json_object *json_bytes(const struct program *g)
{
	struct json_object *bytes = json_object_new_object();

	json_object_object_add(bytes, "online", json_counted(g->online[P0], g->online[P1], NULL));
	return bytes;
}

/* ---- plan ---- */

int clear_plan_command(const struct args *a, const struct graph *g, struct err *e)
{
	struct json_object *o;
	struct local m;
	int r = local_new(&m, a, g, e);

	if (!r && !a->flag[FLAG_json]) {
		printf("%s, clear: 1 round trip; %llu bytes sent and %llu received by the data owner for one "
		       "image\n",
		       g->name, (unsigned long long)m.predicted.online[P0],
		       (unsigned long long)m.predicted.online[P1]);
		printf("  %llu multiply-adds at the model owner\n  leaks %s\n",
		       (unsigned long long)clear_work(m.model), personality_leaks(PERSONALITY_CLEAR));
	} else if (!r) {
		o = json_object_new_object();
		json_text(o, "model", g->name);
		json_text(o, "personality", "clear");
		json_text(o, "leaks", personality_leaks(PERSONALITY_CLEAR));
		json_count(o, "round_trips", m.predicted.round_trips);
		json_object_object_add(o, "bytes", json_bytes(&m.predicted));
		json_count(o, "multiply_adds", clear_work(m.model));
		r = json_line(o, e);
	}
	local_free(&m);
	return r;
}

/* ---- verify ---- */

struct worker {
	struct trial_thread base;
	struct clear *clear;
	int64_t *result; /* owns: of TOGETHER pictures */
};

struct verify {
	struct trial base;
	const struct local *m;
};

static int start(struct trial_thread *thread, struct err *e)
{
	struct worker *w = (struct worker *)thread;
	const struct local *m = ((const struct verify *)thread->trial)->m;

	w->result = calloc(TOGETHER * plan_words(m->plan), sizeof(*w->result));
	if (!w->result)
		return err_set(e, ERR_ENV, "out of memory");
	return clear_new(&w->clear, m->model, TOGETHER, e);
}

static int infer(struct trial_thread *thread, size_t at, size_t n, struct err *e)
{
	const struct worker *w = (const struct worker *)thread;
	const struct samples *s = thread->trial->samples;

	clear_infer(w->clear, s->chw + at * s->pixels, n, w->result);
	for (size_t i = 0; i < n; i++)
		trial_exact(thread, at + i, w->result + i * plan_words(thread->trial->plan), NULL, NULL);
	return 0;
}

static void end(struct trial_thread *thread)
{
	struct worker *w = (struct worker *)thread;

	clear_free(w->clear);
	free(w->result);
}

static void add_json(const struct trial *t, struct json_object *o)
{
	const struct program *predicted = &((const struct verify *)t)->m->predicted;

	json_text(o, "leaks", personality_leaks(PERSONALITY_CLEAR));
	tally_json(o, t);
	json_count(o, "fixed_point_differences", t->tally.fixed_differs);
	json_count(o, "round_trips", predicted->round_trips);
	json_object_object_add(o, "bytes", json_bytes(predicted));
}

static void print(const struct trial *t)
{
	printf("  not equal to the reference, bit by bit %llu\n", (unsigned long long)t->tally.fixed_differs);
}

int clear_verify(const struct args *a, const struct graph *g, const struct samples *s, double least,
		 struct err *e)
{
	struct local m;
	struct verify v = {.base = {.personality = PERSONALITY_CLEAR,
				    .title = "clear",
				    .who = "fixed-point",
				    .graph = g,
				    .samples = s,
				    .batch = TOGETHER,
				    .thread_bytes = sizeof(struct worker),
				    .start = start,
				    .infer = infer,
				    .end = end,
				    .print = print,
				    .json = add_json},
			   .m = &m};
	int r = local_new(&m, a, g, e);

	v.base.plan = m.plan;
	v.base.weights = m.weights;
	if (!r)
		r = trial_verify(&v.base, a, least, e);
	local_free(&m);
	return r;
}
