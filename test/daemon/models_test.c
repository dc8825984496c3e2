/* SPDX-License-Identifier: Apache-2.0 */
/* A set of models is replaced while sessions hold some: what has not changed is shared, what has gone lives
 * until it is let go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/models.h"

static char folder[] = "/tmp/obscura-models-XXXXXX";

static const char *path(const char *name)
{
	static char out[4][200];
	static unsigned turn;

	turn = (turn + 1) % 4;
	snprintf(out[turn], sizeof(out[turn]), "%s/%s", folder, name);
	return out[turn];
}

/* A new file in the place of the old. */
static void put(const char *from, const char *name)
{
	char buffer[4096];
	FILE *in = fopen(from, "re"), *out = fopen(path("new"), "we");
	size_t n;

	assert_non_null(in);
	assert_non_null(out);
	while ((n = fread(buffer, 1, sizeof(buffer), in)))
		assert_int_equal(fwrite(buffer, 1, n, out), n);
	fclose(in);
	fclose(out);
	assert_int_equal(rename(path("new"), path(name)), 0);
}

static int make_folder(void **state)
{
	log_open("error", "test");
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	unlink(path("a.onnx"));
	unlink(path("a.json"));
	unlink(path("b.onnx"));
	return rmdir(folder);
}

static void configure(struct config *c, const char *models)
{
	char flag[500];

	assert_int_equal(config_defaults(c, 'M', NULL), 0);
	snprintf(flag, sizeof(flag), "--models=%s", models);
	assert_int_equal(config_flag(c, flag, NULL), 0);
}

static uint64_t no_clock(void *ctx)
{
	return 0;
}

static void run_at_once(void *ctx, struct job *job)
{
	job->run(job);
	job->done(job);
}

static void made(void *ctx)
{
}

/* What is served under a name, held. */
static const struct served *serve(struct models *m, const char *name, struct model **model)
{
	const struct host host = {.submit = run_at_once, .now_us = no_clock};
	const struct served *served = NULL;
	struct err e = {0};

	if (models_serve(m, name, PLAN_LATENCY, REVEAL_LOGITS, &host, made, NULL, model, &served, &e))
		return NULL;
	assert_non_null(served);
	return served;
}

static void replace(struct models *m, const char *list)
{
	struct models *next;
	struct config c;
	struct err e = {0};

	configure(&c, list);
	if (models_next(&next, m, &c, &e))
		fail_msg("%s", e.text);
	models_replace(m, next);
	config_free(&c);
}

static struct models *load_both(char *list, size_t bytes)
{
	struct models *m;
	struct config c;
	struct err e = {0};

	put("test/models/digits_mlp.onnx", "a.onnx");
	put("test/models/digits_conv.onnx", "b.onnx");
	snprintf(list, bytes, "%s,%s", path("a.onnx"), path("b.onnx"));
	configure(&c, list);
	if (models_load(&m, &c, &e))
		fail_msg("%s", e.text);
	config_free(&c);
	return m;
}

static void test_unchanged(void **state)
{
	struct model *before, *after;
	char list[300];
	struct models *m = load_both(list, sizeof(list));
	const struct served *a = serve(m, "a", &before);

	replace(m, list);
	assert_ptr_equal(serve(m, "a", &after), a); /* the same epoch: tickets stay good */
	assert_ptr_equal(before, after);
	assert_int_equal(model_retired(before), 0);
	model_release(before);
	model_release(after);
	models_free(m);
}

static void test_changed(void **state)
{
	struct model *before, *after, *other;
	char list[300];
	struct models *m = load_both(list, sizeof(list));
	const struct served *a = serve(m, "a", &before), *b = serve(m, "b", &other);
	uint8_t epoch[16];

	memcpy(epoch, a->epoch, sizeof(epoch));
	put("test/models/digits_mlp.onnx", "a.onnx"); /* even the same bytes: another file, another epoch */
	replace(m, list);
	assert_int_equal(model_retired(before), 1);
	assert_int_equal(model_retired(other), 0);
	models_sweep(m); /* it is held */
	assert_memory_equal(a->epoch, epoch, sizeof(epoch));
	assert_memory_not_equal(serve(m, "a", &after)->epoch, epoch, sizeof(epoch));
	model_release(before);
	models_sweep(m);
	assert_ptr_not_equal(before, after);
	assert_ptr_equal(serve(m, "b", &before), b);
	model_release(before);
	model_release(after);
	model_release(other);
	models_free(m);
}

/* The metadata beside the file belong to the model. */
static void test_metadata(void **state)
{
	struct model *before, *after;
	char list[300];
	struct models *m = load_both(list, sizeof(list));
	FILE *json = fopen(path("a.json"), "we");

	serve(m, "a", &before);
	fputs("{\"scale\":128}", json);
	fclose(json);
	replace(m, list);
	assert_int_equal(model_retired(before), 1);
	serve(m, "a", &after);
	assert_ptr_not_equal(before, after);
	model_release(before);
	model_release(after);
	models_free(m);
	unlink(path("a.json"));
}

static void test_removed(void **state)
{
	struct model *held;
	char list[300];
	struct models *m = load_both(list, sizeof(list));

	serve(m, "b", &held);
	replace(m, path("a.onnx"));
	assert_int_equal(model_retired(held), 1);
	assert_null(serve(m, "b", &held));
	model_release(held);
	models_free(m);
}

/* Other bits are another model. */
static void test_options(void **state)
{
	struct models *m, *next;
	struct model *before;
	char list[300];
	struct config c;
	struct err e = {0};

	m = load_both(list, sizeof(list));
	serve(m, "a", &before);
	configure(&c, list);
	c.weight_bits = 12;
	assert_int_equal(models_next(&next, m, &c, &e), 0);
	models_replace(m, next);
	assert_int_equal(model_retired(before), 1);
	config_free(&c);
	model_release(before);
	models_free(m);
}

/* A bad set changes nothing, and a good one may be dropped. */
static void test_refused(void **state)
{
	static const char *const bad[] = {"/nowhere/x.onnx", "test/models/bad/nan.onnx", ""};
	struct model *before, *after;
	struct models *m, *next;
	char list[300], twice[700];
	struct config c;

	m = load_both(list, sizeof(list));
	serve(m, "a", &before);
	for (size_t i = 0; i < 4; i++) {
		struct err e = {0};

		snprintf(twice, sizeof(twice), "%s,%s", list, i < 3 ? bad[i] : list);
		configure(&c, i == 2 ? "" : twice);
		assert_int_equal(models_next(&next, m, &c, &e), -1);
		assert_true(e.code && strlen(e.text) > 10);
		config_free(&c);
	}
	configure(&c, list);
	assert_int_equal(models_next(&next, m, &c, NULL), 0);
	models_free(next);
	config_free(&c);
	serve(m, "a", &after);
	assert_ptr_equal(before, after);
	model_release(before);
	model_release(after);
	models_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_unchanged), cmocka_unit_test(test_changed), cmocka_unit_test(test_metadata),
	    cmocka_unit_test(test_removed),   cmocka_unit_test(test_options), cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
