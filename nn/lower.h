/* SPDX-License-Identifier: Apache-2.0 */
/* nn/lower.h — private to the planner: the tape, weights and ranges while a graph is lowered. */
#ifndef OBSCURA_NN_LOWER_H
#define OBSCURA_NN_LOWER_H

#include "nn/interval.h"

#define LOWER_MAX_NODES 2048		   /* lowering recurses along the network */
#define LOWER_MAX_FRAC 62		   /* fractional bits of a sum */
#define LOWER_MAX_DIVISOR 4096		   /* that a square or a further pool may meet */
#define LOWER_MAX_WORK (UINT64_C(1) << 36) /* multiply-adds of one layer */

/* What a value of the tape means: real = integer / 2^frac / divisor. */
struct meaning {
	struct range range;
	unsigned frac,
	    extra; /* extra: how many of the frac bits came from sum pools, not from the activation's own */
	uint32_t divisor; /* odd; 1 unless a pool of an odd number of elements */
	unsigned
	    need; /* FORM_MASKED, and FORM_SHARE that is revealed: the least k that is proven to suffice */
};

struct lowering {
	const struct graph *g;
	const struct plan_options *options;
	struct plan *plan;
	struct weights *weights;
	struct meaning *meaning; /* per value */
	uint32_t *consumers;	 /* per node of the graph: how many */
	uint8_t *parts; /* per node: summands when it is taken apart as a sum, 0 when it is not one */
	uint8_t *apart; /* per node: an addition that is not merged into the one that uses it */
	int32_t *share, *masked; /* per node: its value in that form, -1 when there is none yet */
	int32_t *diff;		 /* per value of FORM_SHARE: its masked difference, -1 */
	const char **name;	 /* per row: the node that it comes from */
	struct err *e;
};

static inline const struct node *lower_node(const struct lowering *l, uint32_t node)
{
	return &l->g->nodes[node];
}

/* nn/lower_input.c: a copy of g with a layer behind its input where that is needed, else NULL. The copy
 * borrows g's nodes. */
int lower_input(struct graph **whole, const struct graph *g, struct err *e) MUST_USE;
void lower_input_free(struct graph *whole);
/* nn/lower.c: appends all rows but gives no widths: k is 0 until plan_widths. */
int lower_graph(struct lowering *l) MUST_USE;
/* nn/widths.c: the least widths that §6 allows, rounded up. */
int plan_widths(struct lowering *l) MUST_USE;

/* nn/tape_build.c: values and rows. -1 / NULL with l->e. Both move what pointers into the tape, meaning or
 * weights point to. */
int lower_value(struct lowering *l, enum form form, struct shape shape, unsigned f);
struct row *lower_row(struct lowering *l, enum op_kind kind, const char *name, const uint16_t *in,
		      uint16_t n_in, uint16_t out);
/* The FORM_DIFF value of a shared one. */
int lower_diff(struct lowering *l, uint16_t share, const char *name);
int lower_no_memory(struct lowering *l);
/* Refuses when a proven range is beyond every word (result > 0); passes -1 and 0 on. */
int lower_proven(struct lowering *l, const char *name, int result);

/* nn/lower.c. The shares of a node; of another value by an operator on each element. Return a value. */
int lower_share(struct lowering *l, uint32_t node);
int lower_elements(struct lowering *l, enum op_kind kind, int wire, const char *name);
/* The same as value `share`, without divisor: where one is left, a 1×1 convolution divides. */
int lower_divided(struct lowering *l, int share, const char *name);

/* nn/lower_linear.c. Is the node a sum that one linear row computes? Marks all nodes first. */
void lower_mark_sums(struct lowering *l);
int lower_is_sum(const struct lowering *l, uint32_t node);
/* A linear row for such a node, with what is fused into it, as FORM_MASKED or, for the output, FORM_SHARE. f:
 * bits to drop (FORM_MASKED; -1: down to the activation's). */
int lower_sum(struct lowering *l, uint32_t node, enum form form, int f);
/* A shared value itself as a masked wire; divide: without its divisor. */
int lower_identity(struct lowering *l, uint16_t share, const char *name, int f, int divide);

/* nn/lower_map.c: maps of shares. */
int lower_equal_divisors(const struct node *pool);
int lower_window(struct lowering *l, const struct node *n) MUST_USE; /* 0: small enough to be listed */
int lower_is_padding(const struct window *w);			     /* adds zeros, cuts nothing off */
int lower_pool(struct lowering *l, uint32_t node);
int lower_pad(struct lowering *l, uint32_t node);
int lower_join(struct lowering *l, uint32_t node, enum map_kind map);

#endif
