/* SPDX-License-Identifier: Apache-2.0 */
/* protocol/session.h — sessions of the smpc personality, sans-I/O: frames in, frames out, jobs for workers,
 * a clock that is told.
 *
 * A session is one data owner using one model of one model owner with one provider:
 *   D → M  OPEN                     M → D  OPENED (plan, epoch, token), WEIGHTS…
 *   D → C  PAIR (token, peer = M)   M → C  PAIR (token, peer = D, plan, weight seed)
 *   C      pairs them only if each named the other's certificate and plan digest and epoch agree;
 *          C → both PAIRED (seed)
 *   D, M → C  CREDIT                C → M  CORRECTIONS…, C → D  TAGS;   D → M  DELTA…;   M → D  READY
 *   D → M  BEGIN, STEP … STEP       one inference of a batch; its tickets are burnt before the first STEP
 *                                 leaves (D) or is answered (M).
 * Ticket numbers rise by one from 0; neither side ever accepts one twice or out of order. */
#ifndef OBSCURA_PROTOCOL_SESSION_H
#define OBSCURA_PROTOCOL_SESSION_H

#include "nn/plan.h"
#include "protocol/engine.h"
#include "protocol/frame.h"
#include "protocol/personality.h"

/* Work for another thread: run() touches only what the job owns or what is constant; done() is called on the
 * loop thread afterwards (also when the session has gone: then it only frees). Jobs of one session run one
 * after another. */
struct job {
	void (*run)(struct job *job);
	void (*done)(struct job *job);
	int urgent; /* an online step: somebody waits for it, so it does not queue behind offline work */
};
/* What a session may ask of its surroundings. */
struct host {
	void *ctx;
	/* run later on a worker; may run it at once, done() included */
	void (*submit)(void *ctx, struct job *job);
	uint64_t (*now_us)(void *ctx);				/* monotonic */
	void (*log)(void *ctx, int priority, const char *text); /* syslog priorities; never a secret */
};

/* A data owner is about to use tickets of a session: at the model owner an inference, at the provider their
 * making. */
struct use {
	const struct channel *data_owner, *model_owner; /* model_owner: NULL at itself */
	const char *model;
	enum plan_reveal reveal; /* known at the model owner */
	const uint8_t *session;	 /* 16 bytes, alike at all three parties */
	uint64_t first;		 /* ticket */
	uint32_t n;
	int whole; /* all or nothing */
};
/* What a party's own rules say to that. */
struct rules {
	void *ctx;
	/* A session, at the provider. -1: refused, e says why to both peers. */
	int (*open)(void *ctx, const struct use *use, struct err *e);
	/* How many of the tickets may be used, from the first on: they are recorded as used, whatever becomes
	 * of them. When they are fewer than n, why is for the data owner. */
	uint32_t (*take)(void *ctx, const struct use *use, struct err *why);
};

/* Payload bytes, counted where they are packed or parsed. As in CLI.md. */
struct counted {
	uint64_t sent, received, provider;
};

/* ---- data owner ---- */
struct owner_options {
	const char *model;
	enum plan_optimise optimise;
	enum plan_reveal reveal;
	enum personality personality; /* other than smpc: there is no provider */
	int he_offline;		      /* its linear layers by tickets made ahead */
	uint32_t max_batch;
	uint32_t pool_low, pool_high; /* tickets; high 0: only on demand */
	uint64_t pool_bytes;
	uint32_t step_ms, connect_ms; /* deadlines: of every wait online; of opening and pairing */
	/* an online step of more multiply-adds than this runs as a job; 0: the default (4 million) */
	uint64_t inline_work;
};
enum owner_state { OWNER_OPENING, OWNER_WEIGHTS, OWNER_PAIRING, OWNER_READY, OWNER_FAILED, OWNER_STATES };
struct owner; /* the data owner's end */

struct inference {
	size_t batch;
	const uint8_t *pixels; /* batch × input, borrowed until done */
	void (*done)(struct inference *i);
	void *ctx;
	/* keep what the model owner receives first, for pictures, and the time that each row takes */
	int views;
	/* where results come from: n zeroed bytes that stay the caller's; NULL: from calloc, then they are
	 * the inference's */
	void *(*memory)(struct inference *i, size_t n);
	/* results */
	struct err err; /* code ERR_NONE: fine */
	/* owns (free) unless from memory(): batch × shape_size of the tape's last value (1 for
	 * REVEAL_LABEL) */
	int64_t *result;
	/* likewise: with views, batch × input bytes: the top 8 bits of each word of e */
	uint8_t *masked;
	/* likewise: with views, nanoseconds of computing of each row, then of waiting for the model owner */
	uint64_t *times;
	/* counted as messages really exchanged; of a batch in parts: the most of any part */
	uint32_t round_trips;
	struct counted online, offline;		/* payload of the whole batch */
	double seconds_online, seconds_offline; /* offline: waiting for tickets of this request */
	/* the session's own */
	struct inference *next;
	size_t begun, finished; /* images */
	uint64_t begun_us, waiting_us;
};

/* Both channels are up and have said HELLO. session: a number > 0 unused on either channel. Sends OPEN. */
int owner_new(struct owner **owner, const struct host *host, const struct owner_options *options,
	      struct channel *model_owner, struct channel *provider, uint16_t session,
	      struct err *e) MUST_USE;
/* A frame of this session from either channel. -1: the session has failed (e), every inference has been told,
 * owner_free it. */
int owner_frame(struct owner *o, struct channel *from, const struct frame *f, struct err *e) MUST_USE;
/* Deadlines and refills; call at least every 50 ms, but not while it rests, and whenever a channel has
 * drained. */
int owner_tick(struct owner *o, struct err *e) MUST_USE;
/* Nothing runs, waits for room, or is waited for that has a deadline: until a frame comes, a job is done or
 * an inference is asked for, owner_tick would do nothing. */
int owner_rests(const struct owner *o);
/* Queues an inference; waits for tickets if there are none. Several run at once (lanes). A batch above
 * max_batch, or above what the model owner or the memory for tickets allows, is run in parts. done() is
 * called once, possibly before this returns; it may queue another, it must not free the session. */
void owner_infer(struct owner *o, struct inference *i);
/* A channel was lost: every inference is told (peer named). */
void owner_lost(struct owner *o, struct channel *c, const char *why);
enum owner_state owner_state(const struct owner *o);
/* A peer has asked (CLOSE with FRAME_LATER) that the session ends: begin nothing, owner_free it when no
 * inference is left. */
int owner_leaving(const struct owner *o);
const struct plan *owner_plan(const struct owner *o);	    /* NULL before OPENED */
const struct program *owner_program(const struct owner *o); /* likewise: the prediction */
struct pool_status {
	uint64_t depth, high, bytes, made, burnt;
	uint64_t due;	  /* data owner: tickets asked for that are not complete yet */
	double burn_rate; /* tickets a second, last minute */
};
void owner_pool(const struct owner *o, struct pool_status *s);
void owner_free(struct owner *o); /* wipes; CLOSE is sent if the channels live */

/* ---- model owner ---- */
/* One model, ready to serve; shared by its sessions, constant after creation. A new one is a new epoch. */
struct served {
	const char *name;
	enum personality personality;
	struct plan *plan;	 /* owns */
	struct weights *weights; /* owns */
	struct program *program; /* owns */
	struct layer *layers;	 /* owns: W */
	uint8_t epoch[16], weight_seed[PRG_SEED_BYTES];
	uint8_t *masked; /* owns: F packed, program->setup bytes */
	uint8_t *plan_packed;
	size_t plan_bytes;
	/* own; of one personality each, which have no program, layers and masked weights */
	struct he_plan *he_plan;
	struct he_model *he_model;
	struct clear_model *clear; /* then there are no weights either */
};
/* Lowers a graph with the options; fresh epoch and weight seed. he_set: HE_S, HE_L or -1 for the one with
 * fewer bytes. */
int served_new(struct served **served, enum personality p, const struct graph *g,
	       const struct plan_options *options, int he_set, struct err *e) MUST_USE;
void served_free(struct served *served); /* wipes */

struct modeller; /* the model owner's end of one session */
struct modeller_options {
	uint64_t pool_bytes; /* memory for tickets of this session */
	uint32_t step_ms, connect_ms, max_batch, lanes;
	uint64_t inline_work;	   /* as in owner_options */
	int he_offline;		   /* the data owner asks for tickets of the he personality */
	const struct rules *rules; /* borrows; NULL: everything is allowed */
};
/* After OPEN was accepted: answers OPENED and WEIGHTS, sends PAIR to the provider. provider_session: unused
 * on that channel. served is borrowed: it outlives the session and all jobs submitted for it. */
/* provider is NULL for a personality without one. */
int modeller_new(struct modeller **m, const struct host *host, const struct modeller_options *options,
		 const struct served *served, struct channel *data_owner, uint16_t session,
		 struct channel *provider, uint16_t provider_session, struct err *e) MUST_USE;
/* -1: the session is over, free it; peers were told. e->code is ERR_NONE (with a text) when a peer closed it
 * in order. */
int modeller_frame(struct modeller *m, struct channel *from, const struct frame *f, struct err *e) MUST_USE;
/* Deadlines, and the rest of WEIGHTS; call at least every 50 ms, but not while it rests, and whenever a
 * channel has drained. */
int modeller_tick(struct modeller *m, struct err *e) MUST_USE;
int modeller_rests(const struct modeller *m); /* as owner_rests */
/* tells the other side; free it afterwards */
void modeller_lost(struct modeller *m, struct channel *c, const char *why);
/* Asks the data owner to end the session when its inferences have ended. */
void modeller_leave(struct modeller *m);
void modeller_pool(const struct modeller *m, struct pool_status *s);
void modeller_free(struct modeller *m);

/* ---- plans on the wire (protocol/plan_wire.c) ---- */
/* Packs the public plan (Wire__Plan); *bytes receives the length. Returns new (free), NULL when memory is
 * short. */
uint8_t *plan_pack(const struct plan *plan, size_t *bytes);
/* Reads and checks (tape_check) a stranger's plan. */
int plan_unpack(struct plan **plan, const uint8_t *packed, size_t bytes, struct err *e) MUST_USE;

#endif
