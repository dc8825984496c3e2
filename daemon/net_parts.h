/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/net_parts.h — private to the net: the loop's state, for net.c, listen.c, connect.c and conn.c. */
#ifndef OBSCURA_DAEMON_NET_PARTS_H
#define OBSCURA_DAEMON_NET_PARTS_H

#include <sys/socket.h>
#include <sys/un.h>

#include "daemon/conn.h"
#include "daemon/lookup.h"
#include "daemon/spin.h"
#include "daemon/workers.h"

#define CONNS_MAX 1024		      /* at once, of one process */
#define CONNS_OF_PEER (CONNS_MAX / 8) /* of them with one certificate, which others made */

struct listener {
	struct listener *next;
	struct net *net;
	int fd, local, open; /* open: whoever can open the Unix socket may use it */
	char *path;	     /* owns; of a Unix socket, removed at the end */
	unsigned roles;
	struct event *event, *again;
	const struct net_handler *handler;
	void *ctx;
};

/* One outgoing address. */
struct connector {
	struct connector *next;
	struct net *net;
	char host[256], port[16], name[96];
	enum frame_role peer;
	int keep;
	const struct net_handler *handler;
	void *ctx;
	struct event *retry;
	struct lookup *lookup;	     /* owns; while the name is looked up */
	struct addrinfo *found, *at; /* owns; the address that is tried */
	SSL_SESSION *session;	     /* owns; to be resumed */
	struct conn *conn;	     /* borrows; while there is one */
	uint64_t backoff_us, tried_us;
};

/* A socket that has sent its last: its peer gets a moment to read that before the system forgets it. */
struct lingering {
	struct lingering *next;
	struct net *net;
	int fd;
	struct event *event;
	uint64_t until_us;
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
	struct lingering *lingers;
	unsigned n_conns, n_lingers;
	struct conn_wire wire_gone; /* of connections that have ended */
	struct event *tick, *signals[2];
	uint64_t due_us, ticked_us; /* of the next tick, UINT64_MAX: there is none; of the last one */
	uint64_t warned_us;
	const struct net_clock *clock; /* the role's */
	void *clock_ctx;
	struct spin spin;
	uint64_t soon_us;		   /* until then the loop polls: net_soon; 0: not now */
	char congestion[CONGESTION_BYTES]; /* congestion_choose */
	/* stopping */
	int (*busy)(void *ctx);
	void *busy_ctx;
	uint64_t stop_us; /* 0: not stopping */
};

uint64_t net_now(void);
void net_adopt(struct net *net, struct conn *c);
/* Whether a peer with this certificate has as many as it may. */
int net_peer_full(const struct net *net, const uint8_t key[32]);
/* Ends the oldest connection of which nobody knows yet who it is: whoever has a certificate needs moments to
 * show it, and who only holds a place loses it to others. 0: there is none. */
int net_make_room(struct net *net);
/* A failed connection is taken out, its handler told, and freed. */
void net_dropped(struct net *net, struct conn *c);

/* "host:port" or "[v6]:port". */
int address_split(const char *address, char *host, size_t hosts, char *port, size_t ports,
		  struct err *e) MUST_USE;
int address_unix(const char *path, struct sockaddr_un *un, struct err *e) MUST_USE;
void socket_no_delay(int fd);
/* What the network has not taken yet waits here, not in the kernel: no step of an inference stands behind
 * megabytes of δ. */
void socket_short_queue(int fd);

/* listen.c */
/* A socket that listens on "host:port": the descriptor, or -1; name: the address as text. */
int socket_listen(const char *address, char *name, size_t bytes, struct sockaddr_storage *bound,
		  struct err *e) MUST_USE;
/* Likewise on a Unix socket that only this user may open. option: which one names the path, for messages. */
int socket_listen_unix(const char *path, const char *option, struct err *e) MUST_USE;
void listeners_free(struct net *net);

/* connect.c */
/* Its connection has ended. Returns 1 when another address is tried at once, so that nobody needs to know. */
int connector_next(struct connector *k, const struct conn *c);
void connector_dropped(struct connector *k, int was_up);
/* Drops the TLS sessions that would be resumed: they were made with other certificates. */
void connectors_forget(struct net *net);
void connectors_free(struct net *net);

#endif
