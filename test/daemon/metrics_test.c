/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics as Prometheus reads them: kinds, labels and their escapes, histograms, what a role has. */
#include "test/test.h"

#include <stdio.h>

#include "daemon/metrics.h"

static void expect(const char *wanted, int there)
{
	size_t n;
	char *text = metrics_text(&n);

	assert_non_null(text);
	assert_int_equal(strlen(text), n);
	if ((strstr(text, wanted) != NULL) != there)
		fail_msg("%s \"%s\" in:\n%s", there ? "no" : "there is", wanted, text);
	free(text);
}

static void test_kinds(void **state)
{
	metrics_open('D');
	expect("# TYPE obscura_requests_total counter\nobscura_requests_total 0\n", 1);
	metrics_add(METRIC_requests_total, 2, METRIC_NO_LABELS);
	metrics_add(METRIC_requests_total, 1, METRIC_NO_LABELS);
	expect("\nobscura_requests_total 3\n", 1);
	metrics_set(METRIC_ready, 1, METRIC_NO_LABELS);
	metrics_set(METRIC_ready, 0, METRIC_NO_LABELS);
	expect("# TYPE obscura_ready gauge\nobscura_ready 0\n", 1);
	metrics_add(METRIC_bytes_total, 12345678901234.0, METRIC_LABELS("online", "sent"));
	expect("\nobscura_bytes_total{phase=\"online\",direction=\"sent\"} 12345678901234\n", 1);
}

static void test_histogram(void **state)
{
	metrics_open('D');
	metrics_observe(METRIC_online_seconds, 0.0005,
			METRIC_LABELS("x")); /* a bound belongs to its bucket */
	metrics_observe(METRIC_online_seconds, 0.3, METRIC_LABELS("x"));
	metrics_observe(METRIC_online_seconds, 99, METRIC_LABELS("x"));
	expect("# TYPE obscura_online_seconds histogram\n"
	       "obscura_online_seconds_bucket{model=\"x\",le=\"0.0005\"} 1\n",
	       1);
	expect("obscura_online_seconds_bucket{model=\"x\",le=\"0.25\"} 1\n", 1);
	expect("obscura_online_seconds_bucket{model=\"x\",le=\"0.5\"} 2\n", 1);
	expect("obscura_online_seconds_bucket{model=\"x\",le=\"30\"} 2\n", 1);
	expect("obscura_online_seconds_bucket{model=\"x\",le=\"+Inf\"} 3\n"
	       "obscura_online_seconds_sum{model=\"x\"} 99.3005\n"
	       "obscura_online_seconds_count{model=\"x\"} 3\n",
	       1);
	metrics_observe(METRIC_request_seconds, 1, METRIC_NO_LABELS);
	expect("obscura_request_seconds_bucket{le=\"+Inf\"} 1\nobscura_request_seconds_sum 1\n"
	       "obscura_request_seconds_count 1\n",
	       1);
}

/* Names come from other hosts. */
static void test_escapes(void **state)
{
	char longest[2000];

	metrics_open('D');
	metrics_set(METRIC_pool_tickets, 1, METRIC_LABELS("a\"b\\c\nd"));
	expect("obscura_pool_tickets{model=\"a\\\"b\\\\c\\nd\"} 1\n", 1);
	memset(longest, '"', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = 0;
	metrics_set(METRIC_pool_tickets, 7, METRIC_LABELS(longest));
	expect("\\\"\"} 7\n", 1);
	metrics_set(METRIC_bytes_total, 8, METRIC_LABELS(longest, longest));
	expect("\\\"\"} 8\n", 1);
}

/* Whoever invents names cannot fill the memory. */
static void test_limit(void **state)
{
	char name[32];
	size_t n, lines = 0;
	char *text;

	metrics_open('D');
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "model%d", i);
		metrics_set(METRIC_pool_tickets, i, METRIC_LABELS(name));
	}
	text = metrics_text(&n);
	for (char *at = text; (at = strstr(at, "obscura_pool_tickets{")); at++)
		lines++;
	free(text);
	assert_int_equal(lines, 256);
	metrics_clear(METRIC_pool_tickets);
	expect("obscura_pool_tickets", 0);
	metrics_set(METRIC_pool_tickets, 5, METRIC_LABELS("again"));
	expect("obscura_pool_tickets{model=\"again\"} 5\n", 1);
}

static void test_roles(void **state)
{
	metrics_open('C');
	expect("obscura_tickets_bytes_total 0\n", 1);
	expect("obscura_requests_total", 0);
	metrics_add(METRIC_requests_total, 1, METRIC_NO_LABELS); /* counted, but not this role's */
	expect("obscura_requests_total", 0);
	metrics_open('D');
	expect("obscura_requests_total 0\n", 1);
	expect("obscura_tickets_bytes_total", 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_kinds), cmocka_unit_test(test_histogram), cmocka_unit_test(test_escapes),
	    cmocka_unit_test(test_limit), cmocka_unit_test(test_roles),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
