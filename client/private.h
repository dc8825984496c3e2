/* SPDX-License-Identifier: Apache-2.0 */
/* client/private.h — dealer, data owner and model owner of one model in this process, without sockets: what
 * `verify` runs.
 *
 * Unlike a real dealer this one keeps its masks, so that the fixed-point reference can be told how every
 * value was rounded: the private result must then equal the reference's to the bit. */
#ifndef OBSCURA_CLIENT_PRIVATE_H
#define OBSCURA_CLIENT_PRIVATE_H

#include "nn/plan.h"
#include "protocol/engine.h"

/* One model with the matrices of all three; constant once made, shared by threads. */
struct private_model {
	struct plan *plan; /* own */
	struct weights *weights;
	struct program *program;
	struct layer *w, *f, *b; /* P1's W, P0's F = W - B, the dealer's B */
	unsigned spare;		 /* bits, of the proof */
};
int private_model_new(struct private_model *m, const struct graph *g, const struct plan_options *options,
		      struct err *e) MUST_USE;
void private_model_free(struct private_model *m);

/* The three parties of one thread, under fresh random seeds. */
struct private;
int private_new(struct private **p, const struct private_model *m, size_t batch_max, struct err *e) MUST_USE;
void private_free(struct private *p);
/* One inference of `batch` images on fresh tickets; result: batch × shape_size(last value). Fails
 * (ERR_RESULT) when messages or bytes are not what the plan predicted. */
int private_infer(struct private *p, const uint8_t *pixels, size_t batch, int64_t *result,
		  struct err *e) MUST_USE;

/* fixed_low of the image at `image` of the last batch; ctx: struct private_rounding. */
struct private_rounding {
	const struct private *run;
	size_t image;
};
uint64_t private_low(void *ctx, uint16_t value, size_t i, unsigned f);
/* A batch whose memory (tables most of all) stays near `bytes`. */
size_t private_batch(const struct private_model *m, size_t bytes);

#endif
