/* SPDX-License-Identifier: Apache-2.0 */
/* test/replay/scenario.h — two data owners with requests under way, for the tests that break something: never
 * a crash, never a hang, every request told once. */
#ifndef OBSCURA_TEST_REPLAY_SCENARIO_H
#define OBSCURA_TEST_REPLAY_SCENARIO_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <cmocka.h>
#include "test/replay/world.h"
#include "test/replay/nets.h"

#define REQUESTS 4
static struct graph *graph;
static struct served *net;

static inline int setup(void **state)
{
	graph = nets_conv_net(4, 2);
	net = nets_serve(graph, PLAN_BANDWIDTH, REVEAL_LOGITS);
	return net ? 0 : -1;
}

static inline int teardown(void **state)
{
	served_free(net);
	graph_free(graph);
	return 0;
}

struct request {
	struct inference i;
	uint8_t pixels[4 * 16];
	int told;
	uint64_t told_at;
	struct world *w;
};

static inline void told(struct inference *i)
{
	struct request *r = i->ctx;

	r->told++;
	r->told_at = r->w->now;
}

static inline void ask(struct world *w, size_t d, struct request *r, size_t batch)
{
	memset(r, 0, sizeof(*r));
	for (size_t n = 0; n < sizeof(r->pixels); n++)
		r->pixels[n] = (uint8_t)(37 * n + 11 * batch + d);
	r->i = (struct inference){.batch = batch, .pixels = r->pixels, .done = told, .ctx = r};
	r->w = w;
	if (w->owner[d]) {
		owner_infer(w->owner[d], &r->i);
		return;
	}
	err_set(&r->i.err, ERR_PEER, "no session");
	r->told = 1;
}

static inline int right(const struct request *r)
{
	struct float_run *reference;
	struct err e = {0};
	float scores[3], logits[3];
	int same = 1;

	assert_int_equal(float_new(&reference, graph, &e), 0);
	for (size_t b = 0; b < r->i.batch; b++) {
		plan_scores(net->plan, r->i.result + 3 * b, scores);
		float_infer(reference, r->pixels + 16 * b, logits);
		for (int c = 0; c < 3; c++)
			same &= fabsf(scores[c] - logits[c]) < 0.01f;
	}
	float_free(reference);
	return same;
}

/* Two data owners; the first has three requests, so that lanes overlap, and a small pool. */
static inline void begin(struct world *w, struct request r[REQUESTS])
{
	struct err e = {0};

	w->owner_options.pool_low = 1;
	w->owner_options.pool_high = 3;
	if (world_start(w, net, 2, &e) < 0)
		fail_msg("%s", e.text);
	ask(w, 0, &r[0], 2);
	ask(w, 0, &r[1], 1);
	ask(w, 0, &r[2], 4);
	ask(w, 1, &r[3], 1);
}

/* Nothing is broken: everybody gets the right result, which `also` (or NULL) looks at. The world is the
 * caller's to end. */
static inline void clean_run(struct world *w, void (*also)(const struct inference *i))
{
	struct request r[REQUESTS];

	begin(w, r);
	world_settle(w);
	for (int i = 0; i < REQUESTS; i++) {
		assert_int_equal(r[i].told, 1);
		assert_int_equal(r[i].i.err.code, ERR_NONE);
		assert_true(right(&r[i]));
		if (also)
			also(&r[i].i);
		free(r[i].i.result);
	}
}

static inline unsigned frames_of_a_clean_run(int deferred)
{
	struct world w;
	unsigned frames;

	world_defaults(&w);
	w.deferred = deferred;
	clean_run(&w, NULL);
	frames = w.frames;
	world_end(&w);
	return frames;
}

/* Everybody is told once; who got a result got the right one, unless masked words themselves were changed. */
static inline void finish(struct world *w, struct request r[REQUESTS], int may_be_wrong)
{
	struct request again;

	world_settle(w);
	world_sleep(w, WORLD_FOREVER_MS);
	for (int i = 0; i < REQUESTS; i++) {
		assert_int_equal(r[i].told, 1);
		assert_true(!r[i].i.err.code == !!r[i].i.result);
		if (r[i].i.err.code)
			assert_true(strlen(r[i].i.err.text) > 10);
		else
			assert_true(may_be_wrong || right(&r[i]));
		free(r[i].i.result);
	}
	/* What still lives still works. */
	for (size_t d = 0; d < 2; d++) {
		w->tamper = NULL;
		ask(w, d, &again, 1);
		world_settle(w);
		world_sleep(w, WORLD_FOREVER_MS);
		assert_int_equal(again.told, 1);
		free(again.i.result);
	}
	world_end(w);
}

#endif
