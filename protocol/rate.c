/* SPDX-License-Identifier: Apache-2.0 */
/* Events of the last minute, by second (core.h). */
#include "protocol/core.h"

void rate_add(struct rate *r, uint64_t now_us, size_t n)
{
	uint64_t second = now_us / 1000000, steps = second - r->latest;

	if (steps > RATE_SECONDS)
		steps = RATE_SECONDS;
	while (steps--)
		r->in[(second - steps) % RATE_SECONDS] = 0;
	r->latest = second;
	r->in[second % RATE_SECONDS] += (uint32_t)n;
}

double rate_read(const struct rate *r, uint64_t now_us)
{
	uint64_t second = now_us / 1000000, sum = 0;

	/* Places hold the last minute before `latest`; what is older than a minute now does not count. */
	for (uint64_t age = 0; age < RATE_SECONDS && age <= r->latest; age++)
		if (second - (r->latest - age) < RATE_SECONDS)
			sum += r->in[(r->latest - age) % RATE_SECONDS];
	return (double)sum / RATE_SECONDS;
}
