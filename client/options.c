/* SPDX-License-Identifier: Apache-2.0 */
/* From commands.def and options.def to argp, and from argv to struct args. */
#include <argp.h>

#include "client/command.h"
#include "conf/config_table.h"
#include "conf/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEY_FLAG 0x400	 /* + enum flag */
#define KEY_OPTION 0x800 /* + index of option_rows */
#define CLIENT_FILE "/etc/obscura/client.conf"

static const struct flag_row {
	const char *name, *metavar, *commands, *help;
} flag_rows[] = {
#define FLAG(name, metavar, commands, help) {#name, metavar, commands, help},
#include "client/commands.def"
};

/* What argp fills. */
struct parsing {
	struct args *args;
	const char **given; /* per option: the value, NULL when not given */
	int room;
	int show; /* '?': --help, 'V': --version */
};

static error_t parse_one(int key, char *value, struct argp_state *state)
{
	struct parsing *p = state->input;

	if (key >= KEY_OPTION && key < KEY_OPTION + (int)option_count)
		p->given[key - KEY_OPTION] = value ? value : "yes";
	else if (key == KEY_FLAG + FLAG_chain && p->args->flag[FLAG_chain] && p->args->n < p->room)
		p->args->words[p->args->n++] = value; /* the one flag that may be given again */
	else if (key >= KEY_FLAG && key < KEY_FLAG + FLAGS)
		p->args->flag[key - KEY_FLAG] = value ? value : "";
	else if (key == '?' || key == 'V')
		p->show = key;
	else if (key == 'c')
		p->args->flag[FLAG_config] = value;
	else if (key == ARGP_KEY_ARG && p->args->n < p->room)
		p->args->words[p->args->n++] = value;
	else
		return ARGP_ERR_UNKNOWN;
	return 0;
}

/* A name with '-' for '_'. Returns new. */
static char *dashed(const char *name)
{
	char *copy = strdup(name);

	for (char *p = copy; p && *p; p++)
		if (*p == '_')
			*p = '-';
	return copy;
}

static int add(struct argp_option *row, const char *name, int key, const char *arg, const char *doc)
{
	*row = (struct argp_option){.name = dashed(name), .key = key, .arg = arg, .doc = doc};
	return row->name ? 1 : 0;
}

/* The rows of argp for one command; names own. Returns how many, -1 when memory is short. */
static int build(struct argp_option *out, const struct command *c)
{
	int n = 0, had;

	for (int i = 0; i < FLAGS; i++) {
		const struct flag_row *f = &flag_rows[i];

		if (!text_has_word(f->commands, c->name))
			continue;
		had = n;
		n += add(&out[n], f->name, i == FLAG_config ? 'c' : KEY_FLAG + i,
			 *f->metavar ? f->metavar : NULL, f->help);
		if (n == had)
			return -1;
	}
	for (size_t i = 0; i < option_count; i++) {
		const struct option_row *o = &option_rows[i];

		if (!text_has_word(c->options, o->name))
			continue;
		had = n;
		n += add(&out[n], o->name, KEY_OPTION + (int)i, o->metavar, o->help);
		if (n == had)
			return -1;
		out[had].flags = o->type == OPTION_FLAG ? OPTION_ARG_OPTIONAL : 0;
	}
	had = n;
	n += add(&out[n], "help", '?', NULL, "show this, and end");
	n += add(&out[n], "version", 'V', NULL, "show the program's version, and end");
	return n == had + 2 ? n : -1;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct argp_option *)a)->name, ((const struct argp_option *)b)->name);
}

static void show_help(const struct command *c, struct argp_option *rows, int n)
{
	printf("usage: obscura %s [--name=value …]%s%s\n%s\n\n", c->name, *c->arguments ? " " : "",
	       c->arguments, c->summary);
	qsort(rows, (size_t)n, sizeof(*rows), by_name);
	for (int i = 0; i < n; i++) {
		int option = rows[i].key - KEY_OPTION;
		char flag[160];

		snprintf(flag, sizeof(flag), "%s--%s%s%s", rows[i].key == 'c' ? "-c, " : "", rows[i].name,
			 rows[i].arg ? "=" : "", rows[i].arg ? rows[i].arg : "");
		text_help(stdout, flag, rows[i].doc, option >= 0 ? option_rows[option].value : NULL);
	}
}

/* What getopt would not say: a remedy for a misspelt flag. Beginnings of names that are no other's stand for
 * them. */
static int check_flag(const struct command *c, const struct argp_option *rows, const char *word, int last,
		      struct err *e)
{
	const struct argp_option *fits = NULL, *near = NULL;
	size_t n = strcspn(word + 2, "="), best = n < 6 ? 1 + n / 2 : 4, many = 0;

	for (const struct argp_option *r = rows; r->name; r++) {
		size_t d = text_distance(r->name, word + 2, n);
		int exact = !strncmp(r->name, word + 2, n) && !r->name[n];

		if (!strncmp(r->name, word + 2, n)) {
			many = exact ? 1 : many + 1;
			fits = r;
		}
		if (exact)
			break;
		if (d < best) {
			best = d;
			near = r;
		}
	}
	if (!many)
		return err_set(e, ERR_USAGE, "%.*s: there is no such flag%s%s; obscura %s --help lists all",
			       (int)(n < 64 ? n + 2 : 66), word, near ? "; did you mean --" : "",
			       near ? near->name : "", c->name);
	if (many > 1)
		return err_set(e, ERR_USAGE, "%.*s: several flags begin so; obscura %s --help lists all",
			       (int)(n < 64 ? n + 2 : 66), word, c->name);
	if (fits->arg && !fits->flags && last && !word[2 + n])
		return err_set(e, ERR_USAGE, "--%s needs a value: --%s=%s", fits->name, fits->name,
			       fits->arg);
	if (!fits->arg && word[2 + n])
		return err_set(e, ERR_USAGE, "--%s takes no value", fits->name);
	return 0;
}

static int check_flags(const struct command *c, const struct argp_option *rows, int argc, char **argv,
		       struct err *e)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (!strncmp(argv[i], "--", 2) && check_flag(c, rows, argv[i], i + 1 == argc, e))
			return -1;
	return 0;
}

/* Defaults, then the file, then flags. Commands that talk to a daemon read CLIENT_FILE when there is one. */
static int configure(struct args *a, const struct command *c, const char *const *given, struct err *e)
{
	const char *file = a->flag[FLAG_config];

	if (config_defaults(&a->config, 'L', e))
		return -1;
	if (!file && text_has_word(c->options, "socket") && !access(CLIENT_FILE, R_OK))
		file = CLIENT_FILE;
	if (file && config_file(&a->config, file, e))
		return -1;
	for (size_t i = 0; i < option_count; i++) {
		char *flag;
		int r;

		if (!given[i])
			continue;
		if (asprintf(&flag, "--%s=%s", option_rows[i].name, given[i]) < 0)
			return err_set(e, ERR_ENV, "out of memory");
		r = config_flag(&a->config, flag, e);
		free(flag);
		if (r)
			return -1;
	}
	return config_check(&a->config, e);
}

/* --help, --version: all that is done. */
static void __attribute__((noreturn))
show(const struct parsing *p, const struct command *c, struct argp_option *rows, int n)
{
	if (p->show == 'V')
		puts("obscura " OBSCURA_VERSION);
	else
		show_help(c, rows, n);
	exit(fflush(stdout) ? ERR_ENV : 0);
}

int args_parse(struct args *a, const struct command *c, int argc, char **argv, struct err *e)
{
	struct argp_option *rows = calloc((size_t)FLAGS + option_count + 3, sizeof(*rows));
	const char **given = calloc(option_count, sizeof(*given));
	struct parsing parsing = {a, given, argc, 0};
	struct argp argp = {rows, parse_one, c->arguments, c->summary, NULL, NULL, NULL};
	char *name = NULL;
	int r = -1, n;

	memset(a, 0, sizeof(*a));
	a->command = c->name;
	a->arguments = c->arguments;
	a->words = calloc((size_t)argc + 1, sizeof(*a->words));
	if (!rows || !given || !a->words || (n = build(rows, c)) < 0 ||
	    asprintf(&name, "obscura %s", c->name) < 0) {
		err_set(e, ERR_ENV, "out of memory");
		goto out;
	}
	argv[0] = name;
	if (check_flags(c, rows, argc, argv, e))
		goto out;
	if (argp_parse(&argp, argc, argv, ARGP_NO_HELP | ARGP_NO_ERRS, NULL, &parsing))
		err_set(
		    e, ERR_USAGE,
		    "there is no such flag with one dash, or it lacks its value; obscura %s --help lists all",
		    c->name);
	else if (parsing.show)
		show(&parsing, c, rows, n);
	else
		r = configure(a, c, given, e);
out:
	for (size_t i = 0; rows && rows[i].name; i++)
		free((char *)rows[i].name);
	free(rows);
	free(given);
	free(name);
	return r;
}

void args_free(struct args *a)
{
	config_free(&a->config);
	free(a->words);
	memset(a, 0, sizeof(*a));
}

int args_wrong(const struct args *a, struct err *e)
{
	return err_set(e, ERR_USAGE, "say what: obscura %s %s", a->command, a->arguments);
}

/* As a person writes it: those with a value that is checked here and '_' in their name. */
static const char *flag_name(enum flag flag)
{
	return flag == FLAG_min_agreement ? "min-agreement" : flag_rows[flag].name;
}

/* ---- values of flags ---- */

int args_number(const struct args *a, enum flag flag, uint64_t absent, uint64_t least, uint64_t most,
		uint64_t *value, struct err *e)
{
	const char *text = a->flag[flag];
	char *end;

	*value = absent;
	if (!text)
		return 0;
	errno = 0;
	*value = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || *value < least || *value > most)
		return err_set(e, ERR_USAGE, "--%s: \"%s\" is no whole number from %llu to %llu",
			       flag_name(flag), text, (unsigned long long)least, (unsigned long long)most);
	return 0;
}

int args_reveal(const struct args *a, enum plan_reveal *reveal, struct err *e)
{
	const char *text = a->flag[FLAG_reveal];

	*reveal = REVEAL_LOGITS;
	if (!text || !strcmp(text, "logits"))
		return 0;
	*reveal = REVEAL_LABEL;
	return strcmp(text, "label")
		   ? err_set(e, ERR_USAGE, "--reveal: \"%s\" is neither logits nor label", text)
		   : 0;
}

/* Whether a command knows it: plan and verify have nothing to say of an enclave, which runs clear's plan. */
static int has_personality(const char *command, enum personality p)
{
	return p != PERSONALITY_ENCLAVE || !strcmp(command, "classify") || !strcmp(command, "batch");
}

int args_personality(const struct args *a, enum personality *p, struct err *e)
{
	const char *text = a->flag[FLAG_personality];
	char names[64] = "";

	*p = text ? personality_named(text) : PERSONALITY_SMPC;
	if (*p < PERSONALITIES && has_personality(a->command, *p))
		return 0;
	for (enum personality q = 0; q < PERSONALITIES; q++)
		if (has_personality(a->command, q))
			snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s",
				 names[0] ? ", " : "", personality_name(q));
	return err_set(e, ERR_USAGE, "--personality: \"%.40s\" is not in this version of %s; there is %s",
		       text, a->command, names);
}

/* One value for each channel, or one for all. */
static int floats(const struct args *a, enum flag flag, float *out, unsigned n, struct err *e)
{
	const char *text = a->flag[flag];
	unsigned got = 0;
	char *end;

	if (!text)
		return 0;
	while (got < NN_MAX_CHANNELS) {
		out[got] = strtof(text, &end);
		if (end == text || !__builtin_isfinite(out[got]) || (flag != FLAG_mean && !out[got]))
			break;
		got++;
		if (*end != ',')
			break;
		text = end + 1;
	}
	if (!got || *end || (got != 1 && got != n))
		return err_set(e, ERR_USAGE,
			       "--%s: \"%s\" is not one number%s for each of the model's %u channels",
			       flag_name(flag), a->flag[flag], flag == FLAG_mean ? "" : " other than 0", n);
	for (unsigned i = got; i < n; i++)
		out[i] = out[0];
	return 0;
}

int args_model(const struct args *a, const char *path, struct graph **g, struct err *e)
{
	struct preprocess *pre;
	unsigned channels;

	if (graph_load(g, path, e))
		return strstr(e->text, path) ? -1 : err_context(e, "%s", path);
	pre = &(*g)->pre;
	if (pre->composed && (a->flag[FLAG_scale] || a->flag[FLAG_mean] || a->flag[FLAG_std])) {
		graph_free(*g);
		*g = NULL;
		return err_set(e, ERR_USAGE,
			       "this model normalises its input itself: leave out --scale, --mean and --std");
	}
	channels = (*g)->nodes[0].shape.c;
	if (channels > NN_MAX_CHANNELS)
		channels = NN_MAX_CHANNELS;
	if (!floats(a, FLAG_scale, &pre->scale, 1, e) && !floats(a, FLAG_mean, pre->mean, channels, e) &&
	    !floats(a, FLAG_std, pre->std, channels, e))
		return 0;
	graph_free(*g);
	*g = NULL;
	return -1;
}

int args_plan(const struct args *a, struct plan_options *o, struct err *e)
{
	*o = plan_defaults();
	o->weight_bits = (unsigned)a->config.weight_bits;
	o->activation_bits = (unsigned)a->config.activation_bits;
	o->granularity = (unsigned)a->config.granularity;
	o->optimise = plan_optimise_named(a->config.optimise);
	if (o->optimise == PLAN_AUTO)
		return err_set(
		    e, ERR_USAGE,
		    "--optimise=auto needs a link: plan --link, or live connections; say latency or "
		    "bandwidth");
	return args_reveal(a, &o->reveal, e);
}
