/* SPDX-License-Identifier: Apache-2.0 */
/* client/trial.h — what `verify` does for every personality: pictures shared by threads, private scores held
 * against those of the float model, the report and its verdict. */
#ifndef OBSCURA_CLIENT_TRIAL_H
#define OBSCURA_CLIENT_TRIAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "client/command.h"
#include "client/json.h"
#include "client/samples.h"
#include "nn/graph.h"
#include "nn/plan.h"
#include "protocol/personality.h"

struct tally {
	uint64_t images, agree, right, float_right, errors; /* errors: scores that were compared */
	double max_error, sum_error;
	uint64_t fixed_differs; /* results that trial_exact found to differ */
};

struct trial;
/* One thread: the float model and the fixed-point reference, and what they have found. A personality's own
 * begins with this. */
struct trial_thread {
	struct trial *trial;
	struct fixed *fixed;	/* owns */
	int64_t *want;		/* owns: of the reference, for one picture */
	struct float_run *run;	/* owns */
	float *logits, *scores; /* own; logits of the picture that was judged last */
	struct tally tally;
	pthread_t thread;
	struct err err;
};
/* Picture `at` gave these integers: its label, and how far they are from the float model's. */
void trial_judge(struct trial_thread *w, size_t at, const int64_t *result);
/* The same, and whether they are the reference's to the bit. low, ctx: of fixed_infer. */
void trial_exact(struct trial_thread *w, size_t at, const int64_t *result, fixed_low low, void *ctx);

/* One run over all pictures. */
struct trial {
	enum personality personality;
	const char *title, *who; /* of the table, after the model's name; "private", whose accuracy it is */
	const struct graph *graph;
	const struct samples *samples; /* all borrow */
	const struct plan *plan;
	const struct weights *weights;
	size_t batch;	     /* most pictures of one call */
	size_t thread_bytes; /* of a thread, which begins zeroed */
	int (*start)(struct trial_thread *w, struct err *e);
	/* Infers and judges pictures [at, at + n). */
	int (*infer)(struct trial_thread *w, size_t at, size_t n, struct err *e);
	/* On the caller's thread: adds what this thread has found to the whole; frees its own. */
	void (*end)(struct trial_thread *w);
	/* What the report says besides. */
	void (*print)(const struct trial *t);
	void (*json)(const struct trial *t, struct json_object *o); /* and the tally, where it belongs */
	int (*verdict)(const struct trial *t, struct err *e);	    /* NULL: none of its own */
	/* results */
	struct tally tally;
	uint32_t *labels; /* owns (free) */
	double seconds;
	/* its own */
	atomic_size_t next, done;
	atomic_int failed;
};
int trial_run(struct trial *t, size_t threads, struct err *e) MUST_USE;
/* Runs it and reports, with --json as one line. ERR_RESULT when a result differs from the reference, or too
 * few labels agree with the float model's. */
int trial_verify(struct trial *t, const struct args *a, double least, struct err *e) MUST_USE;
/* What the report says of the scores. */
void tally_json(struct json_object *o, const struct trial *t);

/* --images, --labels, --logits, --offset, --limit; --min-agreement. */
int trial_samples(const struct args *a, const struct graph *g, struct samples *s, struct err *e) MUST_USE;
int trial_least(const struct args *a, double *least, struct err *e) MUST_USE;

#endif
