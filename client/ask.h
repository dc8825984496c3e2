/* SPDX-License-Identifier: Apache-2.0 */
/* client/ask.h — questions to a data owner, one at a time: the daemon on its Unix socket, or the role inside
 * this process. */
#ifndef OBSCURA_CLIENT_ASK_H
#define OBSCURA_CLIENT_ASK_H

#include "conf/config.h"
#include "wire.pb-c.h"

struct ask;
/* Connects to config->socket; standalone: becomes a data owner (certificates of config) instead. */
int ask_open(struct ask **a, const struct config *config, int standalone, struct err *e) MUST_USE;
/* Waits for the answer. An error that the answer carries is returned as e. *reply: free with
 * wire__classified__free_unpacked. */
int ask_classify(struct ask *a, const Wire__Classify *request, Wire__Classified **reply,
		 struct err *e) MUST_USE;
int ask_status(struct ask *a, Wire__Status **reply, struct err *e) MUST_USE;
/* *reply: free with wire__job_reply__free_unpacked. */
int ask_job(struct ask *a, const Wire__Job *job, Wire__JobReply **reply, struct err *e) MUST_USE;
void ask_close(struct ask *a);

#endif
