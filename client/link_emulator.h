/* SPDX-License-Identifier: Apache-2.0 */
/* client/link_emulator.h — a wire between three hosts: carries IP packets from one TUN device to another,
 * late, one after another and sometimes not at all, as a link says. */
#ifndef OBSCURA_CLIENT_LINK_EMULATOR_H
#define OBSCURA_CLIENT_LINK_EMULATOR_H

#include "client/links.h"

#define LINK_MTU 1500
#define LINK_ADDRESS(role) (0x0a4d0001u + (uint32_t)(role)) /* 10.77.0.1 …, in the host's order */

/* In memory that both processes see. */
struct emulated {
	struct link link;
	/* Seconds that a packet needs through us when it should need none: measured, then taken off. */
	_Atomic double own;
	/* What we did since the start, by the direction. */
	_Atomic uint64_t packets[LINK_ROLES][LINK_ROLES], bytes[LINK_ROLES][LINK_ROLES],
	    full[LINK_ROLES][LINK_ROLES], lost[LINK_ROLES][LINK_ROLES]; /* of super-packets: each part */
	_Atomic int real_time; /* the kernel lets us run before others */
};

/* The largest packet, before it is cut, that this link's wire takes as one: what it takes a quarter of a
 * millisecond for. Bytes, one MTU to 64 KiB; one MTU where packets are lost, since those are lost one by one.
 */
uint32_t emulator_gso(const struct link *link);
/* Runs for ever. fds: TUN devices of the roles (IFF_TUN, IFF_NO_PI, IFF_VNET_HDR), not blocking. */
void emulator_run(struct emulated *m, const int fds[LINK_ROLES]) __attribute__((noreturn));

/* ---- its parts, for tests ---- */

/* A wire of one direction: when it is free again, when the last packet leaves it. Nanoseconds. */
struct wire_clock {
	uint64_t free_at, last;
};
/* When a packet of so many bytes, come at `now`, is delivered; 0: it finds the queue full.
 * random: two independent numbers from [0, 1), for loss and for jitter; *lost: it takes its turn, and is not
 * delivered. */
uint64_t wire_due(struct wire_clock *w, const struct link_path *p, double own, uint64_t now, uint64_t bytes,
		  const double random[2], int *lost);
/* Packets and bytes on the wire that a (super-)packet becomes: gso_size 0: as it is. 0 when it is no IPv4
 * packet, or its header lies. */
uint32_t wire_packets(const uint8_t *ip, uint32_t length, uint32_t gso_size, uint64_t *bytes);

#endif
