/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/net.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <sodium.h>

#include "daemon/conn.h"
#include "daemon/log.h"
#include "daemon/workers.h"

#define TICK_US 25000
#define BACKOFF_FIRST_US 50000
#define BACKOFF_LAST_US 2000000
#define CONNS_MAX 1024

struct listener {
	struct listener *next;
	struct net *net;
	int fd, local;
	char *path; /* of a Unix socket, removed at the end */
	unsigned roles;
	struct event *event;
	const struct net_handler *handler;
	void *ctx;
};

/* One outgoing address that is kept connected. */
struct connector {
	struct connector *next;
	struct net *net;
	char host[256], port[16], name[96];
	enum frame_role peer;
	int keep;
	const struct net_handler *handler;
	void *ctx;
	struct event *retry;
	struct addrinfo *found, *at; /* owns; the address that is tried */
	uint64_t backoff_us;
};

struct net {
	struct event_base *base;
	const struct config *config;
	enum frame_role self;
	struct tls tls;
	struct host host;
	struct workers *workers;
	struct listener *listeners;
	struct connector *connectors;
	struct conn *conns;
	unsigned n_conns;
	struct event *tick, *signals[2];
};

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

struct event_base *net_base(struct net *net)
{
	return net->base;
}

const struct config *net_config(const struct net *net)
{
	return net->config;
}

enum frame_role net_role(const struct net *net)
{
	return net->self;
}

/* ---- connections ---- */

static void adopt(struct net *net, struct conn *c)
{
	c->next = net->conns;
	net->conns = c;
	net->n_conns++;
	memcpy(c->channel.self_fingerprint, net->tls.fingerprint, sizeof(net->tls.fingerprint));
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

static void retry_later(struct connector *k);
static void connect_next(struct connector *k);

void net_dropped(struct net *net, struct conn *c)
{
	struct connector *k = c->connector;

	unlink_conn(net, c);
	/* another address of the same name may answer */
	if (k && !c->up_told && c->why.code == ERR_REACH && k->at && k->at->ai_next) {
		k->at = k->at->ai_next;
		conn_free(c);
		connect_next(k);
		return;
	}
	if (k && c->up_told)
		k->backoff_us = BACKOFF_FIRST_US;
	if (c->up_told || c->outgoing)
		log_err(LOG_DEBUG, c->up_told ? "connection ended" : "no connection", &c->why);
	else
		log_err(LOG_WARNING, "a peer was refused", &c->why);
	/* the handler of an accepted connection that never came up has not heard of it */
	if (c->up_told || c->outgoing)
		c->handler->down(c->ctx, c, &c->why);
	if (k && k->keep)
		retry_later(k);
	conn_free(c);
}

static void no_delay(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

/* ---- listening ---- */

static void name_of(const struct sockaddr *sa, socklen_t n, char *out, size_t bytes)
{
	char host[64], port[16];

	if (getnameinfo(sa, n, host, sizeof(host), port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV))
		snprintf(out, bytes, "unknown address");
	else
		snprintf(out, bytes, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

/* A local client must be us or root. */
static int is_friend(int fd)
{
	struct ucred who;
	socklen_t n = sizeof(who);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) == 0 && (who.uid == geteuid() || who.uid == 0);
}

static void on_accept(evutil_socket_t fd, short what, void *ctx)
{
	struct listener *l = ctx;
	struct sockaddr_storage from;
	socklen_t n = sizeof(from);
	int peer = accept4(fd, (struct sockaddr *)&from, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct err e = {0};
	struct conn *c;
	SSL *ssl = NULL;

	if (peer < 0)
		return;
	if (l->net->n_conns >= CONNS_MAX || (l->local && !is_friend(peer))) {
		log_line(LOG_WARNING, "a connection was refused: %s", l->local ? "another user's" : "too many");
		close(peer);
		return;
	}
	if (!l->local) {
		no_delay(peer);
		ssl = tls_connection(&l->net->tls, peer, NULL, &e);
		if (!ssl) {
			close(peer);
			return;
		}
	}
	c = conn_new(l->net, peer, ssl, CONN_HANDSHAKE, l->roles, l->handler, l->ctx, &e);
	if (!c)
		return;
	adopt(l->net, c);
	if (l->local) {
		c->channel.peer = ROLE_L;
		snprintf(c->channel.name, sizeof(c->channel.name), "local client");
	} else {
		name_of((struct sockaddr *)&from, n, c->channel.name, sizeof(c->channel.name));
	}
	conn_start(c);
}

static int add_listener(struct net *net, int fd, int local, unsigned roles, const struct net_handler *h, void *ctx, struct listener **out,
			struct err *e)
{
	struct listener *l = calloc(1, sizeof(*l));

	if (!l || !(l->event = event_new(net->base, fd, EV_READ | EV_PERSIST, on_accept, l)) || event_add(l->event, NULL)) {
		close(fd);
		free(l);
		return err_set(e, ERR_ENV, "out of memory");
	}
	l->net = net;
	l->fd = fd;
	l->local = local;
	l->roles = roles;
	l->handler = h;
	l->ctx = ctx;
	l->next = net->listeners;
	net->listeners = l;
	*out = l;
	return 0;
}

/* "host:port" or "[v6]:port". */
static int split_address(const char *address, char *host, size_t hosts, char *port, size_t ports, struct err *e)
{
	const char *colon = strrchr(address, ':');
	size_t n = colon ? (size_t)(colon - address) : 0;

	if (n >= 2 && address[0] == '[' && address[n - 1] == ']') {
		address++;
		n -= 2;
	}
	if (!colon || !n || n >= hosts || !colon[1] || strlen(colon + 1) >= ports)
		return err_set(e, ERR_USAGE, "%s is not HOST:PORT", address);
	memcpy(host, address, n);
	host[n] = 0;
	memcpy(port, colon + 1, strlen(colon + 1) + 1);
	return 0;
}

static int bind_first(const struct addrinfo *found, struct err *e, const char *address)
{
	int one = 1;

	for (const struct addrinfo *a = found; a; a = a->ai_next) {
		int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

		if (fd < 0)
			continue;
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		if (!bind(fd, a->ai_addr, a->ai_addrlen) && !listen(fd, 128))
			return fd;
		close(fd);
	}
	return err_set(e, ERR_ENV, "cannot listen on %s: %s", address, strerror(errno));
}

int net_listen(struct net *net, const char *address, unsigned peer_roles, const struct net_handler *h, void *ctx, struct err *e)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_ADDRCONFIG}, *found;
	char host[256], port[16], name[96];
	struct sockaddr_storage bound;
	socklen_t n = sizeof(bound);
	struct listener *l;
	int fd, failed;

	if (split_address(address, host, sizeof(host), port, sizeof(port), e))
		return -1;
	if ((failed = getaddrinfo(host, port, &hints, &found)))
		return err_set(e, ERR_ENV, "cannot listen on %s: %s", address, gai_strerror(failed));
	fd = bind_first(found, e, address);
	freeaddrinfo(found);
	if (fd < 0 || add_listener(net, fd, 0, peer_roles, h, ctx, &l, e))
		return -1;
	getsockname(fd, (struct sockaddr *)&bound, &n);
	name_of((struct sockaddr *)&bound, n, name, sizeof(name));
	log_line(LOG_INFO, "listening on %s", name);
	return 0;
}

static int unix_address(const char *path, struct sockaddr_un *un, struct err *e)
{
	*un = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(un->sun_path))
		return err_set(e, ERR_USAGE, "the socket path %s is longer than %zu bytes", path, sizeof(un->sun_path) - 1);
	strcpy(un->sun_path, path);
	return 0;
}

int net_listen_unix(struct net *net, const char *path, const struct net_handler *h, void *ctx, struct err *e)
{
	struct sockaddr_un un;
	struct listener *l;
	struct stat st;
	int fd;

	if (unix_address(path, &un, e))
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set(e, ERR_ENV, "cannot make a socket: %s", strerror(errno));
	/* one that nobody answers is left from before */
	if (!stat(path, &st) && S_ISSOCK(st.st_mode) && connect(fd, (struct sockaddr *)&un, sizeof(un)) && errno == ECONNREFUSED)
		unlink(path);
	if (bind(fd, (struct sockaddr *)&un, sizeof(un)) || chmod(path, 0600) || listen(fd, 128)) {
		err_set(e, ERR_ENV, "cannot listen on %s: %s; another data owner may be running, or --socket=PATH names a place you can write to", path,
			strerror(errno));
		close(fd);
		return -1;
	}
	if (add_listener(net, fd, 1, ROLE_L, h, ctx, &l, e))
		return -1;
	l->path = strdup(path);
	log_line(LOG_INFO, "local API on %s", path);
	return 0;
}

/* ---- connecting ---- */

static void on_retry(evutil_socket_t fd, short what, void *ctx);

/* Waits between half and all of the back-off, which doubles. */
static void retry_later(struct connector *k)
{
	uint64_t us = k->backoff_us / 2 + randombytes_uniform((uint32_t)k->backoff_us / 2 + 1);
	struct timeval tv = {.tv_sec = us / 1000000, .tv_usec = us % 1000000};

	k->backoff_us = k->backoff_us * 2 > BACKOFF_LAST_US ? BACKOFF_LAST_US : k->backoff_us * 2;
	event_add(k->retry, &tv);
}

/* A try that failed before there was a socket: told like any other. */
static void cannot(struct connector *k, const char *why)
{
	struct err e = {.code = ERR_REACH};

	snprintf(e.peer, sizeof(e.peer), "%s", k->name);
	snprintf(e.text, sizeof(e.text), "%s", why);
	k->handler->down(k->ctx, NULL, &e);
	if (k->keep)
		retry_later(k);
}

static void connect_next(struct connector *k)
{
	struct addrinfo *a = k->at;
	struct err e = {0};
	struct conn *c;
	SSL *ssl;
	int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0) {
		cannot(k, strerror(errno));
		return;
	}
	no_delay(fd);
	ssl = tls_connection(&k->net->tls, fd, k->host, &e);
	if (!ssl) {
		close(fd);
		cannot(k, e.text);
		return;
	}
	c = conn_new(k->net, fd, ssl, CONN_CONNECTING, k->peer, k->handler, k->ctx, &e);
	if (!c) {
		cannot(k, e.text);
		return;
	}
	adopt(k->net, c);
	c->connector = k;
	c->outgoing = 1;
	c->channel.peer = k->peer;
	snprintf(c->channel.name, sizeof(c->channel.name), "%s", k->name);
	if (connect(fd, a->ai_addr, a->ai_addrlen) == 0)
		conn_start(c);
	else if (errno == EINPROGRESS)
		event_add(c->writable, NULL);
	else
		conn_fail(c, ERR_REACH, "cannot connect: %s", strerror(errno));
}

static void on_retry(evutil_socket_t fd, short what, void *ctx)
{
	struct connector *k = ctx;
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
	int failed;

	if (k->found)
		freeaddrinfo(k->found);
	k->found = k->at = NULL;
	failed = getaddrinfo(k->host, k->port, &hints, &k->found);
	if (failed) {
		k->found = NULL;
		cannot(k, gai_strerror(failed));
		return;
	}
	k->at = k->found;
	connect_next(k);
}

int net_connect(struct net *net, const char *address, enum frame_role peer, int keep, const struct net_handler *h, void *ctx, struct err *e)
{
	struct connector *k = calloc(1, sizeof(*k));

	if (!k)
		return err_set(e, ERR_ENV, "out of memory");
	if (split_address(address, k->host, sizeof(k->host), k->port, sizeof(k->port), e)) {
		free(k);
		return -1;
	}
	k->net = net;
	k->peer = peer;
	k->keep = keep;
	k->handler = h;
	k->ctx = ctx;
	k->backoff_us = BACKOFF_FIRST_US;
	snprintf(k->name, sizeof(k->name), "%s %.70s", frame_role_name(peer), address);
	k->retry = event_new(net->base, -1, 0, on_retry, k);
	if (!k->retry) {
		free(k);
		return err_set(e, ERR_ENV, "out of memory");
	}
	k->next = net->connectors;
	net->connectors = k;
	event_active(k->retry, EV_TIMEOUT, 0);
	return 0;
}

int net_connect_unix(struct net *net, const char *path, const struct net_handler *h, void *ctx, struct err *e)
{
	struct sockaddr_un un;
	struct conn *c;
	int fd;

	if (unix_address(path, &un, e))
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&un, sizeof(un))) {
		err_set(e, ERR_REACH, "cannot reach the data-owner daemon on %s: %s; start `obscurad data-owner`, or classify with --standalone", path,
			strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	evutil_make_socket_nonblocking(fd);
	c = conn_new(net, fd, NULL, CONN_HANDSHAKE, ROLE_D, h, ctx, e);
	if (!c)
		return -1;
	adopt(net, c);
	c->outgoing = 1;
	c->channel.peer = ROLE_D;
	snprintf(c->channel.name, sizeof(c->channel.name), "data-owner daemon %.60s", path);
	conn_start(c);
	return 0;
}

/* ---- the loop ---- */

static void on_tick(evutil_socket_t fd, short what, void *ctx)
{
	struct net *net = ctx;
	uint64_t now = net_now();

	for (struct conn *c = net->conns; c; c = c->next)
		conn_tick(c, now);
}

static void on_signal(evutil_socket_t fd, short what, void *ctx)
{
	net_stop(ctx);
}

int net_new(struct net **net, const struct config *config, enum frame_role self, struct err *e)
{
	struct net *n = calloc(1, sizeof(*n));
	struct timeval tick = {.tv_usec = TICK_US};

	*net = NULL;
	if (!n)
		return err_set(e, ERR_ENV, "out of memory");
	n->config = config;
	n->self = self;
	n->host = (struct host){n, host_submit, host_now, host_log};
	signal(SIGPIPE, SIG_IGN);
	if (self != ROLE_L && tls_new(&n->tls, config, self, e))
		goto fail;
	n->base = event_base_new();
	if (!n->base || workers_new(&n->workers, n->base, self == ROLE_L ? 1 : config->threads, e))
		goto fail;
	n->tick = event_new(n->base, -1, EV_PERSIST, on_tick, n);
	n->signals[0] = evsignal_new(n->base, SIGTERM, on_signal, n);
	n->signals[1] = evsignal_new(n->base, SIGINT, on_signal, n);
	if (!n->tick || !n->signals[0] || !n->signals[1] || event_add(n->tick, &tick) || event_add(n->signals[0], NULL) ||
	    event_add(n->signals[1], NULL))
		goto fail;
	*net = n;
	return 0;
fail:
	net_free(n);
	return err_set(e, ERR_ENV, "cannot start the event loop");
}

int net_run(struct net *net, struct err *e)
{
	if (event_base_dispatch(net->base) < 0)
		return err_set(e, ERR_ENV, "the event loop failed: %s", strerror(errno));
	return 0;
}

void net_stop(struct net *net)
{
	event_base_loopbreak(net->base);
}

void net_drain(struct net *net)
{
	if (!net)
		return;
	workers_free(net->workers);
	net->workers = NULL;
}

static void free_listeners(struct net *net)
{
	while (net->listeners) {
		struct listener *l = net->listeners;

		net->listeners = l->next;
		event_free(l->event);
		close(l->fd);
		if (l->path)
			unlink(l->path);
		free(l->path);
		free(l);
	}
}

static void free_connectors(struct net *net)
{
	while (net->connectors) {
		struct connector *k = net->connectors;

		net->connectors = k->next;
		event_free(k->retry);
		if (k->found)
			freeaddrinfo(k->found);
		free(k);
	}
}

void net_free(struct net *net)
{
	if (!net)
		return;
	workers_free(net->workers);
	free_listeners(net);
	while (net->conns) {
		struct conn *c = net->conns;

		net->conns = c->next;
		conn_free(c);
	}
	free_connectors(net);
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
