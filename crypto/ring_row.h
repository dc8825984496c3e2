/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/ring_row.h — what crypto/ring*.c share: rows of kernels on words. */
#ifndef OBSCURA_CRYPTO_RING_ROW_H
#define OBSCURA_CRYPTO_RING_ROW_H

#include "crypto/ring.h"

/* Each does the first of n words and returns how many: a multiple of 8, so that the rest begins at a whole
 * byte; plain C does the rest. NULL: none. */
struct ring_kernels {
	size_t (*pack)(uint8_t *out, const uint64_t *in, size_t n, unsigned k);
	size_t (*unpack)(uint64_t *out, const uint8_t *in, size_t n, unsigned k);
	size_t (*pack16)(uint8_t *out, const uint16_t *in, size_t n, unsigned k);
	size_t (*unpack16)(uint16_t *out, const uint8_t *in, size_t n, unsigned k);
	size_t (*add)(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, unsigned k);
	size_t (*sub)(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, unsigned k);
};
extern const struct ring_kernels ring_avx2, ring_avx512;

#endif
