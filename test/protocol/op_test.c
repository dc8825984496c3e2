/* SPDX-License-Identifier: Apache-2.0 */
/* Every operator, and every pair of operators, of dealer, P0 and P1 in one process against the meaning in
 * clear: at many widths, in both modes, at every kernel tier, with extreme values and values at the rounding
 * edge; and golden digests of all bytes sent. */
#include "test/protocol/trio.h"

#include <stdio.h>

#include "crypto/cpu.h"

#define N 40 /* elements of a wire under test */

static uint64_t rng_state;
static uint64_t rnd(void)
{
	rng_state += UINT64_C(0x9e3779b97f4a7c15);
	uint64_t z = rng_state;

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* n values in [lo, hi]: the ends, zero, one, the rounding edge 2^f, then uniform ones. */
static int64_t *extremes(size_t n, int64_t lo, int64_t hi, unsigned f)
{
	int64_t one = INT64_C(1) << f,
		first[] = {lo, hi, 0, 1, -1, one, -one, one - 1, 1 - one, lo + 1, hi - 1};
	int64_t *y = calloc(n, sizeof(*y));

	for (size_t i = 0; i < n; i++) {
		y[i] = i < sizeof(first) / 8 ? first[i] : lo + (int64_t)(rnd() % ((uint64_t)(hi - lo) + 1));
		if (y[i] < lo || y[i] > hi)
			y[i] = lo;
	}
	return y;
}

/* A masked wire whose y is exactly `y` (a bias on weights 0), behind one public input. Takes y. */
static uint16_t wire(struct build *b, size_t n, unsigned k, unsigned f, int64_t *y)
{
	build_input(b, flat(1), k);
	return build_dense(b, build_mask(b, 0), n, FORM_MASKED, k, f, calloc(n, 8), y);
}

static int64_t z_of(const struct trio *t, size_t image, uint16_t v, size_t i, int64_t y)
{
	struct trio_low low = {t, image};
	unsigned f = t->b->plan.tape.values[v].f;

	return (y + (int64_t)trio_low(&low, v, i, f)) >> f;
}

/* Runs b on two tickets at once and hands the result, reduced mod 2^kout, to the check. */
typedef int64_t (*meaning)(const struct trio *t, size_t image, uint16_t wire, size_t i, const int64_t *y);
static void check(struct build *b, uint16_t v, unsigned kout, meaning meant)
{
	const struct tape *tape = &b->plan.tape;
	size_t n = shape_size(tape->values[tape->n_values - 1].shape);
	const int64_t *y = b->weights.rows[1].bias;
	int64_t *result = calloc(2 * n, sizeof(*result));
	uint8_t pixel[2] = {0, 7};
	struct trio t;

	trio_new(&t, b, rnd());
	trio_infer(&t, 5, 2, pixel, result);
	for (size_t image = 0; image < 2; image++)
		for (size_t i = 0; i < n; i++) {
			uint64_t want = (uint64_t)meant(&t, image, v, i, y);

			if (((uint64_t)result[image * n + i] ^ want) & ring_mask(kout))
				fail_msg("%s k=%u f=%u kout=%u element %zu: %lld, not %lld",
					 ops[tape->rows[2].kind]->name, tape->values[v].k, tape->values[v].f,
					 kout, i, (long long)result[image * n + i], (long long)want);
		}
	trio_free(&t);
	free(result);
	build_free(b);
}

static const struct {
	unsigned k, f, kout;
} widths[] = {{12, 0, 12},  {12, 4, 20},  {14, 3, 9},	{20, 0, 20},  {24, 4, 40},  {28, 12, 28},
	      {32, 12, 20}, {40, 16, 44}, {44, 16, 48}, {50, 20, 62}, {52, 16, 52}, {56, 0, 56},
	      {62, 0, 62},  {62, 20, 62}, {62, 59, 40}, {16, 14, 62}, {6, 1, 9},    {3, 1, 5}};
#define WIDTHS (sizeof(widths) / sizeof(widths[0]))

static int64_t relu_clear(const struct trio *t, size_t image, uint16_t v, size_t i, const int64_t *y)
{
	int64_t z = z_of(t, image, v, i, y[i]);

	return z > 0 ? z : 0;
}

static void relu(void **state)
{
	for (int mode = 0; mode < 2; mode++)
		for (size_t i = 0; i < WIDTHS; i++) {
			unsigned k = widths[i].k, f = widths[i].f, kout = widths[i].kout;
			int64_t half = INT64_C(1) << (k - 1);
			size_t n = i % 5 == 0 ? 1300 : N; /* several groups of tables */
			struct build b;
			uint16_t v = wire(&b, n, k, f, extremes(n, -half, half - (INT64_C(1) << f), f));
			uint16_t out = build_value(&b, FORM_SHARE, flat(n), kout, 0);

			build_row(&b, OP_RELU, v, out)->mode = mode;
			build_reveal(&b, out);
			check(&b, v, kout, relu_clear);
		}
}

static int64_t trunc_clear(const struct trio *t, size_t image, uint16_t v, size_t i, const int64_t *y)
{
	return z_of(t, image, v, i, y[i]);
}

static int64_t square_clear(const struct trio *t, size_t image, uint16_t v, size_t i, const int64_t *y)
{
	int64_t z = z_of(t, image, v, i, y[i]);

	return (int64_t)((uint64_t)z * (uint64_t)z);
}

static void without_relu(enum op_kind kind, meaning meant)
{
	for (size_t i = 0; i < WIDTHS; i++) {
		unsigned k = widths[i].k, f = widths[i].f, kout = widths[i].kout;
		int64_t o = INT64_C(1) << (k - 2);
		struct build b;
		uint16_t v, out;

		if (k - 2 < f)
			continue;
		v = wire(&b, N, k, f, extremes(N, -o, o - (INT64_C(1) << f), f));
		out = build_value(&b, FORM_SHARE, flat(N), kout, 0);
		build_row(&b, kind, v, out)->offset_log2 = k - 2;
		build_reveal(&b, out);
		check(&b, v, kout, meant);
	}
}

static void trunc_(void **state)
{
	without_relu(OP_TRUNC, trunc_clear);
}

static void square(void **state)
{
	without_relu(OP_SQUARE, square_clear);
}

/* 3 channels of 5×4, windows of 3×2, stride 2×1, padded above and left: sets of 2 to 6 elements. */
static const struct window max_window = {.in = {3, 5, 4},
					 .out = {3, 3, 4},
					 .kh = 3,
					 .kw = 2,
					 .sh = 2,
					 .sw = 1,
					 .dh = 1,
					 .dw = 1,
					 .pt = 1,
					 .pl = 1};

static int64_t max_clear(const struct trio *t, size_t image, uint16_t v, size_t i, const int64_t *y)
{
	struct pool_sets sets;
	struct err e = {0};
	int64_t best = INT64_MIN;

	must(pool_sets_new(&sets, &max_window, &e), &e);
	for (uint32_t m = sets.start[i]; m < sets.start[i + 1]; m++) {
		int64_t z = z_of(t, image, v, sets.member[m], y[sets.member[m]]);

		best = z > best ? z : best;
	}
	pool_sets_free(&sets);
	return best > 0 ? best : 0;
}

static void max(void **state)
{
	size_t n = shape_size(max_window.in);

	for (int mode = 0; mode < 2; mode++)
		for (size_t i = 0; i < WIDTHS; i++) {
			unsigned k = widths[i].k, f = widths[i].f, kout = widths[i].kout, w = k - f;
			int64_t top = (INT64_C(1) << (w - 2)) - 1;
			struct build b;
			uint16_t v, m, out;

			if (w < 3)
				continue;
			v = wire(&b, n, k, f, extremes(n, -(top << f), top ? (top - 1) << f : 0, f));
			b.plan.tape.values[v].shape = max_window.in;
			m = build_value(&b, FORM_MASKED, max_window.out, w, 0);
			build_row(&b, OP_MAX, v, m)->mode = mode;
			b.plan.tape.rows[2].post = max_window;
			out = build_value(&b, FORM_SHARE, max_window.out, kout, 0);
			build_row(&b, OP_RELU, m, out)->mode = mode;
			build_reveal(&b, out);
			check(&b, v, kout, max_clear);
		}
}

static size_t argmax_classes;
static int64_t argmax_clear(const struct trio *t, size_t image, uint16_t v, size_t i, const int64_t *y)
{
	size_t best = 0;

	for (size_t c = 1; c < argmax_classes; c++)
		if (y[c] > y[best])
			best = c;
	return best;
}

static unsigned log2_up(size_t n)
{
	unsigned b = 0;

	while ((UINT64_C(1) << b) < n)
		b++;
	return b;
}

static void argmax(void **state)
{
	for (int mode = 0; mode < 2; mode++)
		for (size_t classes = 2; classes < 20; classes++)
			for (int where = 0; where < 3; where++) {
				unsigned k = classes % 3 ? 44 : 12, c = log2_up(classes);
				int64_t quarter = INT64_C(1) << (k - 2),
					*y = extremes(classes, -quarter, quarter - 1, 0);
				struct build b;
				uint16_t v, out;

				argmax_classes = classes;
				if (where == 0) /* ties go to the lower index */
					y[classes - 1] = y[classes / 2] = quarter - 1;
				else if (where == 1)
					y[classes - 1] = quarter - 1, y[1 % classes] = 0;
				v = wire(&b, classes, k, 0, y);
				out = build_value(&b, FORM_SHARE, flat(1), c, 0);
				build_row(&b, OP_ARGMAX, v, out)->mode = mode;
				build_reveal(&b, out);
				check(&b, v, c, argmax_clear);
			}
}

/* What stands between two masked wires in the test of pairs. */
enum kind { K_RELU, K_TRUNC, K_SQUARE, K_MAX, K_MAP, K_ARGMAX, KINDS };
static const char *const kind_name[] = {"relu", "trunc", "square", "max", "map", "argmax"};

/* Appends an operator on a masked wire (k, f): returns a share mod 2^kout. */
static uint16_t append(struct build *b, enum kind kind, enum table_mode mode, uint16_t v, unsigned kout)
{
	struct value in = b->plan.tape.values[v];
	struct window window = {.in = in.shape,
				.out = {in.shape.c, (in.shape.h + 1) / 2, (in.shape.w + 1) / 2},
				.kh = 2,
				.kw = 2,
				.sh = 2,
				.sw = 2,
				.dh = 1,
				.dw = 1};
	uint16_t out = 0, m;
	struct row *row;

	switch (kind) {
	case K_RELU:
		out = build_value(b, FORM_SHARE, in.shape, kout, 0);
		build_row(b, OP_RELU, v, out)->mode = mode;
		break;
	case K_TRUNC:
	case K_SQUARE:
		out = build_value(b, FORM_SHARE, in.shape, kout, 0);
		build_row(b, kind == K_TRUNC ? OP_TRUNC : OP_SQUARE, v, out)->offset_log2 = in.k - 2;
		break;
	case K_MAX:
		m = build_value(b, FORM_MASKED, window.out, in.k - in.f, 0);
		row = build_row(b, OP_MAX, v, m);
		row->mode = mode;
		row->post = window;
		out = append(b, K_TRUNC, mode, m, kout);
		break;
	case K_MAP:
		m = append(b, K_RELU, mode, v, kout);
		out = build_value(b, FORM_SHARE, window.out, kout, 0);
		row = build_row(b, OP_MAP, m, out);
		row->map = MAP_POOL;
		row->post = window;
		break;
	case K_ARGMAX:
		out = build_value(b, FORM_SHARE, flat(1), log2_up(shape_size(in.shape)), 0);
		build_row(b, OP_ARGMAX, v, out)->mode = mode;
		break;
	default:
		break;
	}
	return out;
}

/* Convolution of a 1×4×4 image to 2 channels, then A, then a skip and a dense term, then B; against
 * fixed_infer with the dealer's rounding. */
static void build_pair(struct build *b, enum kind first, enum kind second, enum table_mode mode)
{
	unsigned f = first == K_ARGMAX ? 0 : 2;
	struct window conv = {.in = {1, 4, 4},
			      .out = {2, 4, 4},
			      .kh = 3,
			      .kw = 3,
			      .sh = 1,
			      .sw = 1,
			      .dh = 1,
			      .dw = 1,
			      .pt = 1,
			      .pl = 1};
	int64_t *w = calloc(18, 8), *bias = calloc(32, 8);
	uint16_t diff, v, share;
	struct row *row;

	for (int i = 0; i < 18; i++)
		w[i] = (int64_t)(rnd() % 7) - 3;
	for (int i = 0; i < 32; i++)
		bias[i] = (int64_t)(rnd() % 41) - 20;
	build_input(b, conv.in, 32);
	diff = build_mask(b, 0);
	v = build_value(b, FORM_MASKED, conv.out, 24, f);
	row = build_row(b, OP_LINEAR, diff, v);
	row->n_terms = 1;
	row->terms[0] = (struct term){.kind = TERM_CONV, .in = diff, .win = conv, .groups = 1};
	b->weights.rows[1] = (struct layer_weights){w, 18, bias, 32};
	share = append(b, first, mode, v, 32);
	if (first == K_ARGMAX) { /* only at the end */
		build_reveal(b, share);
		return;
	}
	diff = build_mask(b, share);
	{
		uint32_t n = shape_size(b->plan.tape.values[diff].shape);
		int64_t *w2 = calloc((size_t)n * n, 8), *b2 = calloc(n, 8);

		for (size_t i = 0; i < (size_t)n * n; i++)
			w2[i] = (int64_t)(rnd() % 3) - 1;
		for (size_t i = 0; i < n; i++)
			b2[i] = (int64_t)(rnd() % 100) - 50;
		v = build_dense(b, diff, n, FORM_MASKED, 32, second == K_ARGMAX ? 0 : 3, w2, b2);
	}
	row = &b->plan.tape.rows[b->plan.tape.n_rows - 1];
	row->terms[1] = (struct term){.kind = TERM_SKIP, .in = diff, .shift = 2, .groups = 1};
	row->terms[1].win.in = row->terms[1].win.out = b->plan.tape.values[v].shape =
	    b->plan.tape.values[diff].shape;
	row->in[1] = diff;
	row->n_in = row->n_terms = 2;
	build_reveal(b, append(b, second, mode, v, 60));
}

static void run_pair(enum kind first, enum kind second, enum table_mode mode, size_t batch)
{
	struct build b;
	struct trio t;
	struct fixed *fixed;
	struct err e = {0};
	uint8_t pixels[TRIO_BATCH_MAX * 16];
	int64_t result[TRIO_BATCH_MAX * 32], want[32];

	build_pair(&b, first, second, mode);
	trio_new(&t, &b, rnd());
	must(fixed_new(&fixed, &b.plan, &b.weights, &e), &e);
	for (size_t i = 0; i < sizeof(pixels); i++)
		pixels[i] = i % 11 ? rnd() : 255;
	for (int again = 0; again < 2; again++) { /* lanes are used again */
		size_t n = shape_size(b.plan.tape.values[b.plan.tape.n_values - 1].shape);

		trio_infer(&t, 100 + again * 10, batch, pixels, result);
		for (size_t image = 0; image < batch; image++) {
			fixed_infer(fixed, pixels + image * 16, trio_low, &(struct trio_low){&t, image},
				    want);
			for (size_t i = 0; i < n; i++) {
				unsigned k = b.plan.tape.values[b.plan.tape.n_values - 1].k;

				if (((uint64_t)result[image * n + i] ^ (uint64_t)want[i]) & ring_mask(k))
					fail_msg(
					    "%s then %s, mode %d, image %zu, element %zu: %lld, not %lld",
					    kind_name[first], kind_name[second], mode, image, i,
					    (long long)result[image * n + i], (long long)want[i]);
			}
		}
	}
	fixed_free(fixed);
	trio_free(&t);
	build_free(&b);
}

static void pairs(void **state)
{
	for (int mode = 0; mode < 2; mode++)
		for (int first = 0; first < KINDS; first++)
			for (int second = 0; second < (first == K_ARGMAX ? 1 : KINDS); second++)
				for (size_t batch = 1; batch <= TRIO_BATCH_MAX; batch += 3)
					run_pair(first, second, mode, batch);
}

static void at_every_tier(void (*test)(void **))
{
	struct err e = {0};

	for (int tier = CPU_REF; tier <= (int)cpu_best(); tier++) {
		must(cpu_select(cpu_name(tier), &e), &e);
		rng_state = 1;
		test(NULL);
	}
	must(cpu_select("auto", &e), &e);
}

#define TIERED(name)                                                                                         \
	static void name##_tiers(void **state)                                                               \
	{                                                                                                    \
		at_every_tier(name);                                                                         \
	}
TIERED(relu)
TIERED(trunc_)
TIERED(square)
TIERED(max)
TIERED(argmax)
TIERED(pairs)

/* Every byte that anyone sends under fixed seeds, hashed; test/wire/ops.digest holds what was. A changed
 * digest is explained in its commit. */
static void digests(void **state)
{
	const char *path = "test/wire/ops.digest", *update = getenv("OBSCURA_UPDATE_DIGESTS");
	FILE *file = fopen(path, update ? "w" : "r");

	assert_non_null(file);
	for (int mode = 0; mode < 2; mode++)
		for (int kind = 0; kind < KINDS; kind++) {
			uint8_t pixels[32] = {1, 2, 3, 255, 0, 9}, hash[32];
			char hex[65], line[128], old[128] = "";
			int64_t result[64];
			struct build b;
			struct trio t;

			rng_state = 77;
			build_pair(&b, kind, K_RELU, mode);
			trio_new(&t, &b, 4242);
			trio_infer(&t, 3, 2, pixels, result);
			crypto_generichash_final(&t.wire, hash, sizeof(hash));
			sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash));
			snprintf(line, sizeof(line), "%s %s %s\n", kind_name[kind],
				 mode ? "bandwidth" : "latency", hex);
			if (update)
				fputs(line, file);
			else
				assert_non_null(fgets(old, sizeof(old), file));
			if (!update)
				assert_string_equal(line, old);
			trio_free(&t);
			build_free(&b);
		}
	fclose(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(relu_tiers), cmocka_unit_test(trunc__tiers), cmocka_unit_test(square_tiers),
	    cmocka_unit_test(max_tiers),  cmocka_unit_test(argmax_tiers), cmocka_unit_test(pairs_tiers),
	    cmocka_unit_test(digests),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
