/* SPDX-License-Identifier: Apache-2.0 */
/* client/image.h — pictures from files: hostile bytes in, 8-bit pixels of the model's size out. */
#ifndef OBSCURA_CLIENT_IMAGE_H
#define OBSCURA_CLIENT_IMAGE_H

#include <stddef.h>
#include <stdint.h>
#include "conf/err.h"
#include "nn/graph.h"

#define IMAGE_MAX_PIXELS (64u << 20) /* width × height of one image */
#define BLOB_MAX ((size_t)1 << 30)   /* bytes of one file, unpacked */

/* Row by row, channels together: pixels[(y*w + x)*c + channel]. c is 1 (grey) or 3 (red, green, blue). */
struct image {
	uint32_t w, h, c;
	uint8_t *pixels; /* owns */
};
/* Takes memory for w × h × c; refuses sizes of 0 or above IMAGE_MAX_PIXELS. */
int image_new(struct image *im, uint64_t w, uint64_t h, uint32_t c, struct err *e) MUST_USE;
void image_free(struct image *im);

/* What a file is, by its first bytes. */
enum image_kind { IMAGE_UNKNOWN, IMAGE_PNG, IMAGE_JPEG, IMAGE_PNM, IMAGE_IDX, IMAGE_NPY, IMAGE_GZIP };
enum image_kind image_kind(const uint8_t *bytes, size_t n);

/* Decoders. bytes is hostile; on failure e says what is wrong (ERR_INPUT), without the file's name. PNG and
 * JPEG libraries run in a confined process of their own (confine.h): image_decode chooses. image_png and
 * image_jpeg are what runs inside. */
int image_decode(struct image *im, const uint8_t *bytes, size_t n, struct err *e) MUST_USE;
int image_png(struct image *im, const uint8_t *bytes, size_t n, struct err *e) MUST_USE;
int image_jpeg(struct image *im, const uint8_t *bytes, size_t n, struct err *e) MUST_USE;
int image_pnm(struct image *im, const uint8_t *bytes, size_t n, struct err *e) MUST_USE;

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
 * "-". */
struct source;
int source_open(struct source **s, const char *path, struct err *e) MUST_USE;
/* 1: im holds the next picture (image_free it) and *name, borrowed until the next call, what to call it; 0:
 * no more; -1: error. */
int source_next(struct source *s, struct image *im, const char **name, struct err *e) MUST_USE;
/* Passes over n pictures without decoding them. */
void source_skip(struct source *s, uint64_t n);
uint64_t source_count(const struct source *s); /* pictures that are left */
void source_close(struct source *s);

/* Pillow's antialiased bilinear filter (resize.c): 8-bit coefficients of 22 bits, rounded to 8 bits between
 * the passes. */
int image_resize(struct image *out, const struct image *in, uint32_t w, uint32_t h, struct err *e) MUST_USE;

/* Makes of a picture what a model takes: shape_size(want) bytes, CHW. convert: grey ↔ colour is allowed. */
struct fit {
	struct shape want;
	enum nn_resize resize;
	int convert;
};
int image_fit(uint8_t *chw, const struct image *im, const struct fit *fit, struct err *e) MUST_USE;
/* Whether image_fit can fail for this size and colour, before the picture is needed. */
int image_fits(const struct image *im, const struct fit *fit, struct err *e) MUST_USE;

#endif
