/* SPDX-License-Identifier: Apache-2.0 */
/* commands.def and options.def as argv: every flag of every command is understood, each value lands in its
 * place, mistakes are usage errors; `verify`, `plan` and `model check` on a real model, good and bad. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <locale.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/command.h"
#include "client/json.h"
#include "client/links.h"
#include "client/samples.h"
#include "conf/text.h"

static const struct command all[] = {
#define COMMAND(name, arguments, options, summary) {#name, arguments, options, summary, command_##name},
#include "client/commands.def"
};

static const struct command *command(const char *name)
{
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		if (!strcmp(all[i].name, name))
			return &all[i];
	return NULL;
}

/* Runs "verify a b c" with standard output into `out` (NULL: dropped); the code, and the text of the error.
 */
static int run(char *out, size_t room, char *text, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static int run(char *out, size_t room, char *text, const char *format, ...)
{
	char line[2048], *argv[64], *save = NULL;
	FILE *capture = tmpfile();
	struct err e = {0};
	struct args a;
	int argc = 0, r, old;
	va_list ap;

	va_start(ap, format);
	vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	for (char *w = strtok_r(line, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	fflush(stdout);
	old = dup(STDOUT_FILENO);
	dup2(fileno(capture), STDOUT_FILENO);
	r = args_parse(&a, command(argv[0]), argc, argv, &e);
	if (!r)
		r = command(a.command)->run(&a, &e);
	args_free(&a);
	fflush(stdout);
	dup2(old, STDOUT_FILENO);
	close(old);
	rewind(capture);
	if (out)
		out[fread(out, 1, room - 1, capture)] = 0;
	fclose(capture);
	if (text)
		strcpy(text, e.text);
	assert_int_equal(r != 0, e.code != ERR_NONE);
	return (int)e.code;
}

/* ---- parsing ---- */

static void test_every_flag(void **state)
{
	static const struct {
		const char *name, *metavar, *commands;
	} flags[] = {
#define FLAG(name, metavar, commands, help) {#name, metavar, commands},
#include "client/commands.def"
	};
	unsigned tried = 0;

	for (size_t c = 0; c < sizeof(all) / sizeof(*all); c++)
		for (size_t f = 0; f < FLAGS; f++) {
			char flag[64], *argv[] = {(char *)all[c].name, flag, (char *)"word", NULL};
			struct err e = {0};
			struct args a;

			if (f == FLAG_config || !text_has_word(flags[f].commands, all[c].name))
				continue;
			snprintf(flag, sizeof(flag), "--%s%s", flags[f].name,
				 *flags[f].metavar ? "=value" : "");
			for (char *p = flag; *p && *p != '='; p++)
				if (*p == '_')
					*p = '-';
			assert_int_equal(args_parse(&a, &all[c], 3, argv, &e), 0);
			assert_string_equal(a.flag[f], *flags[f].metavar ? "value" : "");
			assert_int_equal(a.n, 1);
			assert_string_equal(a.words[0], "word");
			args_free(&a);
			tried++;
		}
	assert_true(tried > 30);
}

static void test_every_option(void **state)
{
	static const struct {
		const char *name, *value;
	} options[] = {
#define OPTION(type, name, value, roles, metavar, help) {#name, value},
#include "conf/options.def"
#undef OPTION
	};

	for (size_t c = 0; c < sizeof(all) / sizeof(*all); c++)
		for (size_t o = 0; o < sizeof(options) / sizeof(*options); o++) {
			char flag[256], *argv[] = {(char *)all[c].name, flag, NULL};
			struct err e = {0};
			struct args a;

			if (!text_has_word(all[c].options, options[o].name))
				continue;
			snprintf(flag, sizeof(flag), "--%s=%s", options[o].name, options[o].value);
			for (char *p = flag; *p && *p != '='; p++)
				if (*p == '_')
					*p = '-';
			if (args_parse(&a, &all[c], 2, argv, &e))
				fail_msg("%s %s: %s", all[c].name, flag, e.text);
			args_free(&a);
		}
}

static void test_file_and_flags(void **state)
{
	char path[] = "/tmp/obscura-command-XXXXXX", flag[64],
	     *argv[] = {(char *)"classify", flag, (char *)"--step-ms=7", (char *)"a", NULL};
	int fd = mkstemp(path);
	struct err e = {0};
	struct args a;

	assert_int_equal(write(fd, "step_ms = 5;\nidle_ms = 6;\n", 26), 26);
	close(fd);
	snprintf(flag, sizeof(flag), "-c%s", path);
	assert_int_equal(args_parse(&a, command("classify"), 4, argv, &e), 0);
	assert_int_equal(a.config.step_ms, 7);
	assert_int_equal(a.config.idle_ms, 6);
	args_free(&a);
	unlink(path);
	assert_int_equal(args_parse(&a, command("classify"), 4, argv, &e), -1);
	assert_int_equal(e.code, ERR_INPUT);
	args_free(&a);
}

static void test_usage(void **state)
{
	static const char *const lines[] = {"plan",
					    "plan a b",
					    "verify",
					    "model",
					    "model check",
					    "model x y",
					    "classify",
					    "status x",
					    "classify --top=0 x",
					    "classify --reveal=all x",
					    "classify --personality=plain x",
					    "verify --threads=0 x",
					    "classify --optimise=speed x",
					    "stock x",
					    "demo x",
					    "demo --count=0"};

	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
		if (run(NULL, 0, NULL, "%s", lines[i]) != ERR_USAGE)
			fail_msg("\"%s\" is not a usage error", lines[i]);
}

/* A misspelt flag is told from one that is not there, an abbreviation from what could be several. */
static void test_flags(void **state)
{
	static const char *const cases[][2] = {
	    {"classify --modle=x a",
	     "--modle: there is no such flag; did you mean --model; obscura classify --help lists all"},
	    {"classify --deadlin_ms=1 a", "did you mean --deadline-ms"},
	    {"plan --qqqqq a", "--qqqqq: there is no such flag; obscura plan --help lists all"},
	    {"plan --l=3 a", "--l: several flags begin so"},
	    {"plan a --li", "--li: several flags begin so"},
	    {"plan a --link", "--link needs a value: --link=NAME"},
	    {"plan a --json=3", "--json takes no value"},
	    {"plan -x a", "with one dash"},
	};
	char *argv[] = {(char *)"classify", (char *)"--dead=7", (char *)"--", (char *)"--modle", NULL};
	char text[512];
	struct err e = {0};
	struct args a;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_int_equal(run(NULL, 0, text, "%s", cases[i][0]), ERR_USAGE);
		if (!strstr(text, cases[i][1]))
			fail_msg("%s says: %s", cases[i][0], text);
	}
	assert_int_equal(args_parse(&a, command("classify"), 4, argv, &e), 0);
	assert_int_equal(a.config.deadline_ms, 7);
	assert_string_equal(a.words[0], "--modle");
	args_free(&a);
}

/* A model that is taken without mean and std is said to be. */
static void test_normalisation(void **state)
{
	char out[8192];

	assert_int_equal(run(out, sizeof(out), NULL, "model check test/models/digits_mlp.onnx"), 0);
	assert_null(strstr(out, "names a mean and a std"));
	assert_int_equal(
	    run(out, sizeof(out), NULL, "model check test/models/digits_mlp.onnx --mean=0 --std=1"), 0);
	assert_non_null(strstr(out, "names a mean and a std"));
}

/* No daemon: exit 5; a picture that cannot be read: exit 3 before anybody is asked. */
static void test_nobody_there(void **state)
{
	char text[512];

	assert_int_equal(run(NULL, 0, text, "status --socket=/nonexistent/s"), ERR_REACH);
	assert_non_null(strstr(text, "/nonexistent/s"));
	assert_int_equal(run(NULL, 0, text, "classify --socket=/nonexistent/s /nonexistent/p.png"),
			 ERR_INPUT);
	assert_non_null(strstr(text, "p.png"));
}

/* ---- links ---- */

static int find_in(struct link *l, const char *name, const char *text, struct err *e)
{
	char path[] = "/tmp/obscura-links-XXXXXX";
	int fd = mkstemp(path), r;

	*e = (struct err){0};
	assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
	r = link_find(l, name, path, e);
	unlink(path);
	return r;
}

static void test_links(void **state)
{
	struct link l;
	struct err e = {0};

	assert_int_equal(link_find(&l, "wan", NULL, &e), 0);
	assert_true(l.paths[LINK_DATA_OWNER][LINK_PROVIDER].delay == 0.02 && !l.native);
	assert_true(l.paths[LINK_PROVIDER][LINK_MODEL_OWNER].byte_rate == 50e6);
	assert_true(link_online(&l, 3, 50000000, 50000000) > 2.1199 &&
		    link_online(&l, 3, 50000000, 50000000) < 2.1201);
	assert_int_equal(link_find(&l, "lan", "conf/links.conf", &e), 0);
	assert_int_equal(link_find(&l, "native", NULL, &e), 0);
	assert_true(l.native);
	assert_int_equal(link_find(&l, "moon", NULL, &e), -1);
	assert_int_equal(e.code, ERR_USAGE);
	assert_non_null(strstr(e.text, "wan"));
	e = (struct err){0};
	assert_int_equal(link_find(&l, "lan", "/nonexistent", &e), -1);
	assert_int_equal(e.code, ERR_INPUT);
}

/* A direction over a pair over the whole, in whatever order they stand. */
static void test_own_links(void **state)
{
	static const char text[] = "x: { data_owner_to_provider: { delay_ms = 7; mbit = 8; };\n"
				   "data_owner_and_provider: { rtt_ms = 4; loss_percent = 1; };\n"
				   "rtt_ms = 10; mbit = 80; jitter_ms = 2.5; };";
	struct link l;
	struct err e;

	assert_int_equal(find_in(&l, "x", text, &e), 0);
	assert_true(l.paths[LINK_DATA_OWNER][LINK_PROVIDER].delay == 0.007);
	assert_true(l.paths[LINK_DATA_OWNER][LINK_PROVIDER].byte_rate == 1e6);
	assert_true(l.paths[LINK_DATA_OWNER][LINK_PROVIDER].loss == 0.01);
	assert_true(l.paths[LINK_PROVIDER][LINK_DATA_OWNER].delay == 0.002);
	assert_true(l.paths[LINK_PROVIDER][LINK_DATA_OWNER].byte_rate == 1e7);
	assert_true(l.paths[LINK_MODEL_OWNER][LINK_DATA_OWNER].delay == 0.005);
	assert_true(l.paths[LINK_MODEL_OWNER][LINK_DATA_OWNER].loss == 0);
	assert_true(l.paths[LINK_MODEL_OWNER][LINK_DATA_OWNER].jitter == 0.0025);
	assert_true(link_rtt(&l, LINK_PROVIDER, LINK_DATA_OWNER) > 0.00899);
	assert_true(link_online(&l, 2, 10000000, 0) > 1.0199 && link_online(&l, 2, 10000000, 0) < 1.0201);
}

static void test_bad_links(void **state)
{
	static const struct {
		const char *text, *says;
	} bad[] = {
	    {"x: { rtt_ms = 1; };", ":1: x: a link needs rtt_ms and mbit"},
	    {"x = 5;", "a link needs"},
	    {"x: { rtt_ms = 1; mbit = 0; };", "mbit: not a number from 0.001"},
	    {"x: { rtt_ms = \"1\"; mbit = 1; };", "rtt_ms: not a number"},
	    {"x: { rtt_ms = -1; mbit = 1; };", "rtt_ms: not a number"},
	    {"x: { rtt_ms = 1; mbit = 1;\n los_percent = 1; };", ":2: los_percent: there are"},
	    {"x: { rtt_ms = 1; mbit = 1; loss_percent = 51; };", "loss_percent: not a number from 0 to 50"},
	    {"x: { rtt_ms = 1; mbit = 1; alice_to_bob: { mbit = 1; }; };", "alice_to_bob: a part is"},
	    {"x: { rtt_ms = 1; mbit = 1; provider_to_provider: { mbit = 1; }; };", "a part is"},
	    {"x: { rtt_ms = 1; mbit = 1; data_owner_to_provider: { rtt_ms = 1; }; };", "of one direction"},
	    {"x: { rtt_ms = 1; mbit = ", "syntax error"},
	};
	struct link l;
	struct err e;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(find_in(&l, "x", bad[i].text, &e), -1);
		assert_int_equal(e.code, ERR_INPUT);
		assert_non_null(strstr(e.text, bad[i].says));
	}
}

/* ---- real models ---- */

#define MODEL "test/models/digits_mlp.onnx"
#define IMAGES "test/images/digits-idx3-ubyte"
#define LABELS "test/images/digits-labels-idx1-ubyte"

static struct json_object *parse(const char *text)
{
	struct json_object *o = json_tokener_parse(text);

	if (!o)
		fail_msg("no JSON: %.200s", text);
	return o;
}

static struct json_object *at(struct json_object *o, const char *path)
{
	struct json_object *found = NULL;

	if (json_pointer_get(o, path, &found))
		fail_msg("there is no %s", path);
	return found;
}

static void test_verify(void **state)
{
	char out[4096], text[512];
	struct json_object *o;

	assert_int_equal(run(out, sizeof(out), text,
			     "verify --json " MODEL " --images " IMAGES " --labels " LABELS
			     " --limit 30 --offset 5"),
			 0);
	o = parse(out);
	assert_int_equal(json_object_get_int(at(o, "/images")), 30);
	assert_int_equal(json_object_get_int(at(o, "/fixed_point_differences")), 0);
	assert_true(json_object_get_double(at(o, "/label_agreement")) >= 0.96);
	assert_true(json_object_get_double(at(o, "/accuracy")) >= 0.9);
	assert_string_equal(json_object_get_string(at(o, "/personality")), "smpc");
	at(o, "/max_abs_error");
	at(o, "/mean_abs_error");
	at(o, "/float_accuracy");
	at(o, "/overflow_bits_spare");
	at(o, "/seconds");
	json_object_put(o);
	/* so few bits that labels go wrong: exit 1 */
	assert_int_equal(run(NULL, 0, text,
			     "verify " MODEL " --images " IMAGES
			     " --weight-bits 2 --activation-bits 1 --min-agreement 1"),
			 ERR_RESULT);
	assert_non_null(strstr(text, "label agreement"));
}

static void test_plan(void **state)
{
	char a[65536], b[65536];
	struct json_object *latency, *bandwidth, *automatic;

	assert_int_equal(run(a, sizeof(a), NULL, "plan " MODEL " --json --link wan"), 0);
	latency = parse(a);
	assert_int_equal(run(b, sizeof(b), NULL, "plan " MODEL " --json --link mobile --optimise bandwidth"),
			 0);
	bandwidth = parse(b);
	assert_int_equal(json_object_get_int(at(latency, "/round_trips")), 3);
	assert_int_equal(json_object_get_int(at(bandwidth, "/round_trips")), 5);
	assert_true(json_object_get_int(at(bandwidth, "/bytes/offline/provider")) <
		    json_object_get_int(at(latency, "/bytes/offline/provider")));
	assert_true(json_object_get_double(at(latency, "/link/online")) > 0.12);
	assert_string_equal(json_object_get_string(at(latency, "/mode")), "latency"); /* the link decides */
	assert_true(json_object_get_int(at(latency, "/link/batch")) > 1);
	assert_true(json_object_get_double(at(latency, "/link/images_per_second")) >
		    3 / json_object_get_double(at(latency, "/link/online")));
	assert_true(json_object_get_double(at(latency, "/link/bandwidth/online")) >
		    json_object_get_double(at(latency, "/link/latency/online")));
	json_object_put(latency);
	/* auto takes what is sooner: few round trips where they are dear, few bytes where those are */
	for (int i = 0; i < 2; i++) {
		assert_int_equal(run(a, sizeof(a), NULL, "plan " MODEL " --json --optimise auto --link %s",
				     i ? "wan" : "mobile"),
				 0);
		automatic = parse(a);
		assert_int_equal(run(b, sizeof(b), NULL, "plan " MODEL " --json --optimise %s --link %s",
				     strcmp(json_object_get_string(at(automatic, "/mode")), "latency")
					 ? "latency"
					 : "bandwidth",
				     i ? "wan" : "mobile"),
				 0);
		json_object_put(bandwidth);
		bandwidth = parse(b);
		assert_true(json_object_get_double(at(automatic, "/link/online")) +
				json_object_get_double(at(automatic, "/link/offline")) <=
			    json_object_get_double(at(bandwidth, "/link/online")) +
				json_object_get_double(at(bandwidth, "/link/offline")));
		json_object_put(automatic);
	}
	json_object_put(bandwidth);
	assert_int_equal(run(a, sizeof(a), NULL, "plan " MODEL), 0);
	assert_non_null(strstr(a, "provider → model owner"));
	assert_int_equal(run(a, sizeof(a), NULL, "plan " MODEL " --link wan"), 0);
	assert_non_null(strstr(a, "On the link wan (40 ms, 400 Mbit/s)"));
	assert_non_null(strstr(a, "IMAGES/S"));
}

static void test_model_check(void **state)
{
	char out[16384], text[512];
	struct json_object *o;

	assert_int_equal(run(out, sizeof(out), NULL, "model check " MODEL " --json"), 0);
	o = parse(out);
	assert_true(json_object_get_boolean(at(o, "/ok")));
	assert_true(json_object_array_length(at(o, "/nodes")) >= 3);
	json_object_put(o);
	assert_int_equal(run(out, sizeof(out), NULL, "model check " MODEL), 0);
	assert_non_null(strstr(out, "1×28×28"));
	assert_int_equal(run(NULL, 0, text, "model check " IMAGES), ERR_INPUT);
	assert_int_equal(run(NULL, 0, text, "model check /nonexistent.onnx"), ERR_INPUT);
	assert_int_equal(run(NULL, 0, text, "plan " MODEL " --mean 1,2"), ERR_USAGE);
	assert_int_equal(run(NULL, 0, text, "plan " MODEL " --std 0"), ERR_USAGE);
}

/* ---- samples ---- */

static void expect_samples(const char *labels, const char *logits, uint64_t offset, int code,
			   const char *word)
{
	struct samples_from from = {IMAGES, labels, logits, offset, 10, {{1, 28, 28}, NN_RESIZE_NONE, 0}, 10};
	struct samples s;
	struct err e = {0};

	assert_int_equal(samples_load(&s, &from, &e) ? (int)e.code : 0, code);
	if (code && !strstr(e.text, word))
		fail_msg("%s", e.text);
	if (!code)
		samples_free(&s);
}

static void put(const char *path, const void *bytes, size_t n)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, n, f), n);
	fclose(f);
}

static void test_samples(void **state)
{
	char path[] = "/tmp/obscura-labels-XXXXXX";

	close(mkstemp(path));
	expect_samples(LABELS, NULL, 0, 0, "");
	expect_samples(NULL, NULL, 1000000, ERR_INPUT, "--offset");
	put(path, "\0\0\10\1\0\0\0\3abc", 11);
	expect_samples(path, NULL, 0, ERR_INPUT, "3 labels for");
	put(path, "1\n2\n3\n4\n5\n6\n7\n8\n9\n0\n", 20);
	expect_samples(path, NULL, 0, 0, "");
	expect_samples(path, NULL, 1, ERR_INPUT, "no label for");
	put(path, "1\n2\nx\n", 6);
	expect_samples(path, NULL, 0, ERR_INPUT, "line 3");
	put(path, "1\n2\n10\n", 7);
	expect_samples(path, NULL, 0, ERR_INPUT, "the model has 10 classes");
	put(path, "digits-idx3-ubyte[0] 3\nelse.png 4\n", 34);
	expect_samples(path, NULL, 0, ERR_INPUT, "no label for");
	expect_samples(NULL, IMAGES, 0, ERR_INPUT, "NPY");
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_flag),	   cmocka_unit_test(test_every_option),
	    cmocka_unit_test(test_file_and_flags), cmocka_unit_test(test_usage),
	    cmocka_unit_test(test_flags),	   cmocka_unit_test(test_normalisation),
	    cmocka_unit_test(test_nobody_there),   cmocka_unit_test(test_links),
	    cmocka_unit_test(test_own_links),	   cmocka_unit_test(test_bad_links),
	    cmocka_unit_test(test_verify),	   cmocka_unit_test(test_plan),
	    cmocka_unit_test(test_model_check),	   cmocka_unit_test(test_samples),
	};

	setlocale(LC_CTYPE, "C.UTF-8");
	return sodium_init() < 0 || cmocka_run_group_tests(tests, NULL, NULL);
}
