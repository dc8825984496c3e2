/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/log.h — one line for each event: time, level, role, text, and where they are known the peer and the
 * class of error. As text or JSON lines on standard error, or to the journal with fields. Never a secret. */
#ifndef OBSCURA_DAEMON_LOG_H
#define OBSCURA_DAEMON_LOG_H

#include <syslog.h>
#include "conf/err.h"

/* Standard input, output and error that whoever started us had closed become /dev/null, before anything else
 * is opened: a connection that got number 2 would be sent our lines. */
void log_stdio(void);
/* level: "error", "warning", "info" or "debug" (config_check has checked it). role: for each line; borrows.
 */
void log_open(const char *level, const char *role);
/* "text", "json", "journal", or "auto": the journal when standard error is it, else text. Text until this is
 * called. Without libsystemd at build, "journal" is text. */
void log_format(const char *format);
/* priority: LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG. */
void log_line(int priority, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "peer: text", with the peer as a field. */
void log_peer(int priority, const char *peer, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* "what: reason (peer)", with the peer and the error's class as fields. */
void log_err(int priority, const char *what, const struct err *e);

#endif
