/* SPDX-License-Identifier: Apache-2.0 */
/* The input of a request: pixels or files, in JSON or in binary. */
#include "daemon/infer_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#define DIMENSION_MAX (1 << 20)
#define PIXELS_MAX ((size_t)1 << 30) /* of one request */

static int no_memory(struct err *e)
{
	return err_set(e, ERR_ENV, "out of memory for the pictures of a request");
}

/* ---- shape ---- */

static int read_shape(struct infer *q, struct json_object *input, size_t *elements, struct err *e)
{
	struct json_object *shape = infer_field(input, "input", "shape", json_type_array, e);
	size_t rank = shape ? json_object_array_length(shape) : 0;

	if (e->code)
		return -1;
	if (!rank || rank > 4)
		return err_set(e, ERR_INPUT,
			       "input: \"shape\" has %zu dimensions: [N,C,H,W] for UINT8, [N] for BYTES",
			       rank);
	*elements = 1;
	for (size_t i = 0; i < rank; i++) {
		struct json_object *x = json_object_array_get_idx(shape, i);
		int64_t n = json_object_is_type(x, json_type_int) ? json_object_get_int64(x) : 0;

		if (n < 1 || n > DIMENSION_MAX || (size_t)n > PIXELS_MAX / *elements)
			return err_set(e, ERR_INPUT, "input: dimension %zu of \"shape\" is no usable number",
				       i);
		q->shape[i] = (uint64_t)n;
		*elements *= (size_t)n;
	}
	q->rank = (unsigned)rank;
	q->n = (size_t)q->shape[0];
	return 0;
}

static int check_count(const struct infer *q, struct err *e)
{
	return q->n <= q->most
		   ? 0
		   : err_set(e, ERR_INPUT, "%zu pictures, where one request may have %zu (http_images)", q->n,
			     q->most);
}

static char *describe(char *text, size_t bytes, const uint64_t *shape, unsigned rank)
{
	size_t at = 0;

	for (unsigned i = 0; i < rank && at < bytes; i++)
		at += (size_t)snprintf(text + at, bytes - at, "%s%llu", i ? "," : "",
				       (unsigned long long)shape[i]);
	return text;
}

static int has_shape(const struct infer *q, uint64_t a, uint64_t b, uint64_t c)
{
	return q->rank == 4 && q->shape[1] == a && q->shape[2] == b && q->shape[3] == c;
}

/* [N,H,W,C] → [N,C,H,W] */
static int transpose(struct infer *q, struct shape want, struct err *e)
{
	size_t plane = (size_t)want.h * want.w, all = shape_size(want);
	uint8_t *chw = malloc(q->bytes);

	if (!chw)
		return no_memory(e);
	for (size_t i = 0; i < q->n; i++)
		for (size_t p = 0; p < plane; p++)
			for (size_t c = 0; c < want.c; c++)
				chw[i * all + c * plane + p] = q->pixels[i * all + p * want.c + c];
	sodium_memzero(q->pixels, q->bytes);
	free(q->pixels);
	q->pixels = chw;
	return 0;
}

int infer_fit(struct infer *q, struct shape want, struct err *e)
{
	size_t all = shape_size(want);
	char text[100];

	if (!q->rank) { /* raw: the number of pictures follows from the bytes */
		if (q->bytes % all)
			return err_set(e, ERR_INPUT,
				       "%zu raw bytes are no pictures of %zu; send a picture file with "
				       "Content-Type image/png or image/jpeg",
				       q->bytes, all);
		q->n = q->bytes / all;
		return check_count(q, e);
	}
	if (has_shape(q, want.c, want.h, want.w))
		return 0;
	if (has_shape(q, want.h, want.w, want.c))
		return transpose(q, want, e);
	return err_set(
	    e, ERR_INPUT,
	    "input: the shape is [%s]; the model takes [N,%u,%u,%u], or a PNG or JPEG as BYTES [N]",
	    describe(text, sizeof(text), q->shape, q->rank), want.c, want.h, want.w);
}

/* ---- pixels ---- */

static int take_pixels(struct infer *q, const uint8_t *bytes, size_t n, struct err *e)
{
	q->pixels = malloc(n + 1);
	if (!q->pixels)
		return no_memory(e);
	q->bytes = n;
	if (bytes)
		memcpy(q->pixels, bytes, n);
	return 0;
}

/* Nested or flat: rows are read one after another. Returns how many there were, SIZE_MAX when one is no
 * pixel. */
static size_t flatten(uint8_t *out, size_t room, struct json_object *list)
{
	size_t n = json_object_array_length(list), at = 0;

	for (size_t i = 0; i < n; i++) {
		struct json_object *x = json_object_array_get_idx(list, i);
		int64_t value = json_object_is_type(x, json_type_int) ? json_object_get_int64(x) : -1;

		if (json_object_is_type(x, json_type_array)) {
			size_t more = flatten(out + at, room - at, x);

			if (more > room - at)
				return SIZE_MAX;
			at += more;
		} else if (value < 0 || value > 255 || at == room) {
			return SIZE_MAX;
		} else {
			out[at++] = (uint8_t)value;
		}
	}
	return at;
}

static int json_pixels(struct infer *q, struct json_object *data, size_t elements, struct err *e)
{
	size_t n;

	if (elements > INFER_JSON_MAX) /* a number takes more than a byte: they cannot all be there */
		return err_set(e, ERR_INPUT, "input: \"data\" has fewer than %zu numbers", elements);
	if (take_pixels(q, NULL, elements, e))
		return -1;
	n = flatten(q->pixels, elements, data);
	if (n == elements)
		return 0;
	return n == SIZE_MAX
		   ? err_set(e, ERR_INPUT,
			     "input: \"data\" has something else than whole numbers from 0 to 255, or "
			     "more than the %zu of its shape",
			     elements)
		   : err_set(e, ERR_INPUT, "input: \"data\" has %zu numbers, its shape %zu", n, elements);
}

/* ---- files ---- */

static int make_files(struct infer *q, struct err *e)
{
	q->files = calloc(q->n, sizeof(*q->files));
	return q->files ? 0 : no_memory(e);
}

/* Each element: its length in 4 bytes, little endian, and its bytes. */
static int binary_files(struct infer *q, const uint8_t *bytes, size_t n, struct err *e)
{
	size_t at = 0;

	if (q->n > n / 4)
		return err_set(e, ERR_INPUT, "input: %zu bytes hold no %zu files with their lengths", n,
			       q->n);
	if (make_files(q, e))
		return -1;
	for (size_t i = 0; i < q->n; i++) {
		const uint8_t *p = bytes + at;
		uint32_t length;

		if (n - at < 4)
			return err_set(e, ERR_INPUT, "input: the binary data ends before file %zu", i);
		length = p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
		at += 4;
		if (length > n - at)
			return err_set(e, ERR_INPUT, "input: file %zu ends after the binary data", i);
		q->files[i] = (struct infer_file){bytes + at, length};
		at += length;
	}
	return at == n ? 0 : err_set(e, ERR_INPUT, "input: %zu bytes are left after the last file", n - at);
}

static int json_file(struct infer *q, struct json_object *x, size_t i, size_t *at, struct err *e)
{
	const char *text = json_object_is_type(x, json_type_string) ? json_object_get_string(x) : NULL;
	size_t n = 0;

	if (!text ||
	    sodium_base642bin(q->store + *at, q->stored - *at, text, (size_t)json_object_get_string_len(x),
			      " \r\n\t", &n, NULL, sodium_base64_VARIANT_ORIGINAL))
		return err_set(e, ERR_INPUT, "input: element %zu of \"data\" is no file in base64", i);
	q->files[i] = (struct infer_file){q->store + *at, n};
	*at += n;
	return 0;
}

/* [N] or [N,1] strings in base64. */
static int json_files(struct infer *q, struct json_object *data, struct err *e)
{
	size_t at = 0, n = json_object_array_length(data);

	if (n != q->n)
		return err_set(e, ERR_INPUT, "input: \"data\" has %zu files, its shape %zu", n, q->n);
	for (size_t i = 0; i < n; i++) {
		struct json_object *x = json_object_array_get_idx(data, i);

		q->stored +=
		    json_object_is_type(x, json_type_string) ? (size_t)json_object_get_string_len(x) : 0;
	}
	q->store = malloc(q->stored + 1);
	if (!q->store)
		return no_memory(e);
	if (make_files(q, e))
		return -1;
	for (size_t i = 0; i < n; i++)
		if (json_file(q, json_object_array_get_idx(data, i), i, &at, e))
			return -1;
	return 0;
}

/* ---- the input ---- */

/* Bytes of binary data of this input; -1: it is in JSON. */
static int64_t binary_size(struct json_object *input, size_t n, struct err *e)
{
	struct json_object *p = infer_field(input, "input", "parameters", json_type_object, e),
			   *size = p ? infer_field(p, "input", "binary_data_size", json_type_int, e) : NULL;
	int64_t bytes = size ? json_object_get_int64(size) : -1;

	if (!e->code && size && (bytes < 0 || (uint64_t)bytes != n))
		err_set(
		    e, ERR_INPUT,
		    "input: \"binary_data_size\" is %lld, and %zu bytes follow the JSON (its length stands "
		    "in Inference-Header-Content-Length)",
		    (long long)bytes, n);
	else if (!e->code && !size && n)
		err_set(e, ERR_INPUT, "%zu bytes follow the JSON, but the input has no \"binary_data_size\"",
			n);
	return bytes;
}

/* 1: BYTES, 0: UINT8. */
static int datatype(struct json_object *input, struct err *e)
{
	struct json_object *name = infer_field(input, "input", "name", json_type_string, e),
			   *type = infer_field(input, "input", "datatype", json_type_string, e);
	const char *text = type ? json_object_get_string(type) : "";

	if (e->code)
		return -1;
	if (!name || strcmp(json_object_get_string(name), INFER_INPUT))
		return err_set(e, ERR_INPUT, "there is no input \"%.64s\"; the model's input is \"%s\"",
			       name ? json_object_get_string(name) : "", INFER_INPUT);
	if (!strcmp(text, "BYTES"))
		return 1;
	if (!strcmp(text, "UINT8"))
		return 0;
	if (!strncmp(text, "FP", 2))
		return err_set(
		    e, ERR_INPUT,
		    "input: %.8s is not taken: pictures are 8-bit pixels (UINT8), and how they are "
		    "normalised belongs to the model",
		    text);
	return err_set(e, ERR_INPUT, "input: \"datatype\" is \"%.16s\"; take UINT8 or BYTES", text);
}

static int tensor(struct infer *q, int files, size_t elements, const uint8_t *tail, int64_t binary,
		  struct json_object *data, struct err *e)
{
	if (!data && binary < 0)
		return err_set(e, ERR_INPUT, "input: there is neither \"data\" nor \"binary_data_size\"");
	if (data && binary >= 0)
		return err_set(e, ERR_INPUT, "input: there is \"data\" as well as \"binary_data_size\"");
	if (files)
		return data ? json_files(q, data, e) : binary_files(q, tail, (size_t)binary, e);
	if (data)
		return json_pixels(q, data, elements, e);
	if ((size_t)binary != elements)
		return err_set(e, ERR_INPUT, "input: %lld bytes of binary data, its shape has %zu",
			       (long long)binary, elements);
	return take_pixels(q, tail, elements, e);
}

int infer_input(struct infer *q, struct json_object *input, const uint8_t *tail, size_t n, struct err *e)
{
	struct json_object *data;
	size_t elements = 0;
	int64_t binary;
	int files = datatype(input, e);

	if (files < 0 || read_shape(q, input, &elements, e) || check_count(q, e))
		return -1;
	if (files && elements != q->n)
		return err_set(e, ERR_INPUT, "input: the shape of BYTES is [N], one file each");
	binary = binary_size(input, n, e);
	data = infer_field(input, "input", "data", json_type_array, e);
	if (e->code)
		return -1;
	return tensor(q, files, elements, tail, binary, data, e);
}

int infer_raw(struct infer *q, const uint8_t *body, size_t n, int picture, struct err *e)
{
	static const uint8_t png[] = {0x89, 'P', 'N', 'G'}, jpeg[] = {0xff, 0xd8, 0xff};

	if (!n)
		return err_set(e, ERR_INPUT, "the body is empty");
	if (n > sizeof(png) && (!memcmp(body, png, sizeof(png)) || !memcmp(body, jpeg, sizeof(jpeg))))
		picture = 1;
	if (!picture)
		return take_pixels(q, body, n, e);
	q->n = 1;
	if (make_files(q, e))
		return -1;
	q->files[0] = (struct infer_file){body, n};
	return check_count(q, e);
}
