/* SPDX-License-Identifier: Apache-2.0 */
#include "nn/he_pack.h"

#include <string.h>

/* ---- a term as one convolution ---- */

/* Sum pools have no dilation (linear_pool). */
static int inside(uint32_t out, uint32_t stride, int32_t pad, uint32_t k, uint32_t size)
{
	int64_t last = (int64_t)(out - 1) * stride - pad + k - 1;

	return pad <= 0 && last < (int64_t)size;
}

int he_conv_folds(const struct window *p)
{
	return inside(p->out.h, p->sh, p->pt, p->kh, p->in.h) &&
	       inside(p->out.w, p->sw, p->pl, p->kw, p->in.w);
}

static struct window as_window(const struct term *t)
{
	struct window w = t->win;

	if (t->kind == TERM_CONV)
		return w;
	w.in = (struct shape){(uint32_t)shape_size(t->win.in), 1, 1};
	w.out = (struct shape){t->win.out.c, 1, 1};
	w.kh = w.kw = w.sh = w.sw = w.dh = w.dw = 1;
	w.pt = w.pl = 0;
	return w;
}

/* One axis of conv, then pool: kernel offset a of the pool and i of the convolution meet input a s + i d. */
static uint64_t merged_extent(uint32_t k, uint32_t d, uint32_t s, uint32_t pk)
{
	return (uint64_t)(pk - 1) * s + (uint64_t)(k - 1) * d + 1;
}

int he_conv_of(struct he_conv *c, const struct term *t, const struct window *post, struct err *e)
{
	struct window w = as_window(t);

	c->groups = t->kind == TERM_CONV ? t->groups : 1;
	c->win = w;
	if (!post)
		return 0;
	if (merged_extent(w.kh, w.dh, w.sh, post->kh) > 4096 ||
	    merged_extent(w.kw, w.dw, w.sw, post->kw) > 4096 || (uint64_t)w.sh * post->sh > INT32_MAX ||
	    (uint64_t)w.sw * post->sw > INT32_MAX)
		return err_set(e, ERR_INPUT,
			       "a pool of %u × %u behind a convolution of %u × %u is too large for the he "
			       "personality; use smpc",
			       post->kh, post->kw, w.kh, w.kw);
	c->win.kh = (uint32_t)merged_extent(w.kh, w.dh, w.sh, post->kh);
	c->win.kw = (uint32_t)merged_extent(w.kw, w.dw, w.sw, post->kw);
	c->win.pt = w.pt + post->pt * (int32_t)w.sh;
	c->win.pl = w.pl + post->pl * (int32_t)w.sw;
	c->win.sh = w.sh * post->sh;
	c->win.sw = w.sw * post->sw;
	c->win.dh = c->win.dw = 1;
	c->win.out = post->out;
	return 0;
}

/* One kernel of k × k, spread to where the pool's offsets take it. */
static void fold_kernel(const struct he_conv *c, const struct window *w, const struct window *post,
			const int64_t *in, int64_t *out)
{
	for (uint32_t a = 0; a < post->kh; a++)
		for (uint32_t b = 0; b < post->kw; b++)
			for (uint32_t i = 0; i < w->kh; i++)
				for (uint32_t j = 0; j < w->kw; j++)
					out[(size_t)(a * w->sh + i * w->dh) * c->win.kw + b * w->sw +
					    j * w->dw] += in[(size_t)i * w->kw + j];
}

void he_conv_fold(const struct he_conv *c, const struct term *t, const struct window *post,
		  const int64_t *weights, int64_t *out)
{
	struct window w = as_window(t);
	size_t from = (size_t)w.kh * w.kw, to = (size_t)c->win.kh * c->win.kw,
	       kernels = he_conv_weights(c) / to;

	if (!post) {
		memcpy(out, weights, he_conv_weights(c) * sizeof(*out));
		return;
	}
	memset(out, 0, he_conv_weights(c) * sizeof(*out));
	for (size_t i = 0; i < kernels; i++)
		fold_kernel(c, &w, post, weights + i * from, out + i * to);
}

void he_conv_term(struct term *t, const struct he_conv *c)
{
	const struct window *w = &c->win;

	memset(t, 0, sizeof(*t));
	t->win = *w;
	t->groups = c->groups;
	t->kind = w->in.h == 1 && w->in.w == 1 && w->kh == 1 && w->kw == 1 && w->out.h == 1 &&
			  w->out.w == 1 && !w->pt && !w->pl && c->groups == 1
		      ? TERM_DENSE
		      : TERM_CONV;
}

/* ---- the search ---- */

static uint32_t divided_up(uint32_t a, uint32_t b)
{
	return a / b + (a % b != 0);
}

/* An axis cut into tiles of `outputs`. A kernel of one pixel skips what its stride skips. */
static struct he_axis axis_of(uint32_t out, uint32_t outputs, uint32_t k, uint32_t stride, uint32_t dilation)
{
	struct he_axis a = {.tiles = divided_up(out, outputs),
			    .outputs = outputs,
			    .stride = k == 1 ? 1 : stride,
			    .step = k == 1 ? stride : 1};

	a.extent = (k - 1) * dilation + 1;
	a.size = (outputs - 1) * a.stride + a.extent;
	return a;
}

struct search {
	struct he_layout best;
	uint64_t bytes, polynomials; /* of best */
	const struct he_price *price;
	int found;
};

/* All ways to share `pixels`-sized tiles out among channels and filters. */
static void try_channels(struct search *s, struct he_layout l)
{
	uint32_t in = l.conv.win.in.c, out = l.conv.win.out.c;
	uint64_t room = l.n / ((uint64_t)l.y.size * l.x.size);
	uint32_t most = s->price->filters < out ? s->price->filters : out;

	for (uint32_t c = 1; c <= in && c <= room;) {
		uint32_t next;
		uint64_t bytes;

		l.c_blocks = divided_up(in, c);
		l.c = divided_up(in, l.c_blocks); /* the fewest with so many blocks */
		l.m = room / l.c < most ? (uint32_t)(room / l.c) : most;
		l.m_blocks = divided_up(out, l.m);
		l.m = divided_up(out, l.m_blocks);
		bytes = he_layout_inputs(&l) * s->price->up + he_layout_outputs(&l) * s->price->down;
		if (!s->found || bytes < s->bytes ||
		    (bytes == s->bytes && (uint64_t)l.c_blocks * l.m_blocks < s->polynomials)) {
			s->best = l;
			s->bytes = bytes;
			s->polynomials = (uint64_t)l.c_blocks * l.m_blocks;
			s->found = 1;
		}
		if (l.c_blocks == 1)
			break;
		next = divided_up(in, l.c_blocks - 1);
		c = next > c ? next : c + 1;
	}
}

/* The next larger number of tiles that makes them smaller, 0 at the end. */
static uint32_t fewer_outputs(uint32_t out, uint32_t outputs)
{
	uint32_t tiles = divided_up(out, outputs);

	while (outputs > 1 && divided_up(out, tiles + 1) == outputs)
		tiles++;
	return outputs > 1 ? divided_up(out, tiles + 1) : 0;
}

int he_layout_choose(struct he_layout *l, const struct he_conv *conv, size_t n, const struct he_price *price,
		     struct err *e)
{
	const struct window *w = &conv->win;
	struct search s = {.price = price};
	struct he_layout try = {.conv = *conv, .n = n};

	for (uint32_t y = w->out.h; y; y = fewer_outputs(w->out.h, y)) {
		try.y = axis_of(w->out.h, y, w->kh, w->sh, w->dh);
		for (uint32_t x = w->out.w; x; x = fewer_outputs(w->out.w, x)) {
			try.x = axis_of(w->out.w, x, w->kw, w->sw, w->dw);
			if ((uint64_t)try.y.size * try.x.size <= n)
				try_channels(&s, try);
		}
	}
	if (!s.found)
		return err_set(e, ERR_INPUT,
			       "a kernel of %u × %u pixels with dilation %u × %u does not fit a polynomial "
			       "of %zu coefficients; use smpc",
			       w->kh, w->kw, w->dh, w->dw, n);
	*l = s.best;
	return 0;
}

/* ---- polynomials ---- */

static void tile_at(const struct he_layout *l, uint64_t tile, uint32_t *y, uint32_t *x)
{
	*y = (uint32_t)(tile / l->x.tiles) * l->y.outputs;
	*x = (uint32_t)(tile % l->x.tiles) * l->x.outputs;
}

/* Pixel p of a tile whose first output is `first`. */
static int64_t pixel(const struct he_axis *a, uint32_t first, uint32_t p, int32_t pad)
{
	return ((int64_t)first * a->stride + p) * a->step - pad;
}

void he_layout_input(const struct he_layout *l, uint64_t tile, uint32_t block, const int64_t *x,
		     uint64_t *poly)
{
	const struct window *w = &l->conv.win;
	uint32_t ty, tx;

	tile_at(l, tile, &ty, &tx);
	memset(poly, 0, l->n * sizeof(*poly));
	for (uint32_t i = 0; i < l->c && block * l->c + i < w->in.c; i++)
		for (uint32_t r = 0; r < l->y.size; r++) {
			int64_t row = pixel(&l->y, ty, r, w->pt);
			/* when the row exists */
			size_t from = ((size_t)(block * l->c + i) * w->in.h + (size_t)row) * w->in.w;
			uint64_t *to = poly + ((size_t)i * l->y.size + r) * l->x.size;

			for (uint32_t q = 0; row >= 0 && row < w->in.h && q < l->x.size; q++) {
				int64_t column = pixel(&l->x, tx, q, w->pl);

				if (column >= 0 && column < w->in.w)
					to[q] = (uint64_t)x[from + (size_t)column];
			}
		}
}

void he_layout_needs(const struct he_layout *l, uint32_t m_block, uint32_t *first, uint32_t *blocks)
{
	const struct window *w = &l->conv.win;
	uint32_t in = w->in.c / l->conv.groups, out = w->out.c / l->conv.groups;
	uint32_t from = m_block * l->m, last = from + l->m < w->out.c ? from + l->m - 1 : w->out.c - 1;

	*first = from / out * in / l->c;
	*blocks = ((last / out + 1) * in - 1) / l->c - *first + 1;
}

static void put_kernel(const struct he_layout *l, uint32_t m, uint32_t i, const int64_t *kernel,
		       int64_t *poly)
{
	const struct window *w = &l->conv.win;
	size_t at = ((size_t)m * l->c + l->c - 1 - i) * l->y.size;

	for (uint32_t a = 0; a < w->kh; a++)
		for (uint32_t b = 0; b < w->kw; b++)
			poly[(at + l->y.extent - 1 - a * w->dh) * l->x.size + l->x.extent - 1 - b * w->dw] =
			    kernel[(size_t)a * w->kw + b];
}

void he_layout_weights(const struct he_layout *l, uint32_t c_block, uint32_t m_block, const int64_t *weights,
		       int64_t *poly)
{
	const struct window *w = &l->conv.win;
	uint32_t in = w->in.c / l->conv.groups, out = w->out.c / l->conv.groups;

	memset(poly, 0, l->n * sizeof(*poly));
	for (uint32_t m = 0; m < l->m && m_block * l->m + m < w->out.c; m++)
		for (uint32_t i = 0; i < l->c && c_block * l->c + i < w->in.c; i++) {
			uint32_t filter = m_block * l->m + m, channel = c_block * l->c + i;

			if (channel / in == filter / out)
				put_kernel(l, m, i,
					   weights + ((size_t)filter * in + channel % in) * w->kh * w->kw,
					   poly);
		}
}

static size_t at_most(uint32_t size, uint32_t left)
{
	return size < left ? size : left;
}

size_t he_layout_count(const struct he_layout *l, uint64_t tile, uint32_t block)
{
	const struct window *w = &l->conv.win;
	uint32_t ty, tx;

	tile_at(l, tile, &ty, &tx);
	return at_most(l->m, w->out.c - block * l->m) * at_most(l->y.outputs, w->out.h - ty) *
	       at_most(l->x.outputs, w->out.w - tx);
}

size_t he_layout_wanted(const struct he_layout *l, uint64_t tile, uint32_t block, uint32_t *coefficient,
			uint32_t *element)
{
	const struct window *w = &l->conv.win;
	uint32_t ty, tx;
	size_t n = 0;

	tile_at(l, tile, &ty, &tx);
	for (uint32_t m = 0; m < l->m && block * l->m + m < w->out.c; m++)
		for (uint32_t y = 0; y < l->y.outputs && ty + y < w->out.h; y++)
			for (uint32_t x = 0; x < l->x.outputs && tx + x < w->out.w; x++, n++) {
				size_t row = ((size_t)m * l->c + l->c - 1) * l->y.size + y * l->y.stride +
					     l->y.extent - 1;

				coefficient[n] =
				    (uint32_t)(row * l->x.size + x * l->x.stride + l->x.extent - 1);
				element[n] = ((block * l->m + m) * w->out.h + ty + y) * w->out.w + tx + x;
			}
	return n;
}
