/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of requests: pieces are zeroed and apart; what was used is used again; large ones are not kept. */
#include "test/test.h"

#include "daemon/memory.h"

static void pieces(void **state)
{
	struct memory_pool pool = {0};

	for (int round = 0; round < 3; round++) {
		struct memory *m = memory_new(&pool);
		unsigned char *piece[200];

		for (size_t i = 0; i < 200; i++) {
			piece[i] = memory_take(m, i * 7);
			assert_non_null(piece[i]);
			assert_int_equal((uintptr_t)piece[i] % 16, 0);
			for (size_t b = 0; b < i * 7; b++)
				assert_int_equal(piece[i][b], 0);
			memset(piece[i], (int)i + 1, i * 7);
		}
		for (size_t i = 0; i < 200; i++)
			for (size_t b = 0; b < i * 7; b++)
				assert_int_equal(piece[i][b], (unsigned char)(i + 1));
		memory_free(m);
		assert_int_equal(pool.spares, 1);
	}
	memory_pool_free(&pool);
	assert_int_equal(pool.spares, 0);
}

static void again(void **state)
{
	struct memory_pool pool = {0};
	struct memory *m = memory_new(&pool);
	unsigned char *first;

	first = memory_take(m, 100);
	memset(first, 0xa5, 100);
	memory_free(m);
	m = memory_new(&pool);
	assert_ptr_equal(memory_take(m, 100), first); /* the same memory … */
	for (int b = 0; b < 100; b++)
		assert_int_equal(first[b], 0); /* … wiped */
	memory_free(m);
	memory_pool_free(&pool);
}

static void limits(void **state)
{
	struct memory_pool pool = {0};
	struct memory *m = memory_new(&pool);

	assert_null(memory_take(m, SIZE_MAX));
	assert_null(memory_take(m, (size_t)1 << 62));
	assert_non_null(memory_take(m, 0));
	assert_non_null(memory_take(m, 5 << 20));
	memory_free(m);
	assert_int_equal(pool.spares, 0);
	memory_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(pieces),
	    cmocka_unit_test(again),
	    cmocka_unit_test(limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
