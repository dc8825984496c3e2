/* SPDX-License-Identifier: Apache-2.0 */
/* Life of the jobs, and the ledger's thread. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/jobs_parts.h"
#include "daemon/log.h"

#define HOUSE_S 60 /* how often old jobs are looked for */
#define DAY_S 86400

/* Work on the ledger that no client waits for: at the start, and now and then. */
struct housekeeping {
	struct job job; /* first */
	struct jobs *jobs;
	struct ledger_job *found; /* owns */
	size_t n;
	int failed;
	struct err err;
};

int jobs_ledger(struct jobs *j, int create, struct err *e)
{
	if (j->ledger)
		return 1;
	if (!create && access(j->path, F_OK))
		return 0;
	return ledger_open(&j->ledger, j->path, j->size, e) ? -1 : 1;
}

void jobs_trouble(struct jobs *j, const struct err *e)
{
	if (!strcmp(j->logged.text, e->text))
		return;
	j->logged = *e;
	log_err(LOG_WARNING, "jobs", e);
}

/* ---- housekeeping ---- */

static void note_job(void *ctx, const struct ledger_job *job)
{
	struct housekeeping *h = ctx;
	struct ledger_job *found = reallocarray(h->found, h->n + 1, sizeof(*found));

	if (!found) {
		h->failed = err_set(&h->err, ERR_ENV, "out of memory");
		return;
	}
	h->found = found;
	found[h->n] = (struct ledger_job){.id = job->id, .optimise = job->optimise, .reveal = job->reveal};
	memcpy(found[h->n].personality, job->personality, sizeof(job->personality));
	found[h->n].model = strdup(job->model);
	if (found[h->n].model)
		h->n++;
	else
		h->failed = err_set(&h->err, ERR_ENV, "out of memory");
}

static void house_run(struct job *job)
{
	struct housekeeping *h = (struct housekeeping *)job;
	struct jobs *j = h->jobs;
	int open = jobs_ledger(j, 0, &h->err);

	if (open < 0 || (open && (ledger_prune(j->ledger, j->seconds, &h->err) ||
				  ledger_each_waiting(j->ledger, note_job, h, &h->err))))
		h->failed = -1;
}

static void house_done(struct job *job)
{
	struct housekeeping *h = (struct housekeeping *)job;
	struct jobs *j = h->jobs;

	if (h->failed)
		jobs_trouble(j, &h->err);
	for (size_t i = 0; i < h->n; i++) {
		if (!j->freed && !jobs_find(j, h->found[i].id))
			jobs_activate(j, &h->found[i], 0);
		ledger_job_free(&h->found[i]);
	}
	free(h->found);
	free(h);
}

static void on_tick(evutil_socket_t fd, short what, void *ctx)
{
	struct jobs *j = ctx;
	struct housekeeping *h = calloc(1, sizeof(*h));
	struct timeval every = {.tv_sec = HOUSE_S};

	event_add(j->tick, &every);
	if (!h)
		return;
	h->job = (struct job){house_run, house_done, 0};
	h->jobs = j;
	workers_submit(j->disk, &h->job);
}

/* ---- life ---- */

int jobs_new(struct jobs **jobs, struct net *net, const struct config *config, struct data_owner *d,
	     struct err *e)
{
	struct jobs *j = calloc(1, sizeof(*j));

	*jobs = NULL;
	if (!j)
		return err_set(e, ERR_ENV, "out of memory");
	j->net = net;
	j->config = config;
	j->owner = d;
	j->tick = event_new(net_base(net), -1, 0, on_tick, j);
	j->path = strdup(config->ledger);
	j->size = config->ledger_size << 20;
	j->seconds = config->ledger_days * DAY_S;
	if (!j->tick || !j->path || workers_new(&j->disk, net_base(net), 1, e)) {
		jobs_free(j);
		return err_set(e, ERR_ENV, "out of memory");
	}
	on_tick(-1, 0, j);
	*jobs = j;
	return 0;
}

void jobs_pause(struct jobs *j)
{
	if (j)
		j->paused = 1;
}

void jobs_free(struct jobs *j)
{
	if (!j)
		return;
	j->paused = j->freed = 1;
	workers_free(j->disk); /* what was submitted is done, and told */
	ledger_close(j->ledger);
	jobs_free_batches(j);
	jobs_free_questions(j);
	if (j->tick)
		event_free(j->tick);
	free(j->path);
	free(j);
}
