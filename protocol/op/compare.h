/* SPDX-License-Identifier: Apache-2.0 */
/* protocol/op/compare.h — n comparisons [z >= 0] of masked words, the common part of relu, max and argmax
 * (PROTOCOL.md §3).
 *
 *   correlation  masks r; one-time tables in groups of COMPARE_GROUP: P0's half from its stream, P1's half =
 * corrections move 0       P1 → P0: ẑ (w bits), index bits of P1 move 1       P0 → P1: index bits of P0, in
 * bandwidth mode P0's share of the chosen bit move 2       P1 → P0: P1's share of the chosen bit (bandwidth
 * mode only) afterwards   row of the select table is known to both: shares of b, b·r, b·msb r (and b·x)
 */
#ifndef OBSCURA_PROTOCOL_OP_COMPARE_H
#define OBSCURA_PROTOCOL_OP_COMPARE_H

#include "crypto/table.h"
#include "protocol/op/share.h"

/* Tables are laid out group by group, so that a group's halves stay in the cache while they are used. */
#define COMPARE_GROUP 512
#define COMPARE_BLOCKS (COMPARE_GROUP * (2 * 8 + 4 * PRG_BLOCK)) /* block numbers, blocks */
#define COMPARE_FINISH (COMPARE_GROUP * 4 * sizeof(uint64_t) + COMPARE_BLOCKS)

/* A set of comparisons inside a row: shapes, and where their randomness lies relative to the start of the
 * row's pieces. */
struct compare {
	struct table t;
	size_t n;
	uint64_t p0, own, corrections; /* offsets of this set, bytes */
};

/* What a party keeps of one image between the moves. */
struct compare_state {
	uint64_t *zhat; /* n */
	uint16_t *j;	/* n: own share of the index */
	uint16_t *row;	/* n: the opened row */
	uint16_t *bit;	/* n: own share of the chosen bit */
};

struct compare compare_new(unsigned w, unsigned kout, unsigned extra, enum table_mode mode, size_t n);
/* Move 0 has two parts, so that P0 looks up its share of the index while P1 looks up its own. */
enum compare_part {
	COMPARE_ZHAT,	/* P1 → P0 */
	COMPARE_INDEX,	/* P1 → P0 */
	COMPARE_ANSWER, /* P0 → P1: move 1 */
	COMPARE_CHOICE, /* P1 → P0: move 2 */
	COMPARE_PARTS
};
/* How many parts: 3 (latency) or 4 (bandwidth); bytes of one image in each. */
unsigned compare_parts(const struct compare *c);
uint64_t compare_part_bytes(const struct compare *c, enum compare_part part);

/* Adds what the set consumes to *cost (p0, own, corrections, comparisons) and places it there; raises temp
 * and scratch. */
void compare_declare(struct compare *c, struct cost *cost);
/* Bytes of one image in each of the three moves, without what an operator adds. */
uint64_t compare_move_bytes(const struct compare *c, unsigned move);
/* How many moves: 2 (latency) or 3 (bandwidth). */
unsigned compare_moves(const struct compare *c);
size_t compare_temp(const struct compare *c);
struct compare_state compare_state(const struct compare *c, uint8_t *temp);

/* Dealer, one ticket: masks r = ρ >> f (and extra masks x or NULL). */
void compare_deal(const struct compare *c, struct deal *d, size_t ticket, const uint64_t *rho, unsigned f,
		  const uint64_t *x);

/* One image: write or read one of the moves; *at advances over its bytes. state.zhat is set by P1 before move
 * 0. */
void compare_p0(const struct compare *c, struct run *r, size_t image, const struct compare_state *s,
		unsigned move, const uint8_t **in, uint8_t **out);
void compare_p1(const struct compare *c, struct run *r, size_t image, const struct compare_state *s,
		unsigned move, const uint8_t **in, uint8_t **out);
/* The same for one part. */
void compare_p0_part(const struct compare *c, struct run *r, size_t image, const struct compare_state *s,
		     enum compare_part part, const uint8_t **in, uint8_t **out);
void compare_p1_part(const struct compare *c, struct run *r, size_t image, const struct compare_state *s,
		     enum compare_part part, const uint8_t **in, uint8_t **out);
/* After the last move: rows [first, first + n) of this party's shares, one group: first a multiple of
 * COMPARE_GROUP. scratch: COMPARE_FINISH bytes, which cost.scratch covers; the rows lie there. */
struct table_rows compare_rows(const struct compare *c, struct run *r, size_t image,
			       const struct compare_state *s, size_t first, size_t n, void *scratch);
/* The same, applied: shares of max(z, 0) mod 2^kout. */
void compare_relu(const struct compare *c, struct run *r, size_t image, const struct compare_state *s,
		  uint64_t *out);

#endif
