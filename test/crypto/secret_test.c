/* SPDX-License-Identifier: Apache-2.0 */
#include "test/test.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crypto/secret.h"

static void takes(void **ctx)
{
	struct secret *s = secret_new(1000, NULL);
	uint8_t *a = secret_take(s, 1), *b = secret_take(s, 300);

	assert_non_null(a);
	assert_non_null(b);
	assert_int_equal((uintptr_t)a % 64, 0);
	assert_int_equal((uintptr_t)b % 64, 0);
	assert_true(b >= a + 1);
	assert_null(secret_take(s, 1 << 20));
	memset(b, 7, 300);
	secret_reset(s);
	assert_ptr_equal(secret_take(s, 1), a);
	for (int i = 0; i < 300; i++)
		assert_int_equal(b[i], 0); /* wiped */
	secret_free(s);
	secret_free(NULL);
	assert_null(secret_new(SIZE_MAX - 5, NULL));
}

/* A touch beyond the usable bytes kills the process that does it. */
static int dies(long offset)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		struct secret *s = secret_new(4096 - 64, NULL);
		volatile uint8_t *p = secret_take(s, 64);

		signal(SIGSEGV, SIG_DFL);
		signal(SIGBUS, SIG_DFL);
		p[offset] = 1;
		_exit(0);
	}
	waitpid(child, &status, 0);
	return WIFSIGNALED(status) || WEXITSTATUS(status);
}

static void guards(void **ctx)
{
	assert_false(dies(0));
	assert_true(dies(-1));
	assert_true(dies(4096));
}

static void wipes(void **ctx)
{
	uint8_t b[32];

	memset(b, 9, sizeof(b));
	secret_wipe(b + 1, 30);
	assert_int_equal(b[0], 9);
	for (int i = 1; i < 31; i++)
		assert_int_equal(b[i], 0);
	assert_int_equal(b[31], 9);
	secret_wipe(NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(takes), cmocka_unit_test(guards),
					   cmocka_unit_test(wipes)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
