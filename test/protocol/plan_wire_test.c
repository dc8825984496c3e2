/* SPDX-License-Identifier: Apache-2.0 */
/* Plans survive the wire, and what a stranger may write is refused before anything trusts it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "test/replay/nets.h"
#include "wire.pb-c.h"

static struct plan *make(struct graph *g, enum plan_optimise optimise, enum plan_reveal reveal)
{
	struct plan_options options = plan_defaults();
	struct weights *weights = NULL;
	struct plan *plan = NULL;
	struct err e = {0};

	options.optimise = optimise;
	options.reveal = reveal;
	if (plan_make(&plan, &weights, NULL, g, &options, &e) < 0)
		fail_msg("%s", e.text);
	weights_free(weights);
	return plan;
}

/* A residual network with everything that a row can hold: skips, pools with unequal divisors, squares,
 * several inputs. */
static struct graph *rich(void)
{
	struct graph *g = nets_graph(9);
	struct node *n;

	nets_node(g, NN_INPUT, (struct shape){2, 5, 5});
	nets_conv(g, 3);
	nets_node(g, NN_RELU, g->nodes[1].shape);
	nets_conv(g, 3);
	n = nets_node(g, NN_ADD, g->nodes[1].shape);
	n->inputs[1] = 2;
	n->n_inputs = 2;
	nets_node(g, NN_SQUARE, g->nodes[1].shape);
	nets_conv(g, 2);
	nets_node(g, NN_RELU, g->nodes[6].shape);
	nets_dense(g, 4);
	return g;
}

static void assert_windows(const struct window *a, const struct window *b)
{
	assert_memory_equal(a, b, sizeof(*a)); /* no padding: all members are 32 bits */
}

static void assert_rows(const struct row *a, const struct row *b)
{
	assert_int_equal(a->kind, b->kind);
	assert_int_equal(a->n_in, b->n_in);
	assert_memory_equal(a->in, b->in, a->n_in * sizeof(a->in[0]));
	assert_int_equal(a->out, b->out);
	assert_int_equal(a->n_terms, b->n_terms);
	for (unsigned t = 0; t < a->n_terms; t++) {
		assert_int_equal(a->terms[t].kind, b->terms[t].kind);
		assert_int_equal(a->terms[t].in, b->terms[t].in);
		assert_windows(&a->terms[t].win, &b->terms[t].win);
		assert_int_equal(a->terms[t].groups, b->terms[t].groups);
		assert_int_equal(a->terms[t].shift, b->terms[t].shift);
	}
	assert_int_equal(a->has_post, b->has_post);
	assert_windows(&a->post, &b->post);
	assert_int_equal(a->map, b->map);
	assert_memory_equal(a->shift, b->shift, a->n_in);
	assert_int_equal(a->mode, b->mode);
	assert_int_equal(a->offset_log2, b->offset_log2);
	assert_int_equal(!a->factors, !b->factors);
	if (a->factors)
		assert_memory_equal(a->factors, b->factors, 4 * a->post.out.h * a->post.out.w);
}

static void assert_plans(const struct plan *a, const struct plan *b)
{
	assert_int_equal(a->tape.n_values, b->tape.n_values);
	assert_int_equal(a->tape.n_rows, b->tape.n_rows);
	for (unsigned v = 0; v < a->tape.n_values; v++) {
		assert_int_equal(a->tape.values[v].form, b->tape.values[v].form);
		assert_memory_equal(&a->tape.values[v].shape, &b->tape.values[v].shape, sizeof(struct shape));
		assert_int_equal(a->tape.values[v].k, b->tape.values[v].k);
		assert_int_equal(a->tape.values[v].f, b->tape.values[v].f);
	}
	for (unsigned r = 0; r < a->tape.n_rows; r++)
		assert_rows(&a->tape.rows[r], &b->tape.rows[r]);
	assert_memory_equal(&a->input, &b->input, sizeof(a->input));
	assert_int_equal(a->resize, b->resize);
	assert_int_equal(a->output, b->output);
	assert_int_equal(a->reveal, b->reveal);
	assert_int_equal(a->optimise, b->optimise);
	assert_int_equal(a->result_bits, b->result_bits);
	assert_int_equal(a->result_divisor, b->result_divisor);
	assert_int_equal(a->n_labels, b->n_labels);
	for (unsigned i = 0; i < a->n_labels; i++)
		assert_string_equal(a->labels[i], b->labels[i]);
}

static void survives(struct graph *g, enum plan_optimise optimise, enum plan_reveal reveal)
{
	struct plan *plan = make(g, optimise, reveal), *back;
	size_t bytes, again;
	uint8_t *packed = plan_pack(plan, &bytes), *repacked;
	struct err e = {0};

	assert_non_null(packed);
	if (plan_unpack(&back, packed, bytes, &e) < 0)
		fail_msg("%s", e.text);
	assert_plans(plan, back);
	repacked = plan_pack(back, &again); /* the digest of both parties' plans must be the same */
	assert_int_equal(bytes, again);
	assert_memory_equal(packed, repacked, bytes);
	free(repacked);
	free(packed);
	plan_free(back);
	plan_free(plan);
}

static void plans_survive(void **state)
{
	struct graph *g[] = {nets_small(7), nets_conv_net(6, 2), rich(), nets_small(4)};

	g[3]->pre.n_labels = 3;
	g[3]->pre.labels = calloc(3, sizeof(char *));
	for (int i = 0; i < 3; i++)
		g[3]->pre.labels[i] = strdup(i ? i > 1 ? "bird" : "cat" : "dög");
	for (int i = 0; i < 4; i++) {
		survives(g[i], PLAN_LATENCY, REVEAL_LOGITS);
		survives(g[i], PLAN_BANDWIDTH, REVEAL_LOGITS);
		survives(g[i], PLAN_LATENCY, REVEAL_LABEL);
		graph_free(g[i]);
	}
}

/* Unpacks hostile bytes. Returns whether they were taken; then they must survive another turn. */
static int taken(const uint8_t *bytes, size_t n)
{
	struct plan *plan, *again;
	struct err e = {0};
	uint8_t *packed;
	size_t m;

	if (plan_unpack(&plan, bytes, n, &e) < 0) {
		assert_null(plan);
		assert_int_not_equal(e.code, ERR_NONE);
		assert_true(strlen(e.text) > 0);
		return 0;
	}
	packed = plan_pack(plan, &m);
	assert_int_equal(plan_unpack(&again, packed, m, &e), 0);
	assert_plans(plan, again);
	plan_free(again);
	plan_free(plan);
	free(packed);
	return 1;
}

static void damaged_plans_do_no_harm(void **state)
{
	struct graph *g = rich();
	struct plan *plan = make(g, PLAN_LATENCY, REVEAL_LOGITS);
	size_t bytes;
	uint8_t *packed = plan_pack(plan, &bytes);

	for (size_t n = 0; n < bytes; n++) {
		uint8_t *cut = malloc(n + 1); /* so that a read past the end is seen */

		memcpy(cut, packed, n);
		taken(cut, n);
		free(cut);
	}
	for (size_t i = 0; i < bytes; i++)
		for (unsigned bit = 0; bit < 8; bit++) {
			packed[i] ^= (uint8_t)(1u << bit);
			taken(packed, bytes);
			packed[i] ^= (uint8_t)(1u << bit);
		}
	assert_true(taken(packed, bytes));
	free(packed);
	plan_free(plan);
	graph_free(g);
}

/* One field at a time, by name. */
static Wire__Plan *fresh(void)
{
	struct graph *g = nets_conv_net(6, 2);
	struct plan *plan = make(g, PLAN_LATENCY, REVEAL_LOGITS);
	size_t bytes;
	uint8_t *packed = plan_pack(plan, &bytes);
	Wire__Plan *wire = wire__plan__unpack(NULL, bytes, packed);

	free(packed);
	plan_free(plan);
	graph_free(g);
	assert_non_null(wire);
	return wire;
}

static void refused(Wire__Plan *wire, const char *expected)
{
	size_t bytes = wire__plan__get_packed_size(wire);
	uint8_t *packed = malloc(bytes);
	struct err e = {0};
	struct plan *plan;

	wire__plan__pack(wire, packed);
	assert_int_equal(plan_unpack(&plan, packed, bytes, &e), -1);
	assert_int_equal(e.code, ERR_PEER);
	if (!strstr(e.text, expected))
		fail_msg("\"%s\" is not in \"%s\"", expected, e.text);
	free(packed);
	wire__plan__free_unpacked(wire, NULL);
}

static void each_field_is_narrowed(void **state)
{
	Wire__Plan *p;

	(p = fresh())->values[1]->k = 256 + 30;
	refused(p, "word width");
	(p = fresh())->values[1]->form = 9;
	refused(p, "form");
	(p = fresh())->values[0]->shape->c = UINT32_MAX;
	refused(p, "channels");
	(p = fresh())->rows[0]->kind = OP_KINDS;
	refused(p, "operator");
	(p = fresh())->rows[0]->out = 65536;
	refused(p, "output");
	(p = fresh())->rows[0]->in[0] = 70000;
	refused(p, "input");
	(p = fresh())->rows[1]->terms[0]->win->pt = -1;
	refused(p, "pad");
	(p = fresh())->rows[1]->terms[0]->kind = 3;
	refused(p, "kind of term");
	(p = fresh())->rows[2]->mode = 2;
	refused(p, "mode");
	(p = fresh())->result_divisor = 0;
	refused(p, "divisor");
	(p = fresh())->result_bits = 63;
	refused(p, "result bits");
	(p = fresh())->reveal = 2;
	refused(p, "reveal");
	(p = fresh())->input->h = 5;
	refused(p, "image");
	p = fresh();
	wire__shape__free_unpacked(p->input, NULL);
	p->input = NULL;
	refused(p, "missing");
}

static void labels_are_for_people(void **state)
{
	static const char *const bad[] = {"a\033[31mb",
					  "line\nbreak",
					  "\x7f",
					  ("\xc2\x9b"
					   "31m"),
					  "\x9b",
					  "half \xc3"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		Wire__Plan *p = fresh();

		p->labels = malloc(sizeof(char *));
		p->labels[0] = strdup(bad[i]);
		p->n_labels = 1;
		refused(p, "not printable");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(plans_survive),
	    cmocka_unit_test(damaged_plans_do_no_harm),
	    cmocka_unit_test(each_field_is_narrowed),
	    cmocka_unit_test(labels_are_for_people),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
