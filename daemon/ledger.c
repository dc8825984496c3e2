/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger's file: opening and its schema, jobs. Images are in ledger_rows.c. */
#include "daemon/ledger_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define APPLICATION 0x4f62734c /* "ObsL": tells a ledger from other SQLite files */
#define VERSION 2
#define CHECK_BYTES (256 << 20) /* a file up to this is checked in whole when it is opened */
#define DIRECTORY_MODE 0700

/* image.id is job << 32 | number of the image, so that a job is a range and its images are in order. Pixels
 * are apart: rows that are read often stay small. */
static const char schema[] =
    "CREATE TABLE job (id INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL UNIQUE, model TEXT NOT NULL,"
    " optimise INTEGER NOT NULL, reveal INTEGER NOT NULL, described BLOB NOT NULL,"
    " stored INTEGER NOT NULL DEFAULT 0, done INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0,"
    " sealed INTEGER NOT NULL DEFAULT 0, touched INTEGER NOT NULL,"
    " personality TEXT NOT NULL DEFAULT 'smpc');"
    "CREATE TABLE image (id INTEGER PRIMARY KEY, name TEXT NOT NULL, state INTEGER NOT NULL,"
    " label INTEGER NOT NULL DEFAULT 0, scores BLOB, attempts INTEGER NOT NULL DEFAULT 0, error TEXT);"
    "CREATE INDEX waiting ON image (id) WHERE state = 0;"
    "CREATE TABLE pixels (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL);";

static const char *const statements[STATEMENTS] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [FIND] = "SELECT id, key, model, optimise, reveal, described, stored, done, failed, sealed,"
	     " personality FROM job"
	     " WHERE key = ?1",
    [ADD] = "INSERT INTO job (key, model, optimise, reveal, described, touched, personality)"
	    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [REMOVE_PIXELS] = "DELETE FROM pixels WHERE id >= ?1 << 32 AND id < (?1 + 1) << 32",
    [REMOVE_IMAGES] = "DELETE FROM image WHERE id >= ?1 << 32 AND id < (?1 + 1) << 32",
    [REMOVE_JOB] = "DELETE FROM job WHERE id = ?1",
    [RETRY] = "UPDATE image SET state = 0, error = NULL WHERE id >= ?1 << 32 AND id < (?1 + 1) << 32"
	      " AND state = 2 AND id IN (SELECT id FROM pixels WHERE id >= ?1 << 32 AND id < (?1 + 1) << 32)",
    [COUNT] = "UPDATE job SET stored = stored + ?2, done = done + ?3, failed = failed + ?4, touched = ?5"
	      " WHERE id = ?1",
    [STATE] = "SELECT stored, sealed FROM job WHERE id = ?1",
    [PUT_IMAGE] = "INSERT INTO image (id, name, state, error) VALUES (?1, ?2, ?3, ?4)",
    [PUT_PIXELS] = "INSERT INTO pixels (id, bytes) VALUES (?1, ?2)",
    [SEAL] = "UPDATE job SET sealed = 1 WHERE id = ?1",
    [TAKE] = "SELECT image.id, name, attempts, bytes FROM image JOIN pixels USING (id)"
	     " WHERE state = 0 AND image.id >= (?1 << 32) + ?2 AND image.id < (?1 + 1) << 32"
	     " ORDER BY image.id LIMIT ?3",
    [ATTEMPT] = "UPDATE image SET attempts = attempts + 1 WHERE state = 0 AND id BETWEEN ?1 AND ?2",
    [FINISH] = "UPDATE image SET state = ?2, label = ?3, scores = ?4, attempts = ?5, error = ?6"
	       " WHERE id = ?1 AND state = 0",
    [FORGET_PIXELS] = "DELETE FROM pixels WHERE id = ?1",
    [READ] = "SELECT id, name, state, label, scores, attempts, error FROM image"
	     " WHERE id >= (?1 << 32) + ?2 AND id < (?1 + 1) << 32 ORDER BY id LIMIT ?3",
    [EACH] = "SELECT id, key, model, optimise, reveal, described, stored, done, failed, sealed,"
	     " personality FROM job"
	     " WHERE stored > done + failed",
    [OLD] = "SELECT id FROM job WHERE touched < ?1 LIMIT 1",
    [HELD] = "SELECT total(length(bytes)) FROM pixels",
    [WAITING] = "SELECT 1 FROM image WHERE state = 0 LIMIT 1",
};

/* ---- SQLite ---- */

/* Returns -1 with what SQLite says. */
static int ledger_fail(struct ledger *l, struct err *e)
{
	int code = sqlite3_errcode(l->db) & 0xff;
	const char *text = sqlite3_errmsg(l->db);

	if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB || code == SQLITE_MISMATCH)
		return err_set(e, ERR_INPUT,
			       "the ledger %s is damaged (%s): move it away, its jobs must be started again",
			       l->path, text);
	if (code == SQLITE_BUSY || code == SQLITE_LOCKED)
		return err_set(e, ERR_INPUT,
			       "the ledger %s belongs to another process: give each data owner its own "
			       "with --ledger=FILE",
			       l->path);
	if (code == SQLITE_FULL)
		return err_set(e, ERR_ENV, "the ledger %s: the disk is full", l->path);
	return err_set(e, ERR_ENV, "the ledger %s: %s", l->path, text);
}

int ledger_step(struct ledger *l, enum statement which, struct err *e)
{
	int code = sqlite3_step(l->s[which]);

	if (code == SQLITE_ROW)
		return 1;
	if (code == SQLITE_DONE)
		return 0;
	ledger_fail(l, e);
	sqlite3_reset(l->s[which]);
	return -1;
}

int ledger_run(struct ledger *l, enum statement which, struct err *e)
{
	int r = ledger_step(l, which, e);

	sqlite3_reset(l->s[which]);
	sqlite3_clear_bindings(l->s[which]);
	return r < 0 ? -1 : 0;
}

void ledger_numbers(struct ledger *l, enum statement which, int64_t a, int64_t b)
{
	sqlite3_bind_int64(l->s[which], 1, a);
	if (sqlite3_bind_parameter_count(l->s[which]) > 1)
		sqlite3_bind_int64(l->s[which], 2, b);
}

int ledger_end(struct ledger *l, int failed, struct err *e)
{
	if (!failed && !ledger_run(l, COMMIT, e))
		return 0;
	if (!sqlite3_get_autocommit(l->db))
		(void)!ledger_run(l, ROLLBACK, NULL); /* e has the reason already */
	return -1;
}

/* secure_delete overwrites what the file holds; the write-ahead log keeps older copies of its pages until it
 * is begun anew, which may be never. It is cut off here. A failure is none of a job: SQLite tries again by
 * itself. */
void ledger_forget_log(struct ledger *l)
{
	int waits = ledger_step(l, WAITING, NULL);

	sqlite3_reset(l->s[WAITING]);
	if (!waits)
		sqlite3_wal_checkpoint_v2(l->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
}

static int64_t ledger_now(void)
{
	return (int64_t)time(NULL);
}

/* ---- opening ---- */

static int query_text(struct ledger *l, const char *sql, char *out, size_t bytes, struct err *e)
{
	sqlite3_stmt *s;
	const char *text;
	int code;

	if (sqlite3_prepare_v2(l->db, sql, -1, &s, NULL) != SQLITE_OK)
		return ledger_fail(l, e);
	code = sqlite3_step(s);
	text = code == SQLITE_ROW ? (const char *)sqlite3_column_text(s, 0) : NULL;
	snprintf(out, bytes, "%s", text ? text : "");
	sqlite3_finalize(s);
	return code == SQLITE_ROW || code == SQLITE_DONE ? 0 : ledger_fail(l, e);
}

static int query_number(struct ledger *l, const char *sql, long long *out, struct err *e)
{
	char text[32];

	if (query_text(l, sql, text, sizeof(text), e))
		return -1;
	*out = atoll(text);
	return 0;
}

static int execute(struct ledger *l, const char *sql, struct err *e)
{
	return sqlite3_exec(l->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : ledger_fail(l, e);
}

/* The file may be anybody's: its schema runs nothing, its cells are checked, deleted images are overwritten.
 * synchronous=NORMAL survives the death of any process; a power cut may undo the last commits, never part of
 * one. */
static const char settings[] = "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;"
			       "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;"
			       "PRAGMA synchronous = NORMAL; PRAGMA secure_delete = ON;";

static int create(struct ledger *l, struct err *e)
{
	char number[96];

	snprintf(number, sizeof(number), "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT;",
		 APPLICATION, VERSION);
	return execute(l, "BEGIN EXCLUSIVE", e) || execute(l, schema, e) || execute(l, number, e) ? -1 : 0;
}

/* Version 1 knew one personality. */
static int migrate(struct ledger *l, struct err *e)
{
	return execute(l,
		       "BEGIN EXCLUSIVE; ALTER TABLE job ADD COLUMN personality TEXT NOT NULL DEFAULT 'smpc';"
		       " PRAGMA user_version = 2; COMMIT",
		       e);
}

static int check_whole(struct ledger *l, struct err *e)
{
	char verdict[160];
	struct stat s;

	if (stat(l->path, &s) || s.st_size > CHECK_BYTES)
		return 0;
	if (query_text(l, "PRAGMA quick_check(1)", verdict, sizeof(verdict), e))
		return -1;
	if (!strcmp(verdict, "ok"))
		return 0;
	return err_set(e, ERR_INPUT,
		       "the ledger %s is damaged (%s): move it away, its jobs must be started again", l->path,
		       verdict);
}

static int check(struct ledger *l, struct err *e)
{
	long long application, version, tables;

	if (query_number(l, "PRAGMA application_id", &application, e) ||
	    query_number(l, "PRAGMA user_version", &version, e) ||
	    query_number(l, "SELECT count(*) FROM sqlite_schema", &tables, e))
		return -1;
	if (!application && !version && !tables)
		return create(l, e);
	if (application != APPLICATION)
		return err_set(e, ERR_INPUT, "%s is a SQLite file, but no ledger of obscura: name another",
			       l->path);
	if (version == 1)
		return check_whole(l, e) || migrate(l, e) ? -1 : 0;
	if (version != VERSION)
		return err_set(
		    e, ERR_INPUT,
		    "the ledger %s has version %lld, this program knows version %d: finish its jobs "
		    "with the program that made it, or move it away",
		    l->path, version, VERSION);
	return check_whole(l, e);
}

static int prepare(struct ledger *l, struct err *e)
{
	for (size_t i = 0; i < STATEMENTS; i++)
		if (sqlite3_prepare_v3(l->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT, &l->s[i], NULL) !=
		    SQLITE_OK)
			return ledger_fail(l, e);
	if (ledger_step(l, HELD, e) < 0)
		return -1;
	l->held = (uint64_t)sqlite3_column_double(l->s[HELD], 0);
	sqlite3_reset(l->s[HELD]);
	return 0;
}

/* Pictures lie in it: a file that somebody else has put there stays theirs to read, and where anybody may
 * write, so does the log that SQLite makes beside it. */
static int is_ours(const char *path, int fd, const char *folder, struct err *e)
{
	struct stat file, place;

	if (fstat(fd, &file) || stat(folder, &place))
		return err_set(e, ERR_ENV, "the ledger %s: %s", path, strerror(errno));
	if (!S_ISREG(file.st_mode) || file.st_uid != geteuid())
		return err_set(e, ERR_INPUT,
			       "the ledger %s is no plain file of this user's: remove it, or name another",
			       path);
	if (place.st_mode & S_IWOTH)
		return err_set(
		    e, ERR_INPUT,
		    "the ledger %s: anybody may write to its folder: name a file in a folder of your own",
		    path);
	return fchmod(fd, 0600) ? err_set(e, ERR_ENV, "the ledger %s: %s", path, strerror(errno)) : 0;
}

/* The file with mode 0600, and its folder when only that is missing. */
static int make_file(const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');
	char folder[4096];
	int fd, bad;

	snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
	(void)!mkdir(folder, DIRECTORY_MODE); /* open says it when this failed */
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
	if (fd < 0)
		return err_set(
		    e, ERR_ENV,
		    "cannot open the ledger %s: %s; make its folder writable, or name another file "
		    "with --ledger=FILE",
		    path, strerror(errno));
	bad = is_ours(path, fd, folder, e);
	close(fd);
	return bad;
}

int ledger_open(struct ledger **ledger, const char *path, uint64_t most, struct err *e)
{
	struct ledger *l = calloc(1, sizeof(*l));

	*ledger = NULL;
	if (!l || !(l->path = strdup(path))) {
		free(l);
		return err_set(e, ERR_ENV, "out of memory");
	}
	l->most = most;
	if (make_file(path, e))
		goto fail;
	if (sqlite3_open_v2(path, &l->db,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE,
			    NULL) != SQLITE_OK) {
		err_set(e, ERR_ENV, "the ledger %s: %s", path,
			l->db ? sqlite3_errmsg(l->db) : "out of memory");
		goto fail;
	}
	sqlite3_busy_timeout(l->db, 2000);
	sqlite3_db_config(l->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	if (execute(l, settings, e) || check(l, e) || prepare(l, e))
		goto fail;
	*ledger = l;
	return 0;
fail:
	ledger_close(l);
	return -1;
}

void ledger_close(struct ledger *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < STATEMENTS; i++)
		sqlite3_finalize(l->s[i]);
	sqlite3_close(l->db);
	free(l->path);
	free(l);
}

/* ---- jobs ---- */

static int copy_blob(sqlite3_stmt *s, int column, uint8_t **out, size_t *bytes)
{
	const void *blob = sqlite3_column_blob(s, column);

	*bytes = (size_t)sqlite3_column_bytes(s, column);
	*out = malloc(*bytes + 1);
	if (*out && *bytes)
		memcpy(*out, blob, *bytes);
	return *out ? 0 : -1;
}

static int read_job(struct ledger *l, enum statement which, struct ledger_job *job, struct err *e)
{
	sqlite3_stmt *s = l->s[which];
	const char *model = (const char *)sqlite3_column_text(s, 2),
		   *personality = (const char *)sqlite3_column_text(s, 10);

	memset(job, 0, sizeof(*job));
	snprintf(job->personality, sizeof(job->personality), "%s", personality ? personality : "");
	job->id = sqlite3_column_int64(s, 0);
	job->model = strdup(model ? model : "");
	job->optimise = (uint32_t)sqlite3_column_int(s, 3);
	job->reveal = (uint32_t)sqlite3_column_int(s, 4);
	job->stored = (uint64_t)sqlite3_column_int64(s, 6);
	job->done = (uint64_t)sqlite3_column_int64(s, 7);
	job->failed = (uint64_t)sqlite3_column_int64(s, 8);
	job->sealed = sqlite3_column_int(s, 9);
	if (sqlite3_column_bytes(s, 1) == LEDGER_KEY)
		memcpy(job->key, sqlite3_column_blob(s, 1), LEDGER_KEY);
	if (!copy_blob(s, 5, &job->described, &job->described_bytes) && job->model)
		return 0;
	ledger_job_free(job);
	return err_set(e, ERR_ENV, "out of memory");
}

int ledger_find(struct ledger *l, const uint8_t key[LEDGER_KEY], struct ledger_job *job, struct err *e)
{
	int r;

	sqlite3_bind_blob(l->s[FIND], 1, key, LEDGER_KEY, SQLITE_STATIC);
	r = ledger_step(l, FIND, e);
	if (r == 1 && read_job(l, FIND, job, e))
		r = -1;
	sqlite3_reset(l->s[FIND]);
	return r;
}

int ledger_add(struct ledger *l, struct ledger_job *job, struct err *e)
{
	sqlite3_stmt *s = l->s[ADD];

	sqlite3_bind_blob(s, 1, job->key, LEDGER_KEY, SQLITE_STATIC);
	sqlite3_bind_text(s, 2, job->model, -1, SQLITE_STATIC);
	sqlite3_bind_int64(s, 3, job->optimise);
	sqlite3_bind_int64(s, 4, job->reveal);
	/* a zero-length blob that is not NULL */
	sqlite3_bind_blob64(s, 5, job->described_bytes ? (const void *)job->described : "",
			    job->described_bytes, SQLITE_STATIC);
	sqlite3_bind_int64(s, 6, ledger_now());
	sqlite3_bind_text(s, 7, job->personality, -1, SQLITE_STATIC);
	if (ledger_run(l, ADD, e))
		return -1;
	job->id = sqlite3_last_insert_rowid(l->db);
	return 0;
}

int ledger_count(struct ledger *l, int64_t job, int64_t stored, int64_t done, int64_t failed, struct err *e)
{
	ledger_numbers(l, COUNT, job, stored);
	sqlite3_bind_int64(l->s[COUNT], 3, done);
	sqlite3_bind_int64(l->s[COUNT], 4, failed);
	sqlite3_bind_int64(l->s[COUNT], 5, ledger_now());
	return ledger_run(l, COUNT, e);
}

static int recount_held(struct ledger *l, struct err *e)
{
	if (ledger_step(l, HELD, e) < 0)
		return -1;
	l->held = (uint64_t)sqlite3_column_double(l->s[HELD], 0);
	sqlite3_reset(l->s[HELD]);
	return 0;
}

int ledger_remove(struct ledger *l, int64_t job, struct err *e)
{
	int failed;

	if (ledger_run(l, BEGIN, e))
		return -1;
	ledger_numbers(l, REMOVE_PIXELS, job, 0);
	ledger_numbers(l, REMOVE_IMAGES, job, 0);
	ledger_numbers(l, REMOVE_JOB, job, 0);
	failed = ledger_run(l, REMOVE_PIXELS, e) || ledger_run(l, REMOVE_IMAGES, e) ||
		 ledger_run(l, REMOVE_JOB, e);
	if (ledger_end(l, failed, e))
		return -1;
	ledger_forget_log(l);
	return recount_held(l, e);
}

int ledger_retry(struct ledger *l, int64_t job, struct err *e)
{
	int failed;

	if (ledger_run(l, BEGIN, e))
		return -1;
	ledger_numbers(l, RETRY, job, 0);
	failed = ledger_run(l, RETRY, e) || ledger_count(l, job, 0, 0, -sqlite3_changes64(l->db), e);
	return ledger_end(l, failed, e);
}

int ledger_seal(struct ledger *l, int64_t job, struct err *e)
{
	ledger_numbers(l, SEAL, job, 0);
	return ledger_run(l, SEAL, e);
}

int ledger_each_waiting(struct ledger *l, void (*each)(void *ctx, const struct ledger_job *job), void *ctx,
			struct err *e)
{
	struct ledger_job job;
	int r;

	while ((r = ledger_step(l, EACH, e)) == 1) {
		if (read_job(l, EACH, &job, e)) {
			r = -1;
			break;
		}
		each(ctx, &job);
		ledger_job_free(&job);
	}
	sqlite3_reset(l->s[EACH]);
	return r;
}

int ledger_prune(struct ledger *l, uint64_t seconds, struct err *e)
{
	int64_t before = ledger_now() - (int64_t)seconds;
	int r;

	for (;;) {
		int64_t id;

		ledger_numbers(l, OLD, before, 0);
		r = ledger_step(l, OLD, e);
		id = r == 1 ? sqlite3_column_int64(l->s[OLD], 0) : 0;
		sqlite3_reset(l->s[OLD]);
		if (r != 1 || (r = ledger_remove(l, id, e)))
			return r;
	}
}

void ledger_job_free(struct ledger_job *job)
{
	free(job->model);
	free(job->described);
	memset(job, 0, sizeof(*job));
}
