/* SPDX-License-Identifier: Apache-2.0 */
/* linear: y = pool(Σ_t L_t(x_t) + bias) with the matrix triple of PROTOCOL.md §2; L_t is W_t or a public
 * shift 2^s.
 *
 * To a masked wire:
 *   correlation  a of each x_t (op mask), B of the epoch; e0 from P0's stream, c1 from P1's; nothing
 *                is streamed
 *   offline      P0 → P1: δ = pool(Σ F_t·a_t + Σ 2^s·a_s) + e0
 *   D            ρ = e0 + c1 - pool(Σ B_t·a_t)
 *   output       P1: ŷ = pool(Σ W_t·x̄_t + Σ 2^s·x̄_s + bias) + δ + c1 = y + ρ
 * To shares (the last layer):
 *   correlation  e0 from P0's stream; D → P1: c1 = pool(Σ B_t·a_t) - e0
 *   output       P0: pool(Σ F_t·a_t + Σ 2^s·a_s) + e0;   P1: pool(Σ W_t·x̄_t + Σ 2^s·x̄_s + bias) + c1
 */
#include <string.h>

#include "protocol/op/share.h"

static int is_masked(const struct program *p, const struct row *row)
{
	return value_at(p, row->out)->form == FORM_MASKED;
}

static int linear_declare(const struct tape *tape, const struct row *row, struct cost *cost,
			  struct program *p, struct err *e)
{
	const struct value *v = &tape->values[row->out];
	size_t n = shape_size(v->shape);

	cost->p0 = stream_words(n);
	cost->scratch = n * 8;
	cost->wide = row->has_post ? shape_size(row->post.in) : 0;
	if (v->form == FORM_MASKED) {
		cost->p1 = stream_words(n);
		cost->delta = ring_packed(n, v->k);
	} else {
		cost->corrections = ring_packed(n, v->k);
		cost->ahead = n;
	}
	return 0;
}

/* What the three roles share: y[b] = pool(Σ terms(x) + y[b]), unreduced. y[b] = out + b*n, holding the bias
 * (or 0) before the pool. */
struct sum {
	const struct program *program;
	const struct row *row;
	const struct layer *layer;
	uint64_t *const *x; /* per value: batch × n */
	size_t batch;
	uint64_t *wide;
	void *linear;
	int skips;	      /* add the public terms: not at the dealer */
	const uint64_t *bias; /* or NULL */
};

static void add_skip(const struct sum *s, const struct term *term, uint64_t *y, size_t n)
{
	for (size_t b = 0; b < s->batch; b++) {
		const uint64_t *x = words_of(s->x, s->program, term->in, b);

		for (size_t i = 0; i < n; i++)
			y[b * n + i] += x[i] << term->shift;
	}
}

static void linear_sum(const struct sum *s, uint64_t *out)
{
	size_t n = value_size(s->program, s->row->out),
	       wide = s->row->has_post ? shape_size(s->row->post.in) : n;
	uint64_t *y = s->row->has_post ? s->wide : out;

	for (size_t b = 0; b < s->batch; b++) {
		if (s->bias)
			memcpy(y + b * wide, s->bias, wide * sizeof(*y));
		else
			memset(y + b * wide, 0, wide * sizeof(*y));
	}
	for (uint16_t j = 0; j < s->row->n_terms; j++) {
		const struct term *term = &s->row->terms[j];

		if (term->kind != TERM_SKIP)
			linear_apply(s->layer->terms[j], s->x[term->in], value_size(s->program, term->in), y,
				     wide, s->batch, s->linear);
		else if (s->skips)
			add_skip(s, term, y, wide);
	}
	for (size_t b = 0; s->row->has_post && b < s->batch; b++)
		linear_pool(&s->row->post, y + b * wide, out + b * n);
}

static void linear_deal(struct deal *d, const struct row *row)
{
	const struct placed *at = placed_row(d->program, d->row);
	size_t n = value_size(d->program, row->out);
	unsigned k = value_at(d->program, row->out)->k;
	uint64_t *mask = d->mask[row->out], *seed = d->scratch;
	struct sum sum = {d->program, row, &d->layers[d->row], d->mask, d->tickets, d->wide, d->linear,
			  0,	      NULL};

	linear_sum(&sum, mask);
	for (size_t t = 0; t < d->tickets; t++) {
		uint64_t *ba = mask + t * n;

		prg_words(d->p0, d->first + t, at->p0, seed, n, k);
		if (is_masked(d->program, row)) {
			ring_sub(ba, seed, ba, n, k);
			prg_words(d->p1, d->first + t, at->p1, seed, n, k);
			ring_add(ba, ba, seed, n, k);
		} else {
			ring_sub(seed, ba, seed, n, k);
			ring_pack(d->corrections[t] + at->corrections, seed, n, k);
		}
	}
}

static void linear_ahead(struct ahead *a, const struct row *row)
{
	const struct placed *at = placed_row(a->program, a->row);
	size_t n = value_size(a->program, row->out);
	unsigned k = value_at(a->program, row->out)->k;
	uint64_t *fa = a->a[row->out], *e0 = a->scratch;
	struct sum sum = {a->program, row, &a->layers[a->row], a->a, a->tickets, a->wide, a->linear, 1, NULL};

	linear_sum(&sum, fa);
	for (size_t t = 0; t < a->tickets; t++) {
		prg_words(a->prg, a->first + t, at->p0, e0, n, k);
		ring_add(e0, fa + t * n, e0, n, k);
		if (is_masked(a->program, row))
			ring_pack(a->delta[t] + at->delta, e0, n, k);
		else
			memcpy(a->kept[t] + at->ahead, e0, n * sizeof(*e0));
	}
}

static void linear_p0(struct run *r, const struct row *row, unsigned move)
{
	size_t n = value_size(r->program, row->out);

	if (is_masked(r->program, row))
		return;
	for (size_t b = 0; b < r->batch; b++)
		memcpy(words_of(r->values, r->program, row->out, b),
		       r->tickets[b].ahead + placed_row(r->program, r->row)->ahead, n * sizeof(uint64_t));
}

static void linear_p1(struct run *r, const struct row *row, unsigned move)
{
	const struct placed *at = placed_row(r->program, r->row);
	size_t n = value_size(r->program, row->out);
	unsigned k = value_at(r->program, row->out)->k;
	uint64_t *y = r->values[row->out], *more = r->scratch;
	struct sum sum = {r->program, row, &r->layers[r->row],	  r->values, r->batch, r->wide,
			  r->linear,  1,   r->layers[r->row].bias};

	linear_sum(&sum, y);
	for (size_t b = 0; b < r->batch; b++) {
		const struct ticket *ticket = &r->tickets[b];

		if (is_masked(r->program, row)) {
			ring_unpack(more, ticket->delta + at->delta, n, k);
			ring_add(y + b * n, y + b * n, more, n, k);
			prg_words(r->prg, ticket->number, at->p1, more, n, k);
		} else {
			ring_unpack(more, ticket->corrections + at->corrections, n, k);
		}
		ring_add(y + b * n, y + b * n, more, n, k);
	}
}

const struct op operator_linear = {.name = "linear",
				   .declare = linear_declare,
				   .deal = linear_deal,
				   .ahead = linear_ahead,
				   .p0 = linear_p0,
				   .p1 = linear_p1};
