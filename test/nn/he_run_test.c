/* SPDX-License-Identifier: Apache-2.0 */
/* Whole networks under encryption, both ends in this process: every answered row against integers within its
 * proven error, bytes as planned. */
#include "test/nn/net.h"

#include <math.h>

#include "nn/he_offline.h"
#include "test/nn/npy.h"

struct ends {
	const struct planned *p;
	struct he_plan *hp, *read; /* the model owner's; the data owner's, from widths */
	struct he_model *model;
	struct he_replier *replier;
	struct he_rng *rng;
	struct he_work *work;
	struct he_key *key;
	struct he_public *pk;
	struct he_lane *lane;
};

static void keys(struct ends *s, enum he_set set)
{
	struct err e = {0};
	uint8_t *public = malloc(he_public_bytes(set));

	s->rng = he_rng_new(NULL, &e);
	s->work = he_work_new(set, 0, &e);
	s->key = he_key_new(set, s->rng, &e);
	assert_int_equal(he_key_public(s->key, s->rng, s->work, public, &e), 0);
	assert_int_equal(he_public_new(&s->pk, set, public, he_public_bytes(set), &e), 0);
	free(public);
}

static void ends_new(struct ends *s, const struct planned *p, int set, size_t batch)
{
	struct he_width widths[TAPE_MAX_ROWS];
	struct err e = {0};

	memset(s, 0, sizeof(*s));
	s->p = p;
	if (he_plan_make(&s->hp, p->plan, p->weights, p->bounds, set, &e))
		fail_msg("%s", e.text);
	for (uint16_t i = 0; i < s->hp->n_steps; i++)
		widths[i] = s->hp->steps[i].width;
	if (he_plan_read(&s->read, p->plan, s->hp->set, widths, s->hp->n_steps, &e))
		fail_msg("%s", e.text);
	assert_int_equal(s->read->total_up, s->hp->total_up);
	assert_int_equal(s->read->total_down, s->hp->total_down);
	keys(s, s->hp->set);
	if (he_model_new(&s->model, s->hp, p->weights, &e) || he_replier_new(&s->replier, s->model, &e) ||
	    he_lane_new(&s->lane, s->read, s->key, batch, &e))
		fail_msg("%s", e.text);
}

static void ends_free(struct ends *s)
{
	he_lane_free(s->lane);
	he_replier_free(s->replier);
	he_model_free(s->model);
	he_plan_free(s->read);
	he_plan_free(s->hp);
	he_public_free(s->pk);
	he_key_free(s->key);
	he_work_free(s->work);
	he_rng_free(s->rng);
}

static void infer(struct ends *s, const uint8_t *pixels, size_t batch)
{
	uint64_t up = 0, down = 0;
	struct err e = {0};
	uint16_t level;

	he_lane_begin(s->lane, pixels, batch);
	for (uint16_t trips = 0; trips <= s->hp->levels; trips++) {
		size_t most = 0;
		uint8_t *request, *answer;
		int asked;

		for (uint16_t i = 0; i < s->hp->levels; i++)
			most = he_request_bytes(s->hp, i, batch) > most ? he_request_bytes(s->hp, i, batch)
									: most;
		request = malloc(most + 1);
		asked = he_lane_ask(s->lane, &level, request, &e);
		if (asked == 1) {
			size_t bytes = he_request_bytes(s->hp, level, batch),
			       back = he_answer_bytes(s->hp, level, batch);

			assert_int_equal(level, trips);
			answer = malloc(back);
			if (he_reply(s->replier, s->pk, level, batch, request, bytes, answer, &e) ||
			    he_lane_take(s->lane, answer, back, &e))
				fail_msg("%s", e.text);
			up += bytes;
			down += back;
			free(answer);
		} else
			assert_int_equal(trips, s->hp->levels);
		free(request);
	}
	assert_int_equal(down, s->hp->total_down * batch);
	assert_int_equal(up, s->hp->total_up * batch);
}

/* The same with tickets made before. */
static void infer_offline(struct ends *s, const uint8_t *pixels, size_t batch)
{
	const struct he_plan *hp = s->hp;
	uint64_t *tickets[8], *secrets[8];
	uint8_t *request = malloc(he_ticket_request(hp)), *answer = malloc(he_ticket_answer(hp)), *up, *down;
	struct err e = {0};
	uint16_t level;

	for (size_t b = 0; b < batch; b++) {
		tickets[b] = calloc(he_ticket_words(hp), 8);
		secrets[b] = calloc(he_ticket_secrets(hp), 8);
		if (he_ticket_ask(s->lane, tickets[b], request, &e) ||
		    he_ticket_reply(s->replier, s->pk, request, he_ticket_request(hp), secrets[b], answer,
				    &e) ||
		    he_ticket_take(s->lane, tickets[b], answer, he_ticket_answer(hp), &e))
			fail_msg("%s", e.text);
		assert_int_equal(he_ticket_take(s->lane, tickets[b], answer, he_ticket_answer(hp) - 1, &e),
				 -1);
	}
	he_lane_begin(s->lane, pixels, batch);
	for (uint16_t trips = 0;; trips++) {
		size_t there = trips < hp->levels ? he_masked_up(hp, trips) * batch : 0,
		       back = there ? he_masked_down(hp, trips) * batch : 0;

		up = malloc(there + 1);
		down = malloc(back + 1);
		if (he_masked_ask(s->lane, tickets, &level, up, &e) == 1) {
			assert_int_equal(level, trips);
			if (he_masked_reply(s->replier, secrets, level, batch, up, there, down, &e) ||
			    he_masked_take(s->lane, tickets, down, back, &e))
				fail_msg("%s", e.text);
		} else
			there = 0;
		free(up);
		free(down);
		if (!there)
			break;
	}
	for (size_t b = 0; b < batch; b++) {
		free(tickets[b]);
		free(secrets[b]);
	}
	free(request);
	free(answer);
}

/* Every answered row: what the data owner has against the row's meaning on the data owner's own inputs. */
static double check(struct ends *s, size_t image)
{
	const struct tape *t = &s->p->plan->tape;
	struct fixed *f;
	struct err e = {0};
	double worst = 0;

	assert_int_equal(fixed_new(&f, s->p->plan, s->p->weights, &e), 0);
	for (uint16_t i = 0; i < s->hp->n_steps; i++) {
		const struct he_step *step = &s->hp->steps[i];
		const struct row *row = &t->rows[step->row];
		size_t n = shape_size(t->values[row->out].shape);

		for (uint16_t j = 0; j < row->n_in; j++)
			memcpy(fixed_values(f, row->in[j]), he_lane_value(s->lane, image, row->in[j]),
			       shape_size(t->values[row->in[j]].shape) * 8);
		fixed_row(f, step->row);
		for (size_t j = 0; j < n; j++) {
			double d = fabs((double)(he_lane_value(s->lane, image, row->out)[j] -
						 fixed_value(f, row->out)[j]));

			if (d > step->error + 0.5)
				fail_msg("row %u, output %zu of %zu: error %g, bound %g (k %u, N %zu, %u "
					 "primes, %u up, %u down less %u)",
					 step->row, j, n, d, step->error, step->width.k,
					 step->terms[0].layout.n, step->width.limbs, step->width.up,
					 step->width.to, step->width.cut);
			worst = fmax(worst, d / (step->error + 0.5));
		}
	}
	fixed_free(f);
	return worst;
}

static void one_network(const struct graph *g, const struct plan_options *o, int set, size_t batch)
{
	struct planned p = net_plan(g, o);
	size_t n = shape_size(p.plan->input);
	uint8_t *pixels = malloc(n * batch);
	struct ends s;

	ends_new(&s, &p, set, batch);
	for (size_t i = 0; i < n * batch; i++)
		pixels[i] = (uint8_t)rnd();
	infer(&s, pixels, batch);
	for (size_t b = 0; b < batch; b++)
		check(&s, b);
	infer_offline(&s, pixels, batch);
	for (size_t b = 0; b < batch; b++)
		check(&s, b);
	free(pixels);
	ends_free(&s);
	planned_free(&p);
}

static void networks(void **state)
{
	struct plan_options o = plan_defaults();
	struct net n;

	o.weight_bits = 14;
	o.activation_bits = 8;
	for (unsigned which = 0; net_zoo(&n, which, 2, 6, 7); which++) {
		for (int set = -1; set < HE_SETS; set++)
			one_network(&n.g, &o, set, 1);
		net_free(&n);
	}
}

/* Few bits: layers in the smaller ring, beside others. */
static void narrow(void **state)
{
	struct plan_options o = plan_defaults();
	unsigned small = 0, all = 0;
	struct net n;

	o.weight_bits = 6;
	o.activation_bits = 3;
	he_plan_options(&o);
	assert_int_equal(o.pixel_bits, 8);
	for (unsigned which = 0; net_zoo(&n, which, 2, 9, 8); which++) {
		struct planned p = net_plan(&n.g, &o);
		struct he_plan *hp;
		struct err e = {0};

		assert_int_equal(he_plan_make(&hp, p.plan, p.weights, p.bounds, HE_S, &e), 0);
		for (uint16_t i = 0; i < hp->n_steps; i++, all++)
			small += hp->steps[i].width.small;
		he_plan_free(hp);
		planned_free(&p);
		one_network(&n.g, &o, HE_S, 2);
		net_free(&n);
	}
	assert_true(small > all / 2);
}

static void batches(void **state)
{
	struct plan_options o = plan_defaults();
	struct net n;

	net_zoo(&n, 3, 3, 9, 8);
	one_network(&n.g, &o, HE_L, 5);
	net_free(&n);
}

/* Labels and scores of a trained model against float. */
static void trained(const char *path, float mean, float std, const struct array *images, size_t count,
		    size_t channels)
{
	struct plan_options o = plan_defaults();
	struct planned p;
	struct err e = {0};
	struct graph *g;
	struct float_run *run;
	float scores[64], reference[64];

	assert_int_equal(graph_load(&g, path, &e), 0);
	if (std > 0) {
		g->pre.scale = 255;
		for (int c = 0; c < NN_MAX_CHANNELS; c++)
			g->pre.mean[c] = mean, g->pre.std[c] = std;
	}
	p = net_plan(g, &o);
	assert_int_equal(float_new(&run, g, &e), 0);
	for (int set = 0; set < HE_SETS; set++) {
		size_t n = shape_size(p.plan->input), agree = 0;
		uint8_t *chw = malloc(n);
		double worst = 0, error = 0;
		struct ends s;

		ends_new(&s, &p, set, 1);
		for (size_t i = 0; i < count; i++) {
			const uint8_t *from = (const uint8_t *)images->data + i * n;
			uint32_t best = 0;

			for (size_t c = 0; c < channels; c++)
				for (size_t j = 0; j < n / channels; j++)
					chw[c * (n / channels) + j] = from[j * channels + c];
			infer(&s, chw, 1);
			worst = fmax(worst, check(&s, 0));
			float_infer(run, chw, reference);
			for (uint32_t j = 1; j < plan_classes(p.plan); j++)
				best = reference[j] > reference[best] ? j : best;
			agree += plan_scores(p.plan, he_lane_result(s.lane, 0), scores) == best;
			for (uint32_t j = 0; j < plan_classes(p.plan); j++)
				error = fmax(error, fabs(ldexp((double)he_lane_result(s.lane, 0)[j],
							       -p.plan->result_bits) /
							     p.plan->result_divisor -
							 reference[j]));
		}
		print_message("%s, set %s: %zu of %zu labels, %llu bytes up, %llu down, error of scores "
			      "%.2g, of rows %.2f of its bound\n",
			      path, he_params(set)->name, agree, count, (unsigned long long)s.hp->total_up,
			      (unsigned long long)s.hp->total_down, error, worst);
		assert_true(agree == count);
		free(chw);
		ends_free(&s);
	}
	float_free(run);
	planned_free(&p);
	graph_free(g);
}

static void published(const char *model, float mean, float std, const char *file, size_t channels)
{
	char path[512], images[512];
	struct array a;

	if (!shared_path(path, model) || !shared_path(images, file)) {
		print_message("skipped: ../shared is not here\n");
		skip();
	}
	if (strstr(file, ".gz") ? idx_read(&a, images) : npy_read(&a, images))
		fail_msg("cannot read %s", images);
	trained(path, mean, std, &a, SLOW ? 1 : 10, channels);
	free(a.data);
}

static void model_x(void **state)
{
	published("models/model_x.onnx", 0.1307f, 0.3081f, "mnist/t10k-images-idx3-ubyte.gz", 1);
}
static void model_y(void **state)
{
	published("models/model_y.onnx", 0.1307f, 0.3081f, "mnist/t10k-images-idx3-ubyte.gz", 1);
}
static void model_z(void **state)
{
	published("models/model_z.onnx", 0.5f, 0.5f, "malaria/images.npy", 3);
}

/* ---- refusals ---- */

static void refused(const struct plan_options *o, int set, enum err_code code, const char *what)
{
	struct planned p;
	struct he_plan *hp;
	struct err e = {0};
	struct net n;

	net_input(&n, 1, 6, 6);
	net_dense(&n, net_relu(&n, net_dense(&n, net_relu(&n, net_dense(&n, 0, 20)), 20)), 3);
	p = net_plan(&n.g, o);
	assert_int_equal(he_plan_make(&hp, p.plan, p.weights, p.bounds, set, &e), -1);
	assert_null(hp);
	assert_int_equal(e.code, code);
	if (!strstr(e.text, what))
		fail_msg("\"%s\" does not say \"%s\"", e.text, what);
	planned_free(&p);
	net_free(&n);
}

/* Words and noise beyond the modulus: the layer is named, and the way out. */
static void refusals(void **state)
{
	struct plan_options o = plan_defaults();

	o.weight_bits = 24;
	o.activation_bits = 18;
	refused(&o, HE_S, ERR_INPUT, "row ");
	refused(&o, HE_S, ERR_INPUT, "use --he-set L, fewer --weight-bits");
	o.weight_bits = o.activation_bits = 12;
	o.reveal = REVEAL_LABEL;
	refused(&o, -1, ERR_USAGE, "use --reveal logits, or smpc");
}

static int skips_alone(const struct row *row)
{
	for (uint16_t i = 0; i < row->n_terms; i++)
		if (row->terms[i].kind != TERM_SKIP)
			return 0;
	return row->kind == OP_LINEAR;
}

/* A sum of values that the data owner has needs no answer; constants in it would, and are refused: the row
 * and a remedy are named. */
static void constants_of_skips(void **state)
{
	struct plan_options o = plan_defaults();
	unsigned found = 0;
	struct net n;

	for (unsigned which = 0; net_zoo(&n, which, 2, 6, 7); which++) {
		struct planned p = net_plan(&n.g, &o);

		for (uint16_t i = 0; i < p.plan->tape.n_rows; i++) {
			struct layer_weights *w = &p.weights->rows[i];
			struct he_plan *hp;
			struct err e = {0};
			char name[16];

			if (!skips_alone(&p.plan->tape.rows[i]) || !w->n_bias)
				continue;
			found++;
			assert_int_equal(he_plan_make(&hp, p.plan, p.weights, p.bounds, HE_L, &e), 0);
			he_plan_free(hp);
			w->bias[w->n_bias - 1] += 3;
			assert_int_equal(he_plan_make(&hp, p.plan, p.weights, p.bounds, -1, &e), -1);
			snprintf(name, sizeof(name), "row %u ", i);
			assert_null(hp);
			assert_int_equal(e.code, ERR_INPUT);
			if (!strstr(e.text, name) || !strstr(e.text, "use smpc"))
				fail_msg("\"%s\" names neither %s nor a remedy", e.text, name);
			w->bias[w->n_bias - 1] -= 3;
		}
		planned_free(&p);
		net_free(&n);
	}
	assert_true(found);
}

/* The bound holds by a margin that is positive and not idle: the error of every row is within it, and
 * deviates by a quarter of a unit at most. */
static void budgets(void **state)
{
	struct plan_options o = plan_defaults();
	struct err e = {0};
	struct net n;

	for (unsigned which = 0; net_zoo(&n, which, 2, 6, 7); which++) {
		struct planned p = net_plan(&n.g, &o);
		struct he_plan *hp;

		if (he_plan_make(&hp, p.plan, p.weights, p.bounds, HE_L, &e))
			fail_msg("%s", e.text);
		for (uint16_t i = 0; i < hp->n_steps; i++) {
			const struct he_step *s = &hp->steps[i];
			const struct value *v = &p.plan->tape.values[p.plan->tape.rows[s->row].out];
			double half = ldexp(1, s->width.k - 1);

			assert_true(s->noise <= s->error && s->error > 0);
			if (v->form == FORM_MASKED)
				assert_true(s->error <= ldexp(2, v->f));
			assert_true(-half <= (double)p.bounds->lo[p.plan->tape.rows[s->row].out] - s->error);
			assert_true((double)p.bounds->hi[p.plan->tape.rows[s->row].out] + s->error < half);
		}
		he_plan_free(hp);
		planned_free(&p);
		net_free(&n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(refusals), cmocka_unit_test(constants_of_skips),
	    cmocka_unit_test(budgets),	cmocka_unit_test(networks),
	    cmocka_unit_test(narrow),	cmocka_unit_test(batches),
	    cmocka_unit_test(model_x),	cmocka_unit_test(model_y),
	    cmocka_unit_test(model_z),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
