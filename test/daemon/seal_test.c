/* SPDX-License-Identifier: Apache-2.0 */
/* Sealed models: what goes in comes out, and no byte of the file can be changed, cut or added. */
#include "daemon/seal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SPAN(text)                                                                                           \
	{                                                                                                    \
		(const uint8_t *)(text), sizeof(text) - 1                                                    \
	}

static const uint8_t seed[SEAL_KEY] = {1, 2, 3}, other_seed[SEAL_KEY] = {1, 2, 4};
static const struct enclave_model model = {
    .name = SPAN("digits"), .version = 300, .onnx = SPAN("PLANTED weights"), .json = SPAN("{}")};

/* The key of this very file, from the owner's seed. */
static const uint8_t *key_of(const uint8_t *owner, const uint8_t *file, size_t n)
{
	static uint8_t key[SEAL_KEY];
	struct err e = {0};
	struct sealed s;

	assert_int_equal(seal_read((struct span){file, n}, &s), 0);
	assert_int_equal(seal_file_key(owner, s.head, key, &e), 0);
	return key;
}

static int opens(const uint8_t *k, const uint8_t *file, size_t n)
{
	struct enclave_model m;
	struct err e = {0};
	uint8_t *plain;
	size_t plain_n;

	if (seal_open(k, (struct span){file, n}, &m, &plain, &plain_n, &e))
		return 0;
	seal_free(plain, plain_n);
	return 1;
}

static void comes_back(void **state)
{
	struct enclave_model m;
	struct err e = {0};
	uint8_t *file, *plain;
	size_t n, plain_n;

	(void)state;
	assert_int_equal(seal_make(seed, &model, &file, &n, &e), 0);
	assert_null(memmem(file, n, "PLANTED", 7));
	assert_int_equal(seal_open(key_of(seed, file, n), (struct span){file, n}, &m, &plain, &plain_n, &e),
			 0);
	assert_int_equal(m.version, 300);
	assert_int_equal(m.name.n, 6);
	assert_memory_equal(m.name.p, "digits", 6);
	assert_int_equal(m.onnx.n, model.onnx.n);
	assert_memory_equal(m.onnx.p, model.onnx.p, m.onnx.n);
	assert_int_equal(m.json.n, 2);
	assert_memory_equal(m.json.p, "{}", 2);
	seal_free(plain, plain_n);
	free(file);
}

static void no_byte_changes(void **state)
{
	uint8_t *file, *more, key[SEAL_KEY];
	struct err e = {0};
	size_t n;

	(void)state;
	assert_int_equal(seal_make(seed, &model, &file, &n, &e), 0);
	assert_false(opens(key_of(other_seed, file, n), file, n));
	memcpy(key, key_of(seed, file, n), SEAL_KEY);
	for (size_t i = 0; i < n; i++) {
		file[i] ^= 1;
		assert_false(opens(key, file, n));
		file[i] ^= 1;
		assert_false(opens(key, file, i));
	}
	assert_true(opens(key, file, n));
	more = calloc(1, n + 1);
	memcpy(more, file, n);
	assert_false(opens(key, more, n + 1));
	free(more);
	free(file);
}

/* What opens one version opens no other, and does not tell the owner's seed. */
static void a_key_for_each_file(void **state)
{
	uint8_t *file[2], key[SEAL_KEY], owner[SEAL_OWNER], secret[64];
	struct enclave_model m = model;
	struct err e = {0};
	struct sealed s;
	size_t n[2];

	(void)state;
	assert_int_equal(seal_make(seed, &m, &file[0], &n[0], &e), 0);
	assert_int_equal(seal_make(seed, &m, &file[1], &n[1], &e), 0);
	memcpy(key, key_of(seed, file[0], n[0]), SEAL_KEY);
	assert_true(opens(key, file[0], n[0]));
	assert_false(opens(key, file[1], n[1]));
	assert_false(opens(seed, file[0], n[0]));
	assert_int_equal(seal_read((struct span){file[0], n[0]}, &s), 0);
	assert_int_equal(seal_owner(seed, owner, secret, &e), 0);
	assert_memory_equal(s.owner.p, owner, SEAL_OWNER);
	free(file[0]);
	free(file[1]);
}

static void names_are_checked(void **state)
{
	struct enclave_model m = model;
	struct err e = {0};
	uint8_t *file;
	size_t n;

	(void)state;
	m.name.n = 0;
	assert_int_equal(seal_make(seed, &m, &file, &n, &e), -1);
	m.name = (struct span)SPAN("a\nb");
	assert_int_equal(seal_make(seed, &m, &file, &n, &e), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(comes_back),
	    cmocka_unit_test(no_byte_changes),
	    cmocka_unit_test(a_key_for_each_file),
	    cmocka_unit_test(names_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
