/* SPDX-License-Identifier: Apache-2.0 */
/* protocol/slot.h — a place for one inference of a session: lane, tickets, counters; run at once when short,
 * as a job when long. */
#ifndef OBSCURA_PROTOCOL_SLOT_H
#define OBSCURA_PROTOCOL_SLOT_H

#include "protocol/core.h"

enum slot_state {
	SLOT_FREE,
	SLOT_WAIT,    /* for the peer's message */
	SLOT_BUSY,    /* the engine runs on a worker */
	SLOT_SWALLOW, /* aborted by us: what the peer had under way is dropped */
};

struct slot {
	struct job job; /* first: done() finds the slot by it */
	enum slot_state state;
	void *session;			/* borrows; NULL: it has gone, the job frees the slot */
	void (*ran)(struct slot *slot); /* on the loop thread, after the engine has run */
	const struct host *host;
	struct core *core; /* holds a reference */
	enum party party;
	struct prg *prg;   /* owns: this party's stream of tickets */
	struct lane *lane; /* owns; for up to `room` images */
	size_t room;
	struct ticket *tickets; /* owns: `room` of them */
	void **pieces;		/* owns the pieces: the tickets' memory, from core->stock */
	uint32_t first;		/* ticket */
	size_t batch;
	uint64_t inline_work; /* more than this goes to a worker */
	struct channel *to;   /* borrows: the other party */
	uint16_t number;      /* the session's */
	uint64_t since_us;    /* of the last progress */
	enum engine_state result;
	uint32_t messages;	 /* received whole */
	uint64_t sent, received; /* payload bytes */
	int aborted;		 /* by the peer, while the engine ran */
	/* data owner */
	struct inference *of;	  /* borrows; NULL when nobody waits for the result any more */
	size_t at;		  /* the first image's place in it */
	uint64_t delta, provider; /* payload bytes of its tickets */
};

/* Returns new. prg is cloned. */
struct slot *slot_new(void *session, void (*ran)(struct slot *), const struct host *host, struct core *core,
		      const struct prg *prg, enum party party, struct err *e);
/* Makes room for a batch: no allocation when there was room before. most: the largest batch ever. */
int slot_prepare(struct slot *s, size_t batch, size_t most, struct err *e) MUST_USE;
/* tickets[] and pieces[] are filled; starts the lane. */
void slot_begin(struct slot *s, uint32_t first, size_t batch, const uint8_t *pixels);
/* Runs the engine, then ran(): at once, or later. */
void slot_run(struct slot *s);
/* A STEP frame of this lane. 1: run the engine (the message is whole, or runs in parts), 0: not yet, -1: the
 * peer broke the protocol. */
int slot_receive(struct slot *s, const struct channel *from, const struct frame *f, struct err *e) MUST_USE;
/* Sends what the engine wrote, if anything. */
void slot_send(struct slot *s);
/* Wipes: the tickets go back to the stock; free for the next. */
void slot_clear(struct slot *s);
/* The session ends: wipes and frees, now or when the job is done. NULL is allowed. */
void slot_drop(struct slot *s);

#endif
