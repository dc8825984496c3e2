/* SPDX-License-Identifier: Apache-2.0 */
#include "client/trial.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/progress.h"
#include "client/sheet.h"

/* ---- against the references ---- */

static uint32_t greatest(const float *x, size_t n)
{
	uint32_t best = 0;

	for (uint32_t i = 1; i < n; i++)
		if (x[i] > x[best])
			best = i;
	return best;
}

/* Revealed integers → logits: integer / 2^bits / divisor. */
static void note_errors(struct trial_thread *w, const int64_t *result, const float *reference)
{
	const struct plan *plan = w->trial->plan;
	size_t classes = w->trial->samples->classes;

	for (size_t i = 0; i < classes; i++) {
		double logit = ldexp((double)result[i], -plan->result_bits) / plan->result_divisor;
		double error = fabs(logit - reference[i]);

		w->tally.max_error = fmax(w->tally.max_error, error);
		w->tally.sum_error += error;
	}
	w->tally.errors += classes;
}

void trial_judge(struct trial_thread *w, size_t at, const int64_t *result)
{
	const struct samples *s = w->trial->samples;
	const struct plan *plan = w->trial->plan;
	const float *reference = s->logits ? s->logits + at * s->classes : w->logits;
	uint32_t label = plan_scores(plan, result, w->scores), expected;

	float_infer(w->run, s->chw + at * s->pixels, w->logits);
	expected = greatest(reference, s->classes);
	w->tally.images++;
	w->tally.agree += label == expected;
	if (s->labels) {
		w->tally.right += label == (uint32_t)s->labels[at];
		w->tally.float_right += expected == (uint32_t)s->labels[at];
	}
	if (plan->reveal == REVEAL_LOGITS)
		note_errors(w, result, reference);
	w->trial->labels[at] = label;
}

void trial_exact(struct trial_thread *w, size_t at, const int64_t *result, fixed_low low, void *ctx)
{
	const struct samples *s = w->trial->samples;

	fixed_infer(w->fixed, s->chw + at * s->pixels, low, ctx, w->want);
	w->tally.fixed_differs += memcmp(result, w->want, plan_words(w->trial->plan) * sizeof(*result)) != 0;
	trial_judge(w, at, result);
}

static void tally_add(struct tally *all, const struct tally *one)
{
	all->images += one->images;
	all->agree += one->agree;
	all->right += one->right;
	all->float_right += one->float_right;
	all->errors += one->errors;
	all->max_error = fmax(all->max_error, one->max_error);
	all->sum_error += one->sum_error;
	all->fixed_differs += one->fixed_differs;
}

/* ---- threads ---- */

static void thread_free(struct trial_thread *w)
{
	tally_add(&w->trial->tally, &w->tally);
	w->trial->end(w);
	fixed_free(w->fixed);
	float_free(w->run);
	free(w->want);
	free(w->logits);
	free(w->scores);
	free(w);
}

static struct trial_thread *thread_new(struct trial *t, struct err *e)
{
	struct trial_thread *w = calloc(1, t->thread_bytes);

	if (!w) {
		err_set(e, ERR_ENV, "out of memory");
		return NULL;
	}
	w->trial = t;
	w->want = calloc(plan_words(t->plan), sizeof(*w->want));
	w->logits = calloc(t->samples->classes, sizeof(*w->logits));
	w->scores = calloc(t->samples->classes, sizeof(*w->scores));
	if (!w->want || !w->logits || !w->scores)
		err_set(e, ERR_ENV, "out of memory");
	else if (!fixed_new(&w->fixed, t->plan, t->weights, e) && !float_new(&w->run, t->graph, e) &&
		 !t->start(w, e))
		return w;
	thread_free(w);
	return NULL;
}

static void *work(void *ctx)
{
	struct trial_thread *w = ctx;
	struct trial *t = w->trial;

	while (!atomic_load(&t->failed)) {
		size_t at = atomic_fetch_add(&t->next, t->batch), n = t->batch;

		if (at >= t->samples->n)
			break;
		if (n > t->samples->n - at)
			n = t->samples->n - at;
		if (t->infer(w, at, n, &w->err))
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
static size_t start_threads(struct trial *t, struct trial_thread **all, size_t n, struct err *e)
{
	size_t started = 0;

	while (started < n && (all[started] = thread_new(t, e))) {
		if (pthread_create(&all[started]->thread, NULL, work, all[started])) {
			thread_free(all[started]);
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

int trial_run(struct trial *t, size_t threads, struct err *e)
{
	size_t batches = (t->samples->n + t->batch - 1) / t->batch, n = threads < batches ? threads : batches,
	       started;
	struct trial_thread **all = calloc(n + 1, sizeof(struct trial_thread *));
	double start = now();
	struct err why = {0};

	t->labels = calloc(t->samples->n + 1, sizeof(*t->labels));
	if (!all || !t->labels) {
		free(all);
		return err_set(e, ERR_ENV, "out of memory");
	}
	started = start_threads(t, all, n, &why);
	if (why.code)
		atomic_store(&t->failed, 1);
	else
		watch(t);
	for (size_t i = 0; i < started; i++) {
		pthread_join(all[i]->thread, NULL);
		if (!why.code)
			why = all[i]->err;
		thread_free(all[i]);
	}
	free(all);
	t->seconds = now() - start;
	if (!why.code)
		return 0;
	*e = why;
	return -1;
}

/* ---- report ---- */

static void print_tally(const struct trial *trial)
{
	const struct tally *t = &trial->tally;
	const struct samples *s = trial->samples;
	double n = (double)t->images;
	char accuracy[48];

	snprintf(accuracy, sizeof(accuracy), "accuracy, %s and float", trial->who);
	printf("  labels equal to the float model's   %.6g\n", (double)t->agree / n);
	if (s->labels)
		printf("  %-35s %.6g, %.6g\n", accuracy, (double)t->right / n, (double)t->float_right / n);
	if (t->errors)
		printf("  error of scores, largest and mean   %.3g, %.3g\n", t->max_error,
		       t->sum_error / (double)t->errors);
}

void tally_json(struct json_object *o, const struct trial *trial)
{
	const struct tally *t = &trial->tally;
	const struct samples *s = trial->samples;
	double n = (double)t->images;

	json_count(o, "images", t->images);
	json_real(o, "label_agreement", (double)t->agree / n);
	json_real(o, "accuracy", s->labels ? (double)t->right / n : NAN);
	json_real(o, "float_accuracy", s->labels ? (double)t->float_right / n : NAN);
	json_real(o, "max_abs_error", t->errors ? t->max_error : NAN);
	json_real(o, "mean_abs_error", t->errors ? t->sum_error / (double)t->errors : NAN);
}

static int print_json(const struct trial *t, struct err *e)
{
	struct json_object *o = json_object_new_object();

	json_text(o, "model", t->graph->name);
	json_text(o, "personality", personality_name(t->personality));
	t->json(t, o);
	json_real(o, "seconds", t->seconds);
	return json_line(o, e);
}

static void print_table(const struct trial *t)
{
	char text[24];

	printf("%s, %s: %llu images in %s\n", t->graph->name, t->title, (unsigned long long)t->tally.images,
	       sheet_seconds(text, t->seconds));
	print_tally(t);
	t->print(t);
}

/* --labels-out, if given: one label a line. */
static int write_labels(const struct trial *t, const char *path, struct err *e)
{
	FILE *f = path ? fopen(path, "we") : NULL;
	int failed;

	if (!path)
		return 0;
	if (!f)
		return err_set(e, ERR_ENV, "cannot write %s: %m", path);
	for (size_t i = 0; i < t->samples->n; i++)
		fprintf(f, "%u\n", t->labels[i]);
	failed = ferror(f);
	return fclose(f) || failed ? err_set(e, ERR_ENV, "cannot write %s: %m", path) : 0;
}

static int verdict(const struct trial *t, double least, struct err *e)
{
	double agreement = (double)t->tally.agree / (double)t->tally.images;

	if (t->tally.fixed_differs)
		return err_set(e, ERR_RESULT,
			       "%llu of %llu results differ from the fixed-point reference: this is a bug",
			       (unsigned long long)t->tally.fixed_differs,
			       (unsigned long long)t->tally.images);
	if (t->verdict && t->verdict(t, e))
		return -1;
	if (agreement < least)
		return err_set(
		    e, ERR_RESULT,
		    "label agreement is %.6g, below %.6g; use more --weight-bits or --activation-bits",
		    agreement, least);
	return 0;
}

int trial_verify(struct trial *t, const struct args *a, double least, struct err *e)
{
	int r = trial_run(t, a->config.threads, e) || write_labels(t, a->flag[FLAG_labels_out], e) ? -1 : 0;

	if (!r && a->flag[FLAG_json])
		r = print_json(t, e);
	else if (!r)
		print_table(t);
	free(t->labels);
	t->labels = NULL;
	return r ? r : verdict(t, least, e);
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
