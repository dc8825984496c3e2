/* SPDX-License-Identifier: Apache-2.0 */
/* One-time tables (PROTOCOL.md §3): their shape, where their pieces lie, and which kernels work on them. */
#include "crypto/table.h"

#include <pthread.h>
#include <string.h>

#include "crypto/prg.h"
#include "crypto/ring.h"
#include "crypto/table_row.h"

/* ---- shape ---- */

static unsigned digit_bits(unsigned w, unsigned count, unsigned i)
{
	return w / count + (i < w % count);
}

uint64_t table_bits(const struct table *t)
{
	unsigned index = 2 * t->digits - 1;
	uint64_t bits = 0;

	for (unsigned i = 0; i < t->digits; i++)
		bits += (UINT64_C(1) << digit_bits(t->w, t->digits, i)) * (i ? 2 : 1);
	return bits + (t->mode == TABLE_LATENCY ? (uint64_t)t->entry << index
						: (UINT64_C(1) << index) + 2 * t->entry - t->kout);
}

struct table table_shape(unsigned w, unsigned kout, unsigned extra, enum table_mode mode)
{
	struct table t = {.w = w, .kout = kout, .extra = extra, .mode = mode};

	t.entry = 2 * kout + table_msb(&t) + extra;
	t.digits = 1;
	for (unsigned count = 2; count <= TABLE_DIGITS_MAX && count <= w; count++) {
		struct table other = t;

		other.digits = count;
		if (table_bits(&other) < table_bits(&t))
			t = other;
	}
	for (unsigned i = 0; i < t.digits; i++)
		t.bits[i] = digit_bits(w, t.digits, i);
	t.index = 2 * t.digits - 1;
	t.rows = mode == TABLE_LATENCY ? 1u << t.index : 2;
	t.blocks = t.entry <= 8 * PRG_BLOCK ? 1 : 2;
	return t;
}

/* ---- layout ---- */

static size_t whole_blocks(size_t bytes)
{
	return (bytes + PRG_BLOCK - 1) / PRG_BLOCK * PRG_BLOCK;
}

static size_t stream_piece(size_t n, unsigned b)
{
	return whole_blocks(n * table_words(b) * 8);
}

/* Bytes of n tables of 2^b bits in the corrections. */
static size_t packed_piece(size_t n, unsigned b)
{
	return ((n << b) + 7) / 8;
}

static size_t packed_rows(const struct table *t, size_t n)
{
	return (n * table_rows_bits(t) + 7) / 8;
}

size_t table_correction_bytes(const struct table *t, size_t n)
{
	size_t bytes = packed_rows(t, n);

	for (unsigned i = 0; i < t->digits; i++)
		bytes += (i ? 2 : 1) * packed_piece(n, t->bits[i]);
	return bytes + (t->mode == TABLE_BANDWIDTH ? packed_piece(n, t->index) : 0);
}

size_t table_p0_choose(const struct table *t, size_t n)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < t->digits; i++)
		bytes += (i ? 2 : 1) * stream_piece(n, t->bits[i]);
	return bytes;
}

size_t table_p0_select(const struct table *t, size_t n)
{
	return table_p0_choose(t, n) + (t->mode == TABLE_BANDWIDTH ? stream_piece(n, t->index) : 0);
}

size_t table_p0_bytes(const struct table *t, size_t n)
{
	return table_p0_select(t, n) + n * t->rows * t->blocks * PRG_BLOCK;
}

size_t table_own_bytes(const struct table *t, size_t n)
{
	return whole_blocks(2 * n);
}

/* The tables of the next bit of the index: lt of digit 0, lt and eq of digit 1, …; 0 after the last. *g
 * starts as zeros. */
static int next_digit(const struct table *t, struct table_digit *g, unsigned *i)
{
	unsigned digit = (*i + 1) / 2;

	if (*i == t->index)
		return 0;
	if (*i % 2)
		g->shift += g->bits;
	g->equal = *i && *i % 2 == 0;
	g->bits = t->bits[digit];
	g->top = digit + 1 == t->digits;
	g->at = (*i)++;
	return 1;
}

/* ---- what an index says ---- */

static uint64_t truths[TABLE_DIGITS_MAX + 1][TABLE_INDEX_WORDS];
static pthread_once_t truths_once = PTHREAD_ONCE_INIT;

static void make_truths(void)
{
	for (unsigned digits = 1; digits <= TABLE_DIGITS_MAX; digits++)
		plain_truth(digits, truths[digits]);
}

static const uint64_t *truth_of(const struct table *t)
{
	pthread_once(&truths_once, make_truths);
	return truths[t->digits];
}

/* ---- kernels ---- */

static const struct table_kernels none;

/* Without kernels all is plain C. */
static const struct cpu_row tiers[] = {
#if defined(__x86_64__)
    {CPU_AVX512, &table_avx512},
    {CPU_AVX2, &table_avx2},
#endif
    {CPU_REF, &none},
};

static const struct table_kernels *kernels(void)
{
	static struct cpu_rows all = {tiers, sizeof(tiers) / sizeof(*tiers), table_kernels_are_right, 0};

	return cpu_kernels(&all);
}

void table_deal_by(const struct table_kernels *k, const struct table *t, size_t n, const uint64_t *r,
		   const uint64_t *x, const uint8_t *p0, const uint8_t *own, uint8_t *out)
{
	const uint64_t *truth = truth_of(t);
	struct table_digit g = {0};
	size_t done;

	for (unsigned i = 0; next_digit(t, &g, &i);) {
		done = k->deal_digit ? k->deal_digit(&g, n, r, own, p0, out) : 0;
		plain_deal_digit(&g, n - done, r + done, own + 2 * done, p0 + done * table_words(g.bits) * 8,
				 out + (done << g.bits) / 8);
		p0 += stream_piece(n, g.bits);
		out += packed_piece(n, g.bits);
	}
	if (t->mode == TABLE_BANDWIDTH) {
		done = k->deal_choose ? k->deal_choose(t, truth, n, own, p0, out) : 0;
		plain_deal_choose(t, truth, n - done, own + 2 * done, p0 + done * table_words(t->index) * 8,
				  out + (done << t->index) / 8);
		p0 += stream_piece(n, t->index);
		out += packed_piece(n, t->index);
	}
	done = k->deal_rows ? k->deal_rows(t, truth, n, r, x, own, p0, out) : 0;
	plain_deal_rows(t, truth, n - done, r + done, x ? x + done : NULL, own + 2 * done,
			p0 + done * t->rows * t->blocks * PRG_BLOCK, out + done * table_rows_bits(t) / 8);
}

void table_lookup_p0_by(const struct table_kernels *k, const struct table *t, size_t n, const uint8_t *p0,
			const uint64_t *zhat, uint16_t *j)
{
	struct table_digit g = {0};

	memset(j, 0, n * sizeof(*j));
	for (unsigned i = 0; next_digit(t, &g, &i); p0 += stream_piece(n, g.bits)) {
		size_t done = k->lookup_p0 ? k->lookup_p0(&g, n, p0, zhat, j) : 0;

		plain_lookup_p0(&g, n - done, p0 + done * table_words(g.bits) * 8, zhat + done, j + done);
	}
}

void table_lookup_p1_by(const struct table_kernels *k, const struct table *t, size_t n,
			const uint8_t *corrections, const uint64_t *zhat, uint16_t *j)
{
	struct table_digit g = {0};

	memset(j, 0, n * sizeof(*j));
	for (unsigned i = 0; next_digit(t, &g, &i); corrections += packed_piece(n, g.bits)) {
		size_t done = k->lookup_p1 ? k->lookup_p1(&g, n, corrections, zhat, j) : 0;

		plain_lookup_p1(&g, n - done, corrections + (done << g.bits) / 8, zhat + done, j + done);
	}
}

void table_row_p0_by(const struct table_kernels *k, const struct table *t, size_t n, const uint8_t *blocks,
		     const uint16_t *row, const struct table_rows *out)
{
	plain_row_p0(t, k->row_p0 ? k->row_p0(t, n, blocks, row, out) : 0, n, blocks, row, out);
}

void table_row_p1_by(const struct table_kernels *k, const struct table *t, size_t n,
		     const uint8_t *corrections, const uint16_t *row, const struct table_rows *out)
{
	size_t bytes = packed_rows(t, n);
	const uint8_t *packed = corrections + table_correction_bytes(t, n) - bytes;

	plain_row_p1(t, k->row_p1 ? k->row_p1(t, n, packed, bytes, row, out) : 0, n, packed, bytes, row, out);
}

/* ---- the public names ---- */

void table_deal(const struct table *t, size_t n, const uint64_t *r, const uint64_t *x, const uint8_t *p0,
		const uint8_t *own, uint8_t *out)
{
	table_deal_by(kernels(), t, n, r, x, p0, own, out);
}

void table_lookup_p0(const struct table *t, size_t n, const uint8_t *p0, const uint64_t *zhat, uint16_t *j)
{
	table_lookup_p0_by(kernels(), t, n, p0, zhat, j);
}

void table_lookup_p1(const struct table *t, size_t n, const uint8_t *corrections, const uint64_t *zhat,
		     uint16_t *j)
{
	table_lookup_p1_by(kernels(), t, n, corrections, zhat, j);
}

void table_row_p0(const struct table *t, size_t n, const uint8_t *blocks, const uint16_t *row,
		  const struct table_rows *out)
{
	table_row_p0_by(kernels(), t, n, blocks, row, out);
}

void table_row_p1(const struct table *t, size_t n, const uint8_t *corrections, const uint16_t *row,
		  const struct table_rows *out)
{
	table_row_p1_by(kernels(), t, n, corrections, row, out);
}

static uint16_t bit_at(const uint8_t *p, size_t i)
{
	return p[i / 8] >> (i % 8) & 1;
}

void table_choose_p0(const struct table *t, size_t n, const uint8_t *choose, const uint16_t *j, uint16_t *bit)
{
	size_t bits = 64 * table_words(t->index);

	for (size_t c = 0; c < n; c++)
		bit[c] = bit_at(choose, c * bits + j[c]);
}

void table_choose_p1(const struct table *t, size_t n, const uint8_t *corrections, const uint16_t *j,
		     uint16_t *bit)
{
	const uint8_t *choose =
	    corrections + table_correction_bytes(t, n) - packed_rows(t, n) - packed_piece(n, t->index);

	for (size_t c = 0; c < n; c++)
		bit[c] = bit_at(choose, (c << t->index) + j[c]);
}

void table_relu(const struct table *t, size_t n, const struct table_rows *rows, const uint64_t *zhat,
		uint64_t *out)
{
	uint64_t mask = ring_mask(t->kout);
	unsigned w = t->w;

	if (t->kout > w)
		for (size_t c = 0; c < n; c++)
			out[c] = (rows->b[c] * zhat[c] - rows->br[c] +
				  (rows->bm[c] * (~zhat[c] >> (w - 1) & 1) << w)) &
				 mask;
	else
		for (size_t c = 0; c < n; c++)
			out[c] = (rows->b[c] * zhat[c] - rows->br[c]) & mask;
}
