/* SPDX-License-Identifier: Apache-2.0 */
#include "client/bench_micro.h"

#include <time.h>

#include "client/bench_table.h"
#include "client/json.h"

#define RUNS 5
#define CHAIN 20000000

/* ---- time ---- */

double micro_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double micro_time(void (*run)(void *ctx), void *ctx, double seconds)
{
	size_t calls = 1;
	double least = 0, took;

	run(ctx); /* memory and caches */
	for (;; calls *= 2) {
		double start = micro_now();

		for (size_t i = 0; i < calls; i++)
			run(ctx);
		took = micro_now() - start;
		if (took >= seconds)
			break;
	}
	least = took / (double)calls;
	for (int r = 1; r < RUNS; r++) {
		double start = micro_now();

		for (size_t i = 0; i < calls; i++)
			run(ctx);
		took = (micro_now() - start) / (double)calls;
		least = took < least ? took : least;
	}
	return least;
}

/* x += y ten times, each after the one before it: the barrier keeps the compiler from making one of them. */
static void chain(void *ctx)
{
	uint64_t x = 0, y = *(uint64_t *)ctx;

	for (int i = 0; i < CHAIN / 10; i++)
#pragma GCC unroll 10
		for (int j = 0; j < 10; j++) {
			x += y;
			__asm__ volatile("" : "+r"(x));
		}
}

double micro_clock(void)
{
	uint64_t y = 3;

	return CHAIN / micro_time(chain, &y, 0.01);
}

/* ---- peaks ---- */

struct peak {
	enum cpu_tier tier;
	unsigned bits, lanes;
};
#define ROUNDS 1000

/* Plain C: one product of 64-bit words after another, in eight sums. */
static unsigned peak_ref(size_t rounds)
{
	uint64_t s[8] = {0}, a = 0x123456789abcdef, b = 0xfedcba987654321;

	for (size_t r = 0; r < rounds * (PEAK_STEPS / 8); r++)
#pragma GCC unroll 8
		for (int i = 0; i < 8; i++) {
			s[i] += a * b;
			__asm__ volatile("" : "+r"(a), "+r"(s[i]));
		}
#pragma GCC unroll 8
	for (int i = 0; i < 8; i++)
		__asm__ volatile("" : : "r"(s[i]));
	return 1;
}

static void run_peak(void *ctx)
{
	struct peak *p = ctx;

	p->lanes = p->tier == CPU_AVX512 ? peak_avx512(p->bits, ROUNDS)
		   : p->tier == CPU_AVX2 ? peak_avx2(p->bits, ROUNDS)
					 : peak_ref(ROUNDS);
}

double peak_multiply_adds(enum cpu_tier tier, unsigned bits, double seconds)
{
	static double known[CPU_TIERS][65];
	struct peak p = {tier, bits, 0};
	double took;

	if (known[tier][bits] > 0)
		return known[tier][bits];
	took = micro_time(run_peak, &p, seconds < 0.02 ? 0.02 : seconds); /* everything is held against it */
	return known[tier][bits] = p.lanes * (double)(ROUNDS * PEAK_STEPS) / took;
}

/* ---- the command ---- */

struct json_object *micro_line(const struct micro *m, const char *what)
{
	struct json_object *o = json_object_new_object();

	json_text(o, "kind", "micro");
	json_text(o, "what", what);
	json_text(o, "tier", cpu_name(m->tier));
	json_real(o, "clock", m->clock);
	return o;
}

static int one_tier(struct micro *m, struct err *e)
{
	if (cpu_select(cpu_name(m->tier), e))
		return -1;
	return micro_linear(m, e) || micro_packing(m, e) || micro_compare(m, e) || micro_he(m, e) ? -1 : 0;
}

int bench_micro(struct bench *b, struct err *e)
{
	struct micro m = {.b = b, .seconds = b->quick ? 0.002 : 0.02};
	enum cpu_tier best = cpu_best();

	m.clock = micro_clock();
	bench_note(b->markdown,
		   "Clock %.2f GHz, measured by additions that wait for each other. All times of kernels are "
		   "of the processor, one core.",
		   m.clock / 1e9);
	for (m.tier = CPU_REF; m.tier <= best; m.tier++)
		if (one_tier(&m, e))
			return -1;
	m.tier = best;
	return cpu_select("auto", e) || micro_streams(&m, e) ? -1 : 0;
}
