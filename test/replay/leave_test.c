/* SPDX-License-Identifier: Apache-2.0 */
/* The model owner asks for the end of its sessions at every moment of a run: nothing under way fails, and the
 * session then ends in order on all three sides. */
#include "test/replay/scenario.h"

static unsigned asked;

static enum fate leave_at(struct world *w, struct wire *wire, int side, struct packet **p)
{
	if (w->frames != w->target)
		return DELIVER;
	for (size_t s = 0; s < WORLD_SESSIONS; s++)
		if (w->sessions[s].m) {
			modeller_leave(w->sessions[s].m);
			asked++;
		}
	return DELIVER;
}

static unsigned sessions(const struct world *w)
{
	unsigned n = 0;

	for (size_t s = 0; s < WORLD_SESSIONS; s++)
		n += w->sessions[s].m != NULL;
	return n;
}

/* What the data owner's daemon does when a session has no inference left. */
static unsigned leave_those_who_should(struct world *w)
{
	unsigned n = 0;

	for (size_t d = 0; d < w->n_owners; d++)
		if (w->owner[d] && owner_leaving(w->owner[d])) {
			owner_free(w->owner[d]);
			w->owner[d] = NULL;
			n++;
		}
	world_settle(w);
	return n;
}

static void leave_while_under_way(int deferred)
{
	unsigned frames = frames_of_a_clean_run(deferred);

	for (unsigned target = 1; target <= frames; target++) {
		struct provider_status provider;
		struct request r[REQUESTS];
		struct world w;
		unsigned left;

		world_defaults(&w);
		w.deferred = deferred;
		w.tamper = leave_at;
		w.target = target;
		asked = 0;
		begin(&w, r);
		world_settle(&w);
		for (int i = 0; i < REQUESTS; i++) {
			if (r[i].told != 1 || r[i].i.err.code)
				fail_msg("frame %u, request %d: %s", target, i, r[i].i.err.text);
			assert_true(right(&r[i]));
			free(r[i].i.result);
		}
		left = leave_those_who_should(&w);
		assert_int_equal(left, asked);
		assert_int_equal(sessions(&w), 2 - left);
		assert_int_equal(w.modeller_err.code, ERR_NONE);
		provider_status(w.provider, &provider);
		assert_int_equal(provider.sessions, 2 - left);
		world_end(&w);
	}
}

static void at_every_frame(void **state)
{
	leave_while_under_way(0);
}

static void at_every_frame_with_jobs_late(void **state)
{
	leave_while_under_way(1);
}

/* A session that is over has nobody to ask. */
static void after_the_end(void **state)
{
	struct err e = {0};
	struct world w;

	world_defaults(&w);
	assert_int_equal(world_start(&w, net, 1, &e), 0);
	world_settle(&w);
	assert_int_equal(sessions(&w), 1);
	modeller_leave(w.sessions[0].m);
	modeller_leave(w.sessions[0].m); /* twice is once */
	world_settle(&w);
	assert_true(owner_leaving(w.owner[0]));
	modeller_lost(w.sessions[0].m, &w.dm[0].end[1].channel, "gone");
	modeller_leave(w.sessions[0].m);
	world_end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(at_every_frame),
	    cmocka_unit_test(at_every_frame_with_jobs_late),
	    cmocka_unit_test(after_the_end),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
