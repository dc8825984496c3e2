/* SPDX-License-Identifier: Apache-2.0 */
#include <png.h>

#include "client/picture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SIDE 280 /* pixels, about */

/* Row by row with channels together, every pixel `times` × `times`. Returns new. */
static uint8_t *enlarge(const uint8_t *chw, struct shape s, uint32_t channels, uint32_t times)
{
	size_t line = (size_t)s.w * times * channels, plane = (size_t)s.h * s.w;
	uint8_t *out = malloc(line * s.h * times);

	for (size_t y = 0; out && y < (size_t)s.h * times; y++)
		for (size_t x = 0; x < (size_t)s.w * times; x++)
			for (uint32_t c = 0; c < channels; c++)
				out[y * line + x * channels + c] =
				    chw[c * plane + y / times * s.w + x / times];
	return out;
}

/* chw: shape_size(s) bytes, s.c 1 or 3 (others: the first channel). Whole steps of enlargement to about 300
 * pixels. */
static int picture_write(const char *path, const uint8_t *chw, struct shape s, struct err *e)
{
	uint32_t side = s.h > s.w ? s.h : s.w, times = side < SIDE ? SIDE / side : 1,
		 channels = s.c == 3 ? 3 : 1;
	png_image png = {.version = PNG_IMAGE_VERSION,
			 .width = s.w * times,
			 .height = s.h * times,
			 .format = channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY};
	uint8_t *pixels = enlarge(chw, s, channels, times);
	int ok;

	if (!pixels)
		return err_set(e, ERR_ENV, "out of memory for a picture");
	ok = png_image_write_to_file(&png, path, 0, pixels, 0, NULL);
	free(pixels);
	return ok ? 0
		  : err_set(e, ERR_ENV, "cannot write %s: %s", path,
			    *png.message ? png.message : strerror(errno));
}

static int write_view(FILE *out, const char *dir, const char *name, const char *who, const char *what,
		      const uint8_t *chw, struct shape s, struct err *e)
{
	char *path;
	int r;

	if (asprintf(&path, "%s/%s-%s.png", dir, name, who) < 0)
		return err_set(e, ERR_ENV, "out of memory");
	r = picture_write(path, chw, s, e);
	if (!r)
		fprintf(out, "  %s  %s\n", path, what);
	free(path);
	return r;
}

int picture_views(FILE *out, const char *dir, const char *name, const uint8_t *chw, const uint8_t *masked,
		  struct shape s, struct err *e)
{
	uint8_t *nothing;
	int r;

	if (mkdir(dir, 0755) && errno != EEXIST)
		return err_set(e, ERR_ENV, "cannot make the folder %s: %s", dir, strerror(errno));
	nothing = malloc(shape_size(s));
	if (!nothing)
		return err_set(e, ERR_ENV, "out of memory for a picture");
	memset(nothing, 128, shape_size(s));
	fprintf(out, "What each party saw of %s:\n", name);
	r = write_view(out, dir, name, "data-owner", "the picture itself, which stays here", chw, s, e);
	if (!r && masked)
		r = write_view(out, dir, name, "model-owner",
			       "what arrived there: top 8 bits of each masked word", masked, s, e);
	else if (!r)
		fputs("  (this model transforms the picture before it is masked: there is no picture of what "
		      "the model owner received)\n",
		      out);
	if (!r)
		r = write_view(out, dir, name, "provider",
			       "plain grey: nothing that depends on the picture ever went there", nothing, s,
			       e);
	free(nothing);
	return r;
}
