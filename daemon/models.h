/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/models.h — private to the model owner: the models, and what is served of each. */
#ifndef OBSCURA_DAEMON_MODELS_H
#define OBSCURA_DAEMON_MODELS_H

#include "conf/config.h"
#include "nn/plan.h"
#include "protocol/session.h"
#include "wire.pb-c.h"

struct models;
/* Loads all files; every model must be servable before the role says that it is ready. */
int models_load(struct models **models, const struct config *config, struct err *e) MUST_USE;
/* A variant is one epoch, for one choice of mode and of what is revealed; made on a worker when first asked
 * for. *served is NULL while it is being made: then made(ctx) is called once on the loop, and asking again
 * answers. name: "" is the only model. */
typedef void (*models_made)(void *ctx);
int models_serve(struct models *models, const char *name, unsigned optimise, unsigned reveal,
		 const struct host *host, models_made made, void *ctx, const struct served **served,
		 struct err *e) MUST_USE;
/* A message for MODEL_LIST, and its end. Returns NULL when memory is short. */
Wire__ModelList *models_list(const struct models *models);
void models_list_free(Wire__ModelList *list);
/* Jobs must be over. NULL is allowed. */
void models_free(struct models *models);

#endif
