/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/log.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "conf/text.h"

#ifdef HAVE_SYSTEMD
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>
#endif

#define TEXT_MAX 1024
#define FIELD_MAX 160
#define JOURNAL "/run/systemd/journal/socket"

static const struct {
	const char *name;
	int priority;
} levels[] = {{"error", LOG_ERR}, {"warning", LOG_WARNING}, {"info", LOG_INFO}, {"debug", LOG_DEBUG}};

enum form { FORM_TEXT, FORM_JSON, FORM_JOURNAL };

static int least = LOG_INFO;
static const char *who = "obscura";
static enum form form;

struct line {
	int priority;
	char text[TEXT_MAX], peer[FIELD_MAX]; /* peer: "" for none */
	const char *error;		      /* class; NULL: none */
};

void log_stdio(void)
{
	int fd = open("/dev/null", O_RDWR);

	while (fd >= 0 && fd <= STDERR_FILENO)
		fd = dup(fd);
	if (fd >= 0)
		close(fd);
}

void log_open(const char *level, const char *role)
{
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
		if (!strcmp(levels[i].name, level))
			least = levels[i].priority;
	who = role;
}

/* systemd says which file standard error is when it is the journal: "device:inode". */
static int stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && !fstat(STDERR_FILENO, &st) &&
	       st.st_dev == device && st.st_ino == inode;
}

void log_format(const char *format)
{
	form = FORM_TEXT;
	if (!strcmp(format, "json"))
		form = FORM_JSON;
#ifdef HAVE_SYSTEMD
	if (!strcmp(format, "journal") || (!strcmp(format, "auto") && stderr_is_journal()))
		form = access(JOURNAL, W_OK) ? FORM_TEXT : FORM_JOURNAL; /* sd_journal_sendv tells nobody */
#else
	(void)stderr_is_journal;
#endif
}

static const char *name_of(int priority)
{
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
		if (levels[i].priority >= priority)
			return levels[i].name;
	return "debug";
}

/* ---- forms ---- */

static void stamp(char *out, size_t bytes)
{
	struct timeval now;
	struct tm utc;
	size_t n;

	gettimeofday(&now, NULL);
	gmtime_r(&now.tv_sec, &utc);
	n = strftime(out, bytes, "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(out + n, bytes - n, ".%03dZ", (int)(now.tv_usec / 1000));
}

static size_t put_quoted(char *out, const char *name, const char *value)
{
	size_t at = (size_t)sprintf(out, ",\"%s\":\"", name);

	for (; *value; value++) {
		if (*value == '"' || *value == '\\')
			out[at++] = '\\';
		out[at++] = *value;
	}
	out[at++] = '"';
	return at;
}

static void write_json(const struct line *l)
{
	char out[2 * (TEXT_MAX + FIELD_MAX) + 300], when[40];
	size_t n;

	stamp(when, sizeof(when));
	n = (size_t)sprintf(out, "{\"time\":\"%s\",\"level\":\"%s\",\"role\":\"%s\"", when,
			    name_of(l->priority), who);
	n += put_quoted(out + n, "message", l->text);
	if (*l->peer)
		n += put_quoted(out + n, "peer", l->peer);
	if (l->error)
		n += put_quoted(out + n, "error", l->error);
	memcpy(out + n, "}\n", 3);
	fputs(out, stderr);
}

static void write_text(const struct line *l)
{
	char when[40];

	stamp(when, sizeof(when));
	fprintf(stderr, "%s %s %s: %s\n", when, name_of(l->priority), who, l->text);
}

#ifdef HAVE_SYSTEMD
static void write_journal(const struct line *l)
{
	char message[TEXT_MAX + 16], priority[16], role[64], peer[FIELD_MAX + 16], error[64];
	struct iovec fields[] = {
	    {message, (size_t)snprintf(message, sizeof(message), "MESSAGE=%s", l->text)},
	    {priority, (size_t)snprintf(priority, sizeof(priority), "PRIORITY=%d", l->priority)},
	    {role, (size_t)snprintf(role, sizeof(role), "OBSCURA_ROLE=%s", who)},
	    {"SYSLOG_IDENTIFIER=obscurad", sizeof("SYSLOG_IDENTIFIER=obscurad") - 1},
	    {NULL, 0},
	    {NULL, 0}};
	int n = 4;

	if (*l->peer)
		fields[n++] =
		    (struct iovec){peer, (size_t)snprintf(peer, sizeof(peer), "OBSCURA_PEER=%s", l->peer)};
	if (l->error)
		fields[n++] = (struct iovec){
		    error, (size_t)snprintf(error, sizeof(error), "OBSCURA_ERROR=%s", l->error)};
	if (sd_journal_sendv(fields, n) < 0)
		write_text(l); /* there is no journal after all */
}
#else
static void write_journal(const struct line *l)
{
	write_text(l);
}
#endif

static void write_line(struct line *l)
{
	static void (*const forms[])(const struct line *) = {write_text, write_json, write_journal};

	/* what strangers wrote must not forge lines or break JSON */
	text_clean(l->text);
	text_clean(l->peer);
	forms[form](l);
}

/* ---- lines ---- */

void log_line(int priority, const char *format, ...)
{
	struct line l = {.priority = priority};
	va_list ap;

	if (priority > least)
		return;
	va_start(ap, format);
	vsnprintf(l.text, sizeof(l.text), format, ap);
	va_end(ap);
	write_line(&l);
}

void log_peer(int priority, const char *peer, const char *format, ...)
{
	struct line l = {.priority = priority};
	va_list ap;
	int n;

	if (priority > least)
		return;
	n = snprintf(l.text, sizeof(l.text) / 2, "%s: ", peer);
	if (n >= (int)sizeof(l.text) / 2)
		n = sizeof(l.text) / 2 - 1;
	va_start(ap, format);
	vsnprintf(l.text + n, sizeof(l.text) - (size_t)n, format, ap);
	va_end(ap);
	snprintf(l.peer, sizeof(l.peer), "%s", peer);
	write_line(&l);
}

void log_err(int priority, const char *what, const struct err *e)
{
	struct line l = {.priority = priority, .error = e->code ? err_name(e->code) : NULL};
	int said = !e->peer[0] || strstr(e->text, e->peer) != NULL;

	if (priority > least)
		return;
	snprintf(l.text, sizeof(l.text), "%s: %s%s%s", what, said ? "" : e->peer, said ? "" : ": ", e->text);
	snprintf(l.peer, sizeof(l.peer), "%s", e->peer);
	write_line(&l);
}
