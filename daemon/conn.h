/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/conn.h — private to the net: one connection, from its socket to its frames. net.c has the loop,
 * listen.c and connect.c make connections, conn.c has their life, conn_in.c reads, conn_out.c writes. */
#ifndef OBSCURA_DAEMON_CONN_H
#define OBSCURA_DAEMON_CONN_H

#include "daemon/net.h"
#include "daemon/tls.h"

enum conn_state { CONN_CONNECTING, CONN_HANDSHAKE, CONN_HELLO, CONN_UP, CONN_CLOSING, CONN_STATES };

#define BUFFER_FIRST (64u << 10) /* bytes that a buffer has when it is not needed for more */

struct connector;

struct conn {
	struct channel channel; /* first: a session's channel is its connection */
	struct net *net;
	struct conn *next;
	int fd;
	SSL *ssl; /* NULL on a Unix socket */
	struct tls_note note;
	enum conn_state state;
	unsigned allowed; /* roles that the peer may have */
	struct event *readable, *writable, *closer;
	const struct net_handler *handler;
	void *ctx;
	struct connector *connector; /* the outgoing address; NULL when accepted, or a Unix socket */
	uint8_t *in;		     /* bytes [in_at, in_have) wait to be frames */
	size_t in_at, in_have, in_room;
	uint8_t *out; /* bytes [out_sent, out_have) wait for the socket */
	size_t out_have, out_sent, out_room;
	uint64_t since_us; /* of the state's start */
	uint64_t heard_us; /* of the last sign of life */
	/* since when the socket takes nothing although bytes wait; 0: it does, or none wait */
	uint64_t moved_us;
	int in_kernel; /* bytes that TCP had not delivered at the last look */
	int progress;  /* the socket was full and took more since the last look */
	int outgoing, up_told, pinged, pong_due;
	int stalled;	       /* nothing is read until the peer has read */
	int lost;	       /* it is gone: nothing of ours is worth waiting for */
	char names[TLS_NAMES]; /* of the peer's certificate, one a line */
	struct conn_wire wire; /* frames counted so far; sent and received are the channel's */
	struct err why;
};

/* A frame leaves, or has come. */
static inline void conn_count(const struct frame *f, uint64_t *offline, uint64_t *steps)
{
	if (f->type == FRAME_STEP)
		*steps += f->length;
	else if (f->type != FRAME_BEGIN && f->type != FRAME_ABORT)
		*offline += FRAME_HEADER + (uint64_t)f->length;
}

/* Takes fd; for TLS, conn_secure comes next. allowed: roles that the peer may have. NULL: fd was closed. */
struct conn *conn_new(struct net *net, int fd, enum conn_state state, unsigned allowed,
		      const struct net_handler *h, void *ctx, struct err *e);
/* TLS on it; as the client when host is not NULL. */
int conn_secure(struct conn *c, const char *host, SSL_SESSION **session, struct err *e) MUST_USE;
/* The socket is connected: TLS next, or HELLO. */
void conn_start(struct conn *c);
/* Ends it for our reasons: what the peer has to read still gets its chance. down() is called from the loop,
 * never inside a caller. The first reason wins. */
void conn_fail(struct conn *c, enum err_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Ends it because it is gone (ERR_REACH) or because TLS failed (tls_reason). saved: errno. */
void conn_lost(struct conn *c, const char *what, int saved);
void conn_tls_failed(struct conn *c, int saved);
/* Deadlines; now in microseconds. late: the loop itself was not there for a while, so silence proves nothing.
 */
void conn_tick(struct conn *c, uint64_t now, int late);
/* When conn_tick has something to do next; 0: while this lasts, at each tick. */
uint64_t conn_due(const struct conn *c);
/* Frees at once. Returns the socket when its peer should still read what is on its way, else -1. */
int conn_free(struct conn *c);

/* conn_in.c */
void conn_read(struct conn *c);
void conn_resume(struct conn *c); /* after a stall, when the output has gone down */
int conn_frame(struct conn *c, const struct frame *f,
	       struct err *e); /* conn.c: what a frame means to the connection */

/* conn_out.c */
extern const struct channel_ops conn_ops;
void conn_flush(struct conn *c);
size_t conn_queued(const struct conn *c);

#endif
