/* SPDX-License-Identifier: Apache-2.0 */
/* client/job.h — inside `obscura batch`: job.c brings images to the ledger and waits, job_results.c writes
 * what came of them. */
#ifndef OBSCURA_CLIENT_JOB_H
#define OBSCURA_CLIENT_JOB_H

#include "client/command.h"
#include "protocol/personality.h"
#include "wire.pb-c.h"

/* Reads rows from one of these on, in order; *reply: free with wire__job_reply__free_unpacked. */
typedef int (*results_page)(void *ctx, uint64_t from, Wire__JobReply **reply, struct err *e);

struct results {
	const char *path;   /* borrows */
	const char *labels; /* borrows; may be NULL */
	int json;	    /* JSON Lines, not CSV */
	int part;	    /* descriptor of path.part */
	char *part_path;    /* owns */
	char **names;	    /* borrow: of classes; may be NULL */
	size_t n_names;
	results_page page;
	void *ctx;
	enum personality personality;
	int simulated; /* an enclave without hardware isolation */
	uint64_t n;    /* images */
	/* what came out */
	uint64_t done, failed, right;
	int32_t *truth; /* owns; n; NULL without labels */
	size_t classes;
	uint64_t *confusion; /* owns: classes × classes, [truth][label] */
};

/* Before any work: --out can be written, and nobody else is writing it; --labels can be read. */
int results_open(struct results *r, const struct args *a, struct err *e) MUST_USE;
/* The whole file, then in its place at once. */
int results_write(struct results *r, struct err *e) MUST_USE;
/* The summary on standard output: a table, or one JSON object. seconds: of this run; images: that it did. */
int results_summary(const struct results *r, double seconds, uint64_t images, struct err *e) MUST_USE;
void results_close(struct results *r);

/* obscura batch nats://…: works for a queue until it is stopped, or with --drain until the queue is empty
 * (worker.c). */
int worker_run(const struct args *a, const char *url, struct err *e) MUST_USE;
/* obscura batch SRC --queue nats://…: hands images to workers and collects results; writes r's file
 * (collect.c). */
struct feed;
int collect_run(struct results *r, struct feed *feed, const struct args *a, const uint8_t key[32],
		struct err *e) MUST_USE;

#endif
