/* SPDX-License-Identifier: Apache-2.0 */
/* nn/he_noise.h — between the files behind he_plan.h. */
#ifndef OBSCURA_NN_HE_NOISE_H
#define OBSCURA_NN_HE_NOISE_H

#include "nn/he_plan.h"

/* nn/he_plan.c: a plan whose steps have levels but no widths yet; a step's layout for its widths; sums over
 * all steps. */
int he_plan_new(struct he_plan **hp, const struct plan *plan, enum he_set set, struct err *e) MUST_USE;
int he_step_lay_out(const struct he_plan *hp, struct he_step *s, struct err *e) MUST_USE;
int he_plan_close(struct he_plan *hp, struct err *e) MUST_USE;

#endif
