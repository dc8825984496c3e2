/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/enclave_link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/enclave_client.h"
#include "daemon/log.h"
#include "daemon/metrics.h"

#define WANTED_S 600 /* not used for so long: a lost connection is not made again before somebody asks */
#define BACKOFF_FIRST_US 100000
#define BACKOFF_MOST_US 10000000
#define RETRIES 1 /* of a request whose connection was lost before its answer */

/* One try to connect, on a worker. What it reads is its own: the configuration may change meanwhile. */
struct dialling {
	struct job job;		   /* first */
	struct enclave_link *link; /* NULL: it has gone */
	struct config config;	   /* only the strings below, which it owns, and step_ms */
	struct enclave_how how;
	struct enclave_trust *trust; /* owns meanwhile */
	struct enclave *x;	     /* result */
	struct err err;
};

struct enclave_link {
	struct net *net;
	const struct config *config;
	struct enclave *x; /* NULL: not connected */
	struct event *readable, *writable;
	struct dialling *dialling;
	struct enclave_trust *trust;   /* owns: what the files say; NULL: to be read */
	struct request *first, *asked; /* waiting; under way, out of the list */
	struct err why;		       /* of the last loss or refusal */
	uint64_t until_us;	       /* when the proof becomes too old to send new pictures under it */
	uint64_t used_us, again_us, backoff_us;
	int renew, pumping, ever;
};

static uint64_t now_us(const struct enclave_link *l)
{
	const struct host *host = net_host(l->net);

	return host->now_us(host->ctx);
}

static uint64_t old_us(const struct enclave_link *l)
{
	return l->renew ? 0 : l->until_us;
}

static int is_old(const struct enclave_link *l, uint64_t now)
{
	return now >= old_us(l);
}

/* ---- answers ---- */

static void refuse(struct request *r, const struct err *e)
{
	request_refuse(r, e);
	request_free(r);
}

static void count_inference(const struct enclave_link *l, const Wire__Classified *m)
{
	const Wire__Result *first = m->results[0];

	metrics_add(METRIC_inferences_total, 1, METRIC_NO_LABELS);
	if (enclave_simulated(l->x))
		metrics_add(METRIC_simulated_inferences_total, 1, METRIC_NO_LABELS);
	metrics_add(METRIC_round_trips_total, 1, METRIC_NO_LABELS);
	metrics_observe(METRIC_online_seconds, first->online, METRIC_LABELS(m->model));
	for (size_t i = 0; i < m->n_results; i++) {
		const Wire__Counted *c = m->results[i]->bytes->online;

		metrics_add(METRIC_payload_bytes_total, (double)c->sent, METRIC_LABELS("online", "sent"));
		metrics_add(METRIC_payload_bytes_total, (double)c->received,
			    METRIC_LABELS("online", "received"));
	}
}

static void answered(struct enclave_link *l, Wire__Classified *m)
{
	struct request *r = l->asked;
	uint64_t now = now_us(l);

	l->asked = NULL;
	l->used_us = now;
	for (size_t i = 0; i < m->n_results; i++) {
		m->results[i]->connect =
		    (double)(r->ready_us - r->asked_us) / 1e6; /* what this one waited, for others too */
		m->results[i]->total = (double)(now - r->asked_us) / 1e6;
	}
	if (m->n_results)
		count_inference(l, m);
	request_answer(r, m);
	request_free(r);
	wire__classified__free_unpacked(m, NULL);
}

/* ---- the connection ---- */

static void disconnect(struct enclave_link *l)
{
	if (l->readable)
		event_free(l->readable);
	if (l->writable)
		event_free(l->writable);
	l->readable = l->writable = NULL;
	enclave_close(l->x);
	l->x = NULL;
}

/* A request that was under way is asked once more, of a new connection: nothing is lost by asking twice. What
 * the enclave itself has refused is not. */
static void lost(struct enclave_link *l, const struct err *why)
{
	struct request *r = l->asked;

	log_err(l->asked || why->code != ERR_REACH ? LOG_WARNING : LOG_INFO, "the enclave's connection ended",
		why);
	l->why = *why;
	l->asked = NULL;
	disconnect(l);
	if (!r)
		return;
	if (why->code == ERR_REACH && r->tries++ < RETRIES) {
		r->next = l->first;
		l->first = r;
		return;
	}
	refuse(r, why);
}

static void pump(struct enclave_link *l);
static void dial(struct enclave_link *l);

static void on_event(evutil_socket_t fd, short what, void *ctx)
{
	pump(ctx);
}

static void forget_trust(struct enclave_link *l)
{
	enclave_trust_free(l->trust);
	l->trust = NULL;
}

/* Whether the connection has to be made anew, and has been let go. */
static int let_go(struct enclave_link *l)
{
	if (!is_old(l, now_us(l)))
		return 0;
	disconnect(l);
	forget_trust(l);
	return 1;
}

/* Also where requests follow each other without a pause, none goes out under a proof that is too old. */
static void ask_next(struct enclave_link *l)
{
	struct request *r = l->first;

	if (!l->x || l->asked || !r)
		return;
	if (let_go(l)) {
		dial(l);
		return;
	}
	l->first = r->next;
	r->next = NULL;
	r->ready_us = now_us(l);
	l->asked = r;
	enclave_ask(l->x, r->packed, r->packed_bytes, r->images, r->image_bytes);
	net_asked(l->net);
}

static void pump(struct enclave_link *l)
{
	Wire__Classified *reply;
	struct err e = {0};
	int r = 0, writes;

	if (l->pumping) /* the receiver of an answer has asked again */
		return;
	l->pumping = 1;
	do {
		ask_next(l);
		r = l->x ? enclave_pump(l->x, &writes, &reply, &e) : 0;
		if (r > 0) {
			net_answered(l->net);
			answered(l, reply);
		} else if (r < 0) {
			lost(l, &e);
		} else if (l->x && writes) {
			event_add(l->writable, NULL);
		}
	} while (r > 0 && l->x);
	l->pumping = 0;
}

static void dialling_free(struct dialling *d)
{
	struct config *c = &d->config;

	free(c->enclave);
	free(c->ca);
	free(c->certificate);
	free(c->key);
	free(c->policy);
	free(c->congestion);
	enclave_trust_free(d->trust);
	free(d);
}

static void dial_run(struct job *job)
{
	struct dialling *d = (struct dialling *)job;

	if (enclave_dial(&d->x, &d->how, &d->err) || enclave_loose(d->x, &d->err)) {
		enclave_close(d->x);
		d->x = NULL;
	}
}

static void refuse_waiting(struct enclave_link *l, const struct err *why)
{
	struct request *r;

	while ((r = l->first)) {
		l->first = r->next;
		r->next = NULL;
		refuse(r, why);
	}
}

/* Who waits is told at once: it may ask again. */
static void not_connected(struct enclave_link *l, const struct err *why)
{
	if (strcmp(l->why.text, why->text) != 0)
		log_err(LOG_WARNING, "no enclave", why);
	l->why = *why;
	l->again_us = now_us(l) + l->backoff_us;
	l->backoff_us = 2 * l->backoff_us < BACKOFF_MOST_US ? 2 * l->backoff_us : BACKOFF_MOST_US;
	refuse_waiting(l, why);
}

static void connected(struct enclave_link *l, struct enclave *x)
{
	disconnect(l); /* the one before, which has become old */
	l->x = x;
	l->readable = event_new(net_base(l->net), enclave_fd(x), EV_READ | EV_PERSIST, on_event, l);
	l->writable = event_new(net_base(l->net), enclave_fd(x), EV_WRITE, on_event, l);
	if (!l->readable || !l->writable || event_add(l->readable, NULL)) {
		disconnect(l);
		return;
	}
	l->until_us = now_us(l) + UINT64_C(1000000) * enclave_attestation_age(x);
	l->backoff_us = BACKOFF_FIRST_US;
	l->why = (struct err){0};
	log_line(LOG_INFO, "connected to the enclave at %.200s, which has proved itself%s",
		 l->config->enclave, enclave_simulated(x) ? " (simulated: no hardware isolation)" : "");
	pump(l);
}

static void dial_done(struct job *job)
{
	struct dialling *d = (struct dialling *)job;
	struct enclave_link *l = d->link;

	if (l)
		l->dialling = NULL;
	if (l && d->x && !l->renew) { /* who was refused may change the files */
		l->trust = d->trust;
		d->trust = NULL;
	}
	if (l && d->x)
		connected(l, d->x);
	else if (l)
		not_connected(l, &d->err);
	else
		enclave_close(d->x);
	dialling_free(d);
}

static void dial(struct enclave_link *l)
{
	struct dialling *d = l->dialling || net_stopping(l->net) ? NULL : calloc(1, sizeof(*d));
	const struct config *c = l->config;
	const struct host *host = net_host(l->net);

	if (!d)
		return;
	d->job = (struct job){dial_run, dial_done, 0};
	d->link = l;
	d->config.enclave = strdup(c->enclave);
	d->config.ca = strdup(c->ca);
	d->config.certificate = strdup(c->certificate);
	d->config.key = strdup(c->key);
	d->config.policy = strdup(c->policy);
	d->config.congestion = strdup(c->congestion);
	d->config.step_ms = c->step_ms;
	d->how = (struct enclave_how){.config = &d->config,
				      .policy = d->config.policy,
				      .accept_simulated = !strcmp(c->accept_simulated, "on"),
				      .role = 'D',
				      .keep = &d->trust};
	if (l->renew)
		forget_trust(l);
	d->trust = l->trust;
	l->trust = NULL;
	l->renew = 0;
	if (!d->config.enclave || !d->config.ca || !d->config.certificate || !d->config.key ||
	    !d->config.policy || !d->config.congestion) {
		dialling_free(d);
		return;
	}
	l->dialling = d;
	host->submit(host->ctx, &d->job);
}

/* ---- the clock ---- */

static void expire(struct enclave_link *l, uint64_t now)
{
	static const struct err late = {
	    .code = ERR_REACH, .text = "the enclave did not answer within the deadline of the request"};

	for (struct request **at = &l->first, *r; (r = *at);) {
		if (now < r->deadline_us) {
			at = &r->next;
			continue;
		}
		*at = r->next;
		refuse(r, &late);
	}
	if (l->asked && now >= l->asked->ready_us + l->config->step_ms * 1000) {
		l->asked->tries = RETRIES;
		lost(l, &late);
	}
}

static int is_wanted(const struct enclave_link *l, uint64_t now)
{
	return l->first || (l->ever && now < l->used_us + UINT64_C(1000000) * WANTED_S);
}

uint64_t enclave_link_due(const struct enclave_link *l)
{
	if (l->first || l->asked)
		return 0;
	if (l->x)
		return old_us(l);
	return is_wanted(l, now_us(l)) && !l->dialling && !net_stopping(l->net) ? l->again_us : UINT64_MAX;
}

void enclave_link_tick(struct enclave_link *l)
{
	uint64_t now = now_us(l);

	expire(l, now);
	if (l->x && !l->asked)
		let_go(l);
	if (!l->x && is_wanted(l, now) && now >= l->again_us)
		dial(l);
	if (l->first && l->x)
		pump(l);
}

/* ---- life ---- */

struct enclave_link *enclave_link_new(struct net *net, const struct config *config)
{
	struct enclave_link *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->net = net;
	l->config = config;
	l->backoff_us = BACKOFF_FIRST_US;
	return l;
}

void enclave_link_ask(struct enclave_link *l, struct request *r, const Wire__Classify *q)
{
	struct request **at = &l->first;
	struct err e = {0};

	r->packed_bytes = enclave_packed(q);
	r->packed = memory_take(r->memory, r->packed_bytes);
	if (!r->packed || r->packed_bytes > ENCLAVE_BODY_MAX) {
		err_set(&e, ERR_ENV, "%zu bytes are too many for one question to an enclave",
			r->packed_bytes);
		refuse(r, &e);
		return;
	}
	enclave_pack(q, r->packed);
	while (*at)
		at = &(*at)->next;
	*at = r;
	l->ever = 1;
	if (l->x && (l->asked || !is_old(l, now_us(l)))) {
		pump(l);
		return;
	}
	l->again_us = 0;
	enclave_link_tick(l);
}

void enclave_link_renew(struct enclave_link *l)
{
	l->renew = 1;
}

int enclave_link_busy(const struct enclave_link *l)
{
	return l->first || l->asked;
}

const char *enclave_link_state(const struct enclave_link *l, const char **error)
{
	*error = l->why.text;
	if (!l->ever)
		return NULL;
	if (!l->x)
		return l->dialling ? "connecting" : "not connected";
	return enclave_simulated(l->x) ? "connected (simulated: no hardware isolation)" : "connected";
}

void enclave_link_free(struct enclave_link *l)
{
	static const struct err stops = {.code = ERR_REACH, .text = "the data owner stops"};

	if (!l)
		return;
	if (l->dialling)
		l->dialling->link = NULL;
	if (l->asked)
		refuse(l->asked, &stops);
	l->asked = NULL;
	refuse_waiting(l, &stops);
	disconnect(l);
	forget_trust(l);
	free(l);
}
