/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

static const struct {
	const char *name;
	int priority;
} levels[] = {{"error", LOG_ERR}, {"warning", LOG_WARNING}, {"info", LOG_INFO}, {"debug", LOG_DEBUG}};

static int least = LOG_INFO;
static const char *who = "obscura";

void log_open(const char *level, const char *role)
{
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
		if (!strcmp(levels[i].name, level))
			least = levels[i].priority;
	who = role;
}

static const char *name_of(int priority)
{
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
		if (levels[i].priority >= priority)
			return levels[i].name;
	return "debug";
}

void log_line(int priority, const char *format, ...)
{
	char text[1024], when[32];
	struct timeval now;
	struct tm utc;
	va_list ap;

	if (priority > least)
		return;
	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	/* what peers wrote must not forge lines */
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 127)
			*c = '?';
	gettimeofday(&now, NULL);
	gmtime_r(&now.tv_sec, &utc);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &utc);
	fprintf(stderr, "%s.%03dZ %s %s: %s\n", when, (int)(now.tv_usec / 1000), name_of(priority), who,
		text);
}

void log_err(int priority, const char *what, const struct err *e)
{
	if (e->peer[0] && !strstr(e->text, e->peer))
		log_line(priority, "%s: %s: %s", what, e->peer, e->text);
	else
		log_line(priority, "%s: %s", what, e->text);
}
