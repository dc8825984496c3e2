/* SPDX-License-Identifier: Apache-2.0 */
/* obscura verify --personality he: both parties in this process. Every answered layer of every picture is held against exact integers on
 * the same inputs, and must stay within the error that the plan has proven. */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/he.h"
#include "client/json.h"
#include "client/progress.h"
#include "client/samples.h"
#include "client/sheet.h"
#include "crypto/cpu.h"

struct found {
	uint64_t images, agree, right, float_right, beyond, errors;
	double max_error, sum_error, worst; /* worst: part of a proven bound that was used */
};

struct verify {
	const struct graph *graph;
	const struct samples *samples;
	const struct he_local *m;
	atomic_size_t next, done;
	atomic_int failed;
};

struct worker {
	struct verify *v;
	pthread_t thread;
	struct he_lane *lane;
	struct he_replier *replier;
	struct fixed *fixed;
	struct float_run *reference;
	uint8_t *request, *answer; /* own */
	float *logits, *scores;
	struct found found;
	struct err err;
};

/* ---- one picture ---- */

static int infer(struct worker *w, const uint8_t *pixels, struct err *e)
{
	const struct he_plan *hp = w->v->m->hp;
	uint16_t level;
	int asked;

	he_lane_begin(w->lane, pixels, 1);
	while ((asked = he_lane_ask(w->lane, &level, w->request, e)) > 0)
		if (he_reply(w->replier, w->v->m->pk, level, 1, w->request, he_request_bytes(hp, level, 1), w->answer, e) ||
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

static size_t greatest(const float *x, size_t n)
{
	size_t best = 0;

	for (size_t i = 1; i < n; i++)
		if (x[i] > x[best])
			best = i;
	return best;
}

static void judge(struct worker *w, size_t at)
{
	const struct samples *s = w->v->samples;
	const struct plan *plan = w->v->m->plan;
	const int64_t *result = he_lane_result(w->lane, 0);
	const float *reference = s->logits ? s->logits + at * s->classes : w->logits;
	uint32_t label;

	float_infer(w->reference, s->chw + at * s->pixels, w->logits);
	for (uint16_t i = 0; i < w->v->m->hp->n_steps; i++)
		check_step(w, &w->v->m->hp->steps[i]);
	label = plan_scores(plan, result, w->scores);
	w->found.images++;
	w->found.agree += label == greatest(reference, s->classes);
	if (s->labels) {
		w->found.right += label == (uint32_t)s->labels[at];
		w->found.float_right += greatest(reference, s->classes) == (size_t)s->labels[at];
	}
	for (size_t i = 0; i < s->classes; i++) {
		double error = fabs(ldexp((double)result[i], -plan->result_bits) / plan->result_divisor - reference[i]);

		w->found.max_error = fmax(w->found.max_error, error);
		w->found.sum_error += error;
	}
	w->found.errors += s->classes;
}

/* ---- threads ---- */

static void *worker_main(void *p)
{
	struct worker *w = p;
	struct verify *v = w->v;

	while (!atomic_load(&v->failed)) {
		size_t at = atomic_fetch_add(&v->next, 1);

		if (at >= v->samples->n)
			break;
		if (infer(w, v->samples->chw + at * v->samples->pixels, &w->err)) {
			atomic_store(&v->failed, 1);
			break;
		}
		judge(w, at);
		atomic_fetch_add(&v->done, 1);
	}
	return NULL;
}

static int worker_new(struct worker *w, struct verify *v, struct err *e)
{
	const struct he_plan *hp = v->m->hp;
	size_t request = 1, answer = 1;

	for (uint16_t i = 0; i < hp->levels; i++) {
		request = he_request_bytes(hp, i, 1) > request ? he_request_bytes(hp, i, 1) : request;
		answer = he_answer_bytes(hp, i, 1) > answer ? he_answer_bytes(hp, i, 1) : answer;
	}
	w->v = v;
	if (he_lane_new(&w->lane, hp, v->m->key, 1, e) || he_replier_new(&w->replier, v->m->model, e) ||
	    fixed_new(&w->fixed, v->m->plan, v->m->weights, e) || float_new(&w->reference, v->graph, e))
		return -1;
	w->request = malloc(request);
	w->answer = malloc(answer);
	w->logits = calloc(v->samples->classes, sizeof(float));
	w->scores = calloc(v->samples->classes, sizeof(float));
	return w->request && w->answer && w->logits && w->scores ? 0 : err_set(e, ERR_ENV, "out of memory");
}

static void worker_free(struct worker *w)
{
	he_lane_free(w->lane);
	he_replier_free(w->replier);
	fixed_free(w->fixed);
	float_free(w->reference);
	free(w->request);
	free(w->answer);
	free(w->logits);
	free(w->scores);
}

static void found_add(struct found *all, const struct found *one)
{
	all->images += one->images;
	all->agree += one->agree;
	all->right += one->right;
	all->float_right += one->float_right;
	all->beyond += one->beyond;
	all->errors += one->errors;
	all->max_error = fmax(all->max_error, one->max_error);
	all->worst = fmax(all->worst, one->worst);
	all->sum_error += one->sum_error;
}

static void watch(struct verify *v)
{
	struct progress p;

	progress_start(&p, "images", v->samples->n);
	while (p.terminal && !atomic_load(&v->failed) && atomic_load(&v->done) < v->samples->n) {
		progress_at(&p, atomic_load(&v->done));
		nanosleep(&(struct timespec){0, 100000000}, NULL);
	}
	progress_end(&p);
}

static int run_all(struct verify *v, struct worker *workers, size_t n, struct found *found, struct err *e)
{
	size_t started = 0;
	int r = 0;

	for (size_t i = 0; i < n && !r; i++)
		r = worker_new(&workers[i], v, e);
	for (; started < n && !r; started++)
		if (pthread_create(&workers[started].thread, NULL, worker_main, &workers[started])) {
			atomic_store(&v->failed, 1);
			r = err_set(e, ERR_ENV, "cannot start %zu threads", n);
			break;
		}
	if (!r)
		watch(v);
	for (size_t i = 0; i < started; i++) {
		pthread_join(workers[i].thread, NULL);
		found_add(found, &workers[i].found);
		if (workers[i].err.code && !r)
			r = err_set(e, workers[i].err.code, "%s", workers[i].err.text);
	}
	for (size_t i = 0; i < n; i++)
		worker_free(&workers[i]);
	return r;
}

/* ---- report ---- */

static int print_json(const struct verify *v, const struct found *f, double seconds, struct err *e)
{
	const struct he_plan *hp = v->m->hp;
	struct json_object *o = json_object_new_object(), *bytes = json_object_new_object();
	double n = (double)f->images;

	json_text(o, "model", v->graph->name);
	json_text(o, "personality", "he");
	json_text(o, "nonlinear", "client");
	json_text(o, "leaks", HE_LEAKS);
	json_text(o, "set", he_params(hp->set)->name);
	json_count(o, "images", f->images);
	json_real(o, "label_agreement", (double)f->agree / n);
	json_real(o, "accuracy", v->samples->labels ? (double)f->right / n : NAN);
	json_real(o, "float_accuracy", v->samples->labels ? (double)f->float_right / n : NAN);
	json_real(o, "max_abs_error", f->max_error);
	json_real(o, "mean_abs_error", f->sum_error / (double)f->errors);
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
	double n = (double)f->images;
	char text[24];

	printf("%s, he (nonlinear = client), set %s: %llu images in %s\n", v->graph->name, he_params(hp->set)->name,
	       (unsigned long long)f->images, sheet_seconds(text, seconds));
	printf("  labels equal to the float model's   %.6g\n", (double)f->agree / n);
	if (v->samples->labels)
		printf("  accuracy, private and float         %.6g, %.6g\n", (double)f->right / n, (double)f->float_right / n);
	printf("  error of scores, largest and mean   %.3g, %.3g\n", f->max_error, f->sum_error / (double)f->errors);
	printf("  largest error of a layer, of its proven bound %.2g\n", f->worst);
	printf("  every message as predicted: %u round trips, %llu + %llu bytes\n", hp->levels, (unsigned long long)hp->total_up,
	       (unsigned long long)hp->total_down);
	printf("  leaks " HE_LEAKS "\n");
}

static int verdict(const struct args *a, const struct found *f, struct err *e)
{
	const char *text = a->flag[FLAG_min_agreement];
	double least = text ? strtod(text, NULL) : 0.999, agreement = (double)f->agree / (double)f->images;

	if (f->beyond)
		return err_set(e, ERR_RESULT, "%llu values of layers are further from exact integers than was proven: this is a bug",
			       (unsigned long long)f->beyond);
	if (agreement < least)
		return err_set(e, ERR_RESULT, "label agreement is %.6g, below %.6g; use more --weight-bits or --activation-bits", agreement,
			       least);
	return 0;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int verify_with(const struct args *a, struct verify *v, struct err *e)
{
	size_t threads = a->config.threads;
	struct found found = {0};
	struct worker *workers;
	double start = now();
	int r;

	if (threads > v->samples->n)
		threads = v->samples->n;
	workers = calloc(threads + 1, sizeof(*workers));
	if (!workers)
		return err_set(e, ERR_ENV, "out of memory");
	r = run_all(v, workers, threads, &found, e);
	free(workers);
	if (r)
		return -1;
	if (!a->flag[FLAG_json])
		print_table(v, &found, now() - start);
	else if (print_json(v, &found, now() - start, e))
		return -1;
	return verdict(a, &found, e);
}

static int load(const struct args *a, const struct graph *g, struct samples *samples, struct err *e)
{
	struct samples_from from = {.images = a->flag[FLAG_images],
				    .labels = a->flag[FLAG_labels],
				    .logits = a->flag[FLAG_logits],
				    .fit = {g->nodes[0].shape, g->pre.resize, a->flag[FLAG_convert] != NULL},
				    .classes = shape_size(g->nodes[g->n - 1].shape)};

	if (!from.images)
		return err_set(e, ERR_USAGE, "say on what: --images SRC");
	if (args_number(a, FLAG_offset, 0, 0, UINT32_MAX, &from.offset, e) || args_number(a, FLAG_limit, 0, 1, UINT32_MAX, &from.limit, e))
		return -1;
	return samples_load(samples, &from, e);
}

int he_verify_command(const struct args *a, const struct graph *g, struct err *e)
{
	struct verify v = {.graph = g};
	struct samples samples;
	struct he_local m;
	int r;

	if (load(a, g, &samples, e))
		return -1;
	v.samples = &samples;
	r = he_local_plan(&m, a, g, e);
	if (!r) {
		v.m = &m;
		r = he_local_ready(&m, e) || verify_with(a, &v, e) ? -1 : 0;
		he_local_free(&m);
	}
	samples_free(&samples);
	return r;
}
