/* SPDX-License-Identifier: Apache-2.0 */
/* A row of kernels is adopted only if it does on this processor what plain C does: for shapes of every digit
 * width. */
#include <stdlib.h>
#include <string.h>

#include "crypto/ring.h"
#include "crypto/table_row.h"

#define COUNT 44 /* comparisons; not a multiple of 8 */

static const struct shape {
	uint8_t w, kout, extra, mode;
} shapes[] = {
    {2, 9, 0, TABLE_BANDWIDTH},	  {9, 12, 3, TABLE_BANDWIDTH},	{17, 40, 0, TABLE_BANDWIDTH},
    {28, 44, 0, TABLE_BANDWIDTH}, {29, 43, 4, TABLE_BANDWIDTH}, {41, 46, 0, TABLE_BANDWIDTH},
    {60, 60, 0, TABLE_BANDWIDTH}, {2, 9, 0, TABLE_LATENCY},	{11, 13, 2, TABLE_LATENCY},
    {16, 28, 0, TABLE_LATENCY},	  {27, 41, 0, TABLE_LATENCY},	{28, 44, 0, TABLE_LATENCY},
    {30, 30, 7, TABLE_LATENCY},	  {34, 45, 0, TABLE_LATENCY},
};

/* splitmix64 */
static uint64_t draw(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static void fill(uint8_t *at, size_t bytes, uint64_t *state)
{
	for (size_t i = 0; i < bytes; i++)
		at[i] = (uint8_t)draw(state);
}

struct sample {
	struct table t;
	uint64_t r[COUNT], x[COUNT], zhat[COUNT];
	uint16_t row[COUNT];
	uint8_t *p0, *own;
};

static void sample_fill(struct sample *s, uint64_t *state)
{
	for (size_t i = 0; i < COUNT; i++) {
		s->r[i] = draw(state) & ring_mask(s->t.w);
		s->x[i] = draw(state) & ring_mask(s->t.extra);
		s->zhat[i] = draw(state) & ring_mask(s->t.w);
		s->row[i] = (uint16_t)(draw(state) % s->t.rows);
	}
	fill(s->p0, table_p0_bytes(&s->t, COUNT), state);
	fill(s->own, table_own_bytes(&s->t, COUNT), state);
}

struct results {
	uint16_t j0[COUNT], j1[COUNT];
	uint64_t words[8][COUNT];
};

static void results_of(const struct table_kernels *k, const struct sample *s, const uint8_t *corrections,
		       struct results *out)
{
	struct table_rows half = {out->words[0], out->words[1], out->words[2], out->words[3]};
	struct table_rows other = {out->words[4], out->words[5], out->words[6], out->words[7]};

	table_lookup_p0_by(k, &s->t, COUNT, s->p0, s->zhat, out->j0);
	table_lookup_p1_by(k, &s->t, COUNT, corrections, s->zhat, out->j1);
	table_row_p0_by(k, &s->t, COUNT, s->p0 + table_p0_select(&s->t, COUNT), s->row, &half);
	table_row_p1_by(k, &s->t, COUNT, corrections, s->row, &other);
}

static int agree(const struct table_kernels *k, const struct sample *s, uint8_t *corrections)
{
	static const struct table_kernels plain;
	size_t bytes = table_correction_bytes(&s->t, COUNT);
	struct results got = {0}, want = {0};

	table_deal_by(&plain, &s->t, COUNT, s->r, s->t.extra ? s->x : NULL, s->p0, s->own, corrections);
	table_deal_by(k, &s->t, COUNT, s->r, s->t.extra ? s->x : NULL, s->p0, s->own, corrections + bytes);
	if (memcmp(corrections, corrections + bytes, bytes))
		return 0;
	results_of(&plain, s, corrections, &want);
	results_of(k, s, corrections, &got);
	return !memcmp(&got, &want, sizeof(got));
}

static int is_right(const struct table_kernels *k, struct table t, uint64_t *state)
{
	struct sample s = {
	    .t = t, .p0 = malloc(table_p0_bytes(&t, COUNT)), .own = malloc(table_own_bytes(&t, COUNT))};
	uint8_t *corrections = malloc(2 * table_correction_bytes(&t, COUNT));
	int right = 0;

	if (s.p0 && s.own && corrections) {
		sample_fill(&s, state);
		right = agree(k, &s, corrections);
	}
	free(s.p0);
	free(s.own);
	free(corrections);
	return right;
}

int table_kernels_are_right(const void *kernels)
{
	const struct table_kernels *k = kernels;
	uint64_t state = 1;

	for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
		const struct shape *s = &shapes[i];

		if (!is_right(k, table_shape(s->w, s->kout, s->extra, s->mode), &state))
			return 0;
	}
	return 1;
}
