/* SPDX-License-Identifier: Apache-2.0 */
/* The enclave's malloc under names of its own, used by several threads: V=tsan sees what they share. */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "test/test.h"

#define malloc own_malloc
#define free own_free
#define calloc own_calloc
#define realloc own_realloc
#define aligned_alloc own_aligned_alloc
#define memalign own_memalign
#define posix_memalign own_posix_memalign
#define malloc_usable_size own_usable
#define explicit_bzero(p, n) memset(p, 0, n) /* ThreadSanitizer looks into this one */
void *own_malloc(size_t n);
void own_free(void *p);
void *own_calloc(size_t n, size_t size);
void *own_realloc(void *p, size_t n);
void *own_aligned_alloc(size_t align, size_t n);
void *own_memalign(size_t align, size_t n);
int own_posix_memalign(void **p, size_t align, size_t n);
size_t own_usable(void *p);
#include "daemon/enclave_memory.c"

#define THREADS 4
#define HELD 50
#define STEPS 20000
#define MOST 3000 /* THREADS × HELD of them fit where little memory can be locked */

/* One's blocks, filled with its number. */
struct user {
	uint8_t *p[HELD];
	size_t n[HELD];
	uint32_t random;
	uint8_t number;
	int wrong;
};

static uint32_t draw(struct user *u, uint32_t below)
{
	u->random = u->random * 1664525 + 1013904223;
	return (u->random >> 8) % below;
}

static int is_all(const uint8_t *p, size_t n, uint8_t value)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != value)
			return 0;
	return 1;
}

static uint8_t *take_one(struct user *u, size_t n)
{
	uint8_t *p;

	switch (draw(u, 3)) {
	case 0:
		return malloc(n);
	case 1:
		p = calloc(1, n);
		u->wrong |= p && !is_all(p, n, 0);
		return p;
	default:
		p = aligned_alloc(64, n);
		u->wrong |= (uintptr_t)p % 64 != 0;
		return p;
	}
}

static void step(struct user *u)
{
	uint32_t i = draw(u, HELD);
	size_t n = 1 + draw(u, MOST);

	u->wrong |= u->p[i] && !is_all(u->p[i], u->n[i], u->number);
	if (u->p[i] && draw(u, 2)) {
		free(u->p[i]);
		u->p[i] = NULL;
		return;
	}
	if (!u->p[i])
		u->p[i] = take_one(u, n);
	else
		u->p[i] = realloc(u->p[i], n);
	u->n[i] = n;
	u->wrong |= !u->p[i] || own_usable(u->p[i]) < n;
	if (u->p[i])
		memset(u->p[i], u->number, n);
}

static void *use(void *arg)
{
	struct user *u = arg;

	for (int i = 0; i < STEPS && !u->wrong; i++)
		step(u);
	for (int i = 0; i < HELD; i++)
		free(u->p[i]);
	return NULL;
}

/* Nobody finds another's bytes in a block of its own, nor any in one of calloc. */
static void test_threads(void **state)
{
	static struct user users[THREADS];
	pthread_t threads[THREADS];

	for (int t = 0; t < THREADS; t++) {
		users[t] = (struct user){.number = (uint8_t)(t + 1), .random = (uint32_t)t};
		assert_int_equal(pthread_create(&threads[t], NULL, use, &users[t]), 0);
	}
	for (int t = 0; t < THREADS; t++) {
		pthread_join(threads[t], NULL);
		assert_false(users[t].wrong);
	}
}

/* After them the region is what it was: the blocks that it had at first. */
static void test_whole_again(void **state)
{
	size_t at = 0;

	assert_int_equal(large, 0);
	for (unsigned k = CLASSES; k-- > LEAST;) {
		int there = room_all & 1ul << k ? 1 : 0;

		assert_int_equal(lists[k] != NULL, there);
		if (!there)
			continue;
		assert_ptr_equal(lists[k], region + at);
		assert_null(lists[k]->next);
		at += 1ul << k;
	}
}

static void test_wiped(void **state)
{
	uint8_t *p = malloc(1000);

	assert_non_null(p);
	memset(p, 0xa5, 1000);
	free(p);
	/* the list's links lie in the first 16 bytes */
	assert_true(is_all(p + 16, 1000 - 16, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_wiped),
	    cmocka_unit_test(test_threads),
	    cmocka_unit_test(test_whole_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
