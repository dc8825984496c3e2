/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/access_parts.h — private to access.c (who may, and what was used) and access_file.c (the rules). */
#ifndef OBSCURA_DAEMON_ACCESS_PARTS_H
#define OBSCURA_DAEMON_ACCESS_PARTS_H

#include "daemon/access.h"

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

#endif
