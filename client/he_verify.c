/* SPDX-License-Identifier: Apache-2.0 */
/* obscura verify --personality he: both parties in this process. Every answered layer of every picture is
 * held against exact integers on the same inputs, and must stay within the error that the plan has proven. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/he.h"

struct verify {
	struct trial base;
	const struct he_local *m;
	uint64_t beyond;
	double worst; /* part of a proven bound that was used */
};

struct worker {
	struct trial_thread base;
	const struct he_local *m;
	struct he_lane *lane;
	struct he_replier *replier;
	uint8_t *request, *answer; /* own */
	uint64_t beyond;
	double worst;
};

/* ---- one thread ---- */

static int converse(struct worker *w, const uint8_t *pixels, struct err *e)
{
	const struct he_plan *hp = w->m->hp;
	uint16_t level;
	int asked;

	he_lane_begin(w->lane, pixels, 1);
	while ((asked = he_lane_ask(w->lane, &level, w->request, e)) > 0)
		if (he_reply(w->replier, w->m->pk, level, 1, w->request, he_request_bytes(hp, level, 1),
			     w->answer, e) ||
		    he_lane_take(w->lane, w->answer, he_answer_bytes(hp, level, 1), e))
			return -1;
	return asked;
}

/* One layer: what was answered against the row's meaning on what the data owner had. */
static void check_step(struct worker *w, const struct he_step *s)
{
	const struct tape *t = &w->m->plan->tape;
	const struct row *row = &t->rows[s->row];
	const int64_t *got = he_lane_value(w->lane, 0, row->out), *want;
	double bound = s->error + 0.5;

	for (uint16_t j = 0; j < row->n_in; j++)
		memcpy(fixed_values(w->base.fixed, row->in[j]), he_lane_value(w->lane, 0, row->in[j]),
		       shape_size(t->values[row->in[j]].shape) * 8);
	fixed_row(w->base.fixed, s->row);
	want = fixed_value(w->base.fixed, row->out);
	for (size_t i = 0; i < shape_size(t->values[row->out].shape); i++) {
		double part = fabs((double)(got[i] - want[i])) / bound;

		w->worst = fmax(w->worst, part);
		w->beyond += part > 1;
	}
}

static int infer(struct trial_thread *thread, size_t at, size_t n, struct err *e)
{
	struct worker *w = (struct worker *)thread;
	const struct he_plan *hp = w->m->hp;
	const struct samples *s = thread->trial->samples;

	for (; n; n--, at++) {
		if (converse(w, s->chw + at * s->pixels, e))
			return -1;
		for (uint16_t i = 0; i < hp->n_steps; i++)
			check_step(w, &hp->steps[i]);
		trial_judge(thread, at, he_lane_result(w->lane, 0));
	}
	return 0;
}

static void end(struct trial_thread *thread)
{
	struct verify *v = (struct verify *)thread->trial;
	struct worker *w = (struct worker *)thread;

	v->beyond += w->beyond;
	v->worst = fmax(v->worst, w->worst);
	he_lane_free(w->lane);
	he_replier_free(w->replier);
	free(w->request);
	free(w->answer);
}

/* The longest message of any level. */
static int take_buffers(struct worker *w, const struct he_plan *hp, struct err *e)
{
	size_t request = 1, answer = 1;

	for (uint16_t i = 0; i < hp->levels; i++) {
		request = he_request_bytes(hp, i, 1) > request ? he_request_bytes(hp, i, 1) : request;
		answer = he_answer_bytes(hp, i, 1) > answer ? he_answer_bytes(hp, i, 1) : answer;
	}
	w->request = malloc(request);
	w->answer = malloc(answer);
	return w->request && w->answer ? 0 : err_set(e, ERR_ENV, "out of memory");
}

static int start(struct trial_thread *thread, struct err *e)
{
	struct worker *w = (struct worker *)thread;
	const struct he_local *m = w->m = ((const struct verify *)thread->trial)->m;

	if (take_buffers(w, m->hp, e) || he_lane_new(&w->lane, m->hp, m->key, 1, e))
		return -1;
	return he_replier_new(&w->replier, m->model, e);
}

/* ---- report ---- */

static void add_json(const struct trial *t, struct json_object *o)
{
	const struct verify *v = (const struct verify *)t;
	const struct he_plan *hp = v->m->hp;
	struct json_object *bytes = json_object_new_object();

	json_text(o, "nonlinear", "client");
	json_text(o, "leaks", personality_leaks(PERSONALITY_HE));
	json_text(o, "set", he_params(hp->set)->name);
	tally_json(o, t);
	json_real(o, "error_of_bound", v->worst);
	json_count(o, "beyond_bound", v->beyond);
	json_count(o, "round_trips", hp->levels);
	json_object_object_add(bytes, "online", json_counted(hp->total_up, hp->total_down, NULL));
	json_object_object_add(o, "bytes", bytes);
}

static void print(const struct trial *t)
{
	const struct verify *v = (const struct verify *)t;
	const struct he_plan *hp = v->m->hp;

	printf("  largest error of a layer, of its proven bound %.2g\n", v->worst);
	printf("  every message as predicted: %u round trips, %llu + %llu bytes\n", hp->levels,
	       (unsigned long long)hp->total_up, (unsigned long long)hp->total_down);
	printf("  leaks %s\n", personality_leaks(PERSONALITY_HE));
}

static int verdict(const struct trial *t, struct err *e)
{
	const struct verify *v = (const struct verify *)t;

	if (!v->beyond)
		return 0;
	return err_set(e, ERR_RESULT,
		       "%llu values of layers are further from exact integers than was proven: this is a bug",
		       (unsigned long long)v->beyond);
}

/* ---- command ---- */

static struct verify verify_of(const struct he_local *m, const struct graph *g, const struct samples *s)
{
	return (struct verify){.base = {.personality = PERSONALITY_HE,
					.who = "private",
					.graph = g,
					.samples = s,
					.plan = m->plan,
					.weights = m->weights,
					.batch = 1,
					.thread_bytes = sizeof(struct worker),
					.start = start,
					.infer = infer,
					.end = end,
					.print = print,
					.json = add_json,
					.verdict = verdict},
			       .m = m};
}

int he_verify_tally(const struct he_local *m, const struct graph *g, const struct samples *s, size_t threads,
		    struct tally *tally, struct err *e)
{
	struct verify v = verify_of(m, g, s);
	int r = trial_run(&v.base, threads, e);

	free(v.base.labels);
	*tally = v.base.tally;
	return r;
}

int he_verify(const struct args *a, const struct graph *g, const struct samples *s, double least,
	      struct err *e)
{
	struct he_local m;
	char title[48];
	int r = he_local_plan(&m, a, g, e);

	if (!r && !(r = he_local_ready(&m, e))) {
		struct verify v = verify_of(&m, g, s);

		snprintf(title, sizeof(title), "he (nonlinear = client), set %s", he_params(m.hp->set)->name);
		v.base.title = title;
		r = trial_verify(&v.base, a, least, e);
	}
	he_local_free(&m);
	return r;
}
