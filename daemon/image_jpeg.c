/* SPDX-License-Identifier: Apache-2.0 */
/* JPEG through libjpeg-turbo: 8-bit grey or RGB. Runs inside confine_decode. */
#include <stdio.h>

#include <jpeglib.h>
#include <jerror.h>

#include "daemon/image.h"

#include <setjmp.h>
#include <string.h>

#define SCANS_MAX 200 /* a progressive file of many scans is an attack on time */

struct reading {
	struct jpeg_error_mgr errors; /* first: libjpeg hands it back */
	struct jpeg_progress_mgr progress;
	jmp_buf out;
	struct err *e;
};

static void failed(j_common_ptr j)
{
	struct reading *r = (struct reading *)j->err;
	char why[JMSG_LENGTH_MAX];

	j->err->format_message(j, why);
	err_set(r->e, ERR_INPUT, "corrupt JPEG: %s", why);
	longjmp(r->out, 1);
}

/* A picture that ends early would be classified by its grey rest: an error, as Pillow says too. */
static void message(j_common_ptr j, int level)
{
	if (level < 0 && (j->err->msg_code == JWRN_JPEG_EOF || j->err->msg_code == JWRN_HIT_MARKER))
		failed(j);
}

static void nothing(j_common_ptr j)
{
}

static void count_scans(j_common_ptr j)
{
	struct reading *r = (struct reading *)j->err;

	if (((j_decompress_ptr)j)->input_scan_number <= SCANS_MAX)
		return;
	err_set(r->e, ERR_INPUT, "corrupt JPEG: more than %d scans", SCANS_MAX);
	longjmp(r->out, 1);
}

static int read_all(struct image *im, struct jpeg_decompress_struct *j, struct err *e)
{
	jpeg_read_header(j, TRUE);
	if (j->num_components != 1 && j->num_components != 3)
		return err_set(e, ERR_INPUT, "a JPEG of %d channels (CMYK) is not read; save it as RGB",
			       j->num_components);
	j->out_color_space = j->num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
	if (image_new(im, j->image_width, j->image_height, j->num_components == 1 ? 1 : 3, e))
		return -1;
	jpeg_start_decompress(j);
	if (j->output_width != im->w || j->output_height != im->h || (uint32_t)j->output_components != im->c)
		return err_set(e, ERR_INPUT, "corrupt JPEG: its sizes differ");
	while (j->output_scanline < im->h) {
		JSAMPROW row = im->pixels + (size_t)j->output_scanline * im->w * im->c;

		jpeg_read_scanlines(j, &row, 1);
	}
	jpeg_finish_decompress(j);
	return 0;
}

int image_jpeg(struct image *im, const uint8_t *bytes, size_t n, struct err *e)
{
	struct jpeg_decompress_struct j;
	struct reading reading = {.e = e};
	volatile int r = -1;

	memset(im, 0, sizeof(*im));
	memset(&j, 0, sizeof(j));
	j.err = jpeg_std_error(&reading.errors);
	reading.errors.error_exit = failed;
	reading.errors.emit_message = message;
	reading.errors.output_message = nothing;
	reading.progress.progress_monitor = count_scans;
	if (!setjmp(reading.out)) {
		jpeg_create_decompress(&j);
		j.progress = &reading.progress;
		j.mem->max_memory_to_use = 256 << 20;
		jpeg_mem_src(&j, bytes, n);
		r = read_all(im, &j, e);
	}
	jpeg_destroy_decompress(&j);
	if (r)
		image_free(im);
	return r;
}
