/* SPDX-License-Identifier: Apache-2.0 */
/* protocol/modeller.h — inside the model owner's end: modeller.c opens and ends it, modeller_stock.c collects
 * tickets, modeller_infer.c answers. */
#ifndef OBSCURA_PROTOCOL_MODELLER_H
#define OBSCURA_PROTOCOL_MODELLER_H

#include "crypto/secret.h"
#include "protocol/slot.h"

#define MODELLER_LANES 16

enum modeller_state { MODELLER_PAIRING, MODELLER_READY, MODELLER_OVER, MODELLER_STATES };

/* One ticket before its BEGIN: filled from two sides. */
struct half_ticket {
	uint8_t tag[16];
	uint8_t *piece; /* owns: from the stock; corrections, then delta */
};

/* How far one side has come. */
struct stream {
	uint64_t ticket; /* tickets below are whole */
	uint64_t bytes;	 /* of this one */
	uint32_t piece;
};

struct modeller {
	struct duo_modeller *duo; /* owns: not smpc; then nothing else here is in use */
	const struct host *host;  /* borrows */
	struct modeller_options options;
	const struct served *served;	       /* borrows */
	struct channel *data_owner, *provider; /* borrow; NULL when lost */
	uint16_t session, provider_session;
	enum modeller_state state;
	struct err err;
	uint64_t since_us;
	uint8_t token[16];
	size_t weights_sent;
	uint32_t weights_piece;
	struct core *core;
	struct prg *prg;
	size_t batch_max, capacity; /* tickets that may be there at once */
	/* tickets: next <= ready <= both streams <= credit */
	struct stream corrections, delta;
	uint64_t next, ready, credit, answered; /* answered: tickets whose memory is free again */
	struct half_ticket *ring;		/* owns; ticket t at t mod ring_size */
	uint64_t ring_size;
	struct rate rate;
	struct slot *slots[MODELLER_LANES];
};

/* modeller.c */
/* Ends the session: peers (but not `told`) get to know. Returns -1 and copies the reason to e. */
int modeller_fail(struct modeller *m, const struct err *why, const struct channel *told, struct err *e);
/* Lets the provider make as many tickets as there is memory for. */
int modeller_credit(struct modeller *m, struct err *e) MUST_USE;

/* modeller_stock.c */
int stock_prepare(struct modeller *m, struct err *e) MUST_USE;
struct half_ticket *stock_ticket(struct modeller *m, uint64_t number);
int stock_corrections(void *modeller, const struct frame *f, struct err *e);
int stock_delta(void *modeller, const struct frame *f, struct err *e);

/* modeller_infer.c */
int answer_begin(void *modeller, const struct frame *f, struct err *e);
int answer_step(void *modeller, const struct frame *f, struct err *e);
int answer_abort(void *modeller, const struct frame *f, struct err *e);
int answer_deadlines(struct modeller *m, struct err *e) MUST_USE;
int answer_rests(const struct modeller *m); /* there are none */
void answer_waiting(const struct modeller *m, char *text, size_t bytes);

#endif
