/* SPDX-License-Identifier: Apache-2.0 */
/* protocol/owner.h — inside the data owner's end: owner.c has its states, owner_open.c opens it, owner_pool.c
 * keeps tickets, owner_mill.c makes them, owner_infer.c runs inferences. */
#ifndef OBSCURA_PROTOCOL_OWNER_H
#define OBSCURA_PROTOCOL_OWNER_H

#include "crypto/secret.h"
#include "protocol/slot.h"

#define OWNER_LANES 16		   /* at most, whatever the model owner allows */
#define OWNER_SETUP_MAX (1u << 30) /* bytes of F */

/* One ticket between TAGS and BEGIN. */
struct ahead_ticket {
	uint8_t tag[16];
	uint64_t *kept;	      /* owns: from the stock; program->ahead words */
	uint32_t corrections; /* payload bytes that the provider says it sent */
	uint64_t delta;	      /* payload bytes that we sent */
};

/* What offline jobs touch: unpacking F, making δ. Allocated apart, so that it outlives a session that ends
 * meanwhile. */
struct mill {
	struct job job;	     /* first */
	struct owner *owner; /* NULL: the session has gone */
	struct core *core;   /* holds a reference */
	int busy, unmasking;
	uint8_t *weights; /* owns: F packed, until it is unpacked */
	struct aheads *aheads;
	size_t block;
	uint64_t first;
	size_t n;
	struct secret *arena; /* owns what delta points to */
	uint8_t **delta;      /* owns the list: block buffers with FRAME_HEADER bytes before each */
	uint64_t **kept;      /* owns the list */
	int failed;
	struct err err;
};

struct owner {
	struct duo_owner *duo;	 /* owns: not smpc; then nothing else here is in use */
	const struct host *host; /* borrows */
	struct owner_options options;
	char model[128];
	struct channel *model_owner, *provider; /* borrow; NULL when lost */
	uint16_t session;
	enum owner_state state;
	int leaving;	   /* a peer asks for the end */
	struct err err;	   /* why it failed */
	uint64_t since_us; /* last progress of opening, or of tickets that are waited for */
	/* opening */
	uint8_t epoch[16], token[16], digest[32];
	struct core *core;
	struct mill *mill;
	uint64_t weights_bytes, weights_got;
	uint32_t weights_piece;
	struct secret *arena; /* owns seed */
	uint8_t *seed;	      /* P0's, shared with the provider; wiped when all streams exist */
	int paired;
	struct prg *prg;
	size_t batch_max, lanes;
	uint8_t *begin; /* owns: FRAME_HEADER and the body of the largest BEGIN */
	/* tickets: next <= ready <= delta <= made <= credit */
	uint64_t next, ready, delta, made, credit;
	uint64_t said; /* by the model owner: complete at its end */
	uint64_t pool_low, pool_high, ticket_bytes;
	uint64_t pool_fit;	   /* tickets that the memory is enough for */
	uint64_t late_batch;	   /* about the largest batch of late */
	struct err held;	   /* with a code: why the provider makes no tickets for now */
	struct ahead_ticket *ring; /* owns; ticket t at t mod ring_size; those of [next, made) hold memory */
	uint64_t ring_size;
	struct rate rate;
	/* inferences */
	struct inference *head, *tail;
	struct slot *slots[OWNER_LANES];
	int working; /* owner_work is on the stack */
};

/* owner.c */
void owner_enter(struct owner *o, enum owner_state to);
/* Ends the session: peers (but not `told`) and all inferences get to know. Returns -1 and copies the reason
 * to e. */
int owner_fail(struct owner *o, const struct err *why, const struct channel *told, struct err *e);

/* owner_open.c */
int owner_unmasked(struct owner *o, struct err *e) MUST_USE; /* F is there */
int owner_opened(void *owner, const struct frame *f, struct err *e);
int owner_weights(void *owner, const struct frame *f, struct err *e);
int owner_paired(void *owner, const struct frame *f, struct err *e);

/* owner_mill.c */
struct mill *mill_new(struct owner *o, struct err *e);
void mill_unmask(struct mill *m);
int mill_prepare(struct mill *m, const uint8_t *seed, struct err *e) MUST_USE;
/* δ of the next n tickets, or fewer. */
void mill_make(struct owner *o, size_t n);
void mill_drop(struct mill *m);

/* owner_pool.c */
int pool_init(struct owner *o, struct err *e) MUST_USE;
/* Raises the credit and starts δ, as far as options and inferences under way allow. */
int pool_work(struct owner *o, struct err *e) MUST_USE;
struct ahead_ticket *pool_ticket(struct owner *o, uint64_t number);
/* Tickets [next, next + n) are burnt. */
void pool_burn(struct owner *o, size_t n);
int pool_tags(void *owner, const struct frame *f, struct err *e);
int pool_held(void *owner, const struct frame *f, struct err *e);
void pool_complete(struct owner *o); /* ready: what is complete at both ends */
int pool_ready(void *owner, const struct frame *f, struct err *e);
void pool_free(struct owner *o);

/* owner_infer.c */
/* Images that wait for a lane or for tickets, at most `most`. */
size_t infer_demand(const struct owner *o, size_t most);
int infer_active(const struct owner *o); /* lanes under way */
/* Begins what can begin. */
int infer_work(struct owner *o, struct err *e) MUST_USE;
int infer_step(void *owner, const struct frame *f, struct err *e);
int infer_abort(void *owner, const struct frame *f, struct err *e);
int infer_deadlines(struct owner *o, struct err *e) MUST_USE;
void infer_fail_all(struct owner *o, const struct err *why);
/* What the session waits for, for messages: "while waiting for message 3 of 6". */
void infer_waiting(const struct owner *o, char *text, size_t bytes);

/* All that may follow an event: inferences, credit, δ. */
int owner_work(struct owner *o, struct err *e) MUST_USE;

#endif
