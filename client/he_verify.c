/* SPDX-License-Identifier: Apache-2.0 */
/* obscura verify --personality he: both parties in this process. Every answered layer of every picture is
 * held against exact integers on the same inputs, and must stay within the error that the plan has proven. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/he.h"
#include "client/sheet.h"
#include "client/trial.h"
#include "crypto/cpu.h"

struct found {
	struct tally tally;
	uint64_t beyond;
	double worst; /* part of a proven bound that was used */
};

struct verify {
	const struct graph *graph;
	const struct samples *samples;
	const struct he_local *m;
	uint32_t *labels; /* owns: the private label of each picture */
	struct found found;
};

struct worker {
	struct verify *v;
	struct he_lane *lane;
	struct he_replier *replier;
	struct fixed *fixed;
	struct critic critic;
	uint8_t *request, *answer; /* own */
	struct found found;
};

/* ---- one thread ---- */

static int converse(struct worker *w, const uint8_t *pixels, struct err *e)
{
	const struct he_plan *hp = w->v->m->hp;
	uint16_t level;
	int asked;

	he_lane_begin(w->lane, pixels, 1);
	while ((asked = he_lane_ask(w->lane, &level, w->request, e)) > 0)
		if (he_reply(w->replier, w->v->m->pk, level, 1, w->request, he_request_bytes(hp, level, 1),
			     w->answer, e) ||
		    he_lane_take(w->lane, w->answer, he_answer_bytes(hp, level, 1), e))
			return -1;
	return asked;
}

/* One layer: what was answered against the row's meaning on what the data owner had. */
static void check_step(struct worker *w, const struct he_step *s)
{
	const struct tape *t = &w->v->m->plan->tape;
	const struct row *row = &t->rows[s->row];
	const int64_t *got = he_lane_value(w->lane, 0, row->out), *want;
	double bound = s->error + 0.5;

	for (uint16_t j = 0; j < row->n_in; j++)
		memcpy(fixed_values(w->fixed, row->in[j]), he_lane_value(w->lane, 0, row->in[j]),
		       shape_size(t->values[row->in[j]].shape) * 8);
	fixed_row(w->fixed, s->row);
	want = fixed_value(w->fixed, row->out);
	for (size_t i = 0; i < shape_size(t->values[row->out].shape); i++) {
		double part = fabs((double)(got[i] - want[i])) / bound;

		w->found.worst = fmax(w->found.worst, part);
		w->found.beyond += part > 1;
	}
}

static int infer(void *thread, size_t at, size_t n, struct err *e)
{
	struct worker *w = thread;
	const struct he_plan *hp = w->v->m->hp;
	const struct samples *s = w->v->samples;

	for (; n; n--, at++) {
		if (converse(w, s->chw + at * s->pixels, e))
			return -1;
		for (uint16_t i = 0; i < hp->n_steps; i++)
			check_step(w, &hp->steps[i]);
		w->v->labels[at] = critic_judge(&w->critic, at, he_lane_result(w->lane, 0));
	}
	return 0;
}

static void end(void *verify, void *thread)
{
	struct verify *v = verify;
	struct worker *w = thread;

	tally_add(&v->found.tally, &w->critic.tally);
	v->found.beyond += w->found.beyond;
	v->found.worst = fmax(v->found.worst, w->found.worst);
	he_lane_free(w->lane);
	he_replier_free(w->replier);
	fixed_free(w->fixed);
	critic_free(&w->critic);
	free(w->request);
	free(w->answer);
	free(w);
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

static void *start(void *verify, struct err *e)
{
	struct verify *v = verify;
	struct worker *w = calloc(1, sizeof(*w));

	if (!w) {
		err_set(e, ERR_ENV, "out of memory");
		return NULL;
	}
	w->v = v;
	if (!take_buffers(w, v->m->hp, e) && !he_lane_new(&w->lane, v->m->hp, v->m->key, 1, e) &&
	    !he_replier_new(&w->replier, v->m->model, e) &&
	    !fixed_new(&w->fixed, v->m->plan, v->m->weights, e) &&
	    !critic_new(&w->critic, v->graph, v->m->plan, v->samples, e))
		return w;
	end(v, w);
	return NULL;
}

/* ---- report ---- */

static int print_json(const struct verify *v, const struct found *f, double seconds, struct err *e)
{
	const struct he_plan *hp = v->m->hp;
	struct json_object *o = json_object_new_object(), *bytes = json_object_new_object();

	json_text(o, "model", v->graph->name);
	json_text(o, "personality", "he");
	json_text(o, "nonlinear", "client");
	json_text(o, "leaks", personality_leaks(PERSONALITY_HE));
	json_text(o, "set", he_params(hp->set)->name);
	tally_json(o, &f->tally, v->samples);
	json_real(o, "error_of_bound", f->worst);
	json_count(o, "beyond_bound", f->beyond);
	json_count(o, "round_trips", hp->levels);
	json_object_object_add(bytes, "online", json_counted(hp->total_up, hp->total_down, NULL));
	json_object_object_add(o, "bytes", bytes);
	json_real(o, "seconds", seconds);
	return json_line(o, e);
}

static void print_table(const struct verify *v, const struct found *f, double seconds)
{
	const struct he_plan *hp = v->m->hp;
	char text[24];

	printf("%s, he (nonlinear = client), set %s: %llu images in %s\n", v->graph->name,
	       he_params(hp->set)->name, (unsigned long long)f->tally.images, sheet_seconds(text, seconds));
	tally_print(&f->tally, v->samples, "private");
	printf("  largest error of a layer, of its proven bound %.2g\n", f->worst);
	printf("  every message as predicted: %u round trips, %llu + %llu bytes\n", hp->levels,
	       (unsigned long long)hp->total_up, (unsigned long long)hp->total_down);
	printf("  leaks %s\n", personality_leaks(PERSONALITY_HE));
}

static int verdict(const struct found *f, double least, struct err *e)
{
	if (f->beyond)
		return err_set(
		    e, ERR_RESULT,
		    "%llu values of layers are further from exact integers than was proven: this is a bug",
		    (unsigned long long)f->beyond);
	return trial_verdict(&f->tally, least, e);
}

static int run_all(struct verify *v, size_t threads, double *seconds, struct err *e)
{
	struct trial trial = {
	    .samples = v->samples, .batch = 1, .of = v, .start = start, .infer = infer, .end = end};

	v->labels = calloc(v->samples->n + 1, sizeof(*v->labels));
	if (!v->labels)
		return err_set(e, ERR_ENV, "out of memory");
	return trial_run(&trial, threads, seconds, e);
}

int he_verify_tally(const struct he_local *m, const struct graph *g, const struct samples *s, size_t threads, struct tally *tally,
		    struct err *e)
{
	struct verify v = {.graph = g, .samples = s, .m = m};
	double seconds;
	int r = run_all(&v, threads, &seconds, e);

	free(v.labels);
	*tally = v.found.tally;
	return r;
}

static int verify_with(const struct args *a, struct verify *v, double least, struct err *e)
{
	double seconds;

	if (run_all(v, a->config.threads, &seconds, e) ||
	    trial_write_labels(a, v->labels, v->samples->n, e))
		return -1;
	if (!a->flag[FLAG_json])
		print_table(v, &v->found, seconds);
	else if (print_json(v, &v->found, seconds, e))
		return -1;
	return verdict(&v->found, least, e);
}

int he_verify_command(const struct args *a, const struct graph *g, struct err *e)
{
	struct verify v = {.graph = g};
	struct samples samples;
	struct he_local m;
	double least;
	int r;

	if (trial_least(a, &least, e) || trial_samples(a, g, &samples, e))
		return -1;
	v.samples = &samples;
	r = he_local_plan(&m, a, g, e);
	if (!r) {
		v.m = &m;
		r = he_local_ready(&m, e) || verify_with(a, &v, least, e) ? -1 : 0;
		free(v.labels);
		he_local_free(&m);
	}
	samples_free(&samples);
	return r;
}
