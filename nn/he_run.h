/* SPDX-License-Identifier: Apache-2.0 */
/* nn/he_run.h — the two ends of an inference under encryption, without I/O: a request a level, an answer a
 * level.
 *
 * Request: for each image the seed of the uniform halves, then for each step of the level (in the order of
 * the tape), term,
 * 	tile and channel block: c0, `up` bits a coefficient.
 * Answer: for each image, step, term, tile and filter block: the wanted coefficients of c0', `to` - `cut`
 * bits each, then all of
 * 	c1', `to` bits each. */
#ifndef OBSCURA_NN_HE_RUN_H
#define OBSCURA_NN_HE_RUN_H

#include "nn/he_plan.h"

static inline size_t he_request_bytes(const struct he_plan *hp, uint16_t level, size_t batch)
{
	return (HE_SEED_BYTES + hp->up[level]) * batch;
}
static inline size_t he_answer_bytes(const struct he_plan *hp, uint16_t level, size_t batch)
{
	return hp->down[level] * batch;
}

/* ---- model owner ---- */

/* Weights as transformed polynomials; constant once made. hp is borrowed. */
struct he_model;
int he_model_new(struct he_model **model, const struct he_plan *hp, const struct weights *weights,
		 struct err *e) MUST_USE;
void he_model_free(struct he_model *model); /* wipes */

/* Working memory and randomness of one session; used by one thread at a time. model is borrowed. */
struct he_replier;
int he_replier_new(struct he_replier **r, const struct he_model *model, struct err *e) MUST_USE;
void he_replier_free(struct he_replier *r);
/* From now on adds nanoseconds to ns, borrowed: HE_LAPS for each row of the tape; NULL: off. */
void he_replier_profile(struct he_replier *r, uint64_t *ns);
/* in: he_request_bytes of a stranger (ERR_PEER when the size is another); out: he_answer_bytes. */
int he_reply(struct he_replier *r, const struct he_public *pk, uint16_t level, size_t batch,
	     const uint8_t *in, size_t bytes, uint8_t *out, struct err *e) MUST_USE;

/* ---- data owner ---- */

/* The values of up to batch_max images. hp and key are borrowed. */
struct he_lane;
int he_lane_new(struct he_lane **lane, const struct he_plan *hp, const struct he_key *key, size_t batch_max,
		struct err *e) MUST_USE;
void he_lane_free(struct he_lane *lane);		  /* wipes */
void he_lane_profile(struct he_lane *lane, uint64_t *ns); /* as he_replier_profile */
void he_lane_begin(struct he_lane *lane, const uint8_t *pixels, size_t batch);
/* Runs all rows that need no answer. 1: writes the request of *level to out (he_request_bytes); 0: the
 * inference is done. -1: e. */
int he_lane_ask(struct he_lane *lane, uint16_t *level, uint8_t *out, struct err *e) MUST_USE;
/* The answer to that request; ERR_PEER when its size is another. Any words are an answer: a wrong one shows
 * in the result only. */
int he_lane_take(struct he_lane *lane, const uint8_t *in, size_t bytes, struct err *e) MUST_USE;
/* After he_lane_ask has said 0: shape_size(last value) integers. */
const int64_t *he_lane_result(const struct he_lane *lane, size_t image);
/* All values of an image: for tests and pictures. */
const int64_t *he_lane_value(const struct he_lane *lane, size_t image, uint16_t value);

#endif
