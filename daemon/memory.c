/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/memory.h"

#include <stdlib.h>
#include <string.h>

#include "crypto/secret.h"

#define FIRST ((size_t)16 << 10)
#define ALIGNED 16
#define SPARES_MOST 64		    /* of a pool */
#define KEPT_MOST ((size_t)1 << 20) /* bytes of one that is kept */

/* Pieces are taken from the newest block; a larger one is added when it is full. */
struct block {
	struct block *older;
	size_t room, used;
	_Alignas(ALIGNED) unsigned char bytes[];
};

struct memory {
	struct memory *next; /* in the pool */
	struct memory_pool *pool;
	struct block *block;
	size_t room; /* of all blocks: as much as one block will have next time */
};

static int add_block(struct memory *m, size_t least)
{
	size_t room = m->room > FIRST ? m->room : FIRST;
	struct block *b;

	while (room < least)
		room *= 2;
	b = malloc(sizeof(*b) + room);
	if (!b)
		return -1;
	*b = (struct block){.older = m->block, .room = room};
	m->block = b;
	m->room += room;
	return 0;
}

static void drop_blocks(struct memory *m)
{
	while (m->block) {
		struct block *b = m->block;

		m->block = b->older;
		free(b);
	}
}

struct memory *memory_new(struct memory_pool *pool)
{
	struct memory *m = pool->spare;

	if (m) {
		pool->spare = m->next;
		pool->spares--;
		return m;
	}
	m = calloc(1, sizeof(*m));
	if (m)
		m->pool = pool;
	return m;
}

void *memory_take(struct memory *m, size_t n)
{
	size_t whole = (n + ALIGNED - 1) / ALIGNED * ALIGNED;
	void *p;

	if (whole < n || whole > (size_t)1 << 40)
		return NULL;
	if ((!m->block || m->block->room - m->block->used < whole) && add_block(m, whole))
		return NULL;
	p = m->block->bytes + m->block->used;
	m->block->used += whole;
	memset(p, 0, n);
	return p;
}

void memory_free(struct memory *m)
{
	struct memory_pool *pool;

	if (!m)
		return;
	pool = m->pool;
	for (struct block *b = m->block; b; b = b->older) {
		secret_wipe(b->bytes, b->used);
		b->used = 0;
	}
	if (m->block && m->block->older)
		drop_blocks(m); /* one block that holds all next time */
	if (m->room > KEPT_MOST || pool->spares >= SPARES_MOST) {
		drop_blocks(m);
		free(m);
		return;
	}
	m->next = pool->spare;
	pool->spare = m;
	pool->spares++;
}

void memory_pool_free(struct memory_pool *pool)
{
	while (pool->spare) {
		struct memory *m = pool->spare;

		pool->spare = m->next;
		drop_blocks(m);
		free(m);
	}
	pool->spares = 0;
}
