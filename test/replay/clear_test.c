/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions of the clear personality on a fake network: nothing that a wire or a peer does ends in a crash, a
 * hang or an inference that is not told; bytes are those of the plan; rules are kept. */
#include "test/replay/scenario.h"

#include "protocol/clear.h"

static int setup_clear(void **state)
{
	struct plan_options options = plan_defaults();
	struct err e = {0};

	graph = nets_conv_net(4, 2);
	return served_new_clear(&net, graph, &options, &e);
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

static unsigned clean(int deferred)
{
	struct request r[REQUESTS];
	struct program plan;
	struct world w;
	unsigned frames;

	clear_predict(&plan, net->plan);
	defaults(&w, deferred);
	begin(&w, r);
	world_settle(&w);
	for (int i = 0; i < REQUESTS; i++) {
		assert_int_equal(r[i].told, 1);
		assert_int_equal(r[i].i.err.code, ERR_NONE);
		assert_true(right(&r[i]));
		assert_int_equal(r[i].i.online.sent, r[i].i.batch * plan.online[P0]);
		assert_int_equal(r[i].i.online.received, r[i].i.batch * plan.online[P1]);
		assert_int_equal(r[i].i.offline.sent + r[i].i.offline.received + r[i].i.offline.provider, 0);
		assert_int_equal(r[i].i.round_trips, 1);
		free(r[i].i.result);
	}
	assert_int_equal(w.seen.count[FRAME_PAIR] + w.seen.count[FRAME_CREDIT],
			 0); /* no provider has a part in it */
	frames = w.frames;
	world_end(&w);
	return frames;
}

static void runs(void **state)
{
	clean(0);
	clean(1);
	clean(2);
}

static enum fate at_frame_kill(struct world *w, struct wire *wire, int side, struct packet **p)
{
	return w->frames == w->target ? KILL_WIRE : DELIVER;
}

static enum fate at_frame_drop(struct world *w, struct wire *wire, int side, struct packet **p)
{
	return w->frames == w->target ? DROP : DELIVER;
}

static uint64_t noise = 1;

static uint64_t random_word(void)
{
	noise = noise * 6364136223846793005u + 1442695040888963407u;
	return noise >> 20;
}

/* Some bytes of one frame, header or body; half of the time cut short or made longer. */
static enum fate at_frame_change(struct world *w, struct wire *wire, int side, struct packet **p)
{
	size_t body = (*p)->bytes - FRAME_HEADER, n;

	if (w->frames != w->target)
		return DELIVER;
	for (uint64_t i = 0; i <= random_word() % 4; i++)
		(*p)->data[random_word() %
			   (random_word() % 2 ? (*p)->bytes : FRAME_HEADER + (body ? 1 : 0))] =
		    (uint8_t)random_word();
	if (random_word() % 2) {
		n = body ? random_word() % body : 0;
		(*p)->bytes = FRAME_HEADER + n;
		memcpy((*p)->data, &(uint32_t){(uint32_t)n}, 4);
	}
	return DELIVER;
}

static enum fate at_frame_twice(struct world *w, struct wire *wire, int side, struct packet **p)
{
	if (w->frames == w->target) {
		struct packet *copy = malloc(sizeof(*copy) + (*p)->bytes);

		memcpy(copy, *p, sizeof(*copy) + (*p)->bytes);
		pipe_put(wire, side, copy);
	}
	return DELIVER;
}

static void at_every_frame(enum fate (*tamper)(struct world *, struct wire *, int, struct packet **),
			   int times, int may_be_wrong)
{
	for (int deferred = 0; deferred < 2; deferred++) {
		unsigned frames = clean(deferred);

		for (unsigned n = 0; n < frames * (unsigned)times; n++) {
			struct request r[REQUESTS];
			struct world w;

			defaults(&w, deferred);
			w.tamper = tamper;
			w.target = n % frames;
			begin(&w, r);
			finish(&w, r, may_be_wrong);
		}
	}
}

static void any_wire_dies_at_any_frame(void **state)
{
	at_every_frame(at_frame_kill, 1, 0);
}

static void any_frame_is_lost(void **state)
{
	at_every_frame(at_frame_drop, 1, 0);
}

static void any_frame_comes_twice(void **state)
{
	at_every_frame(at_frame_twice, 1, 0);
}

static void any_frame_is_changed(void **state)
{
	at_every_frame(at_frame_change, 12, 1);
}

static void errors_name_peer_and_step(void **state)
{
	struct request r[REQUESTS];
	struct world w;

	defaults(&w, 1);
	begin(&w, r);
	while (!w.seen.count[FRAME_BEGIN])
		world_step(&w);
	wire_lost(&w, &w.dm[0]);
	wire_lost(&w, &w.dm[1]);
	for (int i = 0; i < 3; i++)
		assert_non_null(strstr(r[i].i.err.text, "model-owner 2.example went away while"));
	finish(&w, r, 0);
}

/* ---- rules ---- */

static uint32_t take_one(void *ctx, const struct use *use, struct err *why)
{
	unsigned *left = ctx;

	if (use->n <= *left) {
		*left -= use->n;
		return use->n;
	}
	err_set(why, ERR_PEER, "today's quota is used up; ask again tomorrow");
	return 0;
}

/* Images beyond the quota are refused with the reason; the session goes on. */
static void rules_are_kept(void **state)
{
	unsigned left = 4;
	struct rules rules = {&left, NULL, take_one};
	struct request r[REQUESTS];
	struct world w;

	defaults(&w, 1);
	w.modeller_options.rules = &rules;
	begin(&w, r); /* 2, then 1, then 4 in parts of 3, and 1 of another */
	world_settle(&w);
	assert_int_equal(r[0].i.err.code + r[1].i.err.code, 0);
	assert_int_equal(r[2].i.err.code, ERR_PEER);
	assert_non_null(strstr(r[2].i.err.text, "quota"));
	left = 10;
	finish(&w, r, 0);
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
