/* SPDX-License-Identifier: Apache-2.0 */
/* map: public linear maps (sum pool, padding, concatenation, addition) of shares; each party maps its own
 * part, no message. */
#include "protocol/op/share.h"

static int map_declare(const struct tape *tape, const struct row *row, struct cost *cost, struct program *p,
		       struct err *e)
{
	return 0;
}

static void map_both(struct run *r, const struct row *row, unsigned move)
{
	for (size_t b = 0; b < r->batch; b++) {
		const uint64_t *in[TAPE_MAX_TERMS];

		for (uint16_t i = 0; i < row->n_in; i++)
			in[i] = words_of(r->values, r->program, row->in[i], b);
		map_apply(r->program->tape, row, in, words_of(r->values, r->program, row->out, b));
	}
}

const struct op operator_map = {.name = "map", .declare = map_declare, .p0 = map_both, .p1 = map_both};
