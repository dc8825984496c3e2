/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/local.h"

#include <stdlib.h>

#include "daemon/memory.h"

struct local {
	struct data_owner *owner;
	struct jobs *jobs;
	struct asked *asked;
	struct memory_pool memory;
};

/* One CLASSIFY under way. The client may go before its answer comes. */
struct asked {
	struct asked *next;
	struct memory *memory; /* owns: itself, the request as it was read */
	struct local *local;
	struct conn *client;
	uint32_t lane; /* the client's own number for it */
};

static void forget(struct asked *a)
{
	struct asked **at = &a->local->asked;

	while (*at != a)
		at = &(*at)->next;
	*at = a->next;
	memory_free(a->memory);
}

static void reply(void *ctx, const Wire__Classified *classified)
{
	struct asked *a = ctx;

	if (a->client) {
		struct channel *c = conn_channel(a->client);

		channel_send_message(c, FRAME_CLASSIFIED, 0, a->lane, classified);
		c->ops->flush(c);
	}
	forget(a);
}

/* For protobuf-c: what it takes goes with the rest. */
static void *unpack_take(void *memory, size_t n)
{
	return memory_take(memory, n);
}

static void unpack_give(void *memory, void *p)
{
}

static int on_classify(struct local *l, struct conn *c, const struct frame *f, struct err *e)
{
	struct memory *m = memory_new(&l->memory);
	ProtobufCAllocator allocator = {unpack_take, unpack_give, m};
	Wire__Classify *request = m ? wire__classify__unpack(&allocator, f->length, f->body) : NULL;
	struct asked *a = request ? memory_take(m, sizeof(*a)) : NULL;

	if (!a) {
		memory_free(m);
		return err_set(e, ERR_PEER, "sent a CLASSIFY that cannot be read");
	}
	*a = (struct asked){l->asked, m, l, c, f->lane};
	l->asked = a;
	data_owner_classify(l->owner, request, reply, a);
	return 0;
}

static int on_job(struct local *l, struct conn *c, const struct frame *f, struct err *e)
{
	return l->jobs ? jobs_frame(l->jobs, c, f, e)
		       : err_set(e, ERR_PEER, "sent a JOB where there is no ledger");
}

static void on_status(struct local *l, struct conn *c)
{
	Wire__Status status = WIRE__STATUS__INIT;

	data_owner_status(l->owner, &status);
	channel_send_message(conn_channel(c), FRAME_STATUS_REPLY, 0, 0, &status);
	conn_channel(c)->ops->flush(conn_channel(c));
	data_owner_status_free(&status);
}

static void local_up(void *ctx, struct conn *c)
{
}

static int local_frame(void *ctx, struct conn *c, const struct frame *f, struct err *e)
{
	if (f->type == FRAME_CLASSIFY)
		return on_classify(ctx, c, f, e);
	if (f->type == FRAME_JOB)
		return on_job(ctx, c, f, e);
	if (f->type == FRAME_STATUS)
		on_status(ctx, c);
	else if (f->type != FRAME_CLOSE)
		return err_set(e, ERR_PEER, "sent %s, which the local API does not know",
			       frame_name(f->type));
	return 0;
}

static void local_down(void *ctx, struct conn *c, const struct err *why)
{
	struct local *l = ctx;

	for (struct asked *a = l->asked; a; a = a->next)
		if (a->client == c)
			a->client = NULL;
	if (l->jobs)
		jobs_client_gone(l->jobs, c);
}

int local_new(struct local **local, struct net *net, const char *path, struct data_owner *d,
	      struct jobs *jobs, struct err *e)
{
	static const struct net_handler handler = {local_up, local_frame, NULL, local_down};
	struct local *l = calloc(1, sizeof(*l));

	*local = NULL;
	if (!l)
		return err_set(e, ERR_ENV, "out of memory");
	l->owner = d;
	l->jobs = jobs;
	if (net_listen_unix(net, path, &handler, l, e)) {
		free(l);
		return -1;
	}
	*local = l;
	return 0;
}

void local_free(struct local *l)
{
	while (l && l->asked)
		forget(l->asked);
	if (l)
		memory_pool_free(&l->memory);
	free(l);
}
