/* SPDX-License-Identifier: Apache-2.0 */
/* Antialiased bilinear resizing, equal to Pillow's to the bit.
 *
 * One output sample at position i of n, from N input samples: with scale s = N/n and stretch t = max(s, 1),
 * its centre is c = (i + 1/2)·s and the weight of input j is the triangle max(0, 1 - |(j + 1/2 - c)/t|), for
 * j from ⌊c - t + 1/2⌋ to ⌊c + t + 1/2⌋ - 1 inside the picture, divided by the weights' sum and rounded to 22
 * fractional bits. Columns first, then rows; each pass rounds to 8 bits. */
#include "daemon/image.h"

#include <math.h>
#include <stdlib.h>

#define FRACTION 22

/* The inputs of one output sample: count weights at `weight`, for inputs first, first + 1, … */
struct tap {
	uint32_t first, count;
	const int32_t *weight; /* borrows */
};
struct taps {
	struct tap *tap;  /* owns; one per output sample */
	int32_t *weights; /* owns */
};

static void taps_free(struct taps *t)
{
	free(t->tap);
	free(t->weights);
}

static uint32_t clamp(double x, uint32_t most)
{
	return x < 0 ? 0 : x > most ? most : (uint32_t)x;
}

/* Fills one tap; w: room for its weights. Returns how many there are. */
static uint32_t tap_fill(struct tap *tap, int32_t *w, double centre, double stretch, uint32_t in)
{
	uint32_t first = clamp(centre - stretch + 0.5, in), end = clamp(centre + stretch + 0.5, in);
	double sum = 0;

	for (uint32_t j = first; j < end; j++)
		sum += fmax(0, 1 - fabs((j - centre + 0.5) * (1 / stretch)));
	for (uint32_t j = first; j < end; j++) {
		double share = fmax(0, 1 - fabs((j - centre + 0.5) * (1 / stretch))) / sum;

		w[j - first] = (int32_t)(share * (1 << FRACTION) + 0.5);
	}
	*tap = (struct tap){first, end - first, w};
	return end - first;
}

static int taps_new(struct taps *t, uint32_t in, uint32_t out, struct err *e)
{
	double scale = (double)in / out, stretch = fmax(scale, 1);
	size_t most = (size_t)ceil(stretch) * 2 + 1, used = 0;

	t->tap = calloc(out, sizeof(*t->tap));
	t->weights = most > SIZE_MAX / 4 / out ? NULL : malloc(most * out * sizeof(*t->weights));
	if (!t->tap || !t->weights) {
		taps_free(t);
		return err_set(e, ERR_ENV, "out of memory while resizing");
	}
	for (uint32_t i = 0; i < out; i++)
		used += tap_fill(&t->tap[i], t->weights + used, (i + 0.5) * scale, stretch, in);
	return 0;
}

static uint8_t clip(int32_t sum)
{
	sum >>= FRACTION;
	return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

/* out[i] = Σ weight·in over one tap, for all taps: samples `step` bytes apart. */
static void filter_line(uint8_t *out, const uint8_t *in, const struct tap *tap, uint32_t n, size_t step)
{
	for (uint32_t i = 0; i < n; i++, tap++) {
		int32_t sum = 1 << (FRACTION - 1);

		for (uint32_t j = 0; j < tap->count; j++)
			sum += tap->weight[j] * in[(tap->first + j) * step];
		out[i * step] = clip(sum);
	}
}

static int columns(struct image *out, const struct image *in, uint32_t w, struct err *e)
{
	struct taps t;

	if (image_new(out, w, in->h, in->c, e))
		return -1;
	if (taps_new(&t, in->w, w, e))
		return -1;
	for (uint32_t y = 0; y < in->h; y++)
		for (uint32_t c = 0; c < in->c; c++)
			filter_line(out->pixels + (size_t)y * w * in->c + c,
				    in->pixels + (size_t)y * in->w * in->c + c, t.tap, w, in->c);
	taps_free(&t);
	return 0;
}

static int rows(struct image *out, const struct image *in, uint32_t h, struct err *e)
{
	size_t line = (size_t)in->w * in->c;
	struct taps t;

	if (image_new(out, in->w, h, in->c, e))
		return -1;
	if (taps_new(&t, in->h, h, e))
		return -1;
	for (size_t x = 0; x < line; x++)
		filter_line(out->pixels + x, in->pixels + x, t.tap, h, line);
	taps_free(&t);
	return 0;
}

int image_resize(struct image *out, const struct image *in, uint32_t w, uint32_t h, struct err *e)
{
	struct image wide = {0};
	int r;

	if (columns(&wide, in, w, e) || (r = rows(out, &wide, h, e)))
		r = -1;
	image_free(&wide);
	return r;
}
