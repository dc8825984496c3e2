/* SPDX-License-Identifier: Apache-2.0 */
/* The fast evaluation in the clear against the fixed-point reference: every network of the zoo, both modes,
 * scores and labels, all kernels in force, batches whole and in parts. */
#include "nn/clear.h"
#include "crypto/ring.h"
#include "test/nn/net.h"

#define IMAGES 5

struct both {
	struct planned p;
	struct clear_model *model;
	struct fixed *fixed;
	uint8_t *pixels;
	int64_t *want, *got;
	size_t words;
};

static void both_new(struct both *b, const struct graph *g, const struct plan_options *o)
{
	struct err e = {0};
	size_t input = shape_size(g->nodes[0].shape);

	b->p = net_plan(g, o);
	b->words = plan_words(b->p.plan);
	assert_int_equal(clear_model_new(&b->model, b->p.plan, b->p.weights, &e), 0);
	assert_int_equal(fixed_new(&b->fixed, b->p.plan, b->p.weights, &e), 0);
	b->pixels = malloc(IMAGES * input);
	b->want = calloc(IMAGES * b->words, sizeof(*b->want));
	b->got = calloc(IMAGES * b->words, sizeof(*b->got));
	for (size_t i = 0; i < IMAGES * input; i++)
		b->pixels[i] = (uint8_t)rnd();
	for (size_t i = 0; i < IMAGES; i++)
		fixed_infer(b->fixed, b->pixels + i * input, NULL, NULL, b->want + i * b->words);
}

static void both_free(struct both *b)
{
	clear_model_free(b->model);
	fixed_free(b->fixed);
	planned_free(&b->p);
	free(b->pixels);
	free(b->want);
	free(b->got);
}

/* Twice: nothing is left over from the inference before. */
static void same_results(struct both *b, size_t images)
{
	struct clear *c;
	struct err e = {0};

	assert_int_equal(clear_new(&c, b->model, images, &e), 0);
	for (int again = 0; again < 2; again++) {
		memset(b->got, 0x55, IMAGES * b->words * sizeof(*b->got));
		clear_infer(c, b->pixels, IMAGES, b->got);
		assert_memory_equal(b->got, b->want, IMAGES * b->words * sizeof(*b->got));
	}
	clear_free(c);
}

static void packs(const struct both *b)
{
	const struct tape *t = &b->p.plan->tape;

	assert_int_equal(clear_bytes(b->p.plan),
			 ring_packed(b->words, t->values[t->rows[t->n_rows - 1].in[0]].k));
	assert_true(clear_work(b->model) > 0);
}

static unsigned zoo_with(const struct plan_options *o)
{
	unsigned which = 0;
	struct net n;

	for (; net_zoo(&n, which, 2, 4, 5); which++) {
		struct both b;

		both_new(&b, &n.g, o);
		for (size_t images = 1; images <= IMAGES + 1; images += 2)
			same_results(&b, images);
		packs(&b);
		both_free(&b);
		net_free(&n);
	}
	return which;
}

static void zoo(void **state)
{
	struct plan_options o = plan_defaults();

	for (int i = 0; i < 8; i++) {
		o.optimise = i & 1 ? PLAN_BANDWIDTH : PLAN_LATENCY;
		o.reveal = i & 2 ? REVEAL_LABEL : REVEAL_LOGITS;
		o.weight_bits =
		    i & 4 ? 10 : plan_defaults().weight_bits; /* words of another width: other kernels */
		o.activation_bits = i & 4 ? 8 : plan_defaults().activation_bits;
		assert_true(zoo_with(&o) > 10);
	}
}

static void foreign_weights(void **state)
{
	struct plan_options o = plan_defaults();
	struct clear_model *m;
	struct planned p;
	struct net n;
	struct err e = {0};

	net_zoo(&n, 0, 1, 2, 2);
	p = net_plan(&n.g, &o);
	p.weights->rows[1].n_weights--;
	assert_int_equal(clear_model_new(&m, p.plan, p.weights, &e), -1);
	assert_int_equal(e.code, ERR_INPUT);
	assert_null(m);
	p.weights->rows[1].n_weights++;
	p.weights->n_rows--;
	assert_int_equal(clear_model_new(&m, p.plan, p.weights, &e), -1);
	p.weights->n_rows++;
	planned_free(&p);
	net_free(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(zoo),
	    cmocka_unit_test(foreign_weights),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
