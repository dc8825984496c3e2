/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/audit.h — who used what, when and how often: JSON lines, only ever appended. Never what was
 * classified. */
#ifndef OBSCURA_DAEMON_AUDIT_H
#define OBSCURA_DAEMON_AUDIT_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include "conf/err.h"

/* One line. Text that is NULL is left out; all borrows. */
struct audit_row {
	const char *event;   /* "inference" (model owner), "tickets" and "paired" (provider), "refused" */
	const char *peer;    /* the data owner, by its certificate's common name */
	const char *account; /* the name that its images are counted for, where it is another */
	const char *from;    /* its connection */
	const char *with;    /* provider: the model owner */
	const char *model, *why;
	const uint8_t *certificate; /* SHA-256 of the data owner's, or NULL */
	const uint8_t *session;	    /* 16 bytes, alike at all three parties; NULL: there was none yet */
	uint64_t ticket;	    /* the first; the others follow it */
	uint32_t images;	    /* tickets too: one an image; 0: no ticket was touched */
};

struct audit;
/* Opens FILE for appending; it is made 0600 when it is not there. */
int audit_open(struct audit **a, const char *path, struct err *e) MUST_USE;
/* The line is handed to the system before this returns: it survives the death of the process. */
int audit_add(struct audit *a, const struct audit_row *row, time_t now, struct err *e) MUST_USE;
/* How many lines this process has added; whether the file was empty when it was opened. */
uint64_t audit_lines(const struct audit *a);
int audit_was_empty(const struct audit *a);
void audit_close(struct audit *a); /* NULL is allowed */

/* Sums of a day, so that they outlive a file that is rotated, and need not be counted from the first line
 * again. */
struct audit_sum {
	const char *account, *model;
	uint64_t images;
};
int audit_add_sums(struct audit *a, const struct audit_sum *sums, size_t n, time_t now,
		   struct err *e) MUST_USE;
/* Calls each(): what the file says of the day of `now` (UTC), in parts to be added up. A file that is not
 * there says nothing; lines that cannot be read are counted in *bad. */
typedef int (*audit_each)(void *ctx, const struct audit_sum *part, struct err *e);
int audit_today(const char *path, time_t now, audit_each each, void *ctx, uint64_t *bad,
		struct err *e) MUST_USE;

#endif
