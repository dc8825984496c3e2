/* SPDX-License-Identifier: Apache-2.0 */
/* What else a model could be served with under the he personality: sets and widths, their bytes, and what
 * they do to labels. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/he.h"
#include "client/json.h"
#include "client/sheet.h"

/* Fractional bits; 0: those that were asked for. */
static const struct {
	enum he_set set;
	unsigned weight_bits, activation_bits;
} choices[HE_OFFERS_MAX] = {{HE_L, 0, 0}, {HE_S, 0, 0}, {HE_S, 8, 6}, {HE_S, 7, 3}, {HE_S, 6, 2}};

/* 0: this set refuses the plan. */
static int offer(struct he_offer *o, const struct args *a, const struct graph *g, const struct samples *s,
		 const struct plan_options *options, struct err *e)
{
	struct he_local m;
	struct err why = {0};
	int r = he_local_make(&m, g, options, (int)o->set, &why);

	if (r) {
		if (why.code == ERR_INPUT)
			return 0;
		*e = why;
		return -1;
	}
	o->weight_bits = options->weight_bits;
	o->activation_bits = options->activation_bits;
	o->up = m.hp->total_up;
	o->down = m.hp->total_down;
	r = s && (he_local_ready(&m, e) || he_verify_tally(&m, g, s, a->config.threads, &o->tally, e)) ? -1
												       : 1;
	he_local_free(&m);
	return r;
}

int he_offers_make(struct he_offers *all, const struct args *a, const struct graph *g, struct err *e)
{
	struct samples samples, *s = a->flag[FLAG_images] ? &samples : NULL;
	struct plan_options asked;
	int r = 1;

	memset(all, 0, sizeof(*all));
	if (args_plan(a, &asked, e) || (s && trial_samples(a, g, s, e)))
		return -1;
	all->labelled = s && s->labels;
	for (size_t i = 0; i < HE_OFFERS_MAX && r >= 0; i++) {
		struct plan_options options = asked;
		struct he_offer *o = &all->offers[all->n];

		if (choices[i].weight_bits >= asked.weight_bits ||
		    choices[i].activation_bits >= asked.activation_bits)
			continue;
		o->set = choices[i].set;
		if (choices[i].weight_bits) {
			options.weight_bits = choices[i].weight_bits;
			options.activation_bits = choices[i].activation_bits;
		}
		r = offer(o, a, g, s, &options, e);
		all->n += r > 0;
	}
	if (s)
		samples_free(s);
	return r < 0 ? -1 : 0;
}

static double share(uint64_t n, const struct tally *t)
{
	return t->images ? (double)n / (double)t->images : NAN;
}

int he_offers_print(const struct he_offers *all, struct err *e)
{
	struct sheet *s;
	char bytes[24];

	printf("\nsets and widths that this model can have; serve one with --he-set, --he-weight-bits and "
	       "--he-activation-bits\n");
	if (sheet_new(&s, "SET|>WEIGHT BITS|>ACTIVATION BITS|>BYTES|>UP|>DOWN|>AGREEMENT|>ACCURACY|>FLOAT",
		      e))
		return -1;
	for (size_t i = 0; i < all->n; i++) {
		const struct he_offer *o = &all->offers[i];
		const struct tally *t = &o->tally;

		sheet_row(s);
		sheet_cell(s, "%s", he_params(o->set)->name);
		sheet_cell(s, "%u", o->weight_bits);
		sheet_cell(s, "%u", o->activation_bits);
		sheet_cell(s, "%s", sheet_bytes(bytes, o->up + o->down));
		sheet_cell(s, "%llu", (unsigned long long)o->up);
		sheet_cell(s, "%llu", (unsigned long long)o->down);
		if (t->images)
			sheet_cell(s, "%.4f", share(t->agree, t));
		else
			sheet_cell(s, "with --images");
		for (int j = 0; j < 2; j++)
			if (all->labelled)
				sheet_cell(s, "%.4f", share(j ? t->float_right : t->right, t));
			else
				sheet_cell(s, "%s", t->images ? "with --labels" : "");
	}
	return sheet_print(s, e);
}

struct json_object *he_offers_json(const struct he_offers *all)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < all->n; i++) {
		const struct he_offer *o = &all->offers[i];
		const struct tally *t = &o->tally;
		struct json_object *row = json_object_new_object(), *bytes = json_object_new_object();

		json_text(row, "set", he_params(o->set)->name);
		json_count(row, "weight_bits", o->weight_bits);
		json_count(row, "activation_bits", o->activation_bits);
		json_object_object_add(bytes, "online", json_counted(o->up, o->down, NULL));
		json_object_object_add(row, "bytes", bytes);
		json_count(row, "images", t->images);
		json_real(row, "label_agreement", share(t->agree, t));
		json_real(row, "accuracy", all->labelled ? share(t->right, t) : NAN);
		json_real(row, "float_accuracy", all->labelled ? share(t->float_right, t) : NAN);
		json_object_array_add(list, row);
	}
	return list;
}
