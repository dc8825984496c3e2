/* SPDX-License-Identifier: Apache-2.0 */
/* protocol/core.h — what both ends of a session share: legal frames as data, errors of peers, long messages
 * in pieces, memory that outlives the session while a job still reads it. */
#ifndef OBSCURA_PROTOCOL_CORE_H
#define OBSCURA_PROTOCOL_CORE_H

#include "protocol/session.h"
#include "protocol/stock.h"

/* One legal frame: who may send it in which states (bits), and what handles it. */
struct legal {
	uint8_t type, from;
	uint32_t states;
	int (*handle)(void *session, const struct frame *f, struct err *e);
};
/* The row for this frame, or NULL with an error that names frame, sender and state. */
const struct legal *legal_find(const struct legal *rows, size_t n, const struct channel *from,
			       const struct frame *f, unsigned state, const char *state_name, struct err *e);

void host_log(const struct host *host, int priority, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* One debug line "tickets SESSION FIRST-LAST what": for audits that no ticket is used twice. SESSION is 16
 * digits of the token's SHA-256: equal at all three parties, and of no use to anybody else. */
void ticket_log(const struct host *host, const uint8_t token[16], uint64_t first, size_t n, const char *what);

/* Sets e to what an ERROR frame says, with the sender's name before it; control characters become '?'.
 * Returns -1. */
int error_read(struct err *e, const struct channel *from, const struct frame *f);
/* Sets e (ERR_PEER, peer named). Returns -1. */
int error_of(struct err *e, const struct channel *peer, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Names the peer in an error that is a peer's and names none. Returns -1. */
int error_blame(struct err *e, const struct channel *peer);

/* Sends ABORT for a lane. */
void abort_send(struct channel *c, uint16_t session, uint32_t lane, const struct err *why);

/* Sends HELD: the rules give no tickets for now. */
void held_send(struct channel *c, uint16_t session, const struct err *why);

int same_bytes(const uint8_t *a, const uint8_t *b, size_t n); /* in constant time */
/* A session needs three different certificates: two that are alike would see two parties' secrets. */
int different(const struct channel *a, const struct channel *b, struct err *e) MUST_USE;

/* Sends `bytes` bytes in frames of at most FRAME_BODY_MAX: sequence counts the pieces from `f->sequence` on.
 * body has FRAME_HEADER writable bytes before it; it is overwritten as it leaves. Returns the bytes of all
 * bodies. */
uint64_t send_pieces(struct channel *c, struct frame f, uint8_t *body, uint64_t bytes);
/* The same for one message of the plan: the sequence stays, FRAME_MORE marks all pieces but the last. */
void send_step(struct channel *c, struct frame f, uint8_t *body, uint64_t bytes, int continues);

/* Tickets burnt a second, over the last minute. */
#define RATE_SECONDS 60
struct rate {
	uint32_t in[RATE_SECONDS]; /* second s in place s mod 60 */
	uint64_t latest;	   /* second */
};
void rate_add(struct rate *r, uint64_t now_us, size_t n);
double rate_read(const struct rate *r, uint64_t now_us);

/* What jobs read, so that it must outlive a session that ends meanwhile. Counted on the loop thread only. */
struct core {
	int refs;
	/* owns; NULL at the model owner, whose program and layers are borrowed from struct served */
	struct plan *plan;
	struct program *program; /* owns if plan */
	struct layer *layers;	 /* likewise */
	struct stock stock;	 /* memory of the tickets */
	uint64_t work;		 /* of one image and one message, about, in multiply-adds */
};
struct core *core_new(struct err *e);
/* Fills work for this party from the program. */
void core_weigh(struct core *core, enum party party);
void core_unref(struct core *core); /* NULL is allowed */

#endif
