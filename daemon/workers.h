/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/workers.h — threads for jobs. run() on a worker, done() on the loop. */
#ifndef OBSCURA_DAEMON_WORKERS_H
#define OBSCURA_DAEMON_WORKERS_H

#include <event2/event.h>
#include "protocol/session.h"

struct workers;
/* Starts n threads for urgent jobs, and n of lower priority for the others: offline work yields to online
 * work. */
int workers_new(struct workers **w, struct event_base *base, unsigned n, struct err *e) MUST_USE;
void workers_submit(struct workers *w, struct job *job);
/* Jobs whose done() has not been called yet. */
size_t workers_busy(const struct workers *w);
/* Waits for jobs that are running; every job's done() is called. */
void workers_free(struct workers *w);

#endif
