/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines: levels, forms, fields, and that what strangers wrote can neither forge a line nor break JSON. */
#include "test/test.h"

#include <json-c/json.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/log.h"

static char text[8192];

/* What was written to standard error since begin(). */
static FILE *file;
static int saved;

static void begin(void)
{
	fflush(stderr);
	file = tmpfile();
	saved = dup(2);
	assert_true(file && saved >= 0 && dup2(fileno(file), 2) == 2);
}

static const char *end(void)
{
	size_t n;

	fflush(stderr);
	dup2(saved, 2);
	close(saved);
	rewind(file);
	n = fread(text, 1, sizeof(text) - 1, file);
	text[n] = 0;
	fclose(file);
	return text;
}

static size_t lines(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += *s == '\n';
	return n;
}

static void test_levels(void **state)
{
	log_open("warning", "tester");
	log_format("text");
	begin();
	log_line(LOG_INFO, "not this");
	log_peer(LOG_DEBUG, "p", "nor this");
	log_line(LOG_WARNING, "but %d", 7);
	end();
	assert_int_equal(lines(text), 1);
	assert_non_null(strstr(text, "Z warning tester: but 7\n"));
}

static void test_text(void **state)
{
	struct err e = {.code = ERR_REACH, .peer = "provider 10.0.0.1:7403", .text = "silent for 2 s"};

	log_open("debug", "tester");
	log_format("auto"); /* no journal here */
	begin();
	log_err(LOG_WARNING, "connection lost", &e);
	log_peer(LOG_INFO, "hospital", "connected");
	log_line(LOG_INFO, "two\nlines \x1b[31m and \x7f bad \xff\xc0\x80 fine é");
	end();
	assert_int_equal(lines(text), 3);
	assert_non_null(
	    strstr(text, " warning tester: connection lost: provider 10.0.0.1:7403: silent for 2 s\n"));
	assert_non_null(strstr(text, " info tester: hospital: connected\n"));
	assert_non_null(strstr(text, "two?lines ?[31m and ? bad ??? fine é\n"));
}

static struct json_object *parsed(const char *line)
{
	struct json_tokener *t = json_tokener_new();
	struct json_object *o;

	json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	o = json_tokener_parse_ex(t, line, (int)strcspn(line, "\n"));
	if (!o)
		fail_msg("no JSON: %s", line);
	json_tokener_free(t);
	return o;
}

static void expect_field(struct json_object *o, const char *name, const char *wanted)
{
	struct json_object *value;

	assert_int_equal(json_object_object_get_ex(o, name, &value), wanted != NULL);
	if (wanted)
		assert_string_equal(json_object_get_string(value), wanted);
}

static void test_json(void **state)
{
	struct err e = {
	    .code = ERR_PEER, .peer = "model-owner \"x\"", .text = "sent \\ and \"quotes\"\t\xed\xa0\x80"};
	struct json_object *o;

	log_open("debug", "tester");
	log_format("json");
	begin();
	log_err(LOG_ERR, "a session failed", &e);
	log_line(LOG_DEBUG, "plain");
	end();
	assert_int_equal(lines(text), 2);
	o = parsed(text);
	expect_field(o, "level", "error");
	expect_field(o, "role", "tester");
	expect_field(o, "peer", "model-owner \"x\"");
	expect_field(o, "error", "PEER");
	expect_field(o, "message", "a session failed: model-owner \"x\": sent \\ and \"quotes\"????");
	json_object_put(o);
	o = parsed(strchr(text, '\n') + 1);
	expect_field(o, "message", "plain");
	expect_field(o, "peer", NULL);
	expect_field(o, "error", NULL);
	json_object_put(o);
}

/* The longest of everything, quotes only. */
static void test_long(void **state)
{
	struct err e = {.code = ERR_PEER};
	char most[3000];

	memset(most, '"', sizeof(most) - 1);
	most[sizeof(most) - 1] = 0;
	memset(e.peer, '\\', sizeof(e.peer) - 1);
	memset(e.text, '"', sizeof(e.text) - 1);
	for (int json = 0; json < 2; json++) {
		log_format(json ? "json" : "text");
		begin();
		log_line(LOG_ERR, "%s", most);
		log_peer(LOG_ERR, most, "%s", most);
		log_err(LOG_ERR, most, &e);
		end();
		assert_int_equal(lines(text), 3);
		if (json)
			json_object_put(parsed(text));
	}
	log_format("text");
}

/* ---- the journal: a socket where journald has its own, in a namespace of our own ---- */

static int listen_as_journal(void)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/socket"};
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", "/run", "tmpfs", 0, NULL) || mkdir("/run/systemd", 0755) ||
	    mkdir("/run/systemd/journal", 0755) || bind(fd, (struct sockaddr *)&at, sizeof(at)))
		return -1;
	return fd;
}

static int has_line(const char *said, const char *line)
{
	size_t n = strlen(line);

	for (const char *at = said; (at = strstr(at, line)); at++)
		if ((at == said || at[-1] == '\n') && at[n] == '\n')
			return 1;
	return 0;
}

/* 0: all fine, 77: this may not be tried here, else where it failed. */
static int speak_to_journal(void)
{
	struct err e = {.code = ERR_REACH, .peer = "provider x", .text = "silent"};
	char said[4096], stream[64];
	struct stat st;
	int fd = listen_as_journal();
	ssize_t n;

	if (fd < 0)
		return 77;
	if (fstat(2, &st))
		return 1;
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_open("info", "provider");
	log_format("auto");
	log_err(LOG_WARNING, "connection lost", &e);
	n = recv(fd, said, sizeof(said) - 1, MSG_DONTWAIT);
	if (n <= 0)
		return 2;
	said[n] = 0;
	if (!has_line(said, "MESSAGE=connection lost: provider x: silent") || !has_line(said, "PRIORITY=4") ||
	    !has_line(said, "OBSCURA_ROLE=provider") || !has_line(said, "OBSCURA_PEER=provider x") ||
	    !has_line(said, "OBSCURA_ERROR=REACH") || !has_line(said, "SYSLOG_IDENTIFIER=obscurad"))
		return 3;
	setenv("JOURNAL_STREAM", "1:1", 1); /* standard error is something else */
	log_format("auto");
	log_line(LOG_WARNING, "to standard error");
	return recv(fd, said, sizeof(said), MSG_DONTWAIT) < 0 ? 0 : 4;
}

static void test_journal(void **state)
{
#ifdef HAVE_SYSTEMD
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(speak_to_journal());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
#else
	skip();
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_levels), cmocka_unit_test(test_text),	   cmocka_unit_test(test_json),
	    cmocka_unit_test(test_long),   cmocka_unit_test(test_journal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
