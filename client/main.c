/* SPDX-License-Identifier: Apache-2.0 */
/* obscura COMMAND … : finds the command, runs it, says in one line what went wrong, exits with the code of
 * CLI.md. */
#include <locale.h>
#include <langinfo.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "client/command.h"
#include "daemon/log.h"

static const struct command commands[] = {
#define COMMAND(name, arguments, options, summary) {#name, arguments, options, summary, command_##name},
#include "client/commands.def"
};
static const size_t command_count = sizeof(commands) / sizeof(*commands);

static void help(FILE *out)
{
	fputs("obscura classifies an image that its server never sees, with a model that its client never "
	      "sees.\n\n",
	      out);
	for (size_t i = 0; i < command_count; i++)
		fprintf(out, "  obscura %s%s%s\n        %s\n", commands[i].name,
			*commands[i].arguments ? " " : "", commands[i].arguments, commands[i].summary);
	fputs("\nobscura COMMAND --help shows the options of a command; obscura --version the version.\nExit "
	      "codes:",
	      out);
	fputs(" 0 done", out);
#define ERR(name, code, meaning) fprintf(out, ", %d %s", code, meaning);
#include "conf/errors.def"
#undef ERR
	fputs(".\n", out);
}

static const struct command *find(const char *name)
{
	for (size_t i = 0; i < command_count; i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

static int run(const struct command *c, int argc, char **argv)
{
	struct err e = {0};
	struct args a;
	int r = args_parse(&a, c, argc, argv, &e);

	if (!r)
		r = c->run(&a, &e);
	if ((fflush(stdout) || ferror(stdout)) && !r)
		r = err_set(&e, ERR_ENV, "cannot write the output: %m");
	if (r)
		fprintf(stderr, "obscura: %s\n", e.text);
	args_free(&a);
	return r ? (int)e.code : 0;
}

int main(int argc, char **argv)
{
	const struct rlimit none = {0, 0};
	const struct command *c;

	log_stdio();
	setrlimit(RLIMIT_CORE, &none); /* pictures, keys of an authority: nothing of it belongs in a core */
	/* Widths of characters for tables; numbers stay as C writes them. */
	if (!setlocale(LC_CTYPE, "") || strcmp(nl_langinfo(CODESET), "UTF-8"))
		setlocale(LC_CTYPE, "C.UTF-8");
	if (argc < 2) {
		help(stderr);
		return ERR_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		help(stdout);
		return 0;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		puts("obscura " OBSCURA_VERSION);
		return 0;
	}
	if (sodium_init() < 0) {
		fputs("obscura: this system gives no random numbers\n", stderr);
		return ERR_ENV;
	}
	c = find(argv[1]);
	if (c)
		return run(c, argc - 1, argv + 1);
	fprintf(stderr, "obscura: there is no command \"%s\"; obscura --help lists them\n", argv[1]);
	return ERR_USAGE;
}
