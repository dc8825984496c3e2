/* SPDX-License-Identifier: Apache-2.0 */
/* What an enclave remembers: floors never fall, one owner; what is sealed comes back whole or not at all. */
#include "daemon/enclave_state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#define SPAN(text) ((struct span){(const uint8_t *)(text), sizeof(text) - 1})

static const uint8_t key[STATE_KEY] = {9};

/* A release of a version of "digits", which stays until the next call. */
static struct release a_release(uint8_t owner, uint64_t version, uint64_t floor, int keep)
{
	static uint8_t *plain;
	static size_t plain_n;
	const struct enclave_model m = {.name = SPAN("digits"), .version = version};
	const uint8_t seed[SEAL_KEY] = {owner};
	uint8_t public_key[ENCLAVE_RELEASE_KEY], secret_key[ENCLAVE_RELEASE_KEY], *file = NULL, *box = NULL;
	struct release r = {.floor = floor};
	struct err e = {0};
	size_t n, box_n;

	seal_free(plain, plain_n);
	plain = NULL;
	crypto_box_keypair(public_key, secret_key);
	if (owner &&
	    (seal_make(seed, &m, &file, &n, &e) ||
	     release_make(seed, (struct span){file, n}, floor, keep, public_key, &box, &box_n, &e) ||
	     release_open((struct span){box, box_n}, public_key, secret_key, &r, &plain, &plain_n, &e)))
		fail_msg("%s", e.text);
	free(file);
	free(box);
	return r;
}

static void floors_never_fall(void **state)
{
	struct enclave_state *s = calloc(1, sizeof(*s));
	struct err e = {0};
	struct release r = a_release(1, 5, 4, 0);
	char name[8];

	assert_int_equal(state_accept(s, &r, &e), 0);
	assert_int_equal(state_floor(s, SPAN("digits")), 4);
	assert_int_equal(state_floor(s, SPAN("digit")), 0);
	r = a_release(1, 4, 1, 0);
	assert_int_equal(state_accept(s, &r, &e), 0);
	assert_int_equal(state_floor(s, SPAN("digits")), 4);
	r = a_release(1, 3, 3, 0);
	assert_int_equal(state_accept(s, &r, &e), -1);
	assert_non_null(strstr(e.text, "version 3 of digits is below 4"));
	r = a_release(1, 6, 7, 0);
	assert_int_equal(state_accept(s, &r, &e), -1);
	assert_int_equal(state_allows(s, SPAN("other"), 0, &e), 0);
	r = a_release(2, 9, 9, 0);
	memset(&e, 0, sizeof(e));
	assert_int_equal(state_accept(s, &r, &e), -1);
	assert_non_null(strstr(e.text, "another owner"));
	for (int i = 1; i < STATE_NAMES; i++) {
		snprintf(name, sizeof(name), "m%d", i);
		assert_int_equal(state_raise(s, (struct span){(uint8_t *)name, strlen(name)}, 1, &e), 0);
	}
	assert_int_equal(state_raise(s, SPAN("one more"), 1, &e), -1);
	assert_int_equal(state_raise(s, SPAN("m1"), 2, &e), 0);
	a_release(0, 0, 0, 0);
	free(s);
}

static void comes_back_or_not(void **state)
{
	struct enclave_state *s = calloc(1, sizeof(*s)), *t = calloc(1, sizeof(*t));
	struct state_file f;
	struct err e = {0};
	uint8_t *file, wrong[STATE_KEY] = {8};
	struct release r = a_release(1, 5, 5, 1);
	size_t n;

	assert_int_equal(state_accept(s, &r, &e), 0);
	assert_int_equal(state_raise(s, SPAN("other"), 77, &e), 0);
	s->list = UINT64_C(0x0123456789abcdef);
	assert_int_equal(state_seal(s, key, SPAN("wrapped"), 42, SPAN("authority"), &file, &n, &e), 0);
	assert_null(memmem(file, n, r.key.p, SEAL_KEY));
	assert_int_equal(state_file_read((struct span){file, n}, &f), 0);
	assert_int_equal(f.counter, 42);
	assert_int_equal(f.wrapped.n, 7);
	assert_int_equal(state_open(t, key, &f, SPAN("authority"), &e), 0);
	assert_memory_equal(s, t, sizeof(*s));
	assert_int_equal(t->said_n, r.said.n);
	assert_int_equal(state_open(t, wrong, &f, SPAN("authority"), &e), -1);
	assert_int_equal(state_open(t, key, &f, SPAN("authoritz"), &e), -1);
	for (size_t i = 0; i < n; i++) {
		file[i] ^= 1; /* the counter among them */
		assert_true(state_file_read((struct span){file, n}, &f) ||
			    state_open(t, key, &f, SPAN("authority"), &e));
		file[i] ^= 1;
		assert_true(state_file_read((struct span){file, i}, &f) ||
			    state_open(t, key, &f, SPAN("authority"), &e));
	}
	free(file);
	r = a_release(1, 5, 5, 0); /* a release that does not allow it takes the key away */
	assert_int_equal(state_accept(s, &r, &e), 0);
	assert_int_equal(s->head_n, 0);
	assert_true(sodium_is_zero(s->key, SEAL_KEY));
	a_release(0, 0, 0, 0);
	free(s);
	free(t);
}

/* Who can write a state, which its TPM allows to any program of the host, cannot keep a model in another
 * owner's name: its owner has signed for it, and that it may be kept. */
static void kept_as_signed(void **state)
{
	struct enclave_state *s = calloc(1, sizeof(*s)), *t = calloc(1, sizeof(*t));
	struct release r = a_release(1, 5, 5, 1);
	struct err e = {0};
	uint8_t *p;
	size_t n;

	assert_int_equal(state_accept(s, &r, &e), 0);
	p = state_pack(s, &n);
	assert_int_equal(state_read((struct span){p, n}, t), 0);
	seal_free(p, n);
	for (size_t i = 0; i < s->said_n; i++) {
		s->said[i] ^= 1;
		p = state_pack(s, &n);
		assert_int_equal(state_read((struct span){p, n}, t), -1);
		seal_free(p, n);
		s->said[i] ^= 1;
	}
	s->head[24] ^= 1; /* the owner */
	p = state_pack(s, &n);
	assert_int_equal(state_read((struct span){p, n}, t), -1);
	seal_free(p, n);
	r = a_release(1, 5, 5, 0); /* signed, but not to be kept */
	memset(s, 0, sizeof(*s));
	r.keep = 1;
	assert_int_equal(state_accept(s, &r, &e), 0);
	p = state_pack(s, &n);
	assert_int_equal(state_read((struct span){p, n}, t), -1);
	seal_free(p, n);
	a_release(0, 0, 0, 0);
	free(s);
	free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(floors_never_fall),
	    cmocka_unit_test(comes_back_or_not),
	    cmocka_unit_test(kept_as_signed),
	};

	return cmocka_run_group_tests_name("the enclave's state", tests, NULL, NULL);
}
