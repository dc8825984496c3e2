/* SPDX-License-Identifier: Apache-2.0 */
/* test/crypto/attest/data.h — files of the shared evidence; tests skip where there is none. */
#ifndef OBSCURA_TEST_CRYPTO_ATTEST_DATA_H
#define OBSCURA_TEST_CRYPTO_ATTEST_DATA_H

#include <stdio.h>

#include "crypto/attest/attest.h"
#include "test/test.h"

/* Path of a file of the evidence, in a static buffer. */
static inline const char *data_path(const char *name)
{
	static char path[512];
	const char *shared = getenv("OBSCURA_SHARED");

	snprintf(path, sizeof(path), "%s/data/attestation/%s", shared ? shared : "../shared", name);
	return path;
}

/* 0 and a new span, or -1 when there is no such file. */
static inline int data_read(const char *name, struct span *s)
{
	FILE *f = fopen(data_path(name), "rb");
	uint8_t *bytes;

	s->p = NULL;
	s->n = 0;
	if (!f)
		return -1;
	bytes = malloc(1 << 17);
	assert_non_null(bytes);
	s->p = bytes;
	s->n = fread(bytes, 1, 1 << 17, f);
	fclose(f);
	return 0;
}

static inline struct span data_must(const char *name)
{
	struct span s;

	if (data_read(name, &s))
		fail_msg("there is no %s", data_path(name));
	return s;
}

static inline void data_free(struct span *s)
{
	free((void *)s->p);
	s->p = NULL;
	s->n = 0;
}

#endif
