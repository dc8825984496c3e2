/* SPDX-License-Identifier: Apache-2.0 */
/* nn/plan.h — from a float graph to a tape, integer weights and proven intervals (PROTOCOL.md §6). */
#ifndef OBSCURA_NN_PLAN_H
#define OBSCURA_NN_PLAN_H

#include "nn/graph.h"
#include "nn/tape.h"

/* PLAN_AUTO is what somebody asks for; a plan is one of the others. */
enum plan_optimise { PLAN_LATENCY, PLAN_BANDWIDTH, PLAN_AUTO };
/* "latency", "bandwidth", "auto"; any other word is the first. */
enum plan_optimise plan_optimise_named(const char *name);
enum plan_reveal { REVEAL_LOGITS, REVEAL_LABEL };

struct plan_options {
	enum plan_optimise optimise;
	enum plan_reveal reveal; /* REVEAL_LABEL ends the tape with OP_ARGMAX */
	unsigned weight_bits;	 /* fractional bits of weights, default 16 */
	/* more of them where pixels are weighted, which are integers up to 255; default 0 */
	unsigned pixel_bits;
	unsigned activation_bits; /* fractional bits of activations, default 12 */
	unsigned granularity;	  /* k is rounded up to a multiple of it, default 4 */
};
struct plan_options plan_defaults(void);

/* The public part: what the model owner tells the data owner and the provider. */
struct plan {
	struct tape tape;
	struct shape input; /* CHW, 8-bit pixels */
	enum nn_resize resize;
	enum nn_output output; /* applied by the data owner */
	enum plan_reveal reveal;
	enum plan_optimise optimise;
	/* fractional bits of the revealed integers: score = integer / 2^result_bits / result_divisor */
	uint8_t result_bits;
	uint32_t result_divisor; /* pools that nothing after them could absorb; 1 otherwise */
	char **labels;		 /* owns; names of the classes or NULL */
	uint32_t n_labels;
};

/* What only the model owner holds: per row, the integer weights (terms concatenated) and the bias of
 * OP_LINEAR; NULL for other rows. */
struct layer_weights {
	int64_t *weights; /* owns; terms' weights one after another */
	size_t n_weights;
	/* owns; one per element of the layer's output before its post pool, offset of OP_TRUNC/OP_SQUARE
	 * not included. Scaled to the row's output. Per element because padding and folded normalisation
	 * differ at borders. */
	int64_t *bias;
	size_t n_bias;
};
struct weights {
	struct layer_weights *rows; /* owns; n_rows of the tape */
	uint16_t n_rows;
};

/* What the proof found, for `obscura plan` and tests; secret (it depends on weights). */
struct bounds {
	/* own; per value of the tape: the least and greatest integer over all inputs and roundings */
	int64_t *lo, *hi;
	uint16_t n;
	/* the fewest bits of any wire, over all wires, that rounding k up left unused: k - the least k
	 * that is proven */
	unsigned spare;
};

/* Lowers and proves. Refuses (ERR_INPUT) a model whose bounds do not fit k <= 62, naming the layer and the
 * remedy. bounds may be NULL. */
int plan_make(struct plan **plan, struct weights **weights, struct bounds **bounds, const struct graph *g,
	      const struct plan_options *options, struct err *e) MUST_USE;
void plan_free(struct plan *plan);
void weights_free(struct weights *weights); /* wipes */
void bounds_free(struct bounds *bounds);

/* Fixed-point reference (nn/fixed.c): the meaning of the tape in clear, with the protocol's own rounding.
 * low(ctx, value, i, f) is the low f bits of the mask ρ of element i of a FORM_MASKED value: z = (y + low) >>
 * f. NULL: 2^(f-1), round to nearest. (OP_MAX's and later wires have f = 0.) Several rows may ask for the
 * same element, and must be told the same. */
typedef uint64_t (*fixed_low)(void *ctx, uint16_t value, size_t i, unsigned f);
struct fixed;
/* weights NULL: linear rows are not this object's to run (the he personality: fixed_row and fixed_values). */
int fixed_new(struct fixed **fixed, const struct plan *plan, const struct weights *weights,
	      struct err *e) MUST_USE;
/* result: shape_size of the last value, signed, as OP_REVEAL gives it. All before it are exact integers:
 * nothing is reduced mod 2^k. */
void fixed_infer(struct fixed *fixed, const uint8_t *pixels, fixed_low low, void *ctx, int64_t *result);
/* The signed integers of any value after fixed_infer (n = shape_size). */
const int64_t *fixed_value(const struct fixed *fixed, uint16_t value);
/* One row alone, from the values that it reads; where values are kept, to be written. */
void fixed_row(struct fixed *fixed, uint16_t row);
int64_t *fixed_values(struct fixed *fixed, uint16_t value);
void fixed_free(struct fixed *fixed); /* wipes the values */

/* result integers → scores (floats), with result_bits and result_divisor, then plan->output applied. For
 * REVEAL_LABEL scores is one-hot. Returns the label: index of the greatest score, ties to the lower. */
uint32_t plan_scores(const struct plan *plan, const int64_t *result, float *scores);
/* Integers of the result of one image. */
size_t plan_words(const struct plan *plan);
/* Classes: shape_size of the value before reveal, or of OP_ARGMAX's input. */
uint32_t plan_classes(const struct plan *plan);

#endif
