/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/entry.h — private to the data owner: one session and the requests for it. data_owner.c has
 * connections and the role. */
#ifndef OBSCURA_DAEMON_ENTRY_H
#define OBSCURA_DAEMON_ENTRY_H

#include "daemon/requests.h"

enum which { MODEL_OWNER, PROVIDER, PEERS };

/* A peer: its connection, or why there is none. */
struct peer {
	struct data_owner *d;
	enum which which;
	struct conn *conn;
	struct err why;
	uint64_t why_us;   /* when that was found */
	int ever, leaving; /* leaving: it is to be connected anew when no session is left */
};

/* A session for each (model, mode, what is revealed). */
struct entry {
	struct entry *next;
	struct data_owner *d;
	char *model; /* owns; "": the only one of the model owner */
	enum plan_optimise optimise;
	enum plan_reveal reveal;
	enum personality personality;
	struct owner *owner; /* NULL: not open */
	uint16_t id;
	struct request *waiting;
	struct group *running;
	unsigned n_running;
	struct event *gather; /* the first request has waited long enough for others */
	int was_ready;
	/* PLAN_AUTO: the mode of its session, and what is known of the link */
	enum plan_optimise chosen;
	int weighed;
	uint64_t ready_us, ready_made; /* when tickets began to be made, and how many there were */
	uint64_t made, burnt;	       /* tickets of this session that metrics know of */
};

struct data_owner {
	struct net *net;
	const struct config *config;
	struct peer peers[PEERS];
	struct entry *entries;
	uint16_t last_id;
	uint64_t started_us;
	char **models; /* owns; what the model owner serves, NULL before it has said so */
	size_t n_models, pixels;
	struct memory_pool memory;    /* of requests */
	struct enclave_link *enclave; /* owns */
};

/* ready.c: for the admin socket. */
void owner_collect(struct data_owner *d);

uint64_t owner_now(const struct data_owner *d);
int owner_peers_leaving(const struct data_owner *d);
struct channel *owner_channel(const struct data_owner *d, enum which which);

/* What TLS put on the sockets for a group that has ended. Groups of all sessions use the same two
 * connections. Online, a group is charged its own payload times (bytes moved / payload moved) of the
 * connection to the model owner while it ran: exact when it ran alone. Offline, its part by images of what
 * else moved while it ran; tickets ahead of time moved before and are nobody's. */
void owner_wire_begin(const struct data_owner *d, struct group *g);
void owner_wire_end(const struct data_owner *d, struct group *g);

/* The entry for this model, mode and reveal; made if there is none. NULL with e. */
struct entry *entry_get(struct data_owner *d, const char *model, unsigned optimise, unsigned reveal,
			enum personality personality, struct err *e);
/* Takes r. */
void entry_ask(struct entry *n, struct request *r);
/* All that can be done now: opens, starts batches, answers descriptions, gives up. */
void entry_advance(struct entry *n);
/* A frame of its session. */
void entry_frame(struct entry *n, struct channel *from, const struct frame *f);
/* A peer was lost. */
void entry_lost(struct entry *n, struct channel *c, const struct err *why);
/* Deadlines. Returns 1 when the entry is of no use any more. */
int entry_tick(struct entry *n);
/* Whether it would do nothing until something happens. */
int entry_rests(const struct entry *n);
/* entry_auto.c. 1: the session should be closed and opened anew, in the mode n->chosen. */
int entry_weigh(struct entry *n);
/* It has not decided yet, and soon may. */
int entry_weighs(const struct entry *n);
/* Seconds of an image, offline work included. */
double auto_seconds(const struct program *g, double rtt, double byte_rate);
/* The better mode of a network whose plan and program in one are at hand, when a link has this round trip and
 * so many tickets were made through it: seconds of this mode, and of the other. */
int auto_weigh(enum plan_optimise *better, double seconds[2], const struct plan *plan,
	       const struct program *now, double rtt, double tickets_per_second, struct err *e) MUST_USE;
/* Tells metrics of tickets made and burnt since the last call. */
void entry_count(struct entry *n);
/* Everything that waits is refused. */
void entry_free(struct entry *n, const struct err *why);

#endif
