/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/conn.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <sodium.h>

#include "daemon/log.h"
#include "wire.pb-c.h"

#define IN_FIRST (64u << 10)
#define IN_BUDGET (1u << 20)   /* bytes read before others get their turn */
#define COPY_BELOW (32u << 10) /* shorter bodies wait in the queue and leave with what else is there, in one TLS record */
#define OUT_STOP (64u << 20)   /* a peer that lets this much queue up is given up */
#define LONGEST (64u << 20)

static const char *const state_name[] = {"connecting", "TLS handshake", "hello", "connected", "closing"};

/* ---- failing ---- */

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

static void fail_tls(struct conn *c)
{
	struct err e = {0};

	tls_reason(c->ssl, state_name[c->state], &e);
	conn_fail(c, e.code, "%s", e.text);
}

static void on_close(evutil_socket_t fd, short what, void *ctx)
{
	struct conn *c = ctx;

	net_dropped(c->net, c);
}

void conn_free(struct conn *c)
{
	if (c->ssl) {
		if (c->up_told)
			SSL_shutdown(c->ssl);
		SSL_free(c->ssl);
	}
	ERR_clear_error();
	if (c->readable)
		event_free(c->readable);
	if (c->writable)
		event_free(c->writable);
	if (c->closer)
		event_free(c->closer);
	if (c->fd >= 0)
		close(c->fd);
	if (c->in)
		sodium_memzero(c->in, c->in_room);
	if (c->out)
		sodium_memzero(c->out, c->out_room);
	free(c->in);
	free(c->out);
	free(c);
}

/* ---- writing ---- */

static ssize_t put_bytes(struct conn *c, const uint8_t *bytes, size_t n)
{
	ssize_t done;

	if (!c->ssl) {
		done = send(c->fd, bytes, n, MSG_NOSIGNAL);
		if (done < 0 && errno != EAGAIN && errno != EINTR)
			conn_fail(c, ERR_REACH, "the connection was lost while writing: %s", strerror(errno));
		return done < 0 ? 0 : done;
	}
	done = SSL_write(c->ssl, bytes, n > 1u << 30 ? 1 << 30 : (int)n);
	if (done > 0)
		return done;
	switch (SSL_get_error(c->ssl, (int)done)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return 0;
	default:
		fail_tls(c);
		return 0;
	}
}

static void conn_flush(struct conn *c)
{
	while (c->state >= CONN_HELLO && c->state != CONN_CLOSING && c->out_sent < c->out_have) {
		ssize_t n = put_bytes(c, c->out + c->out_sent, c->out_have - c->out_sent);

		if (n <= 0) {
			if (c->state != CONN_CLOSING)
				event_add(c->writable, NULL);
			return;
		}
		c->out_sent += n;
	}
	if (c->out_sent == c->out_have)
		c->out_sent = c->out_have = 0;
}

/* Makes room for n more bytes behind what is queued. */
static int out_reserve(struct conn *c, size_t n)
{
	size_t room = c->out_room ? c->out_room : IN_FIRST;
	uint8_t *out;

	if (c->out_have - c->out_sent + n > OUT_STOP) {
		conn_fail(c, ERR_PEER, "does not read: %zu bytes wait for it", c->out_have - c->out_sent);
		return -1;
	}
	if (c->out_sent && c->out_have + n > c->out_room) {
		memmove(c->out, c->out + c->out_sent, c->out_have - c->out_sent);
		c->out_have -= c->out_sent;
		c->out_sent = 0;
	}
	while (room < c->out_have + n)
		room *= 2;
	if (room == c->out_room)
		return 0;
	out = realloc(c->out, room);
	if (!out) {
		conn_fail(c, ERR_ENV, "out of memory");
		return -1;
	}
	c->out = out;
	c->out_room = room;
	return 0;
}

static void queue_bytes(struct conn *c, const void *bytes, size_t n)
{
	if (!n || out_reserve(c, n))
		return;
	memcpy(c->out + c->out_have, bytes, n);
	c->out_have += n;
}

static void ch_send(struct channel *channel, const struct frame *f)
{
	struct conn *c = (struct conn *)channel;
	uint8_t header[FRAME_HEADER];

	if (c->state == CONN_CLOSING)
		return;
	frame_pack(header, f);
	queue_bytes(c, header, sizeof(header));
	if (c->state != CONN_CLOSING)
		queue_bytes(c, f->body, f->length);
}

static void ch_send_inplace(struct channel *channel, const struct frame *f, uint8_t *body)
{
	struct conn *c = (struct conn *)channel;
	struct frame copy = *f;
	size_t n = FRAME_HEADER + f->length, done = 0;

	copy.body = body;
	if (f->length < COPY_BELOW || c->state != CONN_UP) {
		ch_send(channel, &copy);
		return;
	}
	conn_flush(c); /* order */
	frame_pack(body - FRAME_HEADER, f);
	while (c->out_have == 0 && c->state == CONN_UP && done < n) {
		ssize_t put = put_bytes(c, body - FRAME_HEADER + done, n - done);

		if (put <= 0)
			break;
		done += put;
	}
	if (c->state == CONN_UP && done < n) {
		queue_bytes(c, body - FRAME_HEADER + done, n - done);
		event_add(c->writable, NULL);
	}
}

/* Bytes that TLS (or the Unix socket) has moved. */
static void conn_wire(struct conn *c)
{
	if (c->ssl) {
		c->channel.wire_sent = BIO_number_written(SSL_get_wbio(c->ssl));
		c->channel.wire_received = BIO_number_read(SSL_get_rbio(c->ssl));
	}
}

static void ch_flush(struct channel *channel)
{
	conn_flush((struct conn *)channel);
	conn_wire((struct conn *)channel);
}

static size_t ch_queued(const struct channel *channel)
{
	const struct conn *c = (const struct conn *)channel;

	return c->out_have - c->out_sent;
}

static const struct channel_ops conn_ops = {ch_send, ch_send_inplace, ch_flush, ch_queued};

/* ---- hello ---- */

static void send_hello(struct conn *c)
{
	Wire__Hello hello = WIRE__HELLO__INIT;
	uint8_t digest[32];

	frame_digest(digest);
	hello.version = PROTOCOL_VERSION;
	hello.role = (char *)frame_role_name(c->channel.self);
	hello.digest.data = digest;
	hello.digest.len = sizeof(digest);
	hello.software = "obscura";
	channel_send_message(&c->channel, FRAME_HELLO, 0, 0, &hello);
	conn_flush(c);
}

static int take_hello(struct conn *c, const struct frame *f, struct err *e)
{
	Wire__Hello *hello = f->type == FRAME_HELLO ? wire__hello__unpack(NULL, f->length, f->body) : NULL;
	uint8_t digest[32];
	int result = 0;

	if (!hello)
		return err_set(e, ERR_PEER, "began with a frame %s, not with a valid HELLO", frame_name(f->type));
	frame_digest(digest);
	if (hello->version != PROTOCOL_VERSION)
		result = err_set(e, ERR_PEER, "speaks protocol version %u, this program %u; install the same release on all hosts",
				 hello->version, PROTOCOL_VERSION);
	else if (frame_role(hello->role) != c->channel.peer)
		result = err_set(e, ERR_PEER, "says that it is a \"%.32s\", which its certificate does not", hello->role);
	else if (hello->digest.len != sizeof(digest) || memcmp(hello->digest.data, digest, sizeof(digest)))
		result = err_set(e, ERR_PEER, "has other frames or operators; install the same release on all hosts");
	wire__hello__free_unpacked(hello, NULL);
	return result;
}

static void come_up(struct conn *c)
{
	c->state = CONN_UP;
	c->up_told = 1;
	log_line(LOG_DEBUG, "%s: connected", c->channel.name);
	c->handler->up(c->ctx, c);
}

/* ERROR with session 0: the peer ends the connection and says why. */
static int take_error(struct conn *c, const struct frame *f, struct err *e)
{
	Wire__Error *error = wire__error__unpack(NULL, f->length, f->body);

	err_set(e, error && error->code >= ERR_RESULT && error->code <= ERR_ENV ? (enum err_code)error->code : ERR_PEER, "it says: %.300s",
		error ? error->text : "something that cannot be read");
	wire__error__free_unpacked(error, NULL);
	return -1;
}

static int take_frame(struct conn *c, const struct frame *f, struct err *e)
{
	static const struct frame pong = {.type = FRAME_PONG};

	if (f->type == FRAME_ERROR && !f->session)
		return take_error(c, f, e);
	if (c->state == CONN_HELLO) {
		if (take_hello(c, f, e))
			return -1;
		come_up(c);
		return 0;
	}
	if (f->type == FRAME_HELLO)
		return err_set(e, ERR_PEER, "said HELLO twice");
	if (f->type == FRAME_PING) {
		ch_send(&c->channel, &pong);
		conn_flush(c);
		return 0;
	}
	return f->type == FRAME_PONG ? 0 : c->handler->frame(c->ctx, c, f, e);
}

/* ---- reading ---- */

/* One frame at `at`, if all of it is there. Returns its bytes, 0 if not, -1 with e. */
static ssize_t next_frame(struct conn *c, size_t at, struct frame *f, struct err *e)
{
	size_t have = c->in_have - at;

	if (have < FRAME_HEADER)
		return 0;
	if (frame_unpack(f, c->in + at, c->channel.peer, c->channel.self, e))
		return -1;
	if (f->length > LONGEST)
		return err_set(e, ERR_PEER, "sent a frame of %u bytes", f->length);
	if (have < FRAME_HEADER + (size_t)f->length)
		return 0;
	f->body = c->in + at + FRAME_HEADER;
	return FRAME_HEADER + (ssize_t)f->length;
}

/* Room for the rest of the frame that has begun, or for a read of the usual size. */
static int in_reserve(struct conn *c, size_t at)
{
	size_t need = IN_FIRST, room = c->in_room ? c->in_room : IN_FIRST;
	struct frame f;
	uint8_t *in;

	memmove(c->in, c->in + at, c->in_have - at);
	c->in_have -= at;
	if (c->in_have >= FRAME_HEADER && !frame_unpack(&f, c->in, c->channel.peer, c->channel.self, NULL))
		need += f.length;
	while (room < need)
		room *= 2;
	if (room <= c->in_room)
		return 0;
	in = realloc(c->in, room);
	if (!in)
		return -1;
	c->in = in;
	c->in_room = room;
	return 0;
}

static void take_frames(struct conn *c)
{
	size_t at = 0;
	struct err e = {0};
	struct frame f = {0};
	ssize_t n = 0;

	conn_wire(c);
	while (c->state != CONN_CLOSING && (n = next_frame(c, at, &f, &e)) > 0) {
		at += n;
		if (take_frame(c, &f, &e)) {
			n = -1;
			break;
		}
	}
	if (n < 0 && c->state != CONN_CLOSING) {
		if (f.type != FRAME_ERROR)
			channel_send_error(&c->channel, 0, &e, state_name[c->state]);
		conn_flush(c);
		conn_fail(c, e.code ? e.code : ERR_PEER, "%s", e.text);
	}
	if (c->state != CONN_CLOSING && in_reserve(c, at))
		conn_fail(c, ERR_ENV, "out of memory");
}

static ssize_t get_bytes(struct conn *c, uint8_t *bytes, size_t n)
{
	ssize_t got;

	if (!c->ssl) {
		got = recv(c->fd, bytes, n, 0);
		if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
			conn_fail(c, ERR_REACH, "went away");
		return got < 0 ? 0 : got;
	}
	got = SSL_read(c->ssl, bytes, (int)n);
	if (got > 0)
		return got;
	switch (SSL_get_error(c->ssl, (int)got)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return 0;
	case SSL_ERROR_ZERO_RETURN:
		conn_fail(c, ERR_REACH, "went away");
		return 0;
	default:
		if (c->state == CONN_UP && !ERR_peek_error())
			conn_fail(c, ERR_REACH, "went away");
		else
			fail_tls(c);
		return 0;
	}
}

static void read_some(struct conn *c)
{
	size_t budget = IN_BUDGET;

	if (!c->in && in_reserve(c, 0)) {
		conn_fail(c, ERR_ENV, "out of memory");
		return;
	}
	while (c->state != CONN_CLOSING) {
		ssize_t n = get_bytes(c, c->in + c->in_have, c->in_room - c->in_have);

		if (n <= 0)
			return;
		c->in_have += n;
		c->heard_us = net_now();
		c->pinged = 0;
		take_frames(c);
		if ((size_t)n >= budget) {
			event_active(c->readable, EV_READ, 0); /* TLS may hold bytes that the socket will not announce */
			return;
		}
		budget -= n;
	}
}

static void handshake(struct conn *c)
{
	int done = SSL_do_handshake(c->ssl);
	char name[48];
	struct err e = {0};

	if (done != 1) {
		int want = SSL_get_error(c->ssl, done);

		if (want == SSL_ERROR_WANT_WRITE)
			event_add(c->writable, NULL);
		else if (want != SSL_ERROR_WANT_READ)
			fail_tls(c);
		return;
	}
	if (tls_peer(c->ssl, c->allowed, &c->channel.peer, c->channel.fingerprint, name, sizeof(name), &e)) {
		conn_fail(c, e.code, "%s", e.text);
		return;
	}
	if (!c->connector) {
		char address[96];

		snprintf(address, sizeof(address), "%s", c->channel.name);
		snprintf(c->channel.name, sizeof(c->channel.name), "%s %.32s (%.40s)", frame_role_name(c->channel.peer), name, address);
	}
	c->state = CONN_HELLO;
	send_hello(c);
	if (c->state != CONN_CLOSING)
		read_some(c);
}

static void on_readable(evutil_socket_t fd, short what, void *ctx)
{
	struct conn *c = ctx;

	if (c->state == CONN_HANDSHAKE)
		handshake(c);
	else if (c->state == CONN_HELLO || c->state == CONN_UP)
		read_some(c);
}

static void on_writable(evutil_socket_t fd, short what, void *ctx)
{
	struct conn *c = ctx;
	int error = 0;
	socklen_t n = sizeof(error);

	if (c->state == CONN_CONNECTING) {
		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) || error)
			conn_fail(c, ERR_REACH, "cannot connect: %s", strerror(error ? error : errno));
		else
			conn_start(c);
	} else if (c->state == CONN_HANDSHAKE) {
		handshake(c);
	} else if (c->state != CONN_CLOSING) {
		conn_flush(c);
		if (c->state == CONN_UP && !ch_queued(&c->channel) && c->handler->drained)
			c->handler->drained(c->ctx, c);
	}
}

void conn_start(struct conn *c)
{
	c->since_us = c->heard_us = net_now();
	event_add(c->readable, NULL);
	if (c->ssl) {
		c->state = CONN_HANDSHAKE;
		handshake(c);
	} else {
		c->state = CONN_HELLO;
		send_hello(c);
	}
}

struct conn *conn_new(struct net *net, int fd, SSL *ssl, enum conn_state state, unsigned allowed, const struct net_handler *h, void *ctx,
		      struct err *e)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (!c) {
		close(fd);
		SSL_free(ssl);
		err_set(e, ERR_ENV, "out of memory");
		return NULL;
	}
	c->channel.ops = &conn_ops;
	c->channel.self = net_role(net);
	c->net = net;
	c->fd = fd;
	c->ssl = ssl;
	c->state = state;
	c->allowed = allowed;
	c->handler = h;
	c->ctx = ctx;
	c->since_us = c->heard_us = net_now();
	c->readable = event_new(net_base(net), fd, EV_READ | EV_PERSIST, on_readable, c);
	c->writable = event_new(net_base(net), fd, EV_WRITE, on_writable, c);
	c->closer = event_new(net_base(net), -1, 0, on_close, c);
	if (!c->readable || !c->writable || !c->closer) {
		conn_free(c);
		err_set(e, ERR_ENV, "out of memory");
		return NULL;
	}
	return c;
}

/* ---- deadlines ---- */

void conn_tick(struct conn *c, uint64_t now)
{
	const struct config *config = net_config(c->net);
	uint64_t silent = now > c->heard_us ? now - c->heard_us : 0;
	static const struct frame ping = {.type = FRAME_PING};

	if (c->state == CONN_CLOSING)
		return;
	if (c->state != CONN_UP) {
		if (now > c->since_us + config->connect_ms * 1000)
			conn_fail(c, ERR_REACH, "%s: no answer within %llu ms", state_name[c->state], (unsigned long long)config->connect_ms);
		return;
	}
	if (!c->ssl || silent < config->idle_ms * 1000)
		return;
	if (!c->pinged) {
		c->pinged = 1;
		ch_send(&c->channel, &ping);
		conn_flush(c);
	} else if (silent > 2 * config->idle_ms * 1000) {
		conn_fail(c, ERR_REACH, "silent for %llu ms", (unsigned long long)(silent / 1000));
	}
}

struct channel *conn_channel(struct conn *c)
{
	return &c->channel;
}

void conn_set_ctx(struct conn *c, void *ctx)
{
	c->own_ctx = ctx;
}

void *conn_ctx(const struct conn *c)
{
	return c->own_ctx;
}

void conn_end(struct conn *c, const struct err *e)
{
	if (c->state == CONN_CLOSING)
		return;
	channel_send_error(&c->channel, 0, e, state_name[c->state]);
	conn_flush(c);
	conn_fail(c, e->code, "%s", e->text);
}
