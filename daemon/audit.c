/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <json-c/json.h>
#include <sodium.h>

#define TAIL_FIRST                                                                                           \
	((size_t)1 << 20) /* bytes of the file's end that are looked at first; then four times as many */
#define LINE_MAX_NESTING 4

struct audit {
	char *path; /* owns */
	int fd, empty, torn;
	uint64_t lines;
};

/* ---- writing ---- */

static void text_to(struct json_object *o, const char *key, const char *text)
{
	if (text)
		json_object_object_add(o, key, json_object_new_string(text));
}

static void bytes_to(struct json_object *o, const char *key, const uint8_t *bytes, size_t n)
{
	char hex[65];

	if (bytes)
		text_to(o, key, sodium_bin2hex(hex, sizeof(hex), bytes, n));
}

static void day_of(time_t now, char day[16])
{
	struct tm utc;

	gmtime_r(&now, &utc);
	strftime(day, 16, "%Y-%m-%d", &utc);
}

static struct json_object *line_new(time_t now, const char *event)
{
	struct json_object *o = json_object_new_object();
	char when[32];
	struct tm utc;

	gmtime_r(&now, &utc);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &utc);
	text_to(o, "time", when);
	text_to(o, "event", event);
	return o;
}

/* One write: O_APPEND keeps lines whole. After a write that came short the next line starts a new one. */
static int put(struct audit *a, struct json_object *o, struct err *e)
{
	const char *text =
	    json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	char *line = NULL;
	int n = text ? asprintf(&line, "%s%s\n", a->torn ? "\n" : "", text) : -1;
	ssize_t done = n < 0 ? -1 : write(a->fd, line, (size_t)n);
	int saved = n < 0 ? ENOMEM : done < 0 ? errno : ENOSPC;

	if (n >= 0)
		free(line);
	json_object_put(o);
	if (n >= 0 && done == n) {
		a->torn = 0;
		a->lines++;
		return 0;
	}
	a->torn |= done > 0;
	return err_set(e, ERR_ENV, "cannot write to the audit %s: %s", a->path, strerror(saved));
}

int audit_add(struct audit *a, const struct audit_row *row, time_t now, struct err *e)
{
	struct json_object *o = line_new(now, row->event);

	text_to(o, "peer", row->peer);
	if (row->account && row->peer && strcmp(row->account, row->peer) != 0)
		text_to(o, "account", row->account);
	text_to(o, "from", row->from);
	text_to(o, "with", row->with);
	text_to(o, "model", row->model);
	bytes_to(o, "certificate", row->certificate, 32);
	bytes_to(o, "session", row->session, 16);
	if (row->images) {
		json_object_object_add(o, "ticket", json_object_new_int64((int64_t)row->ticket));
		json_object_object_add(o, "images", json_object_new_int64((int64_t)row->images));
	}
	text_to(o, "why", row->why);
	return put(a, o, e);
}

int audit_add_sums(struct audit *a, const struct audit_sum *sums, size_t n, time_t now, struct err *e)
{
	struct json_object *o = line_new(now, "sums"), *list = json_object_new_array();
	char day[16];

	day_of(now, day);
	text_to(o, "day", day);
	for (size_t i = 0; i < n; i++) {
		struct json_object *one = json_object_new_object();

		text_to(one, "account", sums[i].account);
		text_to(one, "model", sums[i].model);
		json_object_object_add(one, "images", json_object_new_int64((int64_t)sums[i].images));
		json_object_array_add(list, one);
	}
	json_object_object_add(o, "sums", list);
	return put(a, o, e);
}

/* ---- the file ---- */

static int ends_whole(int fd, off_t size)
{
	char last = 0;

	return !size || (pread(fd, &last, 1, size - 1) == 1 && last == '\n');
}

int audit_open(struct audit **audit, const char *path, struct err *e)
{
	int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
	struct audit *a = calloc(1, sizeof(*a));
	struct stat st;

	*audit = NULL;
	if (a)
		a->path = strdup(path);
	if (fd < 0 || fstat(fd, &st)) {
		err_set(e, ERR_ENV,
			"cannot open the audit %s: %s; --audit=FILE names a file that this role can write",
			path, strerror(errno));
	} else if (!S_ISREG(st.st_mode)) {
		err_set(e, ERR_INPUT, "the audit %s is no plain file", path);
	} else if (!a || !a->path) {
		err_set(e, ERR_ENV, "out of memory for the audit");
	} else {
		a->fd = fd;
		a->empty = !st.st_size;
		a->torn = !ends_whole(fd, st.st_size);
		*audit = a;
		return 0;
	}
	if (fd >= 0)
		close(fd);
	if (a)
		free(a->path);
	free(a);
	return -1;
}

uint64_t audit_lines(const struct audit *a)
{
	return a->lines;
}

int audit_was_empty(const struct audit *a)
{
	return a->empty;
}

void audit_close(struct audit *a)
{
	if (!a)
		return;
	close(a->fd);
	free(a->path);
	free(a);
}

/* ---- reading back ---- */

struct reading {
	const char *day;
	audit_each each;
	void *ctx;
	uint64_t *bad;
};

static const char *text_of(struct json_object *o, const char *key)
{
	struct json_object *s = json_object_object_get(o, key);

	return json_object_is_type(s, json_type_string) ? json_object_get_string(s) : NULL;
}

static uint64_t count_of(struct json_object *o, const char *key)
{
	struct json_object *s = json_object_object_get(o, key);
	int64_t n = json_object_is_type(s, json_type_int) ? json_object_get_int64(s) : 0;

	return n > 0 ? (uint64_t)n : 0;
}

static int is_text(const char *a, const char *b)
{
	return a && !strcmp(a, b);
}

/* An object with account (or peer), model and images. */
static int tell_part(const struct reading *r, struct json_object *o, struct err *e)
{
	const char *account = text_of(o, "account");
	struct audit_sum part = {.account = account ? account : text_of(o, "peer"),
				 .model = text_of(o, "model"),
				 .images = count_of(o, "images")};

	if (part.account && part.model && part.images)
		return r->each(r->ctx, &part, e);
	++*r->bad;
	return 0;
}

static int tell_line(const struct reading *r, struct json_object *o, struct err *e)
{
	const char *when = text_of(o, "time"), *event = text_of(o, "event");
	struct json_object *sums = json_object_object_get(o, "sums");
	int failed = 0;

	if (!when || strncmp(when, r->day, strlen(r->day)) != 0)
		return 0;
	if (is_text(event, "inference") || is_text(event, "tickets"))
		return tell_part(r, o, e);
	if (!is_text(event, "sums") || !json_object_is_type(sums, json_type_array))
		return 0;
	for (size_t i = 0; !failed && i < json_object_array_length(sums); i++)
		failed = tell_part(r, json_object_array_get_idx(sums, i), e);
	return failed;
}

/* text: whole lines, zero-terminated, changed here. */
static int read_lines(const struct reading *r, char *text, struct err *e)
{
	struct json_tokener *tok = json_tokener_new_ex(LINE_MAX_NESTING);
	char *save = NULL;
	int failed = tok ? 0 : err_set(e, ERR_ENV, "out of memory for the audit");

	for (char *line = tok ? strtok_r(text, "\n", &save) : NULL; line && !failed;
	     line = strtok_r(NULL, "\n", &save)) {
		struct json_object *o;

		json_tokener_reset(tok);
		o = json_tokener_parse_ex(tok, line, (int)strnlen(line, 1 << 30) + 1);
		if (json_object_is_type(o, json_type_object))
			failed = tell_line(r, o, e);
		else
			++*r->bad;
		json_object_put(o);
	}
	json_tokener_free(tok);
	return failed;
}

/* Where today's count starts in the tail: its last line of sums, or its first line if that is not of today.
 * NULL: further back. */
static char *start_of(char *tail, const char *day)
{
	char sums[64], *last = NULL;

	snprintf(sums, sizeof(sums), "\"event\":\"sums\",\"day\":\"%s\"", day);
	for (char *at = tail; (at = strstr(at, sums)); at++)
		last = at;
	if (last) {
		while (last > tail && last[-1] != '\n')
			last--;
		return last;
	}
	return strncmp(tail, "{\"time\":\"", 9) == 0 && strncmp(tail + 9, day, strlen(day)) < 0 ? tail : NULL;
}

/* The last `want` bytes from a line's start on. Returns new. */
static char *read_tail(int fd, off_t size, size_t want)
{
	char *text = malloc(want + 1), *line;
	ssize_t n = text ? pread(fd, text, want, size - (off_t)want) : -1;

	if (n < 0) {
		free(text);
		return NULL;
	}
	text[n] = 0;
	for (ssize_t i = 0; i < n; i++) /* it is text, whatever somebody did to it */
		if (!text[i])
			text[i] = '?';
	if ((off_t)want == size)
		return text;
	line = strchr(text, '\n');
	line = line ? line + 1 : text + n;
	memmove(text, line, strlen(line) + 1);
	return text;
}

static int read_day(const struct reading *r, int fd, off_t size, const char *path, struct err *e)
{
	size_t want = (off_t)TAIL_FIRST < size ? TAIL_FIRST : (size_t)size;

	for (;;) {
		char *tail = read_tail(fd, size, want), *start;
		int failed;

		if (!tail)
			return err_set(e, ERR_ENV, "cannot read the audit %s: %s", path, strerror(errno));
		start = start_of(tail, r->day);
		if (!start && (off_t)want == size)
			start = tail;
		failed = start ? read_lines(r, start, e) : 0;
		free(tail);
		if (start)
			return failed;
		want = (off_t)(4 * want) < size ? 4 * want : (size_t)size;
	}
}

int audit_today(const char *path, time_t now, audit_each each, void *ctx, uint64_t *bad, struct err *e)
{
	char day[16];
	struct reading r = {.day = day, .each = each, .ctx = ctx, .bad = bad};
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), failed = 0;
	struct stat st;

	*bad = 0;
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || fstat(fd, &st)) {
		err_set(e, ERR_ENV, "cannot read the audit %s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	day_of(now, day);
	if (S_ISREG(st.st_mode) && st.st_size)
		failed = read_day(&r, fd, st.st_size, path, e);
	close(fd);
	return failed;
}
