/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/local.h — the data owner's local API on its Unix socket: CLASSIFY, JOB and STATUS. */
#ifndef OBSCURA_DAEMON_LOCAL_H
#define OBSCURA_DAEMON_LOCAL_H

#include "daemon/data_owner.h"
#include "daemon/jobs.h"

struct local;
/* jobs: may be NULL. */
int local_new(struct local **l, struct net *net, const char *path, struct data_owner *d, struct jobs *jobs,
	      struct err *e) MUST_USE;
void local_free(struct local *l);

#endif
