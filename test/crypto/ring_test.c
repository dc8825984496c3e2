/* SPDX-License-Identifier: Apache-2.0 */
/* Packing against a bit-by-bit oracle, for every k and small n, with canaries on both sides; at every kernel
 * tier. */
#include "test/test.h"

#include "crypto/cpu.h"
#include "crypto/ring.h"

#define N 68
#define CANARY 0xa5

static void oracle_pack(uint8_t *out, const uint64_t *in, size_t n, unsigned k)
{
	memset(out, 0, ring_packed(n, k));
	for (size_t bit = 0; bit < n * k; bit++)
		out[bit / 8] |= (in[bit / k] >> (bit % k) & 1) << (bit % 8);
}

static void check(size_t n, unsigned k, uint64_t *state)
{
	uint8_t packed[N * 8 + 32], want[N * 8 + 1];
	uint64_t words[N], back[N + 2];
	size_t bytes = ring_packed(n, k);
	uint8_t *exact = malloc(bytes + 1); /* a sanitizer sees a read beyond */

	for (size_t i = 0; i < n; i++)
		words[i] = test_random(state);
	memset(packed, CANARY, sizeof(packed));
	ring_pack(packed + 16, words, n, k);
	oracle_pack(want, words, n, k);
	assert_memory_equal(packed + 16, want, bytes);
	for (size_t i = 0; i < 16; i++) {
		assert_int_equal(packed[i], CANARY);
		assert_int_equal(packed[16 + bytes + i], CANARY);
	}
	exact = realloc(exact, bytes ? bytes : 1);
	memcpy(exact, want, bytes);
	back[0] = back[n + 1] = 77;
	ring_unpack(back + 1, exact, n, k);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(back[1 + i], words[i] & ring_mask(k));
	assert_int_equal(back[0], 77);
	assert_int_equal(back[n + 1], 77);
	free(exact);
}

static void packing(void **ctx)
{
	struct err e = {0};
	uint64_t state = 1;

	for (int tier = CPU_REF; tier <= (int)cpu_best(); tier++) {
		assert_int_equal(cpu_select(cpu_name(tier), &e), 0);
		for (unsigned k = 1; k <= 64; k++)
			for (size_t n = 0; n < N; n++)
				check(n, k, &state);
	}
	assert_int_equal(cpu_select("auto", &e), 0);
}

static void arithmetic(void **ctx)
{
	struct err e = {0};
	uint64_t state = 2, a[N], b[N], sum[N + 1], difference[N + 1];

	for (int tier = CPU_REF; tier <= (int)cpu_best(); tier++) {
		assert_int_equal(cpu_select(cpu_name(tier), &e), 0);
		for (unsigned k = 1; k <= 64; k++)
			for (size_t n = 0; n < N; n++) {
				for (size_t i = 0; i < n; i++)
					a[i] = test_random(&state), b[i] = test_random(&state);
				sum[n] = difference[n] = 99;
				ring_add(sum, a, b, n, k);
				ring_sub(difference, a, b, n, k);
				for (size_t i = 0; i < n; i++) {
					assert_int_equal(sum[i], (a[i] + b[i]) & ring_mask(k));
					assert_int_equal(difference[i], (a[i] - b[i]) & ring_mask(k));
				}
				assert_int_equal(sum[n], 99);
				assert_int_equal(difference[n], 99);
			}
	}
	assert_int_equal(cpu_select("auto", &e), 0);
}

static void ends(void **ctx)
{
	assert_int_equal(ring_mask(0), 0);
	assert_int_equal(ring_mask(1), 1);
	assert_true(ring_mask(63) == INT64_MAX);
	assert_true(ring_mask(64) == UINT64_MAX);
	assert_true(ring_signed(UINT64_C(1) << 63, 64) == INT64_MIN);
	assert_int_equal(ring_signed(1, 1), -1);
	assert_int_equal(ring_signed(7, 4), 7);
	assert_int_equal(ring_signed(8, 4), -8);
	assert_int_equal(ring_signed(0xf8, 4), -8); /* upper bits do not matter */
	assert_int_equal(ring_packed(0, 13), 0);
	assert_int_equal(ring_packed(3, 3), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(packing), cmocka_unit_test(arithmetic),
					   cmocka_unit_test(ends)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
