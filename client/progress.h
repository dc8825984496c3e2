/* SPDX-License-Identifier: Apache-2.0 */
/* client/progress.h — how far a long command is: a bar, rate and time left on standard error, only on a
 * terminal. */
#ifndef OBSCURA_CLIENT_PROGRESS_H
#define OBSCURA_CLIENT_PROGRESS_H

#include <stdint.h>

struct progress {
	const char *what;      /* borrows: "images" */
	uint64_t total, first; /* first: done before the start, which the rate does not count */
	int64_t start_ms, shown_ms;
	int shown, terminal;
};
void progress_start(struct progress *p, const char *what, uint64_t total);
/* Shows at most ten times a second. */
void progress_at(struct progress *p, uint64_t done);
/* Wipes the line. */
void progress_end(struct progress *p);

#endif
