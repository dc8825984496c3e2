/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/net.h — connections: TLS 1.3 with certificates on both ends (or a Unix socket), frames in and out.
 */
#ifndef OBSCURA_DAEMON_NET_H
#define OBSCURA_DAEMON_NET_H

#include <event2/event.h>
#include "conf/config.h"
#include "protocol/frame.h"

/* One loop of one process: event base, TLS contexts, timers, worker pool. */
struct net;
/* One connection; its first member is the struct channel that sessions see. */
struct conn;

struct net_handler {
	/* TLS and HELLO are done on both sides. */
	void (*up)(void *ctx, struct conn *c);
	/* Returns -1 with e when the connection must end: ERROR is sent to the peer, then down() is called.
	 */
	int (*frame)(void *ctx, struct conn *c, const struct frame *f, struct err *e);
	/* The output has been taken by the socket. */
	void (*drained)(void *ctx, struct conn *c);
	/* The connection has gone; why names peer, step and reason. c is freed afterwards. */
	void (*down)(void *ctx, struct conn *c, const struct err *why);
};

/* What connections between data owner and model owner use, by option `congestion`: "" is the host's own. An
 * error when the kernel does not have what was asked for. */
#define CONGESTION_BYTES 16
int congestion_choose(char name[CONGESTION_BYTES], const char *asked, struct err *e) MUST_USE;
void socket_congestion(int fd, const char *name);

int net_new(struct net **net, const struct config *config, enum frame_role self, struct err *e) MUST_USE;
/* Listens with TLS on "host:port", or without on a Unix socket path (mode 0600 or as configured); accepted
 * peers must have one of the roles. */
int net_listen(struct net *net, const char *address, unsigned peer_roles, const struct net_handler *h,
	       void *ctx, struct err *e) MUST_USE;
int net_listen_unix(struct net *net, const char *path, const struct net_handler *h, void *ctx,
		    struct err *e) MUST_USE;
/* Connects (and, if keep, reconnects with exponential back-off and jitter for ever; down() is called at each
 * loss and for each failed try). The peer's certificate must chain to the CA, carry the role, and be valid
 * for the host name in the address. */
int net_connect(struct net *net, const char *address, enum frame_role peer, int keep,
		const struct net_handler *h, void *ctx, struct err *e) MUST_USE;
/* Lost connections are tried again soon, not when their back-off is over: somebody waits for them. */
void net_hurry(struct net *net);
int net_connect_unix(struct net *net, const char *path, const struct net_handler *h, void *ctx,
		     struct err *e) MUST_USE;
struct channel *conn_channel(struct conn *c);
/* Seconds of the quickest round trip lately, as the kernel saw it; 0 on a Unix socket. */
double conn_rtt(const struct conn *c);
/* The peer's certificate: its common name, then its hosts, one a line. "" before the handshake and on a Unix
 * socket. */
const char *conn_names(const struct conn *c);
/* Bytes that TLS has moved (what is queued counts as moved); the part of them that are frames of no
 * inference: all but BEGIN, STEP and ABORT; and the bodies of STEP. TLS's own bytes (22 a record) count as
 * online. */
struct conn_wire {
	uint64_t sent, received, offline_sent, offline_received, steps_sent, steps_received;
};
struct conn_wire conn_wire(const struct conn *c);
/* Of all connections over TLS that there are and were. */
struct conn_wire net_wire(const struct net *net);
/* Connections with peers of these roles that are up. */
unsigned net_count(const struct net *net, unsigned roles);
/* Sends ERROR with e, flushes, closes. */
void conn_end(struct conn *c, const struct err *e);
/* Ends it in order, with CLOSE; a kept one is made again. */
void conn_close(struct conn *c);

/* Calls each connection that is up, of peers with these roles. each may end it. */
void net_each(struct net *net, unsigned roles, void (*each)(void *ctx, struct conn *c), void *ctx);
/* Asks the peers that connected to us to leave when what is under way has ended: CLOSE with FRAME_LATER,
 * session 0. */
void net_leave(struct net *net);
/* Reads certificates for a new configuration, and takes them for handshakes from now on (connections stay;
 * those that came in are asked to leave when our own certificate is another one: then 1 is returned). */
struct tls;
int net_read_tls(const struct net *net, const struct config *next, struct tls *tls, struct err *e) MUST_USE;
int net_take_tls(struct net *net, struct tls *tls);

/* What ends within 30 days, or has ended: own certificate, authorities, revocation lists, peers'
 * certificates. Calls each with a line for a person. The log has the same lines, at start, when a peer comes,
 * and daily. */
void net_expiring(struct net *net, void (*each)(void *ctx, const char *text), void *ctx);
/* Seconds until the peer's certificate ends, negative afterwards; 0 on a Unix socket. For metrics. */
double conn_seconds_left(const struct conn *c);

/* A message that a peer answers soon has left by other means than a connection of ours, or the answer has
 * come: spin.h. */
void net_asked(struct net *net);
void net_answered(struct net *net);
/* For so many microseconds from now, or until 0 is said, the loop polls instead of sleeping, and gives way to
 * any other thread (soon.h). */
void net_soon(struct net *net, uint64_t us);

struct event_base *net_base(struct net *net);
const struct config *net_config(const struct net *net);
/* The host (jobs, clock, log) of sessions in this process; jobs run on config->threads workers, done() on the
 * loop. */
const struct host *net_host(struct net *net);
/* What a role does by the clock. due: when tick is to be called next, by the host's clock; 0: as soon as may
 * be, that is every NET_TICK_US; UINT64_MAX: something has to happen first. It is asked before the loop
 * sleeps; tick is called at other times, too. clock is borrowed; NULL: nothing any more. */
#define NET_TICK_US 10000
struct net_clock {
	uint64_t (*due)(void *ctx);
	void (*tick)(void *ctx);
};
void net_set_clock(struct net *net, const struct net_clock *clock, void *ctx);
/* One turn of the loop; flags: libevent's. -1: it failed. */
int net_turn(struct net *net, int flags);
/* Turns until net_stop (signal handlers call it). Can be called again. */
int net_run(struct net *net, struct err *e) MUST_USE;
/* Nothing is accepted any more, and peers that connected to us are asked to leave; the loop ends when they
 * have and busy (net_on_stop) says 0, after drain_ms at the latest, at once when called again. */
void net_stop(struct net *net);
int net_stopping(const struct net *net);
void net_on_stop(struct net *net, int (*busy)(void *ctx), void *ctx);
/* Jobs under way. */
size_t net_jobs(const struct net *net);
/* Before the role's state is freed: waits for jobs (their done() is called) and takes no more events. NULL is
 * allowed. */
void net_drain(struct net *net);
void net_free(struct net *net);

#endif
