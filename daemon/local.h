/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/local.h — the data owner's local API on its Unix socket: CLASSIFY and STATUS. */
#ifndef OBSCURA_DAEMON_LOCAL_H
#define OBSCURA_DAEMON_LOCAL_H

#include "daemon/data_owner.h"

struct local;
int local_new(struct local **l, struct net *net, const char *path, struct data_owner *d,
	      struct err *e) MUST_USE;
void local_free(struct local *l);

#endif
