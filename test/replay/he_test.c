/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions of the he personality on a fake network: nothing that a wire or a peer does ends in a crash, a
 * hang or an inference that is not told; keys travel once; rules are kept. */
#include "test/replay/pair.h"

#include "protocol/he.h"

static int setup_he(void **state)
{
	struct plan_options options = plan_defaults();
	struct err e = {0};

	graph = nets_conv_net(4, 2);
	return served_new(&net, PERSONALITY_HE, graph, &options, HE_S, &e);
}

static int offline; /* with tickets */

static void defaults(struct world *w, int deferred)
{
	world_defaults(w);
	w->deferred = deferred;
	w->owner_options.personality = PERSONALITY_HE;
	w->owner_options.he_offline = w->modeller_options.he_offline = offline;
	/* the batch of four is run in parts */
	w->owner_options.max_batch = w->modeller_options.max_batch = 3;
}

static void as_planned(const struct inference *i)
{
	const struct he_plan *hp = net->he_plan;
	size_t up = 0, down = 0;

	for (uint16_t level = 0; level < hp->levels; level++) {
		up += he_masked_up(hp, level);
		down += he_masked_down(hp, level);
	}
	assert_int_equal(i->online.sent, i->batch * (offline ? up : hp->total_up));
	assert_int_equal(i->online.received, i->batch * (offline ? down : hp->total_down));
	assert_int_equal(i->offline.sent, offline ? i->batch * he_ticket_request(hp) : 0);
	assert_int_equal(i->offline.received, offline ? i->batch * he_ticket_answer(hp) : 0);
	assert_int_equal(i->round_trips, hp->levels);
}

/* The key is sent in the first session of this process with this model owner, and only announced in later
 * ones. */
static void keys_travel_once(void **state)
{
	unsigned keys[2];

	for (int i = 0; i < 2; i++) {
		struct request r[REQUESTS];
		struct world w;

		defaults(&w, 0);
		begin(&w, r);
		finish(&w, r, 0);
		keys[i] = w.seen.count[FRAME_HE_KEY];
	}
	assert_true(keys[0] >= 2 && keys[1] == 2); /* two sessions: a digest each */
}

/* All of that with tickets made ahead. */
static void with_tickets(void **state)
{
	offline = 1;
	runs(state);
	at_every_frame(at_frame_kill, 1, 0);
	at_every_frame(at_frame_drop, 1, 0);
	at_every_frame(at_frame_twice, 1, 0);
	at_every_frame(at_frame_change, 6, 1);
	errors_name_peer_and_step(state);
	offline = 0;
}

/* The pool is filled while nothing is asked, and no ticket serves twice. */
static void the_pool_is_filled(void **state)
{
	struct request r[REQUESTS];
	struct pool_status pool;
	struct world w;

	offline = 1;
	defaults(&w, 1);
	begin(&w, r); /* pool_high 3 */
	world_settle(&w);
	owner_pool(w.owner[0], &pool);
	assert_int_equal(pool.depth, 3);
	assert_int_equal(pool.burnt, 7); /* 2 + 1 + 4 images */
	assert_int_equal(pool.made, 10);
	finish(&w, r, 0);
	offline = 0;
}

/* A model owner's plan may ask for any message up to a GiB: what a data owner gives it is its own to say. */
static void memory_is_kept(void **state)
{
	struct request r[REQUESTS];
	struct world w;

	defaults(&w, 0);
	w.owner_options.pool_bytes = he_longest(net->he_plan, 1);
	begin(&w, r);
	world_settle(&w);
	assert_int_equal(r[0].i.err.code, ERR_ENV);
	assert_non_null(strstr(r[0].i.err.text, "raise pool_memory"));
	finish(&w, r, 0);
}

/* ---- plans ---- */

static void widths_of_strangers(void **state)
{
	const struct he_plan *hp = net->he_plan;
	struct he_width right_ones[8], wrong;
	struct he_plan *read;
	struct err e = {0};

	for (uint16_t i = 0; i < hp->n_steps; i++)
		right_ones[i] = hp->steps[i].width;
	assert_int_equal(he_plan_read(&read, net->plan, hp->set, right_ones, hp->n_steps, &e), 0);
	he_plan_free(read);
	assert_int_equal(he_plan_read(&read, net->plan, hp->set, right_ones, hp->n_steps - 1u, &e), -1);
	assert_int_equal(he_plan_read(&read, net->plan, HE_SETS, right_ones, hp->n_steps, &e), -1);
	for (int byte = 0; byte < HE_WIDTH_BYTES; byte++)
		for (unsigned v = 0; v < 256; v++) {
			uint8_t packed[HE_WIDTH_BYTES];

			he_width_pack(&right_ones[0], packed);
			packed[byte] = (uint8_t)v;
			right_ones[0] = wrong = he_width_unpack(packed);
			if (he_plan_read(&read, net->plan, hp->set, right_ones, hp->n_steps, &e) == 0) {
				assert_true(wrong.k && wrong.k <= HE_K_MAX && wrong.limbs &&
					    wrong.limbs <= 2 && wrong.up && wrong.up <= HE_UP_MAX &&
					    wrong.cut < wrong.to && wrong.small < 2 && wrong.filters);
				assert_true(wrong.to <= he_open_max(he_width_params(hp->set, &wrong)));
				he_plan_free(read);
			}
			right_ones[0] = hp->steps[0].width;
		}
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
	    cmocka_unit_test(keys_travel_once),
	    cmocka_unit_test(errors_name_peer_and_step),
	    cmocka_unit_test(with_tickets),
	    cmocka_unit_test(the_pool_is_filled),
	    cmocka_unit_test(rules_are_kept),
	    cmocka_unit_test(memory_is_kept),
	    cmocka_unit_test(widths_of_strangers),
	};

	return cmocka_run_group_tests(tests, setup_he, teardown);
}
