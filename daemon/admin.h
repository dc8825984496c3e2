/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/admin.h — a role's admin socket: /metrics, /health/live, /health/ready over HTTP on a Unix socket.
 */
#ifndef OBSCURA_DAEMON_ADMIN_H
#define OBSCURA_DAEMON_ADMIN_H

#include "daemon/net.h"

/* What only the role knows. */
struct admin_hooks {
	/* 0 when work can start now; else e says what is missing. */
	int (*ready)(void *ctx, struct err *e);
	/* Sets its gauges, before they are read. */
	void (*collect)(void *ctx);
};

struct admin;
/* Listens on config->admin_socket (default: beside the role's other socket, or in the runtime directory that
 * systemd gives); *a is NULL when there is none. */
int admin_new(struct admin **a, struct net *net, const struct config *config, const struct admin_hooks *hooks,
	      void *ctx, struct err *e) MUST_USE;
/* Before the role's state is freed. NULL is allowed. */
void admin_free(struct admin *a);

#endif
