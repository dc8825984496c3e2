/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/enclave_link.h — private to the data owner: its connection to an enclave. It is made when first
 * asked for, on a worker, and then kept; it proves itself again after ATTESTED_S, whenever it is made anew,
 * and after a reload. Requests are asked one after another. */
#ifndef OBSCURA_DAEMON_ENCLAVE_LINK_H
#define OBSCURA_DAEMON_ENCLAVE_LINK_H

#include "daemon/requests.h"

struct enclave_link;
/* config is borrowed. NULL when memory is short. */
struct enclave_link *enclave_link_new(struct net *net, const struct config *config);
/* Takes r, whose question it is. */
void enclave_link_ask(struct enclave_link *l, struct request *r, const Wire__Classify *q);
/* Deadlines, back-off, lifetimes. */
void enclave_link_tick(struct enclave_link *l);
/* When it has something to do, by the host's clock; 0: now; UINT64_MAX: not before it is asked. */
uint64_t enclave_link_due(const struct enclave_link *l);
/* What the configuration says has changed: connect anew. */
void enclave_link_renew(struct enclave_link *l);
int enclave_link_busy(const struct enclave_link *l);
/* "connected (simulated: no hardware isolation)" …; NULL: it was never asked for. error: why not. */
const char *enclave_link_state(const struct enclave_link *l, const char **error);
void enclave_link_free(struct enclave_link *l); /* refuses what waits; NULL is allowed */

#endif
