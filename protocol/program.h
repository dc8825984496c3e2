/* SPDX-License-Identifier: Apache-2.0 */
/* protocol/program.h — a tape with every size worked out: the cost of an inference is known before it
 * runs. */
#ifndef OBSCURA_PROTOCOL_PROGRAM_H
#define OBSCURA_PROTOCOL_PROGRAM_H

#include "protocol/op.h"
#include "protocol/profile.h"

/* Where the pieces of one row lie in the streams of a ticket. */
struct placed {
	struct cost cost;
	uint64_t p0, p1, own;	     /* stream offsets, bytes */
	uint64_t corrections, delta; /* byte offsets in a ticket's data */
	uint64_t ahead;		     /* word offset */
	uint32_t move, moves;	     /* index in program->moves, count */
	void *prepared;		     /* owns: what the operator worked out from the shapes (op->release) */
};

/* One message: all consecutive moves of one sender. */
struct message {
	uint8_t from;
	uint64_t bytes; /* of one image */
};

struct program {
	const struct tape *tape; /* borrows */
	struct placed *rows;	 /* owns; per row */
	uint16_t declaring;	 /* the row that is being declared, while program_new runs */
	struct move *moves;	 /* owns */
	uint32_t n_moves;
	struct message *messages; /* owns */
	uint32_t n_messages, round_trips;
	uint64_t online[PARTIES];    /* payload bytes of one image sent by P0, by P1 */
	uint64_t corrections, delta; /* payload bytes of one ticket: D → P1, P0 → P1 offline */
	uint64_t ahead;		     /* words */
	uint64_t p0, p1, own;	     /* stream bytes of one ticket */
	uint64_t temp, wide;	     /* bytes, words, the largest row's, of one image */
	uint64_t scratch;	     /* bytes, the largest row's */
	uint64_t live;		     /* words of values alive at once, of one image */
	/* owns; per value: word offset inside one image's live words (liveness) */
	uint64_t *slot;
	uint64_t comparisons;
	uint64_t setup;		 /* bytes of F, packed, once per epoch P1 → P0 */
	struct profile *profile; /* owns; NULL unless this process is profiled */
};

/* Returns new. The tape has passed tape_check and outlives the program. */
int program_new(struct program **program, const struct tape *tape, struct err *e) MUST_USE;
void program_free(struct program *program);
/* For op->declare: appends a transfer; keeps what the operator prepared for this row. */
void program_prepared(struct program *p, void *prepared);
int program_move(struct program *p, enum party from, uint64_t bytes, struct err *e) MUST_USE;

/* Matrices of all linear rows (see struct layer), n_rows of the tape. program_weights: W and bias.
 * program_mask: B from the seed of the epoch (PRG_WEIGHTS, stream = row number, terms one after another, 8
 * bytes a word). program_unmask: F from its packed form (each term packed to the row's k bits, padded to a
 * byte, in row and term order: program->setup bytes). program_masked_weights writes that form: F = W - B mod
 * 2^k. */
struct weights; /* nn/plan.h */
int program_weights(struct layer **layers, const struct program *p, const struct weights *w,
		    struct err *e) MUST_USE;
int program_mask(struct layer **layers, const struct program *p, const uint8_t seed[PRG_SEED_BYTES],
		 struct err *e) MUST_USE;
int program_unmask(struct layer **layers, const struct program *p, const uint8_t *packed,
		   struct err *e) MUST_USE;
int program_masked_weights(uint8_t *packed, const struct program *p, const struct weights *w,
			   const uint8_t seed[PRG_SEED_BYTES], struct err *e) MUST_USE;
/* The most that linear_apply needs for any of the rows, bytes. layers may be NULL. */
size_t layers_scratch(const struct layer *layers, const struct program *p, size_t batch);
void layers_free(struct layer *layers, const struct program *p);

#endif
