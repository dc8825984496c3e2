/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/reload.h — the configuration of a process: read at start, and again at SIGHUP while a role runs.
 *
 * A new configuration is read and checked whole (file, flags, certificates, what the role loads) before
 * anything of it is in force; when something is wrong, all stays as it was and the log says why. Sessions go
 * on. */
#ifndef OBSCURA_DAEMON_RELOAD_H
#define OBSCURA_DAEMON_RELOAD_H

#include "daemon/net.h"

/* What the command line asks for besides options. */
struct asked {
	const char *file; /* borrows: -c; NULL: none */
	int test, print;  /* -t, -T */
};
/* Defaults, then the file, then the flags of argv[2…]; checked. */
int config_read(struct config *c, char letter, int argc, char **argv, struct asked *asked,
		struct err *e) MUST_USE;
/* What SIGHUP reads again, and into what; borrows all. Without this call a role ignores SIGHUP. */
void reload_source(struct config *live, int argc, char **argv);

/* The role's part. */
struct reload_hooks {
	/* On a worker: whatever takes long, with the configuration to come; NULL with e when it cannot be.
	 * May be missing. */
	void *(*load)(void *ctx, const struct config *next, struct err *e);
	/* On the loop: the configuration is in force. loaded: of load, now the role's. identity: our own
	 * certificate is another one, so that connections must be made anew. */
	void (*take)(void *ctx, void *loaded, int identity);
	/* What was loaded is not needed after all. */
	void (*drop)(void *loaded);
};

struct reload;
/* Listens for SIGHUP. hooks and ctx borrow. */
int reload_new(struct reload **r, struct net *net, const struct reload_hooks *hooks, void *ctx,
	       struct err *e) MUST_USE;
/* Before the role's state is freed, and before net_drain. NULL is allowed. */
void reload_free(struct reload *r);

#endif
