/* SPDX-License-Identifier: Apache-2.0 */
/* manual page <TEMPLATE >PAGE: copies a page in mdoc(7) and fills in the lines that start with '@', from the
 * tables:
 *   @commands   every command of obscura with its flags and options     @errors   exit codes
 *   @options    every option of a configuration file                    @version  ".Os Obscura N"
 * manual bash >FILE: completion for bash from the same tables. */
#include <stdio.h>
#include <string.h>

#include "client/command.h"
#include "conf/config_table.h"
#include "conf/text.h"

static const struct {
	const char *name, *arguments, *options, *summary;
} command_rows[] = {
#define COMMAND(name, arguments, options, summary) {#name, arguments, options, summary},
#include "client/commands.def"
};

static const struct {
	const char *name, *metavar, *commands, *help;
} flag_rows[] = {
#define FLAG(name, metavar, commands, help) {#name, metavar, commands, help},
#include "client/commands.def"
};

static const struct {
	const char *name;
	unsigned long long least, most;
} limit_rows[] = {
#define LIMIT(name, least, most) {#name, least, most},
#include "conf/limits.def"
};

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

/* "pool_low" as a person types it. */
static const char *dashed(const char *name)
{
	static char out[64];

	snprintf(out, sizeof(out), "%s", name);
	for (char *p = out; *p; p++)
		if (*p == '_')
			*p = '-';
	return out;
}

/* ---- pages ---- */

/* Text of a table inside a line of roff: no escape, no accidental macro at the start of a line. */
static void text(const char *s)
{
	if (*s == '.' || *s == '\'')
		fputs("\\&", stdout);
	for (; *s; s++) {
		if (*s == '\\')
			fputs("\\e", stdout);
		else
			putchar(*s);
	}
}

/* The same as one argument of a macro. */
static void argument(const char *s)
{
	putchar('"');
	for (; *s; s++) {
		if (*s == '"')
			fputs("\"\"", stdout);
		else if (*s == '\\')
			fputs("\\e", stdout);
		else
			putchar(*s);
	}
	putchar('"');
}

static void sentence(const char *s)
{
	text(s);
	fputs(s[strlen(s) - 1] == '.' ? "\n" : ".\n", stdout);
}

/* .It Fl -name Ns = Ns Ar VALUE */
static void flag_item(const char *name, const char *metavar)
{
	printf(".It Fl \\-%s", dashed(name));
	if (*metavar) {
		fputs(" Ns = Ns Ar ", stdout);
		argument(metavar);
	}
	putchar('\n');
}

static void flags_of(const char *command, const char *options)
{
	int n = 0;

	for (size_t i = 0; i < COUNT(flag_rows); i++) {
		if (!text_has_word(flag_rows[i].commands, command))
			continue;
		if (!n++)
			puts(".Bl -tag -width Ds");
		flag_item(flag_rows[i].name, flag_rows[i].metavar);
		sentence(flag_rows[i].help);
	}
	if (n)
		puts(".El");
	if (!*options)
		return;
	puts(".Pp\nIt takes these options of\n.Xr obscura.conf 5\nas well:");
	for (const char *p = options; *p; p += strcspn(p, " "), p += *p == ' ') {
		char name[64];
		int last = !p[strcspn(p, " ")];

		snprintf(name, sizeof(name), "%.*s", (int)strcspn(p, " "), p);
		printf(".Fl \\-%s%s\n", dashed(name), last ? " ." : " ,");
	}
}

static void commands_section(void)
{
	for (size_t i = 0; i < COUNT(command_rows); i++) {
		printf(".Ss obscura %s", command_rows[i].name);
		if (*command_rows[i].arguments) {
			putchar(' ');
			text(command_rows[i].arguments);
		}
		putchar('\n');
		sentence(command_rows[i].summary);
		flags_of(command_rows[i].name, command_rows[i].options);
	}
}

/* "data owner, model owner" of "DM*". */
static void roles_of(const char *roles)
{
	static const struct {
		char letter;
		const char *name;
	} names[] = {{'D', "data owner"}, {'M', "model owner"}, {'C', "provider"}, {'L', "command line"}};
	const char *comma = "";

	for (size_t i = 0; i < COUNT(names); i++)
		if (strchr(roles, names[i].letter)) {
			printf("%s%s", comma, names[i].name);
			comma = ", ";
		}
}

static void option_item(const struct option_row *o)
{
	static const char *const types[] = {"string", "list of strings", "number", "true or false"};

	printf(".It Va %s Pq ", o->name);
	fputs("Ar ", stdout);
	argument(o->metavar);
	putchar('\n');
	sentence(o->help);
	printf("A %s", types[o->type]);
	for (size_t i = 0; i < COUNT(limit_rows); i++)
		if (!strcmp(limit_rows[i].name, o->name))
			printf(" from %llu to %llu", limit_rows[i].least, limit_rows[i].most);
	if (*o->value) {
		fputs("; the default is ", stdout);
		text(o->value);
	}
	fputs(".\nUsed by: ", stdout);
	roles_of(o->roles);
	puts(strchr(o->roles, '*') ? ".\nReloaded by SIGHUP." : ".\nTakes effect at the next start.");
}

static void options_section(void)
{
	puts(".Bl -tag -width Ds");
	for (size_t i = 0; i < option_count; i++)
		option_item(&option_rows[i]);
	puts(".El");
}

static void errors_section(void)
{
	puts(".Bl -tag -width Ds -compact\n.It 0\ndone");
#define ERR(name, code, meaning) printf(".It %d\n%s\n", code, meaning);
#include "conf/errors.def"
#undef ERR
	puts(".El");
}

static int page(void)
{
	char line[1024];

	while (fgets(line, sizeof(line), stdin)) {
		if (!strcmp(line, "@commands\n"))
			commands_section();
		else if (!strcmp(line, "@options\n"))
			options_section();
		else if (!strcmp(line, "@errors\n"))
			errors_section();
		else if (!strcmp(line, "@version\n"))
			puts(".Os Obscura " OBSCURA_VERSION);
		else if (*line == '@')
			return fprintf(stderr, "manual: unknown line %s", line), 1;
		else
			fputs(line, stdout);
	}
	return ferror(stdin) || fflush(stdout) || ferror(stdout);
}

/* ---- completion ---- */

/* What may follow --name=: words of "a|b", files, or nothing known. */
static void values(const char *name, const char *metavar)
{
	char words[128];

	if (strchr(metavar, '|')) {
		snprintf(words, sizeof(words), "%s", metavar);
		for (char *p = words; *p; p++)
			if (*p == '|')
				*p = ' ';
		printf("\t\t--%s) COMPREPLY=($(compgen -W '%s' -- \"$value\")) ;;\n", dashed(name), words);
	} else if (!strncmp(metavar, "DIR", 3)) {
		printf("\t\t--%s) COMPREPLY=($(compgen -d -- \"$value\")) ;;\n", dashed(name));
	} else if (!strncmp(metavar, "FILE", 4) || !strcmp(metavar, "PATH") || !strcmp(metavar, "SRC") ||
		   !strcmp(metavar, "NPY")) {
		printf("\t\t--%s) COMPREPLY=($(compgen -f -- \"$value\")) ;;\n", dashed(name));
	}
}

/* All flags once, by name: a flag and an option of the same name take the same values. */
static void all_values(void)
{
	for (size_t i = 0; i < option_count; i++)
		values(option_rows[i].name, option_rows[i].metavar);
	for (size_t i = 0; i < COUNT(flag_rows); i++) {
		size_t k = 0;

		while (k < option_count && strcmp(option_rows[k].name, flag_rows[i].name))
			k++;
		if (k == option_count)
			values(flag_rows[i].name, flag_rows[i].metavar);
	}
}

static void words_of_command(size_t c)
{
	printf("\t\t%s) words='--help", command_rows[c].name);
	for (size_t i = 0; i < COUNT(flag_rows); i++)
		if (text_has_word(flag_rows[i].commands, command_rows[c].name))
			printf(" --%s%s", dashed(flag_rows[i].name), *flag_rows[i].metavar ? "=" : "");
	for (size_t i = 0; i < option_count; i++)
		if (text_has_word(command_rows[c].options, option_rows[i].name))
			printf(" --%s=", dashed(option_rows[i].name));
	puts("' ;;");
}

static void words_of_role(char letter, const char *role)
{
	printf("\t\t%s) words='--help --sample -c -t -T", role);
	for (size_t i = 0; i < option_count; i++)
		if (strchr(option_rows[i].roles, letter))
			printf(" --%s=", dashed(option_rows[i].name));
	puts("' ;;");
}

/* "init DIR | issue ROLE HOST… | list": the words that a person types as they are. */
static void verbs_of(size_t c)
{
	const char *from = command_rows[c].arguments, *comma = "";

	if (*from < 'a' || *from > 'z')
		return;
	printf("\t\t%s) COMPREPLY=($(compgen -W '", command_rows[c].name);
	for (const char *p = from; *p; p += strcspn(p, "|"), p += strspn(p, "| ")) {
		if (*p >= 'a' && *p <= 'z')
			printf("%s%.*s", comma, (int)strcspn(p, " |"), p);
		comma = " ";
	}
	puts("' -- \"$cur\"))\n\t\t\treturn ;;");
}

static int bash(void)
{
	puts(
	    "# bash completion for obscura and obscurad; made from client/commands.def and conf/options.def\n"
	    "_obscura() {\n"
	    "\tlocal cur=${COMP_LINE:0:COMP_POINT} words value first=${COMP_WORDS[1]}\n"
	    "\tcur=${cur##*[[:space:]]}\n"
	    "\tCOMPREPLY=()\n"
	    "\tif ((COMP_CWORD == 1)); then\n"
	    "\t\tcase ${COMP_WORDS[0]##*/} in");
	fputs("\t\tobscura) words='--help --version", stdout);
	for (size_t i = 0; i < COUNT(command_rows); i++)
		printf(" %s", command_rows[i].name);
	puts("' ;;\n\t\t*) words='--help --version data-owner model-owner provider' ;;\n\t\tesac\n"
	     "\t\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n\t\treturn\n\tfi\n"
	     "\tif [[ $cur == --*=* ]]; then\n\t\tvalue=${cur#*=}\n\t\tcase ${cur%%=*} in");
	all_values();
	puts("\t\tesac\n\t\treturn\n\tfi\n\tif ((COMP_CWORD == 2)) && [[ $cur != -* && ${COMP_WORDS[0]##*/} "
	     "== obscura ]]; then\n"
	     "\t\tcase $first in");
	for (size_t i = 0; i < COUNT(command_rows); i++)
		verbs_of(i);
	puts("\t\tesac\n\tfi\n\tif [[ $cur != -* ]]; then\n\t\tCOMPREPLY=($(compgen -f -- "
	     "\"$cur\"))\n"
	     "\t\treturn\n\tfi\n\tcase ${COMP_WORDS[0]##*/} in\n\tobscura)\n\t\tcase $first in");
	for (size_t i = 0; i < COUNT(command_rows); i++)
		words_of_command(i);
	puts("\t\tesac ;;\n\t*)\n\t\tcase $first in");
	words_of_role('D', "data-owner");
	words_of_role('M', "model-owner");
	words_of_role('C', "provider");
	puts("\t\tesac ;;\n\tesac\n\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
	     "\t[[ ${#COMPREPLY[@]} == 1 && $COMPREPLY == *= ]] && compopt -o nospace\n}\n"
	     "complete -o filenames -F _obscura obscura obscurad");
	return fflush(stdout) || ferror(stdout);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "page"))
		return page();
	if (argc == 2 && !strcmp(argv[1], "bash"))
		return bash();
	fputs("usage: manual page <TEMPLATE | manual bash\n", stderr);
	return ERR_USAGE;
}
