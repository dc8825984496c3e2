/* SPDX-License-Identifier: Apache-2.0 */
/* Which row of kernels a matrix is packed for; the rest of nn/linear.h is in linear_blocked.c and
 * linear_plain.c. */
#include "nn/linear.h"

#include <stdlib.h>
#include <string.h>

#include "crypto/secret.h"
#include "nn/linear_row.h"

static const struct linear_row plain = {CPU_REF, NULL};
#if defined(__x86_64__)
static const struct linear_row avx2 = {CPU_AVX2, &linear_avx2}, avx512 = {CPU_AVX512, &linear_avx512};
#endif

static const struct cpu_row rows[] = {
#if defined(__x86_64__)
    {CPU_AVX512, &avx512},
    {CPU_AVX2, &avx2},
#endif
    {CPU_REF, &plain},
};

static int is_right(const void *row)
{
	return linear_row_is_right(row);
}

static const struct linear_row *row_in_force(void)
{
	static struct cpu_rows all = {rows, sizeof(rows) / sizeof(*rows), is_right, 0};

	return cpu_kernels(&all);
}

static void *aligned(size_t bytes)
{
	size_t whole = (bytes + 63) / 64 * 64 + 64; /* a vector that starts at the last word may be read */
	void *p = aligned_alloc(64, whole);

	if (p)
		memset(p, 0, whole);
	return p;
}

static int fill(struct linear *l, const uint64_t *m)
{
	if (!(l->m = aligned(l->bytes)))
		return -1;
	if (!l->row->kernels) {
		memcpy(l->m, m, l->bytes);
		return 0;
	}
	if (!(l->at = malloc((l->depth + 1) * sizeof(*l->at))))
		return -1;
	blocked_offsets(l);
	blocked_pack(l, m);
	return 0;
}

struct linear *linear_new_row(const struct linear_row *row, const struct term *t, const uint64_t *m,
			      unsigned k, int small, struct err *e)
{
	struct linear *l = calloc(1, sizeof(*l));

	if (l) {
		l->term = *t;
		l->row = row;
		l->bytes = term_weights(t) * sizeof(*m);
		if (row->kernels && blocked_choose(l, k, small))
			l->row = &plain;
	}
	if (!l || fill(l, m)) {
		linear_free(l);
		err_set(e, ERR_ENV, "out of memory for a matrix of %zu words", term_weights(t));
		return NULL;
	}
	return l;
}

struct linear *linear_new(const struct term *t, const uint64_t *m, unsigned k, int small, struct err *e)
{
	return linear_new_row(row_in_force(), t, m, k, small, e);
}

void linear_free(struct linear *l)
{
	if (!l)
		return;
	if (l->m)
		secret_wipe(l->m, l->bytes);
	free(l->m);
	free(l->at);
	free(l);
}

size_t linear_scratch(const struct linear *l, size_t batch)
{
	return batch && l->row->kernels ? blocked_scratch(l) : 0;
}

void linear_apply(const struct linear *l, const uint64_t *x, size_t x_stride, uint64_t *y, size_t y_stride,
		  size_t batch, void *scratch)
{
	if (l->row->kernels) {
		blocked_apply(l, x, x_stride, y, y_stride, batch, scratch);
		return;
	}
	for (size_t b = 0; b < batch; b++)
		plain_apply(l, x + b * x_stride, y + b * y_stride);
}

uint64_t term_multiply_adds(const struct term *t)
{
	const struct window *w = &t->win;

	if (t->kind == TERM_DENSE)
		return term_weights(t);
	return t->kind == TERM_CONV ? (uint64_t)term_weights(t) * w->out.h * w->out.w : 0;
}
