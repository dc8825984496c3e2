/* SPDX-License-Identifier: Apache-2.0 */
/* How graphs are lowered to rows: what is fused with what, scales, and the first layer's bias. */
#include <math.h>

#include "test/nn/ring.h"

static const struct row *find_row(const struct tape *t, enum op_kind kind, unsigned skip)
{
	for (uint16_t i = 0; i < t->n_rows; i++)
		if (t->rows[i].kind == kind && !skip--)
			return &t->rows[i];
	fail_msg("no row of kind %d", kind);
	return NULL;
}

struct counts {
	const char *what;
	int mask, linear, map, relu, max, trunc, square;
};

static void rows_of_each_network(void **state)
{
	static const struct counts want[] = {
	    {"dense relu dense", 2, 2, 0, 1, 0, 0, 0},
	    {"dense dense", 2, 2, 0, 0, 0, 1, 0},
	    {"dense relu", 1, 1, 0, 1, 0, 0, 0},
	    {"dense square dense", 2, 2, 0, 0, 0, 0, 1},
	    {"conv relu max dense", 2, 2, 0, 1, 1, 0, 0},
	    {"conv max dense", 2, 2, 0, 0, 1, 1, 0},
	    {"conv relu mean dense", 2, 2, 1, 1, 0, 0, 0},
	    {"conv mean relu", 1, 1, 0, 1, 0, 0, 0},
	    {"conv relu unequal mean relu", 2, 2, 1, 2, 0, 0, 0},
	    {"residual", 3, 3, 0, 2, 0, 0, 0},
	    {"sum of shares relu", 2, 3, 1, 3, 0, 0, 0},
	    {"pre-activation residual", 4, 3, 0, 1, 0, 2, 0},
	    {"concat of two scales", 2, 3, 1, 1, 0, 0, 1},
	    {"concat with an odd mean", 3, 4, 2, 2, 0, 1, 0},
	    {"pad dense", 2, 2, 1, 1, 0, 0, 0},
	    {"pad conv relu", 1, 1, 0, 1, 0, 0, 0},
	    {"max of pixels", 2, 2, 0, 0, 1, 1, 0},
	    {"pixels added to a convolution", 1, 1, 0, 1, 0, 0, 0},
	    {"a convolution added to itself", 2, 2, 1, 1, 0, 1, 0},
	    {"residual of an odd mean", 2, 2, 1, 2, 0, 0, 0},
	    {"square of an odd mean, odd mean", 1, 1, 1, 0, 0, 0, 1},
	    {"max of one", 1, 1, 0, 0, 1, 1, 0},
	    {"max with and without relu", 2, 2, 1, 1, 1, 1, 0},
	};
	struct plan_options o = plan_defaults();
	struct net n;
	const char *what;

	for (unsigned which = 0; (what = net_zoo(&n, which, 1, 2, 2)); which++) {
		struct planned p = net_plan(&n.g, &o);
		const struct tape *t = &p.plan->tape;
		const struct counts *w = &want[which];
		int got[] = {count_rows(t, OP_MASK),  count_rows(t, OP_LINEAR), count_rows(t, OP_MAP),
			     count_rows(t, OP_RELU),  count_rows(t, OP_MAX),	count_rows(t, OP_TRUNC),
			     count_rows(t, OP_SQUARE)};

		assert_string_equal(what, w->what);
		for (int i = 0; i < 7; i++)
			if (got[i] != (&w->mask)[i])
				fail_msg("%s: mask %d linear %d map %d relu %d max %d trunc %d square %d",
					 what, got[0], got[1], got[2], got[3], got[4], got[5], got[6]);
		planned_free(&p);
		net_free(&n);
	}
}

static void relu_goes_behind_the_maximum(void **state)
{
	struct plan_options o = plan_defaults();
	struct net n;
	struct planned p;
	const struct row *max, *relu;

	net_zoo(&n, 4, 1, 3, 3);
	p = net_plan(&n.g, &o);
	max = find_row(&p.plan->tape, OP_MAX, 0);
	relu = find_row(&p.plan->tape, OP_RELU, 0);
	assert_true(max < relu);
	assert_int_equal(relu->in[0], max->out);
	planned_free(&p);
	net_free(&n);
}

/* A skip is public: 2^shift times the share that is already masked for the convolution. */
static void skips(void **state)
{
	struct plan_options o = plan_defaults();
	struct net n;
	struct planned p;
	const struct row *sum;

	net_zoo(&n, 9, 1, 3, 3);
	p = net_plan(&n.g, &o);
	sum = find_row(&p.plan->tape, OP_LINEAR, 1);
	assert_int_equal(sum->n_terms, 2);
	assert_int_equal(sum->terms[0].kind, TERM_CONV);
	assert_int_equal(sum->terms[1].kind, TERM_SKIP);
	assert_int_equal(sum->terms[0].in, sum->terms[1].in);
	assert_int_equal(sum->terms[1].shift, 16);
	assert_int_equal(p.plan->tape.values[sum->out].f, 16);
	planned_free(&p);
	net_free(&n);
}

/* More summands than a row has terms: some are made shares first. */
static void long_additions(void **state)
{
	struct plan_options o = plan_defaults();
	struct net n;
	struct planned p;
	uint32_t sum;

	net_input(&n, 1, 2, 2);
	sum = net_conv(&n, 0, 1, 1, 1, 0, 1);
	for (int i = 0; i < 12; i++)
		sum = net_two(&n, NN_ADD, sum, net_conv(&n, 0, 1, 1, 1, 0, 1));
	net_relu(&n, sum);
	p = net_plan(&n.g, &o);
	for (uint16_t i = 0; i < p.plan->tape.n_rows; i++)
		assert_true(p.plan->tape.rows[i].n_terms <= TAPE_MAX_TERMS);
	assert_int_equal(count_rows(&p.plan->tape, OP_LINEAR), 2);
	assert_int_equal(count_rows(&p.plan->tape, OP_TRUNC), 1);
	all_images(&p, 4, "long addition");
	planned_free(&p);
	net_free(&n);
	/* x + x of x + x of …: each node is looked at once */
	net_input(&n, 1, 1, 1);
	sum = net_relu(&n, net_conv(&n, 0, 1, 1, 1, 0, 1));
	for (int i = 0; i < 30; i++)
		sum = net_two(&n, NN_ADD, sum, sum);
	p = net_plan(&n.g, &o);
	all_images(&p, 1, "doublings");
	planned_free(&p);
	net_free(&n);
}

/* f = 4 for the first layer and 16 for hidden ones; what pools divide by goes into scales. */
static void scales(void **state)
{
	struct plan_options o = plan_defaults();
	struct net n;
	struct planned p;

	net_input(&n, 1, 6, 6);
	net_dense(&n,
		  net_relu(&n, net_conv(&n,
					net_pool(&n, NN_AVGPOOL, net_relu(&n, net_conv(&n, 0, 1, 1, 1, 0, 1)),
						 2, 2, 0, 0),
					1, 1, 1, 0, 1)),
		  2);
	p = net_plan(&n.g, &o);
	assert_int_equal(p.plan->tape.values[find_row(&p.plan->tape, OP_LINEAR, 0)->out].f, 4);
	assert_int_equal(p.plan->tape.values[find_row(&p.plan->tape, OP_LINEAR, 1)->out].f, 16);
	assert_int_equal(p.plan->result_bits, 28);
	assert_int_equal(p.plan->result_divisor, 1);
	planned_free(&p);
	net_free(&n);
	net_zoo(&n, 20, 1, 1, 1); /* (conv · 1/9)² · 1/9 */
	p = net_plan(&n.g, &o);
	assert_int_equal(p.plan->result_divisor, 9 * 9 * 9);
	assert_int_equal(p.plan->result_bits, 24);
	planned_free(&p);
	net_free(&n);
}

/* Around the image is normalised zero, which is no pixel: y stays within the rounding of weights and bias of
 * the real sum, borders too. */
static void padding_of_the_first_layer(void **state)
{
	struct plan_options o = plan_defaults();
	struct net n;
	struct planned p;
	struct fixed *f;
	struct err e = {0};
	uint8_t image[2 * 5 * 5];
	int64_t got[3 * 5 * 5];
	const struct layer_weights *w;

	rnd_state = 3;
	net_input(&n, 2, 5, 5);
	n.g.pre.mean[0] = 0.4f, n.g.pre.mean[1] = 0.7f, n.g.pre.std[0] = 0.2f, n.g.pre.std[1] = 0.3f;
	net_conv(&n, 0, 3, 3, 1, 1, 1);
	p = net_plan(&n.g, &o);
	w = &p.weights->rows[1];
	assert_int_equal(w->n_bias, 75);
	assert_true(w->bias[0] != w->bias[12]);
	assert_int_equal(w->bias[7], w->bias[12 - 5]);
	assert_true(w->bias[6] == w->bias[12]); /* inside, all alike */
	assert_int_equal(fixed_new(&f, p.plan, p.weights, &e), 0);
	for (size_t i = 0; i < sizeof(image); i++)
		image[i] = (uint8_t)rnd();
	fixed_infer(f, image, NULL, NULL, got);
	for (int o2 = 0; o2 < 3; o2++)
		for (int y = 0; y < 5; y++)
			for (int x = 0; x < 5; x++) {
				double sum = n.nodes[1].bias[o2], slack = 1;

				for (int c = 0; c < 2; c++)
					for (int i = 0; i < 9; i++) {
						int r = y + i / 3 - 1, q = x + i % 3 - 1;

						if (r < 0 || q < 0 || r > 4 || q > 4)
							continue;
						sum +=
						    n.nodes[1].weights[(o2 * 2 + c) * 9 + i] *
						    ((image[(c * 5 + r) * 5 + q] / 255.0 - n.g.pre.mean[c]) /
						     n.g.pre.std[c]);
						slack += image[(c * 5 + r) * 5 + q];
					}
				assert_true(fabs((double)got[(o2 * 5 + y) * 5 + x] - ldexp(sum, 16)) <=
					    slack / 2 + 1e-3);
			}
	fixed_free(f);
	planned_free(&p);
	net_free(&n);
}

static void comparisons_follow_the_option(void **state)
{
	for (int mode = 0; mode < 2; mode++) {
		struct plan_options o = plan_defaults();
		struct planned p;
		struct net n;

		o.optimise = mode ? PLAN_BANDWIDTH : PLAN_LATENCY;
		o.reveal = REVEAL_LABEL;
		net_zoo(&n, 4, 1, 3, 3);
		p = net_plan(&n.g, &o);
		assert_int_equal(find_row(&p.plan->tape, OP_MAX, 0)->mode,
				 mode ? TABLE_BANDWIDTH : TABLE_LATENCY);
		assert_int_equal(find_row(&p.plan->tape, OP_RELU, 0)->mode,
				 mode ? TABLE_BANDWIDTH : TABLE_LATENCY);
		assert_int_equal(find_row(&p.plan->tape, OP_ARGMAX, 0)->mode,
				 mode ? TABLE_BANDWIDTH : TABLE_LATENCY);
		planned_free(&p);
		net_free(&n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rows_of_each_network),
	    cmocka_unit_test(relu_goes_behind_the_maximum),
	    cmocka_unit_test(skips),
	    cmocka_unit_test(long_additions),
	    cmocka_unit_test(scales),
	    cmocka_unit_test(padding_of_the_first_layer),
	    cmocka_unit_test(comparisons_follow_the_option),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
