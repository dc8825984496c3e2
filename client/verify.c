/* SPDX-License-Identifier: Apache-2.0 */
/* obscura verify: float, fixed-point and private result of every picture, all parties in this process. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/clear.h"
#include "client/he.h"
#include "client/private.h"
#include "crypto/cpu.h"

#define THREAD_BYTES ((size_t)128 << 20) /* of one thread's batch */

struct verify {
	struct trial base;
	struct private_model model;
	double float_max_error;
};

struct worker {
	struct trial_thread base;
	struct private *run;
	int64_t *result; /* owns: of a batch */
	double float_max_error;
};

/* ---- one thread ---- */

static int infer(struct trial_thread *thread, size_t at, size_t n, struct err *e)
{
	struct worker *w = (struct worker *)thread;
	const struct samples *s = thread->trial->samples;
	struct private_rounding rounding = {.run = w->run};

	if (private_infer(w->run, s->chw + at * s->pixels, n, w->result, e))
		return -1;
	for (size_t i = 0; i < n; i++) {
		rounding.image = i;
		trial_exact(thread, at + i, w->result + i * plan_words(thread->trial->plan), private_low,
			    &rounding);
		for (size_t c = 0; s->logits && c < s->classes; c++)
			w->float_max_error =
			    fmax(w->float_max_error,
				 fabs((double)thread->logits[c] - s->logits[(at + i) * s->classes + c]));
	}
	return 0;
}

static void end(struct trial_thread *thread)
{
	struct verify *v = (struct verify *)thread->trial;
	struct worker *w = (struct worker *)thread;

	v->float_max_error = fmax(v->float_max_error, w->float_max_error);
	private_free(w->run);
	free(w->result);
}

static int start(struct trial_thread *thread, struct err *e)
{
	const struct verify *v = (const struct verify *)thread->trial;
	struct worker *w = (struct worker *)thread;

	w->result = calloc(v->base.batch * plan_words(v->base.plan), sizeof(*w->result));
	if (!w->result)
		return err_set(e, ERR_ENV, "out of memory");
	return private_new(&w->run, &v->model, v->base.batch, e);
}

/* ---- report ---- */

static void add_json(const struct trial *t, struct json_object *o)
{
	const struct verify *v = (const struct verify *)t;
	const struct program *g = v->model.program;
	struct json_object *bytes = json_object_new_object();

	json_text(o, "mode", t->plan->optimise == PLAN_LATENCY ? "latency" : "bandwidth");
	tally_json(o, t);
	json_count(o, "overflow_bits_spare", v->model.spare);
	json_count(o, "fixed_point_differences", t->tally.fixed_differs);
	if (t->samples->logits)
		json_real(o, "float_max_abs_error", v->float_max_error);
	json_count(o, "round_trips", g->round_trips);
	json_object_object_add(bytes, "online", json_counted(g->online[P0], g->online[P1], NULL));
	json_object_object_add(bytes, "offline", json_counted(g->delta, 0, &g->corrections));
	json_object_object_add(o, "bytes", bytes);
}

static void print(const struct trial *t)
{
	const struct verify *v = (const struct verify *)t;
	const struct program *g = v->model.program;

	if (t->samples->logits)
		printf("  own float against --logits, largest %.3g\n", v->float_max_error);
	printf("  not equal to fixed point, bit by bit %llu\n", (unsigned long long)t->tally.fixed_differs);
	printf("  bits to spare before overflow       %u\n", v->model.spare);
	printf("  every message as predicted: %u round trips, %llu + %llu bytes online\n", g->round_trips,
	       (unsigned long long)g->online[P0], (unsigned long long)g->online[P1]);
}

/* ---- command ---- */

static int smpc_verify(const struct args *a, const struct graph *g, const struct samples *s, double least,
		       struct err *e)
{
	struct verify v = {.base = {.personality = PERSONALITY_SMPC,
				    .who = "private",
				    .graph = g,
				    .samples = s,
				    .thread_bytes = sizeof(struct worker),
				    .start = start,
				    .infer = infer,
				    .end = end,
				    .print = print,
				    .json = add_json}};
	struct plan_options options;
	int r;

	if (args_plan(a, &options, e) || private_model_new(&v.model, g, &options, e))
		return -1;
	v.base.plan = v.model.plan;
	v.base.weights = v.model.weights;
	v.base.batch = private_batch(&v.model, THREAD_BYTES);
	v.base.title = v.base.plan->optimise == PLAN_LATENCY ? "smpc, latency mode" : "smpc, bandwidth mode";
	r = trial_verify(&v.base, a, least, e);
	private_model_free(&v.model);
	return r;
}

static int verify_graph(const struct args *a, enum personality p, const struct graph *g, struct err *e)
{
	struct samples samples;
	double least;
	int r;

	if (trial_least(a, &least, e) || trial_samples(a, g, &samples, e))
		return -1;
	if (p == PERSONALITY_CLEAR)
		r = clear_verify(a, g, &samples, least, e);
	else if (p == PERSONALITY_HE)
		r = he_verify(a, g, &samples, least, e);
	else
		r = smpc_verify(a, g, &samples, least, e);
	samples_free(&samples);
	return r;
}

int command_verify(struct args *a, struct err *e)
{
	enum personality p;
	struct graph *g;
	int r;

	if (a->n != 1)
		return err_set(e, ERR_USAGE, "say which: obscura verify MODEL.onnx --images SRC");
	if (args_personality(a, &p, e) || cpu_select(a->config.cpu, e) || args_model(a, a->words[0], &g, e))
		return -1;
	r = verify_graph(a, p, g, e);
	graph_free(g);
	return r;
}
