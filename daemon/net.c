/* SPDX-License-Identifier: Apache-2.0 */
/* The loop of a process: events, clock, workers, and the list of connections. */
#include "daemon/net.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/net_parts.h"
#include "daemon/notify.h"

#define DAY_US UINT64_C(86400000000)
#define ASK_US 200		/* for each connection: so much sooner than due it is asked no more */
#define LATE_US 500000		/* a tick that comes so late says that the loop, not the peers, was away */
#define LINGER_US 1000000	/* for a peer to read why it was refused */
#define STOP_MARGIN_US 15000000 /* beyond drain_ms, before systemd kills us */
#define LINGERS_MAX 64

/* ---- what sessions may ask ---- */

uint64_t net_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint64_t host_now(void *ctx)
{
	return net_now();
}

static void host_submit(void *ctx, struct job *job)
{
	struct net *net = ctx;

	if (net->workers) {
		workers_submit(net->workers, job);
		return;
	}
	job->run(job); /* the loop has ended */
	job->done(job);
}

static void host_log(void *ctx, int priority, const char *text)
{
	log_line(priority, "%s", text);
}

const struct host *net_host(struct net *net)
{
	return &net->host;
}

void net_asked(struct net *net)
{
	spin_sent(&net->spin, net_now());
}

void net_answered(struct net *net)
{
	spin_received(&net->spin);
}

void net_soon(struct net *net, uint64_t us)
{
	net->soon_us = us && net->spin.budget_us ? net_now() + us : 0;
}

static int polls_now(struct net *net)
{
	if (net->soon_us && net_now() < net->soon_us) {
		sched_yield();
		return 1;
	}
	net->soon_us = 0;
	return net->spin.until_us && spin_goes_on(&net->spin, net_now());
}

struct event_base *net_base(struct net *net)
{
	return net->base;
}

const struct config *net_config(const struct net *net)
{
	return net->config;
}

size_t net_jobs(const struct net *net)
{
	return net->workers ? workers_busy(net->workers) : 0;
}

/* ---- sockets that have said their last ---- */

static void linger_end(struct lingering *l)
{
	struct lingering **at = &l->net->lingers;

	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	l->net->n_lingers--;
	event_free(l->event);
	close(l->fd);
	free(l);
}

static void on_linger(evutil_socket_t fd, short what, void *ctx)
{
	struct lingering *l = ctx;
	char dropped[4096];
	ssize_t n = net_now() >= l->until_us ? 0 : recv(fd, dropped, sizeof(dropped), 0);

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		linger_end(l);
}

/* Takes fd. A socket that is closed while bytes of its peer are unread resets the connection, and the peer
 * would lose our last words. */
static void linger(struct net *net, int fd)
{
	struct timeval limit = {.tv_usec = LINGER_US % 1000000, .tv_sec = LINGER_US / 1000000};
	struct lingering *l = net->n_lingers < LINGERS_MAX ? calloc(1, sizeof(*l)) : NULL;

	shutdown(fd, SHUT_WR);
	if (l)
		l->event = event_new(net->base, fd, EV_READ | EV_PERSIST, on_linger, l);
	if (!l || !l->event || event_add(l->event, &limit)) {
		if (l && l->event)
			event_free(l->event);
		free(l);
		close(fd);
		return;
	}
	l->net = net;
	l->until_us = net_now() + LINGER_US;
	l->fd = fd;
	l->next = net->lingers;
	net->lingers = l;
	net->n_lingers++;
}

/* ---- connections ---- */

void net_adopt(struct net *net, struct conn *c)
{
	c->next = net->conns;
	net->conns = c;
	net->n_conns++;
}

static void unlink_conn(struct net *net, struct conn *c)
{
	struct conn **at = &net->conns;

	while (*at && *at != c)
		at = &(*at)->next;
	if (*at) {
		*at = c->next;
		net->n_conns--;
	}
}

int net_peer_full(const struct net *net, const uint8_t key[32])
{
	unsigned n = 0;

	for (const struct conn *c = net->conns; c; c = c->next)
		n += !c->outgoing && c->state == CONN_UP && !memcmp(c->channel.key, key, 32);
	return n >= CONNS_OF_PEER;
}

int net_make_room(struct net *net)
{
	struct conn *oldest = NULL;

	for (struct conn *c = net->conns; c; c = c->next)
		if (c->ssl && !c->outgoing && c->state == CONN_HANDSHAKE &&
		    (!oldest || c->since_us < oldest->since_us))
			oldest = c;
	if (!oldest)
		return 0;
	oldest->lost = 1;
	conn_fail(oldest, ERR_REACH, "showed no certificate while others waited for its place");
	return 1;
}

static void add_wire(struct conn_wire *to, const struct conn *c)
{
	struct conn_wire w = conn_wire(c);

	if (!c->ssl)
		return;
	to->sent += w.sent;
	to->received += w.received;
	to->offline_sent += w.offline_sent;
	to->offline_received += w.offline_received;
	to->steps_sent += w.steps_sent;
	to->steps_received += w.steps_received;
}

struct conn_wire net_wire(const struct net *net)
{
	struct conn_wire all = net->wire_gone;

	for (const struct conn *c = net->conns; c; c = c->next)
		add_wire(&all, c);
	return all;
}

unsigned net_count(const struct net *net, unsigned roles)
{
	unsigned n = 0;

	for (const struct conn *c = net->conns; c; c = c->next)
		n += c->state == CONN_UP && c->ssl && (c->channel.peer & roles);
	return n;
}

static void release(struct net *net, struct conn *c)
{
	int fd;

	add_wire(&net->wire_gone, c);
	fd = conn_free(c);
	if (fd >= 0)
		linger(net, fd);
}

static int heard(const struct conn *c)
{
	return c->ssl ? BIO_number_read(SSL_get_rbio(c->ssl)) > 0 : c->channel.wire_received > 0;
}

void net_dropped(struct net *net, struct conn *c)
{
	struct connector *k = c->connector;
	int was_up = c->up_told;

	unlink_conn(net, c);
	if (k && connector_next(k, c)) {
		release(net, c);
		return;
	}
	/* no handler has heard of it; one that sent nothing is a proxy's probe, or a scan */
	if (!was_up && !c->outgoing)
		log_err(c->why.code == ERR_REACH && !heard(c) ? LOG_DEBUG : LOG_WARNING, "a peer was refused",
			&c->why);
	else
		c->handler->down(c->ctx, c, &c->why);
	release(net, c);
	if (k)
		connector_dropped(k, was_up);
}

void net_each(struct net *net, unsigned roles, void (*each)(void *ctx, struct conn *c), void *ctx)
{
	for (struct conn *c = net->conns; c; c = c->next) /* one that is ended stays in the list for now */
		if (c->state == CONN_UP && (c->channel.peer & roles))
			each(ctx, c);
}

/* ---- certificates ---- */

int net_read_tls(const struct net *net, const struct config *next, struct tls *tls, struct err *e)
{
	return tls_new(tls, next, net->self, e);
}

/* The list of the revoked may be a new one, and the authorities others. The peer reads why. */
static void check_peer(void *ctx, struct conn *c)
{
	struct net *net = ctx;
	struct err e = {0}, told = {0};

	if (!c->ssl || !tls_still_trusted(&net->tls, c->ssl, &e))
		return;
	err_set(&told, ERR_PEER, "your%s", e.text + strlen("its"));
	channel_send_error(&c->channel, 0, &told, "");
	conn_fail(c, e.code, "%s", e.text);
}

static void warn(void *ctx, const char *text)
{
	log_line(LOG_WARNING, "%s", text);
}

void net_expiring(struct net *net, void (*each)(void *ctx, const char *text), void *ctx)
{
	char text[400];

	tls_expiring(&net->tls, each, ctx);
	for (const struct conn *c = net->conns; c; c = c->next)
		if (c->state == CONN_UP && c->ssl &&
		    tls_peer_expiring(c->ssl, c->channel.name, text, sizeof(text)))
			each(ctx, text);
}

double conn_seconds_left(const struct conn *c)
{
	return c->ssl ? tls_peer_seconds_left(c->ssl) : 0;
}

/* Once a day: a role runs for longer than the 30 days between the warning and the end. */
static void check_day(struct net *net, uint64_t now)
{
	if (net->self == ROLE_L || (net->warned_us && now < net->warned_us + DAY_US))
		return;
	if (net->warned_us)
		net_each(net, ROLE_A, check_peer, net);
	net->warned_us = now;
	net_expiring(net, warn, NULL);
}

int net_take_tls(struct net *net, struct tls *tls)
{
	int other = memcmp(net->tls.fingerprint, tls->fingerprint, sizeof(tls->fingerprint)) != 0;

	tls_free(&net->tls); /* connections hold their own reference */
	net->tls = *tls;
	*tls = (struct tls){0};
	connectors_forget(net);
	net_each(net, ROLE_A, check_peer, net);
	net_expiring(net, warn, NULL);
	if (other)
		net_leave(net);
	return other;
}

/* ---- the loop ---- */

static void ask_to_leave(void *ctx, struct conn *c)
{
	static const struct frame f = {.type = FRAME_CLOSE, .flags = FRAME_LATER};

	if (c->outgoing)
		return;
	conn_ops.send(&c->channel, &f);
	conn_flush(c);
}

void net_leave(struct net *net)
{
	net_each(net, ROLE_DM, ask_to_leave, NULL);
}

/* Peers that are still here, or the role's own work. */
static int is_busy(const struct net *net)
{
	if (net->busy && net->busy(net->busy_ctx))
		return 1;
	for (const struct conn *c = net->conns; c; c = c->next)
		if (c->state == CONN_UP && !c->outgoing && (c->channel.peer & ROLE_DM))
			return 1;
	return 0;
}

static void check_stop(struct net *net, uint64_t now)
{
	if (net->stop_us && (!is_busy(net) || now >= net->stop_us + net->config->drain_ms * 1000))
		event_base_loopbreak(net->base);
}

static void on_tick(evutil_socket_t fd, short what, void *ctx)
{
	struct net *net = ctx;
	uint64_t now = net_now();
	int late = now > net->due_us && now - net->due_us > LATE_US;

	net->ticked_us = now;
	net->due_us = UINT64_MAX;
	for (struct conn *c = net->conns; c; c = c->next)
		conn_tick(c, now, late);
	check_day(net, now);
	check_stop(net, now);
	if (net->clock)
		net->clock->tick(net->clock_ctx);
}

void net_set_clock(struct net *net, const struct net_clock *clock, void *ctx)
{
	net->clock = clock;
	net->clock_ctx = ctx;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* When the clock is to be looked at next, 0: as soon as may be, UINT64_MAX: not before something happens. */
static uint64_t next_due(const struct net *net)
{
	uint64_t due = net->self == ROLE_L ? UINT64_MAX : net->warned_us ? net->warned_us + DAY_US : 0;

	for (const struct conn *c = net->conns; c; c = c->next)
		due = earlier(due, conn_due(c));
	if (net->clock)
		due = earlier(due, net->clock->due(net->clock_ctx));
	return net->stop_us ? 0 : due;
}

/* Asked before the loop sleeps, so that whoever begins to wait need not think of it, and no timer is there
 * when nothing is waited for. One that is set and near stays: a busy loop does not ask at each turn, and the
 * more there are to be asked, the rarer it does. */
static void set_tick(struct net *net)
{
	uint64_t now = net_now(), due, us;
	struct timeval tv;

	if (net->due_us <= now + NET_TICK_US + ASK_US * net->n_conns)
		return;
	due = next_due(net);
	if (due == UINT64_MAX) {
		event_del(net->tick);
	} else if (due != net->due_us) {
		due = due > now + NET_TICK_US ? due : now + NET_TICK_US;
		us = due - now;
		tv = (struct timeval){.tv_sec = (time_t)(us / 1000000),
				      .tv_usec = (suseconds_t)(us % 1000000)};
		event_add(net->tick, &tv);
	}
	net->due_us = due;
}

static void on_signal(evutil_socket_t fd, short what, void *ctx)
{
	net_stop(ctx);
}

void net_on_stop(struct net *net, int (*busy)(void *ctx), void *ctx)
{
	net->busy = busy;
	net->busy_ctx = ctx;
}

void net_stop(struct net *net)
{
	notify("STOPPING=1\nSTATUS=Stopping");
	if (net->stop_us || !is_busy(net)) {
		event_base_loopbreak(net->base);
		return;
	}
	notify("EXTEND_TIMEOUT_USEC=%llu", (unsigned long long)net->config->drain_ms * 1000 + STOP_MARGIN_US);
	log_line(LOG_INFO, "stopping: what is under way has %llu ms to end",
		 (unsigned long long)net->config->drain_ms);
	net->stop_us = net_now();
	listeners_free(net);
	net_leave(net);
}

int net_stopping(const struct net *net)
{
	return net->stop_us != 0;
}

int net_turn(struct net *net, int flags)
{
	set_tick(net);
	return event_base_loop(net->base, flags);
}

int net_run(struct net *net, struct err *e)
{
	net->stop_us = 0;
	if (event_add(net->signals[0], NULL) || event_add(net->signals[1], NULL))
		return err_set(e, ERR_ENV, "cannot listen for signals");
	for (;;) {
		if (net_turn(net, polls_now(net) ? EVLOOP_NONBLOCK : EVLOOP_ONCE) < 0)
			return err_set(e, ERR_ENV, "the event loop failed: %s", strerror(errno));
		if (event_base_got_break(net->base))
			return 0;
	}
}

static int start_events(struct net *n, struct err *e)
{
	n->due_us = UINT64_MAX;
	n->tick = event_new(n->base, -1, 0, on_tick, n);
	n->signals[0] = evsignal_new(n->base, SIGTERM, on_signal, n);
	n->signals[1] = evsignal_new(n->base, SIGINT, on_signal, n);
	if (!n->tick || !n->signals[0] || !n->signals[1])
		return err_set(e, ERR_ENV, "cannot start the event loop");
	return 0;
}

int net_new(struct net **net, const struct config *config, enum frame_role self, struct err *e)
{
	struct net *n = calloc(1, sizeof(*n));

	*net = NULL;
	if (!n)
		return err_set(e, ERR_ENV, "out of memory");
	n->config = config;
	n->self = self;
	n->spin.budget_us = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? config->spin_us : 0;
	n->host = (struct host){n, host_submit, host_now, host_log};
	signal(SIGPIPE, SIG_IGN);
	if ((self == ROLE_D || self == ROLE_M) && congestion_choose(n->congestion, config->congestion, e))
		goto fail;
	if (self != ROLE_L && tls_new(&n->tls, config, self, e))
		goto fail;
	n->base = event_base_new();
	if (!n->base ||
	    workers_new(&n->workers, n->base, self == ROLE_L ? 1 : (unsigned)config->threads, e) ||
	    start_events(n, e))
		goto fail;
	*net = n;
	return 0;
fail:
	net_free(n);
	return err_set(e, ERR_ENV, "cannot start the event loop");
}

void net_drain(struct net *net)
{
	if (!net)
		return;
	workers_free(net->workers);
	net->workers = NULL;
}

void net_free(struct net *net)
{
	if (!net)
		return;
	net_drain(net);
	listeners_free(net);
	while (net->conns) {
		struct conn *c = net->conns;
		int fd;

		net->conns = c->next;
		fd = conn_free(c);
		if (fd >= 0)
			close(fd);
	}
	connectors_free(net);
	while (net->lingers)
		linger_end(net->lingers);
	if (net->tick)
		event_free(net->tick);
	for (int i = 0; i < 2; i++)
		if (net->signals[i])
			event_free(net->signals[i]);
	if (net->base)
		event_base_free(net->base);
	tls_free(&net->tls);
	free(net);
}
