/* SPDX-License-Identifier: Apache-2.0 */
/* Every row of options.def round-trips; every mistake is named with its place and a remedy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/config_table.h"

static const char all_roles[] = "DMCL";

static char *print(char role, const struct config *c)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	if (c)
		config_dump(c, f);
	else
		config_sample(role, f);
	fclose(f);
	return text;
}

/* "#name = value;" becomes "name = value;": what a user does to a sample. */
static void uncomment(char *text)
{
	char *out = text;

	for (char *in = text; *in; in++)
		if (!(*in == '#' && in[1] != ' ' && (in == text || in[-1] == '\n')))
			*out++ = *in;
	*out = 0;
}

/* The sample with every option switched on says the same as the defaults; so does a dump. */
static void test_round_trip(void **state)
{
	for (const char *role = all_roles; *role; role++) {
		struct config a, b;
		struct err e = {0};
		char *sample = print(*role, NULL), *dump, *again;
		size_t lines = 0;

		uncomment(sample);
		assert_int_equal(config_defaults(&a, *role, &e), 0);
		assert_int_equal(config_defaults(&b, *role, &e), 0);
		if (config_text(&b, "sample", sample, &e))
			fail_msg("%c: %s", *role, e.text);
		assert_int_equal(config_check(&b, &e), 0);
		dump = print(*role, &b);
		assert_non_null(strstr(dump, "# sample:"));
		assert_null(strstr(dump, "# default"));
		for (char *p = dump; *p; p++)
			lines += *p == '\n';
		for (size_t i = 0; i < option_count; i++)
			lines -= strchr(option_rows[i].roles, *role) != NULL;
		assert_int_equal(lines, 0);
		if (config_text(&a, "dump", dump, &e))
			fail_msg("%c: %s", *role, e.text);
		again = print(*role, &a);
		for (char *p = again, *q = dump; *p && *q; p = strchr(p, '\n') + 1, q = strchr(q, '\n') + 1)
			assert_memory_equal(p, q, strcspn(p, "#"));
		free(sample);
		free(dump);
		free(again);
		config_free(&a);
		config_free(&b);
	}
}

static void test_role_defaults(void **state)
{
	struct config c;
	struct err e = {0};

	assert_int_equal(config_defaults(&c, 'M', &e), 0);
	assert_string_equal(c.listen, "127.0.0.1:7402");
	assert_string_equal(c.key, "/etc/obscura/pki/model-owner.key");
	config_free(&c);
	assert_int_equal(config_defaults(&c, 'C', &e), 0);
	assert_string_equal(c.listen, "127.0.0.1:7403");
	assert_string_equal(c.certificate, "/etc/obscura/pki/provider.pem");
	config_free(&c);
	assert_int_equal(config_defaults(&c, 'x', &e), -1);
}

static void test_values(void **state)
{
	struct config c;
	struct err e = {0};

	assert_int_equal(config_defaults(&c, 'M', &e), 0);
	assert_int_equal(
	    config_text(&c, "a.conf",
			"models = [\"x.onnx\", \"y.onnx\"];\nlanes = 7; # spare\nlisten = \"[::1]:0\";", &e),
	    0);
	assert_int_equal(c.models.n, 2);
	assert_string_equal(c.models.items[1], "y.onnx");
	assert_int_equal(c.lanes, 7);
	assert_string_equal(c.origin.lanes, "a.conf:2");
	assert_string_equal(c.origin.threads, "default");
	assert_int_equal(config_flag(&c, "--weight-bits=14", &e), 0);
	assert_int_equal(config_flag(&c, "--models=p,,q,r", &e), 0);
	assert_int_equal(c.weight_bits, 14);
	assert_string_equal(c.origin.weight_bits, "--weight-bits");
	assert_int_equal(c.models.n, 3);
	assert_int_equal(config_text(&c, "b.conf", "models = \"one.onnx\";", &e), 0);
	assert_int_equal(c.models.n, 1);
	assert_int_equal(config_check(&c, &e), 0);
	config_free(&c);
}

/* Text, and what the message must contain. */
static void test_bad_files(void **state)
{
	static const char *const cases[][3] = {
	    {"lanes = 4;\nlaness = 4;", "f:2: laness", "did you mean lanes"},
	    {"zzzzzzzzzzzzz = 1;", "f:1: zzzzzzzzzzzzz", "--help"},
	    {"pool_low = 3;", "f:1: pool_low", "remove it"},
	    {"lanes = \"4\";", "f:1: lanes", "whole number"},
	    {"lanes = -4;", "f:1: lanes", "whole number"},
	    {"lanes = 4.5;", "f:1: lanes", "whole number"},
	    {"lanes = { a = 1; };", "f:1: lanes", "whole number"},
	    {"models = [1, 2];", "f:1: models", "list of strings"},
	    {"models = 3;", "f:1: models", "list of strings"},
	    {"listen = 3;", "f:1: listen", "string in quotes"},
	    {"lanes = 4;\nlanes = 5;", "f:2", "duplicate"},
	    {"lanes = 4\n\n} ;", "f:3", "syntax error"},
	    {"\n @include \"/etc/passwd\"\n", "f:2", "not supported"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct config c;
		struct err e = {0};

		assert_int_equal(config_defaults(&c, 'M', &e), 0);
		assert_int_equal(config_text(&c, "f", cases[i][0], &e), -1);
		assert_int_equal(e.code, ERR_INPUT);
		if (!strstr(e.text, cases[i][1]) || !strstr(e.text, cases[i][2]))
			fail_msg("case %zu says: %s", i, e.text);
		config_free(&c);
	}
}

/* Loopback in every spelling, a name, or anything with a token. */
static void test_http_listen(void **state)
{
	static const char *const fine[] = {"--http-listen=127.0.0.1:0", "--http-listen=127.3.2.1:80",
					   "--http-listen=[::1]:80", "--http-listen=somewhere:80",
					   "--http-listen="};
	struct config c;
	struct err e = {0};

	assert_int_equal(config_defaults(&c, 'D', &e), 0);
	for (size_t i = 0; i < sizeof(fine) / sizeof(*fine); i++) {
		assert_int_equal(config_flag(&c, fine[i], &e), 0);
		assert_int_equal(config_check(&c, &e), 0);
	}
	assert_int_equal(config_flag(&c, "--http-listen=[2001:db8::1]:80", &e), 0);
	assert_int_equal(config_check(&c, &e), -1);
	assert_int_equal(config_flag(&c, "--http-token-file=/some/file", &e), 0);
	assert_int_equal(config_check(&c, &e), 0);
	config_free(&c);
}

static void test_check(void **state)
{
	static const char *const cases[][2] = {
	    {"threads = 0;", "threads: 0 is outside 1 to 1024"},
	    {"max_batch = 4097;", "outside"},
	    {"provider = \"host\";", "HOST:PORT"},
	    {"provider = \"host:0\";", "1 to 65535"},
	    {"provider = \"host:65536\";", "1 to 65535"},
	    {"provider = \"::1:80\";", "[ADDRESS]:PORT"},
	    {"provider = \":80\";", "HOST:PORT"},
	    {"provider = \"h:8 \";", "1 to 65535"},
	    {"optimise = \"latenc\";", "none of latency|bandwidth|auto"},
	    {"optimise = \"\";", "none of"},
	    {"log_level = \"info|debug\";", "none of"},
	    {"pool_low = 33;", "pool_high = 32"},
	    {"http_listen = \"0.0.0.0:80\";", "f:1: http_listen: 0.0.0.0:80 can be reached"},
	    {"http_listen = \"[::]:80\";", "http_token_file"},
	    {"http_listen = \"nowhere\";", "HOST:PORT"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct config c;
		struct err e = {0};

		assert_int_equal(config_defaults(&c, 'D', &e), 0);
		assert_int_equal(config_check(&c, &e), 0);
		assert_int_equal(config_text(&c, "f", cases[i][0], &e), 0);
		assert_int_equal(config_check(&c, &e), -1);
		if (strncmp(e.text, "f:1: ", 5) || !strstr(e.text, cases[i][1]))
			fail_msg("case %zu says: %s", i, e.text);
		config_free(&c);
	}
}

/* A model owner's: words of a list, and what is no closed list. */
static void test_words(void **state)
{
	struct config c;
	struct err e = {0};

	assert_int_equal(config_defaults(&c, 'M', &e), 0);
	assert_int_equal(
	    config_text(&c, "f",
			"personalities = [\"smpc\", \"clear\"]; congestion = \"bbr\"; models = [\"x\"];", &e),
	    0);
	assert_int_equal(config_check(&c, &e), 0);
	assert_int_equal(config_text(&c, "f", "personalities = [\"smpc\", \"hee\"];", &e), 0);
	assert_int_equal(config_check(&c, &e), -1);
	assert_string_equal(e.text, "f:1: personalities: \"hee\" is none of smpc,he,clear");
	assert_int_equal(e.code, ERR_INPUT);
	config_free(&c);
}

/* What the command line says wrongly is wrong usage, and its name stands there once. */
static void test_check_flags(void **state)
{
	static const char *const cases[][2] = {
	    {"--lanes=0", "--lanes: 0 is outside 1 to 64"},
	    {"--max_batch=5000", "--max-batch: 5000 is outside 1 to 4096"},
	    {"--listen=here", "--listen: \"here\" is no address; write it as HOST:PORT"},
	    {"--personalities=he,", NULL},
	    {"--personalities=enclave", "--personalities: \"enclave\" is none of smpc,he,clear"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct config c;
		struct err e = {0};

		assert_int_equal(config_defaults(&c, 'M', &e), 0);
		assert_int_equal(config_flag(&c, cases[i][0], &e), 0);
		assert_int_equal(config_check(&c, &e), cases[i][1] ? -1 : 0);
		if (cases[i][1]) {
			assert_string_equal(e.text, cases[i][1]);
			assert_int_equal(e.code, ERR_USAGE);
		}
		config_free(&c);
	}
}

static void test_bad_flags(void **state)
{
	static const char *const flags[] = {"--lanes",
					    "--lanes=",
					    "--lanes=x",
					    "--lane",
					    "--nothing-like-it=1",
					    "--pool-low=1",
					    "--lanes=18446744073709551616",
					    "",
					    "--",
					    "="};
	struct config c;

	assert_int_equal(config_defaults(&c, 'M', NULL), 0);
	for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++) {
		struct err e = {0};

		assert_int_equal(config_flag(&c, flags[i], &e), -1);
		assert_int_equal(e.code, ERR_USAGE);
	}
	config_free(&c);
}

static void test_files(void **state)
{
	char path[] = "/tmp/obscura-config-XXXXXX";
	int fd = mkstemp(path);
	struct config c;
	struct err e = {0};

	assert_int_equal(config_defaults(&c, 'D', &e), 0);
	assert_int_equal(write(fd, "lanes = 9;\n", 11), 11);
	assert_int_equal(config_file(&c, path, &e), 0);
	assert_int_equal(c.lanes, 9);
	assert_int_equal(write(fd, "\0", 1), 1);
	assert_int_equal(config_file(&c, path, &e), -1);
	assert_non_null(strstr(e.text, "binary"));
	close(fd);
	unlink(path);
	e = (struct err){0};
	assert_int_equal(config_file(&c, path, &e), -1);
	assert_int_equal(e.code, ERR_INPUT);
	assert_non_null(strstr(e.text, "No such file"));
	config_free(&c);
}

/* What may change while a role runs changes; the rest keeps its value and is named. */
static void test_adopt(void **state)
{
	struct config c, next;
	char kept[64];

	assert_int_equal(config_defaults(&c, 'M', NULL), 0);
	assert_int_equal(config_defaults(&next, 'M', NULL), 0);
	assert_int_equal(
	    config_text(&next, "n", "lanes = 7;\nmodels = [\"a\"];\nlisten = \"h:1\"; threads = 9;", NULL),
	    0);
	assert_int_equal(config_adopt(&c, &next, kept, sizeof(kept)), 2);
	assert_string_equal(kept, "listen, threads");
	assert_int_equal(c.lanes, 7);
	assert_string_equal(c.origin.lanes, "n:1");
	assert_string_equal(c.models.items[0], "a");
	assert_string_equal(c.listen, "127.0.0.1:7402");
	assert_int_equal(c.threads, 2);
	assert_int_equal(next.lanes, 4);
	assert_int_equal(config_adopt(&c, &next, kept, 8), 2); /* cut, not overrun */
	assert_int_equal(strlen(kept), 7);
	assert_int_equal(c.lanes, 4);
	config_free(&c);
	config_free(&next);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_round_trip), cmocka_unit_test(test_role_defaults),
	    cmocka_unit_test(test_values),     cmocka_unit_test(test_bad_files),
	    cmocka_unit_test(test_check),      cmocka_unit_test(test_http_listen),
	    cmocka_unit_test(test_words),      cmocka_unit_test(test_check_flags),
	    cmocka_unit_test(test_bad_flags),  cmocka_unit_test(test_files),
	    cmocka_unit_test(test_adopt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
