/* SPDX-License-Identifier: Apache-2.0 */
/* Every row of kernels against the definition, mod 2^k: random shapes, all widths, canaries around all that
 * is written; inputs end where their allocation ends, so that a sanitizer sees a read beyond. */
#include "test/test.h"

#include "crypto/ring.h"
#include "nn/linear_row.h"

#define CANARY UINT64_C(0xa5a5a5a5a5a5a5a5)
#define GAP 5 /* words between two images */

static uint64_t state = 7;

static uint32_t pick(uint32_t from, uint32_t to)
{
	return from + (uint32_t)(test_random(&state) % (to - from + 1));
}

static uint64_t *words(size_t n)
{
	uint64_t *p = malloc(n ? n * sizeof(*p) : 1);

	assert_non_null(p);
	for (size_t i = 0; i < n; i++)
		p[i] = test_random(&state);
	return p;
}

/* ---- the definition ---- */

/* Input (c, row, column), 0 outside. */
static uint64_t at(const struct window *w, const uint64_t *x, uint32_t c, int64_t row, int64_t column)
{
	if (row < 0 || row >= w->in.h || column < 0 || column >= w->in.w)
		return 0;
	return x[((size_t)c * w->in.h + (size_t)row) * w->in.w + (size_t)column];
}

static uint64_t conv_at(const struct term *t, const uint64_t *m, const uint64_t *x, uint32_t o, uint32_t r,
			uint32_t c)
{
	const struct window *w = &t->win;
	uint32_t in = w->in.c / t->groups, group = o / (w->out.c / t->groups);
	uint64_t sum = 0;

	for (uint32_t n = 0; n < in; n++)
		for (uint32_t i = 0; i < w->kh; i++)
			for (uint32_t j = 0; j < w->kw; j++)
				sum +=
				    m[(((size_t)o * in + n) * w->kh + i) * w->kw + j] *
				    at(w, x, group * in + n, (int64_t)r * w->sh - w->pt + (int64_t)i * w->dh,
				       (int64_t)c * w->sw - w->pl + (int64_t)j * w->dw);
	return sum;
}

static void oracle(const struct term *t, const uint64_t *m, const uint64_t *x, uint64_t *y)
{
	const struct shape *out = &t->win.out;
	size_t n = shape_size(t->win.in);

	for (uint32_t o = 0; o < out->c; o++) {
		if (t->kind == TERM_DENSE) {
			for (size_t i = 0; i < n; i++)
				y[o] += m[o * n + i] * x[i];
			continue;
		}
		for (uint32_t r = 0; r < out->h; r++)
			for (uint32_t c = 0; c < out->w; c++)
				y[((size_t)o * out->h + r) * out->w + c] += conv_at(t, m, x, o, r, c);
	}
}

/* ---- one term, at the tier in force ---- */

struct job {
	const struct term *t;
	const uint64_t *m, *x, *y; /* y: what is added to */
	const uint64_t *want;	   /* batch outputs */
	size_t batch;
	unsigned k;
	int small;
};

static void complain(const struct job *j, size_t b, size_t i)
{
	const struct window *w = &j->t->win;

	fail_msg("%s %u×%u×%u to %u×%u×%u, kernel %u×%u, stride %u×%u, dilation %u×%u, pad %d×%d, %u groups, "
		 "k %u, small %d: image %zu of "
		 "%zu, output %zu, tier %s",
		 j->t->kind == TERM_DENSE ? "dense" : "convolution", w->in.c, w->in.h, w->in.w, w->out.c,
		 w->out.h, w->out.w, w->kh, w->kw, w->sh, w->sw, w->dh, w->dw, w->pt, w->pl, j->t->groups,
		 j->k, j->small, b, j->batch, i, cpu_name(cpu_tier()));
}

static void check_outputs(const struct job *j, const uint64_t *y, size_t n)
{
	size_t stride = n + GAP;

	for (size_t b = 0; b < j->batch; b++)
		for (size_t i = 0; i < stride; i++) {
			if (i < n && (y[b * stride + i] ^ j->want[b * n + i]) & ring_mask(j->k))
				complain(j, b, i);
			if (i >= n)
				assert_int_equal(y[b * stride + i], CANARY);
		}
}

/* Pointers are 8-aligned and no more. */
static void run(const struct job *j)
{
	size_t n = shape_size(j->t->win.out), n_x = shape_size(j->t->win.in), bytes;
	uint64_t *y = malloc((1 + j->batch * (n + GAP)) * sizeof(*y)),
		 *x = malloc((1 + j->batch * n_x) * sizeof(*x));
	struct err e = {0};
	struct linear *l = linear_new(j->t, j->m, j->k, j->small, &e);
	uint8_t *scratch;

	assert_non_null(l);
	bytes = linear_scratch(l, j->batch);
	assert_non_null(scratch = aligned_alloc(64, bytes / 64 * 64 + 128));
	memset(scratch + bytes, 0x5a, 64);
	memcpy(x + 1, j->x, j->batch * n_x * sizeof(*x));
	y[0] = CANARY;
	for (size_t b = 0; b < j->batch; b++)
		for (size_t i = 0; i < n + GAP; i++)
			y[1 + b * (n + GAP) + i] = i < n ? j->y[b * n + i] : CANARY;
	linear_apply(l, x + 1, n_x, y + 1, n + GAP, j->batch, scratch);
	assert_int_equal(y[0], CANARY);
	check_outputs(j, y + 1, n);
	for (size_t i = 0; i < 64; i++)
		assert_int_equal(scratch[bytes + i], 0x5a);
	linear_free(l);
	free(scratch);
	free(x);
	free(y);
}

/* At every tier, for each of the widths. */
static void term(const struct term *t, size_t batch, int small, const unsigned *k, size_t n_k)
{
	size_t n = shape_size(t->win.out), n_x = shape_size(t->win.in);
	uint64_t *m = words(term_weights(t)), *x = words(batch * n_x), *y = words(batch * n),
		 *want = malloc(batch * n * sizeof(*want) + 1);
	struct err e = {0};

	for (size_t i = 0; small && i < term_weights(t); i++)
		m[i] = i % 7 ? (uint64_t)((int64_t)m[i] >> 32) + (m[i] >> 32 == 0x80000000)
			     : (uint64_t)(i % 2 ? INT32_MAX : -INT32_MAX);
	memcpy(want, y, batch * n * sizeof(*want));
	for (size_t b = 0; b < batch; b++)
		oracle(t, m, x + b * n_x, want + b * n);
	for (int tier = CPU_REF; tier <= (int)cpu_best(); tier++) {
		assert_int_equal(cpu_select(cpu_name(tier), &e), 0);
		for (size_t i = 0; i < n_k; i++)
			run(&(struct job){t, m, x, y, want, batch, k[i], small});
	}
	assert_int_equal(cpu_select("auto", &e), 0);
	free(m);
	free(x);
	free(y);
	free(want);
}

/* ---- shapes ---- */

static struct term dense(uint32_t n, uint32_t m)
{
	return (struct term){.kind = TERM_DENSE, .win = {.in = {n, 1, 1}, .out = {m, 1, 1}}};
}

static uint32_t out_side(uint32_t in, uint32_t kernel, uint32_t stride, uint32_t dilation, uint32_t pad,
			 uint32_t pad_after)
{
	uint32_t reach = (kernel - 1) * dilation + 1, room = in + pad + pad_after;

	return room < reach ? 0 : (room - reach) / stride + 1;
}

/* Input channels, height, width; kernel; strides; dilations; pads before. */
#define WINDOW(c, h, w, kh, kw, sh, sw, dh, dw, pt, pl)                                                      \
	(struct window)                                                                                      \
	{                                                                                                    \
		{c, h, w}, {0}, kh, kw, sh, sw, dh, dw, pt, pl                                               \
	}

/* A convolution of the given input and kernel; w->out follows. */
static struct term conv(struct window w, uint32_t filters, uint32_t groups, uint32_t pad_after)
{
	w.out = (struct shape){filters, out_side(w.in.h, w.kh, w.sh, w.dh, (uint32_t)w.pt, pad_after),
			       out_side(w.in.w, w.kw, w.sw, w.dw, (uint32_t)w.pl, pad_after)};
	return (struct term){.kind = TERM_CONV, .win = w, .groups = groups};
}

static struct term random_conv(void)
{
	uint32_t groups = pick(0, 2) ? 1 : pick(1, 5), in = groups * pick(1, 4),
		 filters = groups * pick(1, pick(0, 3) ? 5 : 20);
	struct window w = {.in = {in, pick(1, pick(0, 3) ? 12 : 30), pick(1, pick(0, 3) ? 14 : 67)},
			   .kh = pick(1, 5),
			   .kw = pick(1, 5),
			   .sh = pick(1, 3),
			   .sw = pick(1, 3),
			   .dh = pick(0, 2) ? 1 : pick(1, 4),
			   .dw = pick(0, 2) ? 1 : pick(1, 4),
			   .pt = (int32_t)pick(0, 3),
			   .pl = (int32_t)pick(0, 3)};

	return conv(w, filters, groups, pick(0, 3));
}

static void random_convolutions(void **ctx)
{
	for (int i = 0; i < 700; i++) {
		struct term t = random_conv();
		unsigned k[3] = {8 + (unsigned)i % 25, 33 + (unsigned)i % 20, 53 + (unsigned)i % 10};

		term(&t, pick(1, 3), i % 2, k, 3);
	}
}

static void random_dense(void **ctx)
{
	for (unsigned i = 0; i < 300; i++) {
		struct term t = dense(pick(0, i % 5 ? 67 : 700), pick(0, i % 7 ? 67 : 300));
		unsigned k[3] = {8 + i % 25, 33 + i % 20, 53 + i % 10};

		term(&t, pick(0, i % 3 ? 9 : 30), i % 2, k, 3);
	}
}

/* Every number of outputs and of inputs, every size of batch. */
static void all_sizes(void **ctx)
{
	static const unsigned k[] = {32, 52, 62};

	for (uint32_t n = 0; n < 68; n++) {
		struct term outputs = dense(3, n), inputs = dense(n, 9), width, height, filters;
		struct window w = {.in = {2, 4, n + 2}, .kh = 2, .kw = 3, .sh = 1, .sw = 1, .dh = 1, .dw = 1};

		width = conv(w, 3, 1, 0);
		w.in = (struct shape){1, n + 1, 5};
		height = conv(w, 2, 1, 0);
		filters = conv(w, n, 1, 1);
		for (int small = 0; small < 2; small++) {
			term(&outputs, n % 12, small, k, 3);
			term(&inputs, 1 + n % 9, small, k, 3);
			term(&width, 1, small, k, 3);
			term(&height, 1, small, k, 3);
			term(&filters, 1, small, k, 3);
		}
	}
}

/* Shapes that fall into several blocks of depth, of rows, of channels; and those left to plain C. */
static void blocks(void **ctx)
{
	static const unsigned k[] = {31, 48, 62};
	struct term t[] = {
	    conv(WINDOW(30, 9, 9, 5, 5, 1, 1, 1, 1, 2, 2), 10, 1, 2),
	    conv(WINDOW(3, 90, 130, 4, 3, 1, 1, 2, 1, 3, 1), 3, 1, 1),
	    conv(WINDOW(2, 150, 100, 7, 7, 2, 2, 9, 3, 9, 3), 2, 1, 9),
	    conv(WINDOW(1, 400, 90, 3, 1, 1, 1, 150, 1, 0, 0), 1, 1, 0),
	    conv(WINDOW(2, 70, 3, 65, 2, 1, 1, 1, 1, 0, 0), 2, 1, 0),
	    conv(WINDOW(2, 64, 3, 64, 2, 1, 1, 1, 1, 3, 0), 2, 1, 0),
	    conv(WINDOW(1, 1, 270000, 4, 1, 1, 1, 1, 1, 3, 0), 1, 1, 0),
	    conv(WINDOW(1, 2, 140000, 2, 1, 1, 1, 1, 1, 1, 0), 1, 1, 0),
	    conv(WINDOW(1, 2, 2, 1, 1, 1, 1, 1, 1, 40, 50), 2, 1, 60),
	    dense(1000, 140),
	    dense(70000, 3),
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++)
		term(&t[i], 1 + i % 2, (int)(i / 2 % 2), k, 3);
}

/* ---- which row ---- */

static void rows_are_adopted(void **ctx)
{
	struct term t = dense(4, 4);
	uint64_t m[16] = {0};
	struct err e = {0};

	for (int tier = CPU_REF; tier <= (int)cpu_best(); tier++) {
		struct linear *l;

		assert_int_equal(cpu_select(cpu_name(tier), &e), 0);
		assert_non_null(l = linear_new(&t, m, 40, 1, &e));
		assert_int_equal(l->row->tier, tier);
		linear_free(l);
	}
	assert_int_equal(cpu_select("auto", &e), 0);
	linear_free(NULL);
}

static void wrong_tile(const struct tile *t)
{
	t->y[0] ^= 2;
}

/* Any one wrong tile that the fixed vectors come by is enough. */
static void broken_rows_are_refused(void **ctx)
{
	struct linear_row plain = {CPU_REF, NULL}, row = {CPU_AVX2, NULL};
	struct linear_kernels broken;
	unsigned refused = 0, all = 0;

	assert_true(linear_row_is_right(&plain));
#if defined(__x86_64__)
	if (cpu_best() < CPU_AVX2)
		skip();
	row.kernels = &linear_avx2;
	assert_true(linear_row_is_right(&row));
	row.kernels = &broken;
	for (int kind = 0; kind < TILE_KINDS; kind++)
		for (int rows = 1; rows <= TILE_ROWS; rows++)
			for (int n = 1; n <= linear_avx2.vectors[rows]; n++) {
				broken = linear_avx2;
				broken.tiles[kind][rows][n] = wrong_tile;
				refused += !linear_row_is_right(&row);
				all++;
			}
	assert_int_equal(all, TILE_KINDS * 10);
	assert_true(refused > all / 2);
	for (int kind = 0; kind < TILE_KINDS; kind++) {
		broken = linear_avx2;
		broken.tiles[kind][3][2] = wrong_tile;
		assert_false(linear_row_is_right(&row));
	}
#endif
}

/* ---- pools, costs ---- */

static uint64_t pool_at(const struct window *w, const uint64_t *x, uint32_t o, uint32_t r, uint32_t c)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < w->kh; i++)
		for (uint32_t j = 0; j < w->kw; j++)
			sum += at(w, x, o, (int64_t)r * w->sh - w->pt + i, (int64_t)c * w->sw - w->pl + j);
	return sum;
}

static void pools(void **ctx)
{
	struct err e = {0};

	for (int n = 0; n < 900; n++) {
		uint32_t kh = pick(1, 4), kw = pick(1, 4);
		struct window w = {.in = {pick(1, 4), pick(1, 20), pick(1, n % 3 ? 20 : 67)},
				   .kh = kh,
				   .kw = kw,
				   .sh = pick(1, 3),
				   .sw = pick(1, 3),
				   .dh = 1,
				   .dw = 1,
				   .pt = (int32_t)pick(0, kh - 1),
				   .pl = (int32_t)pick(0, kw - 1)};
		struct shape out = conv(w, w.in.c, 1, pick(0, 2)).win.out;
		uint64_t *x, *y;

		w.out = out;
		assert_int_equal(cpu_select(cpu_name((enum cpu_tier)(n % ((int)cpu_best() + 1))), &e), 0);
		x = words(shape_size(w.in));
		y = words(shape_size(out) + 1);
		y[shape_size(out)] = CANARY;
		linear_pool(&w, x, y);
		assert_int_equal(y[shape_size(out)], CANARY);
		for (uint32_t o = 0; o < out.c; o++)
			for (uint32_t r = 0; r < out.h; r++)
				for (uint32_t c = 0; c < out.w; c++)
					assert_int_equal(y[((size_t)o * out.h + r) * out.w + c],
							 pool_at(&w, x, o, r, c));
		free(x);
		free(y);
	}
	assert_int_equal(cpu_select("auto", &e), 0);
}

static void multiply_adds(void **ctx)
{
	struct term t =
	    conv((struct window){.in = {36, 14, 14}, .kh = 5, .kw = 5, .sh = 1, .sw = 1, .dh = 1, .dw = 1},
		 36, 1, 0);

	assert_int_equal(term_multiply_adds(&t), 3240000);
	t.groups = 4;
	assert_int_equal(term_multiply_adds(&t), 810000);
	t = dense(784, 128);
	assert_int_equal(term_multiply_adds(&t), 100352);
	t.kind = TERM_SKIP;
	assert_int_equal(term_multiply_adds(&t), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(random_convolutions),
	    cmocka_unit_test(random_dense),
	    cmocka_unit_test(all_sizes),
	    cmocka_unit_test(blocks),
	    cmocka_unit_test(rows_are_adopted),
	    cmocka_unit_test(broken_rows_are_refused),
	    cmocka_unit_test(pools),
	    cmocka_unit_test(multiply_adds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
