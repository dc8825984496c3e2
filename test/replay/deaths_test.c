/* SPDX-License-Identifier: Apache-2.0 */
/* A wire or a party dies or falls silent, at every frame of a run. */
#include "test/replay/scenario.h"

/* ---- a wire or a party dies ---- */
static enum fate kill_wire_at(struct world *w, struct wire *wire, int side, struct packet **p)
{
	return w->frames == w->target ? KILL_WIRE : DELIVER;
}

static void any_wire_dies_at_any_frame(void **state)
{
	for (int deferred = 0; deferred < 2; deferred++) {
		unsigned frames = frames_of_a_clean_run(deferred);

		for (unsigned n = 0; n < frames; n++) {
			struct request r[REQUESTS];
			struct world w;

			world_defaults(&w);
			w.deferred = deferred;
			w.owner_options.inline_work = w.modeller_options.inline_work = deferred;
			w.tamper = kill_wire_at;
			w.target = n;
			begin(&w, r);
			finish(&w, r, 0);
		}
	}
}

static enum frame_role victim;
static void kill_party(struct world *w)
{
	if (victim == ROLE_C || victim == ROLE_M)
		wire_lost(w, &w->mc);
	for (size_t d = 0; d < (victim == ROLE_D ? 1 : 2); d++) {
		if (victim != ROLE_C)
			wire_lost(w, &w->dm[d]);
		if (victim != ROLE_M)
			wire_lost(w, &w->dc[d]);
	}
	if (victim == ROLE_C) {
		provider_free(w->provider);
		w->provider = NULL;
	}
}

static void restart(struct world *w)
{
	struct err e = {0};

	if (!w->provider)
		assert_int_equal(provider_new(&w->provider, &w->host, &w->provider_options, &e), 0);
	if (!w->mc.alive)
		wire_up(&w->mc, ROLE_M, 2, ROLE_C, 1);
	for (size_t d = 0; d < 2; d++) {
		if (!w->dm[d].alive)
			wire_up(&w->dm[d], ROLE_D, 10 + (int)d, ROLE_M, 2);
		if (!w->dc[d].alive)
			wire_up(&w->dc[d], ROLE_D, 10 + (int)d, ROLE_C, 1);
		if (!w->owner[d])
			assert_int_equal(owner_new(&w->owner[d], &w->host, &w->owner_options,
						   &w->dm[d].end[0].channel, &w->dc[d].end[0].channel, 7, &e),
					 0);
	}
}

/* Killed at every frame; the errors name the dead, the bystander is served, and after a restart all is
 * well. */
static void dies_and_restarts(enum frame_role role, const char *name)
{
	unsigned frames = frames_of_a_clean_run(0);

	victim = role;
	for (unsigned n = 1; n < frames; n++) {
		struct request r[REQUESTS], after;
		struct world w;

		world_defaults(&w);
		begin(&w, r);
		while (w.frames < n)
			world_step(&w);
		kill_party(&w);
		world_settle(&w);
		for (int i = 0; i < REQUESTS; i++) {
			if (role == ROLE_D && i == 3) /* not a victim */
				continue;
			assert_int_equal(r[i].told, 1); /* at once, without a deadline */
			if (r[i].i.err.code && role != ROLE_D) {
				assert_non_null(strstr(r[i].i.err.text, name));
				assert_non_null(strstr(r[i].i.err.text, "went away"));
				assert_true(r[i].i.err.peer[0]);
			}
		}
		restart(&w);
		for (size_t d = 0; d < 2; d++) {
			ask(&w, d, &after, 3);
			world_settle(&w);
			assert_int_equal(after.told, 1);
			assert_int_equal(after.i.err.code, ERR_NONE);
			assert_true(right(&after));
			free(after.i.result);
		}
		finish(&w, r, 0);
	}
}

static void the_provider_dies(void **state)
{
	dies_and_restarts(ROLE_C, "provider 1.example");
}

static void the_model_owner_dies(void **state)
{
	dies_and_restarts(ROLE_M, "model-owner 2.example");
}

static void a_data_owner_dies(void **state)
{
	dies_and_restarts(ROLE_D, "");
}

static void the_error_names_peer_and_step(void **state)
{
	struct request r[REQUESTS];
	char expected[64];
	struct world w;

	world_defaults(&w);
	begin(&w, r);
	while (!w.seen.count[FRAME_BEGIN])
		world_step(&w);
	victim = ROLE_M;
	kill_party(&w);
	snprintf(expected, sizeof(expected), "went away while waiting for message 2 of %u",
		 net->program->n_messages);
	assert_non_null(strstr(r[0].i.err.text, "model-owner 2.example went away"));
	assert_non_null(strstr(r[0].i.err.text, expected));
	finish(&w, r, 0);
}

/* ---- silence ---- */
static enum fate silence(struct world *w, struct wire *wire, int side, struct packet **p)
{
	return w->frames >= w->target && wire->end[side].channel.self == victim ? DROP : DELIVER;
}

/* A party that lives but says nothing more: every wait ends by its deadline. */
static void every_wait_has_a_deadline(void **state)
{
	static const enum frame_role roles[] = {ROLE_D, ROLE_M, ROLE_C};
	unsigned frames = frames_of_a_clean_run(0);

	for (size_t role = 0; role < 3; role++)
		for (unsigned n = 0; n < frames; n += 2) {
			struct request r[REQUESTS];
			struct world w;

			victim = roles[role];
			world_defaults(&w);
			w.tamper = silence;
			w.target = n;
			begin(&w, r);
			world_settle(&w);
			world_sleep(&w, 2 * w.owner_options.connect_ms + w.owner_options.step_ms + 200);
			for (int i = 0; i < REQUESTS; i++)
				assert_int_equal(r[i].told, 1);
			finish(&w, r, 0);
		}
}

static enum fate no_pair(struct world *w, struct wire *wire, int side, struct packet **p)
{
	return (*p)->data[4] == FRAME_PAIR && wire->end[side].channel.self == ROLE_D ? DROP : DELIVER;
}

static void a_lone_party_is_sent_home(void **state)
{
	struct provider_status s;
	struct request r[REQUESTS];
	struct world w;

	world_defaults(&w);
	w.tamper = no_pair;
	w.owner_options.connect_ms = w.modeller_options.connect_ms = 100000;
	begin(&w, r);
	world_settle(&w);
	provider_status(w.provider, &s);
	assert_int_equal(s.waiting, 2); /* the model owner's ends */
	world_sleep(&w, w.provider_options.connect_ms - 100);
	assert_int_equal(r[0].told, 0);
	world_sleep(&w, 200);
	provider_status(w.provider, &s);
	assert_int_equal(s.waiting, 0);
	assert_non_null(strstr(r[0].i.err.text, "did not come to the provider within 2000 ms"));
	finish(&w, r, 0);
}

/* ---- limits ---- */
static void the_provider_has_quotas(void **state)
{
	struct request r[REQUESTS];
	struct world w;

	world_defaults(&w);
	w.provider_options.mask_bytes = 64; /* no mask fits */
	begin(&w, r);
	world_settle(&w);
	assert_int_equal(r[0].told, 1);
	assert_non_null(strstr(r[0].i.err.text, "mask is larger"));
	finish(&w, r, 0);
	world_defaults(&w);
	w.provider_options.sessions = 0; /* of all; PAIR is refused */
	begin(&w, r);
	world_settle(&w);
	assert_non_null(strstr(r[0].i.err.text, "all the 0 sessions"));
	finish(&w, r, 0);
}

static void memory_limits_are_said(void **state)
{
	struct request r[REQUESTS];
	struct world w;

	world_defaults(&w);
	w.owner_options.pool_bytes = 100;
	begin(&w, r);
	world_settle(&w);
	assert_non_null(strstr(r[0].i.err.text, "raise pool_memory"));
	finish(&w, r, 0);
	world_defaults(&w);
	w.modeller_options.pool_bytes = 100;
	begin(&w, r);
	world_settle(&w);
	assert_non_null(strstr(r[0].i.err.text, "that the model owner allows a session"));
	finish(&w, r, 0);
}

/* Sessions end in the middle of jobs: the jobs free what is left. */
static void the_end_comes_during_jobs(void **state)
{
	unsigned frames = frames_of_a_clean_run(1);

	for (unsigned n = 0; n < frames; n++) {
		struct request r[REQUESTS];
		struct world w;

		world_defaults(&w);
		w.deferred = 1 + n % 2;
		w.owner_options.inline_work = w.modeller_options.inline_work = 1;
		begin(&w, r);
		while (w.frames < n && world_step(&w))
			;
		world_end(&w);
		for (int i = 0; i < REQUESTS; i++) {
			assert_int_equal(r[i].told, 1);
			free(r[i].i.result);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(any_wire_dies_at_any_frame),    cmocka_unit_test(the_provider_dies),
	    cmocka_unit_test(the_model_owner_dies),	     cmocka_unit_test(a_data_owner_dies),
	    cmocka_unit_test(the_error_names_peer_and_step), cmocka_unit_test(every_wait_has_a_deadline),
	    cmocka_unit_test(a_lone_party_is_sent_home),     cmocka_unit_test(the_provider_has_quotas),
	    cmocka_unit_test(memory_limits_are_said),	     cmocka_unit_test(the_end_comes_during_jobs),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
