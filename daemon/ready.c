/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the data owner could start an image now. */
#include <string.h>

#include "daemon/entry.h"

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

static void ignore(void *ctx, const Wire__Classified *reply)
{
}

/* Opens the session that a request with no wishes of its own would use; its pool fills by itself. */
static void prepare(struct data_owner *d, const char *model)
{
	Wire__Classify q = WIRE__CLASSIFY__INIT;

	q.model = (char *)(uintptr_t)model;
	q.optimise = data_owner_mode(d);
	q.reveal = REVEAL_LOGITS;
	q.describe = 1;
	data_owner_classify(d, &q, ignore, NULL);
}

enum plan_optimise data_owner_mode(const struct data_owner *d)
{
	return strcmp(d->config->optimise, "bandwidth") ? PLAN_LATENCY : PLAN_BANDWIDTH;
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
