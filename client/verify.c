/* SPDX-License-Identifier: Apache-2.0 */
/* obscura verify: float, fixed-point and private result of every picture, all parties in this process. */
#include <float.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/command.h"
#include "client/he.h"
#include "client/json.h"
#include "client/private.h"
#include "client/progress.h"
#include "client/samples.h"
#include "client/sheet.h"
#include "crypto/cpu.h"

#define THREAD_BYTES ((size_t)128 << 20) /* of one thread's batch */

/* What was found, of one thread or of all. */
struct found {
	uint64_t images, agree, right, float_right, fixed_differs;
	double max_error, sum_error, float_max_error;
	uint64_t errors; /* how many went into sum_error */
};

/* Shared by the threads; constant but for next, done, failed. */
struct verify {
	const struct graph *graph;
	const struct samples *samples;
	struct private_model model;
	size_t batch, results; /* images at once; integers of one result */
	uint32_t *labels;      /* owns: the private label of each picture */
	atomic_size_t next, done;
	atomic_int failed;
};

struct worker {
	struct verify *v;
	pthread_t thread;
	struct private *run;
	struct fixed *fixed;
	struct float_run *reference;
	int64_t *private_result, *fixed_result; /* own */
	float *logits, *scores;
	struct found found;
	struct err err;
};

/* ---- one picture
 * ----------------------------------------------------------------------------------------------------------
 */

static size_t greatest(const float *x, size_t n)
{
	size_t best = 0;

	for (size_t i = 1; i < n; i++)
		if (x[i] > x[best])
			best = i;
	return best;
}

/* Revealed integers → logits: integer / 2^bits / divisor. */
static double as_logit(const struct plan *plan, int64_t integer)
{
	return ldexp((double)integer, -plan->result_bits) / plan->result_divisor;
}

static void note_errors(struct found *f, const struct plan *plan, const int64_t *result,
			const float *reference, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		double error = fabs(as_logit(plan, result[i]) - reference[i]);

		f->max_error = fmax(f->max_error, error);
		f->sum_error += error;
	}
	f->errors += n;
}

/* Picture `at`, number `image` of the batch that was just inferred. */
static void judge(struct worker *w, size_t at, size_t image)
{
	const struct verify *v = w->v;
	const struct plan *plan = v->model.plan;
	const struct samples *s = v->samples;
	const int64_t *result = w->private_result + image * v->results;
	const uint8_t *pixels = s->chw + at * s->pixels;
	const float *reference = s->logits ? s->logits + at * s->classes : w->logits;
	struct private_rounding rounding = {w->run, image};
	struct found *f = &w->found;
	uint32_t label;

	float_infer(w->reference, pixels, w->logits);
	fixed_infer(w->fixed, pixels, private_low, &rounding, w->fixed_result);
	label = plan_scores(plan, result, w->scores);
	v->labels[at] = label;
	f->images++;
	f->fixed_differs += memcmp(result, w->fixed_result, v->results * sizeof(*result)) != 0;
	f->agree += label == greatest(reference, s->classes);
	if (s->labels) {
		f->right += label == (uint32_t)s->labels[at];
		f->float_right += greatest(reference, s->classes) == (size_t)s->labels[at];
	}
	if (plan->reveal == REVEAL_LOGITS)
		note_errors(f, plan, result, reference, s->classes);
	for (size_t i = 0; s->logits && i < s->classes; i++)
		f->float_max_error = fmax(f->float_max_error, fabs((double)w->logits[i] - reference[i]));
}

/* ---- threads
 * --------------------------------------------------------------------------------------------------------------
 */

static int work(struct worker *w)
{
	struct verify *v = w->v;
	const struct samples *s = v->samples;

	while (!atomic_load(&v->failed)) {
		size_t at = atomic_fetch_add(&v->next, v->batch), n = v->batch;

		if (at >= s->n)
			return 0;
		if (n > s->n - at)
			n = s->n - at;
		if (private_infer(w->run, s->chw + at * s->pixels, n, w->private_result, &w->err))
			return -1;
		for (size_t i = 0; i < n; i++)
			judge(w, at + i, i);
		atomic_fetch_add(&v->done, n);
	}
	return 0;
}

static void *worker_main(void *p)
{
	struct worker *w = p;

	if (work(w))
		atomic_store(&w->v->failed, 1);
	return NULL;
}

static int worker_new(struct worker *w, struct verify *v, struct err *e)
{
	w->v = v;
	if (private_new(&w->run, &v->model, v->batch, e) ||
	    fixed_new(&w->fixed, v->model.plan, v->model.weights, e) || float_new(&w->reference, v->graph, e))
		return -1;
	w->private_result = calloc(v->batch * v->results, sizeof(int64_t));
	w->fixed_result = calloc(v->results, sizeof(int64_t));
	w->logits = calloc(v->samples->classes, sizeof(float));
	w->scores = calloc(v->samples->classes, sizeof(float));
	if (!w->private_result || !w->fixed_result || !w->logits || !w->scores)
		return err_set(e, ERR_ENV, "out of memory");
	return 0;
}

static void worker_free(struct worker *w)
{
	private_free(w->run);
	fixed_free(w->fixed);
	float_free(w->reference);
	free(w->private_result);
	free(w->fixed_result);
	free(w->logits);
	free(w->scores);
}

static void found_add(struct found *all, const struct found *one)
{
	all->images += one->images;
	all->agree += one->agree;
	all->right += one->right;
	all->float_right += one->float_right;
	all->fixed_differs += one->fixed_differs;
	all->max_error = fmax(all->max_error, one->max_error);
	all->float_max_error = fmax(all->float_max_error, one->float_max_error);
	all->sum_error += one->sum_error;
	all->errors += one->errors;
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

/* ---- report
 * ---------------------------------------------------------------------------------------------------------------
 */

struct summary {
	const char *model;
	const struct verify *v;
	struct found found;
	double agreement, accuracy, float_accuracy, mean_error, seconds; /* NAN: not known */
	int logits_revealed;
};

static void summarise(struct summary *s)
{
	const struct found *f = &s->found;
	double n = (double)f->images;
	int labelled = s->v->samples->labels != NULL;

	s->agreement = (double)f->agree / n;
	s->accuracy = labelled ? (double)f->right / n : NAN;
	s->float_accuracy = labelled ? (double)f->float_right / n : NAN;
	s->logits_revealed = s->v->model.plan->reveal == REVEAL_LOGITS;
	s->mean_error = s->logits_revealed ? f->sum_error / (double)f->errors : NAN;
}

static int print_json(const struct summary *s, struct err *e)
{
	const struct program *g = s->v->model.program;
	struct json_object *o = json_object_new_object(), *bytes = json_object_new_object();

	json_text(o, "model", s->model);
	json_text(o, "personality", "smpc");
	json_text(o, "mode", s->v->model.plan->optimise == PLAN_LATENCY ? "latency" : "bandwidth");
	json_count(o, "images", s->found.images);
	json_real(o, "label_agreement", s->agreement);
	json_real(o, "accuracy", s->accuracy);
	json_real(o, "float_accuracy", s->float_accuracy);
	json_real(o, "max_abs_error", s->logits_revealed ? s->found.max_error : NAN);
	json_real(o, "mean_abs_error", s->mean_error);
	json_count(o, "overflow_bits_spare", s->v->model.spare);
	json_count(o, "fixed_point_differences", s->found.fixed_differs);
	if (s->v->samples->logits)
		json_real(o, "float_max_abs_error", s->found.float_max_error);
	json_count(o, "round_trips", g->round_trips);
	json_object_object_add(bytes, "online", json_counted(g->online[P0], g->online[P1], NULL));
	json_object_object_add(bytes, "offline", json_counted(g->delta, 0, &g->corrections));
	json_object_object_add(o, "bytes", bytes);
	json_real(o, "seconds", s->seconds);
	return json_line(o, e);
}

static int print_table(const struct summary *s)
{
	const struct program *g = s->v->model.program;
	char seconds[24];

	printf("%s, smpc, %s mode: %llu images in %s\n", s->model,
	       s->v->model.plan->optimise == PLAN_LATENCY ? "latency" : "bandwidth",
	       (unsigned long long)s->found.images, sheet_seconds(seconds, s->seconds));
	printf("  labels equal to the float model's   %.6g\n", s->agreement);
	if (s->v->samples->labels)
		printf("  accuracy, private and float         %.6g, %.6g\n", s->accuracy, s->float_accuracy);
	if (s->logits_revealed)
		printf("  error of scores, largest and mean   %.3g, %.3g\n", s->found.max_error,
		       s->mean_error);
	if (s->v->samples->logits)
		printf("  own float against --logits, largest %.3g\n", s->found.float_max_error);
	printf("  not equal to fixed point, bit by bit %llu\n", (unsigned long long)s->found.fixed_differs);
	printf("  bits to spare before overflow       %u\n", s->v->model.spare);
	printf("  every message as predicted: %u round trips, %llu + %llu bytes online\n", g->round_trips,
	       (unsigned long long)g->online[P0], (unsigned long long)g->online[P1]);
	return 0;
}

static int verdict(const struct summary *s, double least, struct err *e)
{
	if (s->found.fixed_differs)
		return err_set(
		    e, ERR_RESULT,
		    "%llu of %llu private results differ from the fixed-point reference: this is a bug",
		    (unsigned long long)s->found.fixed_differs, (unsigned long long)s->found.images);
	if (s->agreement < least)
		return err_set(
		    e, ERR_RESULT,
		    "label agreement is %.6g, below %.6g; use more --weight-bits or --activation-bits",
		    s->agreement, least);
	return 0;
}

/* ---- command
 * --------------------------------------------------------------------------------------------------------------
 */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int parse_least(const struct args *a, double *least, struct err *e)
{
	const char *text = a->flag[FLAG_min_agreement];
	char *end;

	*least = text ? strtod(text, &end) : 0.999;
	if (text && (end == text || *end || !(*least >= 0 && *least <= 1)))
		return err_set(e, ERR_USAGE, "--min-agreement: \"%.40s\" is no number from 0 to 1", text);
	return 0;
}

static int parse_samples(const struct args *a, const struct graph *g, struct samples_from *from,
			 struct err *e)
{
	from->images = a->flag[FLAG_images];
	from->labels = a->flag[FLAG_labels];
	from->logits = a->flag[FLAG_logits];
	from->fit = (struct fit){g->nodes[0].shape, g->pre.resize, a->flag[FLAG_convert] != NULL};
	from->classes = shape_size(g->nodes[g->n - 1].shape);
	if (!from->images)
		return err_set(e, ERR_USAGE, "say on what: --images SRC");
	if (args_number(a, FLAG_offset, 0, 0, UINT32_MAX, &from->offset, e))
		return -1;
	return args_number(a, FLAG_limit, 0, 1, UINT32_MAX, &from->limit, e);
}

static int write_labels(const struct verify *v, const char *path, struct err *e)
{
	FILE *f = fopen(path, "we");
	int failed;

	if (!f)
		return err_set(e, ERR_ENV, "cannot write %s: %m", path);
	for (size_t i = 0; i < v->samples->n; i++)
		fprintf(f, "%u\n", v->labels[i]);
	failed = ferror(f);
	return fclose(f) || failed ? err_set(e, ERR_ENV, "cannot write %s: %m", path) : 0;
}

static int verify_with(struct args *a, struct verify *v, double least, struct err *e)
{
	size_t threads = a->config.threads;
	struct summary s = {.model = v->graph->name, .v = v};
	struct worker *workers;
	double start = now();
	int r;

	v->batch = private_batch(&v->model, THREAD_BYTES);
	v->results = shape_size(v->model.plan->tape.values[v->model.plan->tape.n_values - 1].shape);
	if (threads > (v->samples->n + v->batch - 1) / v->batch)
		threads = (v->samples->n + v->batch - 1) / v->batch;
	workers = calloc(threads, sizeof(*workers));
	v->labels = calloc(v->samples->n, sizeof(*v->labels));
	if (!workers || !v->labels) {
		free(workers);
		return err_set(e, ERR_ENV, "out of memory");
	}
	r = run_all(v, workers, threads, &s.found, e);
	free(workers);
	if (r)
		return -1;
	s.seconds = now() - start;
	summarise(&s);
	if (a->flag[FLAG_labels_out] && write_labels(v, a->flag[FLAG_labels_out], e))
		return -1;
	if (a->flag[FLAG_json] ? print_json(&s, e) : print_table(&s))
		return -1;
	return verdict(&s, least, e);
}

static int verify_graph(struct args *a, const struct graph *g, struct err *e)
{
	struct verify v = {.graph = g};
	struct samples_from from;
	struct plan_options options;
	struct samples samples;
	double least;
	int r;

	if (parse_least(a, &least, e) || parse_samples(a, g, &from, e) || args_plan(a, &options, e) ||
	    samples_load(&samples, &from, e))
		return -1;
	v.samples = &samples;
	r = private_model_new(&v.model, g, &options, e);
	if (!r) {
		r = verify_with(a, &v, least, e);
		free(v.labels);
		private_model_free(&v.model);
	}
	samples_free(&samples);
	return r;
}

int command_verify(struct args *a, struct err *e)
{
	struct graph *g;
	int r;

	if (a->n != 1)
		return err_set(e, ERR_USAGE, "say which: obscura verify MODEL.onnx --images SRC");
	if (args_personality(a, e) || cpu_select(a->config.cpu, e) || args_model(a, a->words[0], &g, e))
		return -1;
	r = args_he(a) ? he_verify_command(a, g, e) : verify_graph(a, g, e);
	graph_free(g);
	return r;
}
