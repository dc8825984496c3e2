/* SPDX-License-Identifier: Apache-2.0 */
/* test/replay/pair.h — what sessions of a personality without a provider must stand, whichever it is: any
 * wire that dies, any frame that is lost, doubled or changed. The test that includes this says how its world
 * is set up, and what an inference must have cost. */
#ifndef OBSCURA_TEST_REPLAY_PAIR_H
#define OBSCURA_TEST_REPLAY_PAIR_H

#include "test/replay/scenario.h"

static void defaults(struct world *w, int deferred);
static void as_planned(const struct inference *i);

static unsigned clean(int deferred)
{
	struct world w;
	unsigned frames;

	defaults(&w, deferred);
	clean_run(&w, as_planned);
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

/* Between inferences nothing has to look at the clock. */
static void sessions_rest(void **state)
{
	struct world w;
	struct request r[REQUESTS];

	defaults(&w, 0);
	begin(&w, r);
	assert_false(owner_rests(w.owner[0]));
	while (!w.seen.count[FRAME_BEGIN])
		world_step(&w);
	assert_true(!modeller_rests(w.sessions[0].m) || !modeller_rests(w.sessions[1].m));
	world_settle(&w);
	assert_true(world_rests(&w));
	finish(&w, r, 0);
}

static void no_image_is_refused(void **state)
{
	struct world w;
	struct request r[REQUESTS], none;

	defaults(&w, 0);
	begin(&w, r);
	ask(&w, 0, &none, 0);
	assert_int_equal(none.told, 1);
	assert_int_equal(none.i.err.code, ERR_USAGE);
	finish(&w, r, 0);
	world_end(&w);
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

#endif
