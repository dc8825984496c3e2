/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger's images: stored, taken for inference, finished, read. */
#include "daemon/ledger_parts.h"

#include <stdlib.h>
#include <string.h>

#include "crypto/secret.h"

#define READ_BYTES ((size_t)8 << 20) /* of scores and names in one answer */

static int64_t row_id(int64_t job, uint64_t at)
{
	return (int64_t)((uint64_t)job << 32 | at);
}

/* ---- storing ---- */

static int put_row(struct ledger *l, int64_t id, const struct ledger_row *r, struct err *e)
{
	sqlite3_stmt *s = l->s[PUT_IMAGE];

	ledger_numbers(l, PUT_IMAGE, id, 0);
	sqlite3_bind_text(s, 2, r->name, -1, SQLITE_STATIC);
	sqlite3_bind_int(s, 3, r->pixels ? LEDGER_WAITING : LEDGER_FAILED);
	if (r->pixels)
		sqlite3_bind_null(s, 4);
	else
		sqlite3_bind_text(s, 4, r->error ? r->error : "", -1, SQLITE_STATIC);
	if (ledger_run(l, PUT_IMAGE, e))
		return -1;
	if (!r->pixels)
		return 0;
	ledger_numbers(l, PUT_PIXELS, id, 0);
	sqlite3_bind_blob64(l->s[PUT_PIXELS], 2, r->pixels, r->bytes, SQLITE_STATIC);
	return ledger_run(l, PUT_PIXELS, e);
}

static int put_rows(struct ledger *l, int64_t job, uint64_t first, const struct ledger_row *rows, size_t n,
		    struct err *e)
{
	int64_t failed = 0;

	for (size_t i = 0; i < n; i++) {
		if (put_row(l, row_id(job, first + i), &rows[i], e))
			return -1;
		failed += !rows[i].pixels;
	}
	return ledger_count(l, job, (int64_t)n, 0, failed, e);
}

/* How many images are stored. */
static int job_state(struct ledger *l, int64_t job, uint64_t *stored, int *sealed, struct err *e)
{
	int r;

	ledger_numbers(l, STATE, job, 0);
	r = ledger_step(l, STATE, e);
	if (r == 1) {
		*stored = (uint64_t)sqlite3_column_int64(l->s[STATE], 0);
		*sealed = sqlite3_column_int(l->s[STATE], 1);
	}
	sqlite3_reset(l->s[STATE]);
	return r == 1 ? 0 : r ? -1 : err_set(e, ERR_INPUT, "the job is no longer in the ledger");
}

int ledger_put(struct ledger *l, int64_t job, uint64_t first, const struct ledger_row *rows, size_t n,
	       struct err *e)
{
	uint64_t stored = 0, bytes = 0;
	int sealed = 0;

	if (job_state(l, job, &stored, &sealed, e))
		return -1;
	if (first > stored || n > LEDGER_IMAGES_MAX - first)
		return err_set(e, ERR_INPUT, "images from %llu on cannot be stored: %llu are there",
			       (unsigned long long)first, (unsigned long long)stored);
	if (n <= stored - first)
		return 1;
	if (sealed)
		return err_set(e, ERR_INPUT, "the job is complete with %llu images: it takes no more",
			       (unsigned long long)stored);
	rows += stored - first;
	n -= stored - first;
	for (size_t i = 0; i < n; i++)
		bytes += rows[i].bytes;
	if (l->held && (l->held > l->most || bytes > l->most - l->held))
		return 0;
	if (ledger_run(l, BEGIN, e) || ledger_end(l, put_rows(l, job, stored, rows, n, e), e))
		return -1;
	l->held += bytes;
	return 1;
}

/* ---- reading ---- */

static struct ledger_row *new_row(struct ledger_rows *out, sqlite3_stmt *s, struct err *e)
{
	const char *name = (const char *)sqlite3_column_text(s, 1);
	struct ledger_row *rows = reallocarray(out->rows, out->n + 1, sizeof(*rows)), *r;

	if (rows)
		out->rows = rows;
	if (!rows || !(name = strdup(name ? name : ""))) {
		err_set(e, ERR_ENV, "out of memory");
		return NULL;
	}
	r = &rows[out->n++];
	*r = (struct ledger_row){.at = (uint64_t)sqlite3_column_int64(s, 0) & UINT32_MAX,
				 .name = (char *)name};
	return r;
}

static int take_row(struct ledger *l, struct ledger_rows *out, struct err *e)
{
	sqlite3_stmt *s = l->s[TAKE];
	struct ledger_row *r = new_row(out, s, e);

	if (!r)
		return -1;
	r->attempts = (uint32_t)sqlite3_column_int(s, 2);
	r->bytes = (size_t)sqlite3_column_bytes(s, 3);
	r->pixels = malloc(r->bytes + 1);
	if (!r->pixels)
		return err_set(e, ERR_ENV, "out of memory for an image of %zu bytes", r->bytes);
	if (r->bytes)
		memcpy(r->pixels, sqlite3_column_blob(s, 3), r->bytes);
	return 0;
}

static int take_rows(struct ledger *l, int64_t job, uint64_t from, size_t most, size_t most_bytes,
		     struct ledger_rows *out, struct err *e)
{
	size_t bytes = 0;
	int r;

	ledger_numbers(l, TAKE, job, (int64_t)from);
	sqlite3_bind_int64(l->s[TAKE], 3, (int64_t)most);
	while ((r = ledger_step(l, TAKE, e)) == 1) {
		size_t size = (size_t)sqlite3_column_bytes(l->s[TAKE], 3);

		if (out->n && (size != out->rows[0].bytes || bytes + size > most_bytes))
			break;
		bytes += size;
		if ((r = take_row(l, out, e)) < 0)
			break;
	}
	sqlite3_reset(l->s[TAKE]);
	return r < 0 ? -1 : 0;
}

/* What is taken counts as begun, whatever happens to this process now. */
static int count_attempts(struct ledger *l, int64_t job, struct ledger_rows *rows, struct err *e)
{
	if (!rows->n)
		return 0;
	for (size_t i = 0; i < rows->n; i++)
		rows->rows[i].attempts++;
	ledger_numbers(l, ATTEMPT, row_id(job, rows->rows[0].at), row_id(job, rows->rows[rows->n - 1].at));
	return ledger_run(l, ATTEMPT, e);
}

int ledger_take(struct ledger *l, int64_t job, uint64_t from, size_t most, size_t most_bytes,
		struct ledger_rows *out, struct err *e)
{
	memset(out, 0, sizeof(*out));
	if (from > LEDGER_IMAGES_MAX)
		return 0;
	if (ledger_run(l, BEGIN, e))
		return -1;
	if (!ledger_end(
		l, take_rows(l, job, from, most, most_bytes, out, e) || count_attempts(l, job, out, e), e))
		return 0;
	ledger_rows_free(out);
	return -1;
}

static int read_row(struct ledger *l, struct ledger_rows *out, struct err *e)
{
	sqlite3_stmt *s = l->s[READ];
	struct ledger_row *r = new_row(out, s, e);
	const char *error = (const char *)sqlite3_column_text(s, 6);
	int state = sqlite3_column_int(s, 2);
	size_t bytes = (size_t)sqlite3_column_bytes(s, 4);

	if (!r)
		return -1;
	if (state < 0 || state >= LEDGER_STATES || bytes % sizeof(float))
		return err_set(e, ERR_INPUT,
			       "the ledger %s is damaged (image %llu): move it away, its jobs must be "
			       "started again",
			       l->path, (unsigned long long)r->at);
	r->state = (enum ledger_state)state;
	r->label = (uint32_t)sqlite3_column_int64(s, 3);
	r->attempts = (uint32_t)sqlite3_column_int(s, 5);
	r->error = error ? strdup(error) : NULL;
	r->scores = malloc(bytes + 1);
	if (!r->scores || (error && !r->error))
		return err_set(e, ERR_ENV, "out of memory");
	if (bytes)
		memcpy(r->scores, sqlite3_column_blob(s, 4), bytes);
	r->n_scores = bytes / sizeof(float);
	return 0;
}

int ledger_read(struct ledger *l, int64_t job, uint64_t from, size_t most, struct ledger_rows *out,
		struct err *e)
{
	size_t bytes = 0;
	int r = 0;

	memset(out, 0, sizeof(*out));
	if (from > LEDGER_IMAGES_MAX)
		return 0;
	ledger_numbers(l, READ, job, (int64_t)from);
	sqlite3_bind_int64(l->s[READ], 3, (int64_t)most);
	while (bytes < READ_BYTES && (r = ledger_step(l, READ, e)) == 1) {
		bytes +=
		    (size_t)sqlite3_column_bytes(l->s[READ], 4) + (size_t)sqlite3_column_bytes(l->s[READ], 1);
		if ((r = read_row(l, out, e)) < 0)
			break;
	}
	sqlite3_reset(l->s[READ]);
	if (r < 0)
		ledger_rows_free(out);
	return r < 0 ? -1 : 0;
}

/* ---- results ---- */

/* Returns 1 when the row was waiting. */
static int finish_row(struct ledger *l, int64_t id, const struct ledger_row *r, struct err *e)
{
	sqlite3_stmt *s = l->s[FINISH];

	ledger_numbers(l, FINISH, id, r->state);
	sqlite3_bind_int64(s, 3, r->label);
	sqlite3_bind_blob64(s, 4, r->scores, r->n_scores * sizeof(*r->scores), SQLITE_STATIC);
	sqlite3_bind_int64(s, 5, r->attempts);
	sqlite3_bind_text(s, 6, r->error, -1, SQLITE_STATIC);
	if (ledger_run(l, FINISH, e))
		return -1;
	if (!sqlite3_changes(l->db))
		return 0;
	if (r->state != LEDGER_DONE)
		return 1;
	ledger_numbers(l, FORGET_PIXELS, id, 0);
	return ledger_run(l, FORGET_PIXELS, e) ? -1 : 1;
}

int ledger_finish(struct ledger *l, int64_t job, const struct ledger_row *rows, size_t n, struct err *e)
{
	int64_t done = 0, failed = 0;
	uint64_t bytes = 0;
	int r = 0;

	if (ledger_run(l, BEGIN, e))
		return -1;
	for (size_t i = 0; r >= 0 && i < n; i++) {
		r = finish_row(l, row_id(job, rows[i].at), &rows[i], e);
		if (r == 1 && rows[i].state == LEDGER_DONE)
			done++, bytes += rows[i].bytes;
		else if (r == 1)
			failed++;
	}
	if (ledger_end(l, r < 0 || ledger_count(l, job, 0, done, failed, e), e))
		return -1;
	l->held -= bytes < l->held ? bytes : l->held;
	ledger_forget_log(l);
	return 0;
}

void ledger_rows_free(struct ledger_rows *rows)
{
	for (size_t i = 0; i < rows->n; i++) {
		struct ledger_row *r = &rows->rows[i];

		if (r->pixels)
			secret_wipe(r->pixels, r->bytes);
		if (r->scores)
			secret_wipe(r->scores, r->n_scores * sizeof(*r->scores));
		free(r->pixels);
		free(r->scores);
		free(r->name);
		free(r->error);
	}
	free(rows->rows);
	memset(rows, 0, sizeof(*rows));
}
