/* SPDX-License-Identifier: Apache-2.0 */
/* protocol/op.h — what an operator is: one row of functions, sans-I/O; and the contexts in which they run. */
#ifndef OBSCURA_PROTOCOL_OP_H
#define OBSCURA_PROTOCOL_OP_H

#include "crypto/prg.h"
#include "nn/linear.h"
#include "nn/tape.h"

enum party { P0, P1, PARTIES };

/* One transfer inside an operator. A sender's function writes it, the receiver's function reads it. */
struct move {
	uint8_t from;	  /* enum party */
	uint32_t message; /* index in program->messages */
	uint64_t bytes;	  /* of one image: every packed piece padded to a byte */
};

/* What one row costs, for one image. Declared by the operator; read by engine, planner, metrics and
 * quotas. */
struct cost {
	uint64_t corrections; /* bytes D → P1 */
	uint64_t delta;	      /* bytes P0 → P1, offline */
	/* bytes of the key streams of P0, P1 and the dealer alone; multiples of PRG_BLOCK */
	uint64_t p0, p1, own;
	uint64_t ahead; /* words that P0 keeps from offline to online */
	uint64_t temp;	/* bytes of one image that a computing party keeps from move to move */
	/* bytes that a function needs while it runs, in every role; not multiplied by images */
	uint64_t scratch;
	uint64_t wide;	      /* words of one image before the post pool of OP_LINEAR, 0 without one */
	uint64_t comparisons; /* for people */
};

struct program;
struct run;
struct deal;
struct ahead;

struct op {
	const char *name;
	/* Fills *cost and appends moves with program_move(). */
	int (*declare)(const struct tape *tape, const struct row *row, struct cost *cost, struct program *p,
		       struct err *e);
	/* Frees what declare left in *prepared. NULL: nothing. */
	void (*release)(void *prepared);
	/* Dealer: masks of the row's output, corrections for P1 of a block of tickets. */
	void (*deal)(struct deal *d, const struct row *row);
	/* P0 offline: delta for P1, words kept for later, of a block of tickets. NULL: nothing. */
	void (*ahead)(struct ahead *a, const struct row *row);
	/* Online. Called once for each move of the row in order (move = 0, 1, …), or once (move = 0) when it
	 * has none. */
	void (*p0)(struct run *r, const struct row *row, unsigned move);
	void (*p1)(struct run *r, const struct row *row, unsigned move);
};

/* One operator, one file, one word here (protocol/ops.def). */
extern const struct op *const ops[OP_KINDS];

/* The matrices of a party for every linear row: P1's W, P0's F = W - B, the dealer's B. Packed once per
 * epoch. */
struct layer {
	struct linear *terms[TAPE_MAX_TERMS]; /* own; NULL for TERM_SKIP */
	/* owns; P1 only: one word per element before the post pool, mod 2^64 */
	uint64_t *bias;
};

/* One ticket as a computing party holds it. Borrows. */
struct ticket {
	uint64_t number;
	const uint8_t *corrections; /* P1: program->corrections bytes */
	const uint8_t *delta;	    /* P1: program->delta bytes */
	const uint64_t *ahead;	    /* P0: program->ahead words */
};

/* The online state of one party for one lane: `batch` images together. Values are uint64_t, image-major:
 * value[b*n + i]. */
struct run {
	const struct program *program;
	const struct layer *layers; /* P1; per row of the tape */
	struct prg *prg;	    /* this party's ticket stream */
	enum party party;
	size_t batch;
	const struct ticket *tickets; /* batch of them */
	uint64_t *const *values;      /* per value of the tape: batch × n words */
	uint8_t *temp;		      /* batch × cost.temp bytes of the row at hand */
	void *scratch;		      /* cost.scratch bytes, free inside one call */
	uint64_t *wide;		      /* batch × cost.wide words */
	void *linear;		      /* linear_scratch bytes */
	const uint8_t *in;	      /* the move that is being read */
	uint8_t *out;		      /* the move that is being written */
	size_t row;
};

/* The dealer's state for a block of tickets. mask[v]: tickets × n words: a of a FORM_DIFF value, ρ of a
 * FORM_MASKED one. */
struct deal {
	const struct program *program;
	const struct layer *layers; /* B */
	struct prg *p0, *p1, *own;
	uint64_t first; /* ticket numbers first … first + tickets - 1 */
	size_t tickets;
	uint64_t *const *mask;
	uint8_t *const *corrections; /* per ticket */
	void *scratch;
	uint64_t *wide; /* tickets × cost.wide words */
	void *linear;
	size_t row;
};

/* P0's offline state for a block of tickets. a[v]: tickets × n words of FORM_DIFF values. */
struct ahead {
	const struct program *program;
	const struct layer *layers; /* F */
	struct prg *prg;
	uint64_t first;
	size_t tickets;
	uint64_t *const *a;
	uint8_t *const *delta; /* per ticket */
	uint64_t *const *kept; /* per ticket: program->ahead words */
	void *scratch;
	uint64_t *wide;
	void *linear;
	size_t row;
};

#endif
