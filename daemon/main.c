/* SPDX-License-Identifier: Apache-2.0 */
/* obscurad data-owner|model-owner|provider [-c FILE] [-t] [-T] [--sample] [--name=value …] */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <sodium.h>

#include "crypto/cpu.h"
#include "daemon/check.h"
#include "daemon/data_owner.h"
#include "daemon/log.h"
#include "daemon/metrics.h"
#include "daemon/version.h"
#include "daemon/notify.h"
#include "daemon/reload.h"
#include "protocol/profile.h"

#define FREED 0xdb /* not 0: M_PERTURB would be off */

static const struct {
	const char *name;
	char letter;
	enum frame_role self;
	int (*run)(const struct config *config);
} roles[] = {
    {"data-owner", 'D', ROLE_D, data_owner_main},
    {"model-owner", 'M', ROLE_M, model_owner_main},
    {"provider", 'C', ROLE_C, provider_main},
};

static int usage(FILE *out)
{
	fputs("usage: obscurad data-owner|model-owner|provider [-c FILE] [-t] [-T] [--name=value …]\n"
	      "  -c FILE   read options from FILE; flags go before them\n"
	      "  -t        check the configuration, and the certificates, keys and models that it names, and "
	      "end\n"
	      "  -T        print the configuration in force and where each value comes from, and end\n"
	      "  --sample  print a commented configuration file with all defaults, and end\n"
	      "  obscurad ROLE --help lists the options of a role\n",
	      out);
	return out == stdout ? 0 : ERR_USAGE;
}

static int fail(const struct err *e)
{
	fprintf(stderr, "obscurad: %s\n", e->text);
	return e->code;
}

/* What a role's process must never do: write a core with secrets, files that others read, or leave in freed
 * memory what libraries held (requests, pictures, answers): glibc fills it. */
static void harden(void)
{
	struct rlimit none = {0, 0};

	umask(077);
	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0);
	mallopt(M_PERTURB, FREED);
}

/* -T, -t: no role is started. */
static int show(size_t role, const struct config *c, const struct asked *ask)
{
	const char *what = ask->file ? ask->file : roles[role].name;
	int code = 0;

	if (ask->print)
		config_dump(c, stdout);
	if (ask->test) {
		log_open("warning", roles[role].name);
		code = check_role(c, roles[role].self, stderr);
	}
	if (ask->test && !code)
		fprintf(ask->print ? stderr : stdout, "%s: the configuration is fine\n", what);
	return code;
}

static int run(size_t role, int argc, char **argv)
{
	struct asked ask;
	struct config c;
	struct err e = {0};
	int code;

	if (config_read(&c, roles[role].letter, argc, argv, &ask, &e))
		return fail(&e);
	if (cpu_select(c.cpu, &e) ||
	    (!ask.print && !ask.test && c.profile[0] && profile_open(c.profile, &e))) {
		config_free(&c);
		return fail(&e);
	}
	if (ask.print || ask.test) {
		code = show(role, &c, &ask);
	} else {
		harden();
		log_open(c.log_level, roles[role].name);
		log_format(c.log_format);
		metrics_open(roles[role].letter);
		notify_open();
		reload_source(&c, argc, argv);
		signal(SIGHUP, SIG_IGN); /* until there is something to reload */
		code = roles[role].run(&c);
	}
	profile_close();
	config_free(&c);
	return code;
}

/* --help, --sample. */
static int explain(char letter, int argc, char **argv)
{
	for (int j = 2; j < argc; j++) {
		if (!strcmp(argv[j], "--help")) {
			printf("usage: obscurad %s [-c FILE] [-t] [-T] [--sample] [--name=value …]; obscurad "
			       "--help says what these are\n\n",
			       argv[1]);
			config_help(letter, stdout);
		} else if (!strcmp(argv[j], "--sample"))
			config_sample(letter, stdout);
		else
			continue;
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	log_stdio();
	if (sodium_init() < 0) {
		fputs("obscurad: libsodium finds no randomness\n", stderr);
		return ERR_ENV;
	}
	if (argc < 2)
		return usage(stderr);
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		return usage(stdout);
	if (!strcmp(argv[1], "--version")) {
		printf("obscurad " OBSCURA_VERSION "%s\n",
		       notify_built() ? " (systemd)" : " (without systemd)");
		return 0;
	}
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
		if (strcmp(argv[1], roles[i].name))
			continue;
		return explain(roles[i].letter, argc, argv) ? 0 : run(i, argc, argv);
	}
	fprintf(stderr, "obscurad: there is no role \"%.60s\": data-owner, model-owner or provider\n",
		argv[1]);
	return usage(stderr);
}
