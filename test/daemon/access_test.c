/* SPDX-License-Identifier: Apache-2.0 */
/* Rules, accounts, and the audit: who may what, how often; what is counted survives; what is wrong is refused
 * by line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/access_parts.h"
#include "daemon/audit.h"
#include "daemon/log.h"

static char dir[64], rules_path[96], audit_path[96];
static struct config config;
static const uint8_t session[16] = {0xab, 1}, certificate[32] = {0xcd, 2};

static int make_folder(void **state)
{
	log_open("error", "test");
	strcpy(dir, "/tmp/obscura-access-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(rules_path, sizeof(rules_path), "%s/rules", dir);
	snprintf(audit_path, sizeof(audit_path), "%s/audit", dir);
	config = (struct config){.access = rules_path, .audit = audit_path};
	return 0;
}

static int drop_folder(void **state)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}

static void put(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static struct access *open_access(enum frame_role self)
{
	struct access *a;
	struct err e = {0};

	if (access_new(&a, &config, self, &e))
		fail_msg("%s", e.text);
	return a;
}

/* n images of model for the certificate's names, at `second` of the day that it is; how many may be used. */
static uint32_t use(struct access *a, const char *names, const char *model, uint32_t n, unsigned second,
		    struct err *why)
{
	static uint64_t ticket;
	struct access_ask ask = {.who = {names, "data-owner (test)", certificate},
				 .model = model,
				 .reveal = REVEAL_LABEL,
				 .session = session,
				 .first = ticket++,
				 .n = n,
				 .whole = 1};
	struct access_clock clock = {(1000000 + (uint64_t)second) * 1000000, time(NULL)};

	*why = (struct err){0};
	return access_use(a, &ask, &clock, why);
}

static void test_rules_refused(void **state)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
	    {"", "has no rules"},
	    {"rules = ();", "has no rules"},
	    {"rules = ( { who = \"a\" } );\nmore = 1;", ":2: more: is unknown"},
	    {"rules = [ \"a\" ];", ":1: rules: is a list"},
	    {"rules = ( \"a\" );", "a rule is written"},
	    {"rules = (\n { models = \"m\"; } );", ":2: who: is missing"},
	    {"rules = ( { who = \"a\"; per_hour = 1; } );", "per_hour: is unknown"},
	    {"rules = ( { who = \"a\"; per_day = 0; } );", "per_day: needs a whole number"},
	    {"rules = ( { who = \"a\"; per_day = -5; } );", "per_day: needs a whole number"},
	    {"rules = ( { who = \"a\"; per_minute = 1.5; } );", "per_minute: needs a whole number"},
	    {"rules = ( { who = \"a\"; per_minute = \"5\"; } );", "per_minute: needs a whole number"},
	    {"rules = ( { who = \"a\"; reveal = \"logits\"; } );", "reveal: is \"label\" or \"any\""},
	    {"rules = ( { who = \"a\"; model_owner = \"m\"; } );", "only a provider"},
	    {"rules = ( { who = \"a b\"; } );", "is no name"},
	    {"rules = ( { who = \"a*\"; } );", "is no name"},
	    {"rules = ( { who = \"*a\"; } );", "is no name"},
	    {"rules = ( { who = \"*.\"; } );", "is no name"},
	    {"rules = ( { who = \"\"; } );", "is no name"},
	    {"rules = ( { who = 5; } );", "needs a name in quotes"},
	    {"rules = ( { who = []; } );", "empty list"},
	    {"rules = ( { who = \"a\"; models = \"*\"; } );", "is no model's name"},
	    {"rules = ( { who = \"a\"; who = \"b\"; } );", "duplicate"},
	    {"@include \"/etc/passwd\"\n", "@include"},
	    {"rules = (\n\n {", ":3: "},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct access_list list;
		struct err e = {0};

		assert_int_equal(access_list_text(&list, "FILE", rows[i].text, ROLE_M, &e), -1);
		assert_int_equal(e.code, ERR_INPUT);
		if (!strstr(e.text, "FILE") || !strstr(e.text, rows[i].says))
			fail_msg("\"%s\" says \"%s\", not \"%s\"", rows[i].text, e.text, rows[i].says);
		assert_int_equal(list.n, 0);
	}
}

static void test_names(void **state)
{
	static const struct {
		const char *pattern, *names, *fits;
	} rows[] = {
	    {"a.example", "a.example", "a.example"},
	    {"a.example", "A.Example\nb", "A.Example"},
	    {"b", "a\nb\nc", "b"},
	    {"*", "a\nb", "a"},
	    {"*.example", "x\na.example", "a.example"},
	    {"*.example", "example", NULL},
	    {"*.example", ".example", NULL},
	    {"*.example", "a.example.evil", NULL},
	    {"a.example", "a.example.evil", NULL},
	    {"a.example", "a.exampl", NULL},
	    {"10.0.0.1", "x\n10.0.0.1", "10.0.0.1"},
	    {"10.0.0.1", "x\n10.0.0.11", NULL},
	    {"*", "", NULL},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *item = (char *)(uintptr_t)rows[i].pattern;
		struct config_list list = {&item, 1};
		const char *pattern, *name;
		size_t n = 0;

		name = access_fits(&list, rows[i].names, &pattern, &n);
		if (!name != !rows[i].fits ||
		    (name && (n != strlen(rows[i].fits) || memcmp(name, rows[i].fits, n) != 0)))
			fail_msg("%s for %s: %.*s", rows[i].pattern, rows[i].names, (int)n,
				 name ? name : "nobody");
	}
}

static void test_first_rule_that_fits(void **state)
{
	struct access *a;
	struct err e;

	put(rules_path, "rules = ( { who = \"a.example\"; models = \"x\"; per_minute = 1; },\n"
			"{ who = \"*.example\"; models = [\"x\", \"y\"]; per_minute = 5; } );");
	a = open_access(ROLE_M);
	assert_int_equal(use(a, "a.example", "x", 1, 0, &e), 1);
	assert_int_equal(use(a, "a.example", "x", 1, 0, &e), 0);
	assert_int_equal(e.code, ERR_PEER);
	assert_non_null(strstr(e.text, "a.example may use 1 images a minute of model x"));
	assert_int_equal(use(a, "a.example", "z", 1, 0, &e), 0);
	assert_non_null(strstr(e.text, "a.example may not use model z"));
	assert_int_equal(use(a, "elsewhere", "x", 1, 0, &e), 0);
	assert_true(access_lists(a, "a.example", "y"));
	assert_false(access_lists(a, "a.example", "z"));
	assert_false(access_lists(a, "elsewhere", "x"));
	/* a pattern counts for each certificate's common name, a name for all certificates that carry it */
	assert_int_equal(use(a, "b.example", "x", 5, 0, &e), 5);
	assert_int_equal(use(a, "b.example", "y", 1, 0, &e), 0);
	assert_int_equal(use(a, "c.example", "x", 5, 0, &e), 5);
	assert_int_equal(use(a, "host-2\na.example", "x", 1, 0, &e), 0);
	assert_non_null(strstr(e.text, "a.example may use 1"));
	access_free(a);
}

static void test_minute(void **state)
{
	struct access *a;
	struct err e;

	put(rules_path, "rules = ( { who = \"*\"; per_minute = 10; } );");
	a = open_access(ROLE_M);
	assert_int_equal(use(a, "a", "x", 11, 0, &e), 0);
	assert_int_equal(use(a, "a", "x", 6, 0, &e), 6);
	assert_int_equal(use(a, "a", "y", 5, 30, &e), 0); /* all or nothing */
	assert_int_equal(use(a, "a", "y", 4, 30, &e), 4);
	assert_int_equal(use(a, "a", "x", 1, 59, &e), 0);
	assert_int_equal(use(a, "a", "x", 6, 60, &e), 6); /* the first six are a minute old */
	assert_int_equal(use(a, "a", "x", 1, 61, &e), 0);
	assert_int_equal(use(a, "a", "x", 10, 300, &e), 10);
	access_free(a);
}

/* A certificate that is written in another way has no second account. */
static void test_one_account(void **state)
{
	struct access *a;
	struct err e;

	put(rules_path, "rules = ( { who = \"h.example\"; per_minute = 10; per_day = 12; } );");
	a = open_access(ROLE_M);
	assert_int_equal(use(a, "h.example", "x", 10, 0, &e), 10);
	assert_int_equal(use(a, "H.Example", "x", 1, 1, &e), 0);
	assert_int_equal(use(a, "H.Example", "x", 2, 90, &e), 2);
	assert_int_equal(use(a, "h.EXAMPLE", "x", 1, 180, &e), 0);
	access_free(a);
	a = open_access(ROLE_M); /* read back */
	assert_int_equal(use(a, "h.EXAMPLE", "x", 1, 180, &e), 0);
	access_free(a);
}

static size_t count_in(const char *path, const char *word)
{
	size_t n = 0, room = 1 << 20;
	char *text = calloc(1, room + 1);
	FILE *f = fopen(path, "r");

	assert_non_null(f);
	assert_true(fread(text, 1, room, f) < room);
	fclose(f);
	for (const char *at = text; (at = strstr(at, word)); at++)
		n++;
	free(text);
	return n;
}

/* Somebody who is refused again and again does not fill the disk that others need for their inferences. */
static void test_many_refusals(void **state)
{
	struct access_status status;
	char long_name[4000];
	struct access *a;
	struct err e;

	memset(long_name, '\"', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = 0;
	put(rules_path, "rules = ( { who = \"a\"; } );");
	a = open_access(ROLE_M);
	for (unsigned i = 0; i < 5000; i++)
		assert_int_equal(use(a, "b", long_name, 1, 0, &e), 0);
	assert_int_equal(count_in(audit_path, "\"refused\""), 60);
	assert_int_equal(use(a, "a", "x", 3, 0, &e), 3);
	assert_int_equal(use(a, "b", "x", 1, 61, &e), 0);
	assert_int_equal(count_in(audit_path, "\"refused\""), 61);
	assert_int_equal(count_in(audit_path, "4940 refusals of this peer"), 1);
	access_status(a, &status);
	assert_int_equal(status.refused, 5001);
	access_free(a);
}

/* At the provider tickets are handed out as far as they go, for a pair of parties. */
static void test_provider(void **state)
{
	struct access_ask ask = {.who = {"a", "data-owner a", certificate},
				 .with = "m.example",
				 .with_from = "model-owner m",
				 .model = "x",
				 .session = session,
				 .n = 16};
	struct access_clock clock = {UINT64_C(5000000), time(NULL)};
	struct access *a;
	struct err e = {0};

	put(rules_path, "rules = ( { who = \"a\"; model_owner = \"m.example\"; per_minute = 20; } );");
	a = open_access(ROLE_C);
	assert_int_equal(access_open(a, &ask, &clock, &e), 0);
	assert_int_equal(access_use(a, &ask, &clock, &e), 16);
	assert_int_equal(e.code, 0);
	assert_int_equal(access_use(a, &ask, &clock, &e), 4);
	e = (struct err){0};
	assert_int_equal(access_use(a, &ask, &clock, &e), 0);
	assert_non_null(strstr(e.text, "20 tickets a minute"));
	ask.with = "other.example";
	e = (struct err){0};
	assert_int_equal(access_open(a, &ask, &clock, &e), -1);
	assert_non_null(strstr(e.text, "a may not use model x of model-owner m"));
	access_free(a);
}

static void test_labels_only(void **state)
{
	struct access_ask ask = {
	    .who = {"a", "data-owner a", certificate}, .model = "x", .reveal = REVEAL_LOGITS};
	struct access_clock clock = {1, time(NULL)};
	struct access *a;
	struct err e = {0};

	put(rules_path, "rules = ( { who = \"a\"; reveal = \"label\"; } );");
	a = open_access(ROLE_M);
	assert_int_equal(access_open(a, &ask, &clock, &e), -1);
	assert_non_null(strstr(e.text, "--reveal label"));
	ask.reveal = REVEAL_LABEL;
	e = (struct err){0};
	assert_int_equal(access_open(a, &ask, &clock, &e), 0);
	access_free(a);
}

/* The day's count comes back from the audit: after a line that was torn, after rotation, and not from
 * yesterday. */
static void test_day_survives(void **state)
{
	struct access_status status;
	char rotated[128];
	struct access *a;
	struct err e = {0};
	FILE *f;

	put(rules_path, "rules = ( { who = \"*\"; per_day = 10; } );");
	put(audit_path, "{\"time\":\"2001-01-01T00:00:00Z\",\"event\":\"inference\",\"peer\":\"a\",\"model\":"
			"\"x\",\"ticket\":0,\"images\":9}\n");
	a = open_access(ROLE_M);
	assert_int_equal(use(a, "a", "x", 4, 0, &e), 4);
	assert_int_equal(use(a, "a", "y", 3, 100, &e), 3);
	access_free(a);
	f = fopen(audit_path, "a");
	fputs("{\"time\":\"20", f); /* killed while it wrote */
	fclose(f);
	a = open_access(ROLE_M);
	assert_int_equal(use(a, "a", "x", 4, 0, &e), 0);
	assert_non_null(strstr(e.text, "10 images a day of model x, 7 are used (4 asked for)"));
	assert_int_equal(use(a, "a", "x", 1, 0, &e), 1);
	/* rotated: the new file starts with the sums */
	e = (struct err){0};
	snprintf(rotated, sizeof(rotated), "%s.1", audit_path);
	assert_int_equal(rename(audit_path, rotated), 0);
	assert_int_equal(access_reload(a, &config, &e), 0);
	assert_int_equal(use(a, "a", "y", 1, 0, &e), 1);
	access_status(a, &status);
	assert_int_equal(status.images, 2);
	assert_int_equal(status.refused, 1);
	assert_int_equal(status.rules, 1);
	access_free(a);
	a = open_access(ROLE_M);
	assert_int_equal(use(a, "a", "x", 2, 0, &e), 0);
	assert_non_null(strstr(e.text, "9 are used"));
	assert_int_equal(use(a, "b", "x", 10, 0, &e), 10);
	access_free(a);
}

struct total {
	uint64_t images;
};

static int add_up(void *ctx, const struct audit_sum *part, struct err *e)
{
	((struct total *)ctx)->images += part->images;
	return strcmp(part->account, "a") ? -1 : 0;
}

/* More lines than one look at the file's end takes, with sums in between: each image counts once. */
static void test_long_audit(void **state)
{
	struct total total = {0};
	struct err e = {0};
	struct access *a;
	uint64_t bad;

	put(rules_path, "rules = ( { who = \"*\"; } );");
	a = open_access(ROLE_M);
	for (unsigned i = 0; i < 9000; i++)
		assert_int_equal(use(a, "a", "x", 3, i, &e), 3);
	access_free(a);
	assert_int_equal(audit_today(audit_path, time(NULL), add_up, &total, &bad, &e), 0);
	assert_int_equal(total.images, 27000);
	assert_int_equal(bad, 0);
	assert_int_equal(audit_today(audit_path, time(NULL) + 86400, add_up, &total, &bad, &e), 0);
	assert_int_equal(total.images, 27000);
}

/* No sums: as many looks further back as it takes, to the first line of today and not beyond. */
static void test_audit_without_sums(void **state)
{
	struct audit_row row = {.event = "inference",
				.peer = "a",
				.model = "x",
				.session = session,
				.certificate = certificate,
				.images = 2};
	time_t now = time(NULL);
	struct total total = {0};
	struct err e = {0};
	struct audit *a;
	uint64_t bad;

	assert_int_equal(audit_open(&a, audit_path, &e), 0);
	assert_true(audit_was_empty(a));
	for (unsigned i = 0; i < 16000; i++)
		assert_int_equal(audit_add(a, &row, i < 1000 ? now - 86400 : now, &e), 0);
	assert_int_equal(audit_lines(a), 16000);
	audit_close(a);
	assert_int_equal(audit_today(audit_path, now, add_up, &total, &bad, &e), 0);
	assert_int_equal(total.images, 30000);
}

/* What cannot be recorded is not done; afterwards it goes on, on a line of its own. */
static void test_full_disk(void **state)
{
	struct rlimit before, small;
	struct total total = {0};
	struct access *a;
	struct err e = {0};
	struct stat st;
	uint64_t bad;

	put(rules_path, "rules = ( { who = \"*\"; } );");
	a = open_access(ROLE_M);
	assert_int_equal(use(a, "a", "x", 1, 0, &e), 1);
	assert_int_equal(stat(audit_path, &st), 0);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &before);
	small = before;
	small.rlim_cur = (rlim_t)st.st_size + 20; /* a write that comes short */
	setrlimit(RLIMIT_FSIZE, &small);
	assert_int_equal(use(a, "a", "x", 1, 0, &e), 0);
	assert_int_equal(e.code, ERR_PEER);
	assert_non_null(strstr(e.text, "cannot record"));
	assert_int_equal(use(a, "a", "x", 1, 0, &e), 0);
	setrlimit(RLIMIT_FSIZE, &before);
	assert_int_equal(use(a, "a", "x", 2, 0, &e), 2);
	access_free(a);
	e = (struct err){0};
	assert_int_equal(audit_today(audit_path, time(NULL), add_up, &total, &bad, &e), 0);
	assert_int_equal(total.images, 3);
	assert_int_equal(bad, 1); /* the piece */
}

static void test_reload_keeps_what_was(void **state)
{
	struct access *a;
	struct err e = {0};

	put(rules_path, "rules = ( { who = \"a\"; per_day = 5; } );");
	a = open_access(ROLE_M);
	put(rules_path, "rules = ( { who = \"b\"; per_dya = 5; } );");
	assert_int_equal(access_reload(a, &config, &e), -1);
	assert_non_null(strstr(e.text, "per_dya"));
	assert_int_equal(use(a, "a", "x", 5, 0, &e), 5);
	assert_int_equal(use(a, "b", "x", 1, 0, &e), 0);
	put(rules_path, "rules = ( { who = \"*\"; per_day = 6; } );");
	e = (struct err){0};
	assert_int_equal(access_reload(a, &config, &e), 0);
	assert_int_equal(use(a, "a", "x", 2, 0, &e), 0); /* what was counted is */
	assert_int_equal(use(a, "a", "x", 1, 0, &e), 1);
	access_free(a);
	config.audit = (char *)(uintptr_t) "";
	e = (struct err){0};
	assert_int_equal(access_new(&a, &config, ROLE_M, &e), -1);
	assert_non_null(strstr(e.text, "needs the option audit"));
	config.access = (char *)(uintptr_t) "";
	a = open_access(ROLE_M); /* no rules: everybody */
	assert_int_equal(use(a, "a", "x", 1000, 0, &e), 1000);
	access_free(a);
}

/* What the rules could not stop is refused, not promised. */
static void test_enclave_is_apart(void **state)
{
	struct err e = {0};

	put(rules_path, "rules = ( { who = \"*\"; } );");
	assert_int_equal(access_check(&config, ROLE_M, &e), 0);
	config.enclave_listen = (char *)(uintptr_t) "127.0.0.1:7404";
	assert_int_equal(access_check(&config, ROLE_M, &e), -1);
	assert_non_null(strstr(e.text, "not seen by audit"));
	config.audit = (char *)(uintptr_t) "";
	config.revoked = (char *)(uintptr_t) "list";
	e = (struct err){0};
	assert_int_equal(access_check(&config, ROLE_M, &e), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make_folder, drop_folder)
	const struct CMUnitTest tests[] = {
	    TEST(test_rules_refused),
	    TEST(test_names),
	    TEST(test_first_rule_that_fits),
	    TEST(test_minute),
	    TEST(test_one_account),
	    TEST(test_many_refusals),
	    TEST(test_provider),
	    TEST(test_labels_only),
	    TEST(test_day_survives),
	    TEST(test_long_audit),
	    TEST(test_audit_without_sums),
	    TEST(test_full_disk),
	    TEST(test_reload_keeps_what_was),
	    TEST(test_enclave_is_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
