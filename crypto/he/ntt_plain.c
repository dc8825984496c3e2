/* SPDX-License-Identifier: Apache-2.0 */
/* Plain C, the oracle of the other rows.
 *
 * Forward (Cooley-Tukey, decimation in time, ψ merged into the twiddles): block i of m takes X, Y to X + wY,
 * X - wY. Words are signed and are not reduced on the way: |wY| < q after Montgomery's reduction, so that
 * after 12 levels |X| < 13 q < 2^30, and its precondition |X| w < 2^31 q holds. Inverse (Gentleman-Sande): X,
 * Y to X + Y, (X - Y) w, with words in [0, 2q). */
#include "crypto/he/ntt.h"

/* a * w R^-1 mod q in (-q, q); wq = w q^-1 mod R spares the dependent product. */
static inline int32_t times(int32_t a, uint32_t w, uint32_t wq, uint32_t q)
{
	int32_t m = (int32_t)((uint32_t)a * wq);

	return (int32_t)(((int64_t)a * (int32_t)w - (int64_t)m * (int32_t)q) >> 32);
}

static void forward(const struct he_limb *l, uint32_t *words, size_t n)
{
	int32_t *x = (int32_t *)words;

	for (size_t m = 1, t = n / 2; m < n; m *= 2, t /= 2)
		for (size_t i = 0; i < m; i++) {
			uint32_t w = l->w[m + i], wq = l->wq[m + i];
			int32_t *a = x + 2 * i * t, *b = a + t;

			for (size_t j = 0; j < t; j++) {
				int32_t y = times(b[j], w, wq, l->q);

				b[j] = a[j] - y;
				a[j] += y;
			}
		}
	for (size_t i = 0; i < n; i++) /* x R R^-1 */
		words[i] = he_positive(times(x[i], l->one, l->one * l->inverse, l->q), l);
}

/* [0, 4q) → [0, 2q) */
static inline int32_t halved(int32_t x, uint32_t q)
{
	x -= (int32_t)(2 * q);
	return x + ((x >> 31) & (int32_t)(2 * q));
}

static void last_level(const struct he_limb *l, uint32_t *words, size_t n)
{
	int32_t *a = (int32_t *)words, *b = a + n / 2;

	for (size_t j = 0; j < n / 2; j++) {
		int32_t sum = a[j] + b[j], difference = a[j] - b[j];

		words[j] = he_positive(times(sum, l->last, l->last_q, l->q), l);
		words[n / 2 + j] = he_positive(times(difference, l->last_w, l->last_wq, l->q), l);
	}
}

static void inverse(const struct he_limb *l, uint32_t *words, size_t n)
{
	int32_t *x = (int32_t *)words, q = (int32_t)l->q;

	for (size_t m = n / 2, t = 1; m > 1; m /= 2, t *= 2)
		for (size_t i = 0; i < m; i++) {
			uint32_t w = l->iw[m + i], wq = l->iwq[m + i];
			int32_t *a = x + 2 * i * t, *b = a + t;

			for (size_t j = 0; j < t; j++) {
				int32_t difference = a[j] - b[j];

				a[j] = halved(a[j] + b[j], l->q);
				b[j] = times(difference, w, wq, l->q) + q;
			}
		}
	last_level(l, words, n);
}

static void dot(const struct he_limb *l, uint32_t *out, const uint32_t *const *a, const uint32_t *const *b,
		size_t terms, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t sum = 0;

		for (size_t j = 0; j < terms; j++) {
			sum += (uint64_t)a[j][i] * b[j][i];
			if (j % HE_DOT_FOLD == HE_DOT_FOLD - 1)
				sum = (sum >> 32) * l->one + (uint32_t)sum;
		}
		sum = (sum >> 32) * l->one + (uint32_t)sum; /* < 2^58, congruent */
		out[i] = he_positive(
		    (int32_t)((int64_t)(sum - (uint64_t)((uint32_t)sum * l->inverse) * l->q) >> 32), l);
	}
}

const struct he_row he_row_plain = {CPU_REF, forward, inverse, dot};
