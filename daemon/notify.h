/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/notify.h — what systemd is told and gives: readiness, status, watchdog, sockets. All of it does
 * nothing when the process was not started by systemd; without libsystemd at build, a start by systemd is
 * answered by a warning. */
#ifndef OBSCURA_DAEMON_NOTIFY_H
#define OBSCURA_DAEMON_NOTIFY_H

#include <event2/event.h>
#include "conf/err.h"

/* Once, at start: from the environment, which is then emptied. */
void notify_open(void);
/* Whether somebody is told anything. */
int notify_wanted(void);
/* One message, "READY=1\nSTATUS=…"; lines as sd_notify(3) has them. */
void notify(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* RELOADING=1 with the clock, as systemd wants it; READY=1 must follow. */
void notify_reloading(void);
/* The loop says that it lives, twice in each interval of the unit's WatchdogSec. Returns new; free with
 * event_free; NULL when no watchdog was asked for. */
struct event *notify_watchdog(struct event_base *base);
/* Takes over a listening socket that systemd made: by FileDescriptorName=name, else the first without a known
 * name of this family (AF_UNIX, or AF_INET for both internets). -1: there is none; the caller makes its own.
 */
int notify_socket(const char *name, int family);
/* 1: built with libsystemd. */
int notify_built(void);

#endif
