/* SPDX-License-Identifier: Apache-2.0 */
/* provider/parts.h — inside the provider: provider.c takes frames, pairing.c brings two ends together, mask.c
 * keeps weight masks, tickets.c makes and sends tickets. */
#ifndef OBSCURA_PROVIDER_PARTS_H
#define OBSCURA_PROVIDER_PARTS_H

#include "crypto/secret.h"
#include "protocol/core.h"
#include "provider/provider.h"

/* One party of a session, from its PAIR on. */
struct end {
	struct end *next;
	struct channel *channel; /* borrows */
	uint16_t session;
	enum frame_role role;
	uint8_t token[16], epoch[16], digest[32], peer[32];
	char model[128];
	uint64_t since_us, credit;
	struct pairing *pairing; /* NULL: waits for the other */
	/* of a model owner */
	struct plan *plan;    /* owns, until it goes to a mask */
	struct secret *arena; /* owns seed */
	uint8_t *seed;
};

/* The weight mask B of one epoch, with its program: shared by all sessions of that epoch. */
struct mask {
	struct job job; /* first */
	struct provider *provider;
	struct mask *next;
	uint8_t fingerprint[32], epoch[16], digest[32], seed_hash[32];
	struct plan *plan;	 /* owns */
	struct program *program; /* owns */
	struct layer *layers;	 /* owns; NULL until the job is done */
	struct secret *arena;	 /* owns seed, until the job is done */
	uint8_t *seed;
	uint64_t bytes, used_at;
	int refs, busy, submitted, removed; /* removed: not in the list any more, freed when nobody uses it */
	struct err err;
};

/* Two ends and the dealer between them. Allocated apart: it outlives its session while a job runs. */
struct pairing {
	struct job job; /* first */
	struct provider *provider;
	struct pairing *next;
	struct end *data_owner, *model_owner;
	struct mask *mask; /* holds a reference */
	struct dealer *dealer;
	struct secret *arena; /* owns what buffers point to */
	uint8_t **buffers;    /* per ticket of a block: room for a header, tag, corrections */
	uint8_t **corrections;
	uint8_t (*tags)[16];
	uint8_t *report; /* owns: the body of TAGS */
	size_t block;
	int live, busy, over; /* over: the session has ended, the job frees this */
	int held;	      /* the data owner knows that the rules give it no tickets now */
	uint64_t held_round;  /* of tickets_work, in which the rules gave none */
	uint64_t held_us;     /* when that was */
	uint64_t next_ticket;
	size_t n; /* tickets of the job under way */
};

struct provider {
	const struct host *host; /* borrows */
	struct provider_options options;
	struct end *ends;
	struct pairing *pairings; /* served in this order; who was served goes to the end */
	struct mask *masks;
	uint64_t mask_bytes, round, clock; /* clock: order of use of masks */
	unsigned blocks, jobs;		   /* under way; jobs: blocks and masks */
	int producing, gone;		   /* gone: freed by the last job */
	uint64_t made, bytes;
};

/* provider.c */
uint64_t provider_now(const struct provider *p);
void provider_submit(struct provider *p, struct job *job);
/* Last thing in every done(): frees a provider that has gone, after its last job. */
void provider_job_done(struct provider *p);

/* pairing.c */
struct end *end_find(const struct provider *p, const struct channel *c, uint16_t session);
int pair_frame(struct provider *p, struct channel *from, const struct frame *f, struct err *e) MUST_USE;
/* Ends a session: both ends (but not those on channel `told`) get ERROR, or CLOSE when why has no code; all
 * of it is freed. */
void end_session(struct provider *p, struct end *end, const struct err *why, const struct channel *told);
/* The mask is there, or has failed. */
void pairing_masked(struct provider *p, struct mask *mask);
void pairing_destroy(struct pairing *x);

/* mask.c */
/* Finds or builds the mask for a model owner's end, taking its plan and seed; *mask holds a reference for the
 * caller. */
int mask_get(struct provider *p, struct mask **mask, struct end *end, struct err *e) MUST_USE;
void mask_unref(struct mask *mask); /* it stays cached */
void mask_free_all(struct provider *p);

/* A session as the rules see it. */
struct use use_of(const struct end *data_owner, const struct end *model_owner);

/* tickets.c */
int tickets_prepare(struct pairing *x, const uint8_t *p0, const uint8_t *p1, struct err *e) MUST_USE;
/* Starts what may be made now, fairly. */
void tickets_work(struct provider *p);
/* As provider_due. */
uint64_t tickets_due(const struct provider *p);

#endif
