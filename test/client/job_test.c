/* SPDX-License-Identifier: Apache-2.0 */
/* Sources of a batch: what is damaged is one item, a source is known by its content. The file of results: CSV
 * that quotes, JSON Lines, a confusion matrix, a file that is whole or not there. */
#include "client/job.h"

#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/feed.h"
#include "daemon/ledger.h"
#include "test/test.h"

static char dir[64];

static int setup(void **state)
{
	strcpy(dir, "/tmp/obscura-job.XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static const char *path(const char *name)
{
	static char at[4][128];
	static int i;

	i = (i + 1) % 4;
	snprintf(at[i], sizeof(at[i]), "%s/%s", dir, name);
	return at[i];
}

static void put(const char *name, const char *bytes, size_t n)
{
	FILE *f = fopen(path(name), "wb");

	assert_int_equal(fwrite(bytes, 1, n, f), n);
	fclose(f);
}

/* ---- sources ---- */

static void test_folder(void **state)
{
	struct feed_item item;
	struct err e = {0};
	struct feed *f;
	uint8_t one[32], two[32];

	put("a.pgm", "P5 2 1 255\nxy", 13);
	put("b.pgm", "P5 9 9 255\nxy", 13); /* ends early */
	put("c.pgm", "P5 1 1 255\nz", 12);
	assert_int_equal(feed_files(&f, dir, 0, 0, &e), 0);
	assert_int_equal(feed_total(f), 3);
	assert_int_equal(feed_identity(f, one, &e), 0);
	assert_int_equal(feed_next(f, &item, &e), 1);
	assert_int_equal(item.image.pixels[1], 'y');
	feed_give_back(f, &item);
	assert_int_equal(feed_next(f, &item, &e), 1);
	assert_int_equal(item.why.code, ERR_INPUT);
	assert_non_null(strstr(item.name, "b.pgm"));
	assert_null(item.image.pixels);
	feed_give_back(f, &item);
	assert_int_equal(feed_next(f, &item, &e), 1);
	assert_int_equal(item.image.pixels[0], 'z');
	assert_int_equal(feed_acknowledge(f, &item, &e), 0);
	assert_int_equal(feed_next(f, &item, &e), 0);
	assert_int_equal(feed_restart(f, 2, &e), 0);
	assert_int_equal(feed_next(f, &item, &e), 1);
	assert_int_equal(item.image.pixels[0], 'z');
	feed_give_back(f, &item);
	assert_int_equal(feed_restart(f, 4, &e), -1);
	feed_close(f);
	put("c.pgm", "P5 1 1 255\nzz", 13); /* changed: another source */
	e = (struct err){0};
	assert_int_equal(feed_files(&f, dir, 1, 1, &e), 0);
	assert_int_equal(feed_total(f), 1);
	assert_int_equal(feed_identity(f, two, &e), 0);
	assert_memory_not_equal(one, two, 32);
	feed_close(f);
	assert_int_equal(feed_files(&f, dir, 3, 0, &e), -1);
}

/* ---- results ---- */

static const struct expected {
	const char *name, *error;
	int state;
	uint32_t label;
} rows[] = {
    {"plain.png", "", LEDGER_DONE, 1},
    {"with, comma \"quoted\"\nand a line.png", "", LEDGER_DONE, 0},
    {"folder/bad.png", "cannot, be read", LEDGER_FAILED, 0},
    {"folder/last.png", "", LEDGER_DONE, 1},
};
#define N (sizeof(rows) / sizeof(*rows))

/* Two rows a page. */
static int page(void *ctx, uint64_t from, Wire__JobReply **reply, struct err *e)
{
	Wire__JobReply *m = malloc(sizeof(*m));

	wire__job_reply__init(m);
	m->rows = calloc(2, sizeof(*m->rows));
	for (uint64_t i = from; i < N && i < from + 2; i++) {
		Wire__JobRow *r = malloc(sizeof(*r));

		wire__job_row__init(r);
		r->name = strdup(rows[i].name);
		r->error = strdup(rows[i].error);
		r->state = ctx && i == 3 ? LEDGER_WAITING : (uint32_t)rows[i].state;
		r->label = rows[i].label;
		r->attempts = 1;
		r->n_scores = rows[i].state == LEDGER_DONE ? 2 : 0;
		r->scores = calloc(2, sizeof(float));
		r->scores[rows[i].label] = 0.5f;
		m->rows[m->n_rows++] = r;
	}
	*reply = m;
	return 0;
}

static int write_results(struct results *r, struct args *a, void *ctx, struct err *e)
{
	memset(r, 0, sizeof(*r));
	r->part = -1;
	if (results_open(r, a, e))
		return -1;
	r->page = page;
	r->ctx = ctx;
	r->n = N;
	return results_write(r, e);
}

static char *slurp(const char *file)
{
	static char text[4096];
	FILE *f = fopen(file, "rb");

	assert_non_null(f);
	memset(text, 0, sizeof(text));
	assert_true(fread(text, 1, sizeof(text) - 1, f) > 0);
	fclose(f);
	return text;
}

static void test_csv(void **state)
{
	struct args a = {0};
	struct results r;
	struct err e = {0};
	char out[128], labels[128];

	strcpy(out, path("r.csv"));
	strcpy(labels, path("labels.txt"));
	put("labels.txt", "1\n1\n0\n1\n", 8);
	a.flag[FLAG_out] = out;
	a.flag[FLAG_labels] = labels;
	assert_int_equal(write_results(&r, &a, NULL, &e), 0);
	assert_string_equal(slurp(out), "image,truth,label,name,attempts,error,score_0,score_1\r\n"
					"plain.png,1,1,1,1,,0,0.5\r\n"
					"\"with, comma \"\"quoted\"\"\nand a line.png\",1,0,0,1,,0.5,0\r\n"
					"folder/bad.png,0,,,1,\"cannot, be read\",,\r\n"
					"folder/last.png,1,1,1,1,,0,0.5\r\n");
	assert_int_equal(r.done, 3);
	assert_int_equal(r.failed, 1);
	assert_int_equal(r.right, 2);
	assert_int_equal(r.classes, 2);
	assert_int_equal(r.confusion[3], 2); /* 1 as 1 */
	assert_int_equal(r.confusion[2], 1); /* 1 as 0 */
	results_close(&r);
	assert_int_equal(access(path("r.csv.part"), F_OK), -1);
}

static void test_jsonl(void **state)
{
	struct args a = {0};
	struct results r;
	struct err e = {0};
	struct json_object *o, *x;
	char out[128], *line;

	strcpy(out, path("r.jsonl"));
	a.flag[FLAG_out] = out;
	assert_int_equal(write_results(&r, &a, NULL, &e), 0);
	results_close(&r);
	line = strtok(slurp(out), "\n");
	for (size_t i = 0; i < N; i++, line = strtok(NULL, "\n")) {
		assert_non_null(o = json_tokener_parse(line));
		assert_true(json_object_object_get_ex(o, "image", &x));
		assert_string_equal(json_object_get_string(x), rows[i].name);
		assert_int_equal(json_object_object_get_ex(o, "error", &x), rows[i].state == LEDGER_FAILED);
		assert_int_equal(json_object_object_get_ex(o, "label", &x), rows[i].state == LEDGER_DONE);
		json_object_put(o);
	}
	assert_null(line);
}

/* An image without a result: no file, and an old one stays. Two at once: the second is refused. */
static void test_whole_or_not(void **state)
{
	struct args a = {0};
	struct results r, other = {.part = -1};
	struct err e = {0};
	char out[128];

	strcpy(out, path("w.csv"));
	put("w.csv", "old", 3);
	a.flag[FLAG_out] = out;
	assert_int_equal(write_results(&r, &a, &r, &e), -1);
	assert_non_null(strstr(e.text, "folder/last.png"));
	assert_string_equal(slurp(out), "old");
	e = (struct err){0};
	assert_int_equal(results_open(&other, &a, &e), -1);
	assert_non_null(strstr(e.text, "another obscura batch"));
	results_close(&other);
	results_close(&r);
	a.flag[FLAG_labels] = "/nowhere/labels";
	e = (struct err){0};
	assert_int_equal(write_results(&r, &a, NULL, &e), -1);
	assert_int_equal(e.code, ERR_INPUT);
	results_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_folder, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_csv, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_jsonl, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_whole_or_not, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
