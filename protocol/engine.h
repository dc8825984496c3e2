/* SPDX-License-Identifier: Apache-2.0 */
/* protocol/engine.h — the loop that runs a tape for one party, and the two offline producers. No I/O: bytes
 * in, bytes out. */
#ifndef OBSCURA_PROTOCOL_ENGINE_H
#define OBSCURA_PROTOCOL_ENGINE_H

#include "protocol/program.h"

#define ENGINE_HEADROOM 16 /* bytes before an outgoing message, for the caller's frame header */

/* One lane: the online computation of up to batch_max images together, for one party. */
struct lane;

/* Returns new; program and layers (P1's W; NULL for P0) are borrowed. All memory of the lane is taken here,
 * as one secret arena. */
int lane_new(struct lane **lane, const struct program *program, enum party party, const struct layer *layers,
	     size_t batch_max, struct err *e) MUST_USE;
void lane_free(struct lane *lane); /* wipes */
/* Bytes that such a lane takes. */
size_t lane_bytes(const struct program *program, size_t batch_max);

/* Starts an inference of `batch` images on `tickets` (copied; what they point to is borrowed until the lane
 * is done or reset). prg: the party's PRG_TICKET stream, borrowed likewise. pixels: P0 only, batch × input
 * 8-bit values. */
void lane_begin(struct lane *lane, struct prg *prg, const struct ticket *tickets, size_t batch,
		const uint8_t *pixels);

/* After lane_begin: this inference is timed, row by row. Adds its nanoseconds of computing (and sending) and
 * of waiting for the peer, after ENGINE_DONE. */
void lane_time(struct lane *lane);
void lane_times(const struct lane *lane, uint64_t *compute, uint64_t *wait);

enum engine_state {
	ENGINE_WAIT,
	ENGINE_DONE,
	ENGINE_PART /* a long message is begun: it can leave; run again */
};
/* Hands over received bytes of the peer's current message (any split). -1: more than that message holds (a
 * peer's fault). */
int lane_receive(struct lane *lane, const uint8_t *bytes, size_t n, struct err *e) MUST_USE;
/* Whether engine_run returns ENGINE_PART, so that the peer can begin on a part while the rest is computed. At
 * first not. */
void lane_in_parts(struct lane *lane, int in_parts);
/* Runs until bytes are needed that are not there, or to the end. */
enum engine_state engine_run(struct lane *lane);
/* The message written by the last engine_run, *bytes = 0 when there is none. The memory before it
 * (ENGINE_HEADROOM bytes) may be overwritten. *step: index of the message in program->messages. Valid until
 * the next engine_run or lane_reset. */
uint8_t *lane_message(struct lane *lane, size_t *bytes, uint32_t *step);
/* After lane_message: more of the same message will come. */
int lane_continues(const struct lane *lane);
/* It has been handed to the network: for profiles. */
void lane_sent(struct lane *lane);
/* Looks at that message without taking it. */
const uint8_t *lane_peek(const struct lane *lane, size_t *bytes);
/* The message that the lane waits for: its index, and how many bytes of it are still missing. */
uint32_t lane_awaits(const struct lane *lane, size_t *missing);
/* P0, after ENGINE_DONE: batch × classes signed integers. */
const int64_t *lane_result(const struct lane *lane);
/* P1's masked view of a value for pictures: NULL when the value is not in memory any more. */
/* Wipes the lane's state; it can be begun again. */
void lane_reset(struct lane *lane);

/* Offline. One producer is used by one thread at a time. */
struct dealer;
int dealer_new(struct dealer **dealer, const struct program *program, const struct layer *mask,
	       const uint8_t p0[PRG_SEED_BYTES], const uint8_t p1[PRG_SEED_BYTES],
	       const uint8_t own[PRG_SEED_BYTES], size_t block, struct err *e) MUST_USE;
/* Corrections of tickets [first, first + n), n <= block: corrections[t] receives program->corrections bytes,
 * tags[t] 16 bytes. */
void dealer_make(struct dealer *dealer, uint64_t first, size_t n, uint8_t *const *corrections,
		 uint8_t (*tags)[16]);
void dealer_free(struct dealer *dealer);

struct aheads;
int aheads_new(struct aheads **aheads, const struct program *program, const struct layer *f,
	       const uint8_t p0[PRG_SEED_BYTES], size_t block, struct err *e) MUST_USE;
/* delta[t]: program->delta bytes for P1; kept[t]: program->ahead words for struct ticket.ahead. */
void aheads_make(struct aheads *aheads, uint64_t first, size_t n, uint8_t *const *delta,
		 uint64_t *const *kept);
void aheads_free(struct aheads *aheads);

#endif
