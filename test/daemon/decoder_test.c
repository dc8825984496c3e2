/* SPDX-License-Identifier: Apache-2.0 */
/* The decoder's process: pictures come back fitted, one after another and many at once; what is wrong is
 * said; cancelled ones are silent; its own death is an error, not a hang; it ends with the daemon. */
#include "test/test.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "daemon/decoder.h"

#define MANY 40
#define PATIENCE_S 60

static struct event_base *base;
static struct decoder *decoder;
static uint8_t file[4096];
static size_t file_bytes;
static const struct fit usual = {.want = {1, 28, 28}, .resize = NN_RESIZE_BILINEAR};

struct told {
	int done;
	uint8_t chw[28 * 28];
	struct err err;
};

static void on_done(void *ctx, const uint8_t *chw, const struct err *e)
{
	struct told *t = ctx;

	t->done++;
	t->err = *e;
	if (chw)
		memcpy(t->chw, chw, sizeof(t->chw));
}

static void await(const int *done, int wanted)
{
	for (time_t end = time(NULL) + PATIENCE_S; *done < wanted && time(NULL) < end; usleep(500))
		event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(*done, wanted);
}

static int begin(void **state)
{
	struct err e = {0};
	FILE *f = fopen("test/images/seven-0.png", "re");

	assert_non_null(f);
	file_bytes = fread(file, 1, sizeof(file), f);
	fclose(f);
	assert_int_equal(decoder_new(&decoder, &e), 0);
	base = event_base_new();
	decoder_attach(decoder, base);
	return 0;
}

static int end(void **state)
{
	decoder_free(decoder);
	event_base_free(base);
	return 0;
}

static void start(struct told *t, const uint8_t *bytes, size_t n, const struct fit *fit)
{
	struct decoding *x;
	struct err e = {0};

	*t = (struct told){0};
	assert_int_equal(decoder_start(&x, decoder, fit, bytes, n, on_done, t, &e), 0);
	assert_int_equal(t->done, 0);
}

static void test_picture(void **state)
{
	struct image im;
	struct told t;
	struct err e = {0};
	uint8_t wanted[28 * 28];

	start(&t, file, file_bytes, &usual);
	await(&t.done, 1);
	assert_int_equal(t.err.code, 0);
	assert_int_equal(image_decode(&im, file, file_bytes, &e), 0);
	assert_int_equal(image_fit(wanted, &im, &usual, &e), 0);
	image_free(&im);
	assert_memory_equal(t.chw, wanted, sizeof(wanted));
}

static void test_wrong(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		const char *word;
	} rows[] = {{"", 0, "empty"},
		    {"hello", 5, "neither PNG"},
		    {"\x89PNG\r\n\x1a\n????", 12, "corrupt PNG"},
		    {"\xff\xd8\xff\xe0", 4, "JPEG"}};
	struct fit colour = usual;
	struct told t;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		start(&t, (const uint8_t *)rows[i].bytes, rows[i].n, &usual);
		await(&t.done, 1);
		assert_int_equal(t.err.code, ERR_INPUT);
		if (!strstr(t.err.text, rows[i].word))
			fail_msg("\"%s\" does not say \"%s\"", t.err.text, rows[i].word);
	}
	colour.want.c = 3;
	start(&t, file, file_bytes, &colour);
	await(&t.done, 1);
	assert_non_null(strstr(t.err.text, "convert"));
}

static void test_many(void **state)
{
	static struct told t[MANY];
	struct decoding *cancelled;
	struct told never = {0};
	struct err e = {0};

	for (int i = 0; i < MANY; i++) {
		start(&t[i], file, i % 3 ? file_bytes : 50, &usual);
		if (i == 2) /* runs */
			assert_int_equal(
			    decoder_start(&cancelled, decoder, &usual, file, file_bytes, on_done, &never, &e),
			    0);
		if (i == 3 || i == 4)
			decoder_cancel(i == 3 ? cancelled : NULL);
	}
	assert_int_equal(decoder_start(&cancelled, decoder, &usual, file, file_bytes, on_done, &never, &e),
			 0);
	decoder_cancel(cancelled); /* waits */
	for (int i = 0; i < MANY; i++)
		await(&t[i].done, 1);
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(t[i].err.code, i % 3 ? 0 : ERR_INPUT);
		assert_int_equal(memcmp(t[i].chw, t[1].chw, sizeof(t[1].chw)) == 0, i % 3 != 0);
	}
	assert_int_equal(never.done, 0);
}

/* Children of this process. */
static pid_t child(void)
{
	char path[64];
	FILE *f;
	int pid = 0;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	f = fopen(path, "re");
	if (!f || fscanf(f, "%d", &pid) != 1)
		pid = 0;
	if (f)
		fclose(f);
	return pid;
}

/* Descriptors of a process besides its first four; -1: they cannot be read. */
static int others(pid_t pid)
{
	char path[64];
	struct dirent *entry;
	int n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (!dir)
		return -1;
	while ((entry = readdir(dir)))
		n += atoi(entry->d_name) > 3;
	closedir(dir);
	return n;
}

/* The process keeps nothing of ours open but its socket: neither files nor the sockets of peers. */
static void test_closed(void **state)
{
	int n = others(child());

	if (n < 0)
		skip();
	for (int i = 0; i < 5000 && n; i++) { /* it may have a picture's socket for a moment */
		usleep(1000);
		n = others(child());
	}
	assert_int_equal(n, 0);
}

static void test_death(void **state)
{
	struct told t;

	assert_true(child() > 0);
	kill(child(), SIGKILL);
	for (int i = 0; i < 5; i++) {
		start(&t, file, file_bytes, &usual);
		await(&t.done, 1);
		assert_true(t.err.code == ERR_ENV || t.err.code == ERR_INPUT);
	}
	assert_non_null(strstr(t.err.text, "restart the daemon"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_picture), cmocka_unit_test(test_wrong), cmocka_unit_test(test_many),
	    cmocka_unit_test(test_closed),  cmocka_unit_test(test_death),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
