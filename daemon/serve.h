/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/serve.h — a role from "ready" to its end: the loop, reloads at SIGHUP, what systemd is told. */
#ifndef OBSCURA_DAEMON_SERVE_H
#define OBSCURA_DAEMON_SERVE_H

#include "daemon/admin.h"
#include "daemon/reload.h"

struct serve {
	struct reload_hooks reload;
	/* One line for `systemctl status`: peers, sessions. */
	void (*status)(void *ctx, char *line, size_t bytes);
	struct admin_hooks admin;
};
/* Runs until the net is stopped (net_run). ready: what the log says when all is set up. how and ctx borrow.
 */
int serve(struct net *net, const struct serve *how, void *ctx, const char *ready, struct err *e) MUST_USE;

#endif
