/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/ledger.h — jobs of many images on disk: SQLite in WAL mode, one row an image, so that a process may
 * be killed at any moment. Calls block on the disk: jobs.c makes them on a thread of their own. */
#ifndef OBSCURA_DAEMON_LEDGER_H
#define OBSCURA_DAEMON_LEDGER_H

#include <stddef.h>
#include <stdint.h>
#include "conf/err.h"

#define LEDGER_KEY 32
#define LEDGER_IMAGES_MAX UINT32_MAX /* of one job */

/* Waiting: it has its pixels. Done: label and scores, its pixels are gone. Failed: why, pixels if it had any.
 */
enum ledger_state { LEDGER_WAITING, LEDGER_DONE, LEDGER_FAILED, LEDGER_STATES };

struct ledger_row {
	uint64_t at; /* number of the image in its job, from 0 */
	enum ledger_state state;
	uint32_t label, attempts; /* attempts: times that it was taken for inference */
	char *name, *error;	  /* own; error may be NULL */
	float *scores;		  /* owns */
	size_t n_scores;
	uint8_t *pixels; /* owns */
	size_t bytes;
};
struct ledger_rows {
	struct ledger_row *rows; /* owns */
	size_t n;
};
struct ledger_job {
	int64_t id;
	uint8_t key[LEDGER_KEY];
	char *model; /* owns */
	uint32_t optimise, reveal;
	char personality[16];
	uint8_t *described; /* owns */
	size_t described_bytes;
	uint64_t stored, done, failed; /* images */
	int sealed;		       /* stored is all there will be */
};

struct ledger;
/* Makes the file (mode 0600) if there is none. most: bytes that stored pixels may take. ERR_INPUT: what is
 * there is no ledger of this version, or damaged, or another process has it. */
int ledger_open(struct ledger **l, const char *path, uint64_t most, struct err *e) MUST_USE;
void ledger_close(struct ledger *l);

/* 1: *job is filled (ledger_job_free), 0: there is none, -1. */
int ledger_find(struct ledger *l, const uint8_t key[LEDGER_KEY], struct ledger_job *job,
		struct err *e) MUST_USE;
/* key, model, optimise, reveal, personality and described of job; its id is set. */
int ledger_add(struct ledger *l, struct ledger_job *job, struct err *e) MUST_USE;
/* The job and all its images are deleted. */
int ledger_remove(struct ledger *l, int64_t job, struct err *e) MUST_USE;
/* Images that failed and have their pixels wait again. */
int ledger_retry(struct ledger *l, int64_t job, struct err *e) MUST_USE;
/* Rows first, first + 1, … with name and pixels, or name and error. Those that are stored already are passed
 * over; all others are stored, or none. 1: stored, 0: there is no room, -1: error (a gap, a sealed job). */
int ledger_put(struct ledger *l, int64_t job, uint64_t first, const struct ledger_row *rows, size_t n,
	       struct err *e) MUST_USE;
int ledger_seal(struct ledger *l, int64_t job, struct err *e) MUST_USE;
/* Waiting images from `from` on, with pixels: at most `most`, all of one size, less than most_bytes in all
 * (but at least one). Each counts as one attempt more. */
int ledger_take(struct ledger *l, int64_t job, uint64_t from, size_t most, size_t most_bytes,
		struct ledger_rows *out, struct err *e) MUST_USE;
/* Results: each row's at, state (done or failed), label, scores, attempts, error. A row that is done stays as
 * it is. */
int ledger_finish(struct ledger *l, int64_t job, const struct ledger_row *rows, size_t n,
		  struct err *e) MUST_USE;
/* All but the pixels of images from `from` on, at most `most`. */
int ledger_read(struct ledger *l, int64_t job, uint64_t from, size_t most, struct ledger_rows *out,
		struct err *e) MUST_USE;
/* The jobs that have images waiting: calls each for every one. */
int ledger_each_waiting(struct ledger *l, void (*each)(void *ctx, const struct ledger_job *job), void *ctx,
			struct err *e) MUST_USE;
/* Deletes jobs that nothing has happened to for so many seconds. */
int ledger_prune(struct ledger *l, uint64_t seconds, struct err *e) MUST_USE;

void ledger_job_free(struct ledger_job *job);
/* Wipes pixels and scores. */
void ledger_rows_free(struct ledger_rows *rows);

#endif
