/* SPDX-License-Identifier: Apache-2.0 */
/* What is read from a connection: bytes into one buffer, frames parsed where they lie. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/net_parts.h"

#define IN_BUDGET (128u << 10) /* bytes read before others get their turn */
#define STALL_ABOVE (8u << 20) /* bytes that wait for a peer before its next question waits */
#define STALL_BELOW (2u << 20)

/* Frames that ask for an answer on their own, without tickets or turns that bound how many there are. Only
 * one end of a pair of roles sends them, so that two ends can never both wait for the other. */
static int is_question(const struct frame *f)
{
	return f->type == FRAME_MODELS || f->type == FRAME_OPEN || f->type == FRAME_CLASSIFY ||
	       f->type == FRAME_STATUS;
}

/* The next frame, if all of it is there: its bytes, 0 if not, -1 with e. */
static ssize_t next_frame(const struct conn *c, struct frame *f, struct err *e)
{
	size_t have = c->in_have - c->in_at;

	if (have < FRAME_HEADER)
		return 0;
	if (frame_unpack(f, c->in + c->in_at, c->channel.peer, c->channel.self, e))
		return -1;
	if (c->state == CONN_HELLO && f->type != FRAME_HELLO && f->type != FRAME_ERROR)
		return err_set(e, ERR_PEER, "began with %s, not with HELLO", frame_name(f->type));
	if (have < FRAME_HEADER + (size_t)f->length)
		return 0;
	f->body = c->in + c->in_at + FRAME_HEADER;
	return FRAME_HEADER + (ssize_t)f->length;
}

/* Room for the rest of the frame that has begun, or for a read of the usual size. */
static int in_reserve(struct conn *c)
{
	size_t have = c->in_have - c->in_at, need = BUFFER_FIRST / 2,
	       room = c->in_room ? c->in_room : BUFFER_FIRST;
	struct frame f;
	uint8_t *in;

	if (have >= FRAME_HEADER &&
	    !frame_unpack(&f, c->in + c->in_at, c->channel.peer, c->channel.self, NULL))
		need += FRAME_HEADER + (size_t)f.length;
	if (need < have + BUFFER_FIRST / 4)
		need = have + BUFFER_FIRST / 4;
	if (c->in_at && c->in_at + need > c->in_room) {
		memmove(c->in, c->in + c->in_at, have);
		c->in_at = 0;
		c->in_have = have;
	}
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
	struct err e = {0};
	struct frame f = {0};
	ssize_t n = 0;

	while (c->state != CONN_CLOSING && (n = next_frame(c, &f, &e)) > 0) {
		if (is_question(&f) && conn_queued(c) > STALL_ABOVE) {
			c->stalled = 1;
			event_del(c->readable);
			return;
		}
		c->in_at += (size_t)n;
		conn_count(&f, &c->wire.offline_received, &c->wire.steps_received);
		if (f.type == FRAME_STEP)
			spin_received(&c->net->spin);
		if (conn_frame(c, &f, &e)) {
			n = -1;
			break;
		}
	}
	if (n < 0 && c->state != CONN_CLOSING) {
		if (f.type != FRAME_ERROR)
			channel_send_error(&c->channel, 0, &e, c->state == CONN_HELLO ? "hello" : "reading");
		conn_fail(c, e.code ? e.code : ERR_PEER, "%s", e.text);
	}
	if (c->in_at == c->in_have)
		c->in_at = c->in_have = 0;
}

/* Bytes that came; 0 if there are none now, or the connection has ended. */
static size_t get_bytes(struct conn *c, uint8_t *bytes, size_t n)
{
	ssize_t got;

	errno = 0;
	if (!c->ssl) {
		got = recv(c->fd, bytes, n, 0);
		if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
			conn_lost(c, "went away", errno);
		return got < 0 ? 0 : (size_t)got;
	}
	got = SSL_read(c->ssl, bytes, n > 1u << 30 ? 1 << 30 : (int)n);
	if (got > 0)
		return (size_t)got;
	switch (SSL_get_error(c->ssl, (int)got)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		break;
	case SSL_ERROR_ZERO_RETURN:
		conn_lost(c, "closed the connection", 0);
		break;
	default:
		conn_tls_failed(c, errno);
	}
	return 0;
}

static size_t fill(struct conn *c)
{
	size_t n;

	if (in_reserve(c)) {
		conn_fail(c, ERR_ENV, "out of memory");
		return 0;
	}
	n = get_bytes(c, c->in + c->in_have, c->in_room - c->in_have);
	c->in_have += n;
	if (c->ssl)
		c->channel.wire_received = BIO_number_read(SSL_get_rbio(c->ssl));
	return n;
}

/* Reads as long as TLS has more at hand; what only the socket has, it will announce again. Frames are taken
 * after each read: what came before the end of a connection counts. */
void conn_read(struct conn *c)
{
	size_t budget = IN_BUDGET;

	while (c->state != CONN_CLOSING && !c->stalled) {
		size_t n = fill(c);

		if (!n)
			return;
		c->heard_us = net_now();
		c->pinged = 0;
		take_frames(c);
		if (c->state == CONN_CLOSING || !c->ssl || !SSL_has_pending(c->ssl))
			return;
		if (n >= budget) {
			event_active(c->readable, EV_READ,
				     0); /* TLS holds bytes that the socket will not announce */
			return;
		}
		budget -= n;
	}
}

void conn_resume(struct conn *c)
{
	if (!c->stalled || conn_queued(c) > STALL_BELOW)
		return;
	c->stalled = 0;
	event_add(c->readable, NULL);
	take_frames(c);
	if (!c->stalled)
		conn_read(c);
}
