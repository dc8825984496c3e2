/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/notify.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "daemon/log.h"

#define SOCKETS_MAX 16

static struct {
	int on;		      /* there is somebody to notify */
	uint64_t watchdog_us; /* 0: none */
	struct {
		int fd; /* -1: taken */
		char name[32];
	} sockets[SOCKETS_MAX];
	int n;
} systemd;

#ifdef HAVE_SYSTEMD

int notify_built(void)
{
	return 1;
}

static void take_sockets(void)
{
	char **names = NULL;
	int n = sd_listen_fds_with_names(1, &names);

	for (int i = 0; i < n; i++) {
		if (i < SOCKETS_MAX) {
			systemd.sockets[systemd.n].fd = SD_LISTEN_FDS_START + i;
			snprintf(systemd.sockets[systemd.n++].name, sizeof(systemd.sockets[0].name), "%s",
				 names && names[i] ? names[i] : "");
		}
		if (names)
			free(names[i]);
	}
	free(names);
}

void notify_open(void)
{
	systemd.on = getenv("NOTIFY_SOCKET") != NULL;
	if (sd_watchdog_enabled(1, &systemd.watchdog_us) <= 0)
		systemd.watchdog_us = 0;
	take_sockets();
}

static void tell(const char *text)
{
	sd_notify(0, text);
}

#else

int notify_built(void)
{
	return 0;
}

void notify_open(void)
{
	if (getenv("NOTIFY_SOCKET") || getenv("LISTEN_FDS"))
		log_line(LOG_WARNING,
			 "built without libsystemd: no readiness, watchdog or socket activation; install "
			 "libsystemd-dev and build again, or use Type=exec");
	unsetenv("NOTIFY_SOCKET");
	unsetenv("LISTEN_FDS");
}

static void tell(const char *text)
{
}

#endif

int notify_wanted(void)
{
	return systemd.on;
}

void notify(const char *format, ...)
{
	char text[512];
	va_list ap;

	if (!systemd.on)
		return;
	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	tell(text);
}

void notify_reloading(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	notify("RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=Reloading the configuration",
	       (unsigned long long)t.tv_sec * 1000000 + (unsigned long long)t.tv_nsec / 1000);
}

static void on_watchdog(evutil_socket_t fd, short what, void *ctx)
{
	notify("WATCHDOG=1");
}

struct event *notify_watchdog(struct event_base *base)
{
	uint64_t half = systemd.watchdog_us / 2;
	struct timeval every = {.tv_sec = (time_t)(half / 1000000), .tv_usec = (suseconds_t)(half % 1000000)};
	struct event *e;

	if (!half)
		return NULL;
	e = event_new(base, -1, EV_PERSIST, on_watchdog, NULL);
	if (e && event_add(e, &every)) {
		event_free(e);
		return NULL;
	}
	return e;
}

/* Whether a socket listens, for this family (AF_INET: AF_INET6 too). */
static int fits(int fd, int family)
{
	struct sockaddr_storage bound;
	socklen_t n = sizeof(bound), m = sizeof(int);
	int listens = 0;

	if (getsockname(fd, (struct sockaddr *)&bound, &n) ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &m) || !listens)
		return 0;
	return bound.ss_family == family || (family == AF_INET && bound.ss_family == AF_INET6);
}

int notify_socket(const char *name, int family)
{
	static const char *const known[] = {"listen", "socket", "admin", "http", "metrics"};
	int found = -1, fd;

	for (int i = 0; i < systemd.n; i++) {
		int named = 0;

		if (systemd.sockets[i].fd < 0 || !fits(systemd.sockets[i].fd, family))
			continue;
		for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++)
			named |= !strcmp(systemd.sockets[i].name, known[k]);
		if (!strcmp(systemd.sockets[i].name, name)) {
			found = i;
			break;
		}
		if (!named && found < 0)
			found = i;
	}
	if (found < 0)
		return -1;
	fd = systemd.sockets[found].fd;
	systemd.sockets[found].fd = -1;
	evutil_make_socket_nonblocking(fd);
	evutil_make_socket_closeonexec(fd);
	return fd;
}
