/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/conn.h — private to daemon/net.c and daemon/conn.c: one connection, from its socket to its frames. */
#ifndef OBSCURA_DAEMON_CONN_H
#define OBSCURA_DAEMON_CONN_H

#include "daemon/net.h"
#include "daemon/tls.h"

enum conn_state { CONN_CONNECTING, CONN_HANDSHAKE, CONN_HELLO, CONN_UP, CONN_CLOSING };

struct connector;

struct conn {
	struct channel channel; /* first: a session's channel is its connection */
	struct net *net;
	struct conn *next;
	int fd;
	SSL *ssl; /* NULL on a Unix socket */
	enum conn_state state;
	unsigned allowed; /* roles that the peer may have */
	struct event *readable, *writable, *closer;
	const struct net_handler *handler;
	void *ctx, *own_ctx;
	struct connector *connector; /* the outgoing address, NULL when accepted */
	uint8_t *in;
	size_t in_have, in_room;
	uint8_t *out;
	size_t out_have, out_sent, out_room;
	uint64_t since_us, heard_us; /* of the state's start; of the last byte received */
	int pinged, up_told, outgoing;
	struct err why;
};

/* Takes fd. ssl may be NULL (Unix socket: the peer is a local client, or the data owner). NULL: fd was closed. */
struct conn *conn_new(struct net *net, int fd, SSL *ssl, enum conn_state state, unsigned allowed, const struct net_handler *h, void *ctx,
		      struct err *e);
/* Marks it as failed; down() is called and it is freed from the loop, never inside a caller. The first reason wins. */
void conn_fail(struct conn *c, enum err_code code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The socket is connected: TLS next. */
void conn_start(struct conn *c);
/* Deadlines; now in microseconds. */
void conn_tick(struct conn *c, uint64_t now);
/* Frees at once. */
void conn_free(struct conn *c);

/* net.c, for conn.c */
const struct config *net_config(const struct net *net);
enum frame_role net_role(const struct net *net);
uint64_t net_now(void);
/* Unlinks c and tells its connector and handler; then frees. */
void net_dropped(struct net *net, struct conn *c);

#endif
