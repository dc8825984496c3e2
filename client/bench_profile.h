/* SPDX-License-Identifier: Apache-2.0 */
/* client/bench_profile.h — what the roles wrote of a run with --profile (protocol/profile.h). */
#ifndef OBSCURA_CLIENT_BENCH_PROFILE_H
#define OBSCURA_CLIENT_BENCH_PROFILE_H

#include "client/bench.h"

enum of { OF_OWNER, OF_MODELLER, OF_PROVIDER, OFS };

/* Seconds of one image (of one ticket where it is offline), by row. */
struct taken {
	double seconds[OFS][PROFILE_WHATS];
};
/* Adds the file of one role, which has ended, to n rows. */
int profile_read(struct taken *rows, size_t n, const struct roles *r, enum of of, struct err *e) MUST_USE;
void profile_total(struct taken *sum, const struct taken *rows, size_t n);

#endif
