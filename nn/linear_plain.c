/* SPDX-License-Identifier: Apache-2.0 */
/* Linear maps in plain C: the last row of kernels, the oracle of all others, and the pool. */
#include <string.h>

#include "nn/linear_row.h"

static void dense(const struct linear *l, const uint64_t *x, uint64_t *y)
{
	const uint64_t *m = l->m;
	size_t n = shape_size(l->term.win.in);

	for (size_t o = 0; o < l->term.win.out.c; o++) {
		uint64_t sum = 0;

		for (size_t i = 0; i < n; i++)
			sum += m[o * n + i] * x[i];
		y[o] += sum;
	}
}

/* Adds kernel element (i, j) of one pair of channels to a whole output plane: what stays inside is found
 * once. */
static void plane(const struct window *w, uint32_t i, uint32_t j, uint64_t weight, const uint64_t *x,
		  uint64_t *y)
{
	int64_t top = (int64_t)i * w->dh - w->pt, left = (int64_t)j * w->dw - w->pl;
	struct span rows = linear_span(top, w->sh, w->in.h, w->out.h),
		    columns = linear_span(left, w->sw, w->in.w, w->out.w);

	for (size_t r = rows.from; r < rows.to; r++) {
		const uint64_t *line = x + (top + (int64_t)(r * w->sh)) * w->in.w;

		for (size_t c = columns.from; c < columns.to; c++)
			y[r * w->out.w + c] += weight * line[left + (int64_t)(c * w->sw)];
	}
}

static void conv(const struct linear *l, const uint64_t *x, uint64_t *y)
{
	const struct window *w = &l->term.win;
	uint32_t in = w->in.c / l->term.groups, out = w->out.c / l->term.groups;
	const uint64_t *weight = l->m;

	for (uint32_t o = 0; o < w->out.c; o++)
		for (uint32_t c = 0; c < in; c++)
			for (uint32_t i = 0; i < w->kh; i++)
				for (uint32_t j = 0; j < w->kw; j++)
					plane(w, i, j, *weight++,
					      x + (size_t)(o / out * in + c) * w->in.h * w->in.w,
					      y + (size_t)o * w->out.h * w->out.w);
}

void plain_apply(const struct linear *l, const uint64_t *x, uint64_t *y)
{
	if (l->term.kind == TERM_DENSE)
		dense(l, x, y);
	else if (l->term.kind == TERM_CONV)
		conv(l, x, y);
}

void linear_pool(const struct window *w, const uint64_t *in, uint64_t *out)
{
	struct window plain = *w;

	memset(out, 0, shape_size(w->out) * sizeof(*out));
	plain.dh = plain.dw = 1;
	for (uint32_t c = 0; c < w->out.c; c++)
		for (uint32_t i = 0; i < w->kh; i++)
			for (uint32_t j = 0; j < w->kw; j++)
				plane(&plain, i, j, 1, in + (size_t)c * w->in.h * w->in.w,
				      out + (size_t)c * w->out.h * w->out.w);
}
