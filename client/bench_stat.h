/* SPDX-License-Identifier: Apache-2.0 */
/* client/bench_stat.h — the figures of a list of samples. */
#ifndef OBSCURA_CLIENT_BENCH_STAT_H
#define OBSCURA_CLIENT_BENCH_STAT_H

#include <stddef.h>

/* By nearest rank: the p-quantile of n samples is the ⌈p·n⌉-th smallest. All 0 when n = 0. */
struct bench_stat {
	size_t n;
	double least, median, p99, most, mean;
};
/* Sorts the samples. */
struct bench_stat bench_stat(double *samples, size_t n);

double bench_now(void); /* seconds, monotonic */

#endif
