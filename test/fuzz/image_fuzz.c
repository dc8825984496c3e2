/* SPDX-License-Identifier: Apache-2.0 */
/* PNG, JPEG, PPM/PGM and gzip of strangers, without the cage that holds the decoders in real use. */
#include "client/image.h"

#include <stdlib.h>

static int decode(struct image *im, const uint8_t *data, size_t size, struct err *e)
{
	struct blob b;
	int r;

	switch (image_kind(data, size)) {
	case IMAGE_PNG:
		return image_png(im, data, size, e);
	case IMAGE_JPEG:
		return image_jpeg(im, data, size, e);
	case IMAGE_PNM:
		return image_pnm(im, data, size, e);
	case IMAGE_GZIP:
		r = blob_gunzip(&b, data, size, e);
		if (!r)
			blob_free(&b);
		return r ? -1 : err_set(e, ERR_INPUT, "gzip alone");
	default:
		return err_set(e, ERR_INPUT, "unknown");
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fit fit = {{1, 5, 7}, NN_RESIZE_BILINEAR, 1};
	struct image im = {0};
	struct err e = {0};
	uint8_t chw[35];

	if (decode(&im, data, size, &e)) {
		if (e.code == ERR_NONE || im.pixels)
			abort(); /* refused without a reason, or with a leak */
		return 0;
	}
	if (!im.w || !im.h || (im.c != 1 && im.c != 3) || (uint64_t)im.w * im.h > IMAGE_MAX_PIXELS)
		abort();
	if ((uint64_t)im.w * im.h < 1 << 20 && image_fit(chw, &im, &fit, &e))
		abort();
	image_free(&im);
	return 0;
}
