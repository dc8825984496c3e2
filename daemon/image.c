/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures: sizes, kinds, the way from any picture to what a model takes. */
#include "daemon/image.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/confine.h"

int image_new(struct image *im, uint64_t w, uint64_t h, uint32_t c, struct err *e)
{
	memset(im, 0, sizeof(*im));
	if (!w || !h)
		return err_set(e, ERR_INPUT, "the picture is empty: %llu×%llu", (unsigned long long)w,
			       (unsigned long long)h);
	if (w > IMAGE_MAX_PIXELS || h > IMAGE_MAX_PIXELS / w)
		return err_set(e, ERR_INPUT,
			       "the picture is too large: %llu×%llu; at most 64 million pixels are read",
			       (unsigned long long)w, (unsigned long long)h);
	im->pixels = malloc((size_t)w * h * c);
	if (!im->pixels)
		return err_set(e, ERR_ENV, "out of memory for a picture of %llu×%llu", (unsigned long long)w,
			       (unsigned long long)h);
	im->w = (uint32_t)w;
	im->h = (uint32_t)h;
	im->c = c;
	return 0;
}

void image_free(struct image *im)
{
	free(im->pixels);
	memset(im, 0, sizeof(*im));
}

enum image_kind image_kind(const uint8_t *b, size_t n)
{
	if (n >= 4 && !memcmp(b, "\x89PNG", 4))
		return IMAGE_PNG;
	if (n >= 3 && !memcmp(b, "\xff\xd8\xff", 3))
		return IMAGE_JPEG;
	if (n >= 2 && b[0] == 'P' && strchr("2356", b[1]) && b[1])
		return IMAGE_PNM;
	if (n >= 6 && !memcmp(b, "\x93NUMPY", 6))
		return IMAGE_NPY;
	if (n >= 2 && b[0] == 0x1f && b[1] == 0x8b)
		return IMAGE_GZIP;
	if (n >= 4 && !b[0] && !b[1] && b[2] && b[3])
		return IMAGE_IDX;
	return IMAGE_UNKNOWN;
}

static int unknown(size_t n, struct err *e)
{
	return err_set(e, ERR_INPUT, n ? "neither PNG, JPEG nor PPM/PGM" : "it is empty");
}

int image_decode(struct image *im, const uint8_t *bytes, size_t n, struct err *e)
{
	memset(im, 0, sizeof(*im));
	switch (image_kind(bytes, n)) {
	case IMAGE_PNG:
		return confine_decode(im, image_png, bytes, n, e);
	case IMAGE_JPEG:
		return confine_decode(im, image_jpeg, bytes, n, e);
	case IMAGE_PNM:
		return image_pnm(im, bytes, n, e);
	default:
		return unknown(n, e);
	}
}

int image_decode_here(struct image *im, const uint8_t *bytes, size_t n, struct err *e)
{
	memset(im, 0, sizeof(*im));
	switch (image_kind(bytes, n)) {
	case IMAGE_PNG:
		return image_png(im, bytes, n, e);
	case IMAGE_JPEG:
		return image_jpeg(im, bytes, n, e);
	case IMAGE_PNM:
		return image_pnm(im, bytes, n, e);
	default:
		return unknown(n, e);
	}
}

/* ---- fitting ---- */

static const char *colour(uint32_t c)
{
	return c == 1 ? "grey" : "colour";
}

static int image_fits(const struct image *im, const struct fit *fit, struct err *e)
{
	if (fit->want.c != 1 && fit->want.c != 3)
		return err_set(e, ERR_INPUT, "the model takes %u channels; pictures have 1 or 3",
			       fit->want.c);
	if (im->c != fit->want.c && !fit->convert)
		return err_set(e, ERR_INPUT,
			       "the picture is %s and the model takes %s; allow it with --convert (API: "
			       "\"convert\": true)",
			       colour(im->c), colour(fit->want.c));
	if (fit->resize == NN_RESIZE_NONE && (im->w != fit->want.w || im->h != fit->want.h))
		return err_set(e, ERR_INPUT,
			       "the picture is %u×%u and the model takes %u×%u without resizing", im->w,
			       im->h, fit->want.w, fit->want.h);
	return 0;
}

/* ITU-R 601 luma in 16-bit fixed point, as Pillow's convert("L"). */
static uint8_t luma(const uint8_t *rgb)
{
	return (uint8_t)((rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >> 16);
}

static int recolour(struct image *out, const struct image *im, uint32_t c, struct err *e)
{
	size_t n = (size_t)im->w * im->h;

	if (image_new(out, im->w, im->h, c, e))
		return -1;
	for (size_t i = 0; i < n; i++) {
		if (c == 1)
			out->pixels[i] = luma(im->pixels + 3 * i);
		else
			memset(out->pixels + 3 * i, im->pixels[i], 3);
	}
	return 0;
}

static void planes(uint8_t *chw, const struct image *im)
{
	size_t n = (size_t)im->w * im->h;

	for (size_t i = 0; i < n; i++)
		for (uint32_t c = 0; c < im->c; c++)
			chw[c * n + i] = im->pixels[i * im->c + c];
}

int image_fit(uint8_t *chw, const struct image *im, const struct fit *fit, struct err *e)
{
	struct image coloured = {0}, sized = {0};
	const struct image *now = im;
	int r = -1;

	if (image_fits(im, fit, e))
		return -1;
	if (now->c != fit->want.c) {
		if (recolour(&coloured, now, fit->want.c, e))
			goto out;
		now = &coloured;
	}
	if (now->w != fit->want.w || now->h != fit->want.h) {
		if (image_resize(&sized, now, fit->want.w, fit->want.h, e))
			goto out;
		now = &sized;
	}
	planes(chw, now);
	r = 0;
out:
	image_free(&coloured);
	image_free(&sized);
	return r;
}
