/* SPDX-License-Identifier: Apache-2.0 */
/* client/he.h — the he personality in `plan` and `verify`: data owner and model owner in this process. */
#ifndef OBSCURA_CLIENT_HE_H
#define OBSCURA_CLIENT_HE_H

#include "client/command.h"
#include "client/trial.h"
#include "nn/he_run.h"

/* A model with what both ends need. */
struct he_local {
	struct plan *plan; /* own */
	struct weights *weights;
	struct he_plan *hp;
	struct he_model *model;
	struct he_key *key;
	struct he_public *pk;
};
/* set: of enum he_set, or -1. */
int he_local_make(struct he_local *m, const struct graph *g, const struct plan_options *options, int set,
		  struct err *e) MUST_USE;
int he_local_plan(struct he_local *m, const struct args *a, const struct graph *g, struct err *e) MUST_USE;
/* After he_local_plan: keys and transformed weights. */
int he_local_ready(struct he_local *m, struct err *e) MUST_USE;
void he_local_free(struct he_local *m);

/* he_offers.c: sets and widths beside those that were asked for, with --images what they do to labels. */
#define HE_OFFERS_MAX 5
struct he_offer {
	enum he_set set;
	unsigned weight_bits, activation_bits;
	uint64_t up, down;
	struct tally tally; /* 0 images: none were given */
};
struct he_offers {
	struct he_offer offers[HE_OFFERS_MAX];
	size_t n;
	int labelled;
};
int he_offers_make(struct he_offers *offers, const struct args *a, const struct graph *g,
		   struct err *e) MUST_USE;
int he_offers_print(const struct he_offers *offers, struct err *e) MUST_USE;
struct json_object *he_offers_json(const struct he_offers *offers);

/* All pictures through a model that is ready. */
int he_verify_tally(const struct he_local *m, const struct graph *g, const struct samples *s, size_t threads,
		    struct tally *tally, struct err *e) MUST_USE;

int he_plan_command(const struct args *a, const struct graph *g, struct err *e) MUST_USE;
int he_verify(const struct args *a, const struct graph *g, const struct samples *s, double least,
	      struct err *e) MUST_USE;

#endif
