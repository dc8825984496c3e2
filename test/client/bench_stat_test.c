/* SPDX-License-Identifier: Apache-2.0 */
/* Medians and percentiles of lists whose order statistics are known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "client/bench_stat.h"

/* n, n-1, …, 1: the i-th smallest is i. */
static struct bench_stat of_first(size_t n)
{
	double x[1000];

	for (size_t i = 0; i < n; i++)
		x[i] = (double)(n - i);
	return bench_stat(x, n);
}

static void check(struct bench_stat s, size_t n, double median, double p99)
{
	assert_int_equal(s.n, n);
	assert_true(s.least == 1);
	assert_true(s.most == (double)n);
	assert_true(s.median == median);
	assert_true(s.p99 == p99);
	assert_true(s.mean > (double)(n + 1) / 2 - 1e-9 && s.mean < (double)(n + 1) / 2 + 1e-9);
}

static void test_known(void **state)
{
	check(of_first(1), 1, 1, 1);
	check(of_first(2), 2, 1, 2);
	check(of_first(3), 3, 2, 3);
	check(of_first(99), 99, 50, 99);
	check(of_first(100), 100, 50, 99);
	check(of_first(101), 101, 51, 100);
	check(of_first(1000), 1000, 500, 990);
}

/* One late answer in a hundred is not the 99th percentile; two are. */
static void test_outliers(void **state)
{
	double x[100];

	for (int late = 1; late <= 2; late++) {
		for (int i = 0; i < 100; i++)
			x[i] = i < late ? 50 : 2;
		assert_true(bench_stat(x, 100).p99 == (late == 1 ? 2 : 50));
	}
}

static void test_sorts_and_repeats(void **state)
{
	double x[] = {3, -1, 3, 0.5, 3};
	struct bench_stat s = bench_stat(x, 5);

	assert_true(s.least == -1 && s.median == 3 && s.most == 3 && s.p99 == 3);
	assert_true(x[0] == -1 && x[1] == 0.5 && x[2] == 3);
}

static void test_none(void **state)
{
	struct bench_stat s = bench_stat(NULL, 0);

	assert_true(s.n == 0 && s.median == 0 && s.p99 == 0 && s.mean == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_known),
	    cmocka_unit_test(test_outliers),
	    cmocka_unit_test(test_sorts_and_repeats),
	    cmocka_unit_test(test_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
