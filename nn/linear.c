/* SPDX-License-Identifier: Apache-2.0 */
#include "nn/linear.h"

#include <stdlib.h>
#include <string.h>

#include "crypto/secret.h"

struct linear {
	struct term term;
	size_t words;
	uint64_t *m; /* owns */
};

struct linear *linear_new(const struct term *t, const uint64_t *m, unsigned k, int small, struct err *e)
{
	struct linear *l = calloc(1, sizeof(*l));

	if (!l || !(l->m = malloc(term_weights(t) * sizeof(*l->m) + 1))) {
		free(l);
		err_set(e, ERR_ENV, "out of memory for a matrix of %zu words", term_weights(t));
		return NULL;
	}
	l->term = *t;
	l->words = term_weights(t);
	memcpy(l->m, m, l->words * sizeof(*l->m));
	return l;
}

void linear_free(struct linear *l)
{
	if (!l)
		return;
	secret_wipe(l->m, l->words * sizeof(*l->m));
	free(l->m);
	free(l);
}

size_t linear_scratch(const struct linear *l, size_t batch)
{
	return 0;
}

static void dense(const struct linear *l, const uint64_t *x, uint64_t *y)
{
	size_t n = shape_size(l->term.win.in);

	for (size_t o = 0; o < l->term.win.out.c; o++) {
		uint64_t sum = 0;

		for (size_t i = 0; i < n; i++)
			sum += l->m[o * n + i] * x[i];
		y[o] += sum;
	}
}

/* Adds kernel element (i, j) of one pair of channels to a whole output plane: the columns that stay inside are found once. */
static void plane(const struct window *w, uint32_t i, uint32_t j, uint64_t weight, const uint64_t *x, uint64_t *y)
{
	for (uint32_t r = 0; r < w->out.h; r++) {
		int64_t row = (int64_t)r * w->sh - w->pt + (int64_t)i * w->dh, first = (int64_t)j * w->dw - w->pl;
		uint32_t from = first < 0 ? (uint32_t)((-first + w->sw - 1) / w->sw) : 0;
		int64_t room = (int64_t)w->in.w - first; /* columns c with c*sw < room are inside */
		uint32_t to = room <= 0 ? 0 : (uint32_t)((room + w->sw - 1) / w->sw);

		if (row < 0 || row >= w->in.h)
			continue;
		if (to > w->out.w)
			to = w->out.w;
		for (uint32_t c = from; c < to; c++)
			y[(size_t)r * w->out.w + c] += weight * x[row * w->in.w + first + (int64_t)c * w->sw];
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
					plane(w, i, j, *weight++, x + (size_t)(o / out * in + c) * w->in.h * w->in.w,
					      y + (size_t)o * w->out.h * w->out.w);
}

void linear_apply(const struct linear *l, const uint64_t *x, size_t x_stride, uint64_t *y, size_t y_stride, size_t batch, void *scratch)
{
	for (size_t b = 0; b < batch; b++) {
		if (l->term.kind == TERM_DENSE)
			dense(l, x + b * x_stride, y + b * y_stride);
		else
			conv(l, x + b * x_stride, y + b * y_stride);
	}
}

void linear_pool(const struct window *w, const uint64_t *in, uint64_t *out)
{
	struct window plain = *w;

	memset(out, 0, shape_size(w->out) * sizeof(*out));
	plain.dh = plain.dw = 1;
	for (uint32_t c = 0; c < w->out.c; c++)
		for (uint32_t i = 0; i < w->kh; i++)
			for (uint32_t j = 0; j < w->kw; j++)
				plane(&plain, i, j, 1, in + (size_t)c * w->in.h * w->in.w, out + (size_t)c * w->out.h * w->out.w);
}

uint64_t term_multiply_adds(const struct term *t)
{
	const struct window *w = &t->win;

	if (t->kind == TERM_DENSE)
		return term_weights(t);
	return t->kind == TERM_CONV ? (uint64_t)term_weights(t) * w->out.h * w->out.w : 0;
}
