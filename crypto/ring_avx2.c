/* SPDX-License-Identifier: Apache-2.0 */
/* Words mod 2^k, four at once. Packing is plain C: without a permutation of bytes across a register it gains
 * nothing. */
#include "crypto/ring_row.h"

#if defined(__x86_64__)
#include <immintrin.h>

/* Eight bytes from the byte where a word begins hold it, if k <= 57. */
static size_t unpack(uint64_t *out, const uint8_t *in, size_t n, unsigned k)
{
	const __m256i mask = _mm256_set1_epi64x((long long)ring_mask(k)), seven = _mm256_set1_epi64x(7);
	const __m256i step = _mm256_set1_epi64x(4 * (long long)k);
	__m256i at = _mm256_setr_epi64x(0, k, 2 * k, 3 * k);
	size_t bytes = ring_packed(n, k);

	n &= ~(size_t)7;
	while (n && n * k / 8 + 8 > bytes)
		n -= 8;
	if (k > 57)
		return 0;
	for (size_t i = 0; i < n; i += 4, at = _mm256_add_epi64(at, step)) {
		__m256i x = _mm256_i64gather_epi64((const long long *)in, _mm256_srli_epi64(at, 3), 1);

		x = _mm256_srlv_epi64(x, _mm256_and_si256(at, seven));
		_mm256_storeu_si256((__m256i *)(out + i), _mm256_and_si256(x, mask));
	}
	return n;
}

static size_t add(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, unsigned k)
{
	const __m256i mask = _mm256_set1_epi64x((long long)ring_mask(k));

	n &= ~(size_t)7;
	for (size_t i = 0; i < n; i += 4) {
		__m256i sum = _mm256_add_epi64(_mm256_loadu_si256((const __m256i *)(a + i)),
					       _mm256_loadu_si256((const __m256i *)(b + i)));

		_mm256_storeu_si256((__m256i *)(out + i), _mm256_and_si256(sum, mask));
	}
	return n;
}

static size_t sub(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, unsigned k)
{
	const __m256i mask = _mm256_set1_epi64x((long long)ring_mask(k));

	n &= ~(size_t)7;
	for (size_t i = 0; i < n; i += 4) {
		__m256i d = _mm256_sub_epi64(_mm256_loadu_si256((const __m256i *)(a + i)),
					     _mm256_loadu_si256((const __m256i *)(b + i)));

		_mm256_storeu_si256((__m256i *)(out + i), _mm256_and_si256(d, mask));
	}
	return n;
}

const struct ring_kernels ring_avx2 = {.unpack = unpack, .add = add, .sub = sub};
#endif
