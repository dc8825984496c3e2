/* SPDX-License-Identifier: Apache-2.0 */
/* Every inequality of PROTOCOL.md §6 against the truth in small rings and at its edge; sums that no word
 * holds. */
#include "nn/interval.h"
#include "test/nn/ring.h"

/* ---- the inequalities, against all masks ---- */

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
		if (ring_extend(hat_of(y + (1 << offset), rho, k, f), rho >> f, w, kout,
				(1u << offset) >> f) != ((uint64_t)z_of(y, rho, f) & ring_mask(kout)))
			return 0;
	return 1;
}

/* z_j + relu(z_i - z_j) in the ring 2^w, for both orders and all roundings of both. */
static int max_right(int64_t lo, int64_t hi, unsigned k, unsigned f)
{
	unsigned w = k - f;

	for (int64_t zi = lo >> f; zi <= interval_ceil(hi, f); zi++)
		for (int64_t zj = lo >> f; zj <= interval_ceil(hi, f); zj++) {
			uint64_t d = (uint64_t)(zi - zj) & ring_mask(w),
				 m = ((uint64_t)zj + (d >> (w - 1) ? 0 : d)) & ring_mask(w);

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
			for (int64_t y = 1 - (1 << k); y <= 1 << k;
			     y++) { /* -2^k is 0 again, and right by chance */
				assert_int_equal(interval_relu_fits(y, y, k, f), relu_right(y, k, f));
				offset_is_exact(y, k, f);
				for (int64_t hi = y; hi <= 1 << k; hi++)
					assert_int_equal(interval_max_fits(y, hi, k, f),
							 max_right(y, hi, k, f));
				assert_int_equal(interval_last_fits(y, y, k),
						 ring_signed((uint64_t)y, k) == y);
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
			int64_t one = INT64_C(1) << f, offset = INT64_C(1) << (k - 2),
				top = (INT64_C(1) << (k - f - 1)) - 1;

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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(inequalities_are_exact),
	    cmocka_unit_test(inequalities_at_their_edges),
	    cmocka_unit_test(sums_beyond_128_bits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
