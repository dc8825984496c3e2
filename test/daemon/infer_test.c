/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of the Open Inference Protocol: the published examples' form, every datatype and layout, and what
 * is refused with which words. */
#include "test/test.h"

#include <stdio.h>

#include "daemon/infer.h"

static const struct infer_limits limits = {.images = 4, .optimise = PLAN_BANDWIDTH};
static const struct shape want = {2, 1, 3}; /* C, H, W */

static int parse_as(struct infer *q, const char *text, size_t n, const char *header, const char *type,
		    struct err *e)
{
	*e = (struct err){0};
	return infer_parse(q, (const uint8_t *)text, n, header, type, &limits, e);
}

static void parse(struct infer *q, const char *text)
{
	struct err e;

	if (parse_as(q, text, strlen(text), NULL, "application/json", &e))
		fail_msg("%s: %s", text, e.text);
}

#define INPUT(shape, type, rest)                                                                             \
	"{\"inputs\":[{\"name\":\"image\",\"shape\":" shape ",\"datatype\":\"" type "\"" rest "}]}"
#define SIX "[0,1,2,3,4,255]"

static void test_pixels(void **state)
{
	static const char *const forms[] = {
	    INPUT("[1,2,1,3]", "UINT8", ",\"data\":" SIX),
	    INPUT("[1,2,1,3]", "UINT8", ",\"data\":[[[[0,1,2]],[[3,4,255]]]]"),
	    INPUT("[1,1,3,2]", "UINT8", ",\"data\":[0,3,1,4,2,255]"),
	    " {\"id\":\"42\",\"extra\":[1],\"inputs\":[{\"name\":\"image\",\"shape\":[1,2,1,3],\"datatype\":"
	    "\"UINT8\",\"parameters\":{\"other\":1},\"data\":" SIX "}],\"outputs\":[]} ",
	};

	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
		struct infer q;
		struct err e = {0};

		parse(&q, forms[i]);
		assert_int_equal(infer_fit(&q, want, &e), 0);
		assert_int_equal(q.n, 1);
		assert_memory_equal(q.pixels, "\0\1\2\3\4\377", 6);
		assert_int_equal(q.optimise, PLAN_BANDWIDTH);
		if (q.id)
			assert_string_equal(q.id, "42");
		infer_free(&q);
		assert_null(q.pixels);
	}
}

/* The JSON, its length, and 12 bytes of pixels behind it. */
static void test_binary(void **state)
{
	static const char json[] = INPUT("[2,2,1,3]", "UINT8", ",\"parameters\":{\"binary_data_size\":12}");
	char body[sizeof(json) + 12], header[16];
	struct infer q;
	struct err e;

	memcpy(body, json, sizeof(json) - 1);
	memcpy(body + sizeof(json) - 1, "abcdefghijkl", 12);
	snprintf(header, sizeof(header), "%zu", sizeof(json) - 1);
	assert_int_equal(parse_as(&q, body, sizeof(json) - 1 + 12, header, "application/octet-stream", &e),
			 0);
	assert_int_equal(q.n, 2);
	assert_memory_equal(q.pixels, "abcdefghijkl", 12);
	infer_free(&q);
	for (size_t n = sizeof(json) - 1; n < sizeof(json) - 1 + 12; n++) { /* cut off */
		assert_int_equal(parse_as(&q, body, n, header, NULL, &e), -1);
		assert_non_null(strstr(e.text, "binary_data_size"));
	}
	assert_int_equal(parse_as(&q, body, sizeof(json) - 1 + 12, NULL, NULL, &e), -1);
	for (size_t i = 0; i < 4; i++) {
		static const char *const wrong[] = {"-1", "1e2", "99999999999999999999", "9999"};

		assert_int_equal(parse_as(&q, body, sizeof(json) - 1 + 12, wrong[i], NULL, &e), -1);
		assert_non_null(strstr(e.text, "Inference-Header-Content-Length"));
	}
}

static void test_files(void **state)
{
	static const char json[] = INPUT("[2]", "BYTES", ",\"parameters\":{\"binary_data_size\":11}");
	static const char tail[] = "\3\0\0\0abc\0\0\0\0";
	char body[sizeof(json) + 11], header[16];
	struct infer q;
	struct err e;

	parse(&q, INPUT("[2,1]", "BYTES", ",\"data\":[\"YWJj\",\"ZGU=\"]"));
	assert_int_equal(q.n, 2);
	assert_int_equal(q.files[0].n, 3);
	assert_memory_equal(q.files[0].bytes, "abc", 3);
	assert_int_equal(q.files[1].n, 2);
	assert_memory_equal(q.files[1].bytes, "de", 2);
	infer_free(&q);
	memcpy(body, json, sizeof(json) - 1);
	memcpy(body + sizeof(json) - 1, tail, 11);
	snprintf(header, sizeof(header), "%zu", sizeof(json) - 1);
	assert_int_equal(parse_as(&q, body, sizeof(json) - 1 + 11, header, NULL, &e), 0);
	assert_int_equal(q.files[0].n, 3);
	assert_memory_equal(q.files[0].bytes, "abc", 3);
	assert_int_equal(q.files[1].n, 0);
	infer_free(&q);
	body[sizeof(json) - 1] = 8; /* the first takes what the second's length needs */
	assert_int_equal(parse_as(&q, body, sizeof(json) - 1 + 11, header, NULL, &e), -1);
	assert_non_null(strstr(e.text, "file 0 ends after"));
	body[sizeof(json) - 1] = 2;
	assert_int_equal(parse_as(&q, body, sizeof(json) - 1 + 11, header, NULL, &e), -1);
}

static void test_raw(void **state)
{
	struct infer q;
	struct err e;

	assert_int_equal(parse_as(&q, "abcdefghijkl", 12, "0", NULL, &e), 0);
	assert_int_equal(infer_fit(&q, want, &e), 0);
	assert_int_equal(q.n, 2);
	infer_free(&q);
	assert_int_equal(parse_as(&q, "abcde", 5, "0", NULL, &e), 0);
	assert_int_equal(infer_fit(&q, want, &e), -1);
	assert_non_null(strstr(e.text, "5 raw bytes are no pictures of 6"));
	infer_free(&q);
	assert_int_equal(parse_as(&q, "abcdefghijklmnopqrstuvwxyz1234", 30, "0", NULL, &e), 0);
	assert_int_equal(infer_fit(&q, want, &e), -1); /* five pictures */
	infer_free(&q);
	assert_int_equal(parse_as(&q, "\x89PNG\r\n\x1a\n", 8, "0", NULL, &e), 0);
	assert_int_equal(q.files[0].n, 8);
	infer_free(&q);
	assert_int_equal(parse_as(&q, "GIF89a", 6, NULL, "image/gif", &e),
			 0); /* the decoder says what it is */
	assert_int_equal(q.n, 1);
	infer_free(&q);
	assert_int_equal(parse_as(&q, "", 0, "0", NULL, &e), -1);
}

static void test_wishes(void **state)
{
	struct infer q;

	parse(
	    &q,
	    "{\"parameters\":{\"optimise\":\"latency\",\"reveal\":\"logits\",\"convert\":true,"
	    "\"binary_data_output\":true,\"deadline_ms\":77,\"priority\":3},"
	    "\"inputs\":[{\"name\":\"image\",\"shape\":[1],\"datatype\":\"BYTES\",\"data\":[\"\"]}],"
	    "\"outputs\":[{\"name\":\"label\",\"parameters\":{\"names\":true,\"binary_data\":false}},"
	    "{\"name\":\"scores\",\"parameters\":{\"classification\":3}},{\"name\":\"view_model_owner\"}]}");
	assert_int_equal(q.optimise, PLAN_LATENCY);
	assert_int_equal(q.reveal, REVEAL_LOGITS);
	assert_int_equal(q.convert, 1);
	assert_int_equal(q.deadline_ms, 77);
	assert_int_equal(q.n_wanted, 3);
	assert_int_equal(q.wanted[0].what, INFER_LABEL);
	assert_int_equal(q.wanted[0].names, 1);
	assert_int_equal(q.wanted[0].binary, 0);
	assert_int_equal(q.wanted[1].classes, 3);
	assert_int_equal(q.wanted[1].binary, 1);
	assert_true(infer_wants(&q, INFER_VIEW_MODEL));
	assert_false(infer_wants(&q, INFER_VIEW_OWNER));
	infer_free(&q);
}

#define ALL_OUTPUTS                                                                                          \
	"{\"outputs\":[{\"name\":\"scores\"},{\"name\":\"label\"},{\"name\":\"view_data_owner\"},"           \
	"{\"name\":\"view_model_owner\"},{\"name\":\"layers\"}"

static void test_refused(void **state)
{
	static const struct {
		const char *text, *word;
	} rows[] = {
	    {"", "byte 0"},
	    {"null", "byte 4"},
	    {"[]", "no JSON object"},
	    {"{} x", "cannot be read at byte"},
	    {"{\"inputs\":[1]}", "needs \"inputs\""},
	    {"{\"inputs\":{}}", "not of type array"},
	    {"{\"id\":7}", "\"id\" is not of type string"},
	    {"{\"inputs\":[{},{}]}", "one object"},
	    {"{\"parameters\":{\"optimise\":\"fast\"}}", "neither \"latency\" nor \"bandwidth\""},
	    {"{\"parameters\":{\"deadline_ms\":0}}", "not from 1 to"},
	    {"{\"parameters\":{\"convert\":1}}", "not of type boolean"},
	    {"{\"outputs\":[{\"name\":\"label\"},{\"name\":\"label\"}]}", "twice"},
	    {ALL_OUTPUTS ",{\"name\":\"layers\"}]}", "twice"}, /* one more than there is room for */
	    {ALL_OUTPUTS ",{\"name\":\"label\"}]}", "twice"},
	    {ALL_OUTPUTS ",{\"name\":\"label\",\"parameters\":{\"classification\":9}}]}", "twice"},
	    {ALL_OUTPUTS ",{\"name\":\"more\"}]}", "there is no output"},
	    {"{\"outputs\":[3]}", "output 0 is no object"},
	    {"{\"parameters\":{\"reveal\":\"label\"},\"outputs\":[{\"name\":\"scores\"}]}", "no scores"},
	    {INPUT("[1,2,1,3]", "FP32", ",\"data\":" SIX), "8-bit pixels"},
	    {INPUT("[1,2,1,3]", "INT64", ",\"data\":" SIX), "take UINT8 or BYTES"},
	    {INPUT("[1,2,1,3]", "UINT8", ""), "neither \"data\" nor"},
	    {INPUT("[1,2,1,3]", "UINT8", ",\"data\":[1]"), "has 1 numbers, its shape 6"},
	    {INPUT("[1,2,1,3]", "UINT8", ",\"data\":[0,1,2,3,4,256]"), "0 to 255"},
	    {INPUT("[1,2,1,3]", "UINT8", ",\"data\":[0,1,2,3,4,-1]"), "0 to 255"},
	    {INPUT("[1,2,1,3]", "UINT8", ",\"data\":[0,1,2,3,4,\"5\"]"), "0 to 255"},
	    {INPUT("[1,2,1,3]", "UINT8", ",\"data\":[0,1,2,3,4,5,6]"), "0 to 255"},
	    {INPUT("[1,2,1,3]", "UINT8", ",\"data\":[[0,1,2,3,4,5],[6]]"), "0 to 255"},
	    {INPUT("[5,2,1,3]", "UINT8", ",\"data\":[0]"), "http_images"},
	    {INPUT("[0,2,1,3]", "UINT8", ",\"data\":[0]"), "dimension 0"},
	    {INPUT("[1,-2,1,3]", "UINT8", ",\"data\":[0]"), "dimension 1"},
	    {INPUT("[1,1000000,1000000,1000000]", "UINT8", ",\"data\":[0]"), "dimension 2"},
	    {INPUT("[1,4000,4000]", "UINT8", ",\"data\":[0]"), "fewer than"},
	    {INPUT("[]", "UINT8", ",\"data\":[0]"), "dimensions"},
	    {INPUT("[1,1,1,1,1]", "UINT8", ",\"data\":[0]"), "dimensions"},
	    {INPUT("[2]", "BYTES", ",\"data\":[\"YQ==\"]"), "has 1 files, its shape 2"},
	    {INPUT("[2,2]", "BYTES", ",\"data\":[]"), "[N]"},
	    {INPUT("[1]", "BYTES", ",\"data\":[\"!\"]"), "base64"},
	    {INPUT("[1]", "BYTES", ",\"data\":[7]"), "base64"},
	    {INPUT("[1]", "BYTES", ",\"parameters\":{\"binary_data_size\":5}"), "0 bytes follow"},
	    {INPUT("[1]", "BYTES", ",\"data\":[],\"parameters\":{\"binary_data_size\":0}"), "as well as"},
	    {"[[[[[[[[[[[[[[1]]]]]]]]]]]]]]", "nesting"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct infer q;
		struct err e;

		assert_int_equal(parse_as(&q, rows[i].text, strlen(rows[i].text), NULL, NULL, &e), -1);
		assert_int_equal(e.code, ERR_INPUT);
		if (!strstr(e.text, rows[i].word))
			fail_msg("%s: \"%s\" does not say \"%s\"", rows[i].text, e.text, rows[i].word);
		assert_null(q.pixels);
		assert_null(q.files);
	}
}

static void test_shapes(void **state)
{
	struct infer q;
	struct err e = {0};

	parse(&q, INPUT("[1,6]", "UINT8", ",\"data\":" SIX));
	assert_int_equal(infer_fit(&q, want, &e), -1);
	assert_string_equal(e.text,
			    "input: the shape is [1,6]; the model takes [N,2,1,3], or a PNG or JPEG as "
			    "BYTES [N]");
	infer_free(&q);
}

static void test_too_long(void **state)
{
	size_t n = INFER_JSON_MAX + 1;
	char *text = malloc(n);
	struct infer q;
	struct err e;

	memset(text, ' ', n);
	assert_int_equal(parse_as(&q, text, n, NULL, NULL, &e), -1);
	assert_non_null(strstr(e.text, "binary data"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_pixels), cmocka_unit_test(test_binary),   cmocka_unit_test(test_files),
	    cmocka_unit_test(test_raw),	   cmocka_unit_test(test_wishes),   cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_shapes), cmocka_unit_test(test_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
