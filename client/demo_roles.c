/* SPDX-License-Identifier: Apache-2.0 */
#include "client/demo.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/child.h"

#define START_MS 30000
#define STOP_MS 3000

volatile sig_atomic_t demo_stopped;

static int interrupted(struct err *e)
{
	return err_set(e, ERR_RESULT, "interrupted");
}

/* ---- folder and certificates
 * ---------------------------------------------------------------------------------------------- */

static int run_quietly(char *const argv[], struct err *e)
{
	pid_t pid;

	if (demo_stopped)
		return interrupted(e);
	return child_start(&pid, argv, -1, STDERR_FILENO, e) || child_wait(&pid, argv[1], e) ? -1 : 0;
}

static int make_pki(const struct roles *r, struct err *e)
{
	static const char *const names[] = {"provider", "model-owner", "data-owner"};
	char dir[80];

	snprintf(dir, sizeof(dir), "%s/pki", r->folder);
	if (run_quietly((char *[]){(char *)r->obscura, "pki", "init", dir, "--days", "8", NULL}, e))
		return -1;
	for (int i = 0; i < 3; i++)
		if (run_quietly((char *[]){(char *)r->obscura, "pki", "issue", (char *)names[i], "localhost",
					   "127.0.0.1", "--days", "7", "--dir", dir, NULL},
				e))
			return -1;
	return 0;
}

int roles_prepare(struct roles *r, struct err *e)
{
	memset(r, 0, sizeof(*r));
	strcpy(r->folder, "/tmp/obscura-demo-XXXXXX");
	if (child_beside(r->obscura, sizeof(r->obscura), "obscura", e) ||
	    child_beside(r->obscurad, sizeof(r->obscurad), "obscurad", e))
		return -1;
	if (access(r->obscurad, X_OK))
		return err_set(e, ERR_ENV, "there is no program %s; build it with make", r->obscurad);
	if (!mkdtemp(r->folder)) {
		*r->folder = 0;
		return err_set(e, ERR_ENV, "cannot make a folder in /tmp: %s", strerror(errno));
	}
	snprintf(r->socket, sizeof(r->socket), "%s/data-owner.sock", r->folder);
	return make_pki(r, e);
}

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *ftw)
{
	return remove(path);
}

void roles_stop(struct roles *r)
{
	child_stop(&r->data_owner, STOP_MS);
	child_stop(&r->model_owner, STOP_MS);
	child_stop(&r->provider, STOP_MS);
	if (*r->folder)
		nftw(r->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	*r->folder = 0;
}

/* ---- processes
 * ------------------------------------------------------------------------------------------------------------
 */

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
	for (unsigned ms = 0; ms < START_MS && !demo_stopped; ms += 20) {
		if (find_in_log(log, mark, out, bytes))
			return 0;
		if (!child_alive(pid))
			return did_not_start(role, log, e);
		nanosleep(&(struct timespec){0, 20000000}, NULL);
	}
	return demo_stopped ? interrupted(e) : did_not_start(role, log, e);
}

/* Starts one role with its certificate and waits for `mark` in its log; n more flags. */
static int start(struct roles *r, pid_t *pid, const char *role, const char *const *flags, size_t n,
		 const char *mark, char *out, size_t bytes, struct err *e)
{
	char log[96], ca[96], certificate[128], key[128],
	    *argv[CHILD_ARGS] = {r->obscurad, (char *)role, ca, certificate, key};
	int fd, failed;

	snprintf(log, sizeof(log), "%s/%s.log", r->folder, role);
	snprintf(ca, sizeof(ca), "--ca=%s/pki/ca.pem", r->folder);
	snprintf(certificate, sizeof(certificate), "--certificate=%s/pki/%s.pem", r->folder, role);
	snprintf(key, sizeof(key), "--key=%s/pki/%s.key", r->folder, role);
	for (size_t i = 0; i < n; i++)
		argv[5 + i] = (char *)flags[i];
	fd = open(log, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(e, ERR_ENV, "cannot write %s: %s", log, strerror(errno));
	failed = child_start(pid, argv, fd, fd, e);
	close(fd);
	return failed ? -1 : await_line(role, *pid, log, mark, out, bytes, e);
}

int roles_start(struct roles *r, const char *models, struct err *e)
{
	static const char listening[] = "listening on ";
	char at[64], provider[96], model_owner[96], sock[112], *list;
	int failed;

	if (start(r, &r->provider, "provider", (const char *[]){"--listen=127.0.0.1:0"}, 1, listening, at,
		  sizeof(at), e))
		return -1;
	snprintf(provider, sizeof(provider), "--provider=%s", at);
	if (asprintf(&list, "--models=%s", models) < 0)
		return err_set(e, ERR_ENV, "out of memory");
	failed =
	    start(r, &r->model_owner, "model-owner", (const char *[]){"--listen=127.0.0.1:0", provider, list},
		  3, listening, at, sizeof(at), e);
	free(list);
	if (failed)
		return -1;
	snprintf(model_owner, sizeof(model_owner), "--model-owner=%s", at);
	snprintf(sock, sizeof(sock), "--socket=%s", r->socket);
	return start(r, &r->data_owner, "data-owner", (const char *[]){provider, model_owner, sock}, 3,
		     "ready", at, sizeof(at), e);
}
