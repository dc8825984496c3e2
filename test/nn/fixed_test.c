/* SPDX-License-Identifier: Apache-2.0 */
/* The fixed-point reference: the meaning of each row on chosen numbers, whole networks against the float
 * reference, and the shared models against PyTorch's logits. */
#include <glob.h>
#include <math.h>

#include "test/nn/net.h"
#include "test/nn/npy.h"

/* ---- rows by hand: input → linear (weights 0, bias y) → operator → … ---- */

#define HAND_ROWS 8

struct hand {
	struct plan plan;
	struct weights weights;
	struct value values[HAND_ROWS + 1];
	struct row rows[HAND_ROWS];
	struct layer_weights layers[HAND_ROWS];
	int64_t zeros[64];
};

static struct row *hand_row(struct hand *h, enum op_kind kind, uint16_t in, enum form form,
			    struct shape shape, unsigned k, unsigned f)
{
	struct tape *t = &h->plan.tape;
	struct row *row = &h->rows[t->n_rows++];

	h->values[t->n_values] = (struct value){form, shape, (uint8_t)k, (uint8_t)f};
	*row = (struct row){.kind = kind, .in = {in}, .n_in = 1, .out = t->n_values++};
	h->weights.n_rows = t->n_rows;
	return row;
}

static struct shape flat(uint32_t n)
{
	return (struct shape){n, 1, 1};
}

static struct window whole(struct shape in, struct shape out)
{
	return (struct window){.in = in, .out = out, .kh = 1, .kw = 1, .sh = 1, .sw = 1, .dh = 1, .dw = 1};
}

/* Value 2 is a masked wire that holds y. */
static void hand_wire(struct hand *h, struct shape shape, unsigned f, int64_t *y)
{
	struct row *row;

	memset(h, 0, sizeof(*h));
	h->plan.tape = (struct tape){.values = h->values, .n_values = 1, .rows = h->rows};
	h->weights.rows = h->layers;
	h->values[0] = (struct value){FORM_SHARE, flat(1), 62, 0};
	hand_row(h, OP_MASK, 0, FORM_DIFF, flat(1), 62, 0);
	row = hand_row(h, OP_LINEAR, 1, FORM_MASKED, shape, 62, f);
	row->n_terms = 1;
	row->terms[0] = (struct term){.kind = TERM_DENSE,
				      .in = 1,
				      .win = whole(flat(1), flat((uint32_t)shape_size(shape))),
				      .groups = 1};
	h->layers[1] = (struct layer_weights){h->zeros, shape_size(shape), y, shape_size(shape)};
}

static void hand_run(struct hand *h, uint16_t last, unsigned k, fixed_low low, void *ctx, int64_t *result)
{
	struct fixed *f = NULL;
	struct err e = {0};
	uint8_t pixel = 200;

	hand_row(h, OP_REVEAL, last, FORM_RESULT, h->values[last].shape, k, 0);
	if (tape_check(&h->plan.tape, &e) || fixed_new(&f, &h->plan, &h->weights, &e))
		fail_msg("%s", e.text);
	fixed_infer(f, &pixel, low, ctx, result);
	fixed_free(f);
}

/* The same low bits everywhere; checks what it is asked. */
static uint64_t same_low(void *ctx, uint16_t value, size_t i, unsigned f)
{
	assert_int_equal(value, 2);
	assert_int_equal(f, 4);
	return *(uint64_t *)ctx;
}

#define Y 9
static int64_t edge[Y] = {0, 1, 15, 16, 17, -1, -15, -16, -17};

static void element_rows(enum op_kind kind, uint64_t low, const int64_t *want)
{
	struct hand h;
	int64_t got[Y];
	struct row *row;

	hand_wire(&h, flat(Y), 4, edge);
	row = hand_row(&h, kind, 2, FORM_SHARE, flat(Y), 62, 0);
	if (kind != OP_RELU)
		row->offset_log2 = 60;
	hand_run(&h, 3, 62, low == ~UINT64_C(0) ? NULL : same_low, &low, got);
	for (int i = 0; i < Y; i++)
		assert_true(got[i] == want[i]);
}

static void rounding(void **state)
{
	element_rows(OP_RELU, 0, (int64_t[]){0, 0, 0, 1, 1, 0, 0, 0, 0});
	element_rows(OP_RELU, 15, (int64_t[]){0, 1, 1, 1, 2, 0, 0, 0, 0});
	element_rows(OP_RELU, 1, (int64_t[]){0, 0, 1, 1, 1, 0, 0, 0, 0});
	element_rows(OP_TRUNC, 0, (int64_t[]){0, 0, 0, 1, 1, -1, -1, -1, -2});
	element_rows(OP_TRUNC, 15, (int64_t[]){0, 1, 1, 1, 2, 0, 0, -1, -1});
	element_rows(OP_SQUARE, 0, (int64_t[]){0, 0, 0, 1, 1, 1, 1, 1, 4});
	/* without a callback: to the nearest */
	element_rows(OP_TRUNC, ~UINT64_C(0), (int64_t[]){0, 0, 1, 1, 1, 0, -1, -1, -1});
	/* only the low f bits of what the callback says count */
	element_rows(OP_TRUNC, 16 + 15, (int64_t[]){0, 1, 1, 1, 2, 0, 0, -1, -1});
}

static void maximum(void **state)
{
	struct hand h;
	int64_t y[9] = {-5, -90, -30, -64, -48, 7, 200, -1, 9}, got[4], want[4] = {-5, 7, 200, 9};
	struct row *row;
	uint64_t low = 0;

	hand_wire(&h, (struct shape){1, 3, 3}, 4, y);
	row = hand_row(&h, OP_MAX, 2, FORM_MASKED, (struct shape){1, 2, 2}, 58, 0);
	row->post = (struct window){
	    .in = {1, 3, 3}, .out = {1, 2, 2}, .kh = 2, .kw = 2, .sh = 1, .sw = 1, .dh = 1, .dw = 1};
	row = hand_row(&h, OP_TRUNC, 3, FORM_SHARE, (struct shape){1, 2, 2}, 58, 0);
	row->offset_log2 = 56;
	hand_run(&h, 4, 58, same_low, &low, got);
	for (int i = 0; i < 4; i++)
		assert_true(got[i] == want[i] >> 4);
}

static int64_t label_of(int64_t *y, uint32_t n, unsigned bits)
{
	struct hand h;
	int64_t got;

	hand_wire(&h, flat(n), 0, y);
	hand_row(&h, OP_ARGMAX, 2, FORM_SHARE, flat(1), bits, 0);
	hand_run(&h, 3, bits + 1, NULL, NULL, &got);
	return got;
}

static void argmax(void **state)
{
	assert_int_equal(label_of((int64_t[]){3, 9, 9, -1}, 4, 2), 1);
	assert_int_equal(label_of((int64_t[]){-3, -9, -2, -2}, 4, 2), 2);
	assert_int_equal(label_of((int64_t[]){1, 1}, 2, 1), 0);
	assert_int_equal(label_of((int64_t[]){0, 0, 0, 0, 1}, 5, 3), 4); /* 4 mod 2^3 is not negative */
	assert_int_equal(label_of((int64_t[]){-7}, 1, 1), 0);
}

/* shares → map → reveal, on a truncated wire with f = 0 */
static void map_of(struct row map, struct shape in, struct shape out, int64_t *y, const int64_t *want)
{
	struct hand h;
	struct row *row;
	int64_t got[64];

	hand_wire(&h, in, 0, y);
	hand_row(&h, OP_TRUNC, 2, FORM_SHARE, in, 62, 0)->offset_log2 = 60;
	row = hand_row(&h, OP_MAP, 3, FORM_SHARE, out, 60, 0);
	map.kind = OP_MAP;
	map.in[0] = map.in[1] = 3;
	map.n_in = map.n_in ? map.n_in : 1;
	map.out = row->out;
	*row = map;
	hand_run(&h, 4, 60, NULL, NULL, got);
	for (size_t i = 0; i < shape_size(out); i++)
		assert_true(got[i] == want[i]);
}

static void maps(void **state)
{
	struct shape two = {1, 2, 2}, line = {1, 1, 2};
	int64_t y[4] = {1, -2, 30, 400};
	uint32_t factors[2] = {3, 2};
	struct row pool = {.map = MAP_POOL, .factors = factors};
	struct row pad = {.map = MAP_PAD, .post = whole(line, (struct shape){1, 2, 3})};

	pool.post =
	    (struct window){.in = two, .out = line, .kh = 2, .kw = 1, .sh = 1, .sw = 1, .dh = 1, .dw = 1};
	map_of(pool, two, line, y, (int64_t[]){93, 796});
	pool.factors = NULL;
	map_of(pool, two, line, y, (int64_t[]){31, 398});
	pad.post.pt = pad.post.pl = 1;
	map_of(pad, line, (struct shape){1, 2, 3}, y, (int64_t[]){0, 0, 0, 0, 1, -2});
	map_of((struct row){.map = MAP_CONCAT, .n_in = 2, .shift = {0, 3}}, line, (struct shape){2, 1, 2}, y,
	       (int64_t[]){1, -2, 8, -16});
	map_of((struct row){.map = MAP_ADD, .n_in = 2, .shift = {1, 3}}, line, line, y, (int64_t[]){10, -20});
}

/* y = pool(W x + 2^2 x + bias): convolution with groups, stride, dilation and pad beside a skip, and the
 * row's own pool. */
static void sums(void **state)
{
	struct shape s = {2, 3, 3}, p = {2, 2, 2};
	struct window conv = {
	    .in = s, .out = s, .kh = 2, .kw = 2, .sh = 1, .sw = 1, .dh = 2, .dw = 2, .pt = 1, .pl = 1};
	int64_t w[8] = {1, 2, 3, 4, -1, 0, 0, 5}, bias[18], x[18], y[18], got[8];
	struct hand h;
	struct row *row;

	for (int i = 0; i < 18; i++) {
		bias[i] = i - 9;
		x[i] = i * i - 40;
	}
	for (int o = 0; o < 2; o++)
		for (int r = 0; r < 3; r++)
			for (int c = 0; c < 3; c++) {
				int64_t sum = bias[(o * 3 + r) * 3 + c] + 4 * x[(o * 3 + r) * 3 + c];

				for (int i = 0; i < 4; i++) {
					int a = r - 1 + i / 2 * 2, b = c - 1 + i % 2 * 2;

					if (a >= 0 && a < 3 && b >= 0 && b < 3)
						sum += w[o * 4 + i] * x[(o * 3 + a) * 3 + b];
				}
				y[(o * 3 + r) * 3 + c] = sum;
			}
	hand_wire(&h, s, 0, x);
	hand_row(&h, OP_TRUNC, 2, FORM_SHARE, s, 62, 0)->offset_log2 = 60;
	hand_row(&h, OP_MASK, 3, FORM_DIFF, s, 62, 0);
	row = hand_row(&h, OP_LINEAR, 4, FORM_SHARE, p, 62, 0);
	row->in[1] = 4;
	row->n_in = row->n_terms = 2;
	row->terms[0] = (struct term){.kind = TERM_CONV, .in = 4, .win = conv, .groups = 2};
	row->terms[1] =
	    (struct term){.kind = TERM_SKIP, .in = 4, .win = whole(s, s), .groups = 1, .shift = 2};
	row->has_post = 1;
	row->post = (struct window){.in = s, .out = p, .kh = 2, .kw = 2, .sh = 1, .sw = 1, .dh = 1, .dw = 1};
	h.layers[4] = (struct layer_weights){w, 8, bias, 18};
	hand_run(&h, 5, 62, NULL, NULL, got);
	for (int i = 0; i < 8; i++) {
		const int64_t *at = y + i / 4 * 9 + i / 2 % 2 * 3 + i % 2;

		assert_true(got[i] == at[0] + at[1] + at[3] + at[4]);
	}
}

static void foreign_weights(void **state)
{
	struct plan_options o = plan_defaults();
	struct planned p;
	struct fixed *f;
	struct net n;
	struct err e = {0};

	net_zoo(&n, 0, 1, 2, 2);
	p = net_plan(&n.g, &o);
	p.weights->rows[1].n_weights--;
	assert_int_equal(fixed_new(&f, p.plan, p.weights, &e), -1);
	assert_int_equal(e.code, ERR_INPUT);
	p.weights->rows[1].n_weights++;
	p.weights->rows[1].n_bias--;
	assert_int_equal(fixed_new(&f, p.plan, p.weights, &e), -1);
	p.weights->rows[1].n_bias++;
	p.weights->n_rows--;
	assert_int_equal(fixed_new(&f, p.plan, p.weights, &e), -1);
	p.weights->n_rows++;
	assert_int_equal(fixed_new(&f, p.plan, p.weights, &e), 0);
	fixed_free(f);
	planned_free(&p);
	net_free(&n);
}

/* ---- against the float reference ---- */

static uint64_t random_low(void *ctx, uint16_t value, size_t i, unsigned f)
{
	uint64_t h = (*(uint64_t *)ctx + value * 1000003u + i) * UINT64_C(0x9e3779b97f4a7c15);

	return (h ^ h >> 31) * UINT64_C(0xbf58476d1ce4e5b9) >> 7;
}

struct compared {
	struct planned p;
	struct float_run *run;
	struct fixed *f;
	size_t pixels, classes;
	double worst, most;
};

static void compare_image(struct compared *c, const struct graph *g, uint64_t seed)
{
	uint8_t *image = malloc(c->pixels);
	int64_t *result = malloc(c->classes * sizeof(*result));
	float *want = malloc(c->classes * sizeof(*want)), *got = malloc(c->classes * sizeof(*got));

	for (size_t i = 0; i < c->pixels; i++)
		image[i] = (uint8_t)rnd();
	fixed_infer(c->f, image, random_low, &seed, result);
	float_infer(c->run, image, want);
	float_output(g->output, want, c->classes);
	plan_scores(c->p.plan, result, got);
	for (size_t i = 0; i < c->classes; i++) {
		c->worst = fmax(c->worst, fabs((double)want[i] - got[i]));
		c->most = fmax(c->most, fabs((double)want[i]));
	}
	free(image);
	free(result);
	free(want);
	free(got);
}

/* Greatest |fixed - float| of one network over random images, as a share of the greatest |float|. */
static double error_of(const struct graph *g, const struct plan_options *o, int images)
{
	struct compared c = {.p = net_plan(g, o), .pixels = shape_size(g->nodes[0].shape)};
	struct err e = {0};

	c.classes = shape_size(g->nodes[g->n - 1].shape);
	assert_int_equal(fixed_new(&c.f, c.p.plan, c.p.weights, &e), 0);
	assert_int_equal(float_new(&c.run, g, &e), 0);
	for (int i = 0; i < images; i++)
		compare_image(&c, g, (uint64_t)i);
	float_free(c.run);
	fixed_free(c.f);
	planned_free(&c.p);
	return c.worst / fmax(c.most, 1);
}

static void small_networks(void **state)
{
	struct plan_options o = plan_defaults();
	const char *what;
	struct net n;

	for (unsigned seed = 0; seed < 3; seed++)
		for (unsigned which = 0; rnd_state = seed, (what = net_zoo(&n, which, 2, 4, 5)); which++) {
			double error;

			net_normalise(&n);
			error = error_of(&n.g, &o, 50);
			/* 40 pixels of up to 255 meet weights rounded to 2^-16; a wrong scale would be off by
			 * much more */
			if (!(error < 2e-2))
				fail_msg("%s: off by %g", what, error);
			net_free(&n);
		}
}

/* Everything at once, deeper, with groups, strides and dilation. */
static void deep_network(void **state)
{
	struct plan_options o = plan_defaults();
	struct net n;
	uint32_t a, b, c;
	double error;

	rnd_state = 11;
	net_input(&n, 3, 6, 7);
	net_normalise(&n);
	n.scale = 0.3f;
	a = net_relu(&n, net_conv(&n, 0, 4, 3, 1, 1, 1));
	b = net_relu(&n, net_conv(&n, a, 4, 3, 1, 1, 4));
	n.nodes[b - 1].win.dh = n.nodes[b - 1].win.dw =
	    2; /* taps at -1, 1, 3: the last rows and columns lack some */
	c = net_relu(&n, net_two(&n, NN_ADD, net_conv(&n, b, 4, 1, 1, 0, 2), a));
	a = net_pool(&n, NN_MAXPOOL, net_relu(&n, net_conv(&n, c, 2, 3, 1, 1, 1)), 3, 2, 1, 0);
	b = net_pool(&n, NN_AVGPOOL, c, 3, 2, 1, 0);
	c = net_two(&n, NN_CONCAT, a, b);
	a = net_relu(&n, net_two(&n, NN_ADD, net_conv(&n, c, 5, 1, 1, 0, 1), net_conv(&n, c, 5, 3, 1, 1, 1)));
	a = net_pool(&n, NN_AVGPOOL, net_square(&n, net_conv(&n, a, 3, 1, 1, 0, 1)), 3, 1, 0, 0);
	net_dense(&n, a, 4);
	error = error_of(&n.g, &o, 200);
	print_message("deep network: off by %.2g of the greatest score\n", error);
	assert_true(error < 2e-3);
	net_free(&n);
}

/* A pool of many elements must not eat the precision of the weights after it: 4 bits at most are given up. */
static void large_pools(void **state)
{
	struct plan_options o = plan_defaults();

	for (uint32_t side = 7; side <= 8; side++) {
		struct planned p;
		struct net n;
		uint16_t last;
		unsigned t;

		rnd_state = side;
		net_input(&n, 1, side, side);
		net_dense(
		    &n, net_pool(&n, NN_AVGPOOL, net_relu(&n, net_conv(&n, 0, 8, 3, 1, 1, 1)), side, 1, 0, 0),
		    5);
		p = net_plan(&n.g, &o);
		last = (uint16_t)(p.plan->tape.n_rows - 2);
		t = p.plan->result_bits - o.activation_bits -
		    (side == 8 ? 6 : 0); /* pooled shares have 12 bits, and 6 more of 64 */
		for (size_t i = 0; i < 40; i++) {
			double w =
			    ldexp((double)p.weights->rows[last].weights[i], -(int)t) * (side == 8 ? 1 : 49);

			assert_true(fabs(w - n.nodes[net_last(&n)].weights[i]) <= ldexp(1, -12));
		}
		assert_true(error_of(&n.g, &o, 20) < 1e-2);
		planned_free(&p);
		net_free(&n);
	}
}

/* More bits, less error: about a bit each. */
static void bits_matter(void **state)
{
	struct plan_options coarse = plan_defaults(), fine = plan_defaults();
	struct net n;
	double much, little;

	rnd_state = 2;
	net_zoo(&n, 9, 2, 4, 5);
	net_normalise(&n);
	coarse.weight_bits = 8, coarse.activation_bits = 6;
	fine.weight_bits = 16, fine.activation_bits = 14;
	much = error_of(&n.g, &coarse, 100);
	little = error_of(&n.g, &fine, 100);
	assert_true(little < much / 32);
	net_free(&n);
}

static void label_is_the_argmax(void **state)
{
	struct plan_options o = plan_defaults();
	struct planned logits, label;
	struct fixed *a, *b;
	struct net n;
	struct err e = {0};
	float scores[8];

	rnd_state = 8;
	net_input(&n, 1, 3, 3);
	net_dense(&n, net_relu(&n, net_dense(&n, 0, 6)), 7);
	logits = net_plan(&n.g, &o);
	o.reveal = REVEAL_LABEL;
	label = net_plan(&n.g, &o);
	assert_int_equal(fixed_new(&a, logits.plan, logits.weights, &e), 0);
	assert_int_equal(fixed_new(&b, label.plan, label.weights, &e), 0);
	for (int i = 0; i < 300; i++) {
		uint8_t image[9];
		int64_t all[7], one;

		for (int j = 0; j < 9; j++)
			image[j] = (uint8_t)rnd();
		fixed_infer(a, image, NULL, NULL, all);
		fixed_infer(b, image, NULL, NULL, &one);
		assert_int_equal(plan_scores(label.plan, &one, scores),
				 plan_scores(logits.plan, all, scores));
	}
	fixed_free(a);
	fixed_free(b);
	planned_free(&logits);
	planned_free(&label);
	net_free(&n);
}

/* Every model that the importer's tests hold: what it makes of them can be planned, and means the same. */
static void imported_models(void **state)
{
	struct plan_options o = plan_defaults();
	glob_t models;

	if (glob("test/models/import/*.onnx", 0, NULL, &models) ||
	    glob("test/models/*.onnx", GLOB_APPEND, NULL, &models))
		fail_msg("no models below test/models: run from the root of the tree");
	for (size_t i = 0; i < models.gl_pathc; i++) {
		struct graph *g;
		struct err e = {0};
		double error;

		if (graph_load(&g, models.gl_pathv[i], &e))
			fail_msg("%s", e.text);
		rnd_state = i;
		error = error_of(g, &o, 10);
		if (!(error < 2e-2))
			fail_msg("%s: off by %g", models.gl_pathv[i], error);
		graph_free(g);
	}
	globfree(&models);
}

/* ---- the shared models ---- */

static uint32_t greatest(const float *x, size_t n)
{
	uint32_t best = 0;

	for (uint32_t i = 1; i < n; i++)
		if (x[i] > x[best])
			best = i;
	return best;
}

static void load(const char *model, const char *images, const char *logits, struct graph **g, struct array *x,
		 struct array *y)
{
	struct err e = {0};
	char path[512];

	if (!shared_path(path, model)) {
		print_message("skipped: no shared data (OBSCURA_SHARED)\n");
		skip();
	}
	if (graph_load(g, path, &e))
		fail_msg("%s", e.text);
	assert_non_null(shared_path(path, images));
	assert_int_equal(strstr(images, "idx") ? idx_read(x, path) : npy_read(x, path), 0);
	assert_non_null(shared_path(path, logits));
	assert_int_equal(npy_read(y, path), 0);
}

/* Share of images whose label is that of PyTorch's logits. */
static double agreement(const char *model, const char *images, const char *logits, float mean, float std)
{
	struct plan_options o = plan_defaults();
	struct graph *g;
	struct array x, y;
	struct planned p;
	struct fixed *f;
	struct err e = {0};
	size_t same = 0, limit, classes, n, area;

	load(model, images, logits, &g, &x, &y);
	for (int c = 0; c < NN_MAX_CHANNELS; c++) {
		g->pre.mean[c] = mean;
		g->pre.std[c] = std;
	}
	p = net_plan(g, &o);
	assert_int_equal(fixed_new(&f, p.plan, p.weights, &e), 0);
	n = shape_size(p.plan->input);
	area = (size_t)p.plan->input.h * p.plan->input.w;
	classes = plan_classes(p.plan);
	limit = SLOW && x.dims[0] > 60 ? 60 : x.dims[0];
	for (uint64_t i = 0; i < limit; i++) {
		uint8_t pixels[4096];
		int64_t result[16];
		float scores[16];

		for (size_t j = 0; j < n; j++)
			pixels[j] = ((const uint8_t *)x.data)[i * n + j % area * p.plan->input.c + j / area];
		fixed_infer(f, pixels, random_low, &i, result);
		same += plan_scores(p.plan, result, scores) ==
			greatest((const float *)y.data + i * classes, classes);
	}
	print_message("%s: %zu of %zu labels as PyTorch's\n", model, same, limit);
	fixed_free(f);
	planned_free(&p);
	graph_free(g);
	free(x.data);
	free(y.data);
	return (double)same / (double)limit;
}

static void shared_x(void **state)
{
	assert_true(agreement("models/model_x.onnx", "mnist/t10k-images-idx3-ubyte.gz",
			      "mnist/logits_model_x.npy", 0.1307f, 0.3081f) >= 0.9995);
}

static void shared_y(void **state)
{
	assert_true(agreement("models/model_y.onnx", "mnist/t10k-images-idx3-ubyte.gz",
			      "mnist/logits_model_y.npy", 0.1307f, 0.3081f) >= 0.9995);
}

static void shared_z(void **state)
{
	assert_true(agreement("models/model_z.onnx", "malaria/images.npy", "malaria/logits_model_z.npy", 0.5f,
			      0.5f) == 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rounding),
	    cmocka_unit_test(maximum),
	    cmocka_unit_test(argmax),
	    cmocka_unit_test(maps),
	    cmocka_unit_test(sums),
	    cmocka_unit_test(foreign_weights),
	    cmocka_unit_test(small_networks),
	    cmocka_unit_test(deep_network),
	    cmocka_unit_test(large_pools),
	    cmocka_unit_test(bits_matter),
	    cmocka_unit_test(label_is_the_argmax),
	    cmocka_unit_test(imported_models),
	    cmocka_unit_test(shared_x),
	    cmocka_unit_test(shared_y),
	    cmocka_unit_test(shared_z),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
