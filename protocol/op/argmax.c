/* SPDX-License-Identifier: Apache-2.0 */
/* argmax: the index of the greatest of C masked words (f = 0), ties to the lower, as shares mod 2^c,
 * c = ⌈log2 C⌉ (PROTOCOL.md §5).
 *
 * A tournament. Each element carries its value ẑ = z + r mod 2^w and its index î = idx + q mod 2^c; at
 * first î is public, q = 0.
 * Each level, for each pair (i, j), i the lower index:
 *   correlation  a comparison of ẑ_i - ẑ_j with the extra mask x = q_i - q_j; e0, e0' from P0's stream,
 *                c1, c1' from P1's
 *   moves        those of the comparison; with move 0 P1 sends Δ̂ = î_i - î_j (not at the first level, where
 *                both know it); P0's last one carries s0 + e0 and t0 + e0'
 *   with         s = ReLU(z_i - z_j), t = b·Δ̂ - b·x = b·(idx_i - idx_j)
 *   output       P1: ẑ = ẑ_j + (s0 + e0) + s1 + c1,  î = î_j + (t0 + e0') + t1 + c1'
 * The last level needs no value: D → P1 gives u = q_j - v0 (v0 from P0's stream); the shares are
 * t0 - v0 and t1 + î_j - u.
 */
#include <string.h>

#include "protocol/op/tree.h"

/* What the functions below need to know of a row. */
struct tournament {
	const struct tree *tree;
	const struct placed *at;
	unsigned w, c;
	size_t classes;
};

static unsigned index_bits(const struct tape *tape, const struct row *row)
{
	return tape->values[row->out].k;
}

static struct tournament tournament(const struct program *p, size_t row)
{
	const struct row *r = &p->tape->rows[row];

	return (struct tournament){p->rows[row].prepared, &p->rows[row], value_at(p, r->in[0])->k,
				   index_bits(p->tape, r), value_size(p, r->in[0])};
}

static int is_last(const struct tree *tree, uint32_t l)
{
	return l == tree->levels - 1;
}

static unsigned level_moves(const struct tree *tree, uint32_t l)
{
	const struct compare *c = &tree->level[l].c;

	return compare_moves(c) + (c->t.mode == TABLE_BANDWIDTH && !is_last(tree, l));
}

/* P0's last move of a level that is not the last carries the re-masking words. */
static int carries_remask(const struct tree *tree, uint32_t l, unsigned move)
{
	return !is_last(tree, l) && move == level_moves(tree, l) - 1;
}

static uint64_t level_bytes(const struct tree *tree, uint32_t l, unsigned move, unsigned w, unsigned c)
{
	const struct compare *compare = &tree->level[l].c;
	size_t n = compare->n;

	return (move < compare_moves(compare) ? compare_move_bytes(compare, move) : 0) +
	       (move == 0 && l > 0 ? ring_packed(n, c) : 0) +
	       (carries_remask(tree, l, move) ? ring_packed(n, w) + ring_packed(n, c) : 0);
}

/* One array of the tournament: values or indices of at most `classes` elements. */
static uint64_t *array(const struct tournament *t, void *base, unsigned i)
{
	return (uint64_t *)((uint8_t *)base + i * aligned(t->classes * 8));
}

enum { VALUES, INDICES = 2, DELTA = 4, ARRAYS };

static int argmax_tree(struct tree **tree, size_t classes, struct err *e)
{
	uint32_t start[2] = {0, classes}, member[classes];

	for (size_t i = 0; i < classes; i++)
		member[i] = i;
	return tree_new(tree, &(struct pool_sets){1, start, member, classes}, e);
}

static int argmax_declare(const struct tape *tape, const struct row *row, struct cost *cost,
			  struct program *p, struct err *e)
{
	const struct value *in = &tape->values[row->in[0]];
	unsigned c = index_bits(tape, row), move = 0;
	struct tree *tree;

	if (in->k < c || c > 16)
		return err_set(e, ERR_INPUT, "argmax of %zu classes does not fit words of %u bits",
			       shape_size(in->shape), in->k);
	if (argmax_tree(&tree, shape_size(in->shape), e))
		return -1;
	program_prepared(p, tree);
	for (uint32_t l = 0; l < tree->levels; l++) {
		struct level *at = &tree->level[l];

		at->c = compare_new(in->k, is_last(tree, l) ? c : in->k, l ? c : 0, row->mode, at->pairs);
		compare_declare(&at->c, cost);
		at->p0 = cost->p0;
		at->p1 = cost->p1;
		at->move = move;
		cost->p0 += 2 * stream_words(at->pairs);
		cost->p1 += 2 * stream_words(at->pairs);
		if (cost->temp < compare_temp(&at->c))
			cost->temp = compare_temp(&at->c);
		for (unsigned m = 0; m < level_moves(tree, l); m++, move++)
			if (program_move(p, m % 2 ? P0 : P1, level_bytes(tree, l, m, in->k, c), e))
				return -1;
	}
	if (tree->levels)
		cost->corrections += ring_packed(1, c);
	cost->temp += ARRAYS * aligned(shape_size(in->shape) * 8);
	cost->scratch = aligned(cost->scratch) + (ARRAYS + 4) * aligned(shape_size(in->shape) * 8);
	return 0;
}

/* Arrays behind what compare.c uses of the scratch memory; behind the comparison's state in temp. */
static void *scratch_arrays(const struct tournament *t, void *scratch)
{
	return (uint8_t *)scratch + t->at->cost.scratch - (ARRAYS + 4) * aligned(t->classes * 8);
}

static void *temp_arrays(const struct tournament *t, uint8_t *temp)
{
	return temp + t->at->cost.temp - ARRAYS * aligned(t->classes * 8);
}

/* next = from[j] + add for the pairs, from[pass] for the others; mod 2^k. */
static void advance(const struct level *level, const uint64_t *from, const uint64_t *add, uint64_t *next,
		    unsigned k)
{
	for (uint32_t i = 0; i < level->pairs; i++)
		next[i] = (from[level->j[i]] + add[i]) & ring_mask(k);
	for (uint32_t i = 0; i < level->passes; i++)
		next[level->pairs + i] = from[level->pass[i]];
}

static void differences(const struct level *level, const uint64_t *from, uint64_t *out, unsigned k)
{
	for (uint32_t i = 0; i < level->pairs; i++)
		out[i] = (from[level->i[i]] - from[level->j[i]]) & ring_mask(k);
}

/* e0 + c1 of a level, both halves known to the dealer. */
static void deal_remask(struct deal *d, const struct tournament *t, const struct level *level,
			uint64_t number, uint64_t offset, unsigned k, uint64_t *sum, uint64_t *words)
{
	prg_words(d->p0, number, t->at->p0 + level->p0 + offset, sum, level->pairs, k);
	prg_words(d->p1, number, t->at->p1 + level->p1 + offset, words, level->pairs, k);
	ring_add(sum, sum, words, level->pairs, k);
}

static void deal_ticket(struct deal *d, const struct tournament *t, size_t ticket, const uint64_t *rho)
{
	void *arrays = scratch_arrays(t, d->scratch);
	uint64_t *r = array(t, arrays, VALUES), *q = array(t, arrays, INDICES), *x = array(t, arrays, DELTA);
	uint64_t *sum = array(t, arrays, ARRAYS), *words = array(t, arrays, ARRAYS + 1),
		 number = d->first + ticket, v0, u;

	memcpy(r, rho, t->classes * sizeof(*r));
	memset(q, 0, t->classes * sizeof(*q));
	for (uint32_t l = 0; l < t->tree->levels; l++) {
		const struct level *level = &t->tree->level[l];
		uint64_t *r_next = array(t, arrays, VALUES + (l + 1) % 2),
			 *q_next = array(t, arrays, INDICES + (l + 1) % 2);

		differences(level, r, sum, t->w);
		differences(level, q, x, t->c);
		compare_deal(&level->c, d, ticket, sum, 0, l ? x : NULL);
		if (is_last(t->tree, l)) {
			prg_words(d->p0, number, t->at->p0 + level->p0, &v0, 1, t->c);
			u = q[level->j[0]] - v0;
			ring_pack(d->corrections[ticket] + t->at->corrections + t->at->cost.corrections -
				      ring_packed(1, t->c),
				  &u, 1, t->c);
			break;
		}
		deal_remask(d, t, level, number, 0, t->w, sum, words);
		advance(level, r, sum, r_next, t->w);
		deal_remask(d, t, level, number, stream_words(level->pairs), t->c, sum, words);
		advance(level, q, sum, q_next, t->c);
		r = r_next;
		q = q_next;
	}
}

static void argmax_deal(struct deal *d, const struct row *row)
{
	struct tournament t = tournament(d->program, d->row);

	for (size_t i = 0; i < d->tickets; i++)
		deal_ticket(d, &t, i, words_of(d->mask, d->program, row->in[0], i));
}

static uint32_t level_at(const struct tree *tree, unsigned move)
{
	uint32_t l = 0;

	while (l + 1 < tree->levels && move >= tree->level[l + 1].move)
		l++;
	return l;
}

/* Shares of s = ReLU(z_i - z_j) (not at the last level) and t = b·Δ̂ - b·x of one image. */
static void level_shares(const struct tournament *t, struct run *r, size_t image, uint32_t l,
			 const struct compare_state *s, const uint64_t *delta, uint64_t *value,
			 uint64_t *index)
{
	const struct level *level = &t->tree->level[l];

	for (size_t first = 0; first < level->pairs; first += COMPARE_GROUP) {
		size_t n = level->pairs - first < COMPARE_GROUP ? level->pairs - first : COMPARE_GROUP;

		struct table_rows rows = compare_rows(&level->c, r, image, s, first, n, r->scratch);

		for (size_t i = 0; i < n; i++)
			index[first + i] =
			    (rows.b[i] * delta[first + i] - (l ? rows.bx[i] : 0)) & ring_mask(t->c);
		if (!is_last(t->tree, l))
			table_relu(&level->c.t, n, &rows, s->zhat + first, value + first);
	}
}

/* The public differences of the first level: element numbers are the indices. */
static void first_delta(const struct tournament *t, uint64_t *delta)
{
	const struct level *level = &t->tree->level[0];

	for (uint32_t i = 0; i < level->pairs; i++)
		delta[i] = (level->i[i] - level->j[i]) & ring_mask(t->c);
}

static void p0_remask(const struct tournament *t, struct run *r, size_t image, uint32_t l, uint64_t *value,
		      uint64_t *index, uint8_t *out)
{
	const struct level *level = &t->tree->level[l];
	uint64_t number = r->tickets[image].number, at = t->at->p0 + level->p0;
	uint64_t *words = array(t, scratch_arrays(t, r->scratch), ARRAYS + 2);

	prg_words(r->prg, number, at, words, level->pairs, t->w);
	ring_add(value, value, words, level->pairs, t->w);
	ring_pack(out, value, level->pairs, t->w);
	prg_words(r->prg, number, at + stream_words(level->pairs), words, level->pairs, t->c);
	ring_add(index, index, words, level->pairs, t->c);
	ring_pack(out + ring_packed(level->pairs, t->w), index, level->pairs, t->c);
}

static void p0_level(const struct tournament *t, struct run *r, size_t image, uint32_t l, unsigned move,
		     const uint8_t *in, uint8_t *out, uint64_t *result)
{
	const struct level *level = &t->tree->level[l];
	uint8_t *temp = r->temp + image * t->at->cost.temp;
	struct compare_state s = compare_state(&level->c, temp);
	uint64_t *delta = array(t, temp_arrays(t, temp), DELTA);
	uint64_t *value = array(t, scratch_arrays(t, r->scratch), ARRAYS),
		 *index = array(t, scratch_arrays(t, r->scratch), ARRAYS + 1);
	uint64_t v0;

	if (move < compare_moves(&level->c))
		compare_p0(&level->c, r, image, &s, move, &in, &out);
	if (move == 0 && l > 0)
		ring_unpack(delta, in, level->pairs, t->c);
	else if (move == 0)
		first_delta(t, delta);
	if (move < level_moves(t->tree, l) - 1)
		return;
	level_shares(t, r, image, l, &s, delta, value, index);
	if (!is_last(t->tree, l)) {
		p0_remask(t, r, image, l, value, index, out);
	} else {
		prg_words(r->prg, r->tickets[image].number, t->at->p0 + level->p0, &v0, 1, t->c);
		*result = (index[0] - v0) & ring_mask(t->c);
	}
}

static void argmax_p0(struct run *r, const struct row *row, unsigned move)
{
	struct tournament t = tournament(r->program, r->row);
	uint32_t l = level_at(t.tree, move);

	for (size_t b = 0; b < r->batch; b++) {
		uint64_t *result = words_of(r->values, r->program, row->out, b);

		if (t.tree->levels)
			p0_level(&t, r, b, l, move - t.tree->level[l].move, r->in + b * move_bytes(r, move),
				 r->out + b * move_bytes(r, move), result);
		else
			*result = 0;
	}
}

/* P1 reads s0 + e0 and t0 + e0' and has the arrays of the next level. */
static void p1_remask(const struct tournament *t, struct run *r, size_t image, uint32_t l, uint64_t *value,
		      uint64_t *index, void *arrays, const uint8_t *in)
{
	const struct level *level = &t->tree->level[l];
	uint64_t number = r->tickets[image].number, at = t->at->p1 + level->p1;
	uint64_t *words = array(t, scratch_arrays(t, r->scratch), ARRAYS + 2);

	ring_unpack(words, in, level->pairs, t->w);
	ring_add(value, value, words, level->pairs, t->w);
	prg_words(r->prg, number, at, words, level->pairs, t->w);
	ring_add(value, value, words, level->pairs, t->w);
	advance(level, array(t, arrays, VALUES + l % 2), value, array(t, arrays, VALUES + (l + 1) % 2), t->w);
	ring_unpack(words, in + ring_packed(level->pairs, t->w), level->pairs, t->c);
	ring_add(index, index, words, level->pairs, t->c);
	prg_words(r->prg, number, at + stream_words(level->pairs), words, level->pairs, t->c);
	ring_add(index, index, words, level->pairs, t->c);
	advance(level, array(t, arrays, INDICES + l % 2), index, array(t, arrays, INDICES + (l + 1) % 2),
		t->c);
}

/* The share of the winner's index: t1 + î_j - u. */
static uint64_t p1_result(const struct tournament *t, struct run *r, size_t image, uint32_t l, uint64_t index,
			  void *arrays)
{
	const uint8_t *dealt = r->tickets[image].corrections + t->at->corrections + t->at->cost.corrections -
			       ring_packed(1, t->c);
	uint64_t u;

	ring_unpack(&u, dealt, 1, t->c);
	return (index + array(t, arrays, INDICES + l % 2)[t->tree->level[l].j[0]] - u) & ring_mask(t->c);
}

static void p1_begin(const struct tournament *t, uint32_t l, const uint64_t *in, void *arrays,
		     const struct compare_state *s)
{
	const struct level *level = &t->tree->level[l];
	uint64_t *value = array(t, arrays, VALUES + l % 2), *index = array(t, arrays, INDICES + l % 2);

	for (size_t i = 0; l == 0 && i < t->classes; i++) {
		value[i] = in[i];
		index[i] = i;
	}
	differences(level, value, s->zhat, t->w);
	differences(level, index, array(t, arrays, DELTA), t->c);
}

static void p1_level(const struct tournament *t, struct run *r, const struct row *row, size_t image,
		     uint32_t l, unsigned move, const uint8_t *in, uint8_t *out)
{
	const struct level *level = &t->tree->level[l];
	uint8_t *temp = r->temp + image * t->at->cost.temp;
	struct compare_state s = compare_state(&level->c, temp);
	void *arrays = temp_arrays(t, temp);
	uint64_t *value = array(t, scratch_arrays(t, r->scratch), ARRAYS),
		 *index = array(t, scratch_arrays(t, r->scratch), ARRAYS + 1);

	if (move == 0)
		p1_begin(t, l, words_of(r->values, r->program, row->in[0], image), arrays, &s);
	if (move < compare_moves(&level->c))
		compare_p1(&level->c, r, image, &s, move, &in, &out);
	if (move == 0 && l > 0)
		ring_pack(out, array(t, arrays, DELTA), level->pairs, t->c);
	if (move < level_moves(t->tree, l) - 1)
		return;
	level_shares(t, r, image, l, &s, array(t, arrays, DELTA), value, index);
	if (is_last(t->tree, l))
		*words_of(r->values, r->program, row->out, image) =
		    p1_result(t, r, image, l, index[0], arrays);
	else
		p1_remask(t, r, image, l, value, index, arrays, in);
}

static void argmax_p1(struct run *r, const struct row *row, unsigned move)
{
	struct tournament t = tournament(r->program, r->row);
	uint32_t l = level_at(t.tree, move);

	for (size_t b = 0; b < r->batch; b++) {
		if (t.tree->levels)
			p1_level(&t, r, row, b, l, move - t.tree->level[l].move,
				 r->in + b * move_bytes(r, move), r->out + b * move_bytes(r, move));
		else
			*words_of(r->values, r->program, row->out, b) = 0;
	}
}

const struct op operator_argmax = {.name = "argmax",
				   .declare = argmax_declare,
				   .release = tree_free,
				   .deal = argmax_deal,
				   .p0 = argmax_p0,
				   .p1 = argmax_p1};
