/* SPDX-License-Identifier: Apache-2.0 */
/* protocol/duo.h — sessions of two parties, without a provider: what both ends do alike in the personalities
 * he and clear, which run one inference after another. What one of them does in its own way stands in its
 * duo_owner_kind and duo_modeller_kind; its session begins with a struct duo_owner or duo_modeller. session.h
 * tells what the functions do, of any personality. */
#ifndef OBSCURA_PROTOCOL_DUO_H
#define OBSCURA_PROTOCOL_DUO_H

#include "protocol/ends.h"

/* ---- data owner ---- */

struct duo_owner;
struct duo_owner_kind {
	size_t bytes; /* of a session, which begins zeroed */
	struct legals legals;
	void (*work)(struct duo_owner *o);     /* after any event: begins what can begin */
	void (*answered)(struct duo_owner *o); /* the answer of duo_owner_wait is whole */
	void (*over)(struct duo_owner *o);     /* the part that ran is over: numbers the next */
	/* A deadline of its own: whether it runs, and -1 with the reason when it has passed. NULL: none */
	int (*awaits)(const struct duo_owner *o);
	int (*late)(const struct duo_owner *o, uint64_t limit_us, struct err *why);
	void (*pool)(const struct duo_owner *o, struct pool_status *s); /* NULL: nothing is made ahead */
	void (*free)(struct duo_owner *o); /* what follows struct duo_owner, and the plan */
};

struct duo_owner {
	const struct duo_owner_kind *kind;
	const struct host *host;
	struct owner_options options;
	char model[128];
	struct channel *model_owner; /* borrows; NULL when lost */
	uint16_t session;
	enum owner_state state;
	int leaving;
	struct err err;
	uint64_t since_us;
	/* of OPENED */
	uint8_t epoch[16];
	struct plan *plan;
	struct program predicted; /* of one image: online, round trips, setup and tickets */
	size_t batch_max;
	/* inferences */
	struct inference *head, *tail; /* the head runs when `part` */
	size_t part;		       /* images that run */
	uint32_t lane;		       /* number of the inference, from 0 */
	int waiting;		       /* for an answer */
	unsigned trip;		       /* the round trip that it ends, from 0 */
	uint8_t *answer;	       /* where to: borrows */
	size_t answer_bytes, got;
};
extern const char *const duo_owner_states[OWNER_STATES];
/* NULL: the personality's sessions are not of two parties. */
const struct duo_owner_kind *duo_owner_kind(enum personality p);

int duo_owner_new(struct duo_owner **owner, const struct duo_owner_kind *kind, const struct host *host,
		  const struct owner_options *options, struct channel *model_owner, uint16_t session,
		  struct err *e) MUST_USE;
int duo_owner_frame(struct duo_owner *o, struct channel *from, const struct frame *f, struct err *e);
int duo_owner_tick(struct duo_owner *o, struct err *e);
int duo_owner_rests(const struct duo_owner *o);
void duo_owner_infer(struct duo_owner *o, struct inference *i);
void duo_owner_lost(struct duo_owner *o, struct channel *c, const char *why);
void duo_owner_pool(const struct duo_owner *o, struct pool_status *s);
void duo_owner_free(struct duo_owner *o);

/* For kinds. */
uint64_t duo_owner_now(const struct duo_owner *o);
int duo_owner_fail(struct duo_owner *o, const struct err *why, const struct channel *told, struct err *e);
/* Memory for the head's results, the first time. -1: there is none, the head was told. */
int duo_owner_results(struct duo_owner *o);
/* So many images of the head run from now on. Returns the first one's pixels. */
const uint8_t *duo_owner_part(struct duo_owner *o, size_t images);
void duo_owner_begin(struct duo_owner *o); /* sends BEGIN */
/* The request of a round trip was sent, so many bytes: its answer is waited for. */
void duo_owner_wait(struct duo_owner *o, unsigned trip, size_t sent, uint8_t *answer, size_t bytes);
/* The results of the part are written. */
void duo_owner_done(struct duo_owner *o);
int duo_owner_step(void *owner, const struct frame *f, struct err *e);	/* handles STEP */
int duo_owner_abort(void *owner, const struct frame *f, struct err *e); /* handles ABORT */

/* ---- model owner ---- */

/* IDLE: between inferences; ASKED: a request is received; BUSY: it is answered; SWALLOW: what is still sent
 * of a refused inference is dropped. */
enum duo_state { DUO_KEYS, DUO_IDLE, DUO_ASKED, DUO_BUSY, DUO_SWALLOW, DUO_OVER, DUO_STATES };

struct duo_modeller;
struct duo_modeller_kind {
	size_t bytes;
	struct legals legals;
	int (*open)(struct duo_modeller *m, struct err *e); /* takes memory, sends OPENED */
	void (*answer)(
	    struct duo_modeller *m); /* the request of duo_modeller_await is whole; the state is BUSY */
	void (*pool)(const struct duo_modeller *m, struct pool_status *s); /* NULL: nothing is kept ahead */
	void (*free)(struct duo_modeller *m);
};

struct duo_modeller {
	const struct duo_modeller_kind *kind;
	const struct host *host;
	struct modeller_options options;
	const struct served *served;
	struct channel *data_owner; /* borrows; NULL when lost */
	uint16_t session;
	enum duo_state state;
	struct err err;
	uint64_t since_us;
	uint8_t token[16];
	size_t batch_max;
	uint32_t next, lane; /* the inference (with tickets: the first ticket) that may begin, that runs */
	unsigned trip;	     /* the round trip whose request is waited for, from 0 */
	uint8_t *request;    /* where to: borrows */
	size_t request_bytes, got;
};
extern const char *const duo_modeller_states[DUO_STATES];
const struct duo_modeller_kind *duo_modeller_kind(enum personality p);

int duo_modeller_new(struct duo_modeller **modeller, const struct duo_modeller_kind *kind,
		     const struct host *host, const struct modeller_options *options,
		     const struct served *served, struct channel *data_owner, uint16_t session,
		     struct err *e) MUST_USE;
int duo_modeller_frame(struct duo_modeller *m, struct channel *from, const struct frame *f, struct err *e);
int duo_modeller_tick(struct duo_modeller *m, struct err *e);
int duo_modeller_rests(const struct duo_modeller *m);
void duo_modeller_lost(struct duo_modeller *m, struct channel *c, const char *why);
void duo_modeller_leave(struct duo_modeller *m);
void duo_modeller_pool(const struct duo_modeller *m, struct pool_status *s);
void duo_modeller_free(struct duo_modeller *m);

/* For kinds. */
void duo_modeller_enter(struct duo_modeller *m, enum duo_state to);
int duo_modeller_fail(struct duo_modeller *m, const struct err *why, const struct channel *told,
		      struct err *e);
/* Checks BEGIN. Returns how many images it begins; 0: e says why it may not. */
uint32_t duo_modeller_images(const struct duo_modeller *m, const struct frame *f, struct err *e) MUST_USE;
/* The next inference may begin, or else is refused. */
int duo_modeller_allows(const struct duo_modeller *m, uint32_t images, struct err *why) MUST_USE;
void duo_modeller_refuse(struct duo_modeller *m, const struct err *why);
/* The request of a round trip is waited for. */
void duo_modeller_await(struct duo_modeller *m, unsigned trip, uint8_t *request, size_t bytes);
/* Sends the answer to it, which has FRAME_HEADER writable bytes before it. */
void duo_modeller_send(struct duo_modeller *m, uint8_t *answer, size_t bytes);
int duo_modeller_step(void *modeller, const struct frame *f, struct err *e); /* handles STEP */

extern const struct duo_owner_kind he_owner_kind, clear_owner_kind;
extern const struct duo_modeller_kind he_modeller_kind, clear_modeller_kind;

#endif
