/* SPDX-License-Identifier: Apache-2.0 */
/* relu: max(y / 2^f, 0) of a masked wire ŷ = y + ρ mod 2^k, as shares mod 2^kout (PROTOCOL.md §3).
 *
 *   correlation  r = ρ >> f; one comparison of w = k - f bits an element (compare.h)
 *   moves        the parts of the comparison, on ẑ = ŷ >> f; then one without bytes, in which both compute
 *                the output: what was written before it can leave
 *   output       b·ẑ - b·r + (1 - msb ẑ)·b·msb(r)·2^w,  b = [z >= 0]
 */
#include "protocol/op/compare.h"

static struct compare relu_compare(const struct tape *tape, const struct row *row)
{
	const struct value *in = &tape->values[row->in[0]], *out = &tape->values[row->out];

	return compare_new(in->k - in->f, out->k, 0, row->mode, shape_size(in->shape));
}

static int relu_declare(const struct tape *tape, const struct row *row, struct cost *cost, struct program *p,
			struct err *e)
{
	struct compare c = relu_compare(tape, row);

	compare_declare(&c, cost);
	cost->temp = compare_temp(&c);
	for (unsigned part = 0; part < compare_parts(&c); part++)
		if (program_move(p, part == COMPARE_ANSWER ? P0 : P1, compare_part_bytes(&c, part), e))
			return -1;
	return program_move(p, compare_parts(&c) - 1 == COMPARE_ANSWER ? P0 : P1, 0, e);
}

static void relu_deal(struct deal *d, const struct row *row)
{
	struct compare c = relu_compare(d->program->tape, row);
	unsigned f = value_at(d->program, row->in[0])->f;

	for (size_t t = 0; t < d->tickets; t++)
		compare_deal(&c, d, t, words_of(d->mask, d->program, row->in[0], t), f, NULL);
}

static void relu_p0(struct run *r, const struct row *row, unsigned move)
{
	struct compare c = relu_compare(r->program->tape, row);

	for (size_t b = 0; b < r->batch; b++) {
		struct compare_state s = compare_state(&c, r->temp + b * compare_temp(&c));
		const uint8_t *in = r->in + b * move_bytes(r, move);
		uint8_t *out = r->out + b * move_bytes(r, move);

		if (move < compare_parts(&c))
			compare_p0_part(&c, r, b, &s, move, &in, &out);
		else
			compare_relu(&c, r, b, &s, words_of(r->values, r->program, row->out, b));
	}
}

static void relu_p1(struct run *r, const struct row *row, unsigned move)
{
	struct compare c = relu_compare(r->program->tape, row);
	unsigned f = value_at(r->program, row->in[0])->f;

	for (size_t b = 0; b < r->batch; b++) {
		struct compare_state s = compare_state(&c, r->temp + b * compare_temp(&c));
		const uint8_t *in = r->in + b * move_bytes(r, move);
		uint8_t *out = r->out + b * move_bytes(r, move);
		const uint64_t *y = words_of(r->values, r->program, row->in[0], b);

		for (size_t i = 0; move == COMPARE_ZHAT && i < c.n; i++)
			s.zhat[i] = y[i] >> f;
		if (move < compare_parts(&c))
			compare_p1_part(&c, r, b, &s, move, &in, &out);
		else
			compare_relu(&c, r, b, &s, words_of(r->values, r->program, row->out, b));
	}
}

const struct op operator_relu = {
    .name = "relu", .declare = relu_declare, .deal = relu_deal, .p0 = relu_p0, .p1 = relu_p1};
