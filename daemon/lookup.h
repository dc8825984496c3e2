/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/lookup.h — names to addresses without stopping the loop: a thread of its own waits for the resolver.
 */
#ifndef OBSCURA_DAEMON_LOOKUP_H
#define OBSCURA_DAEMON_LOOKUP_H

#include <event2/event.h>
#include <netdb.h>
#include "conf/err.h"

struct lookup;
/* found: the callee's to free, NULL with the reason in why. The lookup is over and gone by then. */
typedef void (*lookup_done)(void *ctx, struct addrinfo *found, const char *why);

/* An address that is a number already; NULL: it is a name. */
struct addrinfo *lookup_number(const char *host, const char *port);
/* Returns new; done() is called from the loop, never from here. NULL with e. */
struct lookup *lookup_new(struct event_base *base, const char *host, const char *port, lookup_done done,
			  void *ctx, struct err *e);
/* done() will not be called. NULL is allowed. */
void lookup_cancel(struct lookup *l);

#endif
