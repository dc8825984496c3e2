/* SPDX-License-Identifier: Apache-2.0 */
#include "client/ask.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/data_owner.h"
#include "daemon/log.h"

#define JOB_MS 60000  /* for the ledger's disk */
#define GRACE_MS 2000 /* after the deadline of a request, for its refusal to arrive */

struct ask {
	struct net *net;
	const struct config *config; /* borrows */
	struct data_owner *owner;    /* standalone only */
	struct conn *daemon;	     /* NULL before HELLO and after a loss */
	struct event *alarm;
	/* the question under way */
	uint8_t wanted; /* frame type; 0: that the connection comes up */
	uint32_t lane;
	int done;
	uint8_t *packed; /* owns: the answer */
	size_t bytes;
	struct err err;
};

static void finish(struct ask *a)
{
	a->done = 1;
	net_stop(a->net);
}

static void keep(struct ask *a, const uint8_t *bytes, size_t n)
{
	a->packed = malloc(n + 1);
	if (!a->packed) {
		err_set(&a->err, ERR_ENV, "out of memory for an answer of %zu bytes", n);
	} else {
		memcpy(a->packed, bytes, n);
		a->bytes = n;
	}
	finish(a);
}

/* ---- the daemon's answers ---- */

static void on_up(void *ctx, struct conn *c)
{
	struct ask *a = ctx;

	a->daemon = c;
	if (!a->wanted)
		finish(a);
}

static int on_frame(void *ctx, struct conn *c, const struct frame *f, struct err *e)
{
	struct ask *a = ctx;

	if (a->done || f->type != a->wanted || (f->type != FRAME_STATUS_REPLY && f->lane != a->lane))
		return err_set(e, ERR_PEER, "sent %s, which nobody asked for", frame_name(f->type));
	keep(a, f->body, f->length);
	return 0;
}

static void on_down(void *ctx, struct conn *c, const struct err *why)
{
	struct ask *a = ctx;

	a->daemon = NULL;
	if (a->done)
		return;
	a->err = *why;
	if (!a->err.code)
		err_set(&a->err, ERR_REACH, "the connection ended");
	finish(a);
}

static void on_alarm(evutil_socket_t fd, short what, void *ctx)
{
	struct ask *a = ctx;

	if (a->done)
		return;
	err_set(&a->err, ERR_REACH, "the data owner does not answer%s",
		a->wanted ? "" : "; --socket names its local socket (not admin.sock, not http.sock)");
	finish(a);
}

/* Runs the loop until the answer is there, or it is clear that none will come. */
static int await(struct ask *a, uint64_t deadline_ms, struct err *e)
{
	struct timeval alarm = {.tv_sec = (time_t)(deadline_ms / 1000),
				.tv_usec = (suseconds_t)(deadline_ms % 1000 * 1000)};

	event_add(a->alarm, &alarm);
	if (!a->done && net_run(a->net, &a->err))
		a->done = 1;
	event_del(a->alarm);
	if (!a->done)
		return err_set(e, ERR_RESULT, "interrupted");
	if (a->err.code)
		return a->err.peer[0] ? err_set(e, a->err.code, "%s: %s", a->err.peer, a->err.text)
				      : err_set(e, a->err.code, "%s", a->err.text);
	return 0;
}

static void prepare(struct ask *a, uint8_t wanted)
{
	free(a->packed);
	a->packed = NULL;
	a->bytes = 0;
	a->done = 0;
	a->err = (struct err){0};
	a->wanted = wanted;
	a->lane++;
}

/* ---- opening ---- */

static int open_daemon(struct ask *a, struct err *e)
{
	static const struct net_handler handler = {on_up, on_frame, NULL, on_down};

	if (net_connect_unix(a->net, a->config->socket, &handler, a, e))
		return -1;
	prepare(a, 0);
	return await(a, a->config->connect_ms, e);
}

int ask_open(struct ask **ask, const struct config *config, int standalone, struct err *e)
{
	struct ask *a = calloc(1, sizeof(*a));

	*ask = NULL;
	if (!a)
		return err_set(e, ERR_ENV, "out of memory");
	a->config = config;
	/* what happens on the way is the daemon's log; here one line says how it ended */
	log_open("error", "obscura");
	if (net_new(&a->net, config, standalone ? ROLE_D : ROLE_L, e))
		goto fail;
	a->alarm = event_new(net_base(a->net), -1, 0, on_alarm, a);
	if (!a->alarm) {
		err_set(e, ERR_ENV, "out of memory");
		goto fail;
	}
	if (standalone ? data_owner_new(&a->owner, a->net, config, e) : open_daemon(a, e))
		goto fail;
	*ask = a;
	return 0;
fail:
	ask_close(a);
	return -1;
}

void ask_close(struct ask *a)
{
	if (!a)
		return;
	a->done = 1; /* the connection that ends now tells nobody */
	net_drain(a->net);
	data_owner_free(a->owner);
	if (a->alarm)
		event_free(a->alarm);
	net_free(a->net);
	free(a->packed);
	free(a);
}

/* ---- questions ---- */

static void on_reply(void *ctx, const Wire__Classified *reply)
{
	struct ask *a = ctx;

	a->bytes = wire__classified__get_packed_size(reply);
	a->packed = malloc(a->bytes + 1);
	if (a->packed)
		wire__classified__pack(reply, a->packed);
	else
		err_set(&a->err, ERR_ENV, "out of memory for an answer");
	finish(a);
}

static int still_there(const struct ask *a, struct err *e)
{
	return a->owner || a->daemon
		   ? 0
		   : err_set(e, ERR_REACH, "the connection to the data owner's daemon was lost");
}

/* "P: P refused …" says the same twice. */
static const char *once(const char *text)
{
	const char *rest = strstr(text, ": ");

	return rest && !strncmp(text, rest + 2, (size_t)(rest - text)) ? rest + 2 : text;
}

static int refused(const Wire__Error *error, struct err *e)
{
	enum err_code code =
	    error->code >= ERR_RESULT && error->code <= ERR_ENV ? (enum err_code)error->code : ERR_PEER;

	return err_set(e, code, "%.500s", once(error->text));
}

static int classify(struct ask *a, const Wire__Classify *request, struct err *e)
{
	if (still_there(a, e))
		return -1;
	prepare(a, FRAME_CLASSIFIED);
	if (a->owner) {
		data_owner_classify(a->owner, request, on_reply, a);
	} else {
		struct channel *c = conn_channel(a->daemon);

		channel_send_message(c, FRAME_CLASSIFY, 0, a->lane, request);
		c->ops->flush(c);
	}
	return await(a, request->deadline_ms + GRACE_MS, e);
}

/* A daemon that stops ends what it has begun, and no more: a question that it has not read goes to the one
 * that comes after it. */
static int ask_the_next(struct ask *a, const Wire__Classify *request, struct err *why)
{
	struct err e = {0};

	if (a->owner || a->daemon || why->code != ERR_REACH || open_daemon(a, &e))
		return -1;
	*why = (struct err){0};
	return classify(a, request, why);
}

int ask_classify(struct ask *a, const Wire__Classify *request, Wire__Classified **reply, struct err *e)
{
	struct err why = {0};

	*reply = NULL;
	if (classify(a, request, &why) && ask_the_next(a, request, &why))
		return err_set(e, why.code, "%s", why.text);
	*reply = wire__classified__unpack(NULL, a->bytes, a->packed);
	if (!*reply)
		return err_set(e, ERR_PEER, "the data owner's answer cannot be read");
	if (!(*reply)->error)
		return 0;
	refused((*reply)->error, e);
	wire__classified__free_unpacked(*reply, NULL);
	*reply = NULL;
	return -1;
}

int ask_job(struct ask *a, const Wire__Job *job, Wire__JobReply **reply, struct err *e)
{
	struct channel *c;

	*reply = NULL;
	if (still_there(a, e))
		return -1;
	prepare(a, FRAME_JOB_REPLY);
	c = conn_channel(a->daemon);
	channel_send_message(c, FRAME_JOB, 0, a->lane, job);
	c->ops->flush(c);
	if (await(a, JOB_MS, e))
		return -1;
	*reply = wire__job_reply__unpack(NULL, a->bytes, a->packed);
	if (!*reply)
		return err_set(e, ERR_PEER, "the data owner's answer cannot be read");
	if (!(*reply)->error)
		return 0;
	refused((*reply)->error, e);
	wire__job_reply__free_unpacked(*reply, NULL);
	*reply = NULL;
	return -1;
}

int ask_status(struct ask *a, Wire__Status **reply, struct err *e)
{
	struct frame question = {.type = FRAME_STATUS};
	struct channel *c;

	*reply = NULL;
	if (still_there(a, e))
		return -1;
	prepare(a, FRAME_STATUS_REPLY);
	c = conn_channel(a->daemon);
	c->ops->send(c, &question);
	c->ops->flush(c);
	if (await(a, 5000, e))
		return -1;
	*reply = wire__status__unpack(NULL, a->bytes, a->packed);
	return *reply ? 0 : err_set(e, ERR_PEER, "the data owner's answer cannot be read");
}
