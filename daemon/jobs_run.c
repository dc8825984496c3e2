/* SPDX-License-Identifier: Apache-2.0 */
/* Batches of jobs: taken from the ledger, asked like any other request, written back. An attempt that fails
 * leaves its images waiting; the next one takes fresh tickets, as every inference does. */
#include <stdlib.h>
#include <string.h>

#include "daemon/jobs_parts.h"
#include "daemon/log.h"

#define TAKE_BYTES ((size_t)32 << 20) /* of pixels in a batch */
#define PATIENCE_MS 3600000	      /* nobody sits and waits: peers have deadlines of their own */
#define REFUSALS_MAX 40		      /* by a peer that is there; then an image has failed */
#define BACKOFF_FIRST_US 100000
#define BACKOFF_MOST_US 10000000

struct taking {
	struct job job; /* first */
	struct jobs *jobs;
	struct active *of;
	int64_t id;
	uint64_t from;
	size_t most;
	struct ledger_rows rows;
	int failed;
	struct err err;
};

static void batch_ask(struct batch *b);
static void batch_write(struct batch *b);

/* ---- jobs that have something to do ---- */

const struct active *jobs_find(const struct jobs *j, int64_t id)
{
	const struct active *a = j->active;

	while (a && a->id != id)
		a = a->next;
	return a;
}

static void forget_idle(struct jobs *j)
{
	for (struct active **at = &j->active, *a; (a = *at);) {
		if (a->more || a->rewind || a->taking || a->batches) {
			at = &a->next;
			continue;
		}
		*at = a->next;
		free(a->model);
		free(a);
	}
}

void jobs_activate(struct jobs *j, const struct ledger_job *job, int again)
{
	struct active *a = (struct active *)(uintptr_t)jobs_find(j, job->id), **at;

	if (!a) {
		a = calloc(1, sizeof(*a));
		if (!a || !(a->model = strdup(job->model))) {
			free(a); /* the next tick finds it in the ledger */
			return;
		}
		a->id = job->id;
		a->optimise = job->optimise;
		a->reveal = job->reveal;
		memcpy(a->personality, job->personality, sizeof(a->personality));
		for (at = &j->active; *at; at = &(*at)->next)
			;
		*at = a;
	} else if (again) {
		a->rewind = 1;
	}
	a->more = 1;
	jobs_feed(j);
}

/* The next job whose turn it is, moved behind the others. */
static struct active *next_turn(struct jobs *j)
{
	struct active **at = &j->active, *a;

	for (; (a = *at); at = &a->next) {
		if (a->rewind && !a->batches && !a->taking) {
			a->rewind = 0;
			a->cursor = 0;
			a->more = 1;
		}
		if (a->more && !a->taking)
			break;
	}
	if (!a)
		return NULL;
	*at = a->next;
	a->next = NULL;
	for (at = &j->active; *at; at = &(*at)->next)
		;
	*at = a;
	return a;
}

/* ---- from the ledger ---- */

static void take_run(struct job *job)
{
	struct taking *t = (struct taking *)job;

	t->failed = jobs_ledger(t->jobs, 0, &t->err) < 0 ||
		    (t->jobs->ledger &&
		     ledger_take(t->jobs->ledger, t->id, t->from, t->most, TAKE_BYTES, &t->rows, &t->err));
}

static void on_again(evutil_socket_t fd, short what, void *ctx)
{
	struct batch *b = ctx;

	if (b->over)
		batch_write(b);
	else
		batch_ask(b);
}

static struct batch *batch_new(struct taking *t)
{
	struct batch *b = calloc(1, sizeof(*b));

	if (b)
		b->again = event_new(net_base(t->jobs->net), -1, 0, on_again, b);
	if (!b || !b->again) {
		free(b);
		return NULL;
	}
	b->jobs = t->jobs;
	b->of = t->of;
	b->id = t->id;
	b->rows = t->rows;
	t->rows = (struct ledger_rows){0};
	b->next = b->jobs->batches;
	b->jobs->batches = b;
	b->of->batches++;
	return b;
}

static void take_done(struct job *job)
{
	struct taking *t = (struct taking *)job;
	struct jobs *j = t->jobs;
	struct active *a = t->of;
	struct batch *b = NULL;

	a->taking = 0;
	if (t->failed) {
		jobs_trouble(j, &t->err);
		a->more = 0; /* the next tick tries again */
	} else if (!t->rows.n) {
		a->more = 0;
	} else {
		uint64_t next = t->rows.rows[t->rows.n - 1].at + 1;

		b = batch_new(t);
		if (b)
			a->cursor = next;
	}
	if (!b)
		j->under_way--;
	ledger_rows_free(&t->rows);
	free(t);
	if (b)
		batch_ask(b);
	jobs_feed(j);
}

/* As many batches as there are lanes, and one that waits for the first of them to end. */
void jobs_feed(struct jobs *j)
{
	struct active *a;

	while (!j->paused && j->under_way <= j->config->lanes && (a = next_turn(j))) {
		struct taking *t = calloc(1, sizeof(*t));

		if (!t)
			return;
		t->job = (struct job){take_run, take_done, 0};
		t->jobs = j;
		t->of = a;
		t->id = a->id;
		t->from = a->cursor;
		t->most = j->config->max_batch;
		a->taking = 1;
		j->under_way++;
		workers_submit(j->disk, &t->job);
	}
	forget_idle(j);
}

/* ---- to the ledger ---- */

static void batch_free(struct batch *b)
{
	struct batch **at = &b->jobs->batches;

	while (*at != b)
		at = &(*at)->next;
	*at = b->next;
	b->of->batches--;
	event_free(b->again);
	ledger_rows_free(&b->rows);
	free(b);
}

static void wait_and_try(struct batch *b)
{
	uint64_t us = (uint64_t)BACKOFF_FIRST_US << (b->tries < 10 ? b->tries : 10);
	struct timeval tv;

	b->tries++;
	if (us > BACKOFF_MOST_US)
		us = BACKOFF_MOST_US;
	tv = (struct timeval){.tv_sec = (time_t)(us / 1000000), .tv_usec = (suseconds_t)(us % 1000000)};
	event_add(b->again, &tv);
}

static void write_run(struct job *job)
{
	struct batch *b = (struct batch *)job;

	b->err = (struct err){0};
	if (jobs_ledger(b->jobs, 1, &b->err) >= 0)
		(void)!ledger_finish(b->jobs->ledger, b->id, b->rows.rows, b->rows.n, &b->err);
}

static void write_done(struct job *job)
{
	struct batch *b = (struct batch *)job;
	struct jobs *j = b->jobs;

	if (b->err.code) {
		jobs_trouble(j, &b->err);
		wait_and_try(b);
		return;
	}
	batch_free(b);
	jobs_feed(j);
}

static void batch_write(struct batch *b)
{
	b->job = (struct job){write_run, write_done, 0};
	workers_submit(b->jobs->disk, &b->job);
}

/* Results, or refusals for good, are there. Its lane is free for the next batch before they are on disk. */
static void batch_over(struct batch *b)
{
	b->over = 1;
	b->tries = 0;
	b->jobs->under_way--;
	batch_write(b);
	jobs_feed(b->jobs);
}

/* ---- to the session and back ---- */

/* Of a result that is the label alone, scores would only say it again. */
static int keep_scores(struct ledger_row *r, const Wire__Result *x, uint32_t reveal)
{
	r->state = LEDGER_DONE;
	r->label = x->label;
	r->n_scores = reveal == REVEAL_LABEL ? 0 : x->n_scores;
	r->scores = malloc(r->n_scores * sizeof(*r->scores) + 1);
	if (r->scores && r->n_scores)
		memcpy(r->scores, x->scores, r->n_scores * sizeof(*r->scores));
	return r->scores ? 0 : -1;
}

static int keep_results(struct batch *b, const Wire__Classified *reply)
{
	for (size_t i = 0; i < b->rows.n; i++)
		if (i >= reply->n_results || keep_scores(&b->rows.rows[i], reply->results[i], b->of->reveal))
			return -1;
	return 0;
}

static void fail_all(struct batch *b, const char *why)
{
	for (size_t i = 0; i < b->rows.n; i++) {
		b->rows.rows[i].state = LEDGER_FAILED;
		b->rows.rows[i].error = strdup(why);
	}
	batch_over(b);
}

/* A peer or link that is down comes back: those images wait as long as it takes. What the image or the
 * request itself is to blame for is final; so is a peer that is there and refuses again and again. */
static int is_final(struct batch *b, uint32_t code)
{
	if (code == ERR_INPUT || code == ERR_USAGE || code == ERR_ATTEST)
		return 1;
	return code == ERR_PEER && ++b->refusals >= REFUSALS_MAX;
}

static void on_reply(void *ctx, const Wire__Classified *reply)
{
	struct batch *b = ctx;
	const char *why = reply->error ? reply->error->text : "out of memory for results";

	if (!reply->error && !keep_results(b, reply)) {
		b->of->trouble[0] = 0;
		batch_over(b);
		return;
	}
	strncpy(b->of->trouble, why, sizeof(b->of->trouble) - 1);
	if (reply->error && is_final(b, reply->error->code)) {
		log_line(LOG_WARNING, "jobs: %zu images have failed: %s", b->rows.n, why);
		fail_all(b, why);
		return;
	}
	log_line(LOG_INFO, "jobs: %zu images wait for their next attempt: %s", b->rows.n, why);
	wait_and_try(b);
}

static void batch_ask(struct batch *b)
{
	Wire__Classify q = WIRE__CLASSIFY__INIT;
	char *personalities[] = {b->of->personality};

	if (b->jobs->paused) /* they wait in the ledger */
		return;
	if (b->tries)
		for (size_t i = 0; i < b->rows.n; i++)
			b->rows.rows[i].attempts++;
	q.images = calloc(b->rows.n, sizeof(*q.images));
	if (!q.images) {
		wait_and_try(b);
		return;
	}
	for (size_t i = 0; i < b->rows.n; i++)
		q.images[i] = (ProtobufCBinaryData){b->rows.rows[i].bytes, b->rows.rows[i].pixels};
	q.n_images = b->rows.n;
	q.model = b->of->model;
	q.optimise = b->of->optimise;
	q.reveal = b->of->reveal;
	q.personalities = personalities;
	q.n_personalities = 1;
	q.deadline_ms = PATIENCE_MS;
	data_owner_classify(b->jobs->owner, &q, on_reply, b);
	free(q.images);
}

void jobs_free_batches(struct jobs *j)
{
	while (j->batches)
		batch_free(j->batches);
	while (j->active) {
		struct active *a = j->active;

		j->active = a->next;
		free(a->model);
		free(a);
	}
}
