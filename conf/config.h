/* SPDX-License-Identifier: Apache-2.0 */
/* conf/config.h — the configuration of one process: options.def, from defaults, a libconfig file and flags.
 */
#ifndef OBSCURA_CONF_CONFIG_H
#define OBSCURA_CONF_CONFIG_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "conf/err.h"

struct config_list {
	char **items; /* own */
	size_t n;
};
typedef char *config_STRING;
typedef struct config_list config_LIST;
typedef uint64_t config_NUMBER;
typedef int config_FLAG;

/* One field per option, by its name, and where its value came from ("default", "FILE:LINE", "--flag"). */
struct config {
	char role; /* 'D', 'M', 'C' or 'L' */
#define OPTION(type, name, value, roles, metavar, help) config_##type name;
#include "conf/options.def"
#undef OPTION
	struct {
#define OPTION(type, name, value, roles, metavar, help) char *name;
#include "conf/options.def"
#undef OPTION
	} origin;
};

/* All defaults, those that depend on the role filled in. (Not "config_init": libconfig exports that name.) */
int config_defaults(struct config *c, char role, struct err *e) MUST_USE;
/* Errors name file, line, option, reason and remedy. An option that the role does not use is refused. */
int config_file(struct config *c, const char *path, struct err *e) MUST_USE;
int config_text(struct config *c, const char *name, const char *text,
		struct err *e) MUST_USE; /* for tests and fuzzing */
/* "--name=value" or "name=value"; '-' and '_' are alike. */
int config_flag(struct config *c, const char *flag, struct err *e) MUST_USE;
/* Checks what belongs together (addresses, limits, enumerations). Call after the last of the above. */
int config_check(const struct config *c, struct err *e) MUST_USE;
/* -T: what is in force, with its origin. */
void config_dump(const struct config *c, FILE *out);
/* A role that runs takes over from next what may change meanwhile (rows marked *); next gets the old values.
 * The names of those that differ and take effect at the next start only go to kept; returns how many. */
size_t config_adopt(struct config *c, struct config *next, char *kept, size_t bytes);
/* "FILE:LINE: option" of the option whose value (a file, an address) a message names first. Returns place. */
const char *config_place(const struct config *c, const char *text, char *place, size_t bytes);
/* A commented sample file for a role, and the lines of --help. */
void config_sample(char role, FILE *out);
void config_help(char role, FILE *out);
void config_free(struct config *c);

#endif
