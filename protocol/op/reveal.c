/* SPDX-License-Identifier: Apache-2.0 */
/* reveal: P0 learns a shared value (PROTOCOL.md §2, last layer).
 *
 *   move 0   P1 → P0: y1
 *   output   P0: y = y0 + y1 mod 2^k, signed
 */
#include "protocol/op/share.h"

static int reveal_declare(const struct tape *tape, const struct row *row, struct cost *cost,
			  struct program *p, struct err *e)
{
	const struct value *v = &tape->values[row->in[0]];

	return program_move(p, P1, ring_packed(shape_size(v->shape), v->k), e);
}

static void reveal_p0(struct run *r, const struct row *row, unsigned move)
{
	size_t n = value_size(r->program, row->out);
	const struct value *from = value_at(r->program, row->in[0]), *to = value_at(r->program, row->out);

	for (size_t b = 0; b < r->batch; b++) {
		uint64_t *y = words_of(r->values, r->program, row->out, b);

		ring_unpack(y, r->in + b * move_bytes(r, move), n, from->k);
		ring_add(y, y, words_of(r->values, r->program, row->in[0], b), n, from->k);
		for (size_t i = 0; i < n; i++)
			y[i] = (uint64_t)ring_signed(y[i], to->k);
	}
}

static void reveal_p1(struct run *r, const struct row *row, unsigned move)
{
	size_t n = value_size(r->program, row->in[0]);

	for (size_t b = 0; b < r->batch; b++)
		ring_pack(r->out + b * move_bytes(r, move), words_of(r->values, r->program, row->in[0], b), n,
			  value_at(r->program, row->in[0])->k);
}

const struct op operator_reveal = {
    .name = "reveal", .declare = reveal_declare, .p0 = reveal_p0, .p1 = reveal_p1};
