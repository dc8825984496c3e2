/* SPDX-License-Identifier: Apache-2.0 */
/* test/protocol/requests.h — models of all kinds, served; requests to their sessions, and whether what came
 * back is right. */
#ifndef OBSCURA_TEST_PROTOCOL_REQUESTS_H
#define OBSCURA_TEST_PROTOCOL_REQUESTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <cmocka.h>
#include "test/replay/world.h"
#include "test/replay/nets.h"

enum net { SMALL, CONV, BANDWIDTH, LABEL, LINEAR, NETS };
static struct graph *graphs[NETS];
static struct served *nets[NETS];

static inline int setup(void **state)
{
	graphs[SMALL] = nets_small(8);
	graphs[CONV] = nets_conv_net(6, 2);
	graphs[BANDWIDTH] = nets_conv_net(4, 3);
	graphs[LABEL] = nets_small(5);
	graphs[LINEAR] = nets_graph(2);
	nets_node(graphs[LINEAR], NN_INPUT, (struct shape){1, 4, 4});
	nets_dense(graphs[LINEAR], 3);
	for (int i = 0; i < NETS; i++)
		nets[i] = nets_serve(graphs[i], i == BANDWIDTH ? PLAN_BANDWIDTH : PLAN_LATENCY,
				     i == LABEL ? REVEAL_LABEL : REVEAL_LOGITS);
	return nets[SMALL] && nets[CONV] && nets[BANDWIDTH] && nets[LABEL] && nets[LINEAR] ? 0 : -1;
}

static inline int teardown(void **state)
{
	for (int i = 0; i < NETS; i++) {
		served_free(nets[i]);
		graph_free(graphs[i]);
	}
	return 0;
}

/* ---- requests ---- */
struct request {
	struct inference i;
	uint8_t pixels[64 * 36];
	int told;
};

static inline void told(struct inference *i)
{
	((struct request *)i->ctx)->told++;
}

static inline void ask(struct world *w, size_t d, struct request *r, size_t batch, uint32_t seed)
{
	memset(r, 0, sizeof(*r));
	for (size_t n = 0; n < sizeof(r->pixels); n++)
		r->pixels[n] = (uint8_t)((seed = seed * 1103515245u + 12345u) >> 16);
	r->i.batch = batch;
	r->i.pixels = r->pixels;
	r->i.done = told;
	r->i.ctx = r;
	owner_infer(w->owner[d], &r->i);
}

/* Private scores are the fixed-point reference's, but for the random roundings: within a hundredth of the
 * float logits. */
static inline void check(const struct request *r, enum net net)
{
	const struct plan *plan = nets[net]->plan;
	size_t words = net == LABEL ? 1 : plan_classes(plan), n = shape_size(plan->input);
	struct float_run *reference;
	struct fixed *fixed;
	struct err e = {0};
	int64_t integers[16];
	float scores[16], logits[16];

	assert_int_equal(r->told, 1);
	if (r->i.err.code)
		fail_msg("%s", r->i.err.text);
	assert_int_equal(float_new(&reference, graphs[net], &e), 0);
	assert_int_equal(fixed_new(&fixed, plan, nets[net]->weights, &e), 0);
	for (size_t b = 0; b < r->i.batch; b++) {
		const int64_t *got = r->i.result + b * words;

		float_infer(reference, r->pixels + b * n, logits);
		fixed_infer(fixed, r->pixels + b * n, NULL, NULL, integers);
		if (net == LABEL) {
			assert_int_equal(got[0], integers[0]);
			continue;
		}
		plan_scores(plan, got, scores);
		for (size_t c = 0; c < words; c++)
			assert_true(fabsf(scores[c] - logits[c]) < 0.01f);
	}
	fixed_free(fixed);
	float_free(reference);
}

/* Counters are what the plan predicts, times the batch. */
static inline void check_counts(const struct request *r, enum net net)
{
	const struct program *p = nets[net]->program;
	uint64_t b = r->i.batch;

	assert_int_equal(r->i.online.sent, b * p->online[P0]);
	assert_int_equal(r->i.online.received, b * p->online[P1]);
	assert_int_equal(r->i.offline.sent, b * p->delta);
	assert_int_equal(r->i.offline.received, 0);
	assert_int_equal(r->i.offline.provider, b * p->corrections);
}

static inline void release(struct request *r)
{
	free(r->i.result);
	free(r->i.masked);
	free(r->i.times);
}

static inline void start(struct world *w, enum net net, size_t owners)
{
	struct err e = {0};

	if (world_start(w, nets[net], owners, &e) < 0)
		fail_msg("%s", e.text);
}

#endif
