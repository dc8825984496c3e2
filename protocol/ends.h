/* SPDX-License-Identifier: Apache-2.0 */
/* protocol/ends.h — steps that the ends of sessions take alike, whatever the personality: opening, frames
 * that any state takes, long messages, the queue of inferences, the end. */
#ifndef OBSCURA_PROTOCOL_ENDS_H
#define OBSCURA_PROTOCOL_ENDS_H

#include "protocol/core.h"
#include "wire.pb-c.h"

/* ---- opening ---- */

/* Sends OPEN: what the options ask for. */
void open_send(struct channel *model_owner, uint16_t session, const struct owner_options *options);
/* Fills in plan, epoch and personality, and sends OPENED. */
int opened_send(struct channel *data_owner, uint16_t session, const struct served *served,
		Wire__Opened *opened, struct err *e) MUST_USE;
/* Reads OPENED of a session of that personality, and hands it to take(owner). */
int opened_read(void *owner, const struct channel *model_owner, enum personality p, const struct frame *f,
		int (*take)(void *owner, const Wire__Opened *in, struct err *e), struct err *e) MUST_USE;
/* Reads and checks a plan out of a message. digest: receives the plan's SHA-256; or NULL. */
int plan_take(struct plan **plan, const Wire__Plan *in, uint8_t digest[32], const struct channel *from,
	      struct err *e) MUST_USE;

/* ---- inferences ---- */

/* The first bytes of BEGIN: epoch, number of images. */
#define BEGIN_BYTES 20
void begin_write(uint8_t out[BEGIN_BYTES], const uint8_t epoch[16], size_t images);
uint32_t begin_images(const uint8_t body[BEGIN_BYTES]);
/* Whether the model owner's rules allow tickets [first, first + n), of which they then make a record; else
 * why says it. */
int use_allowed(const struct modeller_options *options, const struct served *served,
		const struct channel *data_owner, const uint8_t token[16], uint32_t first, uint32_t n,
		struct err *why);

/* One piece of a message of so many bytes, of which *got are there: copies it. 1: the message is whole; 0:
 * more comes; -1: its length or its mark for more does not fit, nothing was copied. */
int piece_take(uint8_t *message, size_t *got, size_t bytes, const struct frame *f) MUST_USE;

void inference_push(struct inference **head, struct inference **tail, struct inference *i);
/* Takes the first, which there is. */
struct inference *inference_pop(struct inference **head, struct inference **tail);
/* Tells who asked for an inference that is in no queue any more. With an error, results are freed. */
void inference_tell(struct inference *i, const struct err *why);

/* ---- events ---- */

/* The legal frames of an end, and its states in words. */
struct legals {
	const struct legal *rows;
	size_t n;
	const char *const *states;
};
/* Handles a frame from a peer of this end. *leaving: set by a peer that asks to end later; NULL: peers do not
 * ask us. -1: the session is over, and why says it (ERR_NONE: in order); *told: that peer, if it ended it
 * itself. */
int frame_handle(void *end, const struct legals *legals, unsigned state, const struct channel *from,
		 const struct frame *f, int *leaving, const struct channel **told, struct err *why) MUST_USE;

/* ---- the end ---- */

/* flags: FRAME_LATER or 0. */
void close_send(struct channel *c, uint16_t session, uint8_t flags);
/* CLOSE when why has no code, else ERROR. */
void end_send(struct channel *c, uint16_t session, const struct err *why, const char *step);

#endif
