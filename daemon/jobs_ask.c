/* SPDX-License-Identifier: Apache-2.0 */
/* JOB frames of local clients: what they ask is done on the ledger's thread, in the order in which it came.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/jobs_parts.h"
#include "nn/plan.h"
#include "protocol/personality.h"

#define QUESTIONS_MAX 64 /* of all clients at once */
#define NAME_MAX_BYTES 4096
#define ROWS_MAX 10000 /* in one reply */

static enum personality personality(const Wire__Job *a)
{
	return a->personality[0] ? personality_named(a->personality) : PERSONALITY_SMPC;
}

/* ---- on the ledger's thread ---- */

/* Finds the job; makes it when that is asked for. 1: it is in q->found, 0: there is none. */
static int find_or_open(struct question *q, struct ledger *l)
{
	const Wire__Job *a = q->asked;
	struct ledger_job add = {.model = a->model, .optimise = a->optimise, .reveal = a->reveal};
	int known = ledger_find(l, a->key.data, &q->found, &q->err);

	if (known == 1 && a->open && a->again) {
		known = ledger_remove(l, q->found.id, &q->err);
		ledger_job_free(&q->found);
	}
	if (known == 1 && a->open && q->found.failed) {
		q->retried = 1;
		return ledger_retry(l, q->found.id, &q->err) ? -1 : 1;
	}
	if (known || !a->open || !a->described.len)
		return known;
	memcpy(add.key, a->key.data, LEDGER_KEY);
	snprintf(add.personality, sizeof(add.personality), "%s", personality_name(personality(a)));
	add.described = a->described.data;
	add.described_bytes = a->described.len;
	return ledger_add(l, &add, &q->err) ? -1 : ledger_find(l, add.key, &q->found, &q->err);
}

/* 1: stored; 0: no room. */
static int put_images(struct question *q, struct ledger *l)
{
	const Wire__Job *a = q->asked;
	struct ledger_row *rows = calloc(a->n_images, sizeof(*rows));
	int r;

	if (!rows)
		return err_set(&q->err, ERR_ENV, "out of memory for %zu images", a->n_images);
	for (size_t i = 0; i < a->n_images; i++) {
		const Wire__JobImage *image = a->images[i];

		rows[i].name = image->name;
		rows[i].error = image->error;
		rows[i].pixels = image->pixels.len ? image->pixels.data : NULL;
		rows[i].bytes = image->pixels.len;
	}
	r = ledger_put(l, q->found.id, a->first, rows, a->n_images, &q->err);
	free(rows);
	return r;
}

static int answer(struct question *q, struct ledger *l)
{
	const Wire__Job *a = q->asked;
	int64_t id;
	int put = 1;

	q->known = find_or_open(q, l);
	if (q->known <= 0)
		return q->known;
	id = q->found.id;
	if (a->n_images && (put = put_images(q, l)) < 0)
		return -1;
	q->full = !put;
	if (put && a->sealed && ledger_seal(l, id, &q->err))
		return -1;
	ledger_job_free(&q->found);
	if (ledger_find(l, a->key.data, &q->found, &q->err) != 1)
		return err_set(&q->err, ERR_ENV, "the job is no longer in the ledger");
	return a->most ? ledger_read(l, id, a->from, a->most, &q->rows, &q->err) : 0;
}

static void question_run(struct job *job)
{
	struct question *q = (struct question *)job;
	int open = jobs_ledger(q->jobs, q->asked->open && q->asked->described.len, &q->err);

	if (open > 0)
		(void)!answer(q, q->jobs->ledger);
}

/* ---- on the loop ---- */

static void question_free(struct question *q)
{
	struct question **at = &q->jobs->questions;

	while (*at != q)
		at = &(*at)->next;
	*at = q->next;
	q->jobs->asked--;
	ledger_job_free(&q->found);
	ledger_rows_free(&q->rows);
	wire__job__free_unpacked(q->asked, NULL);
	free(q);
}

static void fill_rows(Wire__JobReply *m, Wire__JobRow *rows, Wire__JobRow **list,
		      const struct ledger_rows *from)
{
	for (size_t i = 0; i < from->n; i++) {
		const struct ledger_row *r = &from->rows[i];

		wire__job_row__init(&rows[i]);
		rows[i].state = r->state;
		rows[i].name = r->name;
		rows[i].label = r->label;
		rows[i].scores = r->scores;
		rows[i].n_scores = r->n_scores;
		rows[i].attempts = r->attempts;
		rows[i].error = r->error ? r->error : (char *)(uintptr_t) "";
		list[i] = &rows[i];
	}
	m->rows = list;
	m->n_rows = from->n;
}

static void fill_reply(Wire__JobReply *m, const struct question *q)
{
	const struct active *a = jobs_find(q->jobs, q->found.id);

	m->known = 1;
	m->stored = q->found.stored;
	m->done = q->found.done;
	m->failed = q->found.failed;
	m->sealed = q->found.sealed;
	m->full = q->full;
	m->model = q->found.model;
	if (q->asked->open) {
		m->described.data = q->found.described;
		m->described.len = q->found.described_bytes;
	}
	if (a)
		m->trouble = (char *)(uintptr_t)a->trouble;
}

static void reply(struct question *q)
{
	Wire__JobReply m = WIRE__JOB_REPLY__INIT;
	Wire__JobRow *rows = calloc(q->rows.n + 1, sizeof(*rows)),
		     **list = calloc(q->rows.n + 1, sizeof(*list));
	Wire__Error error = WIRE__ERROR__INIT;
	struct channel *c = conn_channel(q->client);

	if (!rows || !list)
		err_set(&q->err, ERR_ENV, "out of memory");
	if (q->err.code) {
		error.code = q->err.code;
		error.text = q->err.text;
		m.error = &error;
	} else if (q->known > 0) {
		fill_reply(&m, q);
		fill_rows(&m, rows, list, &q->rows);
	}
	channel_send_message(c, FRAME_JOB_REPLY, 0, q->lane, &m);
	c->ops->flush(c);
	free(rows);
	free(list);
}

static void question_done(struct job *job)
{
	struct question *q = (struct question *)job;
	struct jobs *j = q->jobs;
	const struct ledger_job *f = &q->found;

	if (!j->freed && q->known > 0 && f->stored > f->done + f->failed &&
	    (q->asked->n_images || q->asked->open))
		jobs_activate(j, f, q->retried);
	if (q->client)
		reply(q);
	question_free(q);
}

static int check_images(const Wire__Job *a, struct err *e)
{
	for (size_t i = 0; i < a->n_images; i++) {
		const Wire__JobImage *image = a->images[i];

		if (!image->pixels.len == !image->error[0])
			return err_set(e, ERR_PEER,
				       "sent an image of a job with neither pixels nor an error, or both");
		if (strlen(image->name) > NAME_MAX_BYTES)
			return err_set(e, ERR_PEER, "sent an image's name of more than %d bytes",
				       NAME_MAX_BYTES);
	}
	return 0;
}

static int check(const struct jobs *j, const Wire__Job *a, struct err *e)
{
	if (a->key.len != LEDGER_KEY)
		return err_set(e, ERR_PEER, "sent a JOB with a key of %zu bytes", a->key.len);
	if (a->optimise > PLAN_AUTO || a->reveal > REVEAL_LABEL || a->most > ROWS_MAX ||
	    personality(a) == PERSONALITIES)
		return err_set(e, ERR_PEER, "sent a JOB that asks for what there is not");
	if (j->asked >= QUESTIONS_MAX)
		return err_set(e, ERR_PEER, "asks too much at once about jobs");
	return check_images(a, e);
}

int jobs_frame(struct jobs *j, struct conn *client, const struct frame *f, struct err *e)
{
	Wire__Job *asked = wire__job__unpack(NULL, f->length, f->body);
	struct question *q;

	if (!asked)
		return err_set(e, ERR_PEER, "sent a JOB that cannot be read");
	q = check(j, asked, e) ? NULL : calloc(1, sizeof(*q));
	if (!q) {
		wire__job__free_unpacked(asked, NULL);
		return err_set(e, ERR_ENV, "out of memory");
	}
	q->job = (struct job){question_run, question_done, 0};
	q->jobs = j;
	q->client = client;
	q->lane = f->lane;
	q->asked = asked;
	q->next = j->questions;
	j->questions = q;
	j->asked++;
	workers_submit(j->disk, &q->job);
	return 0;
}

void jobs_client_gone(struct jobs *j, struct conn *client)
{
	for (struct question *q = j->questions; q; q = q->next)
		if (q->client == client)
			q->client = NULL;
}

void jobs_free_questions(struct jobs *j)
{
	while (j->questions)
		question_free(j->questions);
}
