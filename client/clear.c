/* SPDX-License-Identifier: Apache-2.0 */
/* obscura plan and verify --personality clear: every picture through the fast evaluation, held against the
 * fixed-point reference bit by bit and against the float model. */
#include "client/clear.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/sheet.h"
#include "client/trial.h"
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

struct found {
	struct tally tally;
	uint64_t fixed_differs;
};

struct verify {
	const struct graph *graph;
	const struct samples *samples;
	const struct local *m;
	uint32_t *labels; /* owns */
	struct found found;
};

struct worker {
	struct verify *v;
	struct clear *clear;
	struct fixed *fixed;
	struct critic critic;
	int64_t *result, *want; /* own */
	uint64_t fixed_differs;
};

static int infer(void *thread, size_t at, size_t n, struct err *e)
{
	struct worker *w = thread;
	const struct samples *s = w->v->samples;
	size_t words = plan_words(w->v->m->plan);

	clear_infer(w->clear, s->chw + at * s->pixels, n, w->result);
	for (size_t i = 0; i < n; i++) {
		fixed_infer(w->fixed, s->chw + (at + i) * s->pixels, NULL, NULL, w->want);
		w->fixed_differs += memcmp(w->result + i * words, w->want, words * sizeof(*w->want)) != 0;
		w->v->labels[at + i] = critic_judge(&w->critic, at + i, w->result + i * words);
	}
	return 0;
}

static void end(void *verify, void *thread)
{
	struct verify *v = verify;
	struct worker *w = thread;

	tally_add(&v->found.tally, &w->critic.tally);
	v->found.fixed_differs += w->fixed_differs;
	clear_free(w->clear);
	fixed_free(w->fixed);
	critic_free(&w->critic);
	free(w->result);
	free(w->want);
	free(w);
}

static void *start(void *verify, struct err *e)
{
	struct verify *v = verify;
	struct worker *w = calloc(1, sizeof(*w));
	size_t words = plan_words(v->m->plan);

	if (!w) {
		err_set(e, ERR_ENV, "out of memory");
		return NULL;
	}
	w->v = v;
	w->result = calloc(TOGETHER * words, sizeof(*w->result));
	w->want = calloc(words, sizeof(*w->want));
	if (!w->result || !w->want)
		err_set(e, ERR_ENV, "out of memory");
	else if (!clear_new(&w->clear, v->m->model, TOGETHER, e) &&
		 !fixed_new(&w->fixed, v->m->plan, v->m->weights, e) &&
		 !critic_new(&w->critic, v->graph, v->m->plan, v->samples, e))
		return w;
	end(v, w);
	return NULL;
}

static int print_json(const struct verify *v, double seconds, struct err *e)
{
	struct json_object *o = json_object_new_object();

	json_text(o, "model", v->graph->name);
	json_text(o, "personality", "clear");
	json_text(o, "leaks", personality_leaks(PERSONALITY_CLEAR));
	tally_json(o, &v->found.tally, v->samples);
	json_count(o, "fixed_point_differences", v->found.fixed_differs);
	json_count(o, "round_trips", v->m->predicted.round_trips);
	json_object_object_add(o, "bytes", json_bytes(&v->m->predicted));
	json_real(o, "seconds", seconds);
	return json_line(o, e);
}

static void print_table(const struct verify *v, double seconds)
{
	char text[24];

	printf("%s, clear: %llu images in %s\n", v->graph->name, (unsigned long long)v->found.tally.images,
	       sheet_seconds(text, seconds));
	tally_print(&v->found.tally, v->samples, "fixed-point");
	printf("  not equal to the reference, bit by bit %llu\n", (unsigned long long)v->found.fixed_differs);
}

static int verify_with(const struct args *a, struct verify *v, double least, struct err *e)
{
	struct trial trial = {
	    .samples = v->samples, .batch = TOGETHER, .of = v, .start = start, .infer = infer, .end = end};
	double seconds;

	v->labels = calloc(v->samples->n, sizeof(*v->labels));
	if (!v->labels)
		return err_set(e, ERR_ENV, "out of memory");
	if (trial_run(&trial, a->config.threads, &seconds, e) ||
	    trial_write_labels(a, v->labels, v->samples->n, e))
		return -1;
	if (!a->flag[FLAG_json])
		print_table(v, seconds);
	else if (print_json(v, seconds, e))
		return -1;
	if (v->found.fixed_differs)
		return err_set(e, ERR_RESULT,
			       "%llu of %llu results differ from the fixed-point reference: this is a bug",
			       (unsigned long long)v->found.fixed_differs,
			       (unsigned long long)v->found.tally.images);
	return trial_verdict(&v->found.tally, least, e);
}

int clear_verify_command(const struct args *a, const struct graph *g, struct err *e)
{
	struct verify v = {.graph = g};
	struct samples samples;
	struct local m;
	double least;
	int r;

	if (trial_least(a, &least, e) || trial_samples(a, g, &samples, e))
		return -1;
	v.samples = &samples;
	v.m = &m;
	r = local_new(&m, a, g, e) || verify_with(a, &v, least, e) ? -1 : 0;
	free(v.labels);
	local_free(&m);
	samples_free(&samples);
	return r;
}
