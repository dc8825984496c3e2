/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/ledger_parts.h — private to the ledger: its database, for ledger.c and ledger_rows.c. */
#ifndef OBSCURA_DAEMON_LEDGER_PARTS_H
#define OBSCURA_DAEMON_LEDGER_PARTS_H

#include <sqlite3.h>

#include "daemon/ledger.h"

enum statement {
	BEGIN,
	COMMIT,
	ROLLBACK,
	FIND,
	ADD,
	REMOVE_PIXELS,
	REMOVE_IMAGES,
	REMOVE_JOB,
	RETRY,
	COUNT,
	STATE,
	PUT_IMAGE,
	PUT_PIXELS,
	SEAL,
	TAKE,
	ATTEMPT,
	FINISH,
	FORGET_PIXELS,
	READ,
	EACH,
	OLD,
	HELD,
	WAITING,
	STATEMENTS
};

struct ledger {
	sqlite3 *db;
	sqlite3_stmt *s[STATEMENTS];
	char *path;	     /* owns */
	uint64_t held, most; /* bytes of pixels: stored, allowed */
};

/* 1: a row, 0: no more, -1 (reset then). */
int ledger_step(struct ledger *l, enum statement which, struct err *e) MUST_USE;
/* A statement without rows. */
int ledger_run(struct ledger *l, enum statement which, struct err *e) MUST_USE;
/* Binds ?1 and, if there is one, ?2. */
void ledger_numbers(struct ledger *l, enum statement which, int64_t a, int64_t b);
/* COMMIT, or ROLLBACK when failed; -1 if nothing was committed. */
int ledger_end(struct ledger *l, int failed, struct err *e) MUST_USE;
/* Adds to a job's counters. */
int ledger_count(struct ledger *l, int64_t job, int64_t stored, int64_t done, int64_t failed,
		 struct err *e) MUST_USE;
/* After pixels were deleted: when no image waits any more, SQLite's log forgets them too. */
void ledger_forget_log(struct ledger *l);

#endif
