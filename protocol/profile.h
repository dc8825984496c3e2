/* SPDX-License-Identifier: Apache-2.0 */
/* protocol/profile.h — where the time goes: nanoseconds of each row of a tape, by what they were spent on.
 * Off unless profile_open was called: then a lap costs one branch. */
#ifndef OBSCURA_PROTOCOL_PROFILE_H
#define OBSCURA_PROTOCOL_PROFILE_H

#include <stddef.h>
#include <stdint.h>
#include "conf/err.h"

/* Online: computing, handing a message to the wire (TLS and the system call), waiting for the peer's; of the
 * he personality also these, which are then not in computing (crypto/he/laps.h). Offline: P0's F·a and δ, the
 * dealer's tickets. */
enum profile_what {
	PROFILE_COMPUTE,
	PROFILE_SEND,
	PROFILE_WAIT,
	PROFILE_ENCRYPT,
	PROFILE_TRANSFORM,
	PROFILE_MULTIPLY,
	PROFILE_MASK,
	PROFILE_DECRYPT,
	PROFILE_AHEAD,
	PROFILE_DEAL,
	PROFILE_WHATS
};

/* From now on every program is profiled, and writes its figures to this file when it is freed: JSON Lines,
 * one for each row. Before any thread is started. */
int profile_open(const char *path, struct err *e) MUST_USE;
void profile_close(void);

/* Of one program, for all lanes and producers of this process. */
struct profile;
struct profile *profile_new(size_t rows); /* NULL when off */
/* also when off: for figures of one inference; NULL when memory is short */
struct profile *profile_make(size_t rows);
void profile_zero(struct profile *p);
uint64_t profile_ns(const struct profile *p, enum profile_what what, size_t row);
/* name(ctx, row) is the row's operator. NULL is allowed. */
void profile_write(struct profile *p, const char *(*name)(const void *ctx, size_t row), const void *ctx);
void profile_free(struct profile *p);

void profile_add(struct profile *p, enum profile_what what, size_t row, uint64_t ns);
/* So many images (or tickets) were done with it. */
void profile_count(struct profile *p, enum profile_what what, size_t images);
uint64_t profile_now(void);

/* What has passed since *lap goes to the row; a new lap begins. */
static inline void profile_lap(struct profile *p, enum profile_what what, size_t row, uint64_t *lap)
{
	if (p) {
		uint64_t now = profile_now();

		profile_add(p, what, row, now - *lap);
		*lap = now;
	}
}
static inline void profile_start(const struct profile *p, uint64_t *lap)
{
	if (p)
		*lap = profile_now();
}

#endif
