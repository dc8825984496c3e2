/* SPDX-License-Identifier: Apache-2.0 */
#include "client/progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void progress_start(struct progress *p, const char *what, uint64_t total)
{
	*p = (struct progress){
	    .what = what, .total = total, .start_ms = now_ms(), .terminal = isatty(STDERR_FILENO)};
}

void progress_at(struct progress *p, uint64_t done)
{
	int64_t now = now_ms(), spent = now - p->start_ms;

	if (!p->terminal || now - p->shown_ms < 100)
		return;
	p->shown_ms = now;
	p->shown = 1;
	fprintf(stderr, "\r\033[K%llu of %llu %s", (unsigned long long)done, (unsigned long long)p->total,
		p->what);
	if (done && spent > 500)
		fprintf(stderr, ", %.0f a second, %.0f s left", done * 1000.0 / (double)spent,
			(double)(p->total - done) * (double)spent / 1000 / (double)done);
	fflush(stderr);
}

void progress_end(struct progress *p)
{
	if (p->shown)
		fputs("\r\033[K", stderr);
}
