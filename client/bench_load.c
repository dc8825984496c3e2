/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps a number of requests under way at each of several data owners' sockets, for a time, and takes notes.
 * One thread, connections that stay: the driver must cost little beside what it measures. */
#include <stdlib.h>
#include <string.h>

#include "client/bench.h"
#include "daemon/log.h"
#include "daemon/net.h"
#include "wire.pb-c.h"

#define GRACE_S 130 /* for what is under way when the time is over */
#define DEADLINE_MS 120000
#define IN_FLIGHT_MAX 64
#define WAITED 1e-4 /* seconds: personalities but smpc count a request's way to its session as waiting */

/* One request under way. */
struct flight {
	double sent;
	size_t first; /* its first image */
	int busy;
};

/* One data owner. */
struct link_to {
	struct load *load;
	struct conn *conn; /* NULL: lost, or not up yet */
	struct flight flights[IN_FLIGHT_MAX];
};

struct load {
	struct net *net;
	struct config config;  /* the command line's defaults */
	struct link_to *links; /* own; n */
	size_t n, up;
	struct event *alarm;
	struct err err;
	int done;
	/* the run at hand */
	const struct load_spec *spec;
	struct load_result *result;
	double start;
	size_t sent, under_way, next_image;
	/* the status that is asked for */
	Wire__Status *status;
	int asked;
	enum personality personality;
};

static void finish(struct load *l)
{
	l->done = 1;
	net_stop(l->net);
}

static void fail(struct load *l, const struct err *why)
{
	if (!l->err.code)
		l->err = *why;
	if (!l->err.code)
		err_set(&l->err, ERR_REACH, "the connection to a data owner ended");
	finish(l);
}

/* ---- requests ---- */

static int may_send(const struct load *l)
{
	const struct load_spec *s = l->spec;

	return l->sent < s->requests && (!l->sent || bench_now() - l->start < s->seconds);
}

static void send_one(struct link_to *k, size_t slot)
{
	struct load *l = k->load;
	const struct load_spec *s = l->spec;
	const struct bench_model *m = s->model;
	struct flight *f = &k->flights[slot];
	ProtobufCBinaryData images[4096];
	Wire__Classify q = WIRE__CLASSIFY__INIT;
	char *personalities[] = {(char *)(uintptr_t)personality_name(l->personality)};
	struct channel *c = conn_channel(k->conn);

	q.model = (char *)(uintptr_t)m->name;
	q.optimise = s->optimise;
	q.reveal = REVEAL_LOGITS;
	q.personalities = personalities;
	q.n_personalities = l->personality != PERSONALITY_SMPC;
	q.deadline_ms = DEADLINE_MS;
	q.describe = s->describe;
	q.images = images;
	f->first = l->next_image;
	for (; !s->describe && q.n_images < s->batch; q.n_images++) {
		images[q.n_images] = (ProtobufCBinaryData){m->pixels, m->images + l->next_image * m->pixels};
		l->next_image = (l->next_image + 1) % m->n;
	}
	f->busy = 1;
	l->sent++;
	l->under_way++;
	f->sent = bench_now();
	channel_send_message(c, FRAME_CLASSIFY, 0, (uint32_t)slot, &q);
	c->ops->flush(c);
}

static int more_room(struct load_result *r, struct err *e)
{
	size_t room = r->room ? 2 * r->room : 1024;
	double **lists[] = {&r->client, &r->online, &r->offline};

	if (r->requests < r->room)
		return 0;
	for (int i = 0; i < 3; i++) {
		double *list = reallocarray(*lists[i], room, sizeof(*list));

		if (!list)
			return err_set(e, ERR_ENV, "out of memory for %zu requests", room);
		*lists[i] = list;
	}
	r->room = room;
	return 0;
}

static struct counted counted_of(const Wire__Counted *c)
{
	return c ? (struct counted){c->sent, c->received, c->provider} : (struct counted){0};
}

static void add(struct counted *sum, struct counted c)
{
	sum->sent += c.sent;
	sum->received += c.received;
	sum->provider += c.provider;
}

static int same(struct counted a, struct counted b)
{
	return a.sent == b.sent && a.received == b.received && a.provider == b.provider;
}

static void judge(struct judged *j, const struct bench_model *m, uint32_t label, size_t image)
{
	j->images++;
	j->agree += label == m->labels[image];
	if (!m->truth)
		return;
	j->right += label == (uint32_t)m->truth[image];
	j->float_right += m->labels[image] == (uint32_t)m->truth[image];
}

/* One image's answer. */
static void note_image(struct load *l, const Wire__Result *x, size_t image)
{
	struct load_result *r = l->result;
	struct counted on = counted_of(x->bytes ? x->bytes->online : NULL),
		       off = counted_of(x->bytes ? x->bytes->offline : NULL);

	r->images++;
	judge(&r->judged, l->spec->model, x->label, image);
	r->unlike += !same(on, r->predicted_on) || !same(off, r->predicted_off) ||
		     x->round_trips != r->predicted_round_trips;
	r->round_trips = x->round_trips;
	add(&r->on, on);
	add(&r->off, off);
	add(&r->wire_on, counted_of(x->wire ? x->wire->online : NULL));
	if (r->connect < x->connect)
		r->connect = x->connect;
}

int load_is_warm(const struct load *l, double offline)
{
	return offline <= (l->personality == PERSONALITY_SMPC ? 0 : WAITED);
}

static int note(struct load *l, const struct flight *f, const Wire__Classified *c, double seconds,
		struct err *e)
{
	struct load_result *r = l->result;

	if (c->error)
		return err_set(e, ERR_PEER, "a data owner refused: %.300s", c->error->text);
	if (!l->spec->describe && c->n_results != l->spec->batch)
		return err_set(e, ERR_PEER, "a data owner gave %zu results for %zu images", c->n_results,
			       l->spec->batch);
	if (more_room(r, e))
		return -1;
	r->predicted_on = counted_of(c->predicted ? c->predicted->online : NULL);
	r->predicted_off = counted_of(c->predicted ? c->predicted->offline : NULL);
	r->predicted_round_trips = c->predicted_round_trips;
	r->setup_bytes = c->setup_bytes;
	for (size_t i = 0; i < c->n_results; i++)
		note_image(l, c->results[i], (f->first + i) % l->spec->model->n);
	r->client[r->requests] = seconds;
	r->online[r->requests] = c->n_results ? c->results[0]->online : 0;
	r->offline[r->requests] = c->n_results ? c->results[0]->offline : 0;
	r->warm += load_is_warm(l, r->offline[r->requests]);
	r->requests++;
	return 0;
}

static int on_classified(struct load *l, struct link_to *k, const struct frame *f, struct err *e)
{
	double now = bench_now();
	struct flight *flight = f->lane < IN_FLIGHT_MAX ? &k->flights[f->lane] : NULL;
	Wire__Classified *c;
	int failed;

	if (!flight || !flight->busy)
		return err_set(e, ERR_PEER, "a data owner answered what nobody asked");
	c = wire__classified__unpack(NULL, f->length, f->body);
	failed =
	    c ? note(l, flight, c, now - flight->sent, e) : err_set(e, ERR_PEER, "an answer cannot be read");
	wire__classified__free_unpacked(c, NULL);
	if (failed)
		return -1;
	flight->busy = 0;
	l->under_way--;
	l->result->wall = now - l->start;
	if (may_send(l))
		send_one(k, f->lane);
	else if (!l->under_way)
		finish(l);
	return 0;
}

/* ---- connections ---- */

static void on_up(void *ctx, struct conn *c)
{
	struct link_to *k = ctx;

	k->conn = c;
	if (++k->load->up == k->load->n)
		finish(k->load);
}

static int on_frame(void *ctx, struct conn *c, const struct frame *f, struct err *e)
{
	struct link_to *k = ctx;
	struct load *l = k->load;

	if (f->type == FRAME_CLASSIFIED && l->spec) {
		struct err why = {0};

		if (on_classified(l, k, f, &why))
			fail(l, &why);
		return 0;
	}
	if (f->type != FRAME_STATUS_REPLY || !l->asked)
		return err_set(e, ERR_PEER, "sent %s, which nobody asked for", frame_name(f->type));
	l->status = wire__status__unpack(NULL, f->length, f->body);
	finish(l);
	return 0;
}

static void on_down(void *ctx, struct conn *c, const struct err *why)
{
	struct link_to *k = ctx;

	k->conn = NULL;
	if (!k->load->done)
		fail(k->load, why);
}

static void on_alarm(evutil_socket_t fd, short what, void *ctx)
{
	struct err e = {0};

	err_set(&e, ERR_REACH, "a data owner does not answer");
	fail(ctx, &e);
}

static int await(struct load *l, double seconds, struct err *e)
{
	struct timeval tv = {.tv_sec = (time_t)seconds + 1};
	int failed = 0;

	event_add(l->alarm, &tv);
	if (!l->done)
		failed = net_run(l->net, e);
	event_del(l->alarm);
	if (failed)
		return -1;
	if (!l->done)
		return err_set(e, ERR_RESULT, "interrupted");
	return l->err.code ? err_set(e, l->err.code, "%s", l->err.text) : 0;
}

static int connect_all(struct load *l, const struct roles *r, struct err *e)
{
	static const struct net_handler handler = {on_up, on_frame, NULL, on_down};
	char path[112];

	for (size_t i = 0; i < l->n; i++) {
		l->links[i].load = l;
		if (net_connect_unix(l->net, roles_socket(r, i, path), &handler, &l->links[i], e))
			return -1;
	}
	return await(l, 10, e);
}

int load_open(struct load **load, const struct roles *r, size_t n, struct err *e)
{
	struct load *l = calloc(1, sizeof(*l));

	*load = NULL;
	if (!l)
		return err_set(e, ERR_ENV, "out of memory");
	log_open("error", "obscura");
	l->n = n;
	l->links = calloc(n, sizeof(*l->links));
	if (!l->links)
		err_set(e, ERR_ENV, "out of memory");
	else if (!config_defaults(&l->config, 'L', e) && !net_new(&l->net, &l->config, ROLE_L, e)) {
		l->alarm = event_new(net_base(l->net), -1, 0, on_alarm, l);
		if (l->alarm && !connect_all(l, r, e)) {
			*load = l;
			return 0;
		}
	}
	load_close(l);
	return -1;
}

void load_close(struct load *l)
{
	if (!l)
		return;
	l->done = 1; /* connections that end now are not missed */
	net_drain(l->net);
	if (l->alarm)
		event_free(l->alarm);
	net_free(l->net);
	config_free(&l->config);
	free(l->links);
	free(l);
}

void load_personality(struct load *l, enum personality p)
{
	l->personality = p;
}

/* ---- questions ---- */

static int all_up(const struct load *l, struct err *e)
{
	for (size_t i = 0; i < l->n; i++)
		if (!l->links[i].conn)
			return err_set(e, ERR_REACH, "the connection to a data owner was lost");
	return 0;
}

int load_run(struct load *l, const struct load_spec *spec, struct load_result *result, struct err *e)
{
	size_t in_flight = spec->in_flight < IN_FLIGHT_MAX ? spec->in_flight : IN_FLIGHT_MAX;
	int failed;

	if (all_up(l, e))
		return -1;
	if (spec->batch > 4096)
		return err_set(e, ERR_USAGE, "a batch of %zu images is too large, at most 4096", spec->batch);
	l->spec = spec;
	l->result = result;
	l->done = 0;
	l->err = (struct err){0};
	l->sent = l->under_way = 0;
	memset(result, 0, sizeof(*result));
	l->start = bench_now();
	for (size_t slot = 0; slot < in_flight; slot++)
		for (size_t i = 0; i < l->n && l->sent < spec->requests; i++)
			send_one(&l->links[i], slot);
	failed = await(l, spec->seconds + GRACE_S, e);
	l->spec = NULL;
	for (size_t i = 0; i < l->n; i++)
		memset(l->links[i].flights, 0, sizeof(l->links[i].flights));
	return failed;
}

void load_result_free(struct load_result *r)
{
	free(r->client);
	free(r->online);
	free(r->offline);
	r->client = r->online = r->offline = NULL;
	r->room = 0;
}

int load_pool(struct load *l, struct pool_status *pool, struct err *e)
{
	struct channel *c;
	int failed;

	if (all_up(l, e))
		return -1;
	memset(pool, 0, sizeof(*pool));
	l->done = 0;
	l->err = (struct err){0};
	l->asked = 1;
	c = conn_channel(l->links[0].conn);
	c->ops->send(c, &(struct frame){.type = FRAME_STATUS});
	c->ops->flush(c);
	failed = await(l, 5, e);
	l->asked = 0;
	if (!failed && l->status && l->status->n_pools) {
		const Wire__Pool *p = l->status->pools[0];

		*pool = (struct pool_status){.depth = p->depth,
					     .high = p->high,
					     .bytes = p->bytes,
					     .made = p->made,
					     .burnt = p->burnt,
					     .due = p->due,
					     .burn_rate = p->burn_rate};
	}
	wire__status__free_unpacked(l->status, NULL);
	l->status = NULL;
	return failed;
}
