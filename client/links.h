/* SPDX-License-Identifier: Apache-2.0 */
/* client/links.h — network links by name, from conf/links.conf (built in) or a file like it. */
#ifndef OBSCURA_CLIENT_LINKS_H
#define OBSCURA_CLIENT_LINKS_H

#include <stddef.h>
#include <stdint.h>
#include "conf/err.h"

enum link_role { LINK_DATA_OWNER, LINK_MODEL_OWNER, LINK_PROVIDER, LINK_ROLES };
extern const char *const link_role_names[LINK_ROLES]; /* "data_owner", … */

/* One direction between two roles. */
struct link_path {
	double delay;	  /* seconds, one way */
	double byte_rate; /* bytes a second, of IP packets */
	double jitter;	  /* seconds: each packet is late by 0 to so much more */
	double loss;	  /* share of packets */
	double queue;	  /* seconds: a packet that would wait longer for its turn is lost */
};
struct link {
	char name[32];
	int native;					/* nothing is emulated */
	struct link_path paths[LINK_ROLES][LINK_ROLES]; /* [from][to]; the diagonal is empty */
};
/* file: NULL for the built-in ones. An unknown name: the error lists those that exist. */
int link_find(struct link *link, const char *name, const char *file, struct err *e) MUST_USE;
/* What an empty packet needs there and back, seconds. */
double link_rtt(const struct link *link, enum link_role a, enum link_role b);

/* Time on the wire, seconds. Online, messages between data owner and model owner wait for each other: round
 * trips, then every byte of both directions. Offline, δ and corrections come to the model owner from two
 * sides. */
double link_online(const struct link *link, uint32_t round_trips, uint64_t there, uint64_t back);
double link_offline(const struct link *link, uint64_t delta, uint64_t corrections);

/* What one image sends; see link_online and link_offline. */
struct link_load {
	uint32_t round_trips;
	uint64_t there, back, delta, corrections;
};
/* Images a second, one request of `batch` images after another, tickets made meanwhile. */
double link_rate(const struct link *link, const struct link_load *load, size_t batch);
/* The smallest batch, a power of two of at most `most` images, that comes within a tenth of the most images a
 * second. */
size_t link_batch(const struct link *link, const struct link_load *load, size_t most);

#endif
