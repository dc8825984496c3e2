/* SPDX-License-Identifier: Apache-2.0 */
/* malloc for the enclave: the whole heap (image, model, keys, TLS) lies in memfd_secret, which the kernel
 * removes from its own view: no other process can read it through /proc, and it is in no core dump and no
 * swap. Linked into obscura-enclave alone.
 *
 * Blocks have sizes 2^k (k ≥ 5) with a header of 16 bytes; freed ones are wiped and kept in a list by size.
 * The region is mapped at the first call, before privileges are dropped; pages that were never touched cost
 * nothing. */
#include "daemon/enclave.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REGION (1ul << 30)
#define SMALL (7ul << 20) /* where locked memory is limited to 8 MiB */
#define CLASSES 31
#define LEAST 5
#define HEADER 16
#define MARK 0x0b5cu

struct block {
	uint32_t class, mark;
	uint64_t offset;    /* of an aligned block: bytes back to the true start */
	struct block *next; /* in the user's bytes, while free */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct block *lists[CLASSES];
static uint8_t *region, *top, *end;
static int secret;

int enclave_memory_secret(void)
{
	return secret;
}

static uint8_t *map_secret(size_t bytes)
{
	int fd = (int)syscall(SYS_memfd_secret, 0);
	void *p = MAP_FAILED;

	if (fd < 0)
		return NULL;
	if (!ftruncate(fd, (off_t)bytes))
		p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return p == MAP_FAILED ? NULL : p;
}

static int start(void)
{
	size_t bytes = REGION;

	region = map_secret(bytes);
	if (!region)
		region = map_secret(bytes = SMALL);
	secret = region != NULL;
	if (!region) {
		bytes = REGION;
		region = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (region == MAP_FAILED)
			return -1;
	}
	top = region;
	end = region + bytes;
	return 0;
}

static unsigned class_of(size_t bytes)
{
	unsigned k = LEAST;

	while (k < CLASSES && (1ul << k) < bytes)
		k++;
	return k;
}

static struct block *take(unsigned k)
{
	struct block *b = lists[k];

	if (b) {
		lists[k] = b->next;
		return b;
	}
	if ((!region && start()) || (size_t)(end - top) < (1ul << k))
		return NULL;
	b = (struct block *)top;
	top += 1ul << k;
	b->class = k;
	return b;
}

void *malloc(size_t n)
{
	unsigned k = n > REGION ? CLASSES : class_of(n + HEADER < 32 ? 32 : n + HEADER);
	struct block *b = NULL;

	if (k < CLASSES) {
		pthread_mutex_lock(&lock);
		b = take(k);
		pthread_mutex_unlock(&lock);
	}
	if (!b) {
		errno = ENOMEM;
		return NULL;
	}
	b->mark = MARK;
	b->offset = 0;
	return (uint8_t *)b + HEADER;
}

static struct block *block_of(void *p)
{
	struct block *b = (struct block *)((uint8_t *)p - HEADER);

	if (b->mark != MARK)
		abort();
	return b->offset ? (struct block *)((uint8_t *)b - b->offset) : b;
}

static size_t room(void *p)
{
	struct block *b = block_of(p);

	return (1ul << b->class) - (size_t)((uint8_t *)p - (uint8_t *)b);
}

void free(void *p)
{
	struct block *b;

	if (!p)
		return;
	b = block_of(p);
	explicit_bzero((uint8_t *)b + 4, (1ul << b->class) - 4);
	pthread_mutex_lock(&lock);
	b->next = lists[b->class];
	lists[b->class] = b;
	pthread_mutex_unlock(&lock);
}

/* Fresh pages are zero and freed blocks are wiped, but the list's link lies in the user's bytes. */
void *calloc(size_t n, size_t size)
{
	size_t bytes;
	void *p;

	if (__builtin_mul_overflow(n, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	p = malloc(bytes);
	if (p)
		memset(p, 0, bytes < 16 ? bytes : 16);
	return p;
}

void *realloc(void *p, size_t n)
{
	void *q;

	if (!p)
		return malloc(n);
	if (n && n <= room(p))
		return p;
	q = n ? malloc(n) : NULL;
	if (q)
		memcpy(q, p, room(p) < n ? room(p) : n);
	if (q || !n)
		free(p);
	return q;
}

void *aligned_alloc(size_t align, size_t n)
{
	uint8_t *p, *q;
	struct block *b;

	if (align <= 16)
		return malloc(n);
	if (n > REGION || align > REGION || !(p = malloc(n + align + HEADER)))
		return NULL;
	q = (uint8_t *)(((uintptr_t)p + HEADER + align - 1) & ~(uintptr_t)(align - 1));
	b = (struct block *)(q - HEADER);
	b->mark = MARK;
	b->offset = (uint64_t)((uint8_t *)b - (p - HEADER));
	return q;
}

void *memalign(size_t align, size_t n)
{
	return aligned_alloc(align, n);
}

int posix_memalign(void **p, size_t align, size_t n)
{
	*p = aligned_alloc(align, n);
	return *p ? 0 : ENOMEM;
}

size_t malloc_usable_size(void *p)
{
	return p ? room(p) : 0;
}
