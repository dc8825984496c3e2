/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/stock.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "crypto/secret.h"

/* Small tickets share a slab: each secret arena costs guard pages and entries of the kernel's map. */
#define SLAB_BYTES ((size_t)256 << 10)

struct stock_slab {
	struct stock_slab *next;
	struct secret *arena;
};

void stock_init(struct stock *s, size_t item)
{
	/* Never 0: a piece holds at least the link of the idle list. */
	*s = (struct stock){.item = item > SIZE_MAX - 64 ? SIZE_MAX & ~(size_t)63
							 : (item + 63 + !item) & ~(size_t)63};
}

static void idle_push(struct stock *s, void *piece)
{
	memcpy(piece, &s->idle, sizeof(s->idle));
	s->idle = piece;
}

static void grow(struct stock *s)
{
	size_t n = s->item < SLAB_BYTES ? SLAB_BYTES / s->item : 1;
	struct stock_slab *slab = calloc(1, sizeof(*slab));
	void *piece;

	if (!slab)
		return;
	slab->arena = secret_new(n * s->item, NULL);
	if (!slab->arena) {
		free(slab);
		return;
	}
	slab->next = s->slabs;
	s->slabs = slab;
	while (n-- && (piece = secret_take(slab->arena, s->item)))
		idle_push(s, piece);
}

void *stock_take(struct stock *s)
{
	void *piece;

	if (!s->idle)
		grow(s);
	piece = s->idle;
	if (!piece)
		return NULL;
	memcpy(&s->idle, piece, sizeof(s->idle));
	memset(piece, 0, sizeof(s->idle));
	s->out++;
	return piece;
}

void stock_give(struct stock *s, void *piece)
{
	if (!piece)
		return;
	secret_wipe(piece, s->item);
	idle_push(s, piece);
	s->out--;
}

void stock_free(struct stock *s)
{
	while (s->slabs) {
		struct stock_slab *next = s->slabs->next;

		secret_free(s->slabs->arena);
		free(s->slabs);
		s->slabs = next;
	}
	s->idle = NULL;
	s->out = 0;
}
