/* SPDX-License-Identifier: Apache-2.0 */
/* client/trial.h — what `verify` does for every personality: pictures shared by threads, private scores held
 * against those of the float model. */
#ifndef OBSCURA_CLIENT_TRIAL_H
#define OBSCURA_CLIENT_TRIAL_H

#include <stdatomic.h>

#include "client/command.h"
#include "client/json.h"
#include "client/samples.h"
#include "nn/graph.h"
#include "nn/plan.h"

struct tally {
	uint64_t images, agree, right, float_right, errors; /* errors: scores that were compared */
	double max_error, sum_error;
};

/* The float model of one thread, and what it has found. */
struct critic {
	const struct samples *samples; /* borrows */
	const struct plan *plan;       /* borrows */
	struct float_run *run;	       /* owns */
	float *logits, *scores;	       /* own */
	struct tally tally;
};
int critic_new(struct critic *c, const struct graph *g, const struct plan *plan, const struct samples *s,
	       struct err *e) MUST_USE;
/* Picture `at` gave these integers. Returns its label. */
uint32_t critic_judge(struct critic *c, size_t at, const int64_t *result);
void critic_free(struct critic *c);

/* One run over all pictures. */
struct trial {
	const struct samples *samples; /* borrows */
	size_t batch;		       /* most pictures of one call */
	void *of;
	/* Memory of one thread; NULL with e. */
	void *(*start)(void *of, struct err *e);
	/* Infers and judges pictures [at, at + n). */
	int (*infer)(void *thread, size_t at, size_t n, struct err *e);
	/* On the caller's thread: adds what this thread has found to the whole; frees it. */
	void (*end)(void *of, void *thread);
	/* its own */
	atomic_size_t next, done;
	atomic_int failed;
};
int trial_run(struct trial *t, size_t threads, double *seconds, struct err *e) MUST_USE;
void tally_add(struct tally *all, const struct tally *one);

/* What a report says of the scores: labels and errors against the float model's. who: "private", whose
 * accuracy it is. */
void tally_print(const struct tally *t, const struct samples *s, const char *who);
void tally_json(struct json_object *o, const struct tally *t, const struct samples *s);

/* --images, --labels, --logits, --offset, --limit; --min-agreement. */
int trial_samples(const struct args *a, const struct graph *g, struct samples *s, struct err *e) MUST_USE;
int trial_least(const struct args *a, double *least, struct err *e) MUST_USE;
/* --labels-out, if given: one label a line. */
int trial_write_labels(const struct args *a, const uint32_t *labels, size_t n, struct err *e) MUST_USE;
/* ERR_RESULT when too few labels agree with the float model's. */
int trial_verdict(const struct tally *t, double least, struct err *e) MUST_USE;

#endif
