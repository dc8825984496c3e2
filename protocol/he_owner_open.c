/* SPDX-License-Identifier: Apache-2.0 */
/* Opening the data owner's end: OPENED, keys; at the end the session is ready. */
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include "protocol/ends.h"
#include "protocol/he_parts.h"

static int take_plan(struct he_owner *o, const Wire__Opened *in, struct err *e)
{
	struct desk *d = o->desk;
	size_t n = in->he_widths.len / HE_WIDTH_BYTES;
	struct he_width *widths = calloc(n + 1, sizeof(*widths));
	int status;

	if (!widths)
		return err_set(e, ERR_ENV, "out of memory for a plan");
	for (size_t i = 0; i < n; i++)
		widths[i] = he_width_unpack(in->he_widths.data + HE_WIDTH_BYTES * i);
	status = plan_take(&d->plan, in->plan, NULL, o->model_owner, e);
	if (!status && he_plan_read(&d->hp, d->plan, in->he_set, widths, n, e))
		status = err_context(e, "%s", o->model_owner->name);
	free(widths);
	return status;
}

static void predict_offline(struct desk *d)
{
	d->predicted.online[P0] = d->predicted.online[P1] = 0;
	for (uint16_t i = 0; i < d->hp->levels; i++) {
		d->predicted.online[P0] += he_masked_up(d->hp, i);
		d->predicted.online[P1] += he_masked_down(d->hp, i);
	}
	d->predicted.delta = he_ticket_request(d->hp);
	d->predicted.corrections = he_ticket_answer(d->hp);
}

/* Values of one image in he_lane. */
static size_t image_bytes(const struct plan *plan)
{
	size_t words = 0;

	for (uint16_t v = 0; v < plan->tape.n_values; v++)
		words += shape_size(plan->tape.values[v].shape);
	return words * sizeof(int64_t);
}

/* Requests and answers of a batch take twice the longest message. */
static int fit(struct he_owner *o, uint32_t allowed, struct err *e)
{
	struct desk *d = o->desk;
	size_t longest;

	o->batch_max = o->options.max_batch < allowed ? o->options.max_batch : allowed;
	while (o->batch_max > 1 &&
	       (he_longest(d->hp, o->batch_max) > o->options.pool_bytes / 2 || o->batch_max * image_bytes(d->plan) > o->options.pool_bytes))
		o->batch_max /= 2;
	longest = he_longest(d->hp, o->batch_max);
	if (longest > o->options.pool_bytes / 2 || o->batch_max * image_bytes(d->plan) > o->options.pool_bytes)
		return err_set(e, ERR_ENV,
			       "one image of model %s takes messages of %zu bytes and %zu of working memory, more than the %llu "
			       "allowed; raise pool_memory",
			       o->model, longest, image_bytes(d->plan), (unsigned long long)o->options.pool_bytes);
	d->request = malloc(FRAME_HEADER + longest + 1);
	d->answer = malloc(longest + 1);
	if (!d->request || !d->answer)
		return err_set(e, ERR_ENV, "out of memory for ciphertexts of model %s", o->model);
	d->predicted.tape = &d->plan->tape;
	d->predicted.online[P0] = d->hp->total_up;
	d->predicted.online[P1] = d->hp->total_down;
	if (o->options.he_offline)
		predict_offline(d);
	d->predicted.round_trips = d->hp->levels;
	d->predicted.n_messages = 2u * d->hp->levels;
	d->predicted.setup = he_public_bytes(d->hp->set);
	return he_lane_new(&d->lane, d->hp, d->pair->key, o->batch_max, e);
}

static void send_digest(struct he_owner *o)
{
	struct frame f = {.type = FRAME_HE_KEY, .session = o->session, .length = HE_DIGEST, .body = o->desk->pair->digest};

	o->model_owner->ops->send(o->model_owner, &f);
	o->model_owner->ops->flush(o->model_owner);
}

static int take_opened(void *owner, const Wire__Opened *in, struct err *e)
{
	struct he_owner *o = owner;

	if (strcmp(in->personality, "he") != 0)
		return error_of(e, o->model_owner, "opened a session of another personality than he");
	if (in->epoch.len != 16 || !in->plan || in->he_widths.len % HE_WIDTH_BYTES || in->he_set >= HE_SETS || !in->max_batch)
		return error_of(e, o->model_owner, "opened the session without plan, epoch, parameters or batch");
	memcpy(o->epoch, in->epoch.data, 16);
	if (take_plan(o, in, e) || !(o->desk->pair = he_pair_get(in->he_set, o->model_owner->fingerprint, e)) || fit(o, in->max_batch, e))
		return -1;
	if (o->options.he_offline && he_mill_open(o, in->he_tickets, e))
		return -1;
	he_profile_open(&o->desk->profile, o->desk->plan);
	o->state = OWNER_WEIGHTS;
	o->since_us = o->host->now_us(o->host->ctx);
	send_digest(o);
	return 0;
}

int he_owner_opened(void *owner, const struct frame *f, struct err *e)
{
	struct he_owner *o = owner;

	return opened_read(o, o->model_owner, f, take_opened, e);
}

int he_owner_ready(void *owner, const struct frame *f, struct err *e)
{
	struct he_owner *o = owner;
	size_t bytes = he_public_bytes(o->desk->hp->set);
	struct frame key = {.type = FRAME_HE_KEY,
			    .session = o->session,
			    .lane = 1,
			    .length = (uint32_t)bytes,
			    .body = o->desk->pair->public + FRAME_HEADER};

	o->since_us = o->host->now_us(o->host->ctx);
	if (f->lane) {
		o->state = OWNER_READY;
		host_log(o->host, LOG_DEBUG, "session %u, model %s (he): ready", o->session, o->model);
		he_owner_work(o);
		return 0;
	}
	o->model_owner->ops->send(o->model_owner, &key);
	o->model_owner->ops->flush(o->model_owner);
	return 0;
}
