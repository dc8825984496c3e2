/* SPDX-License-Identifier: Apache-2.0 */
/* nn/clear.h — a plan run in the clear, as fast as the kernels of nn/linear.h allow: what the personalities
 * clear and enclave compute. The same integers as nn/fixed.c, which is its oracle, with rounding to nearest.
 */
#ifndef OBSCURA_NN_CLEAR_H
#define OBSCURA_NN_CLEAR_H

#include "nn/plan.h"

/* A plan's weights, packed once for the kernels in force; constant afterwards. */
struct clear_model;
/* plan is borrowed; weights are not needed afterwards. */
int clear_model_new(struct clear_model **model, const struct plan *plan, const struct weights *weights,
		    struct err *e) MUST_USE;
void clear_model_free(struct clear_model *model);     /* wipes */
uint64_t clear_work(const struct clear_model *model); /* multiply-adds of one image */

/* Working memory of one inference at a time. Nothing is allocated after clear_new. */
struct clear;
/* images: how many go through each layer together; more go in parts. */
int clear_new(struct clear **clear, const struct clear_model *model, size_t images, struct err *e) MUST_USE;
/* pixels: n × input; result: n × plan_words, signed, as OP_REVEAL gives it. */
void clear_infer(struct clear *c, const uint8_t *pixels, size_t n, int64_t *result);
size_t clear_bytes(const struct plan *plan); /* of the result of one image, packed for a wire */
void clear_free(struct clear *c);	     /* wipes */

#endif
