/* SPDX-License-Identifier: Apache-2.0 */
/* test/nn/ring.h — a tape in its rings: what the parties' shares and masked words add up to (PROTOCOL.md
 * §2-5), with nothing kept but k bits of each value. Agrees with fixed_infer exactly when every width
 * suffices. */
#ifndef OBSCURA_TEST_NN_RING_H
#define OBSCURA_TEST_NN_RING_H

#include "crypto/ring.h"
#include "nn/linear.h"
#include "test/nn/net.h"

#define RING_MOST 600 /* elements of a value */

struct ring_run {
	const struct plan *plan;
	const struct weights *weights;
	uint64_t value[64][RING_MOST]; /* mod 2^k; of a masked wire y + rho */
	uint64_t rho[64][RING_MOST];
};

static inline const struct value *ring_value(const struct ring_run *r, uint16_t v)
{
	return &r->plan->tape.values[v];
}

/* Masks: every value's are uniform, with low bits as the test wants them (0 or all ones: y is rounded down or
 * up). */
static inline void ring_masks(struct ring_run *r)
{
	for (uint16_t v = 0; v < r->plan->tape.n_values; v++)
		for (size_t i = 0; i < shape_size(ring_value(r, v)->shape); i++)
			r->rho[v][i] = rnd() & ring_mask(ring_value(r, v)->k);
}

static inline uint64_t ring_low(void *ctx, uint16_t v, size_t i, unsigned f)
{
	return ((struct ring_run *)ctx)->rho[v][i] & ring_mask(f);
}

static inline void ring_linear(struct ring_run *r, uint16_t at)
{
	const struct row *row = &r->plan->tape.rows[at];
	const struct layer_weights *lw = &r->weights->rows[at];
	const struct value *out = ring_value(r, row->out);
	uint64_t y[RING_MOST], pooled[RING_MOST];
	const int64_t *w = lw->weights;
	struct err e = {0};

	memcpy(y, lw->bias, lw->n_bias * sizeof(*y));
	for (uint16_t j = 0; j < row->n_terms; j++) {
		const struct term *t = &row->terms[j];
		struct linear *l;

		if (t->kind == TERM_SKIP) {
			for (size_t i = 0; i < lw->n_bias; i++)
				y[i] += r->value[t->in][i] << t->shift;
			continue;
		}
		l = linear_new(t, (const uint64_t *)w, out->k, 0, &e);
		void *scratch = aligned_alloc(64, linear_scratch(l, 1) / 64 * 64 + 64);

		linear_apply(l, r->value[t->in], 0, y, 0, 1, scratch);
		free(scratch);
		linear_free(l);
		w += term_weights(t);
	}
	if (row->has_post)
		linear_pool(&row->post, y, pooled);
	for (size_t i = 0; i < shape_size(out->shape); i++)
		r->value[row->out][i] = ((row->has_post ? pooled[i] : y[i]) +
					 (out->form == FORM_MASKED ? r->rho[row->out][i] : 0)) &
					ring_mask(out->k);
}

/* z of a masked word: hat - r mod 2^w, then either sign-extended by its top bit or (ReLU) kept when that is
 * 0; to kout bits by the formulas. */
static inline uint64_t ring_relu(uint64_t hat, uint64_t mask, unsigned w, unsigned kout)
{
	uint64_t z = (hat - mask) & ring_mask(w), b = !(z >> (w - 1)), wrap = 0;

	if (kout > w)
		wrap = (1 - (hat >> (w - 1))) * (mask >> (w - 1)) << w;
	return (b * (hat - mask + wrap)) & ring_mask(kout);
}

static inline uint64_t ring_extend(uint64_t hat, uint64_t mask, unsigned w, unsigned kout, uint64_t offset)
{
	uint64_t wrap = kout > w ? (1 - (hat >> (w - 1))) * (mask >> (w - 1)) << w : 0;

	return (hat - mask + wrap - offset) & ring_mask(kout);
}

static inline void ring_element(struct ring_run *r, const struct row *row, size_t i)
{
	const struct value *in = ring_value(r, row->in[0]), *out = ring_value(r, row->out);
	uint64_t y = r->value[row->in[0]][i], rho = r->rho[row->in[0]][i], *to = &r->value[row->out][i];
	unsigned w = in->k - in->f;

	if (row->kind == OP_MASK)
		*to = y;
	else if (row->kind == OP_REVEAL)
		*to = (uint64_t)ring_signed(y, out->k);
	else if (row->kind == OP_RELU)
		*to = ring_relu(y >> in->f, rho >> in->f, w, out->k);
	else {
		uint64_t offset = UINT64_C(1) << row->offset_log2,
			 hat = ((y + offset) & ring_mask(in->k)) >> in->f;

		*to = ring_extend(hat, rho >> in->f, w, out->k, offset >> in->f);
		if (row->kind == OP_SQUARE)
			*to = (*to * *to) & ring_mask(out->k);
	}
}

/* A tree of differences in the ring 2^w, as op/max.c: z_j + relu(z_i - z_j). */
static inline uint64_t ring_tournament(const struct ring_run *r, const struct row *row,
				       const uint32_t *member, uint32_t n, uint32_t *index)
{
	const struct value *in = ring_value(r, row->in[0]);
	unsigned w = in->k - in->f;
	uint64_t z[RING_MOST];
	uint32_t at[RING_MOST];

	for (uint32_t i = 0; i < n; i++) {
		z[i] =
		    ((r->value[row->in[0]][member[i]] >> in->f) - (r->rho[row->in[0]][member[i]] >> in->f)) &
		    ring_mask(w);
		at[i] = member[i];
	}
	for (; n > 1; n = (n + 1) / 2)
		for (uint32_t i = 0; i < (n + 1) / 2; i++) {
			uint32_t a = 2 * i, b = a + 1 < n ? a + 1 : a;
			uint64_t difference = (z[a] - z[b]) & ring_mask(w);
			int first = !(difference >> (w - 1));

			z[i] = (z[b] + (first ? difference : 0)) & ring_mask(w);
			at[i] = first ? at[a] : at[b];
		}
	*index = at[0];
	return z[0];
}

static inline void ring_max(struct ring_run *r, const struct row *row)
{
	const struct value *out = ring_value(r, row->out);
	struct pool_sets sets;
	struct err e = {0};
	uint32_t unused;

	assert_int_equal(pool_sets_new(&sets, &row->post, &e), 0);
	for (size_t o = 0; o < sets.outputs; o++)
		r->value[row->out][o] = (ring_tournament(r, row, sets.member + sets.start[o],
							 sets.start[o + 1] - sets.start[o], &unused) +
					 r->rho[row->out][o]) &
					ring_mask(out->k);
	pool_sets_free(&sets);
}

static inline void ring_argmax(struct ring_run *r, const struct row *row)
{
	uint32_t member[RING_MOST], n = (uint32_t)shape_size(ring_value(r, row->in[0])->shape), index;

	for (uint32_t i = 0; i < n; i++)
		member[i] = i;
	ring_tournament(r, row, member, n, &index);
	r->value[row->out][0] = index;
}

static inline void ring_infer(struct ring_run *r, const uint8_t *pixels, int64_t *result)
{
	const struct tape *t = &r->plan->tape;
	uint16_t last = t->rows[t->n_rows - 1].out;

	for (size_t i = 0; i < shape_size(t->values[0].shape); i++)
		r->value[0][i] = pixels[i] & ring_mask(t->values[0].k);
	for (uint16_t i = 0; i < t->n_rows; i++) {
		const struct row *row = &t->rows[i];
		const uint64_t *in[TAPE_MAX_TERMS];

		for (uint16_t j = 0; j < row->n_in; j++)
			in[j] = r->value[row->in[j]];
		if (row->kind == OP_LINEAR)
			ring_linear(r, i);
		else if (row->kind == OP_MAP)
			map_apply(t, row, in, r->value[row->out]);
		else if (row->kind == OP_MAX)
			ring_max(r, row);
		else if (row->kind == OP_ARGMAX)
			ring_argmax(r, row);
		else
			for (size_t j = 0; j < shape_size(t->values[row->out].shape); j++)
				ring_element(r, row, j);
	}
	memcpy(result, r->value[last], shape_size(t->values[last].shape) * sizeof(*result));
}

/* ---- whole networks ---- */

static inline int is_rounded(const struct value *v)
{
	return v->form == FORM_MASKED && v->f > 0;
}

/* Elements whose rounding can go either way, up to 30. */
static inline unsigned roundings(const struct tape *t)
{
	size_t n = 0;

	for (uint16_t v = 0; v < t->n_values; v++)
		n += is_rounded(&t->values[v]) ? shape_size(t->values[v].shape) : 0;
	return n < 30 ? (unsigned)n : 30;
}

/* Bit i of choice: element i (counted over all rounded wires) is rounded up wherever it can be; `choice` ~0
 * keeps random low bits. */
static inline void choose_roundings(struct ring_run *r, uint32_t choice)
{
	unsigned at = 0;

	ring_masks(r);
	for (uint16_t v = 0; choice != ~0u && v < r->plan->tape.n_values; v++) {
		const struct value *value = ring_value(r, v);

		for (size_t i = 0; is_rounded(value) && i < shape_size(value->shape); i++, at++)
			r->rho[v][i] = (r->rho[v][i] & ~ring_mask(value->f)) |
				       (choice >> at % 30 & 1 ? ring_mask(value->f) : 0);
	}
}

#define STRIDE (SLOW ? 15 : 1) /* of images of two pixels; 65535 = 15 · 4369, so 0 and 255 255 stay */

struct seen {
	int64_t lo[64], hi[64];
};

static inline void one_image(struct ring_run *r, struct fixed *f, const struct bounds *b,
			     const uint8_t *pixels, struct seen *seen, const char *what)
{
	const struct tape *t = &r->plan->tape;
	int64_t want[RING_MOST], got[RING_MOST];
	size_t n = shape_size(t->values[t->n_values - 1].shape);

	fixed_infer(f, pixels, ring_low, r, want);
	ring_infer(r, pixels, got);
	if (memcmp(want, got, n * sizeof(*want)))
		fail_msg("%s: the rings give %lld, the integers %lld", what, (long long)got[0],
			 (long long)want[0]);
	for (uint16_t v = 0; v < t->n_values; v++)
		for (size_t i = 0; i < shape_size(t->values[v].shape); i++) {
			int64_t x = fixed_value(f, v)[i];

			if (x < b->lo[v] || x > b->hi[v])
				fail_msg("%s: value %u is %lld, not in [%lld, %lld]", what, v, (long long)x,
					 (long long)b->lo[v], (long long)b->hi[v]);
			seen->lo[v] = x < seen->lo[v] ? x : seen->lo[v];
			seen->hi[v] = x > seen->hi[v] ? x : seen->hi[v];
		}
}

/* Sums of pixels alone have exact bounds, and no narrower word would do. */
static inline void first_sums_are_tight(const struct plan *p, const struct bounds *b, const struct seen *seen,
					const char *what)
{
	for (uint16_t i = 0; i < p->tape.n_rows; i++) {
		const struct row *row = &p->tape.rows[i];

		if (row->kind != OP_LINEAR || row->n_terms != 1 || row->has_post ||
		    b->hi[row->terms[0].in] != 255)
			continue;
		if (seen->lo[row->out] != b->lo[row->out] || seen->hi[row->out] != b->hi[row->out])
			fail_msg("%s: row %u takes [%lld, %lld], proven is [%lld, %lld]", what, i,
				 (long long)seen->lo[row->out], (long long)seen->hi[row->out],
				 (long long)b->lo[row->out], (long long)b->hi[row->out]);
	}
}

static inline void all_images(struct planned *p, size_t pixels, const char *what)
{
	static struct ring_run r;
	struct seen seen;
	struct fixed *f;
	struct err e = {0};
	unsigned rounded = roundings(&p->plan->tape), most = pixels == 1   ? 8
							     : pixels == 2 ? 1 + (rounded <= 2)
									   : 0;
	uint32_t inputs = pixels <= 2 ? 1u << (8 * pixels) : 200;

	for (int v = 0; v < 64; v++) {
		seen.lo[v] = INT64_MAX;
		seen.hi[v] = INT64_MIN;
	}
	r.plan = p->plan;
	r.weights = p->weights;
	assert_true(p->plan->tape.n_values <= 64);
	assert_int_equal(fixed_new(&f, p->plan, p->weights, &e), 0);
	for (uint32_t x = 0; x < inputs; x += pixels == 2 ? STRIDE : 1) {
		uint8_t image[64];

		for (size_t i = 0; i < pixels; i++)
			image[i] = pixels <= 2 ? (uint8_t)(x >> (8 * i))
				   : rnd() % 3 ? (uint8_t)(rnd() % 2 * 255)
					       : (uint8_t)rnd();
		for (uint32_t c = 0; c < 1u << (rounded < most ? rounded : most); c++) {
			choose_roundings(&r, rounded <= most ? c : c ? (uint32_t)rnd() & 0x3fffffff : ~0u);
			one_image(&r, f, p->bounds, image, &seen, what);
		}
	}
	if (pixels <= 2)
		first_sums_are_tight(p->plan, p->bounds, &seen, what);
	fixed_free(f);
}

#endif
