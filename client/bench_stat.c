/* SPDX-License-Identifier: Apache-2.0 */
#include "client/bench_stat.h"

#include <stdlib.h>
#include <time.h>

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* ⌈n · percent / 100⌉, from 1, as an index from 0. */
static size_t rank(size_t n, size_t percent)
{
	return (n * percent + 99) / 100 - 1;
}

struct bench_stat bench_stat(double *samples, size_t n)
{
	struct bench_stat s = {.n = n};

	if (!n)
		return s;
	qsort(samples, n, sizeof(*samples), compare);
	s.least = samples[0];
	s.median = samples[rank(n, 50)];
	s.p99 = samples[rank(n, 99)];
	s.most = samples[n - 1];
	for (size_t i = 0; i < n; i++)
		s.mean += samples[i] / (double)n;
	return s;
}

double bench_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}
