/* SPDX-License-Identifier: Apache-2.0 */
/* client/link_measure.h — what a link between the roles' hosts really is: measured, and held against its
 * profile. */
#ifndef OBSCURA_CLIENT_LINK_MEASURE_H
#define OBSCURA_CLIENT_LINK_MEASURE_H

#include "client/link_net.h"

#define LINK_TOLERANCE 0.15 /* a run on a link that is further off is refused */

struct link_measured {
	/* [a][b], a < b: seconds of a small message there and back over TCP */
	double p50[LINK_ROLES][LINK_ROLES], p99[LINK_ROLES][LINK_ROLES];
	size_t rounds;
	double byte_rate[LINK_ROLES][LINK_ROLES]; /* [from][to]: what one TCP connection carries, payload */
	unsigned tries;
};
/* Measures; then, when it is off, again, at most `tries` times in all: other work on this host disturbs. What
 * was measured last stands in *m also when it fails, with ERR_RESULT. Native: measured, and never off. */
int link_measure(const struct link_net *n, struct link_measured *m, unsigned tries, struct err *e) MUST_USE;
/* The largest share by which a round trip or a rate is off its profile. */
double link_off_rtt(const struct link_net *n, const struct link_measured *m);
double link_off_rate(const struct link_net *n, const struct link_measured *m);
struct json_object *link_measured_json(const struct link_net *n, const struct link_measured *m);

#endif
