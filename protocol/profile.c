/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/profile.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct profile {
	size_t rows;
	atomic_uint_fast64_t images[PROFILE_WHATS];
	atomic_uint_fast64_t ns[]; /* rows × PROFILE_WHATS */
};

/* A property of the process, like its log: which file, if any. */
static FILE *output;
static pthread_mutex_t output_lock = PTHREAD_MUTEX_INITIALIZER;

static const char *const whats[PROFILE_WHATS] = {"compute",  "send", "wait",	"encrypt", "transform",
						 "multiply", "mask", "decrypt", "ahead",   "deal"};

int profile_open(const char *path, struct err *e)
{
	output = fopen(path, "we");
	return output ? 0 : err_set(e, ERR_ENV, "cannot write the profile %s: %s", path, strerror(errno));
}

void profile_close(void)
{
	if (output)
		fclose(output);
	output = NULL;
}

struct profile *profile_new(size_t rows)
{
	return output ? profile_make(rows) : NULL;
}

void profile_zero(struct profile *p)
{
	for (size_t i = 0; i < p->rows * PROFILE_WHATS; i++)
		atomic_store_explicit(&p->ns[i], 0, memory_order_relaxed);
}

uint64_t profile_ns(const struct profile *p, enum profile_what what, size_t row)
{
	return atomic_load_explicit(&p->ns[row * PROFILE_WHATS + what], memory_order_relaxed);
}

struct profile *profile_make(size_t rows)
{
	struct profile *p;

	p = calloc(1, sizeof(*p) + rows * PROFILE_WHATS * sizeof(p->ns[0]));
	if (p) /* memory is short: then there is no profile */
		p->rows = rows;
	return p;
}

void profile_add(struct profile *p, enum profile_what what, size_t row, uint64_t ns)
{
	if (row >= p->rows)
		row = p->rows - 1; /* what comes after the last row, its message, belongs to it */
	atomic_fetch_add_explicit(&p->ns[row * PROFILE_WHATS + what], ns, memory_order_relaxed);
}

void profile_count(struct profile *p, enum profile_what what, size_t images)
{
	if (p)
		atomic_fetch_add_explicit(&p->images[what], images, memory_order_relaxed);
}

uint64_t profile_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void profile_write(struct profile *p, const char *(*name)(const void *ctx, size_t row), const void *ctx)
{
	if (!p || !output)
		return;
	pthread_mutex_lock(&output_lock);
	for (size_t row = 0; row < p->rows; row++) {
		fprintf(output,
			"{\"rows\":%zu,\"row\":%zu,\"op\":\"%s\",\"images\":%" PRIuFAST64
			",\"tickets\":%" PRIuFAST64,
			p->rows, row, name(ctx, row), atomic_load(&p->images[PROFILE_COMPUTE]),
			atomic_load(&p->images[PROFILE_AHEAD]) + atomic_load(&p->images[PROFILE_DEAL]));
		for (int w = 0; w < PROFILE_WHATS; w++)
			fprintf(output, ",\"%s_ns\":%" PRIuFAST64, whats[w],
				atomic_load(&p->ns[row * PROFILE_WHATS + (size_t)w]));
		fputs("}\n", output);
	}
	fflush(output);
	pthread_mutex_unlock(&output_lock);
}

void profile_free(struct profile *p)
{
	free(p);
}
