/* SPDX-License-Identifier: Apache-2.0 */
/* obscura verify: float, fixed-point and private result of every picture, all parties in this process. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/clear.h"
#include "client/he.h"
#include "client/private.h"
#include "client/sheet.h"
#include "client/trial.h"
#include "crypto/cpu.h"

#define THREAD_BYTES ((size_t)128 << 20) /* of one thread's batch */

/* What was found, of one thread or of all. */
struct found {
	struct tally tally;
	uint64_t fixed_differs;
	double float_max_error;
};

/* Shared by the threads. */
struct verify {
	const struct graph *graph;
	const struct samples *samples;
	struct private_model model;
	size_t batch, results; /* images at once; integers of one result */
	uint32_t *labels;      /* owns: the private label of each picture */
	struct found found;
};

struct worker {
	struct verify *v;
	struct private *run;
	struct fixed *fixed;
	struct critic critic;
	int64_t *private_result, *fixed_result; /* own */
	struct found found;
};

/* ---- one thread ---- */

/* Picture `at`, number `image` of the batch that was just inferred. */
static void judge(struct worker *w, size_t at, size_t image)
{
	const struct verify *v = w->v;
	const struct samples *s = v->samples;
	const int64_t *result = w->private_result + image * v->results;
	struct private_rounding rounding = {w->run, image};

	fixed_infer(w->fixed, s->chw + at * s->pixels, private_low, &rounding, w->fixed_result);
	w->found.fixed_differs += memcmp(result, w->fixed_result, v->results * sizeof(*result)) != 0;
	v->labels[at] = critic_judge(&w->critic, at, result);
	for (size_t i = 0; s->logits && i < s->classes; i++)
		w->found.float_max_error =
		    fmax(w->found.float_max_error,
			 fabs((double)w->critic.logits[i] - s->logits[at * s->classes + i]));
}

static int infer(void *thread, size_t at, size_t n, struct err *e)
{
	struct worker *w = thread;
	const struct samples *s = w->v->samples;

	if (private_infer(w->run, s->chw + at * s->pixels, n, w->private_result, e))
		return -1;
	for (size_t i = 0; i < n; i++)
		judge(w, at + i, i);
	return 0;
}

static void end(void *verify, void *thread)
{
	struct verify *v = verify;
	struct worker *w = thread;

	tally_add(&v->found.tally, &w->critic.tally);
	v->found.fixed_differs += w->found.fixed_differs;
	v->found.float_max_error = fmax(v->found.float_max_error, w->found.float_max_error);
	private_free(w->run);
	fixed_free(w->fixed);
	critic_free(&w->critic);
	free(w->private_result);
	free(w->fixed_result);
	free(w);
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
	w->private_result = calloc(v->batch * v->results, sizeof(int64_t));
	w->fixed_result = calloc(v->results, sizeof(int64_t));
	if (!w->private_result || !w->fixed_result)
		err_set(e, ERR_ENV, "out of memory");
	else if (!private_new(&w->run, &v->model, v->batch, e) &&
		 !fixed_new(&w->fixed, v->model.plan, v->model.weights, e) &&
		 !critic_new(&w->critic, v->graph, v->model.plan, v->samples, e))
		return w;
	end(v, w);
	return NULL;
}

/* ---- report ---- */

static int print_json(const struct verify *v, double seconds, struct err *e)
{
	const struct program *g = v->model.program;
	struct json_object *o = json_object_new_object(), *bytes = json_object_new_object();

	json_text(o, "model", v->graph->name);
	json_text(o, "personality", "smpc");
	json_text(o, "mode", v->model.plan->optimise == PLAN_LATENCY ? "latency" : "bandwidth");
	tally_json(o, &v->found.tally, v->samples);
	json_count(o, "overflow_bits_spare", v->model.spare);
	json_count(o, "fixed_point_differences", v->found.fixed_differs);
	if (v->samples->logits)
		json_real(o, "float_max_abs_error", v->found.float_max_error);
	json_count(o, "round_trips", g->round_trips);
	json_object_object_add(bytes, "online", json_counted(g->online[P0], g->online[P1], NULL));
	json_object_object_add(bytes, "offline", json_counted(g->delta, 0, &g->corrections));
	json_object_object_add(o, "bytes", bytes);
	json_real(o, "seconds", seconds);
	return json_line(o, e);
}

static void print_table(const struct verify *v, double seconds)
{
	const struct program *g = v->model.program;
	char text[24];

	printf("%s, smpc, %s mode: %llu images in %s\n", v->graph->name,
	       v->model.plan->optimise == PLAN_LATENCY ? "latency" : "bandwidth",
	       (unsigned long long)v->found.tally.images, sheet_seconds(text, seconds));
	tally_print(&v->found.tally, v->samples, "private");
	if (v->samples->logits)
		printf("  own float against --logits, largest %.3g\n", v->found.float_max_error);
	printf("  not equal to fixed point, bit by bit %llu\n",
	       (unsigned long long)v->found.fixed_differs);
	printf("  bits to spare before overflow       %u\n", v->model.spare);
	printf("  every message as predicted: %u round trips, %llu + %llu bytes online\n", g->round_trips,
	       (unsigned long long)g->online[P0], (unsigned long long)g->online[P1]);
}

static int verdict(const struct verify *v, double least, struct err *e)
{
	if (v->found.fixed_differs)
		return err_set(
		    e, ERR_RESULT,
		    "%llu of %llu private results differ from the fixed-point reference: this is a bug",
		    (unsigned long long)v->found.fixed_differs,
		    (unsigned long long)v->found.tally.images);
	return trial_verdict(&v->found.tally, least, e);
}

/* ---- command ---- */

static int verify_with(struct args *a, struct verify *v, double least, struct err *e)
{
	struct trial trial = {.samples = v->samples, .of = v, .start = start, .infer = infer, .end = end};
	double seconds;

	trial.batch = v->batch = private_batch(&v->model, THREAD_BYTES);
	v->results = plan_words(v->model.plan);
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
	return verdict(v, least, e);
}

static int verify_graph(struct args *a, const struct graph *g, struct err *e)
{
	struct verify v = {.graph = g};
	struct plan_options options;
	struct samples samples;
	double least;
	int r;

	if (trial_least(a, &least, e) || args_plan(a, &options, e) || trial_samples(a, g, &samples, e))
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
	enum personality p;
	struct graph *g;
	int r;

	if (a->n != 1)
		return err_set(e, ERR_USAGE, "say which: obscura verify MODEL.onnx --images SRC");
	if (args_personality(a, &p, e) || cpu_select(a->config.cpu, e) || args_model(a, a->words[0], &g, e))
		return -1;
	if (p == PERSONALITY_CLEAR)
		r = clear_verify_command(a, g, e);
	else
		r = p == PERSONALITY_HE ? he_verify_command(a, g, e) : verify_graph(a, g, e);
	graph_free(g);
	return r;
}
