/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the model owner could serve now, and its numbers. */
#include <string.h>

#include "daemon/metrics.h"
#include "daemon/model_owner.h"

void session_count(struct session *s)
{
	struct pool_status pool = {0};

	modeller_pool(s->m, &pool);
	metrics_add(METRIC_tickets_made_total, (double)(pool.made - s->made), METRIC_NO_LABELS);
	metrics_add(METRIC_tickets_burnt_total, (double)(pool.burnt - s->burnt), METRIC_NO_LABELS);
	s->made = pool.made;
	s->burnt = pool.burnt;
}

int model_owner_ready(void *ctx, struct err *e)
{
	const struct model_owner *o = ctx;

	if (!o->provider)
		return err_set(e, ERR_REACH, "no connection to the provider %s%s%s", o->config->provider,
			       o->provider_why.text[0] ? ": " : "", o->provider_why.text);
	return o->n_sessions < o->config->max_sessions
		   ? 0
		   : err_set(e, ERR_ENV, "all %u sessions are taken (max_sessions)", o->n_sessions);
}

/* Of all sessions on the session's model. */
static void collect_pool(const struct model_owner *o, const struct session *of)
{
	const char *name = model_name(of->model);
	struct pool_status all = {0};

	for (const struct session *s = o->sessions; s; s = s->next) {
		struct pool_status pool = {0};

		if (strcmp(model_name(s->model), name))
			continue;
		modeller_pool(s->m, &pool);
		all.depth += pool.depth;
		all.bytes += pool.bytes;
	}
	metrics_set(METRIC_pool_tickets, (double)all.depth, METRIC_LABELS(name));
	metrics_set(METRIC_pool_bytes, (double)all.bytes, METRIC_LABELS(name));
}

void model_owner_collect(void *ctx)
{
	const struct model_owner *o = ctx;
	unsigned open = 0;

	metrics_clear(METRIC_pool_tickets);
	metrics_clear(METRIC_pool_bytes);
	for (struct session *s = o->sessions; s; s = s->next) {
		open++;
		session_count(s);
		collect_pool(o, s);
	}
	metrics_set(METRIC_sessions, open, METRIC_LABELS("open"));
	metrics_set(METRIC_sessions, o->n_sessions - open, METRIC_LABELS("opening"));
	metrics_set(METRIC_peers_up, o->provider != NULL, METRIC_LABELS("provider"));
	metrics_set(METRIC_peers_up, net_count(o->net, ROLE_D), METRIC_LABELS("data-owner"));
}
