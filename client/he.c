/* SPDX-License-Identifier: Apache-2.0 */
#include "client/he.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/json.h"
#include "client/rows.h"
#include "client/sheet.h"

/* --he-set: HE_S, HE_L, or -1 for auto. */
static int args_he_set(const struct args *a, int *set, struct err *e)
{
	const char *text = a->flag[FLAG_he_set];

	*set = -1;
	if (!text || !strcmp(text, "auto"))
		return 0;
	*set = he_set_named(text);
	return *set < HE_SETS ? 0
			      : err_set(e, ERR_USAGE, "--he-set: \"%.20s\" is none of auto, S and L", text);
}

int he_local_make(struct he_local *m, const struct graph *g, const struct plan_options *options, int set,
		  struct err *e)
{
	struct plan_options mine = *options;
	struct bounds *bounds = NULL;
	int r;

	memset(m, 0, sizeof(*m));
	he_plan_options(&mine);
	if (plan_make(&m->plan, &m->weights, &bounds, g, &mine, e))
		return -1;
	r = he_plan_make(&m->hp, m->plan, m->weights, bounds, set, e);
	bounds_free(bounds);
	if (r)
		he_local_free(m);
	return r;
}

int he_local_plan(struct he_local *m, const struct args *a, const struct graph *g, struct err *e)
{
	struct plan_options options;
	int set;

	memset(m, 0, sizeof(*m));
	if (args_plan(a, &options, e) || args_he_set(a, &set, e))
		return -1;
	return he_local_make(m, g, &options, set, e);
}

static int make_keys(struct he_local *m, struct err *e)
{
	struct he_rng *rng = he_rng_new(NULL, e);
	struct he_work *work = he_work_new(m->hp->set, 0, e);
	size_t bytes = he_public_bytes(m->hp->set);
	uint8_t *public = malloc(bytes);
	int r = -1;

	if (!public)
		err_set(e, ERR_ENV, "out of memory for keys");
	if (rng && work && public && (m->key = he_key_new(m->hp->set, rng, e)) &&
	    !he_key_public(m->key, rng, work, public, e))
		r = he_public_new(&m->pk, m->hp->set, public, bytes, e);
	free(public);
	he_work_free(work);
	he_rng_free(rng);
	return r;
}

int he_local_ready(struct he_local *m, struct err *e)
{
	return make_keys(m, e) || he_model_new(&m->model, m->hp, m->weights, e) ? -1 : 0;
}

void he_local_free(struct he_local *m)
{
	he_model_free(m->model);
	he_public_free(m->pk);
	he_key_free(m->key);
	he_plan_free(m->hp);
	weights_free(m->weights);
	plan_free(m->plan);
	memset(m, 0, sizeof(*m));
}

/* ---- obscura plan --personality he ---- */

/* "5 × 5 × 1 channels × 2 filters, 3 up, 4 down" of the first term. */
static const char *packing(const struct he_step *s, char *text, size_t bytes)
{
	const struct he_layout *l = &s->terms[0].layout;

	snprintf(text, bytes, "%u×%u tiles of %u×%u, %u channels, %u filters", l->y.tiles, l->x.tiles,
		 l->y.size, l->x.size, l->c, l->m);
	return text;
}

static uint64_t polynomials(const struct he_step *s, int down)
{
	uint64_t n = 0;

	for (uint16_t i = 0; i < s->n_terms; i++)
		n += down ? he_layout_outputs(&s->terms[i].layout) : he_layout_inputs(&s->terms[i].layout);
	return n;
}

static int print_steps(const struct he_plan *hp, struct err *e)
{
	struct sheet *s;
	char text[96], packed[96];

	if (sheet_new(&s,
		      ">ROW|STEP|PACKING|>K|>N|>PRIMES|>BITS UP|>BITS DOWN|>ERROR|>CIPHERTEXTS "
		      "UP|>DOWN|>BYTES UP|>DOWN",
		      e))
		return -1;
	for (uint16_t i = 0; i < hp->n_steps; i++) {
		const struct he_step *x = &hp->steps[i];

		sheet_row(s);
		sheet_cell(s, "%u", x->row);
		sheet_cell(s, "%s", row_describe(&hp->plan->tape.rows[x->row], text, sizeof(text)));
		sheet_cell(s, "%s", packing(x, packed, sizeof(packed)));
		sheet_cell(s, "%u", x->width.k);
		sheet_cell(s, "%zu", x->terms[0].layout.n);
		sheet_cell(s, "%u", x->width.limbs);
		sheet_cell(s, "%u", x->width.up);
		sheet_cell(s, "%u, %u", x->width.to, x->width.to - x->width.cut);
		sheet_cell(s, "%.2g", x->error);
		sheet_cell(s, "%llu", (unsigned long long)polynomials(x, 0));
		sheet_cell(s, "%llu", (unsigned long long)polynomials(x, 1));
		sheet_cell(s, "%llu", (unsigned long long)x->up);
		sheet_cell(s, "%llu", (unsigned long long)x->down);
	}
	return sheet_print(s, e);
}

static int print_plan(const struct he_plan *hp, const char *name, struct err *e)
{
	const struct he_params *p = he_params(hp->set);
	char up[24], down[24], key[24], memory[24];

	if (print_steps(hp, e))
		return -1;
	printf("\n%s, he, set %s: N = %zu, modulus up to %.0f bits\n", name, p->name, p->n,
	       he_modulus_bits(p, p->limbs));
	printf("  %u round trips, %s sent and %s received by the data owner for one image\n", hp->levels,
	       sheet_bytes(up, hp->total_up), sheet_bytes(down, hp->total_down));
	printf("  once per session: a public key of %s; the model owner's transformed weights take %s\n",
	       sheet_bytes(key, he_public_bytes(hp->set)), sheet_bytes(memory, hp->weights));
	printf("  ERROR is the proven bound of a layer's error, in units of its sums\n");
	printf("  leaks %s\n", personality_leaks(PERSONALITY_HE));
	return 0;
}

static struct json_object *json_step(const struct he_plan *hp, const struct he_step *s)
{
	struct json_object *o = json_object_new_object(), *bytes = json_object_new_object();
	char text[96];

	json_count(o, "row", s->row);
	json_text(o, "step", row_describe(&hp->plan->tape.rows[s->row], text, sizeof(text)));
	json_text(o, "packing", packing(s, text, sizeof(text)));
	json_count(o, "round_trip", s->level);
	json_count(o, "k", s->width.k);
	json_count(o, "degree", s->terms[0].layout.n);
	json_count(o, "primes", s->width.limbs);
	json_count(o, "sent_bits", s->width.up);
	json_count(o, "answer_bits", s->width.to);
	json_count(o, "sum_bits", s->width.to - s->width.cut);
	json_real(o, "error_bound", s->error);
	json_count(o, "ciphertexts_sent", polynomials(s, 0));
	json_count(o, "ciphertexts_received", polynomials(s, 1));
	json_object_object_add(bytes, "online", json_counted(s->up, s->down, NULL));
	json_object_object_add(o, "bytes", bytes);
	return o;
}

static int print_json(const struct he_plan *hp, const char *name, const struct he_offers *offers,
		      struct err *e)
{
	struct json_object *o = json_object_new_object(), *bytes = json_object_new_object(),
			   *rows = json_object_new_array();

	json_text(o, "model", name);
	json_text(o, "personality", "he");
	json_text(o, "nonlinear", "client");
	json_text(o, "leaks", personality_leaks(PERSONALITY_HE));
	json_text(o, "set", he_params(hp->set)->name);
	for (uint16_t i = 0; i < hp->n_steps; i++)
		json_object_array_add(rows, json_step(hp, &hp->steps[i]));
	json_object_object_add(o, "rows", rows);
	json_count(o, "round_trips", hp->levels);
	json_object_object_add(bytes, "online", json_counted(hp->total_up, hp->total_down, NULL));
	json_object_object_add(o, "bytes", bytes);
	json_count(o, "setup_bytes", he_public_bytes(hp->set));
	json_count(o, "weights_memory", hp->weights);
	if (offers)
		json_object_object_add(o, "offers", he_offers_json(offers));
	return json_line(o, e);
}

int he_plan_command(const struct args *a, const struct graph *g, struct err *e)
{
	struct he_offers offers;
	struct he_local m;
	int r, set;

	if (he_local_plan(&m, a, g, e))
		return -1;
	r = args_he_set(a, &set, e);
	if (!r && set < 0)
		r = he_offers_make(&offers, a, g, e);
	if (!r && a->flag[FLAG_json])
		r = print_json(m.hp, g->name, set < 0 ? &offers : NULL, e);
	else if (!r)
		r = print_plan(m.hp, g->name, e) || (set < 0 && he_offers_print(&offers, e)) ? -1 : 0;
	he_local_free(&m);
	return r;
}
