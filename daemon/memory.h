/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/memory.h — memory of requests, used again and again: after a warm-up an inference allocates
 * nothing. */
#ifndef OBSCURA_DAEMON_MEMORY_H
#define OBSCURA_DAEMON_MEMORY_H

#include <stddef.h>

/* Many pieces with one end: they are wiped and given back together. */
struct memory;
/* What is not used at the moment. Starts as zeros. */
struct memory_pool {
	struct memory *spare;
	size_t spares;
};

/* NULL when memory is short. */
struct memory *memory_new(struct memory_pool *pool);
/* n zeroed bytes, aligned for anything; NULL when memory is short. */
void *memory_take(struct memory *m, size_t n);
/* Wipes all pieces. NULL is allowed. */
void memory_free(struct memory *m);
void memory_pool_free(struct memory_pool *pool);

#endif
