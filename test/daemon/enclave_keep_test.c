/* SPDX-License-Identifier: Apache-2.0 */
/* The enclave's child and its keeper: an imitated one, with a counter and a file, which may go back, lie or
 * end. The real one, with a TPM, is in test/e2e/enclave_state.sh. */
#include "daemon/enclave_keep.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define SPAN(text) ((struct span){(const uint8_t *)(text), sizeof(text) - 1})

/* Wraps by exclusive or with `tpm`. */
struct keeper {
	int fd;
	pthread_t thread;
	uint64_t count;
	uint8_t tpm, file[STATE_MAX];
	size_t file_n;
	enum keep_op refuse, cut; /* answers this with an error; too short */
	uint8_t fresh[STATE_KEY]; /* the last key that was wrapped */
};

static size_t give(struct keeper *k, uint8_t *m, size_t n)
{
	switch (m[0]) {
	case KEEP_LOAD:
		memcpy(m + 1, k->file, k->file_n);
		return k->file_n;
	case KEEP_SAVE:
		memcpy(k->file, m + 1, n);
		k->file_n = n;
		return 0;
	case KEEP_STEP:
		k->count++;
		/* fall through */
	case KEEP_COUNT:
		for (int i = 0; i < 8; i++)
			m[1 + i] = (uint8_t)(k->count >> 8 * i);
		return 8;
	case KEEP_WRAP:
		memcpy(k->fresh, m + 1, STATE_KEY);
		/* fall through */
	default:
		for (size_t i = 0; i < n; i++)
			m[1 + i] ^= k->tpm;
		return n;
	}
}

static void *keep_house(void *arg)
{
	uint8_t m[KEEP_MESSAGE];
	struct keeper *k = arg;
	ssize_t got;

	while ((got = recv(k->fd, m, sizeof(m), 0)) > 0) {
		enum keep_op op = m[0];
		size_t n = give(k, m, (size_t)got - 1);

		m[0] = op == k->refuse;
		if (m[0])
			n = (size_t)sprintf((char *)m + 1, "TPM: it burns");
		if (op == k->cut)
			n /= 2;
		if (send(k->fd, m, n + 1, MSG_NOSIGNAL) < 0)
			break;
	}
	return NULL;
}

static struct keep start(struct keeper *k)
{
	struct keep client = {.authority = SPAN("authority")};
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	k->fd = pair[1];
	client.fd = pair[0];
	assert_int_equal(pthread_create(&k->thread, NULL, keep_house, k), 0);
	return client;
}

static void stop(struct keeper *k, struct keep *client)
{
	close(client->fd);
	pthread_join(k->thread, NULL);
	close(k->fd);
	seal_free(client->key, STATE_KEY);
}

/* What a new child makes of what the keeper has. */
static int load(struct keeper *k, struct enclave_state *s, struct err *e)
{
	struct keep client = start(k);
	int r;

	memset(e, 0, sizeof(*e));
	memset(s, 0xff, sizeof(*s));
	r = keep_load(&client, s, e);
	if (r < 0)
		assert_int_equal(s->pinned | (int)s->n | (int)s->head_n, 0);
	stop(k, &client);
	return r;
}

static void save(struct keeper *k, uint64_t floor)
{
	struct enclave_state *s = calloc(1, sizeof(*s));
	struct keep client = start(k);
	struct err e = {0};

	assert_int_equal(state_raise(s, SPAN("digits"), floor, &e), 0);
	assert_int_equal(keep_save(&client, s, &e), 0);
	stop(k, &client);
	free(s);
}

static void comes_back(void **state)
{
	struct keeper k = {.count = 5, .tpm = 0x77};
	struct enclave_state *s = calloc(1, sizeof(*s));
	struct err e;

	assert_int_equal(load(&k, s, &e), 0);
	save(&k, 3);
	assert_int_equal(k.count, 6);
	assert_int_equal(load(&k, s, &e), 1);
	assert_int_equal(state_floor(s, SPAN("digits")), 3);
	assert_null(memmem(k.file, k.file_n, "digits", 6));
	assert_null(memmem(k.file, k.file_n, k.fresh, STATE_KEY));
	free(s);
}

static void old_copies_are_refused(void **state)
{
	struct keeper k = {.tpm = 0x77}, was;
	struct enclave_state *s = calloc(1, sizeof(*s));
	struct err e;

	save(&k, 3);
	was = k;
	save(&k, 4);
	memcpy(k.file, was.file, sizeof(k.file));
	k.file_n = was.file_n;
	assert_int_equal(load(&k, s, &e), -1);
	assert_non_null(strstr(e.text, "made at count 1, and the TPM is at 2"));
	k.count = 0; /* nor a state of the future */
	assert_int_equal(load(&k, s, &e), -1);
	k.count = 1;
	assert_int_equal(load(&k, s, &e), 1);
	for (int i = 0; i < 8; i++) { /* the count in the file is under the cipher's seal */
		k.file[16 + i] ^= 1;
		k.count ^= 1ull << 8 * i;
		assert_int_equal(load(&k, s, &e), -1);
		k.file[16 + i] ^= 1;
		k.count ^= 1ull << 8 * i;
	}
	k.tpm = 0x78; /* another TPM */
	assert_int_equal(load(&k, s, &e), -1);
	assert_non_null(strstr(e.text, "another TPM"));
	free(s);
}

/* The counter moves before the file: interrupted between them, what lies there is old. */
static void interrupted(void **state)
{
	struct keeper k = {.tpm = 1};
	struct enclave_state *s = calloc(1, sizeof(*s));
	uint8_t was[STATE_MAX];
	size_t was_n;
	struct keep client;
	struct err e = {0};

	save(&k, 3);
	was_n = k.file_n;
	memcpy(was, k.file, was_n);
	k.refuse = KEEP_SAVE;
	client = start(&k);
	assert_int_equal(keep_save(&client, s, &e), -1);
	assert_non_null(strstr(e.text, "it burns"));
	stop(&k, &client);
	assert_int_equal(k.count, 2);
	k.file_n = was_n; /* the write of a new file that was not renamed */
	memcpy(k.file, was, was_n);
	assert_int_equal(load(&k, s, &e), -1);
	assert_non_null(strstr(e.text, "old copy"));
	free(s);
}

static void hostile_answers(void **state)
{
	static const enum keep_op ops[] = {KEEP_LOAD, KEEP_COUNT, KEEP_UNWRAP};
	struct keeper k = {.tpm = 1};
	struct enclave_state *s = calloc(1, sizeof(*s));
	struct keep client;
	struct err e;

	save(&k, 3);
	for (size_t i = 0; i < sizeof(ops) / sizeof(*ops); i++) {
		k.refuse = ops[i];
		assert_int_equal(load(&k, s, &e), -1);
		k.refuse = 0;
		k.cut = ops[i];
		assert_int_equal(load(&k, s, &e), -1);
		k.cut = 0;
	}
	for (size_t i = 0; i < k.file_n; i++) {
		k.file[i] ^= 1;
		assert_int_equal(load(&k, s, &e), -1);
		k.file[i] ^= 1;
	}
	client = start(&k);
	shutdown(k.fd, SHUT_RDWR); /* the keeper ends */
	memset(&e, 0, sizeof(e));
	assert_int_equal(keep_save(&client, s, &e), -1);
	assert_non_null(strstr(e.text, "restart obscurad"));
	stop(&k, &client);
	client = (struct keep){.fd = -1};
	assert_int_equal(keep_save(&client, s, &e), 0);
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(comes_back),
	    cmocka_unit_test(old_copies_are_refused),
	    cmocka_unit_test(interrupted),
	    cmocka_unit_test(hostile_answers),
	};

	return cmocka_run_group_tests_name("the enclave's keeper", tests, NULL, NULL);
}
