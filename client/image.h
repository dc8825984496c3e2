/* SPDX-License-Identifier: Apache-2.0 */
/* client/image.h — pictures from files: whole files, array files, and sources of many pictures. */
#ifndef OBSCURA_CLIENT_IMAGE_H
#define OBSCURA_CLIENT_IMAGE_H

#include "daemon/image.h"

#define BLOB_MAX ((size_t)1 << 30) /* bytes of one file, unpacked */

/* Array files. */
enum array_type { ARRAY_U8, ARRAY_F32, ARRAY_I32, ARRAY_I64 };
struct array {
	enum array_type type;
	unsigned rank; /* 1 to 4 */
	uint64_t dims[4];
	const uint8_t *data; /* borrows from the bytes; little endian */
};
/* The header is held against the size: a file that promises more or less than it has is refused. */
int array_idx(struct array *a, const uint8_t *bytes, size_t n, struct err *e) MUST_USE;
int array_npy(struct array *a, const uint8_t *bytes, size_t n, struct err *e) MUST_USE;
/* Either of them, by its first bytes. */
int array_parse(struct array *a, const uint8_t *bytes, size_t n, struct err *e) MUST_USE;

/* A whole file ("-": standard input), gunzipped if it is gzip; bounded by BLOB_MAX. */
struct blob {
	uint8_t *bytes; /* owns */
	size_t n;
};
int blob_read(struct blob *b, const char *path, struct err *e) MUST_USE;
int blob_gunzip(struct blob *out, const uint8_t *bytes, size_t n, struct err *e) MUST_USE;
void blob_free(struct blob *b);

/* Pictures one after another from a SRC of CLI.md: a file of any kind, a folder (its image files by name),
 * "-": standard input, a file of any kind or a list of paths, one a line. */
struct source;
int source_open(struct source **s, const char *path, struct err *e) MUST_USE;
/* 1: im holds the next picture (image_free it) and *name, borrowed until the next call, what to call it; 0:
 * no more; -1: error; with a *name it is about that picture alone and the next call goes on with the next. */
int source_next(struct source *s, struct image *im, const char **name, struct err *e) MUST_USE;
/* Passes over n pictures without decoding them. */
void source_skip(struct source *s, uint64_t n);
/* The next picture is number n of all. */
void source_seek(struct source *s, uint64_t n);
uint64_t source_count(const struct source *s); /* pictures that are left */
/* What tells this source from another: SHA-256 of the bytes of a file; of folders and lists, of names, sizes
 * and times. */
int source_identity(const struct source *s, uint8_t identity[32], struct err *e) MUST_USE;
void source_close(struct source *s);

#endif
