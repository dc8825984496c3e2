/* SPDX-License-Identifier: Apache-2.0 */
/* obscura-enclave-keeper TPM FILE: started by obscurad model-owner, not by people (daemon/enclave_keep.h). It
 * sees the key of the sealed state, so it runs where the enclave's own processes run, as their user root. */
#include "daemon/enclave_keep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/enclave_tpm.h"

_Static_assert(TPM_KEY == STATE_KEY, "the TPM wraps the state's key");

struct keeper {
	struct tpm *tpm;
	const char *path;
};
/* One answer, in place: *n bytes of body; room STATE_MAX. */
typedef int answer(struct keeper *k, uint8_t *body, size_t *n, struct err *e);

/* ---- the file ---- */

static int load(struct keeper *k, uint8_t *body, size_t *n, struct err *e)
{
	int fd = open(k->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t got;

	*n = 0;
	if (fd < 0 && errno == ENOENT)
		return 0;
	got = fd < 0 ? -1 : read(fd, body, STATE_MAX);
	if (fd >= 0)
		close(fd);
	if (got < 0)
		return err_set(e, ERR_ENV, "enclave_state: %.200s: %s", k->path, strerror(errno));
	*n = (size_t)got;
	return 0;
}

static int sync_folder(const char *path)
{
	char folder[4096];
	const char *slash = strrchr(path, '/');
	int fd, bad;

	snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bad = fd < 0 || fsync(fd);
	if (fd >= 0)
		close(fd);
	return bad;
}

/* Whole or not at all. */
static int save(struct keeper *k, uint8_t *body, size_t *n, struct err *e)
{
	char fresh[4096];
	int fd, bad = (size_t)snprintf(fresh, sizeof(fresh), "%s.new", k->path) >= sizeof(fresh);

	if (!bad)
		unlink(fresh);
	fd = bad ? -1 : open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	bad = fd < 0 || write(fd, body, *n) != (ssize_t)*n || fsync(fd);
	if (fd >= 0)
		close(fd);
	*n = 0;
	if (!bad && !rename(fresh, k->path) && !sync_folder(k->path))
		return 0;
	err_set(e, ERR_ENV, "enclave_state: %.200s: %s", k->path, strerror(errno));
	unlink(fresh);
	return -1;
}

/* ---- the TPM ---- */

static int told(uint64_t value, uint8_t *body, size_t *n)
{
	for (int i = 0; i < 8; i++)
		body[i] = (uint8_t)(value >> 8 * i);
	*n = 8;
	return 0;
}

static int number(struct keeper *k, uint8_t *body, size_t *n, struct err *e)
{
	uint64_t value;

	return tpm_count(k->tpm, &value, e) ? -1 : told(value, body, n);
}

static int step(struct keeper *k, uint8_t *body, size_t *n, struct err *e)
{
	uint64_t value;

	return tpm_step(k->tpm, &value, e) ? -1 : told(value, body, n);
}

static int wrap(struct keeper *k, uint8_t *body, size_t *n, struct err *e)
{
	uint8_t key[TPM_KEY];
	int bad;

	if (*n != TPM_KEY)
		return err_set(e, ERR_PEER, "a key of %zu bytes", *n);
	memcpy(key, body, TPM_KEY);
	bad = tpm_wrap(k->tpm, key, body, n, e);
	explicit_bzero(key, sizeof(key));
	return bad;
}

static int unwrap(struct keeper *k, uint8_t *body, size_t *n, struct err *e)
{
	uint8_t key[TPM_KEY];

	if (tpm_unwrap(k->tpm, body, *n, key, e))
		return -1;
	memcpy(body, key, TPM_KEY);
	explicit_bzero(key, sizeof(key));
	*n = TPM_KEY;
	return 0;
}

/* ---- requests ---- */

static answer *const answers[] = {
    [KEEP_LOAD] = load, [KEEP_SAVE] = save, [KEEP_COUNT] = number,
    [KEEP_STEP] = step, [KEEP_WRAP] = wrap, [KEEP_UNWRAP] = unwrap,
};

static int reply(uint8_t *message, size_t n, int bad, const struct err *e)
{
	message[0] = bad != 0;
	if (bad) {
		n = strlen(e->text);
		memcpy(message + 1, e->text, n);
	}
	return send(KEEP_FD, message, n + 1, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

/* -1 when the enclave is gone. */
static int serve(struct keeper *k)
{
	uint8_t message[KEEP_MESSAGE];
	struct err e = {0};
	ssize_t got;
	size_t n;
	int bad;

	do
		got = recv(KEEP_FD, message, sizeof(message), 0);
	while (got < 0 && errno == EINTR);
	if (got < 1)
		return -1;
	n = (size_t)got - 1;
	if (message[0] < KEEP_LOAD || message[0] >= sizeof(answers) / sizeof(*answers) || n > STATE_MAX)
		bad = err_set(&e, ERR_PEER, "request %d is unknown", message[0]);
	else
		bad = answers[message[0]](k, message + 1, &n, &e);
	bad = reply(message, n, bad, &e);
	explicit_bzero(message, sizeof(message));
	return bad;
}

int main(int argc, char **argv)
{
	const struct rlimit none = {0, 0};
	struct keeper k = {0};
	uint8_t first[KEEP_MESSAGE];
	struct err e = {0};
	struct stat s;
	int bad;

	if (argc != 3 || fstat(KEEP_FD, &s) || !S_ISSOCK(s.st_mode)) {
		fputs("obscura-enclave-keeper is started by obscurad model-owner (option enclave_state)\n",
		      stderr);
		return ERR_USAGE;
	}
	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0);
	setenv("TSS2_LOG", "all+none", 0); /* what fails is said in our words */
	k.path = argv[2];
	bad = tpm_open(&k.tpm, argv[1], &e);
	if (!reply(first, 0, bad, &e) && !bad)
		while (!serve(&k))
			;
	tpm_close(k.tpm);
	return bad ? (int)e.code : 0;
}
