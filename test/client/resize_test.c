/* SPDX-License-Identifier: Apache-2.0 */
/* Resizing against Pillow's own results, and against exact small cases. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "client/image.h"

static const char *shared(void)
{
	const char *s = getenv("OBSCURA_SHARED");

	return s ? s : "../shared";
}

/* The 24 photographs in the order of original.txt; original_resized.npy is (24,32,32,3). */
static void test_golden(void **state)
{
	char path[512], name[256];
	struct err e = {0};
	struct blob golden;
	struct array a;
	unsigned worst = 0, n = 0;
	FILE *list;

	snprintf(path, sizeof(path), "%s/data/malaria/original_resized.npy", shared());
	if (blob_read(&golden, path, &e)) {
		print_message("skipped: %s is not here\n", path);
		skip();
	}
	assert_int_equal(array_npy(&a, golden.bytes, golden.n, &e), 0);
	assert_int_equal(a.rank, 4);
	assert_int_equal(a.dims[0], 24);
	snprintf(path, sizeof(path), "%s/data/malaria/original.txt", shared());
	list = fopen(path, "r");
	assert_non_null(list);
	while (fscanf(list, "%255s %*u", name) == 1) {
		struct fit fit = {{3, 32, 32}, NN_RESIZE_BILINEAR, 0};
		const uint8_t *want = a.data + (size_t)n++ * 32 * 32 * 3;
		uint8_t chw[3 * 32 * 32];
		struct source *s;
		struct image im;
		const char *called;

		snprintf(path, sizeof(path), "%s/data/malaria/original/%s", shared(), name);
		assert_int_equal(source_open(&s, path, &e), 0);
		if (source_next(s, &im, &called, &e) != 1)
			fail_msg("%s", e.text);
		assert_int_equal(image_fit(chw, &im, &fit, &e), 0);
		for (unsigned i = 0; i < 3 * 32 * 32; i++) {
			unsigned d = (unsigned)abs(chw[i % 3 * 1024 + i / 3] - want[i]);

			worst = d > worst ? d : worst;
		}
		image_free(&im);
		source_close(s);
	}
	fclose(list);
	blob_free(&golden);
	assert_int_equal(n, 24);
	print_message("largest difference from Pillow: %u of 255\n", worst);
	assert_true(worst <= 1);
}

static struct image made(uint32_t w, uint32_t h, const uint8_t *pixels)
{
	struct image im;
	struct err e = {0};

	assert_int_equal(image_new(&im, w, h, 1, &e), 0);
	memcpy(im.pixels, pixels, (size_t)w * h);
	return im;
}

static void expect(struct image im, uint32_t w, uint32_t h, const uint8_t *want)
{
	struct err e = {0};
	struct image out;

	assert_int_equal(image_resize(&out, &im, w, h, &e), 0);
	for (uint32_t i = 0; i < w * h; i++)
		if (out.pixels[i] != want[i])
			fail_msg("%ux%u: pixel %u is %u, not %u", w, h, i, out.pixels[i], want[i]);
	image_free(&im);
	image_free(&out);
}

/* Worked by hand from the definition in resize.c; checked against Pillow 9.4. */
static void test_exact(void **state)
{
	/* same size: unchanged */
	expect(made(3, 1, (uint8_t[]){1, 200, 7}), 3, 1, (uint8_t[]){1, 200, 7});
	/* one pixel spreads */
	expect(made(1, 1, (uint8_t[]){77}), 3, 2, (uint8_t[]){77, 77, 77, 77, 77, 77});
	/* 4 → 2: weights 1/4 3/4 3/4 1/4 over 7/4 at the edges: (3·0 + 3·80 + 1·160)/7 = 57.1 */
	expect(made(4, 1, (uint8_t[]){0, 80, 160, 240}), 2, 1, (uint8_t[]){57, 183});
	/* 2 → 4: 100, 3/4·100 + 1/4·200, … */
	expect(made(2, 1, (uint8_t[]){100, 200}), 4, 1, (uint8_t[]){100, 125, 175, 200});
	expect(made(1, 2, (uint8_t[]){100, 200}), 1, 4, (uint8_t[]){100, 125, 175, 200});
	/* halves round up: (0 + 1)/2 → 1 */
	expect(made(2, 1, (uint8_t[]){0, 1}), 1, 1, (uint8_t[]){1});
}

/* Any size to any size: a constant stays constant, and nothing is read outside (sanitizers look). */
static void test_sizes(void **state)
{
	for (uint32_t in = 1; in <= 40; in += 3)
		for (uint32_t out = 1; out <= 40; out++) {
			struct image im, r;
			struct err e = {0};

			assert_int_equal(image_new(&im, in, 41 - in, 3, &e), 0);
			memset(im.pixels, 200, (size_t)in * (41 - in) * 3);
			assert_int_equal(image_resize(&r, &im, out, 41 - out, &e), 0);
			for (size_t i = 0; i < (size_t)out * (41 - out) * 3; i++)
				assert_int_equal(r.pixels[i], 200);
			image_free(&im);
			image_free(&r);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_golden),
	    cmocka_unit_test(test_exact),
	    cmocka_unit_test(test_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
