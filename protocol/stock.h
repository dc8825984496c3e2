/* SPDX-License-Identifier: Apache-2.0 */
/* protocol/stock.h — memory for the tickets of one session: equal pieces of secret memory, wiped when given
 * back, reused. */
#ifndef OBSCURA_PROTOCOL_STOCK_H
#define OBSCURA_PROTOCOL_STOCK_H

#include <stddef.h>

struct stock_slab;
struct stock {
	size_t item; /* usable bytes of one piece */
	struct stock_slab *slabs;
	void *idle; /* pieces that were given back, linked through their first word */
	size_t out; /* pieces lent */
};

void stock_init(struct stock *s, size_t item);
/* Lends a piece, 64-aligned; NULL when memory is short. */
void *stock_take(struct stock *s);
/* Wipes the piece; NULL is allowed. */
void stock_give(struct stock *s, void *piece);
/* Wipes and frees all, lent pieces too. */
void stock_free(struct stock *s);

#endif
