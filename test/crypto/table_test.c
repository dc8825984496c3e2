/* SPDX-License-Identifier: Apache-2.0 */
/* One-time tables: sizes against the design's figures; dealer and both parties against the meaning in clear,
 * for many widths, at every tier. */
#include "test/test.h"

#include "crypto/cpu.h"
#include "crypto/prg.h"
#include "crypto/ring.h"
#include "crypto/table.h"

#define N 67

/* PROTOCOL.md §3's table, in bits as masked_protocol.py counts them; in bandwidth mode kout bits fewer are
 * streamed than it says. */
static void sizes(void **ctx)
{
	static const struct {
		unsigned w, kout, latency, bandwidth;
	} rows[] = {{16, 32, 1408, 384}, {20, 38, 3520, 540}, {22, 39, 3808, 638}, {24, 46, 4928, 804}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct table l = table_shape(rows[i].w, rows[i].kout, 0, TABLE_LATENCY),
			     b = table_shape(rows[i].w, rows[i].kout, 0, TABLE_BANDWIDTH);

		assert_int_equal(table_bits(&l), rows[i].latency);
		assert_int_equal(table_bits(&b) + rows[i].kout, rows[i].bandwidth);
	}
}

/* Shapes are the best of all digit counts, counted independently here. */
static void shapes(void **ctx)
{
	for (unsigned w = 2; w <= 62; w++)
		for (unsigned kout = 1; kout <= 62; kout += 3)
			for (int mode = 0; mode < 2; mode++) {
				struct table t = table_shape(w, kout, kout % 5, mode);
				uint64_t best = UINT64_MAX;
				unsigned sum = 0;

				for (unsigned count = 1; count <= 6 && count <= w; count++) {
					uint64_t index = 2 * count - 1, bits = 0;

					for (unsigned i = 0; i < count; i++)
						bits += (UINT64_C(1) << (w / count + (i < w % count)))
							<< (i > 0);
					bits += mode == TABLE_LATENCY
						    ? (uint64_t)t.entry << index
						    : (UINT64_C(1) << index) + 2 * t.entry - kout;
					best = bits < best ? bits : best;
				}
				assert_int_equal(table_bits(&t), best);
				for (unsigned i = 0; i < t.digits; i++)
					sum += t.bits[i];
				assert_int_equal(sum, w);
				assert_int_equal(t.entry, 2 * kout + (kout > w ? kout - w : 0) + kout % 5);
			}
}

struct world {
	struct table t;
	uint64_t r[N], x[N], z[N], zhat[N];
	uint8_t *p0, *own, *corrections;
};

static void deal(struct world *w, uint64_t *state)
{
	size_t p0 = table_p0_bytes(&w->t, N), own = table_own_bytes(&w->t, N),
	       n = table_correction_bytes(&w->t, N);
	int64_t half = INT64_C(1) << (w->t.w - 1), ends[] = {0, -1, 1, -half, half - 1, -half + 1, half - 2};

	w->p0 = malloc(p0);
	w->own = malloc(own);
	w->corrections = malloc(n); /* exact: a sanitizer sees what is beyond */
	for (size_t i = 0; i < p0; i++)
		w->p0[i] = test_random(state);
	for (size_t i = 0; i < own; i++)
		w->own[i] = test_random(state);
	for (size_t i = 0; i < N; i++) {
		w->r[i] = test_random(state) & ring_mask(w->t.w);
		w->x[i] = test_random(state) & ring_mask(w->t.extra);
		w->z[i] = (i < 7 ? (uint64_t)ends[i] : test_random(state)) & ring_mask(w->t.w);
		if (i % 9 == 8) /* borrows through all digits */
			w->r[i] = w->z[i] ^ 1;
		w->zhat[i] = (w->z[i] + w->r[i]) & ring_mask(w->t.w);
	}
	table_deal(&w->t, N, w->r, w->t.extra ? w->x : NULL, w->p0, w->own, w->corrections);
}

/* P0's blocks as a party would read them from its stream. */
static void half_rows(const struct world *w, const uint16_t *row, const struct table_rows *out)
{
	size_t block = (size_t)w->t.blocks * PRG_BLOCK, base = table_p0_select(&w->t, N);
	uint8_t *blocks = malloc(2 * N * block);

	if (w->t.mode == TABLE_BANDWIDTH)
		memcpy(blocks, w->p0 + base, 2 * N * block);
	for (size_t i = 0; w->t.mode == TABLE_LATENCY && i < N; i++)
		memcpy(blocks + i * block, w->p0 + base + (i * w->t.rows + row[i]) * block, block);
	table_row_p0(&w->t, N, blocks, row, out);
	free(blocks);
}

static void compare(const struct world *w)
{
	uint16_t j0[N], j1[N], row[N];
	uint16_t b0[N], b1[N];
	uint64_t share[8][N];
	struct table_rows r0 = {share[0], share[1], share[2], share[3]},
			  r1 = {share[4], share[5], share[6], share[7]};
	uint64_t y0[N], y1[N], mask = ring_mask(w->t.kout);

	table_lookup_p0(&w->t, N, w->p0, w->zhat, j0);
	table_lookup_p1(&w->t, N, w->corrections, w->zhat, j1);
	for (size_t i = 0; i < N; i++)
		row[i] = j0[i] ^ j1[i];
	if (w->t.mode == TABLE_BANDWIDTH) {
		table_choose_p0(&w->t, N, w->p0 + table_p0_choose(&w->t, N), row, b0);
		table_choose_p1(&w->t, N, w->corrections, row, b1);
		for (size_t i = 0; i < N; i++)
			row[i] = b0[i] ^ b1[i];
	}
	half_rows(w, row, &r0);
	table_row_p1(&w->t, N, w->corrections, row, &r1);
	table_relu(&w->t, N, &r0, w->zhat, y0);
	table_relu(&w->t, N, &r1, w->zhat, y1);
	for (size_t i = 0; i < N; i++) {
		int64_t z = ring_signed(w->z[i], w->t.w);
		uint64_t b = z >= 0;

		assert_true(row[i] < w->t.rows);
		assert_int_equal((r0.b[i] + r1.b[i]) & mask, b & mask);
		assert_int_equal((r0.br[i] + r1.br[i]) & mask, b * w->r[i] & mask);
		if (w->t.extra)
			assert_int_equal((r0.bx[i] + r1.bx[i]) & ring_mask(w->t.extra), b * w->x[i]);
		assert_int_equal((y0[i] + y1[i]) & mask, (uint64_t)(z > 0 ? z : 0) & mask);
	}
}

static void comparisons(void **ctx)
{
	struct err e = {0};
	uint64_t state = 5;

	for (int tier = CPU_REF; tier <= (int)cpu_best(); tier++) {
		assert_int_equal(cpu_select(cpu_name(tier), &e), 0);
		for (unsigned w = 2; w <= 62; w++)
			for (unsigned kout = 1; kout <= 62; kout += w % 3 ? 7 : 4)
				for (int mode = 0; mode < 2; mode++) {
					struct world world = {
					    .t = table_shape(w, kout, kout % 4 ? 0 : kout % 17, mode)};

					deal(&world, &state);
					compare(&world);
					free(world.p0);
					free(world.own);
					free(world.corrections);
				}
	}
	assert_int_equal(cpu_select("auto", &e), 0);
}

/* Every tier deals the same bytes. */
static void tiers(void **ctx)
{
	struct err e = {0};

	for (unsigned w = 2; w <= 62; w += 1)
		for (int mode = 0; mode < 2; mode++) {
			uint8_t *first = NULL;

			for (int tier = CPU_REF; tier <= (int)cpu_best(); tier++) {
				struct world world = {.t = table_shape(w, (w * 7) % 62 + 1, 0, mode)};
				uint64_t state = w;

				assert_int_equal(cpu_select(cpu_name(tier), &e), 0);
				deal(&world, &state);
				if (first)
					assert_memory_equal(first, world.corrections,
							    table_correction_bytes(&world.t, N));
				else
					first = malloc(table_correction_bytes(&world.t, N)),
					memcpy(first, world.corrections, table_correction_bytes(&world.t, N));
				free(world.p0);
				free(world.own);
				free(world.corrections);
			}
			free(first);
		}
	assert_int_equal(cpu_select("auto", &e), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(sizes), cmocka_unit_test(shapes),
					   cmocka_unit_test(comparisons), cmocka_unit_test(tiers)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
