/* SPDX-License-Identifier: Apache-2.0 */
/* The planner: every inequality of PROTOCOL.md §6 against the truth in small rings and at its edge; whole small networks over all their inputs
 * and roundings; how graphs are lowered; what is refused. */
#include "nn/interval.h"
#include "test/nn/ring.h"

#include <math.h>

/* ---- the inequalities, against all masks ------------------------------------------------------------------------------- */

#define SMALL_K 7
#define EXTRA 3 /* kout = w + EXTRA */

static int64_t z_of(int64_t y, uint64_t rho, unsigned f)
{
	return (y + (int64_t)(rho & ring_mask(f))) >> f;
}

static uint64_t hat_of(int64_t y, uint64_t rho, unsigned k, unsigned f)
{
	return (((uint64_t)y + rho) & ring_mask(k)) >> f;
}

/* 1 when the operator is right on y under every mask. */
static int relu_right(int64_t y, unsigned k, unsigned f)
{
	unsigned w = k - f, kout = w + EXTRA;

	for (uint64_t rho = 0; rho < 1u << k; rho++) {
		int64_t z = z_of(y, rho, f), want = z > 0 ? z : 0;

		if (ring_relu(hat_of(y, rho, k, f), rho >> f, w, kout) != ((uint64_t)want & ring_mask(kout)))
			return 0;
	}
	return 1;
}

static int offset_right(int64_t y, unsigned k, unsigned f, unsigned offset)
{
	unsigned w = k - f, kout = w + EXTRA;

	for (uint64_t rho = 0; rho < 1u << k; rho++)
		if (ring_extend(hat_of(y + (1 << offset), rho, k, f), rho >> f, w, kout, (1u << offset) >> f) !=
		    ((uint64_t)z_of(y, rho, f) & ring_mask(kout)))
			return 0;
	return 1;
}

/* z_j + relu(z_i - z_j) in the ring 2^w, for both orders and all roundings of both. */
static int max_right(int64_t lo, int64_t hi, unsigned k, unsigned f)
{
	unsigned w = k - f;

	for (int64_t zi = lo >> f; zi <= interval_ceil(hi, f); zi++)
		for (int64_t zj = lo >> f; zj <= interval_ceil(hi, f); zj++) {
			uint64_t d = (uint64_t)(zi - zj) & ring_mask(w), m = ((uint64_t)zj + (d >> (w - 1) ? 0 : d)) & ring_mask(w);

			if (m != ((uint64_t)(zi > zj ? zi : zj) & ring_mask(w)))
				return 0;
		}
	return 1;
}

/* §6 keeps 2^f below what is true for an offset: y + o = 2^(k-1) would still be right. */
static void offset_is_exact(int64_t y, unsigned k, unsigned f)
{
	for (unsigned offset = f; offset < k; offset++) {
		int64_t from = -(1 << offset), to = (1 << (k - 1)) - (1 << offset);

		assert_int_equal(offset_right(y, k, f, offset), from <= y && y <= to);
		assert_int_equal(interval_offset_fits(y, y, k, f, offset), from <= y && y <= to - (1 << f));
	}
}

static void inequalities_are_exact(void **state)
{
	for (unsigned k = 2; k <= SMALL_K; k++)
		for (unsigned f = 0; f + 2 <= k; f++)
			for (int64_t y = 1 - (1 << k); y <= 1 << k; y++) { /* -2^k is 0 again, and right by chance */
				assert_int_equal(interval_relu_fits(y, y, k, f), relu_right(y, k, f));
				offset_is_exact(y, k, f);
				for (int64_t hi = y; hi <= 1 << k; hi++)
					assert_int_equal(interval_max_fits(y, hi, k, f), max_right(y, hi, k, f));
				assert_int_equal(interval_last_fits(y, y, k), ring_signed((uint64_t)y, k) == y);
			}
}

static void inequalities_at_their_edges(void **state)
{
	for (unsigned k = 2; k <= 62; k++) {
		int64_t half = INT64_C(1) << (k - 1);

		assert_true(interval_last_fits(-half, half - 1, k));
		assert_false(interval_last_fits(-half - 1, 0, k));
		assert_false(interval_last_fits(0, half, k));
		for (unsigned f = 0; f + 2 <= k; f++) {
			int64_t one = INT64_C(1) << f, offset = INT64_C(1) << (k - 2), top = (INT64_C(1) << (k - f - 1)) - 1;

			assert_true(interval_relu_fits(-half, half - one, k, f));
			assert_false(interval_relu_fits(-half - 1, 0, k, f));
			assert_false(interval_relu_fits(0, half - one + 1, k, f));
			assert_true(interval_offset_fits(-offset, half - one - offset, k, f, k - 2));
			assert_false(interval_offset_fits(-offset - 1, 0, k, f, k - 2));
			assert_false(interval_offset_fits(0, half - one - offset + 1, k, f, k - 2));
			assert_true(interval_max_fits(-half, -half + top * one, k, f));
			assert_false(interval_max_fits(-half, -half + top * one + 1, k, f));
			assert_false(interval_max_fits(-half - 1, -half + top * one, k, f));
		}
		assert_false(interval_relu_fits(0, 0, k, k - 1)); /* w < 2 */
		assert_false(interval_max_fits(0, 0, k, k - 1));
		assert_false(interval_offset_fits(0, 0, k, k - 1, k - 1));
	}
	assert_int_equal(interval_floor(-1, 4), -1);
	assert_int_equal(interval_ceil(-1, 4), 0);
	assert_int_equal(interval_floor(-16, 4), -1);
	assert_int_equal(interval_ceil(17, 4), 2);
	assert_int_equal(interval_ceil(INT64_MAX, 1), INT64_C(1) << 62);
}

/* ---- whole networks ------------------------------------------------------------------------------------------------------ */

static int is_rounded(const struct value *v)
{
	return v->form == FORM_MASKED && v->f > 0;
}

/* Elements whose rounding can go either way, up to 30. */
static unsigned roundings(const struct tape *t)
{
	size_t n = 0;

	for (uint16_t v = 0; v < t->n_values; v++)
		n += is_rounded(&t->values[v]) ? shape_size(t->values[v].shape) : 0;
	return n < 30 ? (unsigned)n : 30;
}

/* Bit i of choice: element i (counted over all rounded wires) is rounded up wherever it can be; `choice` ~0 keeps random low bits. */
static void choose_roundings(struct ring_run *r, uint32_t choice)
{
	unsigned at = 0;

	ring_masks(r);
	for (uint16_t v = 0; choice != ~0u && v < r->plan->tape.n_values; v++) {
		const struct value *value = ring_value(r, v);

		for (size_t i = 0; is_rounded(value) && i < shape_size(value->shape); i++, at++)
			r->rho[v][i] = (r->rho[v][i] & ~ring_mask(value->f)) | (choice >> at % 30 & 1 ? ring_mask(value->f) : 0);
	}
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLOW 1
#elif defined(__has_feature)
#define SLOW (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define SLOW 0
#endif
#define STRIDE (SLOW ? 15 : 1) /* of images of two pixels; 65535 = 15 · 4369, so 0 and 255 255 stay */

struct seen {
	int64_t lo[64], hi[64];
};

static void one_image(struct ring_run *r, struct fixed *f, const struct bounds *b, const uint8_t *pixels, struct seen *seen, const char *what)
{
	const struct tape *t = &r->plan->tape;
	int64_t want[RING_MOST], got[RING_MOST];
	size_t n = shape_size(t->values[t->n_values - 1].shape);

	fixed_infer(f, pixels, ring_low, r, want);
	ring_infer(r, pixels, got);
	if (memcmp(want, got, n * sizeof(*want)))
		fail_msg("%s: the rings give %lld, the integers %lld", what, (long long)got[0], (long long)want[0]);
	for (uint16_t v = 0; v < t->n_values; v++)
		for (size_t i = 0; i < shape_size(t->values[v].shape); i++) {
			int64_t x = fixed_value(f, v)[i];

			if (x < b->lo[v] || x > b->hi[v])
				fail_msg("%s: value %u is %lld, not in [%lld, %lld]", what, v, (long long)x, (long long)b->lo[v], (long long)b->hi[v]);
			seen->lo[v] = x < seen->lo[v] ? x : seen->lo[v];
			seen->hi[v] = x > seen->hi[v] ? x : seen->hi[v];
		}
}

/* Sums of pixels alone have exact bounds, and no narrower word would do. */
static void first_sums_are_tight(const struct plan *p, const struct bounds *b, const struct seen *seen, const char *what)
{
	for (uint16_t i = 0; i < p->tape.n_rows; i++) {
		const struct row *row = &p->tape.rows[i];

		if (row->kind != OP_LINEAR || row->n_terms != 1 || row->has_post || b->hi[row->terms[0].in] != 255)
			continue;
		if (seen->lo[row->out] != b->lo[row->out] || seen->hi[row->out] != b->hi[row->out])
			fail_msg("%s: row %u takes [%lld, %lld], proven is [%lld, %lld]", what, i, (long long)seen->lo[row->out],
				 (long long)seen->hi[row->out], (long long)b->lo[row->out], (long long)b->hi[row->out]);
	}
}

/* The width of shares is what their consumers need: not less, and not more. */
static void shares_are_as_wide_as_needed(const struct tape *t)
{
	for (uint16_t v = 0; v < t->n_values; v++) {
		int need = 1;

		for (uint16_t i = 0; i < t->n_rows; i++)
			for (uint16_t j = 0; j < t->rows[i].n_in; j++) {
				const struct row *row = &t->rows[i];
				int shift = row->kind == OP_LINEAR ? row->terms[j].shift : row->kind == OP_MAP ? row->shift[j] : 0;
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

static void all_images(struct planned *p, size_t pixels, const char *what)
{
	static struct ring_run r;
	struct seen seen;
	struct fixed *f;
	struct err e = {0};
	unsigned rounded = roundings(&p->plan->tape), most = pixels == 1 ? 8 : pixels == 2 ? 1 + (rounded <= 2) : 0;
	uint32_t inputs = pixels <= 2 ? 1u << (8 * pixels) : 200;

	for (int v = 0; v < 64; v++) {
		seen.lo[v] = INT64_MAX;
		seen.hi[v] = INT64_MIN;
	}
	r.plan = p->plan;
	r.weights = p->weights;
	assert_true(p->plan->tape.n_values <= 64);
	assert_int_equal(fixed_new(&f, p->plan, p->weights, &e), 0);
	for (uint32_t x = 0; x < inputs; x += pixels == 2 ? STRIDE : 1) {
		uint8_t image[64];

		for (size_t i = 0; i < pixels; i++)
			image[i] = pixels <= 2 ? (uint8_t)(x >> (8 * i)) : rnd() % 3 ? (uint8_t)(rnd() % 2 * 255) : (uint8_t)rnd();
		for (uint32_t c = 0; c < 1u << (rounded < most ? rounded : most); c++) {
			choose_roundings(&r, rounded <= most ? c : c ? (uint32_t)rnd() & 0x3fffffff : ~0u);
			one_image(&r, f, p->bounds, image, &seen, what);
		}
	}
	if (pixels <= 2)
		first_sums_are_tight(p->plan, p->bounds, &seen, what);
	fixed_free(f);
}

static void networks(const struct plan_options *o, struct shape s)
{
	struct net n;
	const char *what;

	for (unsigned which = 0; (what = net_zoo(&n, which, s.c, s.h, s.w)); which++) {
		struct planned p;

		for (uint32_t c = 0; c < s.c; c++) {
			n.g.pre.mean[c] = 0.3f + 0.1f * c;
			n.g.pre.std[c] = 0.4f + 0.2f * c;
		}
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

/* ---- the edges, as the planner meets them -------------------------------------------------------------------------------- */

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

/* Sums that leave 128 bits on the way are refused, not wrapped. */
static void sums_beyond_128_bits(void **state)
{
	enum { N = 4096 };
	static int64_t weights[N];
	struct row row = {.kind = OP_LINEAR, .n_terms = 1};
	struct range in, out;
	const struct range *ins[] = {&in};
	int64_t bias = 0;
	struct err e = {0};

	row.terms[0] = (struct term){.kind = TERM_DENSE, .win = {.in = {N, 1, 1}, .out = {1, 1, 1}}};
	assert_int_equal(range_new(&in, N, &e), 0);
	assert_int_equal(range_new(&out, 1, &e), 0);
	for (int i = 0; i < N; i++) {
		weights[i] = INT64_C(1) << 60;
		in.lo[i] = -(INT64_C(1) << 61);
		in.hi[i] = INT64_C(1) << 61;
	}
	assert_int_equal(interval_linear(&row, ins, weights, &bias, &out, &e), RANGE_BEYOND);
	for (int i = 0; i < N; i++)
		in.lo[i] = in.hi[i] = i == 5 ? -2 : 0;
	assert_int_equal(interval_linear(&row, ins, weights, &bias, &out, &e), 0);
	assert_true(out.lo[0] == -(INT64_C(1) << 61) && out.hi[0] == out.lo[0]);
	bias = -1;
	assert_int_equal(interval_linear(&row, ins, weights, &bias, &out, &e), RANGE_BEYOND);
	range_free(&in);
	range_free(&out);
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
		assert_int_equal(p.plan->tape.values[2].k, across ? 17 : 16); /* 51000, 25500 <= 2^(k-1) - 1 */
		all_images(&p, 1, "maximum over sets");
		planned_free(&p);
		net_free(&n);
	}
}

/* ---- how graphs are lowered ---------------------------------------------------------------------------------------------- */

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
		int got[] = {count_rows(t, OP_MASK), count_rows(t, OP_LINEAR), count_rows(t, OP_MAP),	count_rows(t, OP_RELU),
			     count_rows(t, OP_MAX),  count_rows(t, OP_TRUNC),  count_rows(t, OP_SQUARE)};

		assert_string_equal(what, w->what);
		for (int i = 0; i < 7; i++)
			if (got[i] != (&w->mask)[i])
				fail_msg("%s: mask %d linear %d map %d relu %d max %d trunc %d square %d", what, got[0], got[1], got[2], got[3],
					 got[4], got[5], got[6]);
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
	net_dense(&n, net_relu(&n, net_conv(&n, net_pool(&n, NN_AVGPOOL, net_relu(&n, net_conv(&n, 0, 1, 1, 1, 0, 1)), 2, 2, 0, 0), 1, 1, 1, 0, 1)), 2);
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

/* Around the image is normalised zero, which is no pixel: y stays within the rounding of weights and bias of the real sum, borders too. */
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
						sum += n.nodes[1].weights[(o2 * 2 + c) * 9 + i] *
						       ((image[(c * 5 + r) * 5 + q] / 255.0 - n.g.pre.mean[c]) / n.g.pre.std[c]);
						slack += image[(c * 5 + r) * 5 + q];
					}
				assert_true(fabs((double)got[(o2 * 5 + y) * 5 + x] - ldexp(sum, 16)) <= slack / 2 + 1e-3);
			}
	fixed_free(f);
	planned_free(&p);
	net_free(&n);
}

/* ---- what is refused, and the small functions ------------------------------------------------------------------------- */

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
		assert_int_equal(find_row(&p.plan->tape, OP_MAX, 0)->mode, mode ? TABLE_BANDWIDTH : TABLE_LATENCY);
		assert_int_equal(find_row(&p.plan->tape, OP_RELU, 0)->mode, mode ? TABLE_BANDWIDTH : TABLE_LATENCY);
		assert_int_equal(find_row(&p.plan->tape, OP_ARGMAX, 0)->mode, mode ? TABLE_BANDWIDTH : TABLE_LATENCY);
		planned_free(&p);
		net_free(&n);
	}
}

/* ---- PROTOCOL.md §8 ------------------------------------------------------------------------------------------------------- */

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
		cmocka_unit_test(inequalities_are_exact),
		cmocka_unit_test(inequalities_at_their_edges),
		cmocka_unit_test(all_inputs_and_roundings),
		cmocka_unit_test(usual_bits),
		cmocka_unit_test(widths_at_the_edges),
		cmocka_unit_test(the_widest_word),
		cmocka_unit_test(sums_beyond_128_bits),
		cmocka_unit_test(maximum_over_sets),
		cmocka_unit_test(rows_of_each_network),
		cmocka_unit_test(relu_goes_behind_the_maximum),
		cmocka_unit_test(skips),
		cmocka_unit_test(long_additions),
		cmocka_unit_test(scales),
		cmocka_unit_test(padding_of_the_first_layer),
		cmocka_unit_test(refusals),
		cmocka_unit_test(scores_and_labels),
		cmocka_unit_test(comparisons_follow_the_option),
		cmocka_unit_test(published_widths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
