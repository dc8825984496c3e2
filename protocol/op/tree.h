/* SPDX-License-Identifier: Apache-2.0 */
/* protocol/op/tree.h — tournaments: sets of elements reduced pair by pair, level by level; for max and
 * argmax. */
#ifndef OBSCURA_PROTOCOL_OP_TREE_H
#define OBSCURA_PROTOCOL_OP_TREE_H

#include "protocol/op/compare.h"

/* One level: elements of the array before it → array after it, which holds the winners of all pairs, then
 * what passed unpaired. */
struct level {
	uint32_t pairs, passes;
	uint32_t *i, *j; /* own; pairs: i stands before j in its set (i < j in order of elements) */
	uint32_t *pass;	 /* owns; passes */
	struct compare c;
	uint64_t p0, p1; /* offsets of the re-masking words relative to the row's pieces */
	uint32_t move;	 /* of the row: the level's first */
};

struct tree {
	uint32_t levels; /* ⌈log2 of the largest set⌉ */
	struct level *level;
	uint32_t *out; /* owns; per set: its element in the last array */
	uint32_t outputs;
	uint32_t widest; /* elements of the largest array after a level, at least 1 */
};

/* Pairs up the members of each set in their order: (0,1), (2,3), …; an odd last one passes. The compare of a
 * level is left to the caller. */
int tree_new(struct tree **tree, const struct pool_sets *sets, struct err *e) MUST_USE;
void tree_free(void *tree);

#endif
