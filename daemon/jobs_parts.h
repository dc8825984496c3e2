/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/jobs_parts.h — private to the jobs: jobs.c has the role's part and the ledger's thread, jobs_ask.c
 * answers clients, jobs_run.c runs batches. */
#ifndef OBSCURA_DAEMON_JOBS_PARTS_H
#define OBSCURA_DAEMON_JOBS_PARTS_H

#include "daemon/jobs.h"
#include "daemon/ledger.h"
#include "daemon/workers.h"

/* A job with images that wait, as the loop knows it. */
struct active {
	struct active *next;
	int64_t id;
	char *model; /* owns */
	uint32_t optimise, reveal;
	char personality[16];
	uint64_t cursor; /* images below it were taken from the ledger since this process started */
	int more;	 /* there may be waiting images from the cursor on */
	int rewind;	 /* some below it wait again: start over when nothing is under way */
	int taking;	 /* the ledger is being asked for a batch */
	unsigned batches;
	char trouble[256]; /* why its last batch failed; "" when it did not */
};

/* Images under way, or waiting for their next attempt. */
struct batch {
	struct job job; /* first: results to the ledger */
	struct batch *next;
	struct jobs *jobs;
	struct active *of;
	int64_t id; /* the job's: the ledger's thread sees nothing else of it */
	struct ledger_rows rows;
	unsigned refusals;   /* by a peer */
	unsigned tries;	     /* failures of any kind, for the back-off */
	struct event *again; /* next attempt, or next try to write results */
	int over;	     /* results are there: they are written, not asked again */
	struct err err;
};

/* One JOB of a client. */
struct question {
	struct job job; /* first */
	struct question *next;
	struct jobs *jobs;
	struct conn *client; /* NULL: has gone */
	uint32_t lane;
	Wire__Job *asked; /* owns */
	/* filled by the ledger's thread */
	struct ledger_job found;
	int known, full, retried;
	struct ledger_rows rows;
	struct err err;
};

struct jobs {
	struct net *net;
	const struct config *config;
	struct data_owner *owner;
	struct workers *disk; /* one thread: all calls of the ledger, in order */
	struct active *active;
	struct batch *batches;
	struct question *questions;
	unsigned under_way, asked; /* batches, taken or being taken; questions */
	int paused, freed;
	struct event *tick;
	struct err logged; /* the last error of the ledger that was logged */
	/* only of the disk's thread, which does not look into config: that may be loaded anew meanwhile */
	char *path; /* owns */
	uint64_t size, seconds;
	struct ledger *ledger; /* NULL: not open */
};

/* On the disk's thread: opens the ledger if that has not been done; 0 when create is 0 and there is no file.
 */
int jobs_ledger(struct jobs *j, int create, struct err *e) MUST_USE;
/* Something went wrong with the ledger: a line in the log, unless it is the same again. */
void jobs_trouble(struct jobs *j, const struct err *e);

/* jobs_run.c */
/* A job has images that wait. again: also some that were taken before. Starts what can start. */
void jobs_activate(struct jobs *j, const struct ledger_job *job, int again);
const struct active *jobs_find(const struct jobs *j, int64_t id);
void jobs_feed(struct jobs *j);
void jobs_free_batches(struct jobs *j);

/* jobs_ask.c */
void jobs_free_questions(struct jobs *j);

#endif
