/* SPDX-License-Identifier: Apache-2.0 */
#include "client/roles.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "client/child.h"

#define START_MS 30000
#define STOP_MS 3000

static volatile sig_atomic_t stopped;

static void on_signal(int signal)
{
	stopped = 1;
}

void roles_catch(void)
{
	struct sigaction catch = {.sa_handler = on_signal};

	sigaction(SIGINT, &catch, NULL);
	sigaction(SIGTERM, &catch, NULL);
	sigaction(SIGHUP, &catch, NULL);
}

int roles_go_on(struct err *e)
{
	return stopped ? err_set(e, ERR_RESULT, "interrupted") : 0;
}

/* ---- folder and certificates ---- */

int roles_quietly(char *const argv[], struct err *e)
{
	pid_t pid;

	if (roles_go_on(e))
		return -1;
	return child_start(&pid, argv, -1, STDERR_FILENO, e) || child_wait(&pid, argv[1], e) ? -1 : 0;
}

static int issue(const struct roles *r, const char *role, const char *name, struct err *e)
{
	char dir[80];

	snprintf(dir, sizeof(dir), "%s/pki", r->folder);
	return roles_quietly((char *[]){(char *)r->obscura, "pki", "issue", (char *)role, "localhost",
					"127.0.0.1", "10.77.0.1", "10.77.0.2", "10.77.0.3", "--days", "7",
					"--dir", dir, "--name", (char *)name, NULL},
			     e);
}

static int make_pki(const struct roles *r, struct err *e)
{
	char dir[80];

	snprintf(dir, sizeof(dir), "%s/pki", r->folder);
	if (roles_quietly((char *[]){(char *)r->obscura, "pki", "init", dir, "--days", "8", NULL}, e))
		return -1;
	return issue(r, "provider", "provider", e) || issue(r, "model-owner", "model-owner", e) ||
		       issue(r, "data-owner", "data-owner", e)
		   ? -1
		   : 0;
}

int roles_prepare(struct roles *r, struct err *e)
{
	memset(r, 0, sizeof(*r));
	strcpy(r->folder, "/tmp/obscura-roles-XXXXXX");
	if (child_beside(r->obscura, sizeof(r->obscura), "obscura", e) ||
	    child_beside(r->obscurad, sizeof(r->obscurad), "obscurad", e))
		return -1;
	if (access(r->obscurad, X_OK))
		return err_set(e, ERR_ENV, "there is no program %s; build it with make", r->obscurad);
	if (!mkdtemp(r->folder)) {
		*r->folder = 0;
		return err_set(e, ERR_ENV, "cannot make a folder in /tmp: %s", strerror(errno));
	}
	snprintf(r->socket, sizeof(r->socket), "%s/data-owner/data-owner.sock", r->folder);
	r->n_certificates = 1;
	return make_pki(r, e);
}

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *ftw)
{
	return remove(path);
}

void roles_end(struct roles *r)
{
	for (size_t i = 0; i < r->n_owners; i++)
		kill(r->data_owners[i], SIGTERM); /* all at once: they need not wait for each other */
	for (size_t i = 0; i < r->n_owners; i++)
		child_stop(&r->data_owners[i], STOP_MS);
	r->n_owners = 0;
	*r->enclave_at = 0;
	child_stop(&r->model_owner, STOP_MS);
	child_stop(&r->provider, STOP_MS);
}

void roles_stop(struct roles *r)
{
	roles_end(r);
	if (*r->folder)
		nftw(r->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	*r->folder = 0;
}

/* ---- processes ---- */

/* The text after `mark` on the first line of a log that has it. */
static int find_in_log(const char *path, const char *mark, char *out, size_t bytes)
{
	FILE *f = fopen(path, "re");
	char line[1024];
	int found = 0;

	while (f && !found && fgets(line, sizeof(line), f)) {
		const char *at = strchr(line, '\n') ? strstr(line, mark) : NULL; /* whole lines only */

		if (!at)
			continue;
		at += strlen(mark);
		snprintf(out, bytes, "%.*s", (int)strcspn(at, " \n"), at);
		found = 1;
	}
	if (f)
		fclose(f);
	return found;
}

/* Why a role did not start: the last line of its log. */
static int did_not_start(const char *role, const char *log, struct err *e)
{
	char line[400] = "", last[400] = "it said nothing";
	FILE *f = fopen(log, "re");

	while (f && fgets(line, sizeof(line), f))
		snprintf(last, sizeof(last), "%.*s", (int)strcspn(line, "\n"), line);
	if (f)
		fclose(f);
	return err_set(e, ERR_ENV, "%s did not start: %s", role, last);
}

static int await_line(const char *role, pid_t pid, const char *log, const char *mark, char *out, size_t bytes,
		      struct err *e)
{
	for (unsigned ms = 0; ms < START_MS && !stopped; ms += 20) {
		if (find_in_log(log, mark, out, bytes))
			return 0;
		if (!child_alive(pid))
			return did_not_start(role, log, e);
		nanosleep(&(struct timespec){0, 20000000}, NULL);
	}
	return roles_go_on(e) ? -1 : did_not_start(role, log, e);
}

/* One role to be started: its name in files and flags, what it is asked, and the line that says it is ready.
 */
struct starting {
	const char *role, *name, *mark;
	enum link_role host;
	const char *own[6], *const *more; /* NULL at the end */
};

static int add_flags(char **argv, int n, const char *const *flags)
{
	for (; flags && *flags && n < CHILD_ARGS - 1; flags++)
		argv[n++] = (char *)*flags;
	return n;
}

/* Starts it with its certificate; what follows the mark goes to `out`. */
static int start(struct roles *r, pid_t *pid, const struct starting *s, char *out, size_t bytes,
		 struct err *e)
{
	char log[128], ca[96], certificate[128], key[128],
	    *argv[CHILD_ARGS] = {r->obscurad, (char *)s->role, ca, certificate, key};
	int fd, failed;

	snprintf(log, sizeof(log), "%s/%s.log", r->folder, s->name);
	snprintf(ca, sizeof(ca), "--ca=%s/pki/ca.pem", r->folder);
	snprintf(certificate, sizeof(certificate), "--certificate=%s/pki/%s.pem", r->folder, s->name);
	snprintf(key, sizeof(key), "--key=%s/pki/%s.key", r->folder, s->name);
	add_flags(argv, add_flags(argv, 5, s->own), s->more);
	unlink(log); /* of the processes before these */
	fd = open(log, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(e, ERR_ENV, "cannot write %s: %s", log, strerror(errno));
	failed = (r->net && link_net_enter(r->net, s->host, e)) || child_start(pid, argv, fd, fd, e) ||
		 (r->net && link_net_home(r->net, e));
	close(fd);
	return failed ? -1 : await_line(s->name, *pid, log, s->mark, out, bytes, e);
}

const char *roles_socket(const struct roles *r, size_t i, char path[112])
{
	if (i)
		snprintf(path, 112, "%s/data-owner-%zu/data-owner.sock", r->folder, i);
	else
		snprintf(path, 112, "%s", r->socket);
	return path;
}

/* Its socket, and all that it puts beside it, in a folder of its own. */
static int start_owner(struct roles *r, const struct roles_flags *flags, struct err *e)
{
	char provider[96], model_owner[96], path[112], sock[128], ledger[160], folder[112],
	    name[32] = "data-owner", at[64];
	struct starting s = {
	    "data-owner",     name, " ready;", LINK_DATA_OWNER, {provider, model_owner, sock, ledger},
	    flags->data_owner};

	if (r->n_owners)
		snprintf(name, sizeof(name), "data-owner-%zu", r->n_owners);
	if (r->n_owners >= r->n_certificates) {
		if (issue(r, "data-owner", name, e))
			return -1;
		r->n_certificates++;
	}
	snprintf(folder, sizeof(folder), "%s/%s", r->folder, name);
	if (mkdir(folder, 0700) && errno != EEXIST)
		return err_set(e, ERR_ENV, "cannot make the folder %s: %s", folder, strerror(errno));
	snprintf(provider, sizeof(provider), "--provider=%s", r->provider_at);
	snprintf(model_owner, sizeof(model_owner), "--model-owner=%s", r->model_owner_at);
	snprintf(sock, sizeof(sock), "--socket=%s", roles_socket(r, r->n_owners, path));
	snprintf(ledger, sizeof(ledger), "--ledger=%s/jobs.sqlite", folder);
	return start(r, &r->data_owners[r->n_owners++], &s, at, sizeof(at), e);
}

int roles_enclave(struct roles *r, struct err *e)
{
	char log[128], rest[64];

	snprintf(log, sizeof(log), "%s/model-owner.log", r->folder);
	return await_line("model-owner", r->model_owner, log, "enclave at ", r->enclave_at,
			  sizeof(r->enclave_at), e) ||
		       await_line("model-owner", r->model_owner, log, "the enclave is ", rest, sizeof(rest),
				  e)
		   ? -1
		   : 0;
}

int roles_owners(struct roles *r, size_t n, const struct roles_flags *flags, struct err *e)
{
	if (n > ROLES_OWNERS_MAX)
		return err_set(e, ERR_USAGE, "%zu data owners are too many, at most %d", n, ROLES_OWNERS_MAX);
	while (r->n_owners < n)
		if (start_owner(r, flags, e))
			return -1;
	return 0;
}

/* On hosts of their own the ports differ, so that connections are told apart by them. */
static void listen_flag(char *flag, size_t bytes, const struct roles *r, enum link_role role)
{
	int own = r->net && !r->net->link.native;

	snprintf(flag, bytes, "--listen=%s:%d", own ? link_net_address(r->net, role) : "127.0.0.1",
		 own ? 7400 + (int)role : 0);
}

int roles_servers(struct roles *r, const char *models, const struct roles_flags *flags, struct err *e)
{
	char provider[96], here[48], there[48], *list;
	struct starting c = {"provider",    "provider", "listening on ",
			     LINK_PROVIDER, {there},	flags->provider},
			m = {"model-owner",    "model-owner",	 "listening on ",
			     LINK_MODEL_OWNER, {here, provider}, flags->model_owner};
	int failed;

	listen_flag(here, sizeof(here), r, LINK_MODEL_OWNER);
	listen_flag(there, sizeof(there), r, LINK_PROVIDER);
	if (r->alone)
		strcpy(r->provider_at, "127.0.0.1:9"); /* discard: nobody */
	else if (start(r, &r->provider, &c, r->provider_at, sizeof(r->provider_at), e))
		return -1;
	snprintf(provider, sizeof(provider), "--provider=%s", r->provider_at);
	if (asprintf(&list, "--models=%s", models) < 0)
		return err_set(e, ERR_ENV, "out of memory");
	m.own[2] = list;
	failed = start(r, &r->model_owner, &m, r->model_owner_at, sizeof(r->model_owner_at), e);
	free(list);
	return failed;
}

int roles_start(struct roles *r, const char *models, const struct roles_flags *flags, struct err *e)
{
	return roles_servers(r, models, flags, e) ? -1 : roles_owners(r, 1, flags, e);
}
