/* SPDX-License-Identifier: Apache-2.0 */
/* max: windowed maximum of masked words z = y / 2^f in the ring 2^w, w = k - f, as a masked wire of w bits
 * (PROTOCOL.md §5).
 *
 * A tree of comparisons; each level, for each pair (i, j), on the difference ẑ_i - ẑ_j whose mask
 * r_i - r_j costs nothing:
 *   correlation  one comparison an element, w → w; e0 from P0's stream, c1 from P1's
 *   moves        those of the comparison; P0's last one (latency: move 1; bandwidth: one more, move 3)
 *                carries s0 + e0, where s0 + s1 = ReLU(z_i - z_j)
 *   output       P1: m̂ = ẑ_j + (s0 + e0) + s1 + c1 = max(z_i, z_j) + (r_j + e0 + c1)
 */
#include <string.h>

#include "protocol/op/tree.h"

/* Moves of one level. The re-masking words travel with P0's index bits where P0 can already finish. */
static unsigned level_moves(const struct compare *c)
{
	return c->t.mode == TABLE_BANDWIDTH ? 4 : 2;
}

static int carries_remask(const struct compare *c, unsigned move)
{
	return move == level_moves(c) - 1;
}

static uint64_t level_bytes(const struct compare *c, unsigned move)
{
	return (move < compare_moves(c) ? compare_move_bytes(c, move) : 0) +
	       (carries_remask(c, move) ? ring_packed(c->n, c->t.w) : 0);
}

static size_t state_bytes(const struct tree *tree)
{
	size_t most = 0;

	for (uint32_t l = 0; l < tree->levels; l++)
		if (most < compare_temp(&tree->level[l].c))
			most = compare_temp(&tree->level[l].c);
	return most;
}

/* Temp of one image: the comparison's state, then the arrays after even and odd levels (P1). */
static uint64_t *array_after(const struct tree *tree, uint8_t *temp, uint32_t level)
{
	return (uint64_t *)(temp + state_bytes(tree) + level % 2 * aligned(tree->widest * 8));
}

static int max_declare(const struct tape *tape, const struct row *row, struct cost *cost, struct program *p,
		       struct err *e)
{
	const struct value *in = &tape->values[row->in[0]];
	unsigned w = in->k - in->f;
	struct pool_sets sets;
	struct tree *tree;
	int result;

	if (pool_sets_new(&sets, &row->post, e))
		return -1;
	result = tree_new(&tree, &sets, e);
	pool_sets_free(&sets);
	if (result)
		return -1;
	program_prepared(p, tree);
	for (uint32_t l = 0, move = 0; l < tree->levels; l++) {
		struct level *at = &tree->level[l];

		at->c = compare_new(w, w, 0, row->mode, at->pairs);
		compare_declare(&at->c, cost);
		at->p0 = cost->p0;
		at->p1 = cost->p1;
		at->move = move;
		cost->p0 += stream_words(at->pairs);
		cost->p1 += stream_words(at->pairs);
		for (unsigned m = 0; m < level_moves(&at->c); m++, move++)
			if (program_move(p, m % 2 ? P0 : P1, level_bytes(&at->c, m), e))
				return -1;
	}
	cost->temp = state_bytes(tree) + 2 * aligned(tree->widest * 8);
	/* the dealer's arrays and differences; a party's shares beside what the comparison needs */
	cost->scratch =
	    aligned(cost->scratch) + 4 * aligned(tree->widest * 8) + aligned(shape_size(in->shape) * 8);
	return 0;
}

static const struct tree *tree_of(const struct program *p, size_t row)
{
	return p->rows[row].prepared;
}

/* Behind what compare.c uses of the scratch memory: buffer number i of `widest` words. */
static uint64_t *buffer(const struct program *p, size_t row, void *scratch, unsigned i)
{
	const struct tree *tree = tree_of(p, row);
	size_t in = aligned(value_size(p, p->tape->rows[row].in[0]) * 8), most = aligned(tree->widest * 8);
	uint8_t *end = (uint8_t *)scratch + p->rows[row].cost.scratch - in - 4 * most;

	return (uint64_t *)(end + i * most);
}

static void max_deal(struct deal *d, const struct row *row)
{
	const struct tree *tree = tree_of(d->program, d->row);
	const struct placed *at = placed_row(d->program, d->row);
	const struct value *in = value_at(d->program, row->in[0]);
	unsigned w = in->k - in->f;
	uint64_t *difference = buffer(d->program, d->row, d->scratch, 2),
		 *words = buffer(d->program, d->row, d->scratch, 3);

	for (size_t t = 0; t < d->tickets; t++) {
		const uint64_t *rho = words_of(d->mask, d->program, row->in[0], t);
		uint64_t *r = buffer(d->program, d->row, d->scratch, 4),
			 *out = words_of(d->mask, d->program, row->out, t);

		for (size_t i = 0; i < shape_size(in->shape); i++)
			r[i] = rho[i] >> in->f;
		for (uint32_t l = 0; l < tree->levels; l++) {
			const struct level *level = &tree->level[l];
			uint64_t *next = buffer(d->program, d->row, d->scratch, l % 2);

			for (uint32_t i = 0; i < level->pairs; i++)
				difference[i] = (r[level->i[i]] - r[level->j[i]]) & ring_mask(w);
			compare_deal(&level->c, d, t, difference, 0, NULL);
			prg_words(d->p0, d->first + t, at->p0 + level->p0, words, level->pairs, w);
			for (uint32_t i = 0; i < level->pairs; i++)
				difference[i] = r[level->j[i]] + words[i];
			prg_words(d->p1, d->first + t, at->p1 + level->p1, words, level->pairs, w);
			for (uint32_t i = 0; i < level->passes; i++)
				next[level->pairs + i] = r[level->pass[i]];
			ring_add(next, difference, words, level->pairs, w);
			r = next;
		}
		for (uint32_t i = 0; i < tree->outputs; i++)
			out[i] = r[tree->out[i]];
	}
}

/* Which level a move of the row belongs to. */
static uint32_t level_at(const struct tree *tree, unsigned move)
{
	return move / level_moves(&tree->level[0].c);
}

static void max_p0(struct run *r, const struct row *row, unsigned move)
{
	const struct tree *tree = tree_of(r->program, r->row);
	const struct level *level;
	uint64_t *share = buffer(r->program, r->row, r->scratch, 0),
		 *words = buffer(r->program, r->row, r->scratch, 1);

	if (!tree->levels)
		return;
	level = &tree->level[level_at(tree, move)];
	move -= level->move;
	for (size_t b = 0; b < r->batch; b++) {
		struct compare_state s =
		    compare_state(&level->c, r->temp + b * placed_row(r->program, r->row)->cost.temp);
		size_t bytes = move_bytes(r, level->move + move);
		const uint8_t *in = r->in + b * bytes;
		uint8_t *out = r->out + b * bytes;

		if (move < compare_moves(&level->c))
			compare_p0(&level->c, r, b, &s, move, &in, &out);
		if (!carries_remask(&level->c, move))
			continue;
		compare_relu(&level->c, r, b, &s, share);
		prg_words(r->prg, r->tickets[b].number, placed_row(r->program, r->row)->p0 + level->p0, words,
			  level->pairs, level->c.t.w);
		ring_add(share, share, words, level->pairs, level->c.t.w);
		ring_pack(out, share, level->pairs, level->c.t.w);
	}
}

/* P1's words before a level: the wire's upper bits, or the array after the level before. */
static const uint64_t *array_before(struct run *r, const struct row *row, size_t image, uint32_t level)
{
	const struct tree *tree = tree_of(r->program, r->row);
	const struct value *in = value_at(r->program, row->in[0]);
	const uint64_t *y = words_of(r->values, r->program, row->in[0], image);
	uint64_t *z = buffer(r->program, r->row, r->scratch, 4);

	if (level > 0)
		return array_after(tree, r->temp + image * placed_row(r->program, r->row)->cost.temp,
				   level - 1);
	for (size_t i = 0; i < shape_size(in->shape); i++)
		z[i] = y[i] >> in->f;
	return z;
}

/* P1 reads s0 + e0 and has the level's result. */
static void p1_remask(struct run *r, const struct row *row, size_t image, uint32_t l,
		      const struct compare_state *s, const uint8_t *in)
{
	const struct level *level = &tree_of(r->program, r->row)->level[l];
	const uint64_t *z = array_before(r, row, image, l);
	uint64_t *share = buffer(r->program, r->row, r->scratch, 0),
		 *words = buffer(r->program, r->row, r->scratch, 1);
	uint64_t *next = array_after(tree_of(r->program, r->row),
				     r->temp + image * placed_row(r->program, r->row)->cost.temp, l);
	unsigned w = level->c.t.w;

	compare_relu(&level->c, r, image, s, share);
	ring_unpack(words, in, level->pairs, w);
	ring_add(share, share, words, level->pairs, w);
	prg_words(r->prg, r->tickets[image].number, placed_row(r->program, r->row)->p1 + level->p1, words,
		  level->pairs, w);
	ring_add(share, share, words, level->pairs, w);
	for (uint32_t i = 0; i < level->pairs; i++)
		next[i] = (z[level->j[i]] + share[i]) & ring_mask(w);
	for (uint32_t i = 0; i < level->passes; i++)
		next[level->pairs + i] = z[level->pass[i]];
}

static void p1_output(struct run *r, const struct row *row, size_t image)
{
	const struct tree *tree = tree_of(r->program, r->row);
	const uint64_t *z = array_before(r, row, image, tree->levels);
	uint64_t *out = words_of(r->values, r->program, row->out, image);

	for (uint32_t i = 0; i < tree->outputs; i++)
		out[i] = z[tree->out[i]];
}

static void max_p1(struct run *r, const struct row *row, unsigned move)
{
	const struct tree *tree = tree_of(r->program, r->row);
	uint32_t l = tree->levels ? level_at(tree, move) : 0;
	const struct level *level = &tree->level[l];
	unsigned first = level->move;

	for (size_t b = 0; b < r->batch; b++) {
		struct compare_state s;
		const uint8_t *in;
		uint8_t *out;

		if (tree->levels) {
			s = compare_state(&level->c, r->temp + b * placed_row(r->program, r->row)->cost.temp);
			in = r->in + b * move_bytes(r, move);
			out = r->out + b * move_bytes(r, move);
			if (move == first) {
				const uint64_t *z = array_before(r, row, b, l);

				for (uint32_t i = 0; i < level->pairs; i++)
					s.zhat[i] =
					    (z[level->i[i]] - z[level->j[i]]) & ring_mask(level->c.t.w);
			}
			if (move - first < compare_moves(&level->c))
				compare_p1(&level->c, r, b, &s, move - first, &in, &out);
			if (carries_remask(&level->c, move - first))
				p1_remask(r, row, b, l, &s, in);
		}
		if (!tree->levels || (l == tree->levels - 1 && carries_remask(&level->c, move - first)))
			p1_output(r, row, b);
	}
}

const struct op operator_max = {.name = "max",
				.declare = max_declare,
				.release = tree_free,
				.deal = max_deal,
				.p0 = max_p0,
				.p1 = max_p1};
