/* SPDX-License-Identifier: Apache-2.0 */
/* The committed sample files are those that the table makes, and parse; a message is placed by what it names.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "conf/config_table.h"

static char *read_all(const char *path)
{
	FILE *f = fopen(path, "re");
	char *text = calloc(1, 1 << 16);

	if (!f)
		fail_msg("%s is missing: make samples", path);
	assert_true(fread(text, 1, (1 << 16) - 1, f) > 0);
	fclose(f);
	return text;
}

static void test_samples(void **state)
{
	static const struct {
		char role;
		const char *path;
	} files[] = {
	    {'D', "conf/data-owner.conf"}, {'M', "conf/model-owner.conf"}, {'C', "conf/provider.conf"}};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		char *want = NULL, *have = read_all(files[i].path);
		size_t n;
		FILE *f = open_memstream(&want, &n);
		struct config c;
		struct err e = {0};

		config_sample(files[i].role, f);
		fclose(f);
		if (strcmp(want, have))
			fail_msg("%s is not what conf/options.def says: run `make samples` and commit it",
				 files[i].path);
		assert_int_equal(config_defaults(&c, files[i].role, &e), 0);
		if (config_file(&c, files[i].path, &e) || config_check(&c, &e))
			fail_msg("%s", e.text);
		config_free(&c);
		free(want);
		free(have);
	}
}

static void test_place(void **state)
{
	struct config c;
	char place[200];

	assert_int_equal(config_defaults(&c, 'M', NULL), 0);
	assert_int_equal(
	    config_text(&c, "m.conf", "ca = \"/a/ca.pem\";\n\nmodels = [\"/x.onnx\", \"/y.onnx\"];", NULL),
	    0);
	assert_int_equal(config_flag(&c, "--key=/k/m.key", NULL), 0);
	assert_string_equal(config_place(&c, "cannot read /a/ca.pem", place, sizeof(place)), "m.conf:1: ca");
	assert_string_equal(config_place(&c, "/y.onnx is short", place, sizeof(place)), "m.conf:3: models");
	assert_string_equal(config_place(&c, "the key /k/m.key is not of /a/ca.pem", place, sizeof(place)),
			    "--key");
	assert_string_equal(config_place(&c, "out of memory", place, sizeof(place)), "the configuration");
	config_free(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_samples), cmocka_unit_test(test_place)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
