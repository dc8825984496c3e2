/* SPDX-License-Identifier: Apache-2.0 */
/* protocol/he_parts.h — inside both ends of he.h. */
#ifndef OBSCURA_PROTOCOL_HE_PARTS_H
#define OBSCURA_PROTOCOL_HE_PARTS_H

#include "crypto/secret.h"
#include "protocol/duo.h"
#include "protocol/he.h"
#include "protocol/profile.h"

#define HE_TICKETS_MAX 4096 /* of one session */

/* ---- where the time goes (protocol/he_profile.c) ---- */
/* Of one session. The first inference, which finds memory and caches cold, is left out. */
struct he_profile {
	struct profile *sum; /* owns; NULL: off, then nothing else is used */
	/* owns: of the job at hand, HE_LAPS for each row; NULL: off, or the first inference */
	uint64_t *ns;
	const struct plan *plan;
	int begun;
	uint64_t lap;
};
void he_profile_open(struct he_profile *p, const struct plan *plan);
/* An inference begins. Returns where its laps go; NULL: off. */
uint64_t *he_profile_begin(struct he_profile *p);
/* Takes over what a job has added up. */
void he_profile_job(struct he_profile *p);
/* Since the last call, or he_profile_start; to the first row that level asks for. */
void he_profile_start(struct he_profile *p);
void he_profile_lap(struct he_profile *p, enum profile_what what, const struct he_plan *hp, uint16_t level);
void he_profile_end(struct he_profile *p, size_t images); /* an inference is done */
void he_profile_close(struct he_profile *p);		  /* writes and frees; before the plan goes */

/* ---- data owner ---- */

/* Makes tickets, one after another. */
struct mill {
	struct job job;	   /* first */
	struct desk *desk; /* that it is part of */
	struct he_lane *lane;
	uint64_t *ticket;	   /* owns: the one that is being made */
	uint8_t *request, *answer; /* own: FRAME_HEADER bytes first; answers */
	int busy, waiting, answered, failed;
	size_t got;
	uint64_t since_us;
	struct err err;
};

/* What a job reads, so that it outlives a session that ends meanwhile. */
struct desk {
	struct job job;		/* first */
	struct he_owner *owner; /* NULL: the session has gone */
	int busy;
	struct plan *plan; /* own */
	struct he_plan *hp;
	struct he_pair *pair; /* held */
	struct he_lane *lane;
	size_t batch;
	uint8_t *request, *answer; /* own: FRAME_HEADER bytes first, then the longest request; answers */
	int answered;		   /* the answer is there: take it before asking on */
	uint16_t level;
	int asked; /* of he_lane_ask */
	struct he_profile profile;
	struct err err;
	/* with tickets */
	uint64_t **tickets; /* owns the list, of batch_max: those of the images that run */
	struct mill mill;
};

struct he_owner {
	struct duo_owner duo;
	struct desk *desk; /* from OPENED on */
	/* tickets (he_offline): [next, made) are kept, at their number mod capacity */
	uint64_t **pool; /* owns */
	uint64_t capacity, next, made, low, high;
	size_t ticket_words;
	int refilling;
	struct rate rate;
};

/* protocol/he_owner_mill.c. Memory, after OPENED. */
int he_mill_open(struct he_owner *o, uint64_t allowed, struct err *e) MUST_USE;
/* Starts a ticket when the pool or the images that wait want one. */
void he_mill_work(struct he_owner *o);
int he_mill_frame(void *owner, const struct frame *f, struct err *e);
/* Takes n tickets for the images that begin. */
void he_mill_take(struct he_owner *o, size_t n);
void he_mill_spend(struct desk *d);	/* wipes those */
void he_mill_close(struct he_owner *o); /* the session ends */
void he_mill_free(struct desk *d);
void he_owner_pool(const struct duo_owner *owner, struct pool_status *s);
/* protocol/he_owner.c */
void he_owner_work(struct duo_owner *owner);
void he_desk_free(struct desk *d);
/* protocol/he_owner_open.c */
int he_owner_opened(void *owner, const struct frame *f, struct err *e);
int he_owner_ready(void *owner, const struct frame *f, struct err *e);

/* ---- model owner ---- */

/* What a job reads, so that it outlives a session that ends meanwhile. */
struct bench {
	struct job job;	       /* first */
	struct he_modeller *m; /* NULL: the session has gone */
	int busy;
	const struct he_plan *hp; /* borrows: of struct served */
	struct he_known *known;	  /* held */
	struct he_replier *replier;
	uint16_t level;
	size_t batch;
	/* own while an inference runs; the answer has FRAME_HEADER bytes before it */
	uint8_t *request, *answer;
	struct err err;
	int status;
	struct he_profile profile;
	uint64_t **secrets; /* owns, with tickets: of the images that run, NULL at the end */
};

/* Answers masks, one ticket after another; a job of its own beside those of inferences. */
struct responder {
	struct job job; /* first */
	struct he_modeller *m;
	int busy;
	const struct he_plan *hp;
	struct he_known *known; /* held */
	struct he_replier *replier;
	uint8_t *request, *answer; /* own; the answer has FRAME_HEADER bytes before it */
	uint64_t *secrets;	   /* owns: of the ticket that is made */
	size_t got;
	struct err err;
	int status;
};

struct he_modeller {
	struct duo_modeller duo;
	uint8_t digest[HE_DIGEST];
	int announced; /* digest is set, the key is awaited */
	struct bench *bench;
	/* tickets (he_offline): [next, made) are kept, at their number mod capacity */
	struct responder *mill;
	uint64_t **pool; /* owns */
	uint64_t capacity, made;
	struct rate rate;
};

/* protocol/he_modeller_mill.c: tickets. */
int he_responder_open(struct he_modeller *m, struct err *e) MUST_USE;
void he_responder_close(struct he_modeller *m);
int he_responder_frame(void *modeller, const struct frame *f, struct err *e);
/* Tickets [next, next + n) are burnt, whatever becomes of the images; keep: they go to the bench. */
void he_responder_take(struct he_modeller *m, uint32_t n, int keep);
void he_secrets_free(uint64_t *secrets, const struct he_plan *hp); /* wipes */
void he_modeller_pool(const struct duo_modeller *modeller, struct pool_status *s);

#endif
