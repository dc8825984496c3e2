/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/op/compare.h"

#include <string.h>

static size_t group_size(const struct compare *c, size_t first)
{
	return c->n - first < COMPARE_GROUP ? c->n - first : COMPARE_GROUP;
}

/* Sum over the groups of something that a group of n comparisons takes. */
static uint64_t all_groups(const struct compare *c, size_t (*bytes)(const struct table *, size_t))
{
	uint64_t whole = c->n / COMPARE_GROUP, rest = c->n % COMPARE_GROUP;

	return whole * bytes(&c->t, COMPARE_GROUP) + (rest ? bytes(&c->t, rest) : 0);
}

struct compare compare_new(unsigned w, unsigned kout, unsigned extra, enum table_mode mode, size_t n)
{
	return (struct compare){.t = table_shape(w, kout, extra, mode), .n = n};
}

unsigned compare_moves(const struct compare *c)
{
	return c->t.mode == TABLE_BANDWIDTH ? 3 : 2;
}

unsigned compare_parts(const struct compare *c)
{
	return c->t.mode == TABLE_BANDWIDTH ? COMPARE_PARTS : COMPARE_CHOICE;
}

uint64_t compare_part_bytes(const struct compare *c, enum compare_part part)
{
	switch (part) {
	case COMPARE_ZHAT:
		return ring_packed(c->n, c->t.w);
	case COMPARE_INDEX:
		return ring_packed(c->n, c->t.index);
	case COMPARE_ANSWER:
		return ring_packed(c->n, c->t.index) +
		       (c->t.mode == TABLE_BANDWIDTH ? ring_packed(c->n, 1) : 0);
	default:
		return ring_packed(c->n, 1);
	}
}

uint64_t compare_move_bytes(const struct compare *c, unsigned move)
{
	if (move == 0)
		return compare_part_bytes(c, COMPARE_ZHAT) + compare_part_bytes(c, COMPARE_INDEX);
	return compare_part_bytes(c, move == 1 ? COMPARE_ANSWER : COMPARE_CHOICE);
}

size_t compare_temp(const struct compare *c)
{
	return aligned(c->n * 8) + 3 * aligned(c->n * 2);
}

struct compare_state compare_state(const struct compare *c, uint8_t *temp)
{
	return (struct compare_state){
	    .zhat = (uint64_t *)temp,
	    .j = (uint16_t *)(temp + aligned(c->n * 8)),
	    .row = (uint16_t *)(temp + aligned(c->n * 8) + aligned(c->n * 2)),
	    .bit = (uint16_t *)(temp + aligned(c->n * 8) + 2 * aligned(c->n * 2)),
	};
}

void compare_declare(struct compare *c, struct cost *cost)
{
	size_t group = group_size(c, 0);
	/* the larger user: a group's P0 stream and the dealer's own; a group's rows and blocks */
	uint64_t deal = COMPARE_GROUP * 8 + aligned(table_p0_bytes(&c->t, group)) +
			aligned(table_own_bytes(&c->t, group));
	uint64_t finish = COMPARE_FINISH, most = deal > finish ? deal : finish;

	c->p0 = cost->p0;
	c->own = cost->own;
	c->corrections = cost->corrections;
	cost->p0 += all_groups(c, table_p0_bytes);
	cost->own += all_groups(c, table_own_bytes);
	cost->corrections += all_groups(c, table_correction_bytes);
	cost->comparisons += c->n;
	if (cost->scratch < most)
		cost->scratch = most;
}

void compare_deal(const struct compare *c, struct deal *d, size_t ticket, const uint64_t *rho, unsigned f,
		  const uint64_t *x)
{
	const struct placed *at = placed_row(d->program, d->row);
	uint64_t number = d->first + ticket, p0 = at->p0 + c->p0, own = at->own + c->own;
	uint8_t *out = d->corrections[ticket] + at->corrections + c->corrections;
	uint64_t *r = d->scratch;
	uint8_t *half = (uint8_t *)(r + COMPARE_GROUP),
		*mine = half + aligned(table_p0_bytes(&c->t, group_size(c, 0)));

	for (size_t first = 0; first < c->n; first += COMPARE_GROUP) {
		size_t n = group_size(c, first);

		for (size_t i = 0; i < n; i++)
			r[i] = rho[first + i] >> f;
		prg_read(d->p0, number, p0, half, table_p0_bytes(&c->t, n));
		prg_read(d->own, number, own, mine, table_own_bytes(&c->t, n));
		table_deal(&c->t, n, r, x ? x + first : NULL, half, mine, out);
		p0 += table_p0_bytes(&c->t, n);
		own += table_own_bytes(&c->t, n);
		out += table_correction_bytes(&c->t, n);
	}
}

/* Where a group's pieces lie: whole groups before it. */
static uint64_t group_p0(const struct compare *c, const struct run *r, size_t first)
{
	return placed_row(r->program, r->row)->p0 + c->p0 +
	       first / COMPARE_GROUP * table_p0_bytes(&c->t, COMPARE_GROUP);
}

static const uint8_t *group_corrections(const struct compare *c, const struct run *r, size_t image,
					size_t first)
{
	return r->tickets[image].corrections + placed_row(r->program, r->row)->corrections + c->corrections +
	       first / COMPARE_GROUP * table_correction_bytes(&c->t, COMPARE_GROUP);
}

/* n words of `bits` bits, own share of an index or of a bit. */
static void write_share(const struct compare *c, const uint16_t *share, unsigned bits, uint8_t **out)
{
	ring_pack16(*out, share, c->n, bits);
	*out += ring_packed(c->n, bits);
}

/* row = own share xor the peer's: the index, or the second one, of two rows. */
static void open_row(const struct compare *c, const struct compare_state *s, const uint16_t *share,
		     unsigned bits, const uint8_t **in)
{
	ring_unpack16(s->row, *in, c->n, bits);
	*in += ring_packed(c->n, bits);
	for (size_t i = 0; i < c->n; i++)
		s->row[i] ^= share[i];
}

/* P0 learns ẑ: it looks up its share of the index. */
static void p0_lookup(const struct compare *c, struct run *r, size_t image, const struct compare_state *s,
		      const uint8_t **in)
{
	uint8_t *half = r->scratch;

	ring_unpack(s->zhat, *in, c->n, c->t.w);
	*in += ring_packed(c->n, c->t.w);
	for (size_t first = 0; first < c->n; first += COMPARE_GROUP) {
		size_t n = group_size(c, first);

		prg_read(r->prg, r->tickets[image].number, group_p0(c, r, first), half,
			 table_p0_choose(&c->t, n));
		table_lookup_p0(&c->t, n, half, s->zhat + first, s->j + first);
	}
}

/* P0 has the index: it looks up its share of the chosen bit. */
static void p0_choose(const struct compare *c, struct run *r, size_t image, const struct compare_state *s)
{
	uint8_t *half = r->scratch;

	for (size_t first = 0; first < c->n; first += COMPARE_GROUP) {
		size_t n = group_size(c, first), at = table_p0_choose(&c->t, n);

		prg_read(r->prg, r->tickets[image].number, group_p0(c, r, first) + at, half,
			 table_p0_select(&c->t, n) - at);
		table_choose_p0(&c->t, n, half, s->row + first, s->bit + first);
	}
}

static void p1_lookup(const struct compare *c, struct run *r, size_t image, const struct compare_state *s)
{
	for (size_t first = 0; first < c->n; first += COMPARE_GROUP)
		table_lookup_p1(&c->t, group_size(c, first), group_corrections(c, r, image, first),
				s->zhat + first, s->j + first);
}

static void p1_choose(const struct compare *c, struct run *r, size_t image, const struct compare_state *s)
{
	for (size_t first = 0; first < c->n; first += COMPARE_GROUP)
		table_choose_p1(&c->t, group_size(c, first), group_corrections(c, r, image, first),
				s->row + first, s->bit + first);
}

void compare_p0_part(const struct compare *c, struct run *r, size_t image, const struct compare_state *s,
		     enum compare_part part, const uint8_t **in, uint8_t **out)
{
	switch (part) {
	case COMPARE_ZHAT:
		p0_lookup(c, r, image, s, in);
		break;
	case COMPARE_INDEX:
		open_row(c, s, s->j, c->t.index, in);
		if (c->t.mode == TABLE_BANDWIDTH)
			p0_choose(c, r, image, s);
		break;
	case COMPARE_ANSWER:
		write_share(c, s->j, c->t.index, out);
		if (c->t.mode == TABLE_BANDWIDTH)
			write_share(c, s->bit, 1, out);
		break;
	default:
		open_row(c, s, s->bit, 1, in);
	}
}

void compare_p1_part(const struct compare *c, struct run *r, size_t image, const struct compare_state *s,
		     enum compare_part part, const uint8_t **in, uint8_t **out)
{
	switch (part) {
	case COMPARE_ZHAT:
		ring_pack(*out, s->zhat, c->n, c->t.w);
		*out += ring_packed(c->n, c->t.w);
		break;
	case COMPARE_INDEX:
		p1_lookup(c, r, image, s);
		write_share(c, s->j, c->t.index, out);
		break;
	case COMPARE_ANSWER:
		open_row(c, s, s->j, c->t.index, in);
		if (c->t.mode == TABLE_BANDWIDTH) {
			p1_choose(c, r, image, s);
			open_row(c, s, s->bit, 1, in);
		}
		break;
	default:
		write_share(c, s->bit, 1, out);
	}
}

void compare_p0(const struct compare *c, struct run *r, size_t image, const struct compare_state *s,
		unsigned move, const uint8_t **in, uint8_t **out)
{
	if (move == 0)
		compare_p0_part(c, r, image, s, COMPARE_ZHAT, in, out);
	compare_p0_part(c, r, image, s, COMPARE_INDEX + move, in, out);
}

void compare_p1(const struct compare *c, struct run *r, size_t image, const struct compare_state *s,
		unsigned move, const uint8_t **in, uint8_t **out)
{
	if (move == 0)
		compare_p1_part(c, r, image, s, COMPARE_ZHAT, in, out);
	compare_p1_part(c, r, image, s, COMPARE_INDEX + move, in, out);
}

/* P0's half of a row is read from its stream where the opened row is, and nowhere else; of two rows both are
 * read. */
static void p0_rows(const struct compare *c, struct run *r, size_t image, const struct compare_state *s,
		    size_t first, size_t n, const struct table_rows *rows, uint64_t *blocks)
{
	uint64_t at = group_p0(c, r, first) + table_p0_select(&c->t, n), number = r->tickets[image].number;
	uint8_t *half = (uint8_t *)(blocks + 2 * n);

	if (c->t.mode == TABLE_BANDWIDTH) {
		prg_read(r->prg, number, at, half, n * 2 * c->t.blocks * PRG_BLOCK);
	} else {
		for (size_t i = 0; i < n; i++)
			for (unsigned b = 0; b < c->t.blocks; b++)
				blocks[i * c->t.blocks + b] =
				    at / PRG_BLOCK + (i * c->t.rows + s->row[first + i]) * c->t.blocks + b;
		prg_gather(r->prg, number, blocks, n * c->t.blocks, half);
	}
	table_row_p0(&c->t, n, half, s->row + first, rows);
}

struct table_rows compare_rows(const struct compare *c, struct run *r, size_t image,
			       const struct compare_state *s, size_t first, size_t n, void *scratch)
{
	uint64_t *words = scratch;
	struct table_rows rows = {words, words + COMPARE_GROUP, words + 2 * COMPARE_GROUP,
				  words + 3 * COMPARE_GROUP};

	if (r->party == P0)
		p0_rows(c, r, image, s, first, n, &rows, words + 4 * COMPARE_GROUP);
	else
		table_row_p1(&c->t, n, group_corrections(c, r, image, first), s->row + first, &rows);
	return rows;
}

void compare_relu(const struct compare *c, struct run *r, size_t image, const struct compare_state *s,
		  uint64_t *out)
{
	for (size_t first = 0; first < c->n; first += COMPARE_GROUP) {
		size_t n = group_size(c, first);
		struct table_rows rows = compare_rows(c, r, image, s, first, n, r->scratch);

		table_relu(&c->t, n, &rows, s->zhat + first, out + first);
	}
}
