/* SPDX-License-Identifier: Apache-2.0 */
/* Profiles: nothing without profile_open; with it one line for each row, images and tickets counted, the
 * first inference of a lane left out, bytes of the protocol unchanged. */
#include "test/protocol/trio.h"

#include <stdio.h>
#include <unistd.h>

#define N 12
#define M 5

static void network(struct build *b)
{
	int64_t *w = calloc(N * M, sizeof(*w)), *bias = calloc(M, sizeof(*bias));

	for (int i = 0; i < N * M; i++)
		w[i] = i % 7 - 3;
	build_input(b, flat(N), 20);
	build_reveal(b, build_dense(b, build_mask(b, 0), M, FORM_SHARE, 20, 0, w, bias));
}

static void infer(struct trio *t, uint64_t first, size_t batch)
{
	uint8_t pixels[3 * N];
	int64_t result[3 * M];

	for (size_t i = 0; i < sizeof(pixels); i++)
		pixels[i] = (uint8_t)(11 * i);
	trio_infer(t, first, batch, pixels, result);
}

static void test_off(void **state)
{
	uint64_t lap = 7;

	assert_null(profile_new(4));
	profile_lap(NULL, PROFILE_COMPUTE, 0, &lap);
	profile_start(NULL, &lap);
	profile_count(NULL, PROFILE_COMPUTE, 1);
	profile_write(NULL, NULL, NULL);
	profile_free(NULL);
	assert_int_equal(lap, 7);
}

/* "name":NUMBER of a line. */
static unsigned long long field(const char *line, const char *name)
{
	char key[32];
	const char *at;

	snprintf(key, sizeof(key), "\"%s\":", name);
	at = strstr(line, key);
	assert_non_null(at);
	return strtoull(at + strlen(key), NULL, 10);
}

static void check_line(const char *line, unsigned row, unsigned rows, const char *op)
{
	char text[32];

	snprintf(text, sizeof(text), "\"op\":\"%s\"", op);
	assert_non_null(strstr(line, text));
	assert_int_equal(field(line, "rows"), rows);
	assert_int_equal(field(line, "row"), row);
	/* P0's and P1's lanes share this process's program: 2 and 3 images each, without the first inference
	 */
	assert_int_equal(field(line, "images"), 2 * (2 + 3));
	assert_int_equal(field(line, "tickets"), 1 + 2 + 3); /* offline there is no first: δ of all */
	assert_true(field(line, "compute_ns") > 0);
	assert_int_equal(field(line, "deal_ns"), 0); /* trio deals by itself */
	assert_int_equal(field(line, "send_ns"), 0); /* nothing was sent */
}

static void test_on(void **state)
{
	static const char *const names[] = {"mask", "linear", "reveal"};
	char path[64], line[512];
	struct build b;
	struct trio t;
	struct err e = {0};
	FILE *f;

	snprintf(path, sizeof(path), "/tmp/obscura-profile-%d", (int)getpid());
	must(profile_open(path, &e), &e);
	network(&b);
	trio_new(&t, &b, 1);
	infer(&t, 0, 1);
	infer(&t, 1, 2);
	infer(&t, 3, 3);
	trio_free(&t);
	build_free(&b);
	profile_close();
	f = fopen(path, "r");
	assert_non_null(f);
	for (unsigned row = 0; row < 3; row++) {
		assert_non_null(fgets(line, sizeof(line), f));
		check_line(line, row, 3, names[row]);
	}
	assert_null(fgets(line, sizeof(line), f));
	fclose(f);
	unlink(path);
	assert_null(profile_new(4));
}

static void test_refusal(void **state)
{
	struct err e = {0};

	assert_int_equal(profile_open("/nowhere/profile", &e), -1);
	assert_int_equal(e.code, ERR_ENV);
	assert_non_null(strstr(e.text, "/nowhere/profile"));
	assert_null(profile_new(1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_off),
	    cmocka_unit_test(test_on),
	    cmocka_unit_test(test_refusal),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
