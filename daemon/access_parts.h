/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/access_parts.h — private to access.c (who may, and the record of it), access_book.c (accounts) and
 * access_file.c (the rules); the enclave has the last two. */
#ifndef OBSCURA_DAEMON_ACCESS_PARTS_H
#define OBSCURA_DAEMON_ACCESS_PARTS_H

#include "daemon/access.h"
#include "protocol/core.h"

struct access_rule {
	struct config_list who, models, with; /* own; models, with: empty is all */
	int label_only;
	uint64_t per_minute, per_day; /* 0: no limit */
	unsigned line;
};
struct access_list {
	char *path; /* owns */
	struct access_rule *all;
	size_t n;
};
/* path "" has no rules, and nothing is refused. */
int access_list_read(struct access_list *list, const char *path, enum frame_role self,
		     struct err *e) MUST_USE;
/* The same from memory, for tests and fuzzing; name is for messages. */
int access_list_text(struct access_list *list, const char *name, const char *text, enum frame_role self,
		     struct err *e) MUST_USE;
void access_list_free(struct access_list *list);

/* The pattern of the list that fits one of the names (lines), and which of them: "*" all, "*.NAME" what is
 * below NAME. Returns NULL when none does; *n receives the name's length. */
const char *access_fits(const struct config_list *patterns, const char *names, const char **pattern,
			size_t *n);

/* ---- access_book.c ---- */

#define DAY_SECONDS 86400
#define NAME_BYTES 256

/* What one account has used of one model. */
struct account {
	struct account *next;
	char name[NAME_BYTES], model[NAME_BYTES];
	struct rate minute;
	int64_t day;	 /* since 1970, UTC */
	uint64_t images; /* of that day */
};
struct access_book {
	enum frame_role self;
	struct access_list list;  /* own */
	struct account *accounts; /* own */
};

struct account *book_account(struct access_book *a, const char *name, const char *model);
/* The rule for this data owner, model and model owner, and the account that it counts for; NULL: none fits.
 * Without a file: any. */
const struct access_rule *book_rule(const struct access_book *a, const char *names, const char *with,
				    const char *model, char *account, size_t bytes);
/* rule: may be NULL. 0, or -1 with a text for the peer. */
int book_may(const struct access_book *a, const struct access_rule *rule, const struct access_ask *ask,
	     const char *account, struct err *e) MUST_USE;
/* How many of ask->n are left; why: when they are fewer. */
uint32_t book_left(const struct access_book *a, const struct access_rule *rule, const struct access_ask *ask,
		   const char *account, const struct access_clock *clock, struct err *why);
int book_add(struct access_book *a, const char *name, const char *model, uint64_t n,
	     const struct access_clock *clock) MUST_USE;
const char *book_we(const struct access_book *a);
void book_free(struct access_book *a);
const char *access_first_name(const char *names, char *out, size_t bytes);

#endif
