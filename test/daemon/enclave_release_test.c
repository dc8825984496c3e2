/* SPDX-License-Identifier: Apache-2.0 */
/* Releases: what an owner seals comes to this enclave alone; no byte can be changed, and nobody else can
 * sign. */
#include "daemon/enclave_release.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#define SPAN(text)                                                                                           \
	{                                                                                                    \
		(const uint8_t *)(text), sizeof(text) - 1                                                    \
	}

static const uint8_t seed[SEAL_KEY] = {1}, other_seed[SEAL_KEY] = {2};
static uint8_t public_key[ENCLAVE_RELEASE_KEY], secret_key[ENCLAVE_RELEASE_KEY], *file;
static size_t file_n;
static struct sealed sealed;
static struct span whole; /* the file */

static int setup(void **state)
{
	const struct enclave_model m = {.name = SPAN("digits"), .version = 7, .onnx = SPAN("weights")};
	struct err e = {0};

	if (sodium_init() < 0 || crypto_box_keypair(public_key, secret_key) ||
	    seal_make(seed, &m, &file, &file_n, &e))
		return -1;
	whole = (struct span){file, file_n};
	return seal_read(whole, &sealed);
}

static int teardown(void **state)
{
	free(file);
	return 0;
}

static int opens(const uint8_t *box, size_t n, struct err *e)
{
	struct release r;
	uint8_t *plain;
	size_t plain_n;
	int bad = release_open((struct span){box, n}, public_key, secret_key, &r, &plain, &plain_n, e);

	seal_free(plain, plain_n);
	return !bad;
}

static void comes_through(void **state)
{
	struct enclave_model m;
	struct release r;
	struct err e = {0};
	uint8_t *box, *plain, *model;
	size_t n, plain_n, model_n;

	for (int keep = 0; keep < 2; keep++) {
		assert_int_equal(release_make(seed, whole, 5, keep, public_key, &box, &n, &e), 0);
		assert_true(n <= RELEASE_MAX);
		assert_int_equal(
		    release_open((struct span){box, n}, public_key, secret_key, &r, &plain, &plain_n, &e), 0);
		assert_null(memmem(box, n, r.key.p, SEAL_KEY));
		assert_int_equal(r.floor, 5);
		assert_int_equal(r.keep, keep);
		assert_int_equal(r.file.version, 7);
		assert_int_equal(r.file.head.n, sealed.head.n);
		assert_memory_equal(r.file.head.p, sealed.head.p, sealed.head.n);
		assert_int_equal(seal_open(r.key.p, (struct span){file, file_n}, &m, &model, &model_n, &e),
				 0);
		assert_memory_equal(m.onnx.p, "weights", 7);
		seal_free(model, model_n);
		seal_free(plain, plain_n);
		free(box);
	}
}

static void no_byte_changes(void **state)
{
	uint8_t *box, was[ENCLAVE_RELEASE_KEY];
	struct err e = {0};
	size_t n;

	assert_int_equal(release_make(seed, whole, 5, 0, public_key, &box, &n, &e), 0);
	for (size_t i = 0; i < n; i++) {
		box[i] ^= 1;
		assert_false(opens(box, n, &e));
		box[i] ^= 1;
		assert_false(opens(box, i, &e));
	}
	assert_true(opens(box, n, &e));
	memcpy(was, secret_key, sizeof(was));
	secret_key[0] ^= 8; /* the key of another start; the low 3 bits do not count */
	memset(&e, 0, sizeof(e));
	assert_false(opens(box, n, &e));
	assert_non_null(strstr(e.text, "provision again"));
	memcpy(secret_key, was, sizeof(was));
	free(box);
}

/* An inner change under a box that is right: the signature counts, not the box, which anybody can make. */
static void only_the_owner_signs(void **state)
{
	uint8_t *box, *plain, again[RELEASE_MAX];
	struct release r;
	struct err e = {0};
	size_t n, plain_n, statement;

	assert_int_equal(release_make(other_seed, whole, 5, 0, public_key, &box, &n, &e), -1);
	assert_int_equal(release_make(seed, whole, 5, 0, public_key, &box, &n, &e), 0);
	assert_int_equal(
	    release_open((struct span){box, n}, public_key, secret_key, &r, &plain, &plain_n, &e), 0);
	statement = plain_n - 6 - 32 - 32 - 1 - 8 - 16 - 64;
	for (size_t i = statement; i < plain_n; i++) {
		plain[i] ^= 1;
		memset(&e, 0, sizeof(e));
		assert_int_equal(crypto_box_seal(again, plain, plain_n, public_key), 0);
		assert_false(opens(again, plain_n + crypto_box_SEALBYTES, &e));
		assert_true(strstr(e.text, "not signed") || strstr(e.text, "malformed"));
		plain[i] ^= 1;
	}
	plain[SEAL_KEY + 4 + 24] ^= 1; /* the owner in the head */
	assert_int_equal(crypto_box_seal(again, plain, plain_n, public_key), 0);
	assert_false(opens(again, plain_n + crypto_box_SEALBYTES, &e));
	seal_free(plain, plain_n);
	free(box);
}

/* What one enclave was given is no release for another, though the box be made anew; nor for another file of
 * the same head and key. */
static void for_this_enclave_and_file(void **state)
{
	uint8_t other_public[ENCLAVE_RELEASE_KEY], other_secret[ENCLAVE_RELEASE_KEY], *box, *plain,
	    again[RELEASE_MAX];
	struct release r;
	struct err e = {0};
	size_t n, plain_n;

	assert_int_equal(crypto_box_keypair(other_public, other_secret), 0);
	assert_int_equal(release_make(seed, whole, 5, 1, other_public, &box, &n, &e), 0);
	assert_int_equal(
	    release_open((struct span){box, n}, other_public, other_secret, &r, &plain, &plain_n, &e), 0);
	assert_int_equal(release_is_of(&r, whole, &e), 0);
	file[file_n - 1] ^= 1;
	assert_int_equal(release_is_of(&r, whole, &e), -1);
	assert_non_null(strstr(e.text, "was changed"));
	file[file_n - 1] ^= 1;
	assert_int_equal(release_is_of(&r, (struct span){file, file_n - 1}, &e), -1);
	assert_int_equal(crypto_box_seal(again, plain, plain_n, public_key), 0);
	memset(&e, 0, sizeof(e));
	assert_false(opens(again, plain_n + crypto_box_SEALBYTES, &e));
	assert_non_null(strstr(e.text, "for another enclave"));
	seal_free(plain, plain_n);
	free(box);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(comes_through),
	    cmocka_unit_test(no_byte_changes),
	    cmocka_unit_test(only_the_owner_signs),
	    cmocka_unit_test(for_this_enclave_and_file),
	};

	return cmocka_run_group_tests_name("releases", tests, setup, teardown);
}
