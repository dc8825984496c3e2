/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/data_owner.h — the data owner's role, in the daemon or (`--standalone`) in the command line's own
 * process. */
#ifndef OBSCURA_DAEMON_DATA_OWNER_H
#define OBSCURA_DAEMON_DATA_OWNER_H

#include "daemon/net.h"
#include "protocol/session.h"
#include "wire.pb-c.h"

struct data_owner;
/* Starts connecting to config->model_owner and config->provider; sessions are opened per (model, optimise,
 * reveal) when first asked for and reopened after a loss. */
int data_owner_new(struct data_owner **d, struct net *net, const struct config *config,
		   struct err *e) MUST_USE;
/* Answers one request (wire.proto Classify): reply is freshly packed by the callee's Wire__Classified; called
 * exactly once, before the request's deadline (default config->deadline_ms). Requests for one session are
 * merged up to max_batch. */
typedef void (*data_owner_reply)(void *ctx, const Wire__Classified *reply);
void data_owner_classify(struct data_owner *d, const Wire__Classify *request, data_owner_reply reply,
			 void *ctx);
/* Whether the model owner serves it: 1, 0, or -1 when it has not said so (no connection). */
int data_owner_knows(const struct data_owner *d, const char *model);
/* What it serves; names are borrowed until the loop turns. */
size_t data_owner_models(const struct data_owner *d, char *const **names);
/* The mode of requests that do not choose one. */
enum plan_optimise data_owner_mode(const struct data_owner *d);
/* 0 when an image of this model (NULL: of any) could start now: both peers, a session, a ticket. Else e says
 * what is missing; asking opens a session if there is none, so that who asks again will find it ready. */
int data_owner_ready(struct data_owner *d, const char *model, struct err *e) MUST_USE;
/* Fills a Status message (free with wire__status__free_unpacked-style: data_owner_status_free). */
void data_owner_status(struct data_owner *d, Wire__Status *status);
void data_owner_status_free(Wire__Status *status);
void data_owner_free(struct data_owner *d);

/* Roles: each runs until stopped and returns an exit code. */
int data_owner_main(const struct config *config);
int model_owner_main(const struct config *config);
int provider_main(const struct config *config);

#endif
