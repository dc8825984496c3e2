/* SPDX-License-Identifier: Apache-2.0 */
/* What is written to a connection. Short frames are gathered and leave in one TLS record; long ones go from
 * the caller's memory straight into TLS when nothing waits before them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/net_parts.h"

#define COPY_BELOW (32u << 10) /* shorter frames are gathered */
#define OUT_STOP (512u << 20)  /* no peer may let more than this wait */

/* Returns what the socket took, 0 if it is full or the connection has failed. */
static size_t put_bytes(struct conn *c, const uint8_t *bytes, size_t n)
{
	ssize_t done;

	errno = 0;
	if (!c->ssl) {
		done = send(c->fd, bytes, n, MSG_NOSIGNAL);
		if (done < 0 && errno != EAGAIN && errno != EINTR)
			conn_lost(c, "went away", errno);
		return done < 0 ? 0 : (size_t)done;
	}
	done = SSL_write(c->ssl, bytes, n > 1u << 30 ? 1 << 30 : (int)n);
	if (done > 0)
		return (size_t)done;
	switch (SSL_get_error(c->ssl, (int)done)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return 0;
	default:
		conn_tls_failed(c, errno);
		return 0;
	}
}

static int may_write(const struct conn *c)
{
	return c->state == CONN_HELLO || c->state == CONN_UP;
}

void conn_flush(struct conn *c)
{
	while (may_write(c) && c->out_sent < c->out_have) {
		size_t n = put_bytes(c, c->out + c->out_sent, c->out_have - c->out_sent);

		if (!n)
			break;
		c->out_sent += n;
	}
	if (c->out_sent == c->out_have)
		c->out_sent = c->out_have = 0;
	else if (may_write(c))
		event_add(c->writable, NULL);
	if (c->ssl)
		c->channel.wire_sent = BIO_number_written(SSL_get_wbio(c->ssl));
}

size_t conn_queued(const struct conn *c)
{
	return c->out_have - c->out_sent;
}

/* Makes room for n more bytes behind what is queued. */
static int out_reserve(struct conn *c, size_t n)
{
	size_t room = c->out_room ? c->out_room : BUFFER_FIRST;
	uint8_t *out;

	if (conn_queued(c) + n > OUT_STOP) {
		conn_fail(c, ERR_PEER, "does not read: %zu bytes wait for it", conn_queued(c));
		return -1;
	}
	if (c->out_sent && c->out_have + n > c->out_room) {
		memmove(c->out, c->out + c->out_sent, conn_queued(c));
		c->out_have -= c->out_sent;
		c->out_sent = 0;
	}
	while (room < c->out_have + n)
		room *= 2;
	if (room == c->out_room)
		return 0;
	out = realloc(c->out, room);
	if (!out) {
		conn_fail(c, ERR_ENV, "out of memory for %zu bytes that wait for it", room);
		return -1;
	}
	c->out = out;
	c->out_room = room;
	return 0;
}

/* After out_reserve. */
static void queue_bytes(struct conn *c, const void *bytes, size_t n)
{
	if (!n)
		return;
	memcpy(c->out + c->out_have, bytes, n);
	c->out_have += n;
}

static void count_sent(struct conn *c, const struct frame *f)
{
	conn_count(f, &c->wire.offline_sent, &c->wire.steps_sent);
	if (f->type == FRAME_STEP)
		spin_sent(&c->net->spin, net_now());
}

static void ch_send(struct channel *channel, const struct frame *f)
{
	struct conn *c = (struct conn *)channel;
	uint8_t header[FRAME_HEADER];

	if (c->state == CONN_CLOSING || out_reserve(c, FRAME_HEADER + (size_t)f->length))
		return;
	count_sent(c, f);
	frame_pack(header, f);
	queue_bytes(c, header, sizeof(header));
	queue_bytes(c, f->body, f->length);
}

static void ch_send_inplace(struct channel *channel, const struct frame *f, uint8_t *body)
{
	struct conn *c = (struct conn *)channel;
	struct frame copy = *f;
	size_t n = FRAME_HEADER + (size_t)f->length, done = 0, put;

	copy.body = body;
	if (n >= COPY_BELOW)
		conn_flush(c); /* what was queued before goes before */
	if (n < COPY_BELOW || c->state != CONN_UP || conn_queued(c)) {
		ch_send(channel, &copy);
		return;
	}
	count_sent(c, f);
	frame_pack(body - FRAME_HEADER, f);
	while (done < n && (put = put_bytes(c, body - FRAME_HEADER + done, n - done)))
		done += put;
	if (c->state != CONN_UP || done == n || out_reserve(c, n - done))
		return;
	queue_bytes(c, body - FRAME_HEADER + done, n - done);
	event_add(c->writable, NULL);
}

static void ch_flush(struct channel *channel)
{
	conn_flush((struct conn *)channel);
}

static size_t ch_queued(const struct channel *channel)
{
	return conn_queued((const struct conn *)channel);
}

const struct channel_ops conn_ops = {ch_send, ch_send_inplace, ch_flush, ch_queued};
