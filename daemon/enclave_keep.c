/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/enclave_keep.h"

#include <errno.h>
#include <poll.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define READY_MS 20000

/* A reply into body, at most room bytes, and a 0 after them. */
static int hear(int fd, uint8_t *message, struct span *body, struct err *e)
{
	ssize_t n;

	do
		n = recv(fd, message, KEEP_MESSAGE, 0);
	while (n < 0 && errno == EINTR);
	if (n < 1)
		return err_set(e, ERR_ENV, "the keeper of the sealed state has ended: restart obscurad");
	*body = (struct span){message + 1, (size_t)n - 1};
	if (*message)
		return err_set(e, ERR_ENV, "%.*s", (int)(n > 300 ? 300 : n - 1), (const char *)body->p);
	return 0;
}

int keep_ready(int fd, struct err *e)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	uint8_t message[KEEP_MESSAGE];
	struct span body;

	if (poll(&ready, 1, READY_MS) == 0)
		return err_set(e, ERR_ENV, "the TPM does not answer (enclave_tpm)");
	return hear(fd, message, &body, e);
}

/* message: KEEP_MESSAGE bytes on the heap, since keys pass through it. */
static int ask(const struct keep *k, enum keep_op op, struct span body, uint8_t *message, struct span *reply,
	       struct err *e)
{
	if (body.n >= KEEP_MESSAGE)
		return err_set(e, ERR_ENV, "the state is too large");
	*message = (uint8_t)op;
	if (body.n)
		memmove(message + 1, body.p, body.n);
	if (send(k->fd, message, body.n + 1, MSG_NOSIGNAL) < 0)
		return err_set(e, ERR_ENV, "the keeper of the sealed state has ended: restart obscurad");
	return hear(k->fd, message, reply, e);
}

static int malformed(struct err *e)
{
	return err_set(e, ERR_ENV, "the keeper's answer is malformed");
}

static int count(const struct keep *k, enum keep_op op, uint8_t *message, uint64_t *value, struct err *e)
{
	struct span body;

	if (ask(k, op, (struct span){NULL, 0}, message, &body, e))
		return -1;
	if (body.n != 8)
		return malformed(e);
	*value = 0;
	for (int i = 7; i >= 0; i--)
		*value = *value << 8 | body.p[i];
	return 0;
}

/* ---- load ---- */

static int unseal(struct keep *k, struct enclave_state *s, struct span file, uint8_t *message, struct err *e)
{
	struct state_file f;
	struct span key;
	uint64_t now;

	if (state_file_read(file, &f))
		return err_set(e, ERR_INPUT, "the sealed state is malformed");
	if (count(k, KEEP_COUNT, message, &now, e))
		return -1;
	if (f.counter != now)
		return err_set(
		    e, ERR_INPUT,
		    "the sealed state is an old copy: it was made at count %llu, and the TPM is at %llu",
		    (unsigned long long)f.counter, (unsigned long long)now);
	if (ask(k, KEEP_UNWRAP, f.wrapped, message, &key, e))
		return -1;
	return key.n == STATE_KEY ? state_open(s, key.p, &f, k->authority, e) : malformed(e);
}

int keep_load(struct keep *k, struct enclave_state *s, struct err *e)
{
	uint8_t *message = malloc(KEEP_MESSAGE), *file = NULL;
	struct span body;
	int r = message ? 0 : err_set(e, ERR_ENV, "out of memory");

	if (!r)
		r = ask(k, KEEP_LOAD, (struct span){NULL, 0}, message, &body, e);
	if (!r && body.n) {
		file = malloc(body.n);
		if (file)
			memcpy(file, body.p, body.n);
		r = !file ? err_set(e, ERR_ENV, "out of memory")
			  : unseal(k, s, (struct span){file, body.n}, message, e);
		r = r ? -1 : 1;
	}
	if (r < 0)
		memset(s, 0, sizeof(*s));
	free(file);
	seal_free(message, message ? KEEP_MESSAGE : 0);
	return r;
}

/* ---- save ---- */

/* A key of this start, never one that came with a file: who may use the TPM can wrap what they know. */
static int new_key(struct keep *k, uint8_t *message, struct err *e)
{
	struct span wrapped;

	k->key = malloc(STATE_KEY);
	if (!k->key)
		return err_set(e, ERR_ENV, "out of memory");
	randombytes_buf(k->key, STATE_KEY);
	if (ask(k, KEEP_WRAP, (struct span){k->key, STATE_KEY}, message, &wrapped, e) ||
	    (wrapped.n > sizeof(k->wrapped) && malformed(e))) {
		seal_free(k->key, STATE_KEY);
		k->key = NULL;
		return -1;
	}
	memcpy(k->wrapped, wrapped.p, wrapped.n);
	k->wrapped_n = wrapped.n;
	return 0;
}

/* The counter first: when this is interrupted, the file on disk is an old copy, and nothing can make two
 * files of one count. */
int keep_save(struct keep *k, const struct enclave_state *s, struct err *e)
{
	uint8_t *message, *file = NULL;
	struct span none;
	uint64_t step;
	size_t n = 0;
	int bad;

	if (k->fd < 0)
		return 0;
	message = malloc(KEEP_MESSAGE);
	if (!message)
		return err_set(e, ERR_ENV, "out of memory");
	bad = (!k->key && new_key(k, message, e)) || count(k, KEEP_STEP, message, &step, e) ||
	      state_seal(s, k->key, (struct span){k->wrapped, k->wrapped_n}, step, k->authority, &file, &n,
			 e) ||
	      ask(k, KEEP_SAVE, (struct span){file, n}, message, &none, e);
	free(file);
	seal_free(message, KEEP_MESSAGE);
	return bad ? -1 : 0;
}
