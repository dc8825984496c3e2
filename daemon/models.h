/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/models.h — private to the model owner: the models, and what is served of each. A set of models can
 * be replaced while sessions use some: a model lives as long as it is in the set or held. */
#ifndef OBSCURA_DAEMON_MODELS_H
#define OBSCURA_DAEMON_MODELS_H

#include "conf/config.h"
#include "daemon/access.h"
#include "nn/plan.h"
#include "protocol/session.h"
#include "wire.pb-c.h"

struct models;
struct model;
/* Loads all files; every model must be servable before the role says that it is ready. */
int models_load(struct models **models, const struct config *config, struct err *e) MUST_USE;
/* The set of a new configuration; files that have not changed since (nor their options) are shared with
 * `now`, sessions and tickets included. May run on a worker while `now` serves. */
int models_next(struct models **next, const struct models *now, const struct config *config,
		struct err *e) MUST_USE;
/* On the loop: `now` becomes the set `next`, which is freed. What is no longer in it is retired: not served
 * to new sessions. */
void models_replace(struct models *now, struct models *next);
int model_retired(const struct model *model);
const char *model_name(const struct model *model);
void model_release(struct model *model);
/* Frees what is neither in the set nor held. Only when no job is under way. */
void models_sweep(struct models *models);
int models_retiring(const struct models *models); /* whether anything waits for that */
/* A variant is one epoch, for one choice of mode and of what is revealed; made on a worker when first asked
 * for. *served is NULL while it is being made: then made(ctx) is called once on the loop, and asking again
 * answers. name: "" is the only model. *model is held for the caller of a session: model_release. */
#define MODELS_HE 2    /* as `optimise`: the he personality */
#define MODELS_CLEAR 3 /* the clear one */
typedef void (*models_made)(void *ctx);
int models_serve(struct models *models, const char *name, unsigned optimise, unsigned reveal,
		 const struct host *host, models_made made, void *ctx, struct model **model,
		 const struct served **served, struct err *e) MUST_USE;
/* The name that models_serve takes name for: "" is the only model. Borrows either. */
const char *models_name(const struct models *models, const char *name);
/* A message for MODEL_LIST, and its end: what a data owner (by the names of its certificate) may use. Returns
 * NULL when memory is short. */
Wire__ModelList *models_list(const struct models *models, const struct access *access,
			     const struct config *config, const char *names);
void models_list_free(Wire__ModelList *list);
/* Jobs and sessions must be over. A set of models_next leaves what it shares alone. NULL is allowed. */
void models_free(struct models *models);

#endif
