/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger alone: what is stored once stays, is finished once, and survives being reopened; damaged or
 * foreign files are refused with a reason. */
#include "daemon/ledger.h"

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/test.h"

#define BYTES 12

struct fixture {
	char dir[64], path[96];
	struct ledger *l;
	struct ledger_job job;
	struct err e;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/obscura-ledger.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/new/jobs.sqlite", f->dir);
	assert_int_equal(ledger_open(&f->l, f->path, 1 << 20, &f->e), 0);
	f->job.model = (char *)(uintptr_t) "digits";
	f->job.described = (uint8_t *)(uintptr_t) "shape";
	f->job.described_bytes = 5;
	f->job.reveal = 1;
	memset(f->job.key, 7, LEDGER_KEY);
	assert_int_equal(ledger_add(f->l, &f->job, &f->e), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	ledger_close(f->l);
	snprintf(command, sizeof(command), "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

static void reopen(struct fixture *f)
{
	ledger_close(f->l);
	assert_int_equal(ledger_open(&f->l, f->path, 1 << 20, &f->e), 0);
}

/* Images [first, first + n): pixels are their number; every fifth has none but an error. */
static int put(struct fixture *f, uint64_t first, size_t n)
{
	struct ledger_row rows[32] = {0};
	uint8_t pixels[32][BYTES];
	char names[32][16];

	for (size_t i = 0; i < n; i++) {
		uint64_t at = first + i;

		snprintf(names[i], sizeof(names[i]), "image-%d", (int)at);
		rows[i].name = names[i];
		memset(pixels[i], (int)at, BYTES);
		if (at % 5 == 4)
			rows[i].error = (char *)(uintptr_t) "cannot be read";
		else
			rows[i].pixels = pixels[i], rows[i].bytes = BYTES;
	}
	return ledger_put(f->l, f->job.id, first, rows, n, &f->e);
}

static void expect_counts(struct fixture *f, uint64_t stored, uint64_t done, uint64_t failed)
{
	struct ledger_job job;

	assert_int_equal(ledger_find(f->l, f->job.key, &job, &f->e), 1);
	assert_int_equal(job.stored, stored);
	assert_int_equal(job.done, done);
	assert_int_equal(job.failed, failed);
	ledger_job_free(&job);
}

static void finish(struct fixture *f, struct ledger_rows *rows, enum ledger_state state)
{
	for (size_t i = 0; i < rows->n; i++) {
		struct ledger_row *r = &rows->rows[i];

		r->state = state;
		r->label = (uint32_t)r->at + 100;
		r->n_scores = 2;
		r->scores = calloc(2, sizeof(float));
		r->scores[1] = (float)r->at;
		r->error = state == LEDGER_FAILED ? strdup("refused") : NULL;
	}
	assert_int_equal(ledger_finish(f->l, f->job.id, rows->rows, rows->n, &f->e), 0);
}

static void test_job(void **state)
{
	struct fixture *f = *state;
	struct ledger_job job;
	uint8_t other[LEDGER_KEY] = {1};
	struct stat s;

	assert_int_equal(stat(f->path, &s), 0);
	assert_int_equal(s.st_mode & 0777, 0600);
	assert_int_equal(ledger_find(f->l, other, &job, &f->e), 0);
	reopen(f);
	assert_int_equal(ledger_find(f->l, f->job.key, &job, &f->e), 1);
	assert_int_equal(job.id, f->job.id);
	assert_string_equal(job.model, "digits");
	assert_int_equal(job.reveal, 1);
	assert_int_equal(job.described_bytes, 5);
	assert_memory_equal(job.described, "shape", 5);
	assert_int_equal(job.sealed, 0);
	ledger_job_free(&job);
	assert_int_equal(ledger_add(f->l, &f->job, &f->e), -1); /* one job a key */
}

static void test_put(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(put(f, 0, 10), 1);
	assert_int_equal(put(f, 0, 10), 1); /* sent again: nothing changes */
	expect_counts(f, 10, 0, 2);
	assert_int_equal(put(f, 6, 10), 1); /* overlaps: the new ones are added */
	expect_counts(f, 16, 0, 3);
	assert_int_equal(put(f, 20, 1), -1); /* a gap */
	assert_int_equal(f->e.code, ERR_INPUT);
	f->e = (struct err){0};
	assert_int_equal(put(f, UINT32_MAX, 2), -1);
	f->e = (struct err){0};
	assert_int_equal(ledger_seal(f->l, f->job.id, &f->e), 0);
	assert_int_equal(put(f, 16, 1), -1);
	assert_non_null(strstr(f->e.text, "complete"));
	assert_int_equal(put(f, 10, 6), 1);
}

static void test_take_and_finish(void **state)
{
	struct fixture *f = *state;
	struct ledger_rows rows, again;

	assert_int_equal(put(f, 0, 12), 1);
	assert_int_equal(ledger_take(f->l, f->job.id, 0, 6, 1 << 20, &rows, &f->e), 0);
	assert_int_equal(rows.n, 6); /* 0 1 2 3 5 6: 4 has no pixels */
	assert_int_equal(rows.rows[5].at, 6);
	assert_int_equal(rows.rows[5].pixels[BYTES - 1], 6);
	assert_int_equal(rows.rows[0].attempts, 1);
	ledger_rows_free(&rows);
	reopen(f); /* as after a kill: the same wait again, and the attempt was counted */
	assert_int_equal(ledger_take(f->l, f->job.id, 0, 6, 3 * BYTES, &rows, &f->e), 0);
	assert_int_equal(rows.n, 3);
	assert_int_equal(rows.rows[2].attempts, 2);
	finish(f, &rows, LEDGER_DONE);
	expect_counts(f, 12, 3, 2);
	assert_int_equal(ledger_finish(f->l, f->job.id, rows.rows, rows.n, &f->e), 0);
	expect_counts(f, 12, 3, 2); /* done once, however often it is said */
	rows.rows[0].label = 9;
	rows.rows[0].state = LEDGER_FAILED;
	assert_int_equal(ledger_finish(f->l, f->job.id, rows.rows, 1, &f->e), 0);
	ledger_rows_free(&rows);
	assert_int_equal(ledger_read(f->l, f->job.id, 0, 100, &again, &f->e), 0);
	assert_int_equal(again.n, 12);
	assert_int_equal(again.rows[0].state, LEDGER_DONE);
	assert_int_equal(again.rows[0].label, 100);
	assert_true(again.rows[2].scores[1] == 2);
	assert_int_equal(again.rows[4].state, LEDGER_FAILED);
	assert_string_equal(again.rows[4].error, "cannot be read");
	assert_int_equal(again.rows[5].state, LEDGER_WAITING);
	assert_string_equal(again.rows[11].name, "image-11");
	ledger_rows_free(&again);
	assert_int_equal(ledger_take(f->l, f->job.id, 0, 100, 1 << 20, &rows, &f->e), 0);
	assert_int_equal(rows.n, 7);
	assert_int_equal(rows.rows[0].at, 3);
	ledger_rows_free(&rows);
}

static void test_retry(void **state)
{
	struct fixture *f = *state;
	struct ledger_rows rows;

	assert_int_equal(put(f, 0, 6), 1);
	assert_int_equal(ledger_take(f->l, f->job.id, 0, 2, 1 << 20, &rows, &f->e), 0);
	finish(f, &rows, LEDGER_FAILED);
	ledger_rows_free(&rows);
	expect_counts(f, 6, 0, 3);
	assert_int_equal(ledger_retry(f->l, f->job.id, &f->e), 0);
	expect_counts(f, 6, 0, 1); /* the one without pixels has failed for good */
	assert_int_equal(ledger_take(f->l, f->job.id, 0, 9, 1 << 20, &rows, &f->e), 0);
	assert_int_equal(rows.n, 5);
	assert_int_equal(rows.rows[1].pixels[0], 1);
	ledger_rows_free(&rows);
}

static void test_room(void **state)
{
	struct fixture *f = *state;
	struct ledger_rows rows;

	ledger_close(f->l);
	assert_int_equal(ledger_open(&f->l, f->path, 5 * BYTES, &f->e), 0);
	assert_int_equal(put(f, 0, 4), 1);
	assert_int_equal(put(f, 4, 6), 0); /* no room: nothing of it is stored */
	expect_counts(f, 4, 0, 0);
	assert_int_equal(ledger_take(f->l, f->job.id, 0, 4, 1 << 20, &rows, &f->e), 0);
	finish(f, &rows, LEDGER_DONE);
	ledger_rows_free(&rows);
	assert_int_equal(put(f, 4, 6), 1);
	ledger_close(f->l);
	assert_int_equal(ledger_open(&f->l, f->path, 5 * BYTES, &f->e), 0);
	assert_int_equal(put(f, 10, 2), 0); /* what is held is known after a restart */
}

/* Pixels that are done are overwritten on disk, not only unlinked. */
static void test_pixels_are_gone(void **state)
{
	struct fixture *f = *state;
	struct ledger_row row = {.name = (char *)(uintptr_t) "marked", .bytes = 5000};
	struct ledger_rows rows;
	char *bytes, log[128];
	FILE *file;
	size_t n;

	snprintf(log, sizeof(log), "%s-wal", f->path);
	row.pixels = malloc(row.bytes);
	for (size_t i = 0; i < row.bytes; i++)
		row.pixels[i] = "PLANTEDMARK"[i % 11];
	assert_int_equal(ledger_put(f->l, f->job.id, 0, &row, 1, &f->e), 1);
	assert_int_equal(ledger_take(f->l, f->job.id, 0, 1, 1 << 20, &rows, &f->e), 0);
	finish(f, &rows, LEDGER_DONE);
	ledger_rows_free(&rows);
	free(row.pixels);
	bytes = calloc(1, 1 << 20);
	file = fopen(log, "rb"); /* a daemon stays: its ledger is not closed */
	assert_non_null(file);
	n = fread(bytes, 1, 1 << 20, file);
	assert_null(memmem(bytes, n, "PLANTEDMARK", 11));
	fclose(file);
	ledger_close(f->l);
	file = fopen(f->path, "rb");
	n = fread(bytes, 1, 1 << 20, file);
	assert_true(n > 5000);
	assert_non_null(memmem(bytes, n, "image", 5));
	assert_null(memmem(bytes, n, "PLANTEDMARK", 11));
	fclose(file);
	free(bytes);
	assert_int_equal(ledger_open(&f->l, f->path, 1 << 20, &f->e), 0);
}

static void count_job(void *ctx, const struct ledger_job *job)
{
	assert_string_equal(job->model, "digits");
	++*(int *)ctx;
}

static void test_each_and_prune(void **state)
{
	struct fixture *f = *state;
	struct ledger_job job;
	int n = 0;

	assert_int_equal(ledger_each_waiting(f->l, count_job, &n, &f->e), 0);
	assert_int_equal(n, 0);
	assert_int_equal(put(f, 0, 3), 1);
	assert_int_equal(ledger_each_waiting(f->l, count_job, &n, &f->e), 0);
	assert_int_equal(n, 1);
	assert_int_equal(ledger_prune(f->l, 3600, &f->e), 0);
	expect_counts(f, 3, 0, 0);
	assert_int_equal(ledger_remove(f->l, f->job.id, &f->e), 0);
	assert_int_equal(ledger_find(f->l, f->job.key, &job, &f->e), 0);
	assert_int_equal(put(f, 0, 3), -1);
}

static void expect_refused(struct fixture *f, const char *pattern)
{
	struct err e = {0};

	assert_int_equal(ledger_open(&f->l, f->path, 1 << 20, &e), -1);
	assert_null(f->l);
	assert_int_equal(e.code, ERR_INPUT);
	if (!strstr(e.text, pattern))
		fail_msg("\"%s\" does not say \"%s\"", e.text, pattern);
}

static void overwrite(const char *path, long at, const char *bytes, size_t n)
{
	FILE *file = fopen(path, "r+b");

	assert_int_equal(fseek(file, at, SEEK_SET), 0);
	assert_int_equal(fwrite(bytes, 1, n, file), n);
	fclose(file);
}

static void test_hostile_files(void **state)
{
	static const char noise[4096] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
	struct fixture *f = *state;
	sqlite3 *db;

	assert_int_equal(put(f, 0, 30), 1);
	ledger_close(f->l);
	for (int page = 1; page < 4; page++) /* all of them tables */
		overwrite(f->path, 4096L * page, noise, sizeof(noise));
	expect_refused(f, "damaged");
	overwrite(f->path, 0, "this is a text, no SQLite file at all", 37);
	expect_refused(f, "damaged");
	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "CREATE TABLE t (x)", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	expect_refused(f, "no ledger of obscura");
	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(ledger_open(&f->l, f->path, 1 << 20, &f->e), 0);
	ledger_close(f->l);
	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	expect_refused(f, "version 99");
}

/* Version 1 had no personality: its jobs are of smpc. */
static void test_version_1(void **state)
{
	struct fixture *f = *state;
	struct ledger_job job;
	sqlite3 *db;

	assert_int_equal(put(f, 0, 3), 1);
	ledger_close(f->l);
	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "ALTER TABLE job DROP COLUMN personality; PRAGMA user_version = 1",
				      NULL, NULL, NULL),
			 SQLITE_OK);
	sqlite3_close(db);
	for (int twice = 0; twice < 2; twice++) {
		assert_int_equal(ledger_open(&f->l, f->path, 1 << 20, &f->e), 0);
		assert_int_equal(ledger_find(f->l, f->job.key, &job, &f->e), 1);
		assert_string_equal(job.personality, "smpc");
		assert_int_equal(job.stored, 3);
		ledger_job_free(&job);
		if (!twice)
			ledger_close(f->l);
	}
}

static void test_one_process(void **state)
{
	struct fixture *f = *state;
	struct ledger *mine = f->l;

	expect_refused(f, "another process");
	f->l = mine;
}

/* A process that stores and finishes without end is killed at any moment: what it had been told is there, and
 * nothing is half there. */
static void test_kill(void **state)
{
	struct fixture *f = *state;
	uint64_t seed = 5, before = 0;

	for (int round = 0; round < 12; round++) {
		struct ledger_rows rows;
		struct ledger_job job;
		uint64_t told = before, n;
		int p[2], status;
		pid_t child;

		assert_int_equal(pipe(p), 0);
		ledger_close(f->l);
		f->l = NULL;
		child = fork();
		if (!child) {
			if (ledger_open(&f->l, f->path, 1 << 30, &f->e))
				_exit(1);
			for (uint64_t at = before;; at += 8) {
				if (put(f, at, 8) != 1 ||
				    ledger_take(f->l, f->job.id, 0, 8, 1 << 20, &rows, &f->e))
					_exit(1);
				for (size_t i = 0; i < rows.n; i++)
					rows.rows[i].state = LEDGER_DONE;
				if (ledger_finish(f->l, f->job.id, rows.rows, rows.n, &f->e))
					_exit(1);
				at += 8;
				if (write(p[1], &at, sizeof(at)) != sizeof(at))
					_exit(1);
				at -= 8;
			}
		}
		close(p[1]);
		for (uint64_t writes = 1 + test_random(&seed) % 40; writes; writes--)
			assert_int_equal(read(p[0], &told, sizeof(told)), sizeof(told));
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
		assert_true(WIFSIGNALED(status));
		close(p[0]);
		assert_int_equal(ledger_open(&f->l, f->path, 1 << 30, &f->e), 0);
		assert_int_equal(ledger_find(f->l, f->job.key, &job, &f->e), 1);
		assert_true(job.stored >= told && job.stored % 8 == 0);
		for (n = 0; n < job.stored; n += rows.n, ledger_rows_free(&rows)) {
			assert_int_equal(ledger_read(f->l, f->job.id, n, 1000, &rows, &f->e), 0);
			assert_true(rows.n > 0);
			for (size_t i = 0; i < rows.n; i++)
				assert_int_equal(rows.rows[i].at, n + i);
		}
		assert_int_equal(n, job.stored);
		before = job.stored;
		ledger_job_free(&job);
	}
}

/* Pictures go into no file that somebody else has put there, or could. */
static void others_test(void **state)
{
	struct fixture *f = *state;
	char folder[96];
	struct stat st;

	snprintf(folder, sizeof(folder), "%s/new", f->dir);
	assert_int_equal(chmod(f->path, 0666), 0);
	reopen(f);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	ledger_close(f->l);
	assert_int_equal(chmod(folder, 01777), 0);
	expect_refused(f, "anybody may write to its folder");
	assert_int_equal(chmod(folder, 0700), 0);
	if (!chown(f->path, 65534, 65534)) { /* root */
		expect_refused(f, "no plain file of this user's");
		assert_int_equal(chown(f->path, geteuid(), getegid()), 0);
	}
	assert_int_equal(ledger_open(&f->l, f->path, 1 << 20, &f->e), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_job, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_put, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_take_and_finish, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_retry, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_room, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_pixels_are_gone, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_each_and_prune, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_hostile_files, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_version_1, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_one_process, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_kill, setup, teardown),
	    cmocka_unit_test_setup_teardown(others_test, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
