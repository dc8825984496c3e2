/* SPDX-License-Identifier: Apache-2.0 */
/* Ring kernels against sums written out, over random shapes, at every tier, with canaries around what is written. */
#include "test/test.h"

#include "crypto/cpu.h"
#include "crypto/ring.h"
#include "nn/linear.h"

#define CANARY UINT64_C(0xdeadbeefcafef00d)

static uint32_t among(uint64_t *state, uint32_t least, uint32_t most)
{
	return least + (uint32_t)(test_random(state) % (most - least + 1));
}

static struct term random_term(uint64_t *state)
{
	struct term t = {.kind = test_random(state) % 2 ? TERM_CONV : TERM_DENSE, .groups = 1};
	struct window *w = &t.win;

	*w = (struct window){.kh = 1, .kw = 1, .sh = 1, .sw = 1, .dh = 1, .dw = 1};
	if (t.kind == TERM_DENSE) {
		w->in = (struct shape){among(state, 1, 67), 1, 1};
		w->out = (struct shape){among(state, 1, 40), 1, 1};
		return t;
	}
	t.groups = among(state, 1, 3);
	w->in = (struct shape){t.groups * among(state, 1, 3), among(state, 1, 14), among(state, 1, 14)};
	w->kh = among(state, 1, 5);
	w->kw = among(state, 1, 5);
	w->sh = among(state, 1, 3);
	w->sw = among(state, 1, 3);
	w->dh = among(state, 1, 2);
	w->dw = among(state, 1, 2);
	w->pt = (int32_t)among(state, 0, 4) - 1; /* a negative pad crops */
	w->pl = (int32_t)among(state, 0, 4) - 1;
	w->out = (struct shape){t.groups * among(state, 1, 3), among(state, 1, 12), among(state, 1, 12)};
	return t;
}

/* Element (y, x) of channel c, 0 outside the image. */
static uint64_t pixel(const struct window *w, const uint64_t *x, uint32_t c, int64_t row, int64_t column)
{
	if (row < 0 || column < 0 || row >= w->in.h || column >= w->in.w)
		return 0;
	return x[((size_t)c * w->in.h + (size_t)row) * w->in.w + (size_t)column];
}

static uint64_t element(const struct term *t, const uint64_t *m, const uint64_t *x, uint32_t o, uint32_t row, uint32_t column)
{
	const struct window *w = &t->win;
	uint32_t channels = w->in.c / t->groups, first = o / (w->out.c / t->groups) * channels;
	uint64_t sum = 0;

	if (t->kind == TERM_DENSE) {
		for (size_t i = 0; i < shape_size(w->in); i++)
			sum += m[o * shape_size(w->in) + i] * x[i];
		return sum;
	}
	for (uint32_t c = 0; c < channels; c++)
		for (uint32_t i = 0; i < w->kh; i++)
			for (uint32_t j = 0; j < w->kw; j++)
				sum += m[((o * channels + c) * w->kh + i) * w->kw + j] *
				       pixel(w, x, first + c, (int64_t)row * w->sh - w->pt + (int64_t)i * w->dh,
					     (int64_t)column * w->sw - w->pl + (int64_t)j * w->dw);
	return sum;
}

static void check(uint64_t *state, int small)
{
	struct term t = random_term(state);
	unsigned k = among(state, 8, 62);
	size_t n = shape_size(t.win.in), out = shape_size(t.win.out), words = term_weights(&t), batch = among(state, 1, 9), gap = among(state, 0, 3);
	uint64_t *m = calloc(words, 8), *x = calloc(batch * (n + gap), 8), *y = calloc(batch * (out + gap) + 2, 8), *before;
	struct err e = {0};
	struct linear *l;
	void *scratch;

	for (size_t i = 0; i < words; i++)
		m[i] = small ? (uint64_t)(int64_t)(int32_t)test_random(state) : test_random(state) & ring_mask(k);
	for (size_t i = 0; i < batch * (n + gap); i++)
		x[i] = test_random(state) & ring_mask(k);
	for (size_t i = 0; i < batch * (out + gap) + 2; i++)
		y[i] = CANARY + i;
	before = malloc((batch * (out + gap) + 2) * 8);
	memcpy(before, y, (batch * (out + gap) + 2) * 8);
	l = linear_new(&t, m, k, small, &e);
	assert_non_null(l);
	scratch = aligned_alloc(64, (linear_scratch(l, batch) + 64) / 64 * 64);
	linear_apply(l, x, n + gap, y + 1, out + gap, batch, scratch);
	assert_true(y[0] == before[0]);
	for (size_t b = 0; b < batch; b++) {
		for (size_t i = 0; i < out; i++) {
			size_t plane = (size_t)t.win.out.h * t.win.out.w, at = 1 + b * (out + gap) + i;
			uint64_t want = before[at] + element(&t, m, x + b * (n + gap), i / plane, i % plane / t.win.out.w, i % t.win.out.w);

			assert_int_equal((y[at] ^ want) & ring_mask(k), 0);
		}
		for (size_t i = 0; i < gap; i++)
			assert_true(y[1 + b * (out + gap) + out + i] == before[1 + b * (out + gap) + out + i]);
	}
	linear_free(l);
	free(scratch);
	free(before);
	free(m);
	free(x);
	free(y);
}

static void random_shapes(void **ctx)
{
	struct err e = {0};

	for (int tier = CPU_REF; tier <= (int)cpu_best(); tier++) {
		uint64_t state = 11;

		assert_int_equal(cpu_select(cpu_name(tier), &e), 0);
		for (int i = 0; i < 600; i++)
			check(&state, i % 2);
	}
	assert_int_equal(cpu_select("auto", &e), 0);
}

static void pools(void **ctx)
{
	uint64_t state = 12, in[4 * 14 * 14], out[4 * 12 * 12 + 1];

	for (int round = 0; round < 300; round++) {
		struct term t = random_term(&state);
		struct window *w = &t.win;

		if (t.kind == TERM_DENSE)
			continue;
		w->in.c = w->out.c = among(&state, 1, 4);
		w->dh = w->dw = 1;
		for (size_t i = 0; i < shape_size(w->in); i++)
			in[i] = test_random(&state);
		out[shape_size(w->out)] = CANARY;
		linear_pool(w, in, out);
		for (size_t i = 0; i < shape_size(w->out); i++) {
			size_t plane = (size_t)w->out.h * w->out.w, y = i % plane / w->out.w, x = i % w->out.w;
			uint64_t sum = 0;

			for (uint32_t a = 0; a < w->kh; a++)
				for (uint32_t b = 0; b < w->kw; b++)
					sum += pixel(w, in, i / plane, (int64_t)y * w->sh - w->pt + a, (int64_t)x * w->sw - w->pl + b);
			assert_true(out[i] == sum);
		}
		assert_true(out[shape_size(w->out)] == CANARY);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(random_shapes), cmocka_unit_test(pools)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
