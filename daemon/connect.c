/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that go out, and are kept. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "daemon/net_parts.h"

#define BACKOFF_FIRST_US 50000
#define BACKOFF_LAST_US 5000000

static void connect_at(struct connector *k);

/* Waits between half and all of the back-off, which doubles. */
static void retry_later(struct connector *k)
{
	uint64_t us = k->backoff_us / 2 + randombytes_uniform((uint32_t)k->backoff_us / 2 + 1);
	struct timeval tv = {.tv_sec = (time_t)(us / 1000000), .tv_usec = (suseconds_t)(us % 1000000)};

	if (k->net->stop_us)
		return;
	k->backoff_us = k->backoff_us * 2 > BACKOFF_LAST_US ? BACKOFF_LAST_US : k->backoff_us * 2;
	event_add(k->retry, &tv);
}

/* A try that failed before there was a connection: told like any other. */
static void cannot(struct connector *k, enum err_code code, const char *why)
{
	struct err e = {.code = code};

	snprintf(e.peer, sizeof(e.peer), "%s", k->name);
	snprintf(e.text, sizeof(e.text), "%s", why);
	k->handler->down(k->ctx, NULL, &e);
	if (k->keep)
		retry_later(k);
}

/* Takes fd. */
static struct conn *prepare(struct connector *k, int fd, struct err *e)
{
	struct conn *c = conn_new(k->net, fd, CONN_CONNECTING, k->peer, k->handler, k->ctx, e);

	if (!c)
		return NULL;
	if (conn_secure(c, k->host, &k->session, e)) {
		c->lost = 1;
		conn_free(c);
		return NULL;
	}
	socket_no_delay(fd);
	if (k->peer == ROLE_M) {
		socket_short_queue(fd);
		socket_congestion(fd, k->net->congestion);
	}
	c->connector = k;
	c->outgoing = 1;
	c->channel.peer = k->peer;
	snprintf(c->channel.name, sizeof(c->channel.name), "%s", k->name);
	return c;
}

static void connect_at(struct connector *k)
{
	const struct addrinfo *a = k->at;
	struct err e = {0};
	int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct conn *c;

	if (fd < 0) {
		cannot(k, ERR_REACH, strerror(errno));
		return;
	}
	c = prepare(k, fd, &e);
	if (!c) {
		cannot(k, e.code, e.text);
		return;
	}
	k->conn = c;
	net_adopt(k->net, c);
	if (connect(fd, a->ai_addr, a->ai_addrlen) == 0)
		conn_start(c);
	else if (errno == EINPROGRESS)
		event_add(c->writable, NULL);
	else
		conn_lost(c, "cannot connect", errno);
}

static void on_found(void *ctx, struct addrinfo *found, const char *why)
{
	struct connector *k = ctx;

	k->lookup = NULL;
	k->found = k->at = found;
	if (found)
		connect_at(k);
	else
		cannot(k, ERR_REACH, why);
}

static void on_retry(evutil_socket_t fd, short what, void *ctx)
{
	struct connector *k = ctx;
	struct err e = {0};

	k->tried_us = net_now();
	if (k->found)
		freeaddrinfo(k->found);
	k->found = k->at = lookup_number(k->host, k->port);
	if (k->found) {
		connect_at(k);
		return;
	}
	k->lookup = lookup_new(k->net->base, k->host, k->port, on_found, k, &e);
	if (!k->lookup)
		cannot(k, e.code, e.text);
}

int connector_next(struct connector *k, const struct conn *c)
{
	k->conn = NULL;
	if (c->up_told || c->why.code != ERR_REACH || !k->at || !k->at->ai_next)
		return 0;
	k->at = k->at->ai_next;
	connect_at(k);
	return 1;
}

void connector_dropped(struct connector *k, int was_up)
{
	if (was_up) {
		k->backoff_us = BACKOFF_FIRST_US;
	} else { /* not resumed again, in case that was why */
		SSL_SESSION_free(k->session);
		k->session = NULL;
	}
	if (k->keep)
		retry_later(k);
}

void net_hurry(struct net *net)
{
	struct timeval soon = {.tv_usec = BACKOFF_FIRST_US / 2};

	for (struct connector *k = net->connectors; k; k = k->next) {
		if (!k->keep || k->conn || k->lookup || k->backoff_us <= 2 * BACKOFF_FIRST_US)
			continue;
		k->backoff_us = BACKOFF_FIRST_US;
		event_add(k->retry, &soon);
	}
}

int net_connect(struct net *net, const char *address, enum frame_role peer, int keep,
		const struct net_handler *h, void *ctx, struct err *e)
{
	struct connector *k = calloc(1, sizeof(*k));

	if (!k)
		return err_set(e, ERR_ENV, "out of memory for a connection");
	if (address_split(address, k->host, sizeof(k->host), k->port, sizeof(k->port), e)) {
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
		return err_set(e, ERR_ENV, "out of memory for a connection");
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

	if (address_unix(path, &un, e))
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&un, sizeof(un))) {
		if (errno == EACCES)
			err_set(e, ERR_ENV,
				"may not use the data-owner daemon on %s: %s; it is for members of the "
				"socket's group",
				path, strerror(errno));
		else
			err_set(e, ERR_REACH,
				"cannot reach the data-owner daemon on %s: %s; start `obscurad data-owner`, "
				"name its "
				"--socket, or classify with --standalone",
				path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	evutil_make_socket_nonblocking(fd);
	c = conn_new(net, fd, CONN_HANDSHAKE, ROLE_D, h, ctx, e);
	if (!c)
		return -1;
	c->outgoing = 1;
	c->channel.peer = ROLE_D;
	snprintf(c->channel.name, sizeof(c->channel.name), "data-owner daemon %.60s", path);
	net_adopt(net, c);
	conn_start(c);
	return 0;
}

void connectors_forget(struct net *net)
{
	for (struct connector *k = net->connectors; k; k = k->next) {
		SSL_SESSION_free(k->session);
		k->session = NULL;
	}
}

void connectors_free(struct net *net)
{
	while (net->connectors) {
		struct connector *k = net->connectors;

		net->connectors = k->next;
		event_free(k->retry);
		lookup_cancel(k->lookup);
		if (k->found)
			freeaddrinfo(k->found);
		SSL_SESSION_free(k->session);
		free(k);
	}
}
