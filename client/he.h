/* SPDX-License-Identifier: Apache-2.0 */
/* client/he.h — the he personality in `plan` and `verify`: data owner and model owner in this process. */
#ifndef OBSCURA_CLIENT_HE_H
#define OBSCURA_CLIENT_HE_H

#include "client/command.h"
#include "nn/he_run.h"

/* Said wherever a result of the he personality is shown. */
#define HE_LEAKS "pre-activations, hence the weights, to the data owner"

/* --he-set: HE_S, HE_L, or -1 for auto. */
int args_he_set(const struct args *a, int *set, struct err *e) MUST_USE;

/* A model with what both ends need. */
struct he_local {
	struct plan *plan; /* own */
	struct weights *weights;
	struct he_plan *hp;
	struct he_model *model;
	struct he_key *key;
	struct he_public *pk;
};
int he_local_plan(struct he_local *m, const struct args *a, const struct graph *g, struct err *e) MUST_USE;
/* After he_local_plan: keys and transformed weights. */
int he_local_ready(struct he_local *m, struct err *e) MUST_USE;
void he_local_free(struct he_local *m);

int he_plan_command(const struct args *a, const struct graph *g, struct err *e) MUST_USE;
int he_verify_command(const struct args *a, const struct graph *g, struct err *e) MUST_USE;

#endif
