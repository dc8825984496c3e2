/* SPDX-License-Identifier: Apache-2.0 */
/* client/link_net.h — three hosts on this one: a network namespace for each role, joined by a link. */
#ifndef OBSCURA_CLIENT_LINK_NET_H
#define OBSCURA_CLIENT_LINK_NET_H

#include <json-c/json.h>
#include <sys/types.h>

#include "client/link_emulator.h"

/* native: loopback of this host. netem: veth pairs, tc netem. emulator: TUN devices and link_emulator.c.
 * tbf: veth pairs, tc tbf; rate only. */
enum link_mechanism { MECHANISM_NATIVE, MECHANISM_NETEM, MECHANISM_EMULATOR, MECHANISM_TBF, MECHANISMS };
extern const char *const link_mechanism_names[MECHANISMS];

struct link_net {
	struct link link;
	enum link_mechanism mechanism;
	int home;		   /* own: the namespace we came from; −1: none made */
	int spaces[LINK_ROLES];	   /* own */
	pid_t emulator;		   /* 0: none */
	struct emulated *emulated; /* own, shared with it */
};

/* Before anything else, and before the first thread: rights over namespaces of our own, where we have none.
 */
int link_net_rights(struct err *e) MUST_USE;
/* asked: the name of a mechanism, NULL: the first that can make this link here. Sets all of *n;
 * link_net_free also after a failure. */
int link_net_new(struct link_net *n, const struct link *link, const char *asked, struct err *e) MUST_USE;
void link_net_free(struct link_net *n);
/* This process's thread goes to a role's host (sockets made there stay there), and home. */
int link_net_enter(const struct link_net *n, enum link_role role, struct err *e) MUST_USE;
int link_net_home(const struct link_net *n, struct err *e) MUST_USE;
/* An error when the emulator has ended. */
int link_net_alive(const struct link_net *n, struct err *e) MUST_USE;
/* "10.77.0.1"; of native "127.0.0.1". */
const char *link_net_address(const struct link_net *n, enum link_role role);
/* What it is made of: mechanism, MTU, congestion control, buffers, packets that were dropped. */
struct json_object *link_net_describe(const struct link_net *n);

#endif
