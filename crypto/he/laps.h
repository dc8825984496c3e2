/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/he/laps.h — where the time of an encrypted inference goes. Off (NULL) unless a profile is wanted:
 * then a lap costs one branch. */
#ifndef OBSCURA_CRYPTO_HE_LAPS_H
#define OBSCURA_CRYPTO_HE_LAPS_H

#include <stdint.h>
#include <time.h>

/* REST: packing, the rows in clear, all else. Transforms are counted apart wherever they happen. */
enum he_lap {
	HE_LAP_REST,
	HE_LAP_ENCRYPT,
	HE_LAP_TRANSFORM,
	HE_LAP_MULTIPLY,
	HE_LAP_MASK,
	HE_LAP_DECRYPT,
	HE_LAPS
};

/* Of one thread. Times depend on no secret: what is timed is constant time. */
struct he_laps {
	uint64_t since;
	uint64_t *ns; /* HE_LAPS sums of the row at hand; NULL: off */
};

static inline uint64_t he_laps_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static inline void he_laps_start(struct he_laps *l)
{
	if (l && l->ns)
		l->since = he_laps_now();
}

/* What has passed since the last lap went to `what`. */
static inline void he_lap(struct he_laps *l, enum he_lap what)
{
	if (l && l->ns) {
		uint64_t now = he_laps_now();

		l->ns[what] += now - l->since;
		l->since = now;
	}
}

/* From now on laps belong to row `row` of `all`, rows × HE_LAPS sums; all NULL: off. */
static inline void he_laps_row(struct he_laps *l, uint64_t *all, unsigned row)
{
	l->ns = all ? all + (uint64_t)row * HE_LAPS : 0;
}

#endif
