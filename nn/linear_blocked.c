/* SPDX-License-Identifier: Apache-2.0 */
/* What the vector kernels of every instruction set share: order of packed weights, block sizes, walks over
 * tiles (nn/linear_row.h).
 *
 * Convolution: output pixel p = r*out.w + c of a band of rows needs, for kernel element (i, j), input (r*sh +
 * i*dh - pt, c*sw + j*dw - pl). Gathered so that its columns are those of kernel column j and its rows those
 * of one phase of sh, that word stands at p plus a constant of (channel, i, j): whole vectors of pixels go
 * across rows, for every stride, pad and dilation. */
#include <string.h>

#include "nn/linear_row.h"

#define DEPTH 320		/* steps of a tile: 8 rows of weights are 20 KB, half of an L1 cache */
#define GATHERED (256 * 1024)	/* bytes of gathered input: a quarter of an L2 cache */
#define GATHERED_MOST (4 << 20) /* one unit of one row of output; more is left to plain C */
#define NARROW_INPUTS                                                                                        \
	(1 << 16) /* inputs of a dense layer beyond which padded outputs may not double its memory */

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static size_t up(size_t a, size_t b)
{
	return (a + b - 1) / b;
}

/* ---- block sizes ---- */

/* Kernel rows i < i' share gathered rows when they are of one phase and the band's rows for i reach those for
 * i'. */
static void choose_runs(struct linear *l)
{
	const struct window *w = &l->term.win;
	uint64_t placed = 0;

	l->n_runs = 0;
	l->unit_rows = 0;
	for (uint32_t i = 0; i < w->kh; i++) {
		uint32_t last = i, first = i * w->dh / w->sh;

		if (placed >> i & 1)
			continue;
		for (uint32_t next = i + 1; next < w->kh; next++)
			if ((next - i) * w->dh % w->sh == 0 && (next - last) * w->dh / w->sh <= l->band) {
				placed |= UINT64_C(1) << next;
				last = next;
			}
		l->runs[l->n_runs++] =
		    (struct conv_run){i, last * w->dh / w->sh - first, (uint32_t)l->unit_rows};
		l->unit_rows += l->runs[l->n_runs - 1].more + l->band;
	}
}

static size_t gathered(const struct linear *l)
{
	return l->units * l->unit_rows * l->term.win.out.w * l->element;
}

static int choose_conv(struct linear *l)
{
	const struct window *w = &l->term.win;
	size_t units = (size_t)(w->in.c / l->term.groups) * w->kw;

	if (w->kh > CONV_RUNS || (uint64_t)w->kh * w->out.w * l->element > GATHERED_MOST)
		return -1;
	l->units = least(units, w->kh && w->kh < DEPTH ? DEPTH / w->kh : 1);
	if (l->units)
		l->units = up(units, up(units, l->units));
	l->band = 1;
	choose_runs(l);
	while (l->units > 1 && gathered(l) > GATHERED)
		l->units = up(l->units, 2);
	for (l->band = w->out.h; choose_runs(l), l->band > 1 && gathered(l) > GATHERED;)
		l->band = up(l->band, 2);
	l->depth = l->units * w->kh;
	l->bytes = term_weights(&l->term) * l->element;
	return 0;
}

static int choose_dense(struct linear *l)
{
	size_t n = shape_size(l->term.win.in), vectors = up(l->term.win.out.c, l->lanes);
	size_t columns = up(vectors, TILE_VECTORS);

	l->column = columns ? up(vectors, columns) : 0;
	if (n > NARROW_INPUTS && columns * l->column * l->lanes > 2 * (size_t)l->term.win.out.c)
		return -1;
	l->depth = least(n, DEPTH);
	l->bytes = n * columns * l->column * l->lanes * l->element;
	return 0;
}

int blocked_choose(struct linear *l, unsigned k, int small)
{
	int wide = k > 52;

	if (l->term.kind != TERM_DENSE && l->term.kind != TERM_CONV)
		return -1;
	if (l->term.kind == TERM_CONV)
		l->kind = k <= 32 ? CONV_32 : CONV_52 + wide;
	else
		l->kind = k <= 32 ? DENSE_32 : (small ? DENSE_52_INT : DENSE_52) + wide;
	l->element = k <= 32 || l->kind >= DENSE_52_INT ? 4 : 8;
	l->lanes = l->row->kernels->lanes * (k <= 32 ? 2 : 1);
	return l->term.kind == TERM_CONV ? choose_conv(l) : choose_dense(l);
}

static void conv_offsets(struct linear *l)
{
	const struct window *w = &l->term.win;

	for (unsigned r = 0; r < l->n_runs; r++) {
		const struct conv_run *run = &l->runs[r];

		for (uint32_t i = run->first, last = i; i < w->kh; i++) {
			if ((i - run->first) * w->dh % w->sh || (i - last) * w->dh / w->sh > l->band)
				continue;
			for (size_t u = 0; u < l->units; u++)
				l->at[u * w->kh + i] = (uint32_t)((u * l->unit_rows + run->at +
								   (i - run->first) * w->dh / w->sh) *
								  w->out.w);
			last = i;
		}
	}
}

void blocked_offsets(struct linear *l)
{
	if (l->term.kind == TERM_CONV) {
		conv_offsets(l);
		return;
	}
	for (size_t i = 0; i < l->depth; i++)
		l->at[i] = (uint32_t)(i * l->column * l->lanes);
}

/* ---- packed weights ---- */

static size_t take(const struct linear *l, size_t rows)
{
	return l->row->kernels->take[least(rows, TILE_TAKE)];
}

static void put(struct linear *l, size_t i, uint64_t m)
{
	if (l->element == 4)
		((uint32_t *)l->m)[i] = (uint32_t)m;
	else
		((uint64_t *)l->m)[i] = m;
}

/* Weights of `rows` output channels from o for kernel rows of units u0 … u1: [unit][kernel row][channel]. */
static size_t pack_block(struct linear *l, const uint64_t *m, size_t at, size_t o, size_t rows, size_t u0,
			 size_t u1)
{
	const struct window *w = &l->term.win;
	size_t area = (size_t)w->kh * w->kw, channel = w->in.c / l->term.groups * area;

	for (size_t u = u0; u < u1; u++)
		for (size_t i = 0; i < w->kh; i++)
			for (size_t r = 0; r < rows; r++)
				put(l, at++, m[(o + r) * channel + u / w->kw * area + i * w->kw + u % w->kw]);
	return at;
}

static void pack_conv(struct linear *l, const uint64_t *m)
{
	const struct window *w = &l->term.win;
	size_t out = w->out.c / l->term.groups, units = (size_t)(w->in.c / l->term.groups) * w->kw, at = 0;

	for (uint32_t g = 0; g < l->term.groups; g++)
		for (size_t u = 0; u < units; u += l->units)
			for (size_t o = 0, rows; o < out; o += rows) {
				rows = take(l, out - o);
				at = pack_block(l, m, at, g * out + o, rows, u, least(u + l->units, units));
			}
}

/* [column][input][output of the column] */
static void pack_dense(struct linear *l, const uint64_t *m)
{
	size_t n = shape_size(l->term.win.in), width = l->column * l->lanes;

	for (size_t o = 0; o < l->term.win.out.c; o++)
		for (size_t i = 0; i < n; i++)
			put(l, (o / width * n + i) * width + o % width, m[o * n + i]);
}

void blocked_pack(struct linear *l, const uint64_t *m)
{
	if (l->term.kind == TERM_CONV)
		pack_conv(l, m);
	else
		pack_dense(l, m);
}

size_t blocked_scratch(const struct linear *l)
{
	return l->term.kind == TERM_CONV ? up(gathered(l), 64) * 64 + 64 : 0;
}

/* ---- tiles ---- */

/* Splits `vectors` evenly into tiles of no more than there are kernels for. A call covers `lanes` outputs
 * beyond t->v and t->y. */
static void across(const struct linear *l, struct tile *t, size_t rows, size_t lanes)
{
	const struct linear_kernels *kernels = l->row->kernels;
	size_t vectors = up(lanes, l->lanes), most = kernels->vectors[rows];

	for (size_t n; vectors; vectors -= n) {
		n = up(vectors, up(vectors, most));
		t->last = (unsigned)(n == vectors ? lanes - (n - 1) * l->lanes : l->lanes);
		kernels->tiles[l->kind][rows][n](t);
		t->v = (const uint8_t *)t->v + n * l->lanes * l->element;
		t->y += n * l->lanes;
		lanes -= least(lanes, n * l->lanes);
	}
}

static void dense_column(const struct linear *l, size_t column, size_t from, const uint64_t *x,
			 size_t x_stride, uint64_t *y, size_t y_stride, size_t batch)
{
	size_t n = shape_size(l->term.win.in), width = l->column * l->lanes, o = column * width;
	const uint8_t *m = (const uint8_t *)l->m + (column * n + from) * width * l->element;

	for (size_t b = 0, rows; b < batch; b += rows) {
		struct tile t = {
		    least(l->depth, n - from), m,	 l->at, x + b * x_stride + from, x_stride,
		    y + b * y_stride + o,      y_stride, 0};

		rows = take(l, batch - b);
		across(l, &t, rows, least(width, l->term.win.out.c - o));
	}
}

static void apply_dense(const struct linear *l, const uint64_t *x, size_t x_stride, uint64_t *y,
			size_t y_stride, size_t batch)
{
	size_t n = shape_size(l->term.win.in),
	       columns = l->column ? up(l->term.win.out.c, l->column * l->lanes) : 0;

	for (size_t from = 0; from < n; from += l->depth)
		for (size_t c = 0; c < columns; c++)
			dense_column(l, c, from, x, x_stride, y, y_stride, batch);
}

/* ---- convolution ---- */

/* Some rows of output, for some units of one group. */
struct piece {
	size_t group, from, units; /* units from, … of the group */
	size_t row, rows;	   /* of output */
};

/* Rows of the input for one run of one unit; what is outside is zero. */
static void gather_run(const struct linear *l, const struct piece *p, const struct conv_run *run,
		       const uint64_t *x, int64_t left, uint8_t *to)
{
	const struct window *w = &l->term.win;
	int64_t top = (int64_t)run->first * w->dh + (int64_t)p->row * w->sh - w->pt;
	size_t n = run->more + p->rows, line = w->out.w * l->element;
	struct span rows = linear_span(top, w->sh, w->in.h, n),
		    columns = linear_span(left, w->sw, w->in.w, w->out.w);

	if (rows.from >= rows.to || columns.from >= columns.to) {
		memset(to, 0, n * line);
		return;
	}
	memset(to, 0, rows.from * line);
	memset(to + rows.to * line, 0, (n - rows.to) * line);
	if (columns.to - columns.from < w->out.w)
		memset(to + rows.from * line, 0, (rows.to - rows.from) * line);
	l->row->kernels->gather(
	    x + (top + (int64_t)(rows.from * w->sh)) * w->in.w + left + (int64_t)(columns.from * w->sw),
	    (size_t)w->sh * w->in.w, w->sw, rows.to - rows.from, columns.to - columns.from,
	    to + rows.from * line + columns.from * l->element, w->out.w, l->element == 4);
}

static void gather(const struct linear *l, const struct piece *p, const uint64_t *x, uint8_t *to)
{
	const struct window *w = &l->term.win;
	size_t line = w->out.w * l->element, first = p->group * (w->in.c / l->term.groups);

	for (size_t u = p->from; u < p->from + p->units; u++, to += l->unit_rows * line)
		for (unsigned r = 0; r < l->n_runs; r++)
			gather_run(l, p, &l->runs[r], x + (first + u / w->kw) * w->in.h * w->in.w,
				   (int64_t)(u % w->kw) * w->dw - w->pl, to + l->runs[r].at * line);
}

static void multiply(const struct linear *l, const struct piece *p, const void *v, uint64_t *y)
{
	const struct window *w = &l->term.win;
	size_t out = w->out.c / l->term.groups, units = (size_t)(w->in.c / l->term.groups) * w->kw,
	       plane = (size_t)w->out.h * w->out.w;
	size_t depth = p->units * w->kh;
	const uint8_t *m = (const uint8_t *)l->m + (p->group * units + p->from) * out * w->kh * l->element;

	for (size_t o = 0, rows; o < out; o += rows) {
		struct tile t = {depth, v,
				 l->at, m + o * depth * l->element,
				 0,	y + (p->group * out + o) * plane + p->row * w->out.w,
				 plane, 0};

		rows = take(l, out - o);
		across(l, &t, rows, p->rows * w->out.w);
	}
}

static void apply_conv(const struct linear *l, const uint64_t *x, uint64_t *y, void *scratch)
{
	const struct window *w = &l->term.win;
	size_t units = (size_t)(w->in.c / l->term.groups) * w->kw;
	struct piece p;

	for (p.group = 0; p.group < l->term.groups; p.group++)
		for (p.row = 0; p.row < w->out.h; p.row += l->band)
			for (p.from = 0; p.from < units; p.from += l->units) {
				p.rows = least(l->band, w->out.h - p.row);
				p.units = least(l->units, units - p.from);
				gather(l, &p, x, scratch);
				multiply(l, &p, scratch, y);
			}
}

void blocked_apply(const struct linear *l, const uint64_t *x, size_t x_stride, uint64_t *y, size_t y_stride,
		   size_t batch, void *scratch)
{
	if (l->term.kind == TERM_DENSE) {
		apply_dense(l, x, x_stride, y, y_stride, batch);
		return;
	}
	for (size_t b = 0; b < batch; b++)
		apply_conv(l, x + b * x_stride, y + b * y_stride, scratch);
}
