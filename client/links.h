/* SPDX-License-Identifier: Apache-2.0 */
/* client/links.h — network links by name, from conf/links.conf (built in) or a file like it. */
#ifndef OBSCURA_CLIENT_LINKS_H
#define OBSCURA_CLIENT_LINKS_H

#include <stdint.h>
#include "conf/err.h"

struct link {
	char name[32];
	double rtt;	  /* seconds */
	double byte_rate; /* bytes a second, each direction */
};
/* file: NULL for the built-in ones. An unknown name: the error lists those that exist. */
int link_find(struct link *link, const char *name, const char *file, struct err *e) MUST_USE;
/* Time on the wire of messages that wait for each other: round trips, then every byte of both directions. */
double link_seconds(const struct link *link, uint32_t round_trips, uint64_t there, uint64_t back);

#endif
