/* SPDX-License-Identifier: Apache-2.0 */
/* conf/config_table.h — options.def as rows; between conf/config*.c and the writers of manuals. */
#ifndef OBSCURA_CONF_CONFIG_TABLE_H
#define OBSCURA_CONF_CONFIG_TABLE_H

#include "conf/config.h"

enum option_type { OPTION_STRING, OPTION_LIST, OPTION_NUMBER, OPTION_FLAG };

struct option_row {
	const char *name, *value, *roles, *metavar, *help;
	enum option_type type;
	size_t field, origin; /* offsets into struct config */
};

extern const struct option_row option_rows[];
extern const size_t option_count;

/* Roles by letter: the name in messages and in the default paths of certificates. */
struct role_row {
	char letter;
	const char *name, *listen, *identity;
};
const struct role_row *role_row(char letter); /* NULL: there is none */
/* Where the row's origin is kept. */
char **option_origin_of(struct config *c, const struct option_row *row);

/* The row of name ('-' and '_' are alike) for this role, or NULL with e set: a remedy for a misspelt or a
 * foreign option. */
const struct option_row *option_find(const struct config *c, const char *name, size_t n, const char *origin,
				     struct err *e);
/* Stores text, parsed as the row's type says. Errors start with its label. */
int option_set(struct config *c, const struct option_row *row, const char *text, const char *origin,
	       struct err *e) MUST_USE;
/* "FILE:LINE: name", or "--name" where that is the origin: what a message about a value begins with. Returns
 * buffer. */
const char *option_label(const struct option_row *row, const char *origin, char *buffer, size_t bytes);
/* Empties a LIST; adds one item to it. */
void option_list_clear(struct config_list *list);
int option_list_add(struct config_list *list, const char *item, size_t n, struct err *e) MUST_USE;
int option_origin(struct config *c, const struct option_row *row, const char *origin, struct err *e) MUST_USE;

#endif
