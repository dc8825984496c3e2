/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/log.h — one line for each event, on standard error: time, level, role, text. Never a secret. */
#ifndef OBSCURA_DAEMON_LOG_H
#define OBSCURA_DAEMON_LOG_H

#include <syslog.h>
#include "conf/err.h"

/* level: "error", "warning", "info" or "debug" (config_check has checked it). role: for each line; borrows.
 */
void log_open(const char *level, const char *role);
/* priority: LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG. */
void log_line(int priority, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "what: reason (peer)". */
void log_err(int priority, const char *what, const struct err *e);

#endif
