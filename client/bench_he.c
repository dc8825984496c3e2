/* SPDX-License-Identifier: Apache-2.0 */
/* obscura bench --personalities he: data owner and model owner, keys exchanged when the session opened, no
 * provider. */
#include <stdlib.h>
#include <string.h>

#include "client/bench.h"
#include "client/bench_table.h"
#include "client/he.h"
#include "nn/he_offline.h"

#define HE_BATCH_MAX 8 /* unless --batch says more: a request is megabytes of ciphertexts */

static const struct bench_he variants[] = {{HE_L, 0, "he L", 0, 0},
					   {HE_L, 1, "he L tickets", 0, 0},
					   {HE_S, 0, "he S", 0, 0},
					   {HE_S, 1, "he S tickets", 0, 0},
					   {HE_S, 0, "he S 6/2 bits", 6, 2}};
#define VARIANTS (sizeof(variants) / sizeof(*variants))

/* ---- what was asked ---- */

int bench_personalities(const struct bench *b, int wanted[PERSONALITIES], struct err *e)
{
	const char *const *flag = b->args->flag;
	const char *p = flag[FLAG_personalities];
	int whole = !b->quick && !flag[FLAG_profile] && !flag[FLAG_links];

	memset(wanted, 0, PERSONALITIES * sizeof(*wanted));
	p = p ? p : whole ? "smpc,he,clear" : "smpc";
	for (size_t n; p; p = p[n] ? p + n + 1 : NULL) {
		enum personality which;

		n = strcspn(p, ",");
		which = personality_of(p, n);
		if (which == PERSONALITIES)
			return err_set(e, ERR_USAGE,
				       "--personalities: \"%.*s\" is none of smpc, he, clear, enclave",
				       (int)(n < 40 ? n : 40), p);
		wanted[which] = 1;
	}
	return 0;
}

/* ---- rows ---- */

static int plan_of(struct he_local *made, const struct bench_model *m, const struct bench_he *he, int set,
		   struct err *e)
{
	struct plan_options options = plan_defaults();

	if (he && he->weight_bits) {
		options.weight_bits = he->weight_bits;
		options.activation_bits = he->activation_bits;
	}
	return he_local_make(made, m->graph, &options, set, e);
}

/* 0: the model has no plan in this set (−1: in none), which e says. Returns in *taken, if wanted, the set. */
static int has_plan(const struct bench_model *m, int set, enum he_set *taken, struct err *e)
{
	struct he_local made;

	if (plan_of(&made, m, NULL, set, e))
		return e->code == ERR_INPUT ? 0 : -1;
	if (taken)
		*taken = made.hp->set;
	he_local_free(&made);
	return 1;
}

int bench_he_plan(struct he_local *made, const struct measured *m, struct err *e)
{
	return plan_of(made, m->model, m->he, (int)m->he->set, e);
}

/* The messages of its round trips, and nothing else, as a program. */
int bench_he_floor(struct floor *f, const struct roles *r, const struct measured *m, double seconds,
		   struct err *e)
{
	struct message messages[2 * TAPE_MAX_ROWS];
	struct program p = {.messages = messages};
	struct he_local made;
	int failed;

	memset(messages, 0, sizeof(messages));
	if (bench_he_plan(&made, m, e))
		return -1;
	for (uint16_t i = 0; i < made.hp->levels; i++) {
		struct message *two = messages + p.n_messages;

		two[0].from = P0;
		two[1].from = P1;
		two[0].bytes = m->he->offline ? he_masked_up(made.hp, i) : he_request_bytes(made.hp, i, 1);
		two[1].bytes = m->he->offline ? he_masked_down(made.hp, i) : he_answer_bytes(made.hp, i, 1);
		p.n_messages += 2;
	}
	failed = bench_floor(f, r, &p, m->batch, seconds, e);
	he_local_free(&made);
	return failed;
}

static int one_model(struct bench *b, const struct bench_model *m, struct err *e)
{
	for (size_t i = 0; i < VARIANTS; i++) {
		const struct bench_he *he = &variants[i];
		struct err why = {0};
		int there = has_plan(m, (int)he->set, NULL, &why);

		if (there < 0)
			return err_set(e, why.code, "%s", why.text);
		bench_clear(b);
		if (!there && !he->offline)
			bench_note(b->markdown, "%s, %s: %s", m->name, he->name, why.text);
		if (there && bench_he_batches(b, m, he, e))
			return -1;
	}
	return 0;
}

/* Batches of a whole run that are meant for smpc are left out. */
static void limit_batches(struct bench *b)
{
	size_t kept = 0;

	for (size_t i = 0; !b->args->flag[FLAG_batch] && i < b->n_batches; i++)
		if (b->batches[i] <= HE_BATCH_MAX)
			b->batches[kept++] = b->batches[i];
	if (kept)
		b->n_batches = kept;
}

int bench_he(struct bench *b, struct err *e)
{
	size_t batches = b->n_batches, all[BENCH_BATCHES_MAX];
	int failed = 0;

	memcpy(all, b->batches, sizeof(all));
	limit_batches(b);
	for (size_t i = 0; !failed && i < b->n_models; i++)
		failed = one_model(b, &b->models[i], e);
	memcpy(b->batches, all, sizeof(all));
	b->n_batches = batches;
	bench_clear(b);
	if (!failed)
		bench_note(b->markdown, "he leaks %s.", personality_leaks(PERSONALITY_HE));
	return failed;
}

/* ---- on links ---- */

static int he_ways(struct bench *b, const struct bench_model *m, struct bench_way *ways, size_t *n,
		   struct err *e)
{
	struct err why = {0};
	enum he_set set;
	int there = has_plan(m, -1, &set, &why);

	if (there < 0)
		return err_set(e, why.code, "%s", why.text);
	bench_clear(b);
	if (!there)
		bench_note(b->markdown, "%s, he: %s", m->name, why.text);
	for (size_t i = 0; there && i < VARIANTS; i++)
		if (variants[i].set == set && !variants[i].weight_bits)
			ways[(*n)++] = (struct bench_way){PERSONALITY_HE, PLAN_LATENCY, &variants[i]};
	return 0;
}

int bench_ways(struct bench *b, const struct bench_model *m, struct bench_way ways[BENCH_WAYS_MAX], size_t *n,
	       struct err *e)
{
	const char *only = b->args->flag[FLAG_optimise];
	int wanted[PERSONALITIES];

	*n = 0;
	if (bench_personalities(b, wanted, e))
		return -1;
	for (int o = PLAN_LATENCY; wanted[PERSONALITY_SMPC] && o <= PLAN_BANDWIDTH; o++)
		if (!only || !strcmp(only, o == PLAN_BANDWIDTH ? "bandwidth" : "latency"))
			ways[(*n)++] = (struct bench_way){PERSONALITY_SMPC, o, NULL};
	for (enum personality p = PERSONALITY_CLEAR; p <= PERSONALITY_ENCLAVE; p++)
		if (wanted[p])
			ways[(*n)++] = (struct bench_way){p, PLAN_LATENCY, NULL};
	return wanted[PERSONALITY_HE] ? he_ways(b, m, ways, n, e) : 0;
}
