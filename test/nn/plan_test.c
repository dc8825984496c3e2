/* SPDX-License-Identifier: Apache-2.0 */
/* The planner: whole small networks over all their inputs and roundings, widths at the edges of PROTOCOL.md
 * §6 and as published in §8; what is refused; scores. */
#include <math.h>

#include "test/nn/ring.h"

/* ---- whole networks ---- */

/* The width of shares is what their consumers need: not less, and not more. */
static void shares_are_as_wide_as_needed(const struct tape *t)
{
	for (uint16_t v = 0; v < t->n_values; v++) {
		int need = 1;

		for (uint16_t i = 0; i < t->n_rows; i++)
			for (uint16_t j = 0; j < t->rows[i].n_in; j++) {
				const struct row *row = &t->rows[i];
				int shift = row->kind == OP_LINEAR ? row->terms[j].shift
					    : row->kind == OP_MAP  ? row->shift[j]
								   : 0;
				int k = t->values[row->out].k - shift;

				if (row->in[j] == v && row->kind != OP_REVEAL && k > need)
					need = k;
				if (row->in[j] == v && row->kind == OP_REVEAL)
					need = t->values[v].k;
			}
		if (t->values[v].form == FORM_SHARE || t->values[v].form == FORM_DIFF)
			assert_int_equal(t->values[v].k, need);
	}
}

static void networks(const struct plan_options *o, struct shape s)
{
	struct net n;
	const char *what;

	for (unsigned which = 0; (what = net_zoo(&n, which, s.c, s.h, s.w)); which++) {
		struct planned p;

		net_normalise(&n);
		p = net_plan(&n.g, o);
		shares_are_as_wide_as_needed(&p.plan->tape);
		all_images(&p, shape_size(s), what);
		planned_free(&p);
		net_free(&n);
	}
}

static const struct shape one = {1, 1, 1}, two = {1, 1, 2}, many = {2, 3, 4};

static void all_inputs_and_roundings(void **state)
{
	struct plan_options o = {.weight_bits = 4, .activation_bits = 2, .granularity = 1};

	for (int reveal = 0; reveal < 2; reveal++) {
		o.reveal = reveal ? REVEAL_LABEL : REVEAL_LOGITS;
		o.optimise = reveal ? PLAN_BANDWIDTH : PLAN_LATENCY;
		rnd_state = 5 + (unsigned)reveal;
		networks(&o, one);
		if (!reveal)
			networks(&o, two);
		networks(&o, many);
	}
}

static void usual_bits(void **state)
{
	struct plan_options o = plan_defaults();

	for (unsigned seed = 0; seed < 4; seed++) {
		rnd_state = seed;
		o.reveal = seed % 2 ? REVEAL_LABEL : REVEAL_LOGITS;
		o.granularity = seed == 3 ? 1 : 4;
		networks(&o, many);
	}
}

/* ---- the edges, as the planner meets them ---- */

/* y = w x + b in units of 2^-weight_bits of one raw pixel, then `kind`. */
static void line(struct net *n, enum nn_kind kind, double w, double b)
{
	net_input(n, 1, 1, 1);
	n->g.pre.scale = 1;
	net_dense(n, 0, 1);
	n->nodes[1].weights[0] = (float)(w / 16);
	n->nodes[1].bias[0] = (float)(b / 16);
	if (kind == NN_RELU)
		net_relu(n, 1);
	else if (kind == NN_DENSE)
		net_dense(n, 1, 1);
	else if (kind == NN_SQUARE)
		net_square(n, 1);
}

/* The width of the first sum, or 0 when the plan is refused. */
static unsigned width(enum nn_kind kind, double w, double b, unsigned granularity, struct err *e)
{
	struct plan_options o = {.weight_bits = 4, .activation_bits = 2, .granularity = granularity};
	struct net n;
	struct plan *plan;
	struct weights *weights;
	unsigned k = 0;

	memset(e, 0, sizeof(*e));
	line(&n, kind, w, b);
	if (!plan_make(&plan, &weights, NULL, &n.g, &o, e)) {
		k = plan->tape.values[2].k;
		plan_free(plan);
		weights_free(weights);
	}
	net_free(&n);
	return k;
}

static void widths_at_the_edges(void **state)
{
	struct err e;

	for (unsigned k = 6; k <= 20; k++) {
		double half = ldexp(1, (int)k - 1), quarter = half / 2;

		/* f = 2: relu up to half - 4 */
		assert_int_equal(width(NN_RELU, 0, half - 4, 1, &e), k);
		assert_int_equal(width(NN_RELU, 0, half - 3, 1, &e), k + 1);
		assert_int_equal(width(NN_RELU, 0, -half, 1, &e), k);
		assert_int_equal(width(NN_RELU, 0, -half - 1, 1, &e), k + 1);
		/* trunc with offset 2^(k-2) */
		assert_int_equal(width(NN_DENSE, 0, half - 4 - quarter, 1, &e), k);
		assert_int_equal(width(NN_DENSE, 0, half - 3 - quarter, 1, &e), k + 1);
		assert_int_equal(width(NN_DENSE, 0, -quarter, 1, &e), k);
		assert_int_equal(width(NN_DENSE, 0, -quarter - 1, 1, &e), k + 1);
		assert_int_equal(width(NN_SQUARE, 0, -quarter, 1, &e), k);
		assert_int_equal(width(NN_SQUARE, 0, -quarter - 1, 1, &e), k + 1);
		/* the last layer */
		assert_int_equal(width(NN_INPUT, 0, half - 1, 1, &e), k);
		assert_int_equal(width(NN_INPUT, 0, half, 1, &e), k + 1);
		assert_int_equal(width(NN_INPUT, 0, -half, 1, &e), k);
		assert_int_equal(width(NN_INPUT, 0, -half - 1, 1, &e), k + 1);
		/* the whole domain counts */
		assert_int_equal(width(NN_INPUT, 1, half - 256, 1, &e), k < 8 ? 9 : k);
		assert_int_equal(width(NN_INPUT, 1, half - 255, 1, &e), k < 8 ? 9 : k + 1);
		assert_int_equal(width(NN_RELU, 0, half - 4, 4, &e), (k + 3) / 4 * 4);
	}
}

static void the_widest_word(void **state)
{
	struct err e;
	double unit = ldexp(1, 53);

	/* 255 w + b = -2^61: 62 bits, and rounding up to the granularity stops there */
	assert_int_equal(width(NN_RELU, -unit, -unit, 1, &e), 62);
	assert_int_equal(width(NN_RELU, -unit, -unit, 4, &e), 62);
	assert_int_equal(width(NN_RELU, -unit, -unit, 32, &e), 62);
	assert_int_equal(width(NN_INPUT, -unit, -unit, 4, &e), 62);
	assert_int_equal(width(NN_RELU, unit, unit - ldexp(1, 31), 4, &e), 62);
	/* 2^61 itself is the first that relu refuses */
	assert_int_equal(width(NN_RELU, unit, unit, 1, &e), 0);
	assert_int_equal(e.code, ERR_INPUT);
	assert_non_null(strstr(e.text, "relu2"));
	assert_non_null(strstr(e.text, "--weight-bits"));
	assert_int_equal(width(NN_INPUT, unit, unit, 1, &e), 0);
	assert_int_equal(width(NN_DENSE, unit, 0, 1, &e), 0);
	assert_int_equal(width(NN_RELU, -unit, -2 * unit, 1, &e), 0);
	assert_non_null(strstr(e.text, "dense1"));
	assert_int_equal(width(NN_RELU, ldexp(1, 60), 0, 1, &e), 0); /* a weight that is no integer of ours */
	assert_non_null(strstr(e.text, "dense1"));
	assert_int_equal(width(NN_RELU, NAN, 0, 1, &e), 0);
	assert_int_equal(width(NN_RELU, 0, INFINITY, 1, &e), 0);
	assert_int_equal(e.code, ERR_INPUT);
}

/* A maximum needs room for the difference of the two ends of a set, not of all. */
static void maximum_over_sets(void **state)
{
	struct plan_options o = {.weight_bits = 4, .activation_bits = 4, .granularity = 1};
	struct planned p;
	struct net n;

	for (int across = 0; across < 2; across++) {
		/* two columns: y0 in [0, 25500], y1 in [-25500, 0] */
		net_input(&n, 1, 1, 1);
		n.g.pre.scale = 1;
		net_conv(&n, 0, 1, 1, 1, 0, 1);
		free(n.nodes[1].weights);
		n.nodes[1].weights = net_floats(2, 0);
		n.nodes[1].weights[0] = -100 / 16.f;
		n.nodes[1].weights[1] = 100 / 16.f;
		n.nodes[1].bias[0] = 0;
		n.nodes[1].win.kw = 2;
		n.nodes[1].win.pl = 1;
		n.nodes[1].win.out.w = n.nodes[1].shape.w = 2;
		net_pool(&n, NN_MAXPOOL, 1, 1, 1, 0, 0);
		if (across) {
			n.nodes[2].win.kw = 2;
			n.nodes[2].win.out.w = n.nodes[2].shape.w = 1;
		}
		net_relu(&n, 2);
		p = net_plan(&n.g, &o);
		assert_int_equal(p.plan->tape.values[2].k,
				 across ? 17 : 16); /* 51000, 25500 <= 2^(k-1) - 1 */
		all_images(&p, 1, "maximum over sets");
		planned_free(&p);
		net_free(&n);
	}
}

/* ---- what is refused, and the small functions ---- */

static void refused(const struct graph *g, const struct plan_options *o, enum err_code code, const char *part)
{
	struct plan *plan = (struct plan *)1;
	struct weights *weights = (struct weights *)1;
	struct bounds *bounds = (struct bounds *)1;
	struct err e = {0};

	assert_int_equal(plan_make(&plan, &weights, &bounds, g, o, &e), -1);
	assert_null(plan);
	assert_null(weights);
	assert_null(bounds);
	assert_int_equal(e.code, code);
	if (!strstr(e.text, part))
		fail_msg("'%s' does not say '%s'", e.text, part);
}

static void refusals(void **state)
{
	struct plan_options good = plan_defaults(), o;
	char *labels[] = {"a", "b", "c"};
	struct net n;
	uint32_t at;

	net_zoo(&n, 0, 1, 2, 2);
	o = good, o.weight_bits = 0;
	refused(&n.g, &o, ERR_USAGE, "weight-bits");
	o = good, o.activation_bits = 31;
	refused(&n.g, &o, ERR_USAGE, "activation-bits");
	o = good, o.granularity = 0;
	refused(&n.g, &o, ERR_USAGE, "granularity");
	n.g.pre.labels = labels;
	n.g.pre.n_labels = 3; /* of 2 classes */
	refused(&n.g, &good, ERR_INPUT, "labels");
	net_free(&n);

	net_input(&n, 1, 1, 1); /* squares of squares leave every word */
	at = net_dense(&n, 0, 1);
	n.nodes[at].weights[0] = 1000;
	for (int i = 0; i < 6; i++)
		at = net_square(&n, at);
	refused(&n.g, &good, ERR_INPUT, "use fewer");
	net_free(&n);

	net_input(&n, 1, 8, 8);
	at = net_pool(&n, NN_AVGPOOL, net_relu(&n, net_conv(&n, 0, 1, 1, 1, 0, 1)), 2, 2, 0, 0);
	n.nodes[at].win.dh = 2;
	net_dense(&n, at, 2);
	refused(&n.g, &good, ERR_INPUT, "dilat");
	net_free(&n);
}

static void scores_and_labels(void **state)
{
	struct plan_options o = plan_defaults();
	char *labels[] = {"yes", "no"};
	struct planned p;
	struct net n;
	float scores[5];
	int64_t result[] = {-512, 1024, 1024, 1023, 0};

	net_input(&n, 1, 1, 1);
	net_dense(&n, 0, 5);
	n.g.pre.labels = labels;
	n.g.pre.n_labels = 2;
	p = net_plan(&n.g, &o);
	assert_int_equal(plan_classes(p.plan), 5);
	assert_string_equal(p.plan->labels[1], "no");
	p.plan->result_bits = 9;
	p.plan->result_divisor = 3;
	assert_int_equal(plan_scores(p.plan, result, scores), 1);
	assert_true(fabsf(scores[0] + 1 / 3.f) < 1e-6f && fabsf(scores[2] - 2 / 3.f) < 1e-6f);
	p.plan->output = NN_OUT_SOFTMAX;
	assert_int_equal(plan_scores(p.plan, result, scores), 1);
	assert_true(fabsf(scores[0] + scores[1] + scores[2] + scores[3] + scores[4] - 1) < 1e-5f);
	planned_free(&p);
	o.reveal = REVEAL_LABEL;
	p = net_plan(&n.g, &o);
	assert_int_equal(plan_classes(p.plan), 5);
	result[0] = 4;
	assert_int_equal(plan_scores(p.plan, result, scores), 4);
	assert_true(scores[4] == 1 && scores[0] == 0);
	for (int64_t strange = -3; strange < 20; strange++) /* from a stranger */
		assert_true(plan_scores(p.plan, &strange, scores) < 5);
	planned_free(&p);
	net_free(&n);
}

/* ---- PROTOCOL.md §8 ---- */

static void widths_of(const char *model, float mean, float std, const unsigned *want, unsigned n)
{
	const char *shared = getenv("OBSCURA_SHARED");
	struct plan_options o = plan_defaults();
	struct planned p;
	struct graph *g;
	struct err e = {0};
	char path[512];
	unsigned at = 0;

	snprintf(path, sizeof(path), "%s/data/models/%s.onnx", shared ? shared : "../shared", model);
	if (graph_load(&g, path, &e)) {
		print_message("skipped: %s\n", e.text);
		skip();
	}
	g->pre.scale = 255;
	for (int c = 0; c < NN_MAX_CHANNELS; c++) {
		g->pre.mean[c] = mean;
		g->pre.std[c] = std;
	}
	o.granularity = 1;
	p = net_plan(g, &o);
	for (uint16_t i = 0; i < p.plan->tape.n_rows; i++)
		if (p.plan->tape.rows[i].kind == OP_LINEAR) {
			const struct value *v = &p.plan->tape.values[p.plan->tape.rows[i].out];

			assert_true(at < n);
			assert_int_equal(v->k, want[at]);
			assert_int_equal(v->f, at + 1 == n ? 0 : at ? 16 : 4);
			at++;
		}
	assert_int_equal(at, n);
	planned_free(&p);
	graph_free(g);
}

static void published_widths(void **state)
{
	widths_of("model_x", 0.1307f, 0.3081f, (unsigned[]){24, 39, 41}, 3);
	widths_of("model_y", 0.1307f, 0.3081f, (unsigned[]){22, 37, 39}, 3);
	widths_of("model_z", 0.5f, 0.5f, (unsigned[]){21, 38, 44, 46}, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(all_inputs_and_roundings), cmocka_unit_test(usual_bits),
	    cmocka_unit_test(widths_at_the_edges),	cmocka_unit_test(the_widest_word),
	    cmocka_unit_test(maximum_over_sets),	cmocka_unit_test(refusals),
	    cmocka_unit_test(scores_and_labels),	cmocka_unit_test(published_widths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
