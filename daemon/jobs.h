/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/jobs.h — durable jobs of the data owner: images go to the ledger, batches of them to the session,
 * results back to the ledger, whether or not the client that brought them is still there. */
#ifndef OBSCURA_DAEMON_JOBS_H
#define OBSCURA_DAEMON_JOBS_H

#include "daemon/data_owner.h"

struct jobs;
/* Opens config->ledger if that file exists, and goes on with what it has; else the first job makes it. A
 * ledger that cannot be opened is no reason not to start: jobs are refused with the reason. */
int jobs_new(struct jobs **jobs, struct net *net, const struct config *config, struct data_owner *d,
	     struct err *e) MUST_USE;
/* A JOB frame of a local client; it is answered with JOB_REPLY, later. -1: the client broke the protocol. */
int jobs_frame(struct jobs *j, struct conn *client, const struct frame *f, struct err *e) MUST_USE;
/* The client has gone: its questions are not answered. */
void jobs_client_gone(struct jobs *j, struct conn *client);
/* No more batches are begun. */
void jobs_pause(struct jobs *j);
/* After the data owner was freed, and before its net is. Results that have come are written. NULL is allowed.
 */
void jobs_free(struct jobs *j);

#endif
