/* SPDX-License-Identifier: Apache-2.0 */
#include "nn/he_offline.h"

#include <stdlib.h>
#include <string.h>

#include "crypto/ring.h"
#include "nn/he_parts.h"

/* ---- sizes ---- */

static size_t term_words(const struct he_term *t)
{
	return shape_size(t->layout.conv.win.in);
}

static size_t step_words(const struct he_step *s)
{
	return shape_size(s->terms[0].layout.conv.win.out);
}

static size_t masks(const struct he_plan *hp)
{
	size_t n = 0;

	for (uint16_t i = 0; i < hp->n_steps; i++)
		for (uint16_t t = 0; t < hp->steps[i].n_terms; t++)
			n += term_words(&hp->steps[i].terms[t]);
	return n;
}

size_t he_ticket_secrets(const struct he_plan *hp)
{
	size_t n = 0;

	for (uint16_t i = 0; i < hp->n_steps; i++)
		n += step_words(&hp->steps[i]);
	return n;
}

size_t he_ticket_words(const struct he_plan *hp)
{
	return masks(hp) + he_ticket_secrets(hp);
}

size_t he_ticket_request(const struct he_plan *hp)
{
	size_t bytes = HE_SEED_BYTES;

	for (uint16_t i = 0; i < hp->levels; i++)
		bytes += hp->up[i];
	return bytes;
}

size_t he_ticket_answer(const struct he_plan *hp)
{
	size_t bytes = 0;

	for (uint16_t i = 0; i < hp->levels; i++)
		bytes += hp->down[i];
	return bytes;
}

size_t he_masked_up(const struct he_plan *hp, uint16_t level)
{
	size_t bytes = 0;

	for (uint16_t i = 0; i < hp->n_steps; i++)
		for (uint16_t t = 0; hp->steps[i].level == level && t < hp->steps[i].n_terms; t++)
			bytes += ring_packed(term_words(&hp->steps[i].terms[t]), hp->steps[i].width.k);
	return bytes;
}

size_t he_masked_down(const struct he_plan *hp, uint16_t level)
{
	size_t bytes = 0;

	for (uint16_t i = 0; i < hp->n_steps; i++)
		if (hp->steps[i].level == level)
			bytes += ring_packed(step_words(&hp->steps[i]), hp->steps[i].width.k);
	return bytes;
}

/* ---- making a ticket ---- */

int he_ticket_ask(struct he_lane *l, uint64_t *ticket, uint8_t *out, struct err *e)
{
	const struct he_plan *hp = l->hp;
	uint64_t index = 0;
	struct prg *half;

	prg_seed(out);
	if (!(half = prg_new(out, PRG_HE_HALF, e)))
		return -1;
	out += HE_SEED_BYTES;
	he_words(l->rng, ticket, masks(hp));
	for (uint16_t i = 0; i < hp->n_steps; i++)
		for (uint16_t t = 0; t < hp->steps[i].n_terms; t++) {
			const struct he_term *ht = &hp->steps[i].terms[t];

			out =
			    he_lane_encrypt(l, &hp->steps[i], ht, (const int64_t *)ticket, half, &index, out);
			ticket += term_words(ht);
		}
	prg_free(half);
	return 0;
}

int he_ticket_take(struct he_lane *l, uint64_t *ticket, const uint8_t *in, size_t bytes, struct err *e)
{
	const struct he_plan *hp = l->hp;

	if (bytes != he_ticket_answer(hp))
		return err_set(
		    e, ERR_PEER,
		    "half a ticket of %zu bytes, which has another size; the peer's plan is another", bytes);
	ticket += masks(hp);
	for (uint16_t i = 0; i < hp->n_steps; i++) {
		in = he_lane_open(l, &hp->steps[i], in);
		memcpy(ticket, l->sum, step_words(&hp->steps[i]) * 8);
		ticket += step_words(&hp->steps[i]);
	}
	return 0;
}

/* W·a - s: minus s in place of the bias. */
static void reply_steps(struct he_replier *r, struct place *at, uint64_t *s)
{
	const struct he_plan *hp = r->model->hp;
	size_t n = he_ticket_secrets(hp);

	he_words(r->rng, s, n);
	for (size_t i = 0; i < n; i++)
		s[i] = -s[i];
	at->given = s;
	for (uint16_t i = 0; i < hp->n_steps; i++) {
		he_answer_step(r, at, i);
		at->given += step_words(&hp->steps[i]);
	}
	for (size_t i = 0; i < n; i++)
		s[i] = -s[i];
}

int he_ticket_reply(struct he_replier *r, const struct he_public *pk, const uint8_t *in, size_t bytes,
		    uint64_t *s, uint8_t *out, struct err *e)
{
	struct place at = {.pk = pk, .in = in + HE_SEED_BYTES, .out = out};

	if (bytes != he_ticket_request(r->model->hp))
		return err_set(
		    e, ERR_PEER,
		    "half a ticket of %zu bytes, which has another size; the peer's plan is another", bytes);
	if (!(at.half = prg_new(in, PRG_HE_HALF, e)))
		return -1;
	reply_steps(r, &at, s);
	prg_free(at.half);
	return 0;
}

/* ---- online ---- */

/* e = x - a of one step, packed term by term; a: of the step's first term. */
static uint8_t *mask_step(struct he_lane *l, size_t image, const struct he_step *s, const uint64_t *a,
			  uint8_t *out)
{
	const struct row *row = &l->hp->plan->tape.rows[s->row];

	he_laps_row(&l->laps, l->ns, s->row);
	for (uint16_t t = 0; t < s->n_terms; t++) {
		const int64_t *x = fixed_value(l->images[image], row->terms[s->terms[t].term].in);
		size_t n = term_words(&s->terms[t]);
		uint64_t *words = l->poly;

		for (size_t i = 0; i < n; i += 1024) { /* 1024 words are whole bytes */
			size_t part = n - i < 1024 ? n - i : 1024;

			for (size_t j = 0; j < part; j++)
				words[j] = (uint64_t)x[i + j] - a[i + j];
			ring_pack(out, words, part, s->width.k);
			out += ring_packed(part, s->width.k);
		}
		a += n;
	}
	he_lap(&l->laps, HE_LAP_MASK);
	return out;
}

int he_masked_ask(struct he_lane *l, uint64_t *const *tickets, uint16_t *level, uint8_t *out, struct err *e)
{
	const struct he_plan *hp = l->hp;

	he_laps_start(&l->laps);
	he_lane_rows(l);
	if (l->level == hp->levels)
		return 0;
	*level = l->level;
	for (size_t b = 0; b < l->batch; b++) {
		const uint64_t *a = tickets[b];

		for (uint16_t i = 0; i < hp->n_steps; i++) {
			if (hp->steps[i].level == l->level)
				out = mask_step(l, b, &hp->steps[i], a, out);
			for (uint16_t t = 0; t < hp->steps[i].n_terms; t++)
				a += term_words(&hp->steps[i].terms[t]);
		}
	}
	return 1;
}

/* y = Σ W e + bias + s of one step. */
static int reply_step(struct he_replier *r, uint16_t step, const uint64_t *s, const uint8_t **in,
		      uint8_t **out, struct err *e)
{
	const struct he_model *m = r->model;
	const struct he_step *at = &m->hp->steps[step];
	size_t n = step_words(at), most = 0, scratch = 64;
	uint64_t *x, *y;
	void *work;

	for (uint16_t t = 0; t < at->n_terms; t++) {
		size_t bytes = linear_scratch(m->rings[step][t], 1);

		most = term_words(&at->terms[t]) > most ? term_words(&at->terms[t]) : most;
		scratch = bytes > scratch ? bytes : scratch;
	}
	he_laps_row(&r->laps, r->ns, at->row);
	x = calloc(most + 8, 8);
	y = calloc(n + 8, 8);
	work = aligned_alloc(64, (scratch + 127) / 64 * 64);
	for (uint16_t t = 0; x && y && work && t < at->n_terms; t++) {
		size_t words = term_words(&at->terms[t]);

		ring_unpack(x, *in, words, at->width.k);
		*in += ring_packed(words, at->width.k);
		linear_apply(m->rings[step][t], x, 0, y, 0, 1, work);
	}
	he_lap(&r->laps, HE_LAP_MULTIPLY);
	for (size_t i = 0; x && y && work && i < n; i++)
		y[i] += s[i] + (m->bias[step] ? m->bias[step][i] : 0);
	if (x && y && work) {
		ring_pack(*out, y, n, at->width.k);
		*out += ring_packed(n, at->width.k);
	}
	he_lap(&r->laps, HE_LAP_MASK);
	n = x && y && work;
	free(x);
	free(y);
	free(work);
	return n ? 0 : err_set(e, ERR_ENV, "out of memory for an answer");
}

int he_masked_reply(struct he_replier *r, uint64_t *const *secrets, uint16_t level, size_t batch,
		    const uint8_t *in, size_t bytes, uint8_t *out, struct err *e)
{
	const struct he_plan *hp = r->model->hp;

	if (level >= hp->levels || bytes != he_masked_up(hp, level) * batch)
		return err_set(e, ERR_PEER,
			       "a request of %zu bytes for round trip %u, which has another size; the peer's "
			       "plan is another",
			       bytes, level);
	he_laps_start(&r->laps);
	for (size_t b = 0; b < batch; b++) {
		const uint64_t *s = secrets[b];

		for (uint16_t i = 0; i < hp->n_steps; s += step_words(&hp->steps[i]), i++)
			if (hp->steps[i].level == level && reply_step(r, i, s, &in, &out, e))
				return -1;
	}
	return 0;
}

int he_masked_take(struct he_lane *l, uint64_t *const *tickets, const uint8_t *in, size_t bytes,
		   struct err *e)
{
	const struct he_plan *hp = l->hp;

	if (l->level == hp->levels || bytes != he_masked_down(hp, l->level) * l->batch)
		return err_set(e, ERR_PEER,
			       "an answer of %zu bytes in round trip %u, which has another size; the peer's "
			       "plan is another",
			       bytes, l->level);
	he_laps_start(&l->laps);
	for (size_t b = 0; b < l->batch; b++) {
		const uint64_t *h = tickets[b] + masks(hp);

		for (uint16_t i = 0; i < hp->n_steps; h += step_words(&hp->steps[i]), i++) {
			size_t n = step_words(&hp->steps[i]);

			if (hp->steps[i].level != l->level)
				continue;
			ring_unpack(l->sum, in, n, hp->steps[i].width.k);
			in += ring_packed(n, hp->steps[i].width.k);
			for (size_t j = 0; j < n; j++)
				l->sum[j] += h[j];
			he_laps_row(&l->laps, l->ns, hp->steps[i].row);
			he_lap(&l->laps, HE_LAP_DECRYPT);
			he_lane_finish(l, b, &hp->steps[i]);
		}
	}
	l->level++;
	return 0;
}
