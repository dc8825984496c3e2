/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/enclave_relay.h — bytes between two sockets, both ways: what one has sent is passed on at once, and
 * waits only while the other takes no more. */
#ifndef OBSCURA_DAEMON_ENCLAVE_RELAY_H
#define OBSCURA_DAEMON_ENCLAVE_RELAY_H

#include <event2/event.h>

/* Places for connections, and the memory that they share. */
struct relays;
/* ended: called with ctx when a connection has ended; NULL: nothing. NULL is returned when memory is
 * short. */
struct relays *relays_new(struct event_base *base, unsigned most, void (*ended)(void *ctx), void *ctx);
int relays_full(const struct relays *all);
/* Takes both (not blocking), also when it fails. A first side that says nothing for silent_s is given up. */
int relay_start(struct relays *all, int outside, int inside, unsigned silent_s);
void relays_free(struct relays *all); /* ends all; NULL is allowed */

#endif
