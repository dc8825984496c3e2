/* SPDX-License-Identifier: Apache-2.0 */
/* --optimise auto: the choice, from real plans. test/sys/auto.sh has live links. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "daemon/entry.h"
#include "nn/graph.h"

#include <sodium.h>

#define MODEL "test/models/digits_conv.onnx"

static struct plan *plans[2];
static struct program *programs[2];

static int make(void **state)
{
	struct err e = {0};
	struct graph *g;

	if (sodium_init() < 0 || graph_load(&g, MODEL, &e))
		return -1;
	for (int o = PLAN_LATENCY; o <= PLAN_BANDWIDTH; o++) {
		struct plan_options options = plan_defaults();
		struct weights *weights = NULL;
		struct bounds *bounds = NULL;

		options.optimise = o;
		if (plan_make(&plans[o], &weights, &bounds, g, &options, &e) ||
		    program_new(&programs[o], &plans[o]->tape, &e))
			return -1;
		weights_free(weights);
		bounds_free(bounds);
	}
	graph_free(g);
	return 0;
}

static int drop(void **state)
{
	for (int o = PLAN_LATENCY; o <= PLAN_BANDWIDTH; o++) {
		program_free(programs[o]);
		plan_free(plans[o]);
	}
	return 0;
}

/* Tickets a second of a link with so many bytes a second. */
static double tickets(int o, double byte_rate)
{
	return byte_rate / (double)(programs[o]->delta + programs[o]->corrections);
}

/* What it says of the other mode is what a plan in that mode says. */
static void test_other_mode(void **state)
{
	enum plan_optimise better;
	double seconds[2];
	struct err e = {0};

	for (int o = PLAN_LATENCY; o <= PLAN_BANDWIDTH; o++) {
		assert_int_equal(
		    auto_weigh(&better, seconds, plans[o], programs[o], 0.04, tickets(o, 5e7), &e), 0);
		assert_true(seconds[0] == auto_seconds(programs[o], 0.04,
						       tickets(o, 5e7) * (double)(programs[o]->delta +
										  programs[o]->corrections)));
		assert_true(seconds[1] > auto_seconds(programs[!o], 0.04, 5e7) * 0.999999);
		assert_true(seconds[1] < auto_seconds(programs[!o], 0.04, 5e7) * 1.000001);
	}
}

/* The same whatever is in use: few round trips on a wide and long link, few bytes on a narrow one. */
static void test_choice(void **state)
{
	enum plan_optimise better;
	double seconds[2];
	struct err e = {0};

	for (int o = PLAN_LATENCY; o <= PLAN_BANDWIDTH; o++) {
		assert_int_equal(
		    auto_weigh(&better, seconds, plans[o], programs[o], 0.08, tickets(o, 5e7), &e), 0);
		assert_int_equal(better, PLAN_LATENCY);
		assert_int_equal(
		    auto_weigh(&better, seconds, plans[o], programs[o], 0.06, tickets(o, 1.25e6), &e), 0);
		assert_int_equal(better, PLAN_BANDWIDTH);
	}
}

/* Nearly alike: what is in use stays. */
static void test_stays(void **state)
{
	const struct program *l = programs[PLAN_LATENCY], *b = programs[PLAN_BANDWIDTH];
	double bytes = (double)(l->delta + l->corrections) - (double)(b->delta + b->corrections),
	       rate = bytes / (b->round_trips - l->round_trips) / 0.05; /* where both take as long at 50 ms */
	enum plan_optimise better;
	double seconds[2];
	struct err e = {0};

	for (int o = PLAN_LATENCY; o <= PLAN_BANDWIDTH; o++) {
		assert_int_equal(
		    auto_weigh(&better, seconds, plans[o], programs[o], 0.05, tickets(o, rate), &e), 0);
		assert_int_equal(better, o);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_other_mode),
	    cmocka_unit_test(test_choice),
	    cmocka_unit_test(test_stays),
	};

	return cmocka_run_group_tests(tests, make, drop);
}
