/* SPDX-License-Identifier: Apache-2.0 */
/* test/nn/npy.h — reads NPY and IDX files that tests trust (our own and the shared data). The product's
 * readers are in client/. */
#ifndef OBSCURA_TEST_NN_NPY_H
#define OBSCURA_TEST_NN_NPY_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

struct array {
	char type; /* 'f': float32, 'u': uint8 */
	unsigned rank;
	size_t dims[4], n;
	void *data; /* owns */
};

/* Path of shared test data, or NULL when there is none. */
static inline const char *shared_path(char path[512], const char *name)
{
	const char *root = getenv("OBSCURA_SHARED");
	FILE *f;

	snprintf(path, 512, "%s/data/%s", root ? root : "../shared", name);
	f = fopen(path, "rb");
	if (!f)
		return NULL;
	fclose(f);
	return path;
}

static inline int array_read(struct array *a, gzFile f, size_t width)
{
	a->n = 1;
	for (unsigned d = 0; d < a->rank; d++)
		a->n *= a->dims[d];
	a->data = malloc(a->n * width);
	return a->data && gzread(f, a->data, (unsigned)(a->n * width)) == (int)(a->n * width) ? 0 : -1;
}

/* numpy's format 1.0, C order, float32 or uint8 */
static inline int npy_read(struct array *a, const char *path)
{
	unsigned char head[10];
	char text[1024] = "", *at;
	gzFile f = gzopen(path, "rb");
	unsigned n;

	memset(a, 0, sizeof(*a));
	if (!f)
		return -1;
	if (gzread(f, head, 10) != 10 || memcmp(head, "\x93NUMPY\1", 7))
		goto bad;
	n = head[8] + 256u * head[9];
	if (n >= sizeof(text) || gzread(f, text, n) != (int)n || !strstr(text, "'fortran_order': False"))
		goto bad;
	a->type = strstr(text, "'<f4'") ? 'f' : strstr(text, "'|u1'") ? 'u' : 0;
	at = strstr(text, "'shape': (");
	if (!a->type || !at)
		goto bad;
	for (at += 10; a->rank < 4 && *at != ')'; at += strspn(at, ", "))
		a->dims[a->rank++] = strtoul(at, &at, 10);
	if (!array_read(a, f, a->type == 'f' ? 4 : 1)) {
		gzclose(f);
		return 0;
	}
bad:
	gzclose(f);
	free(a->data);
	a->data = NULL;
	return -1;
}

/* IDX of unsigned bytes, plain or gzipped */
static inline int idx_read(struct array *a, const char *path)
{
	unsigned char b[4];
	gzFile f = gzopen(path, "rb");
	int code = -1;

	memset(a, 0, sizeof(*a));
	if (!f)
		return -1;
	a->type = 'u';
	if (gzread(f, b, 4) == 4 && b[2] == 8 && b[3] <= 4) {
		a->rank = b[3];
		code = 0;
		for (unsigned d = 0; !code && d < a->rank; d++) {
			code = gzread(f, b, 4) == 4 ? 0 : -1;
			a->dims[d] = (size_t)b[0] << 24 | (size_t)b[1] << 16 | (size_t)b[2] << 8 | b[3];
		}
		code = code ? code : array_read(a, f, 1);
	}
	gzclose(f);
	return code;
}

#endif
