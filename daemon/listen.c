/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that come in. */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/net_parts.h"
#include "daemon/notify.h"

#define ACCEPTS 16 /* of one event, before others get their turn */

int address_split(const char *address, char *host, size_t hosts, char *port, size_t ports, struct err *e)
{
	const char *colon = strrchr(address, ':'), *from = address;
	size_t n = colon ? (size_t)(colon - address) : 0;

	if (n >= 2 && address[0] == '[' && address[n - 1] == ']') {
		from++;
		n -= 2;
	}
	if (!colon || !n || n >= hosts || !colon[1] || strlen(colon + 1) >= ports)
		return err_set(e, ERR_USAGE, "\"%s\" is not HOST:PORT", address);
	memcpy(host, from, n);
	host[n] = 0;
	memcpy(port, colon + 1, strlen(colon + 1) + 1);
	return 0;
}

int address_unix(const char *path, struct sockaddr_un *un, struct err *e)
{
	*un = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(un->sun_path))
		return err_set(e, ERR_USAGE, "the socket path %s is longer than %zu bytes", path,
			       sizeof(un->sun_path) - 1);
	memcpy(un->sun_path, path, strlen(path) + 1);
	return 0;
}

void socket_no_delay(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

void socket_short_queue(int fd)
{
	int bytes = 128 << 10;

	setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof(bytes));
}

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

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) == 0 &&
	       (who.uid == geteuid() || who.uid == 0);
}

/* Takes fd. */
static void welcome(struct listener *l, int fd, const struct sockaddr *from, socklen_t n)
{
	struct err e = {0};
	struct conn *c = conn_new(l->net, fd, CONN_HANDSHAKE, l->roles, l->handler, l->ctx, &e);

	if (!c)
		return;
	if (l->local) {
		c->channel.peer = ROLE_L;
		snprintf(c->channel.name, sizeof(c->channel.name), "local client");
	} else {
		name_of(from, n, c->channel.name, sizeof(c->channel.name));
		socket_no_delay(fd);
		if (conn_secure(c, NULL, NULL, &e)) {
			log_err(LOG_ERR, "a connection was refused", &e);
			c->lost = 1;
			conn_free(c);
			return;
		}
	}
	net_adopt(l->net, c);
	conn_start(c);
}

/* Descriptors are short: those that wait are accepted later, without turning in circles meanwhile. */
static void pause_accepting(struct listener *l)
{
	struct timeval later = {.tv_usec = 100000};

	log_line(LOG_WARNING, "cannot accept connections: %s", strerror(errno));
	net_make_room(l->net);
	event_del(l->event);
	event_add(l->again, &later);
}

static void on_again(evutil_socket_t fd, short what, void *ctx)
{
	struct listener *l = ctx;

	event_add(l->event, NULL);
}

static void on_accept(evutil_socket_t fd, short what, void *ctx)
{
	struct listener *l = ctx;

	for (int i = 0; i < ACCEPTS; i++) {
		struct sockaddr_storage from;
		socklen_t n = sizeof(from);
		int peer = accept4(fd, (struct sockaddr *)&from, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (peer < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM))
			pause_accepting(l);
		if (peer < 0)
			return;
		if ((l->net->n_conns >= CONNS_MAX && !net_make_room(l->net)) ||
		    (l->local && !l->open && !is_friend(peer))) {
			log_line(LOG_WARNING, "a connection was refused: %s",
				 l->net->n_conns >= CONNS_MAX ? "there are too many"
							      : "it is another user's");
			close(peer);
			continue;
		}
		welcome(l, peer, (struct sockaddr *)&from, n);
	}
}

/* Takes fd. */
static struct listener *add_listener(struct net *net, int fd, int local, unsigned roles,
				     const struct net_handler *h, void *ctx, struct err *e)
{
	struct listener *l = calloc(1, sizeof(*l));

	if (l) {
		*l = (struct listener){.next = net->listeners,
				       .net = net,
				       .fd = fd,
				       .local = local,
				       .roles = roles,
				       .handler = h,
				       .ctx = ctx};
		l->event = event_new(net->base, fd, EV_READ | EV_PERSIST, on_accept, l);
		l->again = event_new(net->base, -1, 0, on_again, l);
	}
	if (l && l->event && l->again && !event_add(l->event, NULL)) {
		net->listeners = l;
		return l;
	}
	if (l && l->event)
		event_free(l->event);
	if (l && l->again)
		event_free(l->again);
	free(l);
	close(fd);
	err_set(e, ERR_ENV, "out of memory for a listener");
	return NULL;
}

static int bind_first(const struct addrinfo *found, const char *address, struct err *e)
{
	int one = 1, saved = EADDRNOTAVAIL;

	for (const struct addrinfo *a = found; a; a = a->ai_next) {
		int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

		if (fd < 0)
			continue;
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		if (!bind(fd, a->ai_addr, a->ai_addrlen) && !listen(fd, 128))
			return fd;
		saved = errno;
		close(fd);
	}
	return err_set(e, ERR_ENV, "cannot listen on %s: %s; name another HOST:PORT", address,
		       strerror(saved));
}

static void socket_name(int fd, char *name, size_t bytes, struct sockaddr_storage *bound)
{
	socklen_t n = sizeof(*bound);

	*bound = (struct sockaddr_storage){0};
	getsockname(fd, (struct sockaddr *)bound, &n);
	name_of((struct sockaddr *)bound, n, name, bytes);
}

int socket_listen(const char *address, char *name, size_t bytes, struct sockaddr_storage *bound,
		  struct err *e)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found;
	char host[256], port[16];
	int fd, failed;

	if (address_split(address, host, sizeof(host), port, sizeof(port), e))
		return -1;
	if ((failed = getaddrinfo(host, port, &hints, &found)))
		return err_set(e, ERR_ENV, "cannot listen on %s: %s", address, gai_strerror(failed));
	fd = bind_first(found, address, e);
	freeaddrinfo(found);
	if (fd < 0)
		return -1;
	socket_name(fd, name, bytes, bound);
	return fd;
}

int net_listen(struct net *net, const char *address, unsigned peer_roles, const struct net_handler *h,
	       void *ctx, struct err *e)
{
	struct sockaddr_storage bound;
	char name[96];
	int fd = notify_socket("listen", AF_INET);

	if (fd >= 0)
		socket_name(fd, name, sizeof(name), &bound);
	else
		fd = socket_listen(address, name, sizeof(name), &bound, e);
	if (fd >= 0)
		socket_congestion(fd, net->congestion); /* what it accepts inherits it, congestion.c */
	if (fd < 0 || !add_listener(net, fd, 0, peer_roles, h, ctx, e))
		return -1;
	log_line(LOG_INFO, "listening on %s", name);
	return 0;
}

/* The folder of the socket, if only that is missing. */
static void make_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	char folder[sizeof(((struct sockaddr_un *)0)->sun_path)];

	if (!slash || slash == path)
		return;
	snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path);
	mkdir(folder, 0700); /* if that fails, bind says why */
}

/* A socket that nobody answers is left from before. */
static void remove_stale(int fd, const struct sockaddr_un *un)
{
	struct stat st;

	if (!stat(un->sun_path, &st) && S_ISSOCK(st.st_mode) &&
	    connect(fd, (const struct sockaddr *)un, sizeof(*un)) && errno == ECONNREFUSED)
		unlink(un->sun_path);
}

int socket_listen_unix(const char *path, const char *option, struct err *e)
{
	struct sockaddr_un un;
	mode_t mask;
	int fd, failed;

	if (address_unix(path, &un, e))
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set(e, ERR_ENV, "cannot make a socket: %s", strerror(errno));
	remove_stale(fd, &un);
	make_folder(path);
	mask = umask(0177); /* nobody else may open it, not even for a moment */
	failed = bind(fd, (struct sockaddr *)&un, sizeof(un)) || listen(fd, 128);
	umask(mask);
	if (!failed)
		return fd;
	err_set(e, ERR_ENV, "cannot listen on %s: %s; %s; --%s=PATH names another", path, strerror(errno),
		errno == EADDRINUSE ? "this role runs already, or another role has the same socket"
				    : "it must be a place that this user can write to",
		option);
	close(fd);
	return -1;
}

/* A socket that systemd made is not ours to remove, and its mode says who may open it. */
int net_listen_unix(struct net *net, const char *path, const struct net_handler *h, void *ctx, struct err *e)
{
	struct listener *l;
	int fd = notify_socket("socket", AF_UNIX), own = fd < 0;

	if (own)
		fd = socket_listen_unix(path, "socket", e);
	if (fd < 0)
		return -1;
	l = add_listener(net, fd, 1, ROLE_L, h, ctx, e);
	if (!l)
		return -1;
	l->open = !own;
	l->path = own ? strdup(path) : NULL;
	log_line(LOG_INFO, "local API on %s", own ? path : "systemd's socket");
	return 0;
}

void listeners_free(struct net *net)
{
	while (net->listeners) {
		struct listener *l = net->listeners;

		net->listeners = l->next;
		event_free(l->event);
		event_free(l->again);
		close(l->fd);
		if (l->path)
			unlink(l->path);
		free(l->path);
		free(l);
	}
}
