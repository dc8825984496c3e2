/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/spin.h — for a moment after a message of an inference has left, the loop polls instead of sleeping:
 * a peer on a fast network answers sooner than a sleeping processor wakes (5–50 µs in a virtual machine).
 * Where answers do not come in time it is soon given up. */
#ifndef OBSCURA_DAEMON_SPIN_H
#define OBSCURA_DAEMON_SPIN_H

#include <stdint.h>

struct spin {
	uint64_t budget_us; /* 0: never */
	uint64_t until_us;  /* 0: not now */
	unsigned misses;    /* in a row */
	unsigned skip;	    /* messages that are not waited for in this way */
};

#define SPIN_MISSES 4	 /* after so many in a row … */
#define SPIN_SKIP_MAX 10 /* … 2, 4, … 2^10 messages are skipped */

/* A message has left that a peer will answer. */
static inline void spin_sent(struct spin *s, uint64_t now_us)
{
	if (s->skip)
		s->skip--;
	else
		s->until_us = now_us + s->budget_us;
}

/* One has come. */
static inline void spin_received(struct spin *s)
{
	if (s->until_us)
		s->misses = 0;
	s->until_us = 0;
}

/* Whether to poll now. */
static inline int spin_goes_on(struct spin *s, uint64_t now_us)
{
	if (!s->until_us || now_us < s->until_us)
		return s->until_us != 0;
	s->until_us = 0;
	if (++s->misses >= SPIN_MISSES) {
		unsigned log = s->misses - SPIN_MISSES + 1;

		s->skip = 1u << (log < SPIN_SKIP_MAX ? log : SPIN_SKIP_MAX);
	}
	return 0;
}

#endif
