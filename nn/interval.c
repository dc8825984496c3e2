/* SPDX-License-Identifier: Apache-2.0 */
#include "nn/interval.h"

#include <stdlib.h>

#include "crypto/secret.h"

typedef __int128 wide;

#define BEYOND ((wide)1 << 61)

int range_new(struct range *r, size_t n, struct err *e)
{
	r->lo = calloc(2 * n + 1, sizeof(*r->lo));
	if (!r->lo)
		return err_set(e, ERR_ENV, "out of memory for the ranges of %zu elements", n);
	r->hi = r->lo + n;
	r->n = n;
	return 0;
}

void range_free(struct range *r)
{
	if (r->lo)
		secret_wipe(r->lo, 2 * r->n * sizeof(*r->lo));
	free(r->lo);
	*r = (struct range){0};
}

void range_ends(const struct range *r, int64_t *lo, int64_t *hi)
{
	*lo = r->lo[0];
	*hi = r->hi[0];
	for (size_t i = 1; i < r->n; i++) {
		*lo = r->lo[i] < *lo ? r->lo[i] : *lo;
		*hi = r->hi[i] > *hi ? r->hi[i] : *hi;
	}
}

int64_t interval_floor(int64_t v, unsigned f)
{
	return v >> f;
}

int64_t interval_ceil(int64_t v, unsigned f)
{
	return (int64_t)(((wide)v + ((wide)1 << f) - 1) >> f);
}

static wide power(unsigned k)
{
	return (wide)1 << k;
}

int interval_relu_fits(int64_t lo, int64_t hi, unsigned k, unsigned f)
{
	return k >= f + 2 && -power(k - 1) <= lo && hi <= power(k - 1) - power(f);
}

int interval_max_fits(int64_t lo, int64_t hi, unsigned k, unsigned f)
{
	return k >= f + 2 && (wide)interval_ceil(hi, f) - interval_floor(lo, f) <= power(k - f - 1) - 1;
}

int interval_offset_fits(int64_t lo, int64_t hi, unsigned k, unsigned f, unsigned offset_log2)
{
	wide o = power(offset_log2);

	return k >= f + 2 && offset_log2 >= f && -o <= lo && hi <= power(k - 1) - power(f) - o;
}

int interval_last_fits(int64_t lo, int64_t hi, unsigned k)
{
	return -power(k - 1) <= lo && hi < power(k - 1);
}

/* The range of one output while terms are added to it. A sum that leaves 128 bits is beyond every word: it
 * stays marked. */
struct sum {
	wide lo, hi;
	int over;
};

static void add(struct sum *s, wide lo, wide hi)
{
	if (__builtin_add_overflow(s->lo, lo, &s->lo) || __builtin_add_overflow(s->hi, hi, &s->hi))
		s->over = 1;
}

/* |w|, |lo|, |hi| < 2^63: no product leaves 126 bits. */
static void add_product(struct sum *s, int64_t w, int64_t lo, int64_t hi)
{
	add(s, (wide)w * (w >= 0 ? lo : hi), (wide)w * (w >= 0 ? hi : lo));
}

static void add_dense(const struct term *t, const struct range *in, const int64_t *w, struct sum *out)
{
	size_t n = shape_size(t->win.in);

	for (size_t o = 0; o < t->win.out.c; o++)
		for (size_t i = 0; i < n; i++)
			add_product(&out[o], w[o * n + i], in->lo[i], in->hi[i]);
}

/* One filter's window at one position. */
static void add_window(const struct term *t, uint32_t filter, uint32_t y, uint32_t x, const struct range *in,
		       const int64_t *w, struct sum *s)
{
	const struct window *win = &t->win;
	uint32_t channels = win->in.c / t->groups, first = filter / (win->out.c / t->groups) * channels;

	w += (size_t)filter * channels * win->kh * win->kw;
	for (uint32_t c = 0; c < channels; c++)
		for (uint32_t i = 0; i < win->kh; i++) {
			int64_t r = (int64_t)y * win->sh - win->pt + (int64_t)i * win->dh;

			for (uint32_t j = 0; j < win->kw; j++, w++) {
				int64_t q = (int64_t)x * win->sw - win->pl + (int64_t)j * win->dw;
				size_t at =
				    ((size_t)(first + c) * win->in.h + (size_t)r) * win->in.w + (size_t)q;

				if (r >= 0 && q >= 0 && r < win->in.h && q < win->in.w)
					add_product(s, *w, in->lo[at], in->hi[at]);
			}
		}
}

static void add_conv(const struct term *t, const struct range *in, const int64_t *w, struct sum *out)
{
	for (uint32_t o = 0; o < t->win.out.c; o++)
		for (uint32_t y = 0; y < t->win.out.h; y++)
			for (uint32_t x = 0; x < t->win.out.w; x++)
				add_window(t, o, y, x, in, w, out++);
}

/* 2^shift times the value itself: 2^61 · 2^62 fits. */
static void add_shifted(const struct range *in, unsigned shift, struct sum *out, size_t n)
{
	for (size_t i = 0; i < n; i++)
		add(&out[i], (wide)in->lo[i] * power(shift), (wide)in->hi[i] * power(shift));
}

/* 0 when the bounds stay within 2^61. */
static int settle(const struct sum *s, struct range *out, size_t i)
{
	if (s->over || s->lo < -BEYOND || s->hi > BEYOND)
		return RANGE_BEYOND;
	out->lo[i] = (int64_t)s->lo;
	out->hi[i] = (int64_t)s->hi;
	return 0;
}

static int settle_all(const struct sum *s, struct range *out)
{
	for (size_t i = 0; i < out->n; i++)
		if (settle(&s[i], out, i))
			return RANGE_BEYOND;
	return 0;
}

int interval_linear(const struct row *row, const struct range *const in[], const int64_t *weights,
		    const int64_t *bias, struct range *out, struct err *e)
{
	struct sum *s = calloc(out->n, sizeof(*s));
	int result;

	if (!s)
		return err_set(e, ERR_ENV, "out of memory for the ranges of %zu elements", out->n);
	for (size_t i = 0; i < out->n; i++)
		s[i].lo = s[i].hi = bias[i];
	for (uint16_t j = 0; j < row->n_terms; j++) {
		const struct term *t = &row->terms[j];

		if (t->kind == TERM_DENSE)
			add_dense(t, in[j], weights, s);
		else if (t->kind == TERM_CONV)
			add_conv(t, in[j], weights, s);
		else
			add_shifted(in[j], t->shift, s, out->n);
		weights += term_weights(t);
	}
	result = settle_all(s, out);
	secret_wipe(s, out->n * sizeof(*s));
	free(s);
	return result;
}

int interval_pool(const struct window *win, const uint32_t *factors, const struct range *in,
		  struct range *out, struct err *e)
{
	struct pool_sets sets;
	size_t plane = (size_t)win->out.h * win->out.w;
	int result = 0;

	if (pool_sets_new(&sets, win, e))
		return -1;
	for (size_t o = 0; !result && o < sets.outputs; o++) {
		struct sum s = {0};

		for (uint32_t m = sets.start[o]; m < sets.start[o + 1]; m++)
			add_product(&s, factors ? factors[o % plane] : 1, in->lo[sets.member[m]],
				    in->hi[sets.member[m]]);
		result = settle(&s, out, o);
	}
	pool_sets_free(&sets);
	return result;
}

int interval_join(const struct range *const in[], const uint8_t *shift, uint16_t n, int concat,
		  struct range *out, struct err *e)
{
	struct sum *s = calloc(out->n, sizeof(*s));
	size_t at = 0;
	int result;

	if (!s)
		return err_set(e, ERR_ENV, "out of memory for the ranges of %zu elements", out->n);
	for (uint16_t j = 0; j < n; j++) {
		add_shifted(in[j], shift[j], s + at, in[j]->n);
		at += concat ? in[j]->n : 0;
	}
	result = settle_all(s, out);
	secret_wipe(s, out->n * sizeof(*s));
	free(s);
	return result;
}

/* z is y / 2^f rounded down or up. */
static void rounded(const struct range *y, unsigned f, size_t i, int64_t *lo, int64_t *hi)
{
	*lo = interval_floor(y->lo[i], f);
	*hi = interval_ceil(y->hi[i], f);
}

void interval_relu(const struct range *y, unsigned f, struct range *out)
{
	for (size_t i = 0; i < out->n; i++) {
		rounded(y, f, i, &out->lo[i], &out->hi[i]);
		out->lo[i] = out->lo[i] > 0 ? out->lo[i] : 0;
		out->hi[i] = out->hi[i] > 0 ? out->hi[i] : 0;
	}
}

void interval_trunc(const struct range *y, unsigned f, struct range *out)
{
	for (size_t i = 0; i < out->n; i++)
		rounded(y, f, i, &out->lo[i], &out->hi[i]);
}

int interval_square(const struct range *y, unsigned f, struct range *out)
{
	int result = 0;

	for (size_t i = 0; !result && i < out->n; i++) {
		int64_t lo, hi, most, least;

		rounded(y, f, i, &lo, &hi);
		most = -lo > hi ? -lo : hi;
		least = lo > 0 ? lo : hi < 0 ? -hi : 0;
		result = settle(&(struct sum){(wide)least * least, (wide)most * most, 0}, out, i);
	}
	return result;
}

void interval_max(const struct pool_sets *sets, const struct range *y, unsigned f, struct range *out)
{
	for (size_t o = 0; o < sets->outputs; o++) {
		out->lo[o] = out->hi[o] = INT64_MIN;
		for (uint32_t m = sets->start[o]; m < sets->start[o + 1]; m++) {
			int64_t lo, hi;

			rounded(y, f, sets->member[m], &lo, &hi);
			out->lo[o] = lo > out->lo[o] ? lo : out->lo[o];
			out->hi[o] = hi > out->hi[o] ? hi : out->hi[o];
		}
	}
}
