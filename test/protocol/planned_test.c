/* SPDX-License-Identifier: Apache-2.0 */
/* Planned networks through dealer, P0 and P1: bit for bit the fixed-point reference under the dealer's own
 * roundings, in both modes, with logits and with labels, at usual and at coarse widths. */
#pragma GCC diagnostic ignored "-Wunused-function" /* trio.h has more than is used here */
#include "test/nn/net.h"
#include "test/protocol/trio.h"

#define IMAGES 4

static const struct shape image = {2, 3, 4};

static void one_network(const struct net *n, const struct plan_options *o, uint64_t seed, const char *what)
{
	struct planned p = net_plan(&n->g, o);
	struct build b = {.plan = *p.plan, .weights = *p.weights};
	size_t classes = shape_size(b.plan.tape.values[b.plan.tape.n_values - 1].shape),
	       size = shape_size(image);
	uint8_t pixels[IMAGES * 24];
	int64_t *got = calloc(IMAGES * classes, sizeof(*got)), *want = calloc(classes, sizeof(*want));
	struct fixed *f;
	struct trio t;
	struct err e = {0};

	for (size_t i = 0; i < sizeof(pixels); i++)
		pixels[i] = i % 5 ? (uint8_t)rnd() : (uint8_t)(255 * (i & 1));
	trio_new(&t, &b, seed);
	must(fixed_new(&f, p.plan, p.weights, &e), &e);
	trio_infer(&t, 3, IMAGES, pixels, got);
	for (size_t i = 0; i < IMAGES; i++) {
		fixed_infer(f, pixels + i * size, trio_low, &(struct trio_low){&t, i}, want);
		if (memcmp(want, got + i * classes, classes * sizeof(*want)))
			fail_msg("%s, mode %d, reveal %d: %lld, not %lld", what, o->optimise, o->reveal,
				 (long long)got[i * classes], (long long)want[0]);
	}
	fixed_free(f);
	trio_free(&t);
	planned_free(&p);
	free(got);
	free(want);
}

static void every_way_of_lowering(void **state)
{
	struct plan_options o = plan_defaults();
	const char *what;
	struct net n;

	for (unsigned run = 0; run < 12; run++)
		for (unsigned which = 0;
		     rnd_state = run, (what = net_zoo(&n, which, image.c, image.h, image.w)); which++) {
			o.optimise = run & 1 ? PLAN_BANDWIDTH : PLAN_LATENCY;
			o.reveal = run & 2 ? REVEAL_LABEL : REVEAL_LOGITS;
			o.granularity = run < 4 ? 4 : 1;
			o.weight_bits = run < 8 ? 16 : 5;
			o.activation_bits = run < 8 ? 12 : 3;
			n.g.pre.mean[0] = 0.3f, n.g.pre.mean[1] = 0.6f, n.g.pre.std[1] = 0.5f;
			one_network(&n, &o, 100 * run + which, what);
			net_free(&n);
		}
}

/* PROTOCOL.md §4: shares that another branch wants leave in the message of the comparison, not in one of
 * their own. */
static void round_trips(void **state)
{
	static const struct {
		unsigned which, trips;
	} want[] = {{0, 2}, {1, 2}, {3, 2}, {4, 4}, {6, 2}, {7, 2}, {9, 3}, {11, 3}, {12, 2}, {22, 4}};
	struct plan_options o = plan_defaults();

	for (size_t i = 0; i < sizeof(want) / sizeof(*want); i++) {
		struct program *program;
		struct planned p;
		struct net n;
		struct err e = {0};

		net_zoo(&n, want[i].which, image.c, image.h, image.w);
		p = net_plan(&n.g, &o);
		must(program_new(&program, &p.plan->tape, &e), &e);
		assert_int_equal(program->round_trips, want[i].trips);
		program_free(program);
		planned_free(&p);
		net_free(&n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_way_of_lowering),
	    cmocka_unit_test(round_trips),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
