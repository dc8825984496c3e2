/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a connection: TCP, TLS, HELLO, frames, the end. */
#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <openssl/err.h>
#include <sodium.h>

#include "daemon/log.h"
#include "daemon/net_parts.h"
#include "wire.pb-c.h"

#define SHRINK_US 1000000

static const char *const state_name[CONN_STATES] = {"connecting", "TLS handshake", "hello", "TLS", "closing"};

/* ---- the end ---- */

void conn_fail(struct conn *c, enum err_code code, const char *format, ...)
{
	char text[400];
	va_list ap;

	if (c->state == CONN_CLOSING)
		return;
	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	err_set(&c->why, code, "%s", text);
	snprintf(c->why.peer, sizeof(c->why.peer), "%s", c->channel.name);
	c->state = CONN_CLOSING;
	event_del(c->readable);
	event_del(c->writable);
	event_active(c->closer, EV_TIMEOUT, 0);
}

void conn_lost(struct conn *c, const char *what, int saved)
{
	int bare = c->state == CONN_UP || c->state == CONN_CONNECTING || !c->ssl;

	if (c->state == CONN_CLOSING)
		return;
	c->lost = 1;
	conn_fail(c, ERR_REACH, "%s%s%s%s%s", bare ? "" : state_name[c->state], bare ? "" : ": ", what,
		  saved ? ": " : "", saved ? strerror(saved) : "");
}

void conn_tls_failed(struct conn *c, int saved)
{
	struct err e = {0};

	tls_reason(c->ssl, state_name[c->state], saved, &e);
	if (e.code == ERR_REACH)
		conn_lost(c, "the connection was lost", saved);
	else
		conn_fail(c, e.code, "%s", e.text);
}

static void on_close(evutil_socket_t fd, short what, void *ctx)
{
	struct conn *c = ctx;

	net_dropped(c->net, c);
}

static void drop_buffer(uint8_t **buffer, size_t *room)
{
	if (*buffer)
		sodium_memzero(*buffer, *room);
	free(*buffer);
	*buffer = NULL;
	*room = 0;
}

int conn_free(struct conn *c)
{
	int fd = c->fd;

	if (c->ssl && c->up_told && !c->lost)
		SSL_shutdown(c->ssl);
	SSL_free(c->ssl);
	ERR_clear_error();
	if (c->readable)
		event_free(c->readable);
	if (c->writable)
		event_free(c->writable);
	if (c->closer)
		event_free(c->closer);
	drop_buffer(&c->in, &c->in_room);
	drop_buffer(&c->out, &c->out_room);
	if (c->lost) {
		close(fd);
		fd = -1;
	}
	free(c);
	return fd;
}

/* ---- hello ---- */

static void send_hello(struct conn *c)
{
	Wire__Hello hello = WIRE__HELLO__INIT;
	uint8_t digest[32];

	frame_digest(digest);
	hello.version = PROTOCOL_VERSION;
	hello.role = (char *)(uintptr_t)frame_role_name(c->channel.self);
	hello.digest.data = digest;
	hello.digest.len = sizeof(digest);
	hello.software = (char[]){"obscura"};
	c->state = CONN_HELLO;
	channel_send_message(&c->channel, FRAME_HELLO, 0, 0, &hello);
}

static int take_hello(const struct conn *c, const struct frame *f, struct err *e)
{
	Wire__Hello *hello = wire__hello__unpack(NULL, f->length, f->body);
	uint8_t digest[32];
	int failed = 0;

	if (!hello)
		return err_set(e, ERR_PEER, "sent a HELLO that cannot be read");
	frame_digest(digest);
	if (hello->version != PROTOCOL_VERSION)
		failed =
		    err_set(e, ERR_PEER,
			    "protocol version %u meets version %u; install the same release on all hosts",
			    hello->version, PROTOCOL_VERSION);
	else if (frame_role(hello->role) != c->channel.peer)
		failed = err_set(e, ERR_PEER, "said to be a \"%.32s\" where a %s was due", hello->role,
				 frame_role_name(c->channel.peer));
	else if (hello->digest.len != sizeof(digest) || memcmp(hello->digest.data, digest, sizeof(digest)))
		failed =
		    err_set(e, ERR_PEER, "frames or operators differ; install the same release on all hosts");
	wire__hello__free_unpacked(hello, NULL);
	return failed;
}

/* ERROR with session 0: the peer ends the connection and says why. */
static int take_error(const struct frame *f, struct err *e)
{
	Wire__Error *error = wire__error__unpack(NULL, f->length, f->body);
	int known = error && error->code >= ERR_RESULT && error->code <= ERR_ENV;

	err_set(e, known ? (enum err_code)error->code : ERR_PEER, "it says: %.300s",
		error ? error->text : "something that cannot be read");
	wire__error__free_unpacked(error, NULL);
	return -1;
}

static int come_up(struct conn *c, const struct frame *f, struct err *e)
{
	char warning[400];

	if (c->state != CONN_HELLO)
		return err_set(e, ERR_PEER, "said HELLO twice");
	if (take_hello(c, f, e))
		return -1;
	c->state = CONN_UP;
	c->up_told = 1;
	if (c->ssl && tls_peer_expiring(c->ssl, c->channel.name, warning, sizeof(warning)))
		log_line(LOG_WARNING, "%s", warning);
	c->handler->up(c->ctx, c);
	return 0;
}

static void send_pong(struct conn *c)
{
	static const struct frame pong = {.type = FRAME_PONG};

	c->pong_due = 0;
	conn_ops.send(&c->channel, &pong);
	conn_flush(c);
}

int conn_frame(struct conn *c, const struct frame *f, struct err *e)
{
	switch (f->type) {
	case FRAME_ERROR:
		return f->session ? c->handler->frame(c->ctx, c, f, e) : take_error(f, e);
	case FRAME_HELLO:
		return come_up(c, f, e);
	case FRAME_PING:
		c->pong_due = 1; /* one answer is enough for many that wait */
		if (!conn_queued(c))
			send_pong(c);
		return 0;
	case FRAME_PONG:
		return 0;
	case FRAME_CLOSE:
		if (f->session || (f->flags & FRAME_LATER))
			return c->handler->frame(c->ctx, c, f, e);
		conn_fail(c, ERR_NONE, "closed the connection in order");
		return 0;
	default:
		return c->handler->frame(c->ctx, c, f, e);
	}
}

/* ---- TLS ---- */

int conn_secure(struct conn *c, const char *host, SSL_SESSION **session, struct err *e)
{
	c->note.host = host;
	c->note.session = session;
	c->ssl = tls_connection(&c->net->tls, c->fd, &c->note, e);
	return c->ssl ? 0 : -1;
}

/* The peer is told in words what TLS has no alert for. */
static void refuse_role(struct conn *c, const struct err *why)
{
	struct err told = {0};

	err_set(&told, ERR_PEER, "your%s", why->text + strlen("its"));
	c->state = CONN_HELLO;
	channel_send_error(&c->channel, 0, &told, "TLS handshake");
	conn_fail(c, why->code, "%s", why->text);
}

static void handshake(struct conn *c)
{
	char name[48] = "", address[96];
	struct err e = {0};
	int done, want;

	errno = 0;
	done = SSL_do_handshake(c->ssl);
	if (done != 1) {
		int saved = errno;

		want = SSL_get_error(c->ssl, done);
		if (want == SSL_ERROR_WANT_WRITE)
			event_add(c->writable, NULL);
		else if (want != SSL_ERROR_WANT_READ)
			conn_tls_failed(c, saved);
		return;
	}
	if (tls_peer(c->ssl, c->allowed, &c->channel.peer, c->channel.fingerprint, c->channel.key, name,
		     sizeof(name), &e)) {
		refuse_role(c, &e);
		return;
	}
	if (!c->outgoing && net_peer_full(c->net, c->channel.key)) {
		err_set(&e, ERR_PEER,
			"its certificate (%.48s) has %d connections here, no more are allowed to one peer",
			name, CONNS_OF_PEER);
		refuse_role(c, &e);
		return;
	}
	tls_names(c->ssl, c->names, sizeof(c->names));
	if (!c->outgoing) {
		snprintf(address, sizeof(address), "%s", c->channel.name);
		snprintf(c->channel.name, sizeof(c->channel.name), "%s %.32s (%.40s)",
			 frame_role_name(c->channel.peer), name, address);
	}
	send_hello(c);
	conn_read(c);
}

/* ---- events ---- */

static void on_readable(evutil_socket_t fd, short what, void *ctx)
{
	struct conn *c = ctx;

	if (c->state == CONN_HANDSHAKE)
		handshake(c);
	else if (c->state == CONN_HELLO || c->state == CONN_UP)
		conn_read(c);
}

double conn_rtt(const struct conn *c)
{
	struct tcp_info info = {0};
	socklen_t n = sizeof(info);

	if (getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &n))
		return 0;
	return (info.tcpi_min_rtt && info.tcpi_min_rtt != UINT32_MAX ? info.tcpi_min_rtt : info.tcpi_rtt) *
	       1e-6;
}

static void connected(struct conn *c)
{
	int error = 0;
	socklen_t n = sizeof(error);

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &n) || error)
		conn_lost(c, "cannot connect", error ? error : errno);
	else
		conn_start(c);
}

static void on_writable(evutil_socket_t fd, short what, void *ctx)
{
	struct conn *c = ctx;
	size_t queued;

	if (c->state == CONN_CONNECTING)
		connected(c);
	else if (c->state == CONN_HANDSHAKE)
		handshake(c);
	if (c->state != CONN_HELLO && c->state != CONN_UP)
		return;
	queued = conn_queued(c);
	conn_flush(c);
	c->progress |= conn_queued(c) < queued;
	if (c->pong_due && !conn_queued(c))
		send_pong(c);
	if (c->state == CONN_UP && !conn_queued(c) && c->handler->drained)
		c->handler->drained(c->ctx, c);
	conn_resume(c);
}

void conn_start(struct conn *c)
{
	c->since_us = c->heard_us = net_now();
	event_add(c->readable, NULL);
	c->state = CONN_HANDSHAKE;
	if (c->ssl)
		handshake(c);
	else
		send_hello(c);
}

struct conn *conn_new(struct net *net, int fd, enum conn_state state, unsigned allowed,
		      const struct net_handler *h, void *ctx, struct err *e)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (!c) {
		close(fd);
		err_set(e, ERR_ENV, "out of memory for a connection");
		return NULL;
	}
	c->channel.ops = &conn_ops;
	c->channel.self = net->self;
	memcpy(c->channel.self_fingerprint, net->tls.fingerprint, sizeof(net->tls.fingerprint));
	c->net = net;
	c->fd = fd;
	c->state = state;
	c->allowed = allowed;
	c->handler = h;
	c->ctx = ctx;
	c->since_us = c->heard_us = net_now();
	c->readable = event_new(net->base, fd, EV_READ | EV_PERSIST, on_readable, c);
	c->writable = event_new(net->base, fd, EV_WRITE, on_writable, c);
	c->closer = event_new(net->base, -1, 0, on_close, c);
	if (c->readable && c->writable && c->closer)
		return c;
	c->lost = 1;
	conn_free(c);
	err_set(e, ERR_ENV, "out of memory for a connection");
	return NULL;
}

/* ---- deadlines ---- */

/* TCP delivers: the socket took more after it was full, or fewer bytes wait in the kernel than before. So the
 * other host lives although it says nothing: our PING is behind what it is still receiving. */
static int delivers(struct conn *c)
{
	int progress = c->progress, waiting = 0, before = c->in_kernel;

	c->progress = 0;
	if (!ioctl(c->fd, SIOCOUTQ, &waiting))
		c->in_kernel = waiting;
	return progress || waiting < before;
}

/* Silence after which the peer is asked whether it lives. Who made the connection asks first, so that one
 * PING and its answer serve both ends. */
static uint64_t patience(const struct conn *c)
{
	uint64_t idle = c->net->config->idle_ms * 1000;

	return c->outgoing ? idle : idle + idle / 10;
}

/* How much earlier than due is good enough: those that are due at about the same time wake us once. */
static uint64_t leeway(const struct conn *c)
{
	return c->net->config->idle_ms * 1000 / 20;
}

static void ping(struct conn *c)
{
	static const struct frame frame = {.type = FRAME_PING};

	c->pinged = 1;
	conn_ops.send(&c->channel, &frame);
	conn_flush(c);
}

/* Silence after which it is given up. */
static uint64_t limit(const struct conn *c)
{
	return 2 * c->net->config->idle_ms * 1000 - leeway(c); /* "within 2 s" includes our own ticks */
}

static void check_peer(struct conn *c, uint64_t now, uint64_t step)
{
	uint64_t silent = now > c->heard_us ? now - c->heard_us : 0;
	int quiet = silent + leeway(c) >= patience(c);

	if (!conn_queued(c))
		c->moved_us = 0;
	if (!conn_queued(c) && !quiet)
		return;
	if (delivers(c)) {
		c->heard_us = now;
		c->moved_us = 0;
		c->pinged = 0;
		return;
	}
	if (conn_queued(c) && !c->moved_us)
		c->moved_us = now;
	if (c->moved_us && now - c->moved_us > step) {
		conn_fail(c, ERR_PEER, "does not read: %zu bytes have waited for it for %llu ms",
			  conn_queued(c), (unsigned long long)(now - c->moved_us) / 1000);
	} else if (c->stalled || !quiet) {
		return; /* we do not listen, so we cannot hear it */
	} else if (!c->pinged) {
		ping(c);
	} else if (silent >= limit(c)) {
		c->lost = 1;
		conn_fail(c, ERR_REACH, "silent for %llu ms", (unsigned long long)(silent / 1000));
	}
}

/* Gives large buffers back after a quiet second. */
static int in_shrinks(const struct conn *c)
{
	return !c->in_have && c->in_room > BUFFER_FIRST;
}

static int out_shrinks(const struct conn *c)
{
	return !c->out_have && c->out_room > BUFFER_FIRST;
}

static void shrink(struct conn *c)
{
	if (in_shrinks(c))
		drop_buffer(&c->in, &c->in_room);
	if (out_shrinks(c))
		drop_buffer(&c->out, &c->out_room);
}

void conn_tick(struct conn *c, uint64_t now, int late)
{
	const struct config *config = c->net->config;
	uint64_t step = config->step_ms ? config->step_ms * 1000 : 10000000;

	if (c->state == CONN_CLOSING)
		return;
	if (late)
		c->heard_us = now;
	if (c->state != CONN_UP) {
		if (now > c->since_us + config->connect_ms * 1000) {
			c->lost = 1;
			conn_fail(c, ERR_REACH, "%s: no answer within %llu ms", state_name[c->state],
				  (unsigned long long)config->connect_ms);
		}
		return;
	}
	if (now >= c->heard_us + SHRINK_US)
		shrink(c);
	if (c->ssl)
		check_peer(c, now, step);
}

uint64_t conn_due(const struct conn *c)
{
	uint64_t due = UINT64_MAX, ask = c->heard_us + patience(c), look = c->net->ticked_us + leeway(c);

	if (c->state == CONN_CLOSING)
		return due;
	if (c->state != CONN_UP)
		return c->since_us + c->net->config->connect_ms * 1000 + 1;
	if (in_shrinks(c) || out_shrinks(c))
		due = c->heard_us + SHRINK_US;
	if (!c->ssl)
		return due;
	if (conn_queued(c))
		return 0;
	if (c->pinged) /* whether it delivers, and at last whether it lives */
		ask = look < c->heard_us + limit(c) ? look : c->heard_us + limit(c);
	return ask < due ? ask : due;
}

/* ---- for roles ---- */

struct channel *conn_channel(struct conn *c)
{
	return &c->channel;
}

const char *conn_names(const struct conn *c)
{
	return c->names;
}

struct conn_wire conn_wire(const struct conn *c)
{
	struct conn_wire wire = c->wire;

	wire.sent = c->channel.wire_sent + conn_queued(c);
	wire.received = c->channel.wire_received;
	return wire;
}

void conn_close(struct conn *c)
{
	static const struct frame f = {.type = FRAME_CLOSE};

	if (c->state == CONN_CLOSING)
		return;
	conn_ops.send(&c->channel, &f);
	conn_flush(c);
	conn_fail(c, ERR_NONE, "the connection was closed in order");
}

void conn_end(struct conn *c, const struct err *e)
{
	if (c->state == CONN_CLOSING)
		return;
	channel_send_error(&c->channel, 0, e, "");
	conn_fail(c, e->code, "%s", e->text);
}
