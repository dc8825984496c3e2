/* SPDX-License-Identifier: Apache-2.0 */
/* mask: x (shared) becomes the difference x̄ = x - a (PROTOCOL.md §2).
 *
 *   correlation  a uniform mod 2^k, from P0's stream; nothing is dealt
 *   move 0       P0 → P1: e = x0 - a
 *   output       P1: x̄ = e + x1 = x - a;   P0 and D: a
 */
#include "protocol/op/share.h"

static int mask_declare(const struct tape *tape, const struct row *row, struct cost *cost, struct program *p,
			struct err *e)
{
	const struct value *v = &tape->values[row->out];
	size_t n = shape_size(v->shape);

	cost->p0 = stream_words(n);
	cost->scratch = n * 8;
	return program_move(p, P0, ring_packed(n, v->k), e);
}

static void mask_deal(struct deal *d, const struct row *row)
{
	size_t n = value_size(d->program, row->out);

	for (size_t t = 0; t < d->tickets; t++)
		prg_words(d->p0, d->first + t, placed_row(d->program, d->row)->p0,
			  words_of(d->mask, d->program, row->out, t), n, value_at(d->program, row->out)->k);
}

static void mask_ahead(struct ahead *a, const struct row *row)
{
	size_t n = value_size(a->program, row->out);

	for (size_t t = 0; t < a->tickets; t++)
		prg_words(a->prg, a->first + t, placed_row(a->program, a->row)->p0,
			  words_of(a->a, a->program, row->out, t), n, value_at(a->program, row->out)->k);
}

static void mask_p0(struct run *r, const struct row *row, unsigned move)
{
	size_t n = value_size(r->program, row->out);
	unsigned k = value_at(r->program, row->out)->k;
	uint64_t *e = r->scratch;

	for (size_t b = 0; b < r->batch; b++) {
		prg_words(r->prg, r->tickets[b].number, placed_row(r->program, r->row)->p0, e, n, k);
		ring_sub(e, words_of(r->values, r->program, row->in[0], b), e, n, k);
		ring_pack(r->out + b * move_bytes(r, move), e, n, k);
	}
}

static void mask_p1(struct run *r, const struct row *row, unsigned move)
{
	size_t n = value_size(r->program, row->out);
	unsigned k = value_at(r->program, row->out)->k;

	for (size_t b = 0; b < r->batch; b++) {
		uint64_t *x = words_of(r->values, r->program, row->out, b);

		ring_unpack(x, r->in + b * move_bytes(r, move), n, k);
		ring_add(x, x, words_of(r->values, r->program, row->in[0], b), n, k);
	}
}

const struct op operator_mask = {.name = "mask",
				 .declare = mask_declare,
				 .deal = mask_deal,
				 .ahead = mask_ahead,
				 .p0 = mask_p0,
				 .p1 = mask_p1};
