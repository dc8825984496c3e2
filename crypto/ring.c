/* SPDX-License-Identifier: Apache-2.0 */
/* Words mod 2^k in plain C, and the choice of kernels. */
#include "crypto/ring_row.h"

#include <string.h>

#include "crypto/cpu.h"

/* ---- plain C ---- */

/* Bits wait in a register of 128 and leave eight bytes at a time. */
struct writer {
	uint8_t *at;
	unsigned __int128 waiting;
	unsigned bits;
};

static inline void put(struct writer *w, uint64_t word, unsigned k)
{
	w->waiting |= (unsigned __int128)word << w->bits;
	w->bits += k;
	if (w->bits < 64)
		return;
	word = (uint64_t)w->waiting;
	memcpy(w->at, &word, 8);
	w->at += 8;
	w->waiting >>= 64;
	w->bits -= 64;
}

static void finish(struct writer *w)
{
	uint64_t word = (uint64_t)w->waiting;

	memcpy(w->at, &word, (w->bits + 7) / 8);
}

struct reader {
	const uint8_t *at, *end;
	unsigned __int128 waiting;
	unsigned bits;
};

static inline uint64_t take(struct reader *r, unsigned k)
{
	uint64_t word = 0;

	if (r->bits < k) {
		size_t bytes = r->end - r->at < 8 ? (size_t)(r->end - r->at) : 8;

		memcpy(&word, r->at, bytes);
		r->at += bytes;
		r->waiting |= (unsigned __int128)word << r->bits;
		r->bits += 8 * bytes;
	}
	word = (uint64_t)r->waiting & ring_mask(k);
	r->waiting >>= k;
	r->bits -= k;
	return word;
}

static void plain_pack(uint8_t *out, const uint64_t *in, size_t n, unsigned k)
{
	struct writer w = {.at = out};

	for (size_t i = 0; i < n; i++)
		put(&w, in[i] & ring_mask(k), k);
	finish(&w);
}

static void plain_unpack(uint64_t *out, const uint8_t *in, size_t n, unsigned k)
{
	struct reader r = {.at = in, .end = in + ring_packed(n, k)};

	for (size_t i = 0; i < n; i++)
		out[i] = take(&r, k);
}

static void plain_pack16(uint8_t *out, const uint16_t *in, size_t n, unsigned k)
{
	struct writer w = {.at = out};

	for (size_t i = 0; i < n; i++)
		put(&w, in[i] & ring_mask(k), k);
	finish(&w);
}

static void plain_unpack16(uint16_t *out, const uint8_t *in, size_t n, unsigned k)
{
	struct reader r = {.at = in, .end = in + ring_packed(n, k)};

	for (size_t i = 0; i < n; i++)
		out[i] = (uint16_t)take(&r, k);
}

/* ---- rows of kernels ---- */

static const struct ring_kernels none;

static void pack_by(const struct ring_kernels *kernels, uint8_t *out, const uint64_t *in, size_t n,
		    unsigned k)
{
	size_t done = kernels->pack ? kernels->pack(out, in, n, k) : 0;

	plain_pack(out + done / 8 * k, in + done, n - done, k);
}

static void unpack_by(const struct ring_kernels *kernels, uint64_t *out, const uint8_t *in, size_t n,
		      unsigned k)
{
	size_t done = kernels->unpack ? kernels->unpack(out, in, n, k) : 0;

	plain_unpack(out + done, in + done / 8 * k, n - done, k);
}

static void pack16_by(const struct ring_kernels *kernels, uint8_t *out, const uint16_t *in, size_t n,
		      unsigned k)
{
	size_t done = kernels->pack16 ? kernels->pack16(out, in, n, k) : 0;

	plain_pack16(out + done / 8 * k, in + done, n - done, k);
}

static void unpack16_by(const struct ring_kernels *kernels, uint16_t *out, const uint8_t *in, size_t n,
			unsigned k)
{
	size_t done = kernels->unpack16 ? kernels->unpack16(out, in, n, k) : 0;

	plain_unpack16(out + done, in + done / 8 * k, n - done, k);
}

#define COUNT 75

/* Whether words survive both ways, and their packed form is that of plain C, for one k. */
static int is_right(const struct ring_kernels *kernels, unsigned k)
{
	uint64_t words[COUNT], back[COUNT], seed = k;
	uint16_t small[COUNT], small_back[COUNT];
	uint8_t got[8 * COUNT], want[8 * COUNT];
	int right;

	for (size_t i = 0; i < COUNT; i++) {
		seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		words[i] = seed ^ seed >> 29;
		small[i] = (uint16_t)words[i];
	}
	pack_by(kernels, got, words, COUNT, k);
	plain_pack(want, words, COUNT, k);
	unpack_by(kernels, back, want, COUNT, k);
	right = !memcmp(got, want, ring_packed(COUNT, k));
	for (size_t i = 0; i < COUNT; i++)
		right &= back[i] == (words[i] & ring_mask(k));
	if (k > 16)
		return right;
	pack16_by(kernels, got, small, COUNT, k);
	unpack16_by(kernels, small_back, want, COUNT, k);
	right &= !memcmp(got, want, ring_packed(COUNT, k));
	for (size_t i = 0; i < COUNT; i++)
		right &= small_back[i] == (small[i] & ring_mask(k));
	return right;
}

static int are_right(const void *kernels)
{
	for (unsigned k = 1; k <= 64; k++)
		if (!is_right(kernels, k))
			return 0;
	return 1;
}

static const struct cpu_row rows[] = {
#if defined(__x86_64__)
    {CPU_AVX512, &ring_avx512},
    {CPU_AVX2, &ring_avx2},
#endif
    {CPU_REF, &none},
};

static const struct ring_kernels *kernels(void)
{
	static struct cpu_rows all = {rows, sizeof(rows) / sizeof(*rows), are_right, 0};

	return cpu_kernels(&all);
}

void ring_pack(uint8_t *out, const uint64_t *in, size_t n, unsigned k)
{
	pack_by(kernels(), out, in, n, k);
}

void ring_unpack(uint64_t *out, const uint8_t *in, size_t n, unsigned k)
{
	unpack_by(kernels(), out, in, n, k);
}

void ring_pack16(uint8_t *out, const uint16_t *in, size_t n, unsigned k)
{
	pack16_by(kernels(), out, in, n, k);
}

void ring_unpack16(uint16_t *out, const uint8_t *in, size_t n, unsigned k)
{
	unpack16_by(kernels(), out, in, n, k);
}

void ring_add(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, unsigned k)
{
	const struct ring_kernels *row = kernels();

	for (size_t i = row->add ? row->add(out, a, b, n, k) : 0; i < n; i++)
		out[i] = (a[i] + b[i]) & ring_mask(k);
}

void ring_sub(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, unsigned k)
{
	const struct ring_kernels *row = kernels();

	for (size_t i = row->sub ? row->sub(out, a, b, n, k) : 0; i < n; i++)
		out[i] = (a[i] - b[i]) & ring_mask(k);
}
