/* SPDX-License-Identifier: Apache-2.0 */
/* PNG through libpng: every colour type and depth becomes 8-bit grey or RGB. Runs inside confine_decode. */
#include <png.h>

#include "daemon/image.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_MAX (8u << 20) /* bytes that one ancillary chunk may take */

struct reading {
	const uint8_t *bytes;
	size_t n;
	struct err *e;
};

static void more(png_structp png, png_bytep out, size_t n)
{
	struct reading *r = png_get_io_ptr(png);

	if (n > r->n)
		png_error(png, "the file ends early");
	memcpy(out, r->bytes, n);
	r->bytes += n;
	r->n -= n;
}

static void failed(png_structp png, png_const_charp why)
{
	struct reading *r = png_get_error_ptr(png);

	err_set(r->e, ERR_INPUT, "corrupt PNG: %s", why);
	png_longjmp(png, 1);
}

static void warned(png_structp png, png_const_charp why)
{
}

/* Alpha is dropped as it is, not blended: what Pillow's convert("RGB") does. */
static uint32_t transform(png_structp png, png_infop info)
{
	int type = png_get_color_type(png, info);

	png_set_strip_16(png);
	png_set_packing(png);
	if (type == PNG_COLOR_TYPE_PALETTE)
		png_set_palette_to_rgb(png);
	if (type == PNG_COLOR_TYPE_GRAY)
		png_set_expand_gray_1_2_4_to_8(png);
	png_set_strip_alpha(png);
	png_set_interlace_handling(png);
	png_read_update_info(png, info);
	return type == PNG_COLOR_TYPE_GRAY || type == PNG_COLOR_TYPE_GRAY_ALPHA ? 1 : 3;
}

/* png and *rows outlive a longjmp: they belong to the caller. */
static int read_all(struct image *im, png_structp png, png_infop info, png_bytep **rows, struct err *e)
{
	uint32_t c;

	png_set_user_limits(png, IMAGE_MAX_PIXELS, IMAGE_MAX_PIXELS);
	png_set_chunk_malloc_max(png, CHUNK_MAX);
	png_set_chunk_cache_max(png, 64);
	png_read_info(png, info);
	c = transform(png, info);
	if (image_new(im, png_get_image_width(png, info), png_get_image_height(png, info), c, e))
		return -1;
	if (png_get_rowbytes(png, info) != (size_t)im->w * c)
		return err_set(e, ERR_INPUT, "corrupt PNG: rows of %zu bytes", png_get_rowbytes(png, info));
	*rows = calloc(im->h, sizeof(**rows));
	if (!*rows)
		return err_set(e, ERR_ENV, "out of memory for a PNG");
	for (uint32_t y = 0; y < im->h; y++)
		(*rows)[y] = im->pixels + (size_t)y * im->w * c;
	png_read_image(png, *rows);
	png_read_end(png, NULL);
	return 0;
}

int image_png(struct image *im, const uint8_t *bytes, size_t n, struct err *e)
{
	struct reading reading = {bytes, n, e};
	png_bytep **rows = calloc(1, sizeof(*rows)); /* on the heap: a longjmp may lose what registers hold */
	png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reading, failed, warned);
	png_infop info = png ? png_create_info_struct(png) : NULL;
	volatile int r = -1;

	memset(im, 0, sizeof(*im));
	if (!rows || !info)
		err_set(e, ERR_ENV, "out of memory for a PNG");
	else if (!setjmp(png_jmpbuf(png))) {
		png_set_read_fn(png, &reading, more);
		r = read_all(im, png, info, rows, e);
	}
	png_destroy_read_struct(&png, &info, NULL);
	if (rows)
		free(*rows);
	free(rows);
	if (r)
		image_free(im);
	return r;
}
