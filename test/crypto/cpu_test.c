/* SPDX-License-Identifier: Apache-2.0 */
#include "test/test.h"

#include "crypto/cpu.h"

static void selects(void **ctx)
{
	struct err e = {0};

	assert_int_equal(cpu_select("ref", &e), 0);
	assert_int_equal(cpu_tier(), CPU_REF);
	assert_int_equal(cpu_select("auto", &e), 0);
	assert_int_equal(cpu_tier(), cpu_best());
	assert_int_equal(cpu_select("sse9", &e), -1);
	assert_int_equal(e.code, ERR_USAGE);
	assert_non_null(strstr(e.text, "sse9"));
	assert_int_equal(cpu_tier(), cpu_best());
	for (int tier = cpu_best() + 1; tier < CPU_TIERS; tier++) {
		e = (struct err){0};
		assert_int_equal(cpu_select(cpu_name(tier), &e), -1);
		assert_int_equal(e.code, ERR_ENV);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(selects)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
