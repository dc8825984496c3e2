/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets, connections, limits. */
#include "daemon/http_parts.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/net_parts.h"

#define LOOK_US 100000
#define QUIET_US 1000000 /* nothing asked for so long: it is looked at rarely */
#define HEADERS_MAX 16384
#define NEVER_S 1000000 /* evhttp's own time limits: ours are in on_tick */

/* ---- connections ---- */

static void look_after(struct http *h, uint64_t us)
{
	struct timeval tv = {.tv_sec = (time_t)(us / 1000000), .tv_usec = (suseconds_t)(us % 1000000)};
	uint64_t at = net_now() + us;

	if (h->look_us && h->look_us <= at)
		return;
	h->look_us = at;
	event_add(h->tick, &tv);
}

void http_look(struct http *h)
{
	look_after(h, LOOK_US);
}

static void pause_listening(struct http *h)
{
	h->paused = 1;
	if (!h->stopped)
		http_look(h);
	for (struct http_port *p = h->ports; p; p = p->next)
		evconnlistener_disable(p->listener);
}

static void resume_listening(struct http *h)
{
	h->paused = 0;
	for (struct http_port *p = h->ports; p; p = p->next)
		evconnlistener_enable(p->listener);
}

static struct bufferevent *on_connection(struct event_base *base, void *port)
{
	struct http_port *p = port;
	struct http_link *l = calloc(1, sizeof(*l));
	struct bufferevent *bev = l ? bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE) : NULL;

	if (!bev) {
		free(l);
		return NULL;
	}
	bufferevent_incref(bev);
	*l = (struct http_link){.next = p->http->links, .port = p, .bev = bev, .since_us = net_now()};
	p->http->links = l;
	http_look(p->http);
	if (++p->http->n_links >= p->http->limits.connections)
		pause_listening(p->http);
	return bev;
}

/* Descriptors or memory are short: the tick tries again. */
static void on_accept_error(struct evconnlistener *listener, void *port)
{
	struct http_port *p = port;

	pause_listening(p->http);
}

/* evhttp has let go of it: nobody listens to its events any more. */
static int is_over(const struct http_link *l)
{
	bufferevent_data_cb in, out;
	bufferevent_event_cb event;
	void *ctx;

	bufferevent_getcb(l->bev, &in, &out, &event, &ctx);
	return !in && !out && !event;
}

static void link_free(struct http_link **at)
{
	struct http_link *l = *at;

	*at = l->next;
	l->port->http->n_links--;
	bufferevent_decref(l->bev); /* closes the socket */
	free(l);
}

static void on_tick(evutil_socket_t fd, short what, void *ctx)
{
	struct http *h = ctx;
	uint64_t now = net_now();
	int soon = 0;

	h->look_us = 0;
	for (struct http_link **at = &h->links; *at;) {
		struct http_link *l = *at;

		if (is_over(l)) {
			link_free(at);
			continue;
		}
		if (!l->serving && now > l->since_us + h->limits.idle_us)
			shutdown(bufferevent_getfd(l->bev), SHUT_RDWR); /* evhttp reads an end */
		soon |= l->serving || now < l->since_us + QUIET_US;
		at = &l->next;
	}
	if (h->paused && !h->stopped && h->n_links < h->limits.connections)
		resume_listening(h);
	if (soon || (h->paused && !h->stopped))
		http_look(h);
	else if (h->links)
		look_after(h, QUIET_US);
}

/* ---- ports ---- */

static void port_free(struct http_port *p)
{
	if (p->evhttp)
		evhttp_free(p->evhttp); /* closes the listening socket, too */
	if (p->path)
		unlink(p->path);
	free(p->path);
	free(p);
}

/* A body that is a little too long is refused in our words, any other in evhttp's. */
static void limit_body(struct http_port *p)
{
	evhttp_set_max_body_size(p->evhttp, (ev_ssize_t)(p->http->limits.body + p->http->limits.body / 4));
}

void http_limit(struct http *h, const struct http_limits *limits)
{
	h->limits = *limits; /* on_tick listens again when there may be more connections */
	for (struct http_port *p = h->ports; p; p = p->next)
		limit_body(p);
}

/* Takes fd. */
static struct http_port *port_new(struct http *h, int fd, struct err *e)
{
	struct http_port *p = calloc(1, sizeof(*p));
	struct evhttp_bound_socket *bound = NULL;

	if (p)
		p->evhttp = evhttp_new(h->base);
	if (p && p->evhttp)
		bound = evhttp_accept_socket_with_handle(p->evhttp, fd);
	if (!bound) {
		if (p)
			port_free(p);
		close(fd);
		err_set(e, ERR_ENV, "out of memory for an HTTP server");
		return NULL;
	}
	p->http = h;
	p->listener = evhttp_bound_socket_get_listener(bound);
	evconnlistener_set_error_cb(p->listener, on_accept_error);
	evhttp_set_bevcb(p->evhttp, on_connection, p);
	evhttp_set_gencb(p->evhttp, http_on_request, p);
	evhttp_set_allowed_methods(p->evhttp, 0xffff);
	evhttp_set_max_headers_size(p->evhttp, HEADERS_MAX);
	limit_body(p);
	evhttp_set_timeout(p->evhttp, NEVER_S);
	p->next = h->ports;
	h->ports = p;
	return p;
}

int http_listen_unix(struct http *h, const char *path, const char *option, struct err *e)
{
	int fd = socket_listen_unix(path, option, e);
	struct http_port *p = fd < 0 ? NULL : port_new(h, fd, e);

	if (!p)
		return -1;
	p->path = strdup(path);
	return 0;
}

static int is_loopback(const struct sockaddr_storage *at)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)at;
	const struct in6_addr *v6 = &((const struct sockaddr_in6 *)at)->sin6_addr;

	if (at->ss_family == AF_INET)
		return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == 127);
}

int http_listen(struct http *h, const char *address, const char *option, struct err *e)
{
	struct sockaddr_storage bound;
	struct http_port *p;
	char name[96], port[16];
	int fd = socket_listen(address, name, sizeof(name), &bound, e);

	if (fd < 0)
		return err_context(e, "%s", option);
	if (!is_loopback(&bound) && !h->guarded) {
		close(fd);
		return err_set(
		    e, ERR_USAGE,
		    "%s: %s can be reached from other hosts, so requests need a token: write one into "
		    "a file and name it with --http-token-file, or listen on 127.0.0.1",
		    option, name);
	}
	p = port_new(h, fd, e);
	if (!p || address_split(address, p->host, sizeof(p->host), port, sizeof(port), e))
		return -1;
	if (!is_loopback(&bound))
		log_line(LOG_WARNING, "HTTP on %s carries pictures in clear: put a proxy with TLS before it",
			 name);
	log_line(LOG_INFO, "HTTP at http://%s/", name);
	return 0;
}

/* ---- life ---- */

static void on_libevent(int severity, const char *text)
{
	log_line(severity >= EVENT_LOG_ERR ? LOG_ERR : LOG_DEBUG, "libevent: %s", text);
}

int http_new(struct http **http, struct event_base *base, const struct http_limits *limits,
	     http_handler handler, void *ctx, struct err *e)
{
	struct http *h = calloc(1, sizeof(*h));

	*http = NULL;
	if (!h)
		return err_set(e, ERR_ENV, "out of memory for an HTTP server");
	event_set_log_callback(on_libevent);
	*h = (struct http){.base = base, .limits = *limits, .handler = handler, .ctx = ctx};
	h->tick = event_new(base, -1, 0, on_tick, h);
	if (!h->tick) {
		http_free(h);
		return err_set(e, ERR_ENV, "out of memory for an HTTP server");
	}
	*http = h;
	return 0;
}

void http_count(struct http *h, void (*answered)(void *ctx, int status))
{
	h->answered = answered;
}

void http_stop(struct http *h)
{
	h->stopped = 1;
	pause_listening(h);
}

void http_free(struct http *h)
{
	if (!h)
		return;
	while (h->calls)
		http_call_drop(h->calls);
	while (h->ports) {
		struct http_port *p = h->ports;

		for (struct http_link **at = &h->links; *at;)
			if ((*at)->port == p)
				link_free(at);
			else
				at = &(*at)->next;
		h->ports = p->next;
		port_free(p);
	}
	if (h->tick)
		event_free(h->tick);
	free(h);
}
