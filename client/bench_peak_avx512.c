/* SPDX-License-Identifier: Apache-2.0 */
#include "client/bench_micro.h"

#if defined(__x86_64__)
#include <immintrin.h>

/* Of every loop over the sums: then they are registers. */
#define UNROLL _Pragma("GCC unroll 24")

/* The multiply-adds of nn/linear_avx512.c: vpmulld and vpaddd, vpmadd52luq, vpmullq and vpaddq. */
#define STEP(sum)                                                                                            \
	UNROLL for (int i = 0; i < PEAK_STEPS; i++)                                                          \
	{                                                                                                    \
		s[i] = sum;                                                                                  \
		__asm__ volatile(""                                                                          \
				 : "+v"(a),                                                                  \
				   "+v"(s[i])); /* one after another: none is moved out of the loop */       \
	}

unsigned peak_avx512(unsigned bits, size_t rounds)
{
	__m512i s[PEAK_STEPS], a = _mm512_set1_epi64(0x123456789ab), b = _mm512_set1_epi64(0x7654321fedc);

	UNROLL for (int i = 0; i < PEAK_STEPS; i++) s[i] = _mm512_setzero_si512();
	if (bits == 32)
		for (size_t r = 0; r < rounds; r++) {
			STEP(_mm512_add_epi32(s[i], _mm512_mullo_epi32(a, b)))
		}
	else if (bits == 52)
		for (size_t r = 0; r < rounds; r++) {
			STEP(_mm512_madd52lo_epu64(s[i], a, b))
		}
	else
		for (size_t r = 0; r < rounds; r++) {
			STEP(_mm512_add_epi64(s[i], _mm512_mullo_epi64(a, b)))
		}
	UNROLL for (int i = 0; i < PEAK_STEPS; i++) __asm__ volatile("" : : "v"(s[i]));
	return bits == 32 ? 16 : 8;
}
#else
unsigned peak_avx512(unsigned bits, size_t rounds)
{
	return 0;
}
#endif
