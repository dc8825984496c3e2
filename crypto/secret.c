/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/secret.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <sodium.h>

#define ALIGN 64

struct secret {
	uint8_t *map; /* a guard page, then the usable bytes, then a guard page */
	size_t page, usable, used;
};

struct secret *secret_new(size_t bytes, int *locked)
{
	size_t page = sysconf(_SC_PAGESIZE), usable;
	struct secret *s;
	int is_locked;

	if (bytes > SIZE_MAX / 2)
		return NULL;
	usable = (bytes + ALIGN + page - 1) / page * page;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->page = page;
	s->usable = usable;
	s->map = mmap(NULL, usable + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (s->map == MAP_FAILED || mprotect(s->map + page, usable, PROT_READ | PROT_WRITE)) {
		if (s->map != MAP_FAILED)
			munmap(s->map, usable + 2 * page);
		free(s);
		return NULL;
	}
	madvise(s->map + page, usable, MADV_DONTDUMP);
	is_locked = mlock(s->map + page, usable) == 0;
	if (locked)
		*locked = is_locked;
	return s;
}

void *secret_take(struct secret *s, size_t bytes)
{
	void *p = s->map + s->page + s->used;

	if (bytes > s->usable - s->used)
		return NULL;
	s->used += (bytes + ALIGN - 1) / ALIGN * ALIGN;
	if (s->used > s->usable)
		s->used = s->usable;
	return p;
}

void secret_reset(struct secret *s)
{
	secret_wipe(s->map + s->page, s->used);
	s->used = 0;
}

void secret_free(struct secret *s)
{
	if (!s)
		return;
	secret_reset(s);
	munmap(s->map, s->usable + 2 * s->page);
	free(s);
}

void secret_wipe(void *p, size_t bytes)
{
	if (bytes)
		sodium_memzero(p, bytes);
}
