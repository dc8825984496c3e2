/* SPDX-License-Identifier: Apache-2.0 */
/* Steps, levels and bytes: what both ends work out from the public plan and the widths. */
#include "nn/he_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/ring.h"
#include "nn/he_noise.h"

#define LEVEL_BYTES_MAX (UINT64_C(1) << 30)

static int out_of_memory(struct err *e)
{
	return err_set(e, ERR_ENV, "out of memory for a plan of the he personality");
}

const char *he_row_name(const struct row *row, unsigned number, char *text, size_t bytes)
{
	const struct term *t = row->terms;

	while (t < row->terms + row->n_terms && t->kind == TERM_SKIP)
		t++;
	if (t == row->terms + row->n_terms)
		snprintf(text, bytes, "row %u, a sum", number);
	else if (t->kind == TERM_DENSE)
		snprintf(text, bytes, "row %u, dense layer of %zu to %u", number, shape_size(t->win.in),
			 t->win.out.c);
	else
		snprintf(text, bytes, "row %u, convolution %u × %u of %u to %u channels", number, t->win.kh,
			 t->win.kw, t->win.in.c, t->win.out.c);
	return text;
}

static int is_step(const struct row *row)
{
	for (uint16_t i = 0; row->kind == OP_LINEAR && i < row->n_terms; i++)
		if (row->terms[i].kind != TERM_SKIP)
			return 1;
	return 0;
}

/* A row may run when all values that it reads are there; a step is answered one level later. */
static void set_levels(struct he_plan *hp, uint16_t *of_value)
{
	const struct tape *t = &hp->plan->tape;

	of_value[0] = 0;
	for (uint16_t i = 0, s = 0; i < t->n_rows; i++) {
		uint16_t level = 0;

		for (uint16_t j = 0; j < t->rows[i].n_in; j++)
			if (of_value[t->rows[i].in[j]] > level)
				level = of_value[t->rows[i].in[j]];
		hp->row_level[i] = level;
		if (s < hp->n_steps && hp->steps[s].row == i) {
			hp->steps[s++].level = level;
			level++;
		}
		of_value[t->rows[i].out] = level;
		hp->levels = level > hp->levels ? level : hp->levels;
	}
}

static int find_steps(struct he_plan *hp, struct err *e)
{
	const struct tape *t = &hp->plan->tape;
	uint16_t *of_value = calloc(t->n_values, sizeof(*of_value));

	hp->steps = calloc(t->n_rows, sizeof(*hp->steps));
	hp->row_level = calloc(t->n_rows, sizeof(*hp->row_level));
	if (!of_value || !hp->steps || !hp->row_level) {
		free(of_value);
		return out_of_memory(e);
	}
	for (uint16_t i = 0; i < t->n_rows; i++)
		if (is_step(&t->rows[i])) {
			struct he_step *s = &hp->steps[hp->n_steps++];

			s->row = i;
			s->folded = t->rows[i].has_post && he_conv_folds(&t->rows[i].post);
		}
	set_levels(hp, of_value);
	free(of_value);
	return 0;
}

void he_plan_options(struct plan_options *o)
{
	unsigned spare = o->weight_bits < 16 ? 16 - o->weight_bits : 0;

	o->pixel_bits = spare < 8 ? spare : 8;
}

int he_plan_new(struct he_plan **out, const struct plan *plan, enum he_set set, struct err *e)
{
	struct he_plan *hp = calloc(1, sizeof(*hp));

	*out = NULL;
	if (!hp)
		return out_of_memory(e);
	hp->plan = plan;
	hp->set = set;
	if (plan->reveal == REVEAL_LABEL) {
		he_plan_free(hp);
		return err_set(e, ERR_USAGE,
			       "the he personality with nonlinear = client shows all scores to the data "
			       "owner: use --reveal logits, or smpc");
	}
	if (find_steps(hp, e)) {
		he_plan_free(hp);
		return -1;
	}
	*out = hp;
	return 0;
}

static uint64_t term_down(const struct he_layout *l, const struct he_width *w)
{
	uint64_t bytes = 0;

	for (uint64_t tile = 0; tile < he_layout_tiles(l); tile++)
		for (uint32_t m = 0; m < l->m_blocks; m++)
			bytes += ring_packed(he_layout_count(l, tile, m), w->to - w->cut) +
				 ring_packed(l->n, w->to);
	return bytes;
}

/* Layout and bytes of one term. More polynomials than a level's bytes allow are refused before they are
 * counted one by one. */
static int lay_out(const struct he_plan *hp, struct he_step *s, struct he_term *ht, struct err *e)
{
	const struct row *row = &hp->plan->tape.rows[s->row];
	const struct he_params *p = he_width_params(hp->set, &s->width);
	struct he_price price = {he_cipher_bytes(p, s->width.up), ring_packed(p->n, s->width.to),
				 s->width.filters};
	size_t whole = s->width.limbs * ring_packed(p->n, HE_WORD_BITS);
	struct he_conv c;

	if (he_conv_of(&c, &row->terms[ht->term], s->folded ? &row->post : NULL, e) ||
	    he_layout_choose(&ht->layout, &c, p->n, &price, e))
		return -1;
	/* what is worked with, however few bits of it travel */
	if (he_layout_inputs(&ht->layout) > LEVEL_BYTES_MAX / whole ||
	    he_layout_outputs(&ht->layout) > LEVEL_BYTES_MAX / whole)
		return err_set(e, ERR_INPUT,
			       "more than 1 GiB of ciphertexts for one image: too large for the he "
			       "personality; use smpc");
	ht->up = he_layout_inputs(&ht->layout) * price.up;
	ht->down = term_down(&ht->layout, &s->width);
	return 0;
}

int he_step_lay_out(const struct he_plan *hp, struct he_step *s, struct err *e)
{
	const struct row *row = &hp->plan->tape.rows[s->row];
	uint16_t n = 0;

	if (!s->terms && !(s->terms = calloc(row->n_terms, sizeof(*s->terms))))
		return out_of_memory(e);
	s->up = s->down = 0;
	for (uint16_t i = 0; i < row->n_terms; i++) {
		if (row->terms[i].kind == TERM_SKIP)
			continue;
		s->terms[n].term = i;
		if (lay_out(hp, s, &s->terms[n], e)) {
			char name[96];

			return err_context(e, "%s", he_row_name(row, s->row, name, sizeof(name)));
		}
		s->up += s->terms[n].up;
		s->down += s->terms[n].down;
		n++;
	}
	s->n_terms = n;
	return 0;
}

/* Sums up what the steps say. */
int he_plan_close(struct he_plan *hp, struct err *e)
{
	free(hp->up);
	free(hp->down);
	hp->up = calloc(hp->levels + 1, sizeof(*hp->up));
	hp->down = calloc(hp->levels + 1, sizeof(*hp->down));
	if (!hp->up || !hp->down)
		return out_of_memory(e);
	hp->weights = hp->total_up = hp->total_down = hp->terms = 0;
	for (uint16_t i = 0; i < hp->n_steps; i++) {
		const struct he_step *s = &hp->steps[i];

		hp->up[s->level] += s->up;
		hp->down[s->level] += s->down;
		for (uint16_t j = 0; j < s->n_terms; j++) {
			const struct he_layout *l = &s->terms[j].layout;

			for (uint32_t m = 0; m < l->m_blocks; m++) {
				uint32_t first, blocks;

				he_layout_needs(l, m, &first, &blocks);
				hp->weights += (uint64_t)blocks * s->width.limbs * l->n * 4;
			}
			hp->terms = l->c_blocks > hp->terms ? l->c_blocks : hp->terms;
		}
	}
	for (uint16_t i = 0; i < hp->levels; i++) {
		if (hp->up[i] > LEVEL_BYTES_MAX || hp->down[i] > LEVEL_BYTES_MAX)
			return err_set(e, ERR_INPUT,
				       "more than 1 GiB of ciphertexts for one round trip: too large for the "
				       "he personality; use smpc");
		hp->total_up += hp->up[i] + HE_SEED_BYTES;
		hp->total_down += hp->down[i];
	}
	return 0;
}

void he_width_pack(const struct he_width *w, uint8_t *out)
{
	const uint8_t bytes[HE_WIDTH_BYTES] = {
	    w->k, w->limbs, w->up, w->to, w->cut, w->small, (uint8_t)w->filters, (uint8_t)(w->filters >> 8)};

	memcpy(out, bytes, sizeof(bytes));
}

struct he_width he_width_unpack(const uint8_t *in)
{
	return (struct he_width){in[0], in[1], in[2], in[3], in[4], in[5], (uint16_t)(in[6] | in[7] << 8)};
}

static int width_is_right(const struct he_width *w, enum he_set set)
{
	const struct he_params *p =
	    w->small > (he_params(set)->small != NULL) ? NULL : he_width_params(set, w);

	return p && w->k >= 1 && w->k <= HE_K_MAX && w->limbs >= 1 && w->limbs <= p->limbs && w->up >= 1 &&
	       w->up <= HE_UP_MAX && w->to >= 1 && w->to <= he_open_max(p) && w->cut < w->to && w->filters;
}

static int take_widths(struct he_plan *hp, const struct he_width *widths, size_t n, struct err *e)
{
	if (n != hp->n_steps)
		return err_set(e, ERR_PEER, "widths for %zu linear rows of a plan that has %u", n,
			       hp->n_steps);
	for (uint16_t i = 0; i < n; i++) {
		hp->steps[i].width = widths[i];
		if (!width_is_right(&widths[i], hp->set))
			return err_set(e, ERR_PEER,
				       "row %u has words of %u bits, %u primes, %u bits up and %u down less "
				       "%u, which set %s does not have",
				       hp->steps[i].row, widths[i].k, widths[i].limbs, widths[i].up,
				       widths[i].to, widths[i].cut, he_params(hp->set)->name);
		if (he_step_lay_out(hp, &hp->steps[i], e))
			return -1;
	}
	return he_plan_close(hp, e);
}

int he_plan_read(struct he_plan **out, const struct plan *plan, enum he_set set,
		 const struct he_width *widths, size_t n, struct err *e)
{
	*out = NULL;
	if ((unsigned)set >= HE_SETS)
		return err_set(e, ERR_PEER, "parameter set %u, which is not known", (unsigned)set);
	if (he_plan_new(out, plan, set, e))
		return -1;
	if (!take_widths(*out, widths, n, e))
		return 0;
	he_plan_free(*out);
	*out = NULL;
	return -1;
}

void he_plan_free(struct he_plan *hp)
{
	if (!hp)
		return;
	for (uint16_t i = 0; i < hp->n_steps; i++)
		free(hp->steps[i].terms);
	free(hp->steps);
	free(hp->row_level);
	free(hp->beyond);
	free(hp->up);
	free(hp->down);
	free(hp);
}
