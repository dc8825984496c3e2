/* SPDX-License-Identifier: Apache-2.0 */
/* The data owner's end: the tape in clear, linear rows by request. */
#include <stdlib.h>
#include <string.h>

#include "crypto/ring.h"
#include "crypto/secret.h"
#include "nn/he_parts.h"

static int out_of_memory(struct err *e)
{
	return err_set(e, ERR_ENV, "out of memory for an inference of the he personality");
}

static const struct tape *tape_of(const struct he_lane *l)
{
	return &l->hp->plan->tape;
}

static size_t sum_size(const struct tape *t, const struct row *row)
{
	return shape_size(row->has_post ? row->post.in : t->values[row->out].shape);
}

static int take_buffers(struct he_lane *l, struct err *e)
{
	const struct tape *t = tape_of(l);
	size_t n = he_params(l->hp->set)->n;

	for (uint16_t i = 0; i < t->n_rows; i++)
		if (t->rows[i].kind == OP_LINEAR && sum_size(t, &t->rows[i]) > l->sum_words)
			l->sum_words = sum_size(t, &t->rows[i]);
	l->poly = calloc(2 * n, 8);
	l->sum = calloc(2 * (l->sum_words + 1), 8);
	l->wanted = calloc(2 * n, sizeof(*l->wanted));
	l->ran = calloc(t->n_rows, 1);
	l->images = calloc(l->batch_max + 1, sizeof(*l->images));
	if (!l->poly || !l->sum || !l->wanted || !l->ran || !l->images)
		return out_of_memory(e);
	l->opened = l->poly + n;
	l->element = l->wanted + n;
	for (size_t i = 0; i < l->batch_max; i++)
		if (fixed_new(&l->images[i], l->hp->plan, NULL, e))
			return -1;
	return 0;
}

int he_lane_new(struct he_lane **out, const struct he_plan *hp, const struct he_key *key, size_t batch_max,
		struct err *e)
{
	struct he_lane *l = calloc(1, sizeof(*l));

	*out = NULL;
	if (!l)
		return out_of_memory(e);
	l->hp = hp;
	l->key = key;
	l->batch_max = batch_max;
	l->rng = he_rng_new(NULL, e);
	l->work = he_work_new(hp->set, 0, e);
	if (!l->rng || !l->work || take_buffers(l, e)) {
		he_lane_free(l);
		return -1;
	}
	*out = l;
	return 0;
}

void he_lane_free(struct he_lane *l)
{
	if (!l)
		return;
	for (size_t i = 0; l->images && i < l->batch_max; i++)
		fixed_free(l->images[i]);
	if (l->poly)
		secret_wipe(l->poly, 16 * he_params(l->hp->set)->n);
	if (l->sum)
		secret_wipe(l->sum, 16 * (l->sum_words + 1));
	free(l->images);
	free(l->poly);
	free(l->sum);
	free(l->wanted);
	free(l->ran);
	he_work_free(l->work);
	he_rng_free(l->rng);
	free(l);
}

void he_lane_profile(struct he_lane *l, uint64_t *ns)
{
	l->ns = ns;
	he_laps_row(&l->laps, ns, 0);
	he_work_laps(l->work, &l->laps);
}

void he_lane_begin(struct he_lane *l, const uint8_t *pixels, size_t batch)
{
	size_t n = shape_size(l->hp->plan->input);

	l->batch = batch;
	l->level = 0;
	memset(l->ran, 0, tape_of(l)->n_rows);
	for (size_t b = 0; b < batch; b++)
		for (size_t i = 0; i < n; i++)
			fixed_values(l->images[b], 0)[i] = pixels[b * n + i];
}

/* ---- rows ---- */

/* y = pool(Σ 2^s x) + sum, or pool(Σ 2^s x + sum) when the pool is not in the kernels; signed mod 2^k. sum:
 * l->sum, NULL for rows of skips alone. */
static void finish(struct he_lane *l, size_t image, const struct row *row, const struct he_step *s)
{
	const struct tape *t = tape_of(l);
	size_t n = sum_size(t, row), out = shape_size(t->values[row->out].shape);
	uint64_t *before = l->sum + l->sum_words + 1,
		 *y = (uint64_t *)fixed_values(l->images[image], row->out);
	int inside = s && !s->folded;

	memset(before, 0, n * 8);
	for (size_t i = 0; inside && i < n; i++)
		before[i] = l->sum[i];
	for (uint16_t j = 0; j < row->n_terms; j++) {
		const int64_t *x = fixed_value(l->images[image], row->terms[j].in);

		for (size_t i = 0; row->terms[j].kind == TERM_SKIP && i < n; i++)
			before[i] += (uint64_t)x[i] << row->terms[j].shift;
	}
	if (row->has_post)
		linear_pool(&row->post, before, y);
	else
		memcpy(y, before, n * 8);
	for (size_t i = 0; s && i < out; i++)
		y[i] = (uint64_t)ring_signed(y[i] + (s->folded ? l->sum[i] : 0), s->width.k);
}

static const struct he_step *step_of(const struct he_plan *hp, uint16_t row)
{
	for (uint16_t i = 0; i < hp->n_steps; i++)
		if (hp->steps[i].row == row)
			return &hp->steps[i];
	return NULL;
}

/* All rows whose values are there. */
void he_lane_rows(struct he_lane *l)
{
	const struct tape *t = tape_of(l);

	for (uint16_t i = 0; i < t->n_rows; i++) {
		const struct row *row = &t->rows[i];

		if (l->ran[i] || l->hp->row_level[i] > l->level || step_of(l->hp, i))
			continue;
		l->ran[i] = 1;
		he_laps_row(&l->laps, l->ns, i);
		for (size_t b = 0; b < l->batch; b++)
			if (row->kind == OP_LINEAR)
				finish(l, b, row, NULL);
			/* not reduced: the interval was widened by the error, the tape's word was not */
			else if (row->kind == OP_REVEAL)
				memcpy(fixed_values(l->images[b], row->out),
				       fixed_value(l->images[b], row->in[0]),
				       shape_size(t->values[row->out].shape) * 8);
			else
				fixed_row(l->images[b], i);
		he_lap(&l->laps, HE_LAP_REST);
	}
}

/* ---- requests ---- */

uint8_t *he_lane_encrypt(struct he_lane *l, const struct he_step *s, const struct he_term *ht,
			 const int64_t *x, struct prg *half, uint64_t *index, uint8_t *out)
{
	const struct he_width *w = &s->width;

	for (uint64_t tile = 0; tile < he_layout_tiles(&ht->layout); tile++)
		for (uint32_t c = 0; c < ht->layout.c_blocks; c++) {
			he_layout_input(&ht->layout, tile, c, x, l->poly);
			he_lap(&l->laps, HE_LAP_REST);
			he_encrypt(he_key_of(l->key, w->small), l->rng, half, (*index)++, w->limbs, w->k,
				   w->up, l->poly, he_work_of(l->work, w->small), out);
			out += he_cipher_bytes(he_width_params(l->hp->set, w), w->up);
		}
	return out;
}

static uint8_t *ask_step(struct he_lane *l, size_t image, const struct he_step *s, struct prg *half,
			 uint64_t *index, uint8_t *out)
{
	const struct row *row = &tape_of(l)->rows[s->row];

	he_laps_row(&l->laps, l->ns, s->row);
	for (uint16_t t = 0; t < s->n_terms; t++)
		out = he_lane_encrypt(l, s, &s->terms[t],
				      fixed_value(l->images[image], row->terms[s->terms[t].term].in), half,
				      index, out);
	return out;
}

static uint8_t *ask_image(struct he_lane *l, size_t image, uint8_t *out, struct err *e)
{
	const struct he_plan *hp = l->hp;
	uint64_t index = 0;
	struct prg *half;

	prg_seed(out);
	if (!(half = prg_new(out, PRG_HE_HALF, e)))
		return NULL;
	out += HE_SEED_BYTES;
	for (uint16_t s = 0; s < hp->n_steps; s++)
		if (hp->steps[s].level == l->level)
			out = ask_step(l, image, &hp->steps[s], half, &index, out);
	prg_free(half);
	return out;
}

int he_lane_ask(struct he_lane *l, uint16_t *level, uint8_t *out, struct err *e)
{
	he_laps_start(&l->laps);
	he_lane_rows(l);
	if (l->level == l->hp->levels)
		return 0;
	*level = l->level;
	for (size_t b = 0; b < l->batch && out; b++)
		out = ask_image(l, b, out, e);
	return out ? 1 : -1;
}

/* ---- answers ---- */

/* A word mod 2^to as one mod 2^k. */
static uint64_t scaled(uint64_t y, const struct he_width *w)
{
	if (w->to <= w->k)
		return y << (w->k - w->to);
	return (y + (UINT64_C(1) << (w->to - w->k - 1))) >> (w->to - w->k);
}

static const uint8_t *take_block(struct he_lane *l, const struct he_step *s, const struct he_layout *layout,
				 uint64_t tile, uint32_t m, const uint8_t *in)
{
	unsigned to = s->width.to, cut = s->width.cut;
	size_t wanted = he_layout_wanted(layout, tile, m, l->wanted, l->element);

	ring_unpack(l->poly, in + ring_packed(wanted, to - cut), layout->n, to);
	he_lap(&l->laps, HE_LAP_REST);
	he_open(he_key_of(l->key, s->width.small), to, l->poly, he_work_of(l->work, s->width.small),
		l->opened);
	ring_unpack(l->poly, in, wanted, to - cut);
	for (size_t i = 0; i < wanted; i++)
		l->sum[l->element[i]] +=
		    scaled(((l->poly[i] << cut) + l->opened[l->wanted[i]]) & ring_mask(to), &s->width);
	return in + ring_packed(wanted, to - cut) + ring_packed(layout->n, to);
}

const uint8_t *he_lane_open(struct he_lane *l, const struct he_step *s, const uint8_t *in)
{
	he_laps_row(&l->laps, l->ns, s->row);
	memset(l->sum, 0, l->sum_words * 8);
	for (uint16_t t = 0; t < s->n_terms; t++)
		for (uint64_t tile = 0; tile < he_layout_tiles(&s->terms[t].layout); tile++)
			for (uint32_t m = 0; m < s->terms[t].layout.m_blocks; m++)
				in = take_block(l, s, &s->terms[t].layout, tile, m, in);
	return in;
}

void he_lane_finish(struct he_lane *l, size_t image, const struct he_step *s)
{
	he_laps_row(&l->laps, l->ns, s->row);
	finish(l, image, &tape_of(l)->rows[s->row], s);
	he_lap(&l->laps, HE_LAP_REST);
}

int he_lane_take(struct he_lane *l, const uint8_t *in, size_t bytes, struct err *e)
{
	const struct he_plan *hp = l->hp;

	if (l->level == hp->levels || bytes != he_answer_bytes(hp, l->level, l->batch))
		return err_set(e, ERR_PEER,
			       "an answer of %zu bytes in round trip %u, which has another size; the peer's "
			       "plan is another",
			       bytes, l->level);
	he_laps_start(&l->laps);
	for (size_t b = 0; b < l->batch; b++)
		for (uint16_t i = 0; i < hp->n_steps; i++) {
			const struct he_step *s = &hp->steps[i];

			if (s->level != l->level)
				continue;
			in = he_lane_open(l, s, in);
			he_lane_finish(l, b, s);
		}
	l->level++;
	return 0;
}

const int64_t *he_lane_result(const struct he_lane *l, size_t image)
{
	return fixed_value(l->images[image], tape_of(l)->rows[tape_of(l)->n_rows - 1].out);
}

const int64_t *he_lane_value(const struct he_lane *l, size_t image, uint16_t value)
{
	return fixed_value(l->images[image], value);
}
