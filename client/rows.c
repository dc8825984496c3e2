/* SPDX-License-Identifier: Apache-2.0 */
#include "client/rows.h"

#include <stdio.h>

uint64_t row_multiply_adds(const struct row *row)
{
	uint64_t sum = 0;

	for (uint16_t t = 0; t < row->n_terms; t++)
		sum += term_multiply_adds(&row->terms[t]);
	return sum;
}

uint64_t row_sent(const struct program *p, const struct placed *row, enum party from)
{
	uint64_t sum = 0;

	for (uint32_t m = row->move; m < row->move + row->moves; m++)
		sum += p->moves[m].from == from ? p->moves[m].bytes : 0;
	return sum;
}

const char *row_describe(const struct row *row, char *text, size_t bytes)
{
	static const char *const maps[] = {"pool", "pad", "concat", "add"};
	size_t at = (size_t)snprintf(text, bytes, "%s", ops[row->kind]->name);

	if (row->kind == OP_MAP)
		snprintf(text, bytes, "%s", maps[row->map]);
	for (uint16_t t = 0; row->kind == OP_LINEAR && t < row->n_terms && at < bytes; t++) {
		const struct term *x = &row->terms[t];
		const char *join = t ? " + " : " ";

		if (x->kind == TERM_CONV)
			at += (size_t)snprintf(text + at, bytes - at, "%sconv %u×%u%s", join, x->win.kh,
					       x->win.kw, x->groups > 1 ? " in groups" : "");
		else
			at += (size_t)snprintf(text + at, bytes - at, "%s%s", join,
					       x->kind == TERM_DENSE ? "dense" : "skip");
	}
	if (row->has_post && at < bytes)
		snprintf(text + at, bytes - at, ", pool %u×%u", row->post.kh, row->post.kw);
	return text;
}
