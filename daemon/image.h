/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/image.h — one picture: hostile bytes in, 8-bit pixels of the model's size out. */
#ifndef OBSCURA_DAEMON_IMAGE_H
#define OBSCURA_DAEMON_IMAGE_H

#include <stddef.h>
#include <stdint.h>
#include "conf/err.h"
#include "nn/graph.h"

#define IMAGE_MAX_PIXELS (64u << 20) /* width × height of one image */

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
/* The same in a process that is confined already. */
int image_decode_here(struct image *im, const uint8_t *bytes, size_t n, struct err *e) MUST_USE;
int image_png(struct image *im, const uint8_t *bytes, size_t n, struct err *e) MUST_USE;
int image_jpeg(struct image *im, const uint8_t *bytes, size_t n, struct err *e) MUST_USE;
int image_pnm(struct image *im, const uint8_t *bytes, size_t n, struct err *e) MUST_USE;

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

#endif
