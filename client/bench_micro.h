/* SPDX-License-Identifier: Apache-2.0 */
/* client/bench_micro.h — `obscura bench --micro`: kernels of this process on one core, at every tier of
 * instructions that the processor has. bench_micro.c runs them, bench_kernel.c times matrices, packing and
 * key streams, bench_compare.c comparisons, bench_peak*.c what the instructions could do. */
#ifndef OBSCURA_CLIENT_BENCH_MICRO_H
#define OBSCURA_CLIENT_BENCH_MICRO_H

#include "client/bench.h"
#include "crypto/cpu.h"

double micro_now(void); /* seconds of processor of this thread: others on the same core cost nothing */
/* Seconds of one call of run(ctx): the least of five runs of at least `seconds` each. */
double micro_time(void (*run)(void *ctx), void *ctx, double seconds);
/* In Hz: additions that wait for each other take one cycle each. */
double micro_clock(void);

/* The best rate of multiply-adds mod 2^bits (32, 52 or 64) that a tier's instructions can reach, operands in
 * registers, nothing loaded or stored: multiply-adds a second; 0 where the tier has none. */
double peak_multiply_adds(enum cpu_tier tier, unsigned bits, double seconds);
/* Each tier's: `rounds` times PEAK_STEPS multiply-adds in every lane. Returns the lanes; 0: not on this
 * processor. */
#define PEAK_STEPS 24
unsigned peak_avx2(unsigned bits, size_t rounds);
unsigned peak_avx512(unsigned bits, size_t rounds);

/* Where results go: lines of JSON and tables, by bench_micro.c. */
struct micro {
	struct bench *b;
	enum cpu_tier tier;
	double seconds; /* of one run */
	double clock;
};
int micro_linear(struct micro *m, struct err *e) MUST_USE;
int micro_packing(struct micro *m, struct err *e) MUST_USE;
int micro_streams(struct micro *m, struct err *e) MUST_USE;
int micro_compare(struct micro *m, struct err *e) MUST_USE;
int micro_he(struct micro *m, struct err *e) MUST_USE; /* bench_he_micro.c */
/* A line {"kind":"micro","what":…,"tier":…} to be filled. */
struct json_object *micro_line(const struct micro *m, const char *what);

int bench_micro(struct bench *b, struct err *e) MUST_USE;

#endif
