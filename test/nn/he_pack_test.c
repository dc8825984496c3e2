/* SPDX-License-Identifier: Apache-2.0 */
/* Packings against plain convolutions and pools, over random shapes and polynomials small enough that
 * everything has to be cut. Polynomials are multiplied by the book, mod X^N + 1 and mod 2^64. */
#include "test/test.h"

#include "nn/he_pack.h"
#include "nn/linear.h"

static uint64_t state;

static uint32_t below(uint32_t n)
{
	return test_random(&state) % n;
}

static size_t extent(uint32_t k, uint32_t d)
{
	return (size_t)(k - 1) * d + 1;
}

/* A window inside `in`, padded or cropped. 0: there is no output. */
static int axis(uint32_t in, uint32_t *out, uint32_t *k, uint32_t *s, uint32_t *d, int32_t *pad)
{
	int32_t end = (int32_t)below(3);

	*k = 1 + below(4);
	*s = 1 + below(3);
	*d = 1 + (below(4) == 0);
	*pad = (int32_t)below(4) - 1;
	if ((int64_t)in + *pad + end < (int64_t)extent(*k, *d))
		return 0;
	*out = (in + *pad + end - (uint32_t)extent(*k, *d)) / *s + 1;
	return 1;
}

static int random_conv(struct term *t)
{
	struct window *w = &t->win;
	uint32_t groups = below(3) ? 1 : 1 + below(3);

	memset(t, 0, sizeof(*t));
	if (below(4) == 0) {
		t->kind = TERM_DENSE;
		w->in = (struct shape){1 + below(40), 1 + below(3), 1 + below(3)};
		w->out = (struct shape){1 + below(30), 1, 1};
		return 1;
	}
	t->kind = TERM_CONV;
	t->groups = groups;
	w->in = (struct shape){groups * (1 + below(5)), 1 + below(12), 1 + below(12)};
	w->out.c = groups * (1 + below(5));
	return axis(w->in.h, &w->out.h, &w->kh, &w->sh, &w->dh, &w->pt) &&
	       axis(w->in.w, &w->out.w, &w->kw, &w->sw, &w->dw, &w->pl);
}

/* Inside the sum, or cropped at its start. Sum pools have no dilation. */
static int pool_axis(uint32_t in, uint32_t *out, uint32_t *k, uint32_t *s, uint32_t *d, int32_t *pad)
{
	*k = 1 + below(3);
	*s = 1 + below(3);
	*d = 1;
	*pad = -(int32_t)below(2);
	if (in < *k - *pad)
		return 0;
	*out = (in + *pad - *k) / *s + 1;
	return 1;
}

static int random_pool(const struct term *t, struct window *p)
{
	memset(p, 0, sizeof(*p));
	p->in = t->win.out;
	p->out.c = p->in.c;
	return pool_axis(p->in.h, &p->out.h, &p->kh, &p->sh, &p->dh, &p->pt) &&
	       pool_axis(p->in.w, &p->out.w, &p->kw, &p->sw, &p->dw, &p->pl) && he_conv_folds(p);
}

static void multiply(const uint64_t *x, const int64_t *w, size_t n, uint64_t *y)
{
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; w[i] && j < n; j++)
			y[(i + j) % n] += i + j < n ? (uint64_t)w[i] * x[j] : -((uint64_t)w[i] * x[j]);
}

/* Every output element exactly once. */
static void by_polynomials(const struct he_layout *l, const int64_t *x, const int64_t *w, uint64_t *y)
{
	size_t n = l->n, seen = 0;
	uint64_t *poly = calloc(2 * n, 8), *sum = poly + n;
	int64_t *weights = calloc(n, 8);
	uint32_t *at = calloc(2 * n, 4), *element = at + n;

	for (uint64_t tile = 0; tile < he_layout_tiles(l); tile++)
		for (uint32_t m = 0; m < l->m_blocks; m++) {
			uint32_t first, blocks;
			size_t wanted = he_layout_wanted(l, tile, m, at, element);

			he_layout_needs(l, m, &first, &blocks);
			assert_true(first + blocks <= l->c_blocks && wanted <= n && wanted);
			assert_int_equal(wanted, he_layout_count(l, tile, m));
			memset(sum, 0, n * 8);
			for (uint32_t c = first; c < first + blocks; c++) {
				he_layout_input(l, tile, c, x, poly);
				he_layout_weights(l, c, m, w, weights);
				multiply(poly, weights, n, sum);
			}
			for (size_t i = 0; i < wanted; i++) {
				assert_true(at[i] < n && (!i || at[i] > at[i - 1]));
				y[element[i]] = sum[at[i]];
			}
			seen += wanted;
		}
	assert_int_equal(seen, shape_size(l->conv.win.out));
	free(poly);
	free(weights);
	free(at);
}

static void by_book(const struct term *t, const struct window *post, const uint64_t *w, const uint64_t *x,
		    uint64_t *y)
{
	struct err e = {0};
	struct linear *l = linear_new(t, w, 62, 0, &e);
	size_t out = t->kind == TERM_DENSE ? t->win.out.c : shape_size(t->win.out);
	uint64_t *wide = calloc(out + 8, 8);
	void *scratch = aligned_alloc(64, (linear_scratch(l, 1) + 127) / 64 * 64);

	linear_apply(l, x, 0, wide, 0, 1, scratch);
	if (post)
		linear_pool(post, wide, y);
	else
		memcpy(y, wide, out * 8);
	linear_free(l);
	free(wide);
	free(scratch);
}

static void compare(const struct term *t, const struct window *post, size_t n, const struct he_price *price)
{
	struct err e = {0};
	struct he_conv c;
	struct he_layout l;
	size_t in = shape_size(t->win.in), out;
	int64_t *x = calloc(in + 8, 8), *w = calloc(term_weights(t) + 8, 8), *folded;
	uint64_t *want, *got;

	for (size_t i = 0; i < in; i++)
		x[i] = (int64_t)test_random(&state) >> 44;
	for (size_t i = 0; i < term_weights(t); i++)
		w[i] = (int64_t)test_random(&state) >> 48;
	assert_int_equal(he_conv_of(&c, t, post, &e), 0);
	out = shape_size(c.win.out);
	want = calloc(out + 8, 8);
	got = calloc(out, 8);
	folded = calloc(he_conv_weights(&c), 8);
	he_conv_fold(&c, t, post, w, folded);
	if (he_layout_choose(&l, &c, n, price, &e) == 0) {
		assert_true((uint64_t)l.m * l.c * l.y.size * l.x.size <= n);
		by_polynomials(&l, x, folded, got);
		by_book(t, post, (uint64_t *)w, (uint64_t *)x, want);
		for (size_t i = 0; i < out; i++)
			assert_int_equal(got[i] << 2, want[i] << 2); /* right mod 2^62 */
	} else
		assert_true(extent(c.win.kh, c.win.dh) * extent(c.win.kw, c.win.dw) > n);
	free(x);
	free(w);
	free(want);
	free(got);
	free(folded);
}

static void random_shapes(void **ctx)
{
	size_t done = 0, folded = 0;

	for (size_t i = 0; done < 4000; i++) {
		struct he_price price = {1 + below(100), 1 + below(100),
					 below(4) ? UINT32_MAX : 1 + below(3)};
		struct term t;
		struct window post;
		int pool;

		if (!random_conv(&t))
			continue;
		pool = t.kind == TERM_CONV && below(3) == 0;
		if (pool && !random_pool(&t, &post))
			continue;
		compare(&t, pool ? &post : NULL, (size_t)16 << below(6), &price);
		done++;
		folded += pool;
	}
	assert_true(folded > 500);
}

static void a_pool_that_reaches_outside_does_not_fold(void **ctx)
{
	struct window p = {
	    .in = {2, 6, 6}, .out = {2, 3, 3}, .kh = 2, .kw = 2, .sh = 2, .sw = 2, .dh = 1, .dw = 1};

	assert_true(he_conv_folds(&p));
	p.pt = 1;
	assert_false(he_conv_folds(&p));
	p.pt = 0;
	p.kw = 3;
	assert_false(he_conv_folds(&p));
}

static uint64_t bytes_of(const struct he_layout *l, const struct he_price *p)
{
	return he_layout_inputs(l) * p->up + he_layout_outputs(l) * p->down;
}

/* No other (c, m) of the same tiles is cheaper: all are tried. */
static void nothing_is_cheaper(void **ctx)
{
	struct err e = {0};

	for (int i = 0; i < 300; i++) {
		struct term t = {.kind = TERM_DENSE,
				 .win = {.in = {1 + below(500), 1, 1}, .out = {1 + below(300), 1, 1}}};
		struct he_price price = {100 + below(900), 100 + below(900), UINT32_MAX};
		struct he_conv c;
		struct he_layout l;
		uint64_t least = UINT64_MAX;

		assert_int_equal(he_conv_of(&c, &t, NULL, &e), 0);
		assert_int_equal(he_layout_choose(&l, &c, 256, &price, &e), 0);
		for (uint64_t d0 = 1; d0 <= t.win.in.c && d0 <= 256; d0++) {
			uint64_t d1 = 256 / d0, up = (t.win.in.c + d0 - 1) / d0,
				 down = (t.win.out.c + d1 - 1) / d1;

			if (up * price.up + down * price.down < least)
				least = up * price.up + down * price.down;
		}
		assert_int_equal(bytes_of(&l, &price), least);
	}
}

/* A kernel that fits no polynomial is refused with a way out. */
static void refused(void **ctx)
{
	struct err e = {0};
	struct he_price price = {1, 1, UINT32_MAX};
	struct he_conv c = {
	    .groups = 1,
	    .win = {
		.in = {1, 80, 80}, .out = {1, 1, 1}, .kh = 80, .kw = 80, .sh = 1, .sw = 1, .dh = 1, .dw = 1}};
	struct he_layout l;

	assert_int_equal(he_layout_choose(&l, &c, 4096, &price, &e), -1);
	assert_int_equal(e.code, ERR_INPUT);
	assert_non_null(strstr(e.text, "use smpc"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(random_shapes),
	    cmocka_unit_test(a_pool_that_reaches_outside_does_not_fold),
	    cmocka_unit_test(nothing_is_cheaper),
	    cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
