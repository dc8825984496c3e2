/* SPDX-License-Identifier: Apache-2.0 */
/* When the loop polls: after a message has left, until the answer or the budget's end; less and less where
 * answers are late. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "daemon/spin.h"

static void answered(void **state)
{
	struct spin s = {.budget_us = 50};

	assert_false(spin_goes_on(&s, 1000));
	for (uint64_t now = 1000; now < 2000; now += 100) {
		spin_sent(&s, now);
		assert_true(spin_goes_on(&s, now + 49));
		spin_received(&s);
		assert_false(spin_goes_on(&s, now + 49));
	}
	assert_int_equal(s.skip, 0);
}

static void late(void **state)
{
	struct spin s = {.budget_us = 50};
	unsigned polled = 0;

	for (uint64_t now = 1000, i = 0; i < 10000; i++, now += 1000) {
		spin_sent(&s, now);
		polled += spin_goes_on(&s, now + 1) != 0;
		assert_false(spin_goes_on(&s, now + 50));
		spin_received(&s);
	}
	assert_in_range(polled, SPIN_MISSES + 1, 30);
	while (s.skip)
		spin_sent(&s, 0);
	spin_sent(&s, 100000000); /* one answer in time, and there is trust again */
	spin_received(&s);
	assert_int_equal(s.misses, 0);
}

static void off(void **state)
{
	struct spin s = {0};

	spin_sent(&s, 1000);
	assert_false(spin_goes_on(&s, 1000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(answered),
	    cmocka_unit_test(late),
	    cmocka_unit_test(off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
