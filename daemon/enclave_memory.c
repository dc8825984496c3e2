/* SPDX-License-Identifier: Apache-2.0 */
/* malloc for the enclave: the whole heap (image, model, keys, TLS) lies in memfd_secret, which the kernel
 * removes from its own view: no other process can read it through /proc, and it is in no core dump and no
 * swap. Linked into obscura-enclave alone.
 *
 * Blocks have sizes 2^k (k ≥ 5) with a header of 16 bytes; freed ones are wiped, and two halves that are free
 * become one again (D. Knuth, The Art of Computer Programming 1, 2.5: buddy system), so that what one client
 * made us hold is there for others afterwards. Large blocks leave a quarter of the region to small ones.
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
#define FREE 0xf4eeu
#define LARGE (1ul << 18)

struct block {
	uint32_t class, mark;
	uint64_t offset;	  /* of an aligned block: bytes back to the true start */
	struct block *next, **at; /* in the user's bytes, while free */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct block *lists[CLASSES];
static uint8_t *region;
static size_t room_all, large; /* bytes of the region; of large blocks in use */
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
	room_all = bytes;
	return 0;
}

/* ---- free blocks ---- */

static void put(uint8_t *p, unsigned k)
{
	struct block *b = (struct block *)p;

	b->class = k;
	b->mark = FREE;
	b->offset = 0;
	b->next = lists[k];
	b->at = &lists[k];
	if (b->next)
		b->next->at = &b->next;
	lists[k] = b;
}

static void unlink_block(struct block *b)
{
	*b->at = b->next;
	if (b->next)
		b->next->at = b->at;
}

/* The whole region, as blocks that are as large as can be. */
static void put_all(void)
{
	size_t at = 0;

	for (unsigned k = CLASSES; k-- > LEAST;)
		if (room_all & 1ul << k) {
			put(region + at, k);
			at += 1ul << k;
		}
}

/* With its other half, as often as that is free. What is inside a free block is zero, but for the head. */
static void give(struct block *b)
{
	size_t at = (size_t)((uint8_t *)b - region);
	unsigned k = b->class;

	for (; k + 1 < CLASSES; k++) {
		size_t other = at ^ 1ul << k;
		struct block *half = (struct block *)(region + other);

		if (other + (1ul << k) > room_all || half->mark != FREE || half->class != k)
			break;
		unlink_block(half);
		at &= ~(1ul << k);
		memset(region + (at | 1ul << k), 0, sizeof(*half));
	}
	put(region + at, k);
}

static unsigned class_of(size_t bytes)
{
	unsigned k = LEAST;

	while (k < CLASSES && (1ul << k) < bytes)
		k++;
	return k;
}

/* Whether a block of this class may be had: large ones leave room for what every connection needs. */
static int may_take(unsigned k)
{
	return (1ul << k) < LARGE || large + (1ul << k) <= room_all / 4 * 3;
}

static struct block *take(unsigned k)
{
	unsigned from = k;
	struct block *b;

	if (!region) {
		if (start())
			return NULL;
		put_all();
	}
	while (from < CLASSES && !lists[from])
		from++;
	if (from == CLASSES || !may_take(k))
		return NULL;
	b = lists[from];
	unlink_block(b);
	while (from > k) {
		from--;
		put((uint8_t *)b + (1ul << from), from);
	}
	b->class = k;
	b->mark = MARK;
	b->offset = 0;
	large += 1ul << k < LARGE ? 0 : 1ul << k;
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
	explicit_bzero((uint8_t *)b + HEADER, (1ul << b->class) - HEADER); /* the head: others look there */
	pthread_mutex_lock(&lock);
	large -= 1ul << b->class < LARGE ? 0 : 1ul << b->class;
	give(b);
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
