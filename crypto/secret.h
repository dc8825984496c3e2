/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/secret.h — memory for secrets: guarded, locked where the system allows it, left out of core dumps,
 * wiped. */
#ifndef OBSCURA_CRYPTO_SECRET_H
#define OBSCURA_CRYPTO_SECRET_H

#include <stddef.h>

/* An arena: all secret state of one session or one lane; one wipe. */
struct secret;

/* Returns new: an arena of `bytes` usable bytes (0-filled, page guards on both sides, MADV_DONTDUMP, mlock as
 * far as RLIMIT_MEMLOCK allows: *locked tells, may be NULL). NULL when memory is short. */
struct secret *secret_new(size_t bytes, int *locked);
/* Borrows `bytes` bytes aligned to 64; NULL when the arena is full. */
void *secret_take(struct secret *arena, size_t bytes);
/* Wipes all that was taken and makes it available again. */
void secret_reset(struct secret *arena);
/* Wipes, unlocks, frees; NULL is allowed. */
void secret_free(struct secret *arena);

/* Zeroes memory in a way that the compiler does not remove. */
void secret_wipe(void *p, size_t bytes);

#endif
