/* SPDX-License-Identifier: Apache-2.0 */
/* Readers: every colour type that a picture may have, and every lie that a file may tell. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <jpeglib.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "client/image.h"
#include "daemon/confine.h"

struct bytes {
	uint8_t b[65536];
	size_t n;
};

static void png_out(png_structp png, png_bytep data, size_t n)
{
	struct bytes *out = png_get_io_ptr(png);

	assert_true(out->n + n <= sizeof(out->b));
	memcpy(out->b + out->n, data, n);
	out->n += n;
}

/* A PNG of 4×3; rows: h rows of packed samples. */
static void make_png(struct bytes *out, int type, int depth, int interlace, uint8_t *rows, size_t row_bytes)
{
	static const png_color palette[4] = {{1, 2, 3}, {40, 50, 60}, {70, 80, 90}, {255, 0, 9}};
	static const png_byte alpha[2] = {0, 128};
	png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
	png_infop info = png_create_info_struct(png);
	png_bytep row[3] = {rows, rows + row_bytes, rows + 2 * row_bytes};

	out->n = 0;
	png_set_write_fn(png, out, png_out, NULL);
	png_set_IHDR(png, info, 4, 3, depth, type, interlace, 0, 0);
	if (type == PNG_COLOR_TYPE_PALETTE) {
		png_set_PLTE(png, info, palette, 4);
		png_set_tRNS(png, info, alpha, 2, NULL);
	}
	png_set_rows(png, info, row);
	png_write_png(png, info, 0, NULL);
	png_destroy_write_struct(&png, &info);
}

static void expect_image(const struct bytes *in, uint32_t c, const uint8_t *want)
{
	struct image im;
	struct err e = {0};

	if (image_decode(&im, in->b, in->n, &e))
		fail_msg("%s", e.text);
	assert_int_equal(im.w, 4);
	assert_int_equal(im.h, 3);
	assert_int_equal(im.c, c);
	for (unsigned i = 0; i < 12 * c; i++)
		if (im.pixels[i] != want[i])
			fail_msg("sample %u is %u, not %u", i, im.pixels[i], want[i]);
	image_free(&im);
}

/* Each colour type, straight and interlaced: 8-bit samples 10, 11, 12, …; alpha, where there is one, is
 * dropped. */
static void test_png_types(void **state)
{
	static const struct {
		int type, samples, c;
	} types[] = {{PNG_COLOR_TYPE_GRAY, 1, 1},
		     {PNG_COLOR_TYPE_GRAY_ALPHA, 2, 1},
		     {PNG_COLOR_TYPE_RGB, 3, 3},
		     {PNG_COLOR_TYPE_RGBA, 4, 3}};
	struct bytes png;

	for (int t = 0; t < 16; t++) {
		int samples = types[t & 3].samples, c = types[t & 3].c, depth = t & 8 ? 16 : 8;
		uint8_t rows[12 * 4 * 2], want[36];

		for (int i = 0; i < 12 * samples; i++) {
			rows[depth == 16 ? 2 * i : i] = (uint8_t)(10 + i);
			if (depth == 16)
				rows[2 * i + 1] = 200;
			if (i % samples < c)
				want[i / samples * c + i % samples] = (uint8_t)(10 + i);
		}
		make_png(&png, types[t & 3].type, depth, t & 4 ? PNG_INTERLACE_ADAM7 : 0, rows,
			 (size_t)(4 * samples * depth / 8));
		expect_image(&png, (uint32_t)c, want);
	}
}

static void test_png_packed(void **state)
{
	uint8_t bits[3] = {0xa0, 0x50, 0xf0}, pairs[3] = {0x1b, 0x1b, 0xe4};
	uint8_t grey[12] = {255, 0, 255, 0, 0, 255, 0, 255, 255, 255, 255, 255};
	uint8_t rgb[36] = {1,  2,  3,  40,  50, 60, 70,	 80, 90, 255, 0,  9,  1,  2,  3,  40, 50, 60,
			   70, 80, 90, 255, 0,	9,  255, 0,  9,	 70,  80, 90, 40, 50, 60, 1,  2,  3};
	struct bytes png;

	make_png(&png, PNG_COLOR_TYPE_GRAY, 1, 0, bits, 1);
	expect_image(&png, 1, grey);
	make_png(&png, PNG_COLOR_TYPE_PALETTE, 2, 0, pairs, 1);
	expect_image(&png, 3, rgb);
}

static void expect_refused(const uint8_t *bytes, size_t n, const char *word)
{
	struct image im;
	struct err e = {0};

	assert_int_equal(image_decode(&im, bytes, n, &e), -1);
	assert_null(im.pixels);
	assert_int_equal(e.code, ERR_INPUT);
	if (!strstr(e.text, word) || strchr(e.text, '\n'))
		fail_msg("it says: %s", e.text);
}

/* Truncated anywhere, and any byte changed: never accepted with a wrong checksum, never a crash. */
static void test_png_corrupt(void **state)
{
	uint8_t rows[12] = {0};
	struct bytes png;

	make_png(&png, PNG_COLOR_TYPE_GRAY, 8, 0, rows, 4);
	for (size_t n = 4; n < png.n; n += 5)
		expect_refused(png.b, n, "corrupt PNG");
	png.b[18] ^= 1; /* width: the header's checksum does not fit */
	expect_refused(png.b, png.n, "corrupt PNG");
	png.b[18] ^= 1;
	png.b[45] ^= 0x10; /* inside IDAT */
	expect_refused(png.b, png.n, "corrupt PNG");
}

static uint32_t crc(const uint8_t *b, size_t n)
{
	return (uint32_t)crc32(0, b, (uInt)n);
}

/* A valid header that asks for 4 billion × 4 billion pixels. */
static void test_png_huge(void **state)
{
	uint8_t rows[12] = {0};
	struct bytes png;

	make_png(&png, PNG_COLOR_TYPE_GRAY, 8, 0, rows, 4);
	memcpy(png.b + 16, "\x00\x10\x00\x00\x00\x10\x00\x00", 8);
	for (int i = 0; i < 4; i++)
		png.b[29 + i] = (uint8_t)(crc(png.b + 12, 17) >> (24 - 8 * i));
	expect_refused(png.b, png.n, "too large");
	memcpy(png.b + 16, "\x7f\xff\xff\xff\x7f\xff\xff\xff", 8);
	for (int i = 0; i < 4; i++)
		png.b[29 + i] = (uint8_t)(crc(png.b + 12, 17) >> (24 - 8 * i));
	expect_refused(png.b, png.n, "corrupt PNG");
}

static size_t make_jpeg(uint8_t **out, unsigned w, unsigned h, int c, int progressive)
{
	struct jpeg_compress_struct j;
	struct jpeg_error_mgr errors;
	unsigned long n = 0;
	uint8_t *row = malloc(w * (size_t)c);

	*out = NULL;
	j.err = jpeg_std_error(&errors);
	jpeg_create_compress(&j);
	jpeg_mem_dest(&j, out, &n);
	j.image_width = w;
	j.image_height = h;
	j.input_components = c;
	j.in_color_space = c == 1 ? JCS_GRAYSCALE : c == 3 ? JCS_RGB : JCS_CMYK;
	jpeg_set_defaults(&j);
	jpeg_set_quality(&j, 100, TRUE);
	if (progressive)
		jpeg_simple_progression(&j);
	jpeg_start_compress(&j, TRUE);
	for (unsigned y = 0; y < h; y++) {
		for (unsigned x = 0; x < w * (unsigned)c; x++)
			row[x] = (uint8_t)(40 + 3 * y + 50 * (x % (unsigned)c));
		jpeg_write_scanlines(&j, &row, 1);
	}
	jpeg_finish_compress(&j);
	jpeg_destroy_compress(&j);
	free(row);
	return n;
}

static void test_jpeg(void **state)
{
	for (int t = 0; t < 4; t++) {
		int c = t & 1 ? 3 : 1;
		uint8_t *jpeg;
		size_t n = make_jpeg(&jpeg, 33, 20, c, t & 2);
		struct err e = {0};
		struct image im;

		if (image_decode(&im, jpeg, n, &e))
			fail_msg("%s", e.text);
		assert_int_equal(im.w, 33);
		assert_int_equal(im.h, 20);
		assert_int_equal(im.c, c);
		for (unsigned i = 0; i < 33 * 20 * (unsigned)c; i++)
			assert_in_range(im.pixels[i] + 8,
					40 + 3 * (i / (33 * (unsigned)c)) + 50 * (i % (unsigned)c),
					56 + 3 * (i / (33 * (unsigned)c)) + 50 * (i % (unsigned)c));
		image_free(&im);
		for (size_t cut = 3; cut < n; cut += n / 20)
			expect_refused(jpeg, cut, "corrupt JPEG");
		free(jpeg);
	}
}

static void test_jpeg_cmyk(void **state)
{
	uint8_t *jpeg;
	size_t n = make_jpeg(&jpeg, 8, 8, 4, 0);

	expect_refused(jpeg, n, "CMYK");
	free(jpeg);
}

static void test_pnm(void **state)
{
	static const char *const good[] = {
	    "P2 4 3 # comment\n10\n0 10 0 10 0 10 0 10 0 10 0 10\n  ",
	    "P5\n# made\n4 3\n255\n\0\377\0\377\0\377\0\377\0\377\0\377",
	    "P5 4 3 65535\n\0\0\377\377\0\0\377\377\0\0\377\377\0\0\377\377\0\0\377\377\0\0\377\377"};
	static const size_t lengths[] = {50, 30, 37};
	static const uint8_t want[12] = {0, 255, 0, 255, 0, 255, 0, 255, 0, 255, 0, 255};
	static const char *const bad[] = {"P5 4 3 255\nxxx", "P5 4294967297 1 255\n", "P5 99999 99999 255\n",
					  "P6 0 4 255\n0",   "P2 2 1 10\n3 11",	      "P2 2 1 10\n3",
					  "P5 1 1 0\nx",     "P5 1 1 65536\nxx",      "P5",
					  "P3 1 1 255 1 2"};

	for (int i = 0; i < 3; i++) {
		struct bytes b = {.n = lengths[i]};

		memcpy(b.b, good[i], b.n);
		expect_image(&b, 1, want);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		expect_refused((const uint8_t *)bad[i], strlen(bad[i]), "");
}

/* ---- arrays ---- */

static void expect_array(const void *bytes, size_t n, const char *word)
{
	struct array a;
	struct err e = {0};
	int r = array_parse(&a, bytes, n, &e);

	if (word && (!r || e.code != ERR_INPUT || !strstr(e.text, word)))
		fail_msg("not refused for \"%s\": %s", word, e.text);
	if (!word && r)
		fail_msg("%s", e.text);
}

static void test_idx(void **state)
{
	expect_array("\0\0\10\3\0\0\0\1\0\0\0\2\0\0\0\2abcd", 20, NULL);
	expect_array("\0\0\10\3\0\0\0\1\0\0\0\2\0\0\0\2abc", 19, "promises 1×2×2 elements (4 bytes), but 3");
	expect_array("\0\0\10\3\0\0\0\1\0\0\0\2\0\0\0\2abcde", 21, "but 5 bytes follow");
	expect_array("\0\0\10\3\377\377\377\377\377\377\377\377\377\377\377\377a", 17, "more than any file");
	expect_array("\0\0\10\3\0\0\0\1\0\0", 10, "inside its header");
	expect_array("\0\0\15\1\0\0\0\1abcd", 12, "type 0x0d");
	expect_array("\0\0\10\5\0\0\0\1abcd", 12, "5 dimensions");
}

static size_t npy(uint8_t *out, const char *dictionary, const char *data, size_t n)
{
	size_t header = strlen(dictionary);

	memcpy(out, "\x93NUMPY\1\0", 8);
	out[8] = (uint8_t)header;
	out[9] = 0;
	memcpy(out + 10, dictionary, header);
	memcpy(out + 10 + header, data, n);
	return 10 + header + n;
}

static void test_npy(void **state)
{
	static const struct {
		const char *dictionary, *word;
		size_t n;
	} cases[] = {
	    {"{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }\n", NULL, 6},
	    {"{'shape':(6,),'fortran_order':False,'descr':'|u1'}", NULL, 6},
	    {"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }\n", NULL, 8},
	    {"{'descr': '|u1', 'fortran_order': False, 'shape': (2, 4), }\n", "(8 bytes), but 6", 6},
	    {"{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }\n", "C order", 6},
	    {"{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1), }\n", "'<f8'", 8},
	    {"{'descr': '|O', 'fortran_order': False, 'shape': (1, 1), }\n", "'|O'", 8},
	    {"{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (6,), }\n", "no simple type", 6},
	    {"{'descr': '|u1', 'fortran_order': False, 'shape': (), }\n", "single number", 1},
	    {"{'descr': '|u1', 'fortran_order': False, 'shape': (1,1,1,1,1), }\n", "more than 4", 1},
	    {"{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999999999,), }\n", "too large",
	     1},
	    {"{'descr': '|u1', 'fortran_order': False, 'shape': (4294967296,4294967296,16), }\n", "any file",
	     1},
	    {"{'descr': '|u1', 'fortran_order': False, 'shape': (-1,), }\n", "list of numbers", 1},
	    {"{'descr': '|u1', 'fortran_order': False}\n", "lacks", 1},
	    {"{'descr': '|u1', 'shape': (1,)", "broken", 1},
	    {"", "no dictionary", 6},
	};
	uint8_t out[512];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		expect_array(out, npy(out, cases[i].dictionary, "abcdefgh", cases[i].n), cases[i].word);
	expect_array("\x93NUMPY\1\0\377\377{}", 12, "inside its header");
	expect_array("\x93NUMPY\2\0\377\377\377\377{}", 14, "inside its header");
}

static void test_gunzip(void **state)
{
	uint8_t plain[1000] = {7}, packed[2000];
	z_stream z = {
	    .next_in = plain, .avail_in = sizeof(plain), .next_out = packed, .avail_out = sizeof(packed)};
	struct blob b;
	struct err e = {0};
	size_t n;

	deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	n = sizeof(packed) - z.avail_out;
	deflateEnd(&z);
	assert_int_equal(blob_gunzip(&b, packed, n, &e), 0);
	assert_int_equal(b.n, 1000);
	assert_memory_equal(b.bytes, plain, 1000);
	blob_free(&b);
	for (size_t cut = 0; cut < n; cut++) {
		struct err why = {0};

		assert_int_equal(blob_gunzip(&b, packed, cut, &why), -1);
		assert_int_equal(why.code, ERR_INPUT);
	}
	packed[n - 8] ^= 1; /* checksum */
	assert_int_equal(blob_gunzip(&b, packed, n, &e), -1);
}

/* ---- the cage ---- */

static int crashes(struct image *im, const uint8_t *bytes, size_t n, struct err *e)
{
	__builtin_trap();
	return 0;
}

static int opens(struct image *im, const uint8_t *bytes, size_t n, struct err *e)
{
	FILE *f = fopen("/etc/passwd", "r");

	if (f)
		return image_new(im, 1, 1, 1, e);
	return err_set(e, ERR_INPUT, "could not open");
}

static int exhausts(struct image *im, const uint8_t *bytes, size_t n, struct err *e)
{
	return malloc((size_t)3 << 30) ? image_new(im, 1, 1, 1, e) : err_set(e, ERR_INPUT, "no memory");
}

static int lies(struct image *im, const uint8_t *bytes, size_t n, struct err *e)
{
	*im = (struct image){1u << 20, 1u << 20, 3, NULL};
	return 0;
}

static void expect_caught(confine_decoder decoder, const char *word)
{
	struct image im;
	struct err e = {0};

	assert_int_equal(confine_decode(&im, decoder, NULL, 0, &e), -1);
	assert_int_equal(e.code, ERR_INPUT);
	if (!strstr(e.text, word))
		fail_msg("it says: %s", e.text);
}

static void test_confined(void **state)
{
	expect_caught(lies, "too large");
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(__clang__)
	expect_caught(crashes, "signal");
	expect_caught(opens, "no picture needs");
	expect_caught(exhausts, "no memory");
#else
	(void)crashes, (void)opens, (void)exhausts;
#endif
}

/* ---- sources and fitting ---- */

static void put(const char *folder, const char *name, const void *bytes, size_t n)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, n, f), n);
	fclose(f);
}

static void expect_source(const char *folder, const char *name, const char *names, const char *word)
{
	char path[256], got[512] = "";
	struct source *s;
	struct image im;
	const char *called;
	struct err e = {0};
	int r;

	snprintf(path, sizeof(path), "%s%s%s", folder, *name ? "/" : "", name);
	r = source_open(&s, path, &e) ? -1 : 1;
	while (r > 0 && (r = source_next(s, &im, &called, &e)) > 0) {
		snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%u ", called + strlen(folder),
			 im.pixels[0]);
		image_free(&im);
	}
	if (s)
		source_close(s);
	if (word && (r != -1 || !strstr(e.text, word) || !strstr(e.text, path)))
		fail_msg("%s: %s", path, e.text);
	if (!word && (r || strcmp(got, names)))
		fail_msg("%s: %s%s", path, got, e.text);
}

static void test_sources(void **state)
{
	char folder[] = "/tmp/obscura-image-XXXXXX", command[64];
	uint8_t out[512];
	size_t n;

	assert_non_null(mkdtemp(folder));
	expect_source(folder, "", "", "no .png");
	put(folder, "b.pgm", "P5 1 1 255\nB", 12);
	put(folder, "a.PGM", "P5 1 1 255\nA", 12);
	put(folder, "notes.txt", "?", 1);
	expect_source(folder, "", "/a.PGM65 /b.pgm66 ", NULL);
	expect_source(folder, "b.pgm", "/b.pgm66 ", NULL);
	put(folder, "i", "\0\0\10\3\0\0\0\2\0\0\0\1\0\0\0\2abcd", 20);
	expect_source(folder, "i", "/i[0]97 /i[1]99 ", NULL);
	n = npy(out, "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 1, 1, 3), }", "abcdef", 6);
	put(folder, "n", out, n);
	expect_source(folder, "n", "/n[0]97 /n[1]100 ", NULL);
	n = npy(out, "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }", "abcdefgh", 8);
	put(folder, "f.npy", out, n);
	expect_source(folder, "f.npy", "", "floats");
	put(folder, "e", "", 0);
	expect_source(folder, "e", "", "empty");
	expect_source(folder, "notes.txt", "", "neither");
	expect_source(folder, "absent", "", "No such file");
	put(folder, "c.png", "\x89PNG\r\n\x1a\n????", 12);
	expect_source(folder, "", "", "c.png: corrupt PNG");
	snprintf(command, sizeof(command), "rm -r %s", folder);
	assert_int_equal(system(command), 0);
}

static void test_fit(void **state)
{
	uint8_t grey[2] = {100, 200}, rgb[6] = {255, 0, 0, 0, 255, 0}, out[6];
	struct image g = {2, 1, 1, grey}, c = {2, 1, 3, rgb};
	struct fit fit = {{3, 1, 2}, NN_RESIZE_NONE, 0};
	struct err e = {0};

	assert_int_equal(image_fit(out, &c, &fit, &e), 0);
	assert_memory_equal(out, "\xff\0\0\xff\0\0", 6); /* planes */
	assert_int_equal(image_fit(out, &g, &fit, &e), -1);
	assert_non_null(strstr(e.text, "--convert"));
	fit.convert = 1;
	e = (struct err){0};
	assert_int_equal(image_fit(out, &g, &fit, &e), 0);
	assert_memory_equal(out, "\x64\xc8\x64\xc8\x64\xc8", 6);
	fit.want = (struct shape){1, 1, 2};
	assert_int_equal(image_fit(out, &c, &fit, &e), 0);
	assert_memory_equal(out, "\x4c\x96", 2); /* Pillow: 76, 150 */
	fit.want = (struct shape){1, 2, 2};
	assert_int_equal(image_fit(out, &g, &fit, &e), -1);
	assert_non_null(strstr(e.text, "2×1 and the model takes 2×2 without resizing"));
	assert_int_equal(e.code, ERR_INPUT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_png_types),	cmocka_unit_test(test_png_packed),
	    cmocka_unit_test(test_png_corrupt), cmocka_unit_test(test_png_huge),
	    cmocka_unit_test(test_jpeg),	cmocka_unit_test(test_jpeg_cmyk),
	    cmocka_unit_test(test_pnm),		cmocka_unit_test(test_idx),
	    cmocka_unit_test(test_npy),		cmocka_unit_test(test_gunzip),
	    cmocka_unit_test(test_confined),	cmocka_unit_test(test_sources),
	    cmocka_unit_test(test_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
