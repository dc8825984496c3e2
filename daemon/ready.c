/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the data owner could start an image now, and its numbers. */
#include <stdlib.h>
#include <string.h>

#include "daemon/entry.h"
#include "daemon/metrics.h"

int data_owner_knows(const struct data_owner *d, const char *model)
{
	if (!d->models)
		return -1;
	for (size_t i = 0; i < d->n_models; i++)
		if (!strcmp(d->models[i], model))
			return 1;
	return 0;
}

size_t data_owner_models(const struct data_owner *d, char *const **names)
{
	*names = d->models;
	return d->models ? d->n_models : 0;
}

static int has_ticket(const struct data_owner *d, const struct entry *n)
{
	struct pool_status pool = {0};

	if (!n->owner || owner_state(n->owner) != OWNER_READY)
		return 0;
	owner_pool(n->owner, &pool);
	return pool.depth > 0 || !d->config->pool_high;
}

/* A session that is opened ahead. */
struct opening {
	struct data_owner *d;
	enum plan_reveal reveal;
	char model[];
};

static void on_opened(void *ctx, const Wire__Classified *reply);

static void open_ahead(struct opening *a)
{
	Wire__Classify q = WIRE__CLASSIFY__INIT;

	q.model = a->model;
	q.optimise = data_owner_mode(a->d);
	q.reveal = a->reveal;
	q.describe = 1;
	data_owner_classify(a->d, &q, on_opened, a);
}

/* Where scores are refused the label may not be. */
static void on_opened(void *ctx, const Wire__Classified *reply)
{
	struct opening *a = ctx;

	if (reply->error && reply->error->code == ERR_PEER && a->reveal == REVEAL_LOGITS) {
		a->reveal = REVEAL_LABEL;
		open_ahead(a);
	} else {
		free(a);
	}
}

/* Opens the session that a request with no wishes of its own would use; its pool fills by itself. */
static void prepare(struct data_owner *d, const char *model)
{
	struct opening *a = calloc(1, sizeof(*a) + strlen(model) + 1);

	if (!a)
		return;
	a->d = d;
	memcpy(a->model, model, strlen(model));
	open_ahead(a);
}

enum plan_optimise data_owner_mode(const struct data_owner *d)
{
	return plan_optimise_named(d->config->optimise);
}

static int peers_there(const struct data_owner *d, struct err *e)
{
	for (int i = 0; i < PEERS; i++)
		if (!d->peers[i].conn)
			return err_set(e, ERR_REACH, "no connection to the %s %s%s%s",
				       i == PROVIDER ? "provider" : "model-owner",
				       i == PROVIDER ? d->config->provider : d->config->model_owner,
				       d->peers[i].why.text[0] ? ": " : "", d->peers[i].why.text);
	if (!d->n_models)
		return err_set(e, ERR_REACH, "the model owner has not said what it serves");
	return 0;
}

int data_owner_ready(struct data_owner *d, const char *model, struct err *e)
{
	int open = 0;

	if (peers_there(d, e))
		return -1;
	for (const struct entry *n = d->entries; n; n = n->next) {
		if (model && strcmp(n->model, model))
			continue;
		if (has_ticket(d, n))
			return 0;
		open |= n->owner || n->waiting;
	}
	if (!open)
		prepare(d, model ? model : d->models[0]);
	return err_set(e, ERR_REACH, "there is no ticket for %s yet", model ? model : "any model");
}

/* ---- for the admin socket ---- */

/* Of all sessions on the entry's model. */
static void collect_pool(const struct data_owner *d, const struct entry *of)
{
	struct pool_status all = {0};

	for (const struct entry *n = d->entries; n; n = n->next) {
		struct pool_status pool = {0};

		if (!n->owner || strcmp(n->model, of->model))
			continue;
		owner_pool(n->owner, &pool);
		all.depth += pool.depth;
		all.high += pool.high;
		all.bytes += pool.bytes;
	}
	metrics_set(METRIC_pool_tickets, (double)all.depth, METRIC_LABELS(of->model));
	metrics_set(METRIC_pool_high_tickets, (double)all.high, METRIC_LABELS(of->model));
	metrics_set(METRIC_pool_bytes, (double)all.bytes, METRIC_LABELS(of->model));
}

static void collect_sessions(const struct data_owner *d)
{
	static const char *const names[OWNER_STATES + 1] = {"opening", "weights", "pairing",
							    "ready",   "failed",  "closed"};
	unsigned n[OWNER_STATES + 1] = {0};

	for (const struct entry *x = d->entries; x; x = x->next)
		n[x->owner ? owner_state(x->owner) : OWNER_STATES]++;
	for (unsigned i = 0; i <= OWNER_STATES; i++)
		metrics_set(METRIC_sessions, n[i], METRIC_LABELS(names[i]));
}

void owner_collect(struct data_owner *d)
{
	metrics_set(METRIC_peers_up, d->peers[MODEL_OWNER].conn != NULL, METRIC_LABELS("model-owner"));
	metrics_set(METRIC_peers_up, d->peers[PROVIDER].conn != NULL, METRIC_LABELS("provider"));
	metrics_clear(METRIC_pool_tickets);
	metrics_clear(METRIC_pool_high_tickets);
	metrics_clear(METRIC_pool_bytes);
	for (struct entry *n = d->entries; n; n = n->next) {
		entry_count(n);
		collect_pool(d, n);
	}
	collect_sessions(d);
}
