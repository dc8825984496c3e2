/* SPDX-License-Identifier: Apache-2.0 */
/* Opening the data owner's end: OPENED, keys; at the end the session is ready. */
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include "protocol/he_parts.h"

static int take_plan(struct desk *d, const Wire__Opened *in, const struct channel *from, struct err *e)
{
	size_t n = in->he_widths.len / HE_WIDTH_BYTES;
	struct he_width *widths = calloc(n + 1, sizeof(*widths));
	int status;

	if (!widths)
		return err_set(e, ERR_ENV, "out of memory for a plan");
	for (size_t i = 0; i < n; i++)
		widths[i] = he_width_unpack(in->he_widths.data + HE_WIDTH_BYTES * i);
	status = plan_take(&d->plan, in->plan, NULL, from, e);
	if (!status && he_plan_read(&d->hp, d->plan, in->he_set, widths, n, e))
		status = err_context(e, "%s", from->name);
	free(widths);
	return status;
}

static void predict(struct program *p, const struct he_plan *hp, int offline)
{
	*p = (struct program){.online = {[P0] = hp->total_up, [P1] = hp->total_down},
			      .round_trips = hp->levels,
			      .n_messages = 2u * hp->levels,
			      .setup = he_public_bytes(hp->set)};
	if (!offline)
		return;
	p->online[P0] = p->online[P1] = 0;
	for (uint16_t i = 0; i < hp->levels; i++) {
		p->online[P0] += he_masked_up(hp, i);
		p->online[P1] += he_masked_down(hp, i);
	}
	p->delta = he_ticket_request(hp);
	p->corrections = he_ticket_answer(hp);
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
static int fits(const struct desk *d, size_t batch, uint64_t bytes)
{
	return he_longest(d->hp, batch) <= bytes / 2 && batch * image_bytes(d->plan) <= bytes;
}

static int fit(struct duo_owner *o, struct desk *d, uint32_t allowed, struct err *e)
{
	uint64_t most = o->options.pool_bytes;
	size_t longest;

	o->batch_max = o->options.max_batch < allowed ? o->options.max_batch : allowed;
	while (o->batch_max > 1 && !fits(d, o->batch_max, most))
		o->batch_max /= 2;
	longest = he_longest(d->hp, o->batch_max);
	if (!fits(d, o->batch_max, most))
		return err_set(e, ERR_ENV,
			       "one image of model %s takes messages of %zu bytes and %zu of working memory, "
			       "more than the %llu allowed; raise pool_memory",
			       o->model, longest, image_bytes(d->plan), (unsigned long long)most);
	d->request = malloc(FRAME_HEADER + longest + 1);
	d->answer = malloc(longest + 1);
	if (!d->request || !d->answer)
		return err_set(e, ERR_ENV, "out of memory for ciphertexts of model %s", o->model);
	return he_lane_new(&d->lane, d->hp, d->pair->key, o->batch_max, e);
}

static void send_key(struct duo_owner *o, uint32_t lane, const uint8_t *body, size_t bytes)
{
	struct frame f = {.type = FRAME_HE_KEY,
			  .session = o->session,
			  .lane = lane,
			  .length = (uint32_t)bytes,
			  .body = body};

	o->model_owner->ops->send(o->model_owner, &f);
	o->model_owner->ops->flush(o->model_owner);
}

static int take_opened(void *owner, const Wire__Opened *in, struct err *e)
{
	struct he_owner *h = owner;
	struct duo_owner *o = &h->duo;
	struct desk *d;

	if (in->epoch.len != 16 || !in->plan || in->he_widths.len % HE_WIDTH_BYTES || in->he_set >= HE_SETS ||
	    !in->max_batch)
		return error_of(e, o->model_owner,
				"opened the session without plan, epoch, parameters or batch");
	memcpy(o->epoch, in->epoch.data, 16);
	if (!(d = h->desk = calloc(1, sizeof(*d))))
		return err_set(e, ERR_ENV, "out of memory for a session");
	d->owner = h;
	if (take_plan(d, in, o->model_owner, e) ||
	    !(d->pair = he_pair_get(in->he_set, o->model_owner->fingerprint, e)) ||
	    fit(o, d, in->max_batch, e) || (o->options.he_offline && he_mill_open(h, in->he_tickets, e)))
		return -1;
	predict(&o->predicted, d->hp, o->options.he_offline);
	o->predicted.tape = &d->plan->tape;
	o->plan = d->plan;
	he_profile_open(&d->profile, d->plan);
	o->state = OWNER_WEIGHTS;
	o->since_us = duo_owner_now(o);
	send_key(o, 0, d->pair->digest, HE_DIGEST);
	return 0;
}

int he_owner_opened(void *owner, const struct frame *f, struct err *e)
{
	const struct duo_owner *o = owner;

	return opened_read(owner, o->model_owner, PERSONALITY_HE, f, take_opened, e);
}

int he_owner_ready(void *owner, const struct frame *f, struct err *e)
{
	struct duo_owner *o = owner;
	const struct desk *d = ((struct he_owner *)owner)->desk;

	o->since_us = duo_owner_now(o);
	if (f->lane) {
		o->state = OWNER_READY;
		host_log(o->host, LOG_DEBUG, "session %u, model %s (he): ready", o->session, o->model);
		return 0;
	}
	send_key(o, 1, d->pair->public + FRAME_HEADER, he_public_bytes(d->hp->set));
	return 0;
}
