/* SPDX-License-Identifier: Apache-2.0 */
/* Public linear maps of shares, in the ring (PROTOCOL.md §2). */
#include <string.h>

#include "crypto/ring.h"
#include "nn/linear.h"
#include "nn/tape.h"

static void map_pool(const struct row *row, const uint64_t *in, uint64_t *out)
{
	size_t plane = (size_t)row->post.out.h * row->post.out.w;

	linear_pool(&row->post, in, out);
	for (size_t i = 0; row->factors && i < shape_size(row->post.out); i++)
		out[i] *= row->factors[i % plane];
}

/* out position (y, x) is in position (y - pt, x - pl), or zero outside. */
static void map_pad(const struct window *w, const uint64_t *in, uint64_t *out)
{
	memset(out, 0, shape_size(w->out) * sizeof(*out));
	for (uint32_t c = 0; c < w->out.c; c++)
		for (uint32_t y = 0; y < w->out.h; y++)
			for (uint32_t x = 0; x < w->out.w; x++) {
				int64_t i = (int64_t)y - w->pt, j = (int64_t)x - w->pl;

				if (i >= 0 && j >= 0 && i < w->in.h && j < w->in.w)
					out[((size_t)c * w->out.h + y) * w->out.w + x] =
					    in[((size_t)c * w->in.h + i) * w->in.w + j];
			}
}

void map_integers(const struct tape *tape, const struct row *row, const uint64_t *const in[], uint64_t *out)
{
	size_t n = shape_size(tape->values[row->out].shape), at = 0;

	if (row->map == MAP_POOL)
		map_pool(row, in[0], out);
	else if (row->map == MAP_PAD)
		map_pad(&row->post, in[0], out);
	else if (row->map == MAP_ADD)
		memset(out, 0, n * sizeof(*out));
	for (uint16_t j = 0; row->map >= MAP_CONCAT && j < row->n_in; j++) {
		size_t m = shape_size(tape->values[row->in[j]].shape);

		for (size_t i = 0; i < m; i++) {
			if (row->map == MAP_CONCAT)
				out[at++] = in[j][i] << row->shift[j];
			else
				out[i] += in[j][i] << row->shift[j];
		}
	}
}

void map_apply(const struct tape *tape, const struct row *row, const uint64_t *const in[], uint64_t *out)
{
	size_t n = shape_size(tape->values[row->out].shape);
	uint64_t mask = ring_mask(tape->values[row->out].k);

	map_integers(tape, row, in, out);
	for (size_t i = 0; i < n; i++)
		out[i] &= mask;
}
