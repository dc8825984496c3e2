/* SPDX-License-Identifier: Apache-2.0 */
/* A model that is ready to serve: lowered once, under a fresh epoch and a fresh weight mask. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include "crypto/secret.h"
#include "nn/clear.h"
#include "nn/he_run.h"
#include "protocol/session.h"

/* OPENED and PAIR carry the plan and little else. */
#define PLAN_LONGEST (FRAME_BODY_MAX - 4096)

static int prepare_smpc(struct served *s, struct err *e)
{
	if (program_new(&s->program, &s->plan->tape, e) ||
	    program_weights(&s->layers, s->program, s->weights, e))
		return -1;
	s->masked = malloc(s->program->setup + 1);
	if (!s->masked)
		return err_set(e, ERR_ENV, "out of memory for model %s", s->name);
	prg_seed(s->weight_seed);
	return program_masked_weights(s->masked, s->program, s->weights, s->weight_seed, e);
}

static int prepare_he(struct served *s, const struct bounds *bounds, int set, struct err *e)
{
	if (he_plan_make(&s->he_plan, s->plan, s->weights, bounds, set, e))
		return -1;
	return he_model_new(&s->he_model, s->he_plan, s->weights, e);
}

static int prepare_clear(struct served *s, struct err *e)
{
	if (clear_model_new(&s->clear, s->plan, s->weights, e))
		return -1;
	weights_free(s->weights);
	s->weights = NULL;
	return 0;
}

static int pack_plan(struct served *s, struct err *e)
{
	s->plan_packed = plan_pack(s->plan, &s->plan_bytes);
	if (!s->plan_packed)
		return err_set(e, ERR_ENV, "out of memory for model %s", s->name);
	if (s->plan_bytes <= PLAN_LONGEST)
		return 0;
	return err_set(e, ERR_INPUT, "the plan of model %s takes %zu bytes, more than the %u of a frame",
		       s->name, s->plan_bytes, PLAN_LONGEST);
}

static int prepare(struct served *s, const struct graph *g, const struct plan_options *options, int he_set,
		   struct err *e)
{
	struct bounds *bounds = NULL, **wanted = s->personality == PERSONALITY_HE ? &bounds : NULL;
	int status;

	if (!(s->name = strdup(g->name ? g->name : "")))
		return err_set(e, ERR_ENV, "out of memory for a model");
	/* A re-quantised model under the same mask would reveal the difference: epoch and seed are drawn for
	 * each, and nowhere else. */
	randombytes_buf(s->epoch, sizeof(s->epoch));
	status = plan_make(&s->plan, &s->weights, wanted, g, options, e) || pack_plan(s, e) ? -1 : 0;
	if (!status && s->personality == PERSONALITY_HE)
		status = prepare_he(s, bounds, he_set, e);
	else if (!status)
		status = s->personality == PERSONALITY_CLEAR ? prepare_clear(s, e) : prepare_smpc(s, e);
	bounds_free(bounds);
	return status;
}

int served_new(struct served **served, enum personality p, const struct graph *g,
	       const struct plan_options *options, int he_set, struct err *e)
{
	struct served *s = calloc(1, sizeof(*s));

	*served = NULL;
	if (!s)
		return err_set(e, ERR_ENV, "out of memory for a model");
	s->personality = p;
	if (prepare(s, g, options, he_set, e)) {
		served_free(s);
		return -1;
	}
	*served = s;
	return 0;
}

void served_free(struct served *served)
{
	if (!served)
		return;
	clear_model_free(served->clear);
	he_model_free(served->he_model);
	he_plan_free(served->he_plan);
	if (served->layers)
		layers_free(served->layers, served->program);
	if (served->program)
		program_free(served->program);
	if (served->weights)
		weights_free(served->weights);
	if (served->plan)
		plan_free(served->plan);
	free(served->masked);
	free(served->plan_packed);
	free((char *)(uintptr_t)served->name);
	secret_wipe(served, sizeof(*served));
	free(served);
}
