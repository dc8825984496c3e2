/* SPDX-License-Identifier: Apache-2.0 */
/* Fixed vectors: a row of kernels is adopted only if it reproduces them on this processor. */
#include <stdlib.h>

#include "crypto/ring.h"
#include "nn/linear_row.h"

#define BATCH 11
#define WORDS 1024 /* of any one input, output or matrix below */

/* The digest is of all y mod 2^k, for words drawn from seeds that follow from k: k at each edge of the
 * products' moduli. */
struct vector {
	struct term term;
	size_t batch;
	uint64_t digest[5];
};
static const struct widths {
	unsigned k;
	int small;
} widths[5] = {{32, 1}, {52, 1}, {52, 0}, {62, 1}, {62, 0}};

#define CONV(in, h, w, out, oh, ow, kh, kw, s, d, p, g)                                                      \
	{                                                                                                    \
		.kind = TERM_CONV, .win = {{in, h, w}, {out, oh, ow}, kh, kw, s, s, d, d, p, p}, .groups = g \
	}
#define DENSE(n, m)                                                                                          \
	{                                                                                                    \
		.kind = TERM_DENSE, .win = {.in = {n, 1, 1}, .out = {m, 1, 1} }                              \
	}

static const struct vector vectors[] = {
    {CONV(3, 9, 11, 7, 9, 11, 3, 3, 1, 1, 1, 1),
     2,
     {UINT64_C(0x43988f8d64fbe48d), UINT64_C(0x695260e8c901d481), UINT64_C(0x574aaa3cc6e73fad),
      UINT64_C(0xbe2a3064944bd4e3), UINT64_C(0xf44e51c8df798a3f)}},
    {CONV(2, 13, 12, 17, 6, 6, 5, 4, 2, 1, 1, 1),
     1,
     {UINT64_C(0xa12dc87e27b3c3c8), UINT64_C(0x53b79583698e7d93), UINT64_C(0xc466eaaa70ab5cb1),
      UINT64_C(0xc0d2031090a2c6ac), UINT64_C(0x0582b3ec24548bb7)}},
    {CONV(6, 7, 17, 9, 2, 6, 3, 2, 3, 2, 1, 3),
     1,
     {UINT64_C(0x800b5544f5ab85a8), UINT64_C(0xd7d05bbf54c9da3c), UINT64_C(0x2f5d896b9b3c1790),
      UINT64_C(0x1e88327642f4bde2), UINT64_C(0xbcca6ebb94eb218c)}},
    {CONV(4, 10, 13, 4, 8, 11, 3, 3, 1, 1, 0, 4),
     1,
     {UINT64_C(0xab3b8d77b0b15093), UINT64_C(0x1ecc27af063e0805), UINT64_C(0x8b84061f6c2a6d79),
      UINT64_C(0x3103dd45b60da2f6), UINT64_C(0x9d46ec9c84d0c689)}},
    {DENSE(31, 33),
     1,
     {UINT64_C(0x0959206b22c5ef19), UINT64_C(0x59cc7330505d3957), UINT64_C(0x46cf89d4161dcc6b),
      UINT64_C(0xf23f18bc8dd7d734), UINT64_C(0x9d9252c747c9152b)}},
    {DENSE(7, 90),
     BATCH,
     {UINT64_C(0xe82f5f66aad5c9fc), UINT64_C(0xcf0ae7acd84769ff), UINT64_C(0xdefa68b69232a3f4),
      UINT64_C(0x202c8e737a0c2c13), UINT64_C(0xb62a2c4ee511d3e2)}},
};

/* splitmix64 */
static void draw(uint64_t *words, size_t n, uint64_t seed)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);

		z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
		z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
		words[i] = z ^ z >> 31;
	}
}

static uint64_t digest(const uint64_t *y, size_t n, unsigned k)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum = sum * UINT64_C(0xd1342543de82ef95) + (y[i] & ring_mask(k)) + 1;
	return sum;
}

/* x, y: BATCH * WORDS each, m: WORDS */
static int reproduces(const struct linear_row *row, const struct vector *v, size_t w, uint64_t *x,
		      uint64_t *y, uint64_t *m)
{
	size_t n_x = shape_size(v->term.win.in), n_y = shape_size(v->term.win.out);
	unsigned k = widths[w].k;
	struct linear *l;
	void *scratch;

	draw(x, BATCH * WORDS, k);
	draw(y, BATCH * WORDS, k + 64);
	draw(m, WORDS, k + 128);
	for (size_t i = 0; widths[w].small && i < WORDS; i++)
		m[i] = (uint64_t)((int64_t)m[i] >> 33);
	l = linear_new_row(row, &v->term, m, k, widths[w].small, NULL);
	scratch = l ? aligned_alloc(64, linear_scratch(l, v->batch) + 64) : NULL;
	if (scratch)
		linear_apply(l, x, n_x, y, n_y, v->batch, scratch);
	free(scratch);
	linear_free(l);
	return scratch && digest(y, BATCH * WORDS, k) == v->digest[w];
}

int linear_row_is_right(const struct linear_row *row)
{
	uint64_t *words = malloc((2 * BATCH + 1) * WORDS * sizeof(*words));
	int right = words != NULL;

	for (size_t i = 0; right && i < sizeof(vectors) / sizeof(*vectors); i++)
		for (size_t w = 0; right && w < sizeof(widths) / sizeof(*widths); w++)
			right = reproduces(row, &vectors[i], w, words, words + BATCH * WORDS,
					   words + 2 * BATCH * WORDS);
	free(words);
	return right;
}
