/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/cpu.h"

#include <pthread.h>
#include <string.h>

static const char *const names[CPU_TIERS] = {"ref", "avx2", "avx512"};

#if defined(__x86_64__)
static int has(enum cpu_tier tier)
{
	if (tier == CPU_AVX2)
		return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
	if (tier == CPU_AVX512)
		return has(CPU_AVX2) && __builtin_cpu_supports("avx512f") &&
		       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
		       __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512ifma") &&
		       __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2") &&
		       __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("gfni");
	return 1;
}
#else
static int has(enum cpu_tier tier)
{
	return tier == CPU_REF;
}
#endif

static int selected = -1;

enum cpu_tier cpu_best(void)
{
	enum cpu_tier tier = CPU_AVX512;

	while (!has(tier))
		tier--;
	return tier;
}

enum cpu_tier cpu_tier(void)
{
	int tier = __atomic_load_n(&selected, __ATOMIC_RELAXED);

	return tier < 0 ? cpu_best() : (enum cpu_tier)tier;
}

int cpu_select(const char *name, struct err *e)
{
	if (!strcmp(name, "auto")) {
		__atomic_store_n(&selected, cpu_best(), __ATOMIC_RELAXED);
		return 0;
	}
	for (int tier = 0; tier < CPU_TIERS; tier++) {
		if (strcmp(name, names[tier]))
			continue;
		if (!has(tier))
			return err_set(
			    e, ERR_ENV,
			    "cpu = %s: this processor lacks some of its instruction sets; use auto or ref",
			    name);
		__atomic_store_n(&selected, tier, __ATOMIC_RELAXED);
		return 0;
	}
	return err_set(e, ERR_USAGE, "cpu = %s: not one of auto, ref, avx2, avx512", name);
}

const char *cpu_name(enum cpu_tier tier)
{
	return tier < CPU_TIERS ? names[tier] : "?";
}

static unsigned adopt(struct cpu_rows *r)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	unsigned adopted;

	pthread_mutex_lock(&lock);
	adopted = __atomic_load_n(&r->adopted, __ATOMIC_RELAXED);
	if (!adopted) {
		adopted = 1u << (r->n - 1); /* plain C needs no proof */
		for (unsigned i = 0; i + 1 < r->n; i++)
			if (r->rows[i].tier <= cpu_best() && r->is_right(r->rows[i].kernels))
				adopted |= 1u << i;
		__atomic_store_n(&r->adopted, adopted, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&lock);
	return adopted;
}

const void *cpu_kernels(struct cpu_rows *r)
{
	unsigned adopted = __atomic_load_n(&r->adopted, __ATOMIC_ACQUIRE), i = 0;

	if (!adopted)
		adopted = adopt(r);
	while (r->rows[i].tier > cpu_tier() || !(adopted >> i & 1))
		i++;
	return r->rows[i].kernels;
}
