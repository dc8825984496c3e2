/* SPDX-License-Identifier: Apache-2.0 */
/* client/command.h — one command of `obscura`: its arguments, and what several commands need. */
#ifndef OBSCURA_CLIENT_COMMAND_H
#define OBSCURA_CLIENT_COMMAND_H

#include "conf/config.h"
#include "daemon/version.h"
#include "nn/plan.h"
#include "protocol/personality.h"

enum flag {
#define FLAG(name, metavar, commands, help) FLAG_##name,
#include "client/commands.def"
	FLAGS
};

struct args {
	const char *command, *arguments; /* as in commands.def */
	struct config config;		 /* role 'L'; with the options that the command takes */
	const char *flag[FLAGS]; /* borrow from argv; NULL: not given; "" for a flag without a value */
	char **words;		 /* borrow: what is neither flag nor option */
	int n;
};

struct command {
	const char *name, *arguments, *options, *summary;
	int (*run)(struct args *a, struct err *e);
};

#define COMMAND(name, arguments, options, summary) int command_##name(struct args *a, struct err *e) MUST_USE;
#include "client/commands.def"

/* Parses argv[1…] of a command by commands.def and options.def (options.c). Exits for --help, --version and
 * usage errors, as argp does. */
int args_parse(struct args *a, const struct command *c, int argc, char **argv, struct err *e) MUST_USE;
void args_free(struct args *a);
/* The words are not what the command takes: -1, ERR_USAGE, with all that it takes. */
int args_wrong(const struct args *a, struct err *e) MUST_USE;
/* "there is such a flag": its value as a number within [least, most], or `absent`. */
int args_number(const struct args *a, enum flag flag, uint64_t absent, uint64_t least, uint64_t most,
		uint64_t *value, struct err *e) MUST_USE;
/* --reveal and --personality, checked. */
int args_reveal(const struct args *a, enum plan_reveal *reveal, struct err *e) MUST_USE;
int args_personality(const struct args *a, enum personality *p, struct err *e) MUST_USE;
/* Loads the one MODEL.onnx among the words, with --scale, --mean and --std over the model's own. */
int args_model(const struct args *a, const char *path, struct graph **g, struct err *e) MUST_USE;
/* weight_bits, activation_bits, granularity, optimise and reveal. */
int args_plan(const struct args *a, struct plan_options *o, struct err *e) MUST_USE;

#endif
