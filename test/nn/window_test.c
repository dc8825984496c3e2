/* SPDX-License-Identifier: Apache-2.0 */
/* Pooling sets and public maps of a tape against their definitions. */
#include "test/nn/net.h"

static void pooling_sets(void **state)
{
	struct err e = {0};

	for (uint32_t k = 1; k <= 3; k++)
		for (uint32_t s = 1; s <= 3; s++)
			for (uint32_t d = 1; d <= 2; d++)
				for (int32_t pad = 0; pad < 2; pad++) {
					struct window w = {.in = {2, 5, 6},
							   .out = {2, 3, 2},
							   .kh = k,
							   .kw = k,
							   .sh = s,
							   .sw = s,
							   .dh = d,
							   .dw = d,
							   .pt = pad,
							   .pl = pad};
					struct pool_sets sets;
					uint32_t at = 0, largest = 0;

					assert_int_equal(pool_sets_new(&sets, &w, &e), 0);
					assert_int_equal(sets.outputs, 12);
					for (uint32_t o = 0; o < 12; o++) {
						uint32_t c = o / 6, y = o / 2 % 3, x = o % 2, from = at;

						assert_int_equal(sets.start[o], at);
						for (uint32_t i = 0; i < k * k; i++) {
							int64_t r = (int64_t)y * s - pad + i / k * d,
								q = (int64_t)x * s - pad + i % k * d;

							if (r >= 0 && q >= 0 && r < 5 && q < 6)
								assert_int_equal(sets.member[at++],
										 (c * 5 + r) * 6 + q);
						}
						largest = at - from > largest ? at - from : largest;
					}
					assert_int_equal(sets.start[12], at);
					assert_int_equal(sets.largest, largest);
					pool_sets_free(&sets);
					assert_null(sets.start);
				}
}

static void maps_in_the_ring(void **state)
{
	struct value v[] = {
	    {FORM_SHARE, {1, 1, 2}, 20, 0}, {FORM_SHARE, {1, 1, 2}, 20, 0}, {FORM_SHARE, {1, 1, 2}, 10, 0}};
	struct row row = {.kind = OP_MAP, .map = MAP_ADD, .in = {0, 1}, .n_in = 2, .out = 2, .shift = {0, 4}};
	struct tape tape = {v, 3, &row, 1};
	uint64_t a[2] = {1023, 0xfffff}, b[2] = {1, 3}, out[3] = {7, 7, 7};
	const uint64_t *in[] = {a, b};

	map_apply(&tape, &row, in, out);
	assert_int_equal(out[0], (1023 + 16) & 1023);
	assert_int_equal(out[1], (1023 + 48) & 1023);
	assert_int_equal(out[2], 7);
	map_integers(&tape, &row, in, out);
	assert_int_equal(out[0], 1023 + 16);
	/* a sum of shares is the share of the sum: x = x0 + x1 mod 2^20, mapped mod 2^10 */
	for (int i = 0; i < 100; i++) {
		uint64_t x[2] = {rnd() & 0xfffff, rnd() & 0xfffff},
			 x0[2] = {rnd() & 0xfffff, rnd() & 0xfffff}, x1[2], y[2], y0[2], y1[2];
		const uint64_t *in0[] = {x0, x0}, *in1[] = {x1, x1}, *inx[] = {x, x};

		x1[0] = (x[0] - x0[0]) & 0xfffff;
		x1[1] = (x[1] - x0[1]) & 0xfffff;
		map_apply(&tape, &row, in0, y0);
		map_apply(&tape, &row, in1, y1);
		map_apply(&tape, &row, inx, y);
		assert_int_equal((y0[0] + y1[0]) & 1023, y[0]);
		assert_int_equal((y0[1] + y1[1]) & 1023, y[1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(pooling_sets),
					   cmocka_unit_test(maps_in_the_ring)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
