/* SPDX-License-Identifier: Apache-2.0 */
/* The crypto provider's role: connections of data owners and model owners, handed to provider/. */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/access.h"
#include "daemon/data_owner.h"
#include "daemon/log.h"
#include "daemon/metrics.h"
#include "daemon/serve.h"
#include "provider/provider.h"

#define QUEUE_BYTES (8u << 20)
#define BLOCK 16
#define MASK_BYTES (1u << 30)

static void provider_up(void *ctx, struct conn *c)
{
	log_peer(LOG_INFO, conn_channel(c)->name, "connected");
}

/* Only a session fails here, never the connection. */
static int provider_on_frame(void *ctx, struct conn *c, const struct frame *f, struct err *e)
{
	struct err why = {0};

	if (!f->session)
		return err_set(e, ERR_PEER, "sent %s without a session", frame_name(f->type));
	if (provider_frame(ctx, conn_channel(c), f, &why) && why.text[0])
		log_err(LOG_WARNING, "a session ended", &why);
	provider_tick(ctx);
	return 0;
}

static void provider_drained(void *ctx, struct conn *c)
{
	provider_tick(ctx);
}

static void provider_down(void *ctx, struct conn *c, const struct err *why)
{
	log_err(LOG_INFO, "disconnected", why);
	provider_lost(ctx, conn_channel(c));
}

static void on_tick(void *ctx)
{
	provider_tick(ctx);
}

static uint64_t due(void *ctx)
{
	return provider_due(ctx);
}

static struct provider_options options_of(const struct config *c, const struct access *access)
{
	return (struct provider_options){.connect_ms = (uint32_t)c->connect_ms,
					 .sessions = (uint32_t)c->max_sessions,
					 .queue_bytes = QUEUE_BYTES,
					 .block = BLOCK,
					 .mask_bytes = MASK_BYTES,
					 .rules = access_rules(access)};
}

/* What serve() hands back. */
struct serving {
	struct provider *provider;
	const struct config *config;
	struct access *access;
	struct net *net;
};

static void *load_access(void *ctx, const struct config *next, struct err *e)
{
	struct access_next *access;

	return access_read(&access, next, ROLE_C, e) ? NULL : access;
}

static void drop_access(void *loaded)
{
	access_drop(loaded);
}

static void on_reload(void *ctx, void *loaded, int identity)
{
	const struct serving *s = ctx;
	struct provider_options options = options_of(s->config, s->access);

	access_take(s->access, loaded);
	provider_configure(s->provider, &options);
}

static void on_status(void *ctx, char *line, size_t bytes)
{
	const struct serving *s = ctx;
	struct provider_status status;

	provider_status(s->provider, &status);
	snprintf(line, bytes, "%llu sessions, %llu tickets made", (unsigned long long)status.sessions,
		 (unsigned long long)status.made);
}

static int is_ready(void *ctx, struct err *e)
{
	const struct serving *s = ctx;
	struct provider_status status;

	provider_status(s->provider, &status);
	return status.sessions < s->config->max_sessions
		   ? 0
		   : err_set(e, ERR_ENV, "all %llu sessions are taken (max_sessions)",
			     (unsigned long long)s->config->max_sessions);
}

static void collect(void *ctx)
{
	const struct serving *s = ctx;
	struct provider_status status;

	provider_status(s->provider, &status);
	metrics_set(METRIC_peers_up, net_count(s->net, ROLE_D), METRIC_LABELS("data-owner"));
	metrics_set(METRIC_peers_up, net_count(s->net, ROLE_M), METRIC_LABELS("model-owner"));
	metrics_set(METRIC_sessions, (double)status.sessions, METRIC_LABELS("paired"));
	metrics_set(METRIC_sessions, (double)status.waiting, METRIC_LABELS("waiting"));
	metrics_set(METRIC_tickets_made_total, (double)status.made, METRIC_NO_LABELS);
	metrics_set(METRIC_tickets_bytes_total, (double)status.bytes, METRIC_NO_LABELS);
}

static int run(struct net *net, struct provider *p, const struct config *config, struct access *access,
	       struct err *e)
{
	static const struct serve how = {
	    {load_access, on_reload, drop_access}, on_status, {is_ready, collect}};
	struct serving s = {p, config, access, net};
	static const struct net_clock clock = {due, on_tick};

	net_set_clock(net, &clock, p);
	return serve(net, &how, &s, "ready", e);
}

int provider_main(const struct config *config)
{
	static const struct net_handler handler = {provider_up, provider_on_frame, provider_drained,
						   provider_down};
	struct provider_options options;
	struct access *access = NULL;
	struct provider *p = NULL;
	struct net *net = NULL;
	struct err e = {0};
	int failed = access_new(&access, config, ROLE_C, &e);

	if (!failed) {
		options = options_of(config, access);
		failed = net_new(&net, config, ROLE_C, &e) || provider_new(&p, net_host(net), &options, &e) ||
			 net_listen(net, config->listen, ROLE_DM, &handler, p, &e) ||
			 run(net, p, config, access, &e);
	}
	if (failed)
		log_err(LOG_ERR, "cannot run", &e);
	provider_free(p); /* jobs under way end for nobody */
	net_drain(net);
	net_free(net);
	access_free(access);
	return failed ? (int)e.code : 0;
}
