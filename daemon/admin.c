/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "crypto/cpu.h"
#include "daemon/http.h"
#include "daemon/json.h"
#include "daemon/log.h"
#include "daemon/metrics.h"
#include "daemon/net_parts.h"
#include "daemon/version.h"

static const struct http_limits limits = {.body = 4096, .connections = 16, .idle_us = 10000000};

struct admin {
	struct net *net;
	const struct admin_hooks *hooks;
	void *ctx;
	struct http *http;
};

/* ---- what every role has ---- */

static void collect_wire(const struct net *net)
{
	struct conn_wire w = net_wire(net);

	metrics_set(METRIC_bytes_total, (double)w.offline_sent, METRIC_LABELS("offline", "sent"));
	metrics_set(METRIC_bytes_total, (double)w.offline_received, METRIC_LABELS("offline", "received"));
	/* frames are counted when they are whole, bytes when they move */
	metrics_set(METRIC_bytes_total, w.sent > w.offline_sent ? (double)(w.sent - w.offline_sent) : 0,
		    METRIC_LABELS("online", "sent"));
	metrics_set(METRIC_bytes_total,
		    w.received > w.offline_received ? (double)(w.received - w.offline_received) : 0,
		    METRIC_LABELS("online", "received"));
}

struct earliest {
	double of[16]; /* by role's bit; 0: nobody of it is here */
};

static void look_at(void *ctx, struct conn *c)
{
	double left = conn_seconds_left(c),
	       *first = &((struct earliest *)ctx)->of[conn_channel(c)->peer & 15];

	if (!*first || left < *first)
		*first = left;
}

static void collect_certificates(struct net *net)
{
	static const enum frame_role roles[] = {ROLE_D, ROLE_M, ROLE_C};
	struct earliest e = {{0}};

	metrics_set(METRIC_certificate_expiry_seconds, tls_seconds_left(&net->tls), METRIC_NO_LABELS);
	net_each(net, ROLE_D | ROLE_M | ROLE_C, look_at, &e);
	metrics_clear(METRIC_peer_certificate_expiry_seconds);
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		if (e.of[roles[i]])
			metrics_set(METRIC_peer_certificate_expiry_seconds, e.of[roles[i]],
				    METRIC_LABELS(frame_role_name(roles[i])));
}

static void collect(struct admin *a)
{
	struct err e = {0};

	collect_wire(a->net);
	metrics_set(METRIC_jobs, (double)net_jobs(a->net), METRIC_NO_LABELS);
	collect_certificates(a->net);
	a->hooks->collect(a->ctx);
	metrics_set(METRIC_ready, a->hooks->ready(a->ctx, &e) == 0, METRIC_NO_LABELS);
}

/* ---- answers ---- */

static void metrics(struct admin *a, struct http_call *c)
{
	size_t n;
	char *text;

	collect(a);
	text = metrics_text(&n);
	if (text)
		http_reply(c, 200, "text/plain; version=0.0.4; charset=utf-8", text, n);
	else
		http_refuse(c, 503, "out of memory");
	free(text);
}

static void health(struct http_call *c, const char *name, int fine, const char *why)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, name, json_object_new_boolean(fine));
	if (!fine)
		json_text(o, "error", why);
	http_reply_json(c, fine ? 200 : 503, o);
}

static void on_call(void *ctx, struct http_call *c)
{
	struct admin *a = ctx;
	const char *path = http_path(c);
	struct err e = {0};

	if (http_method(c) != HTTP_GET)
		http_refuse(c, 405, "this address is read with GET");
	else if (!strcmp(path, "/metrics"))
		metrics(a, c);
	else if (!strcmp(path, "/health/live"))
		health(c, "live", 1, "");
	else if (!strcmp(path, "/health/ready"))
		health(c, "ready", a->hooks->ready(a->ctx, &e) == 0, e.text);
	else
		http_refuse(c, 404, "there are /metrics, /health/live and /health/ready");
}

/* ---- life ---- */

/* NULL: none. */
static char *socket_path(const struct config *c)
{
	const char *place = getenv("RUNTIME_DIRECTORY"), *slash;
	char *path = NULL;
	int n;

	if (*c->admin_socket)
		return strcmp(c->admin_socket, "none") ? strdup(c->admin_socket) : NULL;
	if (c->role == 'D' && (slash = strrchr(c->socket, '/')))
		n = asprintf(&path, "%.*s/admin.sock", (int)(slash - c->socket), c->socket);
	else if (place && *place)
		n = asprintf(&path, "%.*s/admin.sock", (int)strcspn(place, ":"), place);
	else
		return NULL;
	return n < 0 ? NULL : path;
}

static void describe(const struct net *net)
{
	metrics_set(METRIC_build_info, 1,
		    METRIC_LABELS(OBSCURA_VERSION, frame_role_name(net->self), cpu_name(cpu_tier())));
	metrics_set(METRIC_start_time_seconds, (double)time(NULL), METRIC_NO_LABELS);
}

int admin_new(struct admin **admin, struct net *net, const struct config *config,
	      const struct admin_hooks *hooks, void *ctx, struct err *e)
{
	char *path = socket_path(config);
	struct admin *a;

	*admin = NULL;
	if (!path)
		return 0;
	a = calloc(1, sizeof(*a));
	if (!a) {
		free(path);
		return err_set(e, ERR_ENV, "out of memory");
	}
	*a = (struct admin){.net = net, .hooks = hooks, .ctx = ctx};
	if (http_new(&a->http, net_base(net), &limits, on_call, a, e) ||
	    http_listen_unix(a->http, path, "admin-socket", e)) {
		admin_free(a);
		free(path);
		return -1;
	}
	describe(net);
	log_line(LOG_INFO, "metrics and health on %s", path);
	free(path);
	*admin = a;
	return 0;
}

void admin_free(struct admin *a)
{
	if (!a)
		return;
	http_free(a->http);
	free(a);
}
