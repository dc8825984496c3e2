/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions of the clear personality on a fake network: nothing that a wire or a peer does ends in a crash, a
 * hang or an inference that is not told; bytes are those of the plan; rules are kept. */
#include "test/replay/pair.h"

#include "protocol/clear.h"

static int setup_clear(void **state)
{
	struct plan_options options = plan_defaults();
	struct err e = {0};

	graph = nets_conv_net(4, 2);
	return served_new(&net, PERSONALITY_CLEAR, graph, &options, -1, &e);
}

static void defaults(struct world *w, int deferred)
{
	world_defaults(w);
	w->deferred = deferred;
	w->owner_options.personality = PERSONALITY_CLEAR;
	w->owner_options.max_batch = w->modeller_options.max_batch =
	    3; /* the batch of four is run in parts */
	if (deferred)
		w->modeller_options.inline_work = 1; /* on a worker */
}

static void as_planned(const struct inference *i)
{
	struct program plan;

	clear_predict(&plan, net->plan);
	assert_int_equal(i->online.sent, i->batch * plan.online[P0]);
	assert_int_equal(i->online.received, i->batch * plan.online[P1]);
	assert_int_equal(i->offline.sent + i->offline.received + i->offline.provider, 0);
	assert_int_equal(i->round_trips, 1);
}

/* Neither end takes more memory for pictures than it was allowed. */
static void memory_is_kept(void **state)
{
	size_t image = shape_size(net->plan->input) + clear_bytes(net->plan);

	assert_int_equal(clear_batch(net->plan, 100, 7 * image), 7);
	assert_int_equal(clear_batch(net->plan, 3, 7 * image), 3);
	assert_int_equal(clear_batch(net->plan, 3, image - 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(runs),
	    cmocka_unit_test(sessions_rest),
	    cmocka_unit_test(no_image_is_refused),
	    cmocka_unit_test(any_wire_dies_at_any_frame),
	    cmocka_unit_test(any_frame_is_lost),
	    cmocka_unit_test(any_frame_comes_twice),
	    cmocka_unit_test(any_frame_is_changed),
	    cmocka_unit_test(errors_name_peer_and_step),
	    cmocka_unit_test(rules_are_kept),
	    cmocka_unit_test(memory_is_kept),
	};

	return cmocka_run_group_tests(tests, setup_clear, teardown);
}
