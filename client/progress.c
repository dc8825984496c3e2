/* SPDX-License-Identifier: Apache-2.0 */
#include "client/progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define BAR 24 /* characters */

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

static void bar(uint64_t done, uint64_t total)
{
	unsigned filled = total ? (unsigned)(done * BAR / total) : 0;

	fputs("\r\033[K[", stderr);
	for (unsigned i = 0; i < BAR; i++)
		fputc(i < filled ? '#' : '.', stderr);
	fputc(']', stderr);
}

void progress_at(struct progress *p, uint64_t done)
{
	int64_t now = now_ms(), spent = now - p->start_ms;
	double rate = (double)(done - p->first) * 1000 / (double)(spent + !spent);

	if (!p->terminal || now - p->shown_ms < 100)
		return;
	p->shown_ms = now;
	p->shown = 1;
	bar(done, p->total);
	fprintf(stderr, " %llu of %llu %s", (unsigned long long)done, (unsigned long long)p->total, p->what);
	if (done > p->first && spent > 500)
		fprintf(stderr, ", %.0f a second, %.0f s left", rate, (double)(p->total - done) / rate);
	fflush(stderr);
}

void progress_end(struct progress *p)
{
	if (p->shown)
		fputs("\r\033[K", stderr);
}
