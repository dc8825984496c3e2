/* SPDX-License-Identifier: Apache-2.0 */
/* PGM and PPM, text (P2, P3) and binary (P5, P6), up to 16 bits a sample. */
#include "daemon/image.h"

#include <ctype.h>
#include <string.h>

struct reading {
	const uint8_t *at, *end;
};

/* The next decimal number after white space and comments; at most `most`. */
static int number(struct reading *r, uint32_t most, uint32_t *value)
{
	while (r->at < r->end && (isspace(*r->at) || *r->at == '#')) {
		if (*r->at == '#')
			while (r->at < r->end && *r->at != '\n')
				r->at++;
		else
			r->at++;
	}
	if (r->at == r->end || !isdigit(*r->at))
		return -1;
	for (*value = 0; r->at < r->end && isdigit(*r->at); r->at++) {
		*value = *value * 10 + (*r->at - '0');
		if (*value > most)
			return -1;
	}
	return 0;
}

static uint8_t scale(uint32_t sample, uint32_t most)
{
	return (uint8_t)((sample * 255 + most / 2) / most);
}

static int binary(struct image *im, struct reading *r, size_t n, uint32_t most, struct err *e)
{
	size_t width = most > 255 ? 2 : 1, left;

	if (r->at < r->end && isspace(*r->at))
		r->at++;
	left = (size_t)(r->end - r->at);
	if (left / width < n)
		return err_set(e, ERR_INPUT, "corrupt PPM/PGM: %zu bytes of pixels are missing",
			       n * width - left);
	for (size_t i = 0; i < n; i++, r->at += width) {
		uint32_t sample = width == 2 ? (uint32_t)(r->at[0] << 8 | r->at[1]) : r->at[0];

		if (sample > most)
			return err_set(e, ERR_INPUT,
				       "corrupt PPM/PGM: sample %zu is above the greatest value", i);
		im->pixels[i] = scale(sample, most);
	}
	return 0;
}

static int text(struct image *im, struct reading *r, size_t n, uint32_t most, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t sample;

		if (number(r, most, &sample))
			return err_set(e, ERR_INPUT, "corrupt PPM/PGM: sample %zu of %zu is missing or wrong",
				       i, n);
		im->pixels[i] = scale(sample, most);
	}
	return 0;
}

int image_pnm(struct image *im, const uint8_t *bytes, size_t n, struct err *e)
{
	struct reading r = {bytes + 2, bytes + n};
	uint32_t w, h, most, c;
	int failed;

	memset(im, 0, sizeof(*im));
	if (n < 2 || bytes[0] != 'P' || !bytes[1] || !strchr("2356", bytes[1]))
		return err_set(e, ERR_INPUT, "this is no PPM or PGM file");
	if (number(&r, IMAGE_MAX_PIXELS, &w) || number(&r, IMAGE_MAX_PIXELS, &h) ||
	    number(&r, 65535, &most) || !most)
		return err_set(e, ERR_INPUT,
			       "corrupt PPM/PGM: the header needs width, height and greatest value");
	c = bytes[1] == '3' || bytes[1] == '6' ? 3 : 1;
	/* a sample takes at least one byte: nobody gets memory for pixels that cannot be there */
	if ((uint64_t)w * h * c > n)
		return err_set(e, ERR_INPUT, "corrupt PPM/PGM: %u×%u pixels are promised in %zu bytes", w, h,
			       n);
	if (image_new(im, w, h, c, e))
		return -1;
	failed = (bytes[1] < '5' ? text : binary)(im, &r, (size_t)w * h * c, most, e);
	if (failed)
		image_free(im);
	return failed;
}
