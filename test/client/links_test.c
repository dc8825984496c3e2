/* SPDX-License-Identifier: Apache-2.0 */
/* What a link makes of an inference, and the batch that suits it. */
#include "test/test.h"

#include <string.h>

#include "client/links.h"

static const struct link_load y_latency = {3, 4265, 2663, 2660, 388530},
			      y_bandwidth = {5, 4573, 2971, 2660, 55230};

static struct link link_of(const char *name)
{
	struct link link;
	struct err e = {0};

	assert_int_equal(link_find(&link, name, NULL, &e), 0);
	return link;
}

/* Three round trips of 40 ms and 6928 bytes at 50 MB/s. */
static void test_online(void **state)
{
	struct link wan = link_of("wan");
	double seconds = link_online(&wan, 3, 4265, 2663);

	assert_true(seconds > 0.1201385 && seconds < 0.1201386);
	assert_true(link_rate(&wan, &y_latency, 1) * seconds > 0.999999 &&
		    link_rate(&wan, &y_latency, 1) * seconds < 1.000001);
}

/* More images share the round trips, until corrections fill the provider's link: 50 MB/s ÷ 388530 = 128.7. */
static void test_batch(void **state)
{
	struct link wan = link_of("wan"), lan = link_of("lan");
	size_t batch = link_batch(&wan, &y_latency, 128);

	assert_int_equal(batch, 16);
	assert_true(link_rate(&wan, &y_latency, 16) > 0.9 * 128.6);
	assert_true(link_rate(&wan, &y_latency, 8) < 0.9 * 128.6);
	assert_true(link_rate(&wan, &y_latency, 128) < 128.7);
	assert_int_equal(link_batch(&wan, &y_bandwidth, 128), 128); /* a seventh of the corrections */
	assert_int_equal(link_batch(&wan, &y_bandwidth, 100), 64);
	assert_true(link_batch(&lan, &y_latency, 128) <= batch);
	assert_int_equal(link_batch(&wan, &y_latency, 1), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_online),
	    cmocka_unit_test(test_batch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
