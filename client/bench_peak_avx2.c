/* SPDX-License-Identifier: Apache-2.0 */
#include "client/bench_micro.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define SUMS 8 /* with what they are made of they fit 16 registers */

/* Of every loop over the sums: then they are registers. */
#define UNROLL _Pragma("GCC unroll 24")

/* The multiply-add of nn/linear_avx2.c: mod 2^32 one product; mod 2^64 a product of low halves, and one of
 * the halves crosswise. */
#define STEP(bits)                                                                                           \
	UNROLL for (int i = 0; i < SUMS; i++)                                                                \
	{                                                                                                    \
		if (bits == 32) {                                                                            \
			low[i] = _mm256_add_epi32(low[i], _mm256_mullo_epi32(a, b));                         \
			__asm__ volatile("" : "+x"(a), "+x"(low[i]));                                        \
		} else {                                                                                     \
			low[i % (SUMS / 2)] = _mm256_add_epi64(low[i % (SUMS / 2)], _mm256_mul_epu32(a, b)); \
			low[SUMS / 2 + i % (SUMS / 2)] =                                                     \
			    _mm256_add_epi32(low[SUMS / 2 + i % (SUMS / 2)], _mm256_mullo_epi32(a, b));      \
			__asm__ volatile(""                                                                  \
					 : "+x"(a), "+x"(low[i % (SUMS / 2)]),                               \
					   "+x"(low[SUMS / 2 + i % (SUMS / 2)]));                            \
		}                                                                                            \
	}

unsigned peak_avx2(unsigned bits, size_t rounds)
{
	__m256i low[SUMS], a = _mm256_set1_epi32(0x1234567), b = _mm256_set1_epi32(0x7654321);

	UNROLL for (int i = 0; i < SUMS; i++) low[i] = _mm256_setzero_si256();
	if (bits == 32)
		for (size_t r = 0; r < rounds * (PEAK_STEPS / SUMS); r++) {
			STEP(32)
		}
	else
		for (size_t r = 0; r < rounds * (PEAK_STEPS / SUMS); r++) {
			STEP(64)
		}
	UNROLL for (int i = 0; i < SUMS; i++) __asm__ volatile("" : : "x"(low[i]));
	return bits == 32 ? 8 : 4;
}
#else
unsigned peak_avx2(unsigned bits, size_t rounds)
{
	return 0;
}
#endif
