/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/serve.h"

#include <string.h>

#include "daemon/log.h"
#include "daemon/notify.h"

#define STATUS_US 2000000

struct serving {
	const struct serve *how;
	void *ctx;
	struct net *net;
	char told[200];
};

/* Only what has changed is told. */
static void on_status(evutil_socket_t fd, short what, void *ctx)
{
	struct serving *s = ctx;
	char line[200] = "";

	if (net_stopping(s->net))
		return;
	s->how->status(s->ctx, line, sizeof(line));
	if (!strcmp(line, s->told))
		return;
	memcpy(s->told, line, sizeof(line));
	notify("STATUS=%s", line);
}

static void event_drop(struct event *event)
{
	if (event)
		event_free(event);
}

int serve(struct net *net, const struct serve *how, void *ctx, const char *ready, struct err *e)
{
	static const struct timeval every = {.tv_sec = STATUS_US / 1000000};
	struct serving s = {.how = how, .ctx = ctx, .net = net};
	struct event *watchdog = notify_watchdog(net_base(net));
	struct event *status = event_new(net_base(net), -1, EV_PERSIST, on_status, &s);
	struct reload *reload = NULL;
	struct admin *admin = NULL;
	int failed;

	if (!status || (notify_wanted() && event_add(status, &every))) {
		failed = err_set(e, ERR_ENV, "cannot start a timer");
	} else {
		failed = reload_new(&reload, net, &how->reload, ctx, e) ||
			 admin_new(&admin, net, net_config(net), &how->admin, ctx, e);
	}
	if (!failed) {
		log_line(LOG_INFO, "%s", ready);
		notify("READY=1\nSTATUS=%s", ready);
		failed = net_run(net, e);
	}
	notify("STOPPING=1");
	admin_free(admin);
	reload_free(reload);
	event_drop(status);
	event_drop(watchdog);
	return failed;
}
