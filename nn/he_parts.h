/* SPDX-License-Identifier: Apache-2.0 */
/* nn/he_parts.h — inside of both ends of he_run.h and he_offline.h. */
#ifndef OBSCURA_NN_HE_PARTS_H
#define OBSCURA_NN_HE_PARTS_H

#include "nn/he_run.h"
#include "nn/linear.h"

/* ---- data owner (he_lane.c) ---- */
struct he_lane {
	const struct he_plan *hp;
	const struct he_key *key;
	struct he_rng *rng;
	struct he_work *work;
	struct fixed **images; /* own */
	size_t batch_max, batch;
	uint16_t level;		       /* that is asked for */
	uint64_t *poly, *opened, *sum; /* own: N, N; two sums of the largest row */
	size_t sum_words;
	uint32_t *wanted, *element; /* own: N */
	uint8_t *ran;		    /* owns; per row */
	struct he_laps laps;
	uint64_t *ns; /* borrows: of all rows; NULL: no profile */
};

/* Writes the ciphertexts of one term for the values x; returns what follows them. */
uint8_t *he_lane_encrypt(struct he_lane *l, const struct he_step *s, const struct he_term *ht,
			 const int64_t *x, struct prg *half, uint64_t *index, uint8_t *out);
/* Sums the answers of a step up in l->sum; returns what follows them. */
const uint8_t *he_lane_open(struct he_lane *l, const struct he_step *s, const uint8_t *in);
/* The row's output from l->sum. */
void he_lane_finish(struct he_lane *l, size_t image, const struct he_step *s);
void he_lane_rows(struct he_lane *l);

/* ---- model owner (he_reply.c) ---- */
/* The polynomials of one term: those of filter block m are at start[m], one for each channel block that it
 * needs. */
struct matrix {
	uint32_t *words; /* owns */
	size_t *start;	 /* owns; m_blocks + 1, in polynomials of limbs × N words */
};

struct he_model {
	const struct he_plan *hp;
	struct matrix (*terms)[TAPE_MAX_TERMS]; /* owns; per step */
	/* owns; per step: weights for words in clear, of offline tickets */
	struct linear *(*rings)[TAPE_MAX_TERMS];
	uint64_t **bias; /* own; per step: one word an output, NULL: none */
};

struct he_replier {
	const struct he_model *model;
	struct he_rng *rng;
	struct he_work *work;
	uint32_t *c0, *c1;		 /* own: hp->terms ciphertexts */
	const uint32_t **p0, **p1, **pw; /* own: hp->terms */
	/* own: N words each; hide: one an output of the largest sum of terms */
	uint64_t *add, *out0, *out1, *words, *hide;
	uint32_t *wanted, *element; /* own: N */
	struct he_laps laps;
	uint64_t *ns; /* borrows: of all rows; NULL: no profile */
};

/* One term of one image: where its bytes are. */
struct place {
	const struct he_public *pk;
	const struct he_step *step;
	const struct he_term *term;
	const struct matrix *matrix;
	struct prg *half;
	uint64_t index; /* of the image's next ciphertext */
	const uint8_t *in;
	uint8_t *out;
	const uint64_t *given;	     /* of a ticket: instead of the bias of the step */
	const uint64_t *bias, *hide; /* one an output, or NULL */
};

/* Answers one step: reads at->in, writes at->out. */
void he_answer_step(struct he_replier *r, struct place *at, uint16_t step);

#endif
