/* SPDX-License-Identifier: Apache-2.0 */
#include "client/trial.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "client/progress.h"

/* ---- against the float model ---- */

int critic_new(struct critic *c, const struct graph *g, const struct plan *plan, const struct samples *s,
	       struct err *e)
{
	c->samples = s;
	c->plan = plan;
	if (float_new(&c->run, g, e))
		return -1;
	c->logits = calloc(s->classes, sizeof(float));
	c->scores = calloc(s->classes, sizeof(float));
	return c->logits && c->scores ? 0 : err_set(e, ERR_ENV, "out of memory");
}

void critic_free(struct critic *c)
{
	float_free(c->run);
	free(c->logits);
	free(c->scores);
}

static uint32_t greatest(const float *x, size_t n)
{
	uint32_t best = 0;

	for (uint32_t i = 1; i < n; i++)
		if (x[i] > x[best])
			best = i;
	return best;
}

/* Revealed integers → logits: integer / 2^bits / divisor. */
static void note_errors(struct critic *c, const int64_t *result, const float *reference)
{
	for (size_t i = 0; i < c->samples->classes; i++) {
		double logit = ldexp((double)result[i], -c->plan->result_bits) / c->plan->result_divisor;
		double error = fabs(logit - reference[i]);

		c->tally.max_error = fmax(c->tally.max_error, error);
		c->tally.sum_error += error;
	}
	c->tally.errors += c->samples->classes;
}

uint32_t critic_judge(struct critic *c, size_t at, const int64_t *result)
{
	const struct samples *s = c->samples;
	const float *reference = s->logits ? s->logits + at * s->classes : c->logits;
	uint32_t label = plan_scores(c->plan, result, c->scores), expected;

	float_infer(c->run, s->chw + at * s->pixels, c->logits);
	expected = greatest(reference, s->classes);
	c->tally.images++;
	c->tally.agree += label == expected;
	if (s->labels) {
		c->tally.right += label == (uint32_t)s->labels[at];
		c->tally.float_right += expected == (uint32_t)s->labels[at];
	}
	if (c->plan->reveal == REVEAL_LOGITS)
		note_errors(c, result, reference);
	return label;
}

void tally_add(struct tally *all, const struct tally *one)
{
	all->images += one->images;
	all->agree += one->agree;
	all->right += one->right;
	all->float_right += one->float_right;
	all->errors += one->errors;
	all->max_error = fmax(all->max_error, one->max_error);
	all->sum_error += one->sum_error;
}

void tally_print(const struct tally *t, const struct samples *s, const char *who)
{
	double n = (double)t->images;
	char accuracy[48];

	snprintf(accuracy, sizeof(accuracy), "accuracy, %s and float", who);
	printf("  labels equal to the float model's   %.6g\n", (double)t->agree / n);
	if (s->labels)
		printf("  %-35s %.6g, %.6g\n", accuracy, (double)t->right / n, (double)t->float_right / n);
	if (t->errors)
		printf("  error of scores, largest and mean   %.3g, %.3g\n", t->max_error,
		       t->sum_error / (double)t->errors);
}

void tally_json(struct json_object *o, const struct tally *t, const struct samples *s)
{
	double n = (double)t->images;

	json_count(o, "images", t->images);
	json_real(o, "label_agreement", (double)t->agree / n);
	json_real(o, "accuracy", s->labels ? (double)t->right / n : NAN);
	json_real(o, "float_accuracy", s->labels ? (double)t->float_right / n : NAN);
	json_real(o, "max_abs_error", t->errors ? t->max_error : NAN);
	json_real(o, "mean_abs_error", t->errors ? t->sum_error / (double)t->errors : NAN);
}

/* ---- threads ---- */

struct worker {
	struct trial *trial;
	pthread_t thread;
	void *own;
	struct err err;
};

static void *work(void *ctx)
{
	struct worker *w = ctx;
	struct trial *t = w->trial;

	while (!atomic_load(&t->failed)) {
		size_t at = atomic_fetch_add(&t->next, t->batch), n = t->batch;

		if (at >= t->samples->n)
			break;
		if (n > t->samples->n - at)
			n = t->samples->n - at;
		if (t->infer(w->own, at, n, &w->err))
			atomic_store(&t->failed, 1);
		atomic_fetch_add(&t->done, n);
	}
	return NULL;
}

static void watch(struct trial *t)
{
	struct progress p;

	progress_start(&p, "images", t->samples->n);
	while (p.terminal && !atomic_load(&t->failed) && atomic_load(&t->done) < t->samples->n) {
		progress_at(&p, atomic_load(&t->done));
		nanosleep(&(struct timespec){0, 100000000}, NULL);
	}
	progress_end(&p);
}

/* Returns how many threads run. */
static size_t start_threads(struct trial *t, struct worker *workers, size_t n, struct err *e)
{
	size_t started = 0;

	while (started < n && !e->code) {
		struct worker *w = &workers[started];

		w->trial = t;
		if (!(w->own = t->start(t->of, e)))
			break;
		if (pthread_create(&w->thread, NULL, work, w)) {
			t->end(t->of, w->own);
			err_set(e, ERR_ENV, "cannot start %zu threads", n);
			break;
		}
		started++;
	}
	return started;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int trial_run(struct trial *t, size_t threads, double *seconds, struct err *e)
{
	size_t batches = (t->samples->n + t->batch - 1) / t->batch, n = threads < batches ? threads : batches,
	       started;
	struct worker *workers = calloc(n + 1, sizeof(*workers));
	double start = now();
	struct err why = {0};

	if (!workers)
		return err_set(e, ERR_ENV, "out of memory");
	started = start_threads(t, workers, n, &why);
	if (why.code)
		atomic_store(&t->failed, 1);
	else
		watch(t);
	for (size_t i = 0; i < started; i++) {
		pthread_join(workers[i].thread, NULL);
		t->end(t->of, workers[i].own);
		if (!why.code)
			why = workers[i].err;
	}
	free(workers);
	*seconds = now() - start;
	if (!why.code)
		return 0;
	*e = why;
	return -1;
}

/* ---- flags ---- */

int trial_samples(const struct args *a, const struct graph *g, struct samples *s, struct err *e)
{
	struct samples_from from = {.images = a->flag[FLAG_images],
				    .labels = a->flag[FLAG_labels],
				    .logits = a->flag[FLAG_logits],
				    .fit = {g->nodes[0].shape, g->pre.resize, a->flag[FLAG_convert] != NULL},
				    .classes = shape_size(g->nodes[g->n - 1].shape)};

	if (!from.images)
		return err_set(e, ERR_USAGE, "say on what: --images SRC");
	if (args_number(a, FLAG_offset, 0, 0, UINT32_MAX, &from.offset, e) ||
	    args_number(a, FLAG_limit, 0, 1, UINT32_MAX, &from.limit, e))
		return -1;
	return samples_load(s, &from, e);
}

int trial_least(const struct args *a, double *least, struct err *e)
{
	const char *text = a->flag[FLAG_min_agreement];
	char *end;

	*least = text ? strtod(text, &end) : 0.999;
	if (text && (end == text || *end || !(*least >= 0 && *least <= 1)))
		return err_set(e, ERR_USAGE, "--min-agreement: \"%.40s\" is no number from 0 to 1", text);
	return 0;
}

int trial_write_labels(const struct args *a, const uint32_t *labels, size_t n, struct err *e)
{
	const char *path = a->flag[FLAG_labels_out];
	FILE *f = path ? fopen(path, "we") : NULL;
	int failed;

	if (!path)
		return 0;
	if (!f)
		return err_set(e, ERR_ENV, "cannot write %s: %m", path);
	for (size_t i = 0; i < n; i++)
		fprintf(f, "%u\n", labels[i]);
	failed = ferror(f);
	return fclose(f) || failed ? err_set(e, ERR_ENV, "cannot write %s: %m", path) : 0;
}

int trial_verdict(const struct tally *t, double least, struct err *e)
{
	double agreement = (double)t->agree / (double)t->images;

	if (agreement < least)
		return err_set(
		    e, ERR_RESULT,
		    "label agreement is %.6g, below %.6g; use more --weight-bits or --activation-bits",
		    agreement, least);
	return 0;
}
