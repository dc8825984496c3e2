/* SPDX-License-Identifier: Apache-2.0 */
/* nn/he_plan.h — a tape for the he personality: what is encrypted when, with which modulus, and what error
 * that leaves.
 *
 * With nonlinear = client the data owner runs the tape on integers in clear and asks the model owner for the
 * terms of linear rows; skips, maps and all that is not linear it computes itself. Rows that do not wait for
 * each other share a level: one round trip. A row's terms are answered apart; when there are several, random
 * words that cancel hide each from the other's sum. */
#ifndef OBSCURA_NN_HE_PLAN_H
#define OBSCURA_NN_HE_PLAN_H

#include "crypto/he/he.h"
#include "nn/he_pack.h"
#include "nn/plan.h"

#define HE_SEED_BYTES PRG_SEED_BYTES /* before the ciphertexts of a level */

/* One term that is answered under encryption. */
struct he_term {
	uint16_t term; /* of the row */
	struct he_layout layout;
	uint64_t up, down; /* bytes of one image */
};

/* What a step depends on beyond the public plan: HE_WIDTH_BYTES on the wire, in this order. */
#define HE_WIDTH_BYTES 8
struct he_width {
	uint8_t k;	  /* words that are encrypted, and sums, are mod 2^k */
	uint8_t limbs;	  /* primes of the ciphertexts */
	uint8_t up;	  /* bits of a coefficient that is sent */
	uint8_t to;	  /* answers are mod 2^to: value = answer · 2^(k - to), with rounding */
	uint8_t cut;	  /* low bits that wanted coefficients of c0 leave out */
	uint8_t small;	  /* 1: in the smaller ring of the set */
	uint16_t filters; /* at most so many in a polynomial: each adds noise to the outputs of all */
};

static inline const struct he_params *he_width_params(enum he_set set, const struct he_width *w)
{
	return w->small ? he_params(set)->small : he_params(set);
}

/* HE_WIDTH_BYTES each way. */
void he_width_pack(const struct he_width *w, uint8_t *out);
struct he_width he_width_unpack(const uint8_t *in);

/* One linear row with at least one term that is no skip. */
struct he_step {
	uint16_t row, level;
	struct he_width width;
	uint8_t folded; /* the row's pool is merged into the kernels; else the data owner sums */
	uint16_t n_terms;
	struct he_term *terms; /* owns */
	uint64_t up, down;     /* bytes of one image */
	/* known to the model owner only: 8 standard deviations of the error, in units of the row's output,
	 * and the part of it that more primes would remove */
	double error, noise;
};

struct he_plan {
	const struct plan *plan; /* borrows */
	enum he_set set;
	struct he_step *steps; /* owns; in the order of the tape */
	uint16_t n_steps, levels;
	uint16_t *row_level;	       /* owns; per row: answered levels before it can run */
	uint64_t *up, *down;	       /* own; per level (from 0): bytes of one image, without the seed */
	uint64_t total_up, total_down; /* of one image, seeds included */
	uint64_t weights;	       /* bytes of all transformed weights, at the model owner */
	size_t terms;		       /* the longest sum of ciphertexts */
	/* owns; model owner only: per value, how far errors may carry it out of its proven interval */
	double *beyond;
};

/* Options of a plan for he: weights of pixels keep up to 8 fractional bits more than the others, but no more
 * than 16 in all. */
void he_plan_options(struct plan_options *options);

/* `set`: of enum he_set, or -1 for the one with the fewest bytes. Chooses the widths with the fewest bytes
 * for which a row's error deviates less than rounding its output does (intervals are widened by what errors
 * add to them first), and refuses a row for which no number of primes does (ERR_INPUT, the row and a remedy).
 * A plan that reveals only the label is refused: the data owner sees all scores. */
int he_plan_make(struct he_plan **hp, const struct plan *plan, const struct weights *weights,
		 const struct bounds *bounds, int set, struct err *e) MUST_USE;
/* The same from what the model owner sends; n widths of a stranger, in order of the steps. */
int he_plan_read(struct he_plan **hp, const struct plan *plan, enum he_set set, const struct he_width *widths,
		 size_t n, struct err *e) MUST_USE;
void he_plan_free(struct he_plan *hp);

/* How a row reads in messages: "row 3, convolution 5 × 5 of 16 to 32 channels". */
const char *he_row_name(const struct row *row, unsigned number, char *text, size_t bytes);

#endif
