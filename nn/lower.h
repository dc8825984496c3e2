/* SPDX-License-Identifier: Apache-2.0 */
/* nn/lower.h — private to the planner: the tape, weights and ranges while a graph is lowered. */
#ifndef OBSCURA_NN_LOWER_H
#define OBSCURA_NN_LOWER_H

#include "nn/interval.h"

/* What a value of the tape means: real = integer / 2^frac / divisor. */
struct meaning {
	struct range range;
	unsigned frac, extra; /* extra: how many of the frac bits came from sum pools, not from the activation's own */
	uint32_t divisor;     /* odd; 1 unless a pool of an odd number of elements */
	unsigned need;	      /* FORM_MASKED, and FORM_SHARE that is revealed: the least k that is proven to suffice */
};

struct lowering {
	const struct graph *g;
	const struct plan_options *options;
	struct plan *plan;
	struct weights *weights;
	struct meaning *meaning; /* per value */
	uint32_t *consumers;	 /* per node of the graph: how many */
	int32_t *share, *masked; /* per node: its value in that form, -1 when there is none yet */
	int32_t *diff;		 /* per value of FORM_SHARE: its masked difference, -1 */
	const char **name;	 /* per row: the node that it comes from */
	struct err *e;
};

/* nn/lower_input.c: a copy of g with a layer behind its input where that is needed, else NULL. The copy borrows g's nodes. */
int lower_input(struct graph **whole, const struct graph *g, struct err *e) MUST_USE;
void lower_input_free(struct graph *whole);
/* nn/lower.c: appends all rows but gives no widths: k is 0 until plan_widths. */
int lower_graph(struct lowering *l) MUST_USE;
/* nn/widths.c: the least widths that §6 allows, rounded up. */
int plan_widths(struct lowering *l) MUST_USE;

/* nn/tape_build.c: values and rows. -1 / NULL with l->e. */
int lower_value(struct lowering *l, enum form form, struct shape shape, unsigned f);
struct row *lower_row(struct lowering *l, enum op_kind kind, const char *name, const uint16_t *in, uint16_t n_in, uint16_t out);
/* The FORM_DIFF value of a shared one. */
int lower_diff(struct lowering *l, uint16_t share, const char *name);

/* nn/lower_linear.c: a linear row for node, with its fused neighbours, as FORM_MASKED or, for the output, FORM_SHARE. f: bits to drop
 * (FORM_MASKED; -1: down to the activation's). Returns the value. */
int lower_linear(struct lowering *l, uint32_t node, enum form form, int f);
int lower_share(struct lowering *l, uint32_t node);

#endif
