/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/parts.h"

#include <stdlib.h>

uint64_t provider_now(const struct provider *p)
{
	return p->host->now_us(p->host->ctx);
}

void provider_submit(struct provider *p, struct job *job)
{
	p->jobs++;
	p->host->submit(p->host->ctx, job);
}

void provider_job_done(struct provider *p)
{
	if (--p->jobs == 0 && p->gone)
		free(p);
}

int provider_new(struct provider **provider, const struct host *host, const struct provider_options *options,
		 struct err *e)
{
	struct provider *p = calloc(1, sizeof(*p));

	*provider = NULL;
	if (!p)
		return err_set(e, ERR_ENV, "out of memory for a provider");
	p->host = host;
	provider_configure(p, options);
	*provider = p;
	return 0;
}

void provider_configure(struct provider *p, const struct provider_options *options)
{
	p->options = *options;
	if (!p->options.block)
		p->options.block = 1;
}

/* A party may make tickets up to a number that only rises. */
static int credit_frame(struct end *end, const struct frame *f, struct err *e)
{
	if (!end->pairing || !end->pairing->live)
		return error_of(e, end->channel, "sent CREDIT before it was paired");
	if (f->lane <= end->credit)
		return error_of(e, end->channel, "sent CREDIT for %u tickets after %llu", f->lane,
				(unsigned long long)end->credit);
	end->credit = f->lane;
	return 0;
}

int provider_frame(struct provider *p, struct channel *from, const struct frame *f, struct err *e)
{
	struct end *end = end_find(p, from, f->session);
	struct err why = {0};

	if (f->type == FRAME_PAIR) {
		if (pair_frame(p, from, f, e) < 0)
			return -1;
	} else if (!end) {
		return 0; /* it crossed our ERROR or CLOSE on its way */
	} else if (f->type == FRAME_CLOSE) {
		err_set(&why, ERR_NONE, "%s closed the session", from->name);
		end_session(p, end, &why, from);
	} else if (f->type == FRAME_ERROR) {
		error_read(&why, from, f);
		end_session(p, end, &why, from);
	} else {
		if (f->type != FRAME_CREDIT)
			error_of(&why, from, "sent %s, which has no place at a provider",
				 frame_name(f->type));
		if (why.code || credit_frame(end, f, &why) < 0) {
			end_session(p, end, &why, NULL);
			*e = why;
			return -1;
		}
	}
	tickets_work(p);
	return 0;
}

void provider_lost(struct provider *p, struct channel *c)
{
	struct err why = {0};
	struct end *end = p->ends;

	error_of(&why, c, "went away");
	while (end) {
		if (end->channel != c) {
			end = end->next;
			continue;
		}
		end_session(p, end, &why, c);
		end = p->ends; /* the list has changed */
	}
	tickets_work(p);
}

void provider_tick(struct provider *p)
{
	uint64_t now = provider_now(p), limit = (uint64_t)p->options.connect_ms * 1000;
	struct end *next;

	for (struct end *end = p->ends; end; end = next) {
		struct err why = {0};

		next = end->next;
		if (end->pairing || now - end->since_us < limit)
			continue;
		err_set(&why, ERR_REACH,
			"the other party of the session did not come to the provider within %u ms",
			p->options.connect_ms);
		end_session(p, end, &why, NULL);
	}
	tickets_work(p);
}

uint64_t provider_due(const struct provider *p)
{
	uint64_t due = tickets_due(p), limit = (uint64_t)p->options.connect_ms * 1000;

	for (const struct end *end = p->ends; end; end = end->next)
		if (!end->pairing && end->since_us + limit < due)
			due = end->since_us + limit;
	return due;
}

void provider_status(const struct provider *p, struct provider_status *s)
{
	*s = (struct provider_status){.made = p->made, .bytes = p->bytes};
	for (const struct pairing *x = p->pairings; x; x = x->next)
		s->sessions++;
	for (const struct end *end = p->ends; end; end = end->next)
		s->waiting += !end->pairing;
}

void provider_free(struct provider *p)
{
	struct err closed = {0};

	if (!p)
		return;
	while (p->ends)
		end_session(p, p->ends, &closed, NULL);
	mask_free_all(p);
	p->gone = 1;
	if (!p->jobs)
		free(p);
}
