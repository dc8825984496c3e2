/* SPDX-License-Identifier: Apache-2.0 */
/* Links × models × modes × batches × repetitions. The native link comes first: what is online there is what
 * computing takes, and every prediction has it as its last term. The rest is in a random order, so that what
 * changes on this host with time is not taken for a property of a link. */
#include "client/lab.h"

#include <stdlib.h>
#include <string.h>

/* A model in one way on a link, once: processes of its own. Turns of one group have the link and the
 * repetition and the model in common; they follow each other on one link, which is made and measured before
 * the first. */
struct turn {
	size_t link, model, repetition;
	struct bench_way way;
	long group, own; /* random: the order */
};

/* ---- what was asked ---- */

static int add_link(struct lab *l, const char *name, struct err *e)
{
	if (l->n_links == LAB_LINKS_MAX)
		return err_set(e, ERR_USAGE, "--links: at most %d links", LAB_LINKS_MAX);
	if (link_find(&l->links[l->n_links], name, l->bench->args->flag[FLAG_link_file], e))
		return -1;
	l->n_links++;
	return 0;
}

/* "wan,lan"; native is added to what is not only checked. */
static int parse_links(struct lab *l, int check, struct err *e)
{
	char *list = strdup(l->bench->args->flag[FLAG_links]), *save = NULL;
	int failed = list ? 0 : err_set(e, ERR_ENV, "out of memory");

	if (!failed && !check) {
		failed = link_find(&l->links[0], "native", NULL, e);
		l->n_links = 1;
	}
	for (char *name = list ? strtok_r(list, ",", &save) : NULL; name && !failed;
	     name = strtok_r(NULL, ",", &save))
		if (check || strcmp(name, "native"))
			failed = add_link(l, name, e);
	free(list);
	if (!failed && !l->n_links)
		failed = err_set(e, ERR_USAGE, "--links: no link");
	return failed;
}

/* ---- turns ---- */

static int all_done(const struct lab *l, const struct turn *t)
{
	const struct bench *b = l->bench;

	for (size_t i = 0; i < b->n_batches; i++)
		if (!lab_done(l, l->links[t->link].name, b->models[t->model].name, &t->way, b->batches[i],
			      t->repetition))
			return 0;
	return 1;
}

/* Those of one model that are to do. */
static int add_turns(struct lab *l, size_t model, struct turn *turns, size_t *n, struct err *e)
{
	struct bench_way ways[BENCH_WAYS_MAX];
	size_t n_ways;

	if (bench_ways(l->bench, &l->bench->models[model], ways, &n_ways, e))
		return -1;
	for (size_t link = 0; link < l->n_links; link++)
		for (size_t r = 1; r <= l->repeat; r++) {
			long group = random();

			for (size_t w = 0; w < n_ways; w++) {
				struct turn t = {link, model, r, ways[w], group, random()};

				if (!all_done(l, &t))
					turns[(*n)++] = t;
			}
		}
	return 0;
}

/* The native link first; else groups, and turns within a group, as chance will have it. */
static int in_order(const void *x, const void *y)
{
	const struct turn *a = x, *b = y;

	if (!a->link != !b->link)
		return a->link ? 1 : -1;
	if (a->group != b->group)
		return a->group < b->group ? -1 : 1;
	return a->own < b->own ? -1 : a->own > b->own;
}

/* All that is to do. *turns is the caller's to free. */
static int list_turns(struct lab *l, struct turn **turns, size_t *n, struct err *e)
{
	const struct bench *b = l->bench;
	int failed = 0;

	*n = 0;
	*turns = calloc(l->n_links * b->n_models * l->repeat * BENCH_WAYS_MAX + 1, sizeof(**turns));
	if (!*turns)
		return err_set(e, ERR_ENV, "out of memory");
	srandom((unsigned)(bench_now() * 1e3));
	for (size_t m = 0; !failed && m < b->n_models; m++)
		failed = add_turns(l, m, *turns, n, e);
	qsort(*turns, *n, sizeof(**turns), in_order);
	return failed;
}

static void leave_link(struct lab *l)
{
	l->bench->roles.net = NULL;
	link_net_free(&l->net);
	l->stands = 0;
}

/* The link of a group, made and measured. 1: it was refused, now or before. */
static int take_link(struct lab *l, const struct turn *t, struct err *e)
{
	struct err why = {0};
	int failed;

	if (l->group == t->group && l->at == t->link)
		return l->stands ? link_net_alive(&l->net, e) : 1;
	leave_link(l);
	l->group = t->group;
	l->at = t->link;
	l->repetition = t->repetition;
	failed = lab_link(l, t->link, &why);
	if (!failed) {
		l->stands = 1;
		l->bench->roles.net = &l->net;
		return 0;
	}
	leave_link(l);
	if (why.code != ERR_RESULT)
		return err_set(e, why.code, "%s", why.text);
	bench_clear(l->bench);
	fprintf(stderr, "obscura: %s\n", why.text);
	return 1;
}

static int take_turn(struct lab *l, const struct turn *t, struct err *e)
{
	int there = roles_go_on(e) ? -1 : take_link(l, t, e);

	if (there < 0)
		return -1;
	if (there) { /* refused: the other links are none the worse */
		l->refused++;
		return 0;
	}
	return bench_batches(l->bench, &l->bench->models[t->model], &t->way, e) || link_net_alive(&l->net, e)
		   ? -1
		   : 0;
}

/* About how long a turn takes, seconds: processes are started, and so many messages go there and back. */
static double weight(const struct lab *l, const struct turn *t)
{
	return 6 + 150 * link_rtt(&l->links[t->link], LINK_DATA_OWNER, LINK_MODEL_OWNER);
}

static int take_turns(struct lab *l, const struct turn *turns, size_t n, struct err *e)
{
	double start = bench_now(), whole = 0, done = 0;
	int failed = 0;

	for (size_t i = 0; i < n; i++)
		whole += weight(l, &turns[i]);
	for (size_t i = 0; i < n && !failed; i++) {
		l->bench->part = done / whole;
		l->bench->left = (whole - done) * (i ? (bench_now() - start) / done : 1);
		failed = take_turn(l, &turns[i], e);
		done += weight(l, &turns[i]);
	}
	leave_link(l);
	return failed;
}

/* ---- the whole ---- */

static int check(struct lab *l, struct err *e)
{
	int failed = 0;

	for (size_t i = 0; i < l->n_links && !failed; i++) {
		failed = roles_go_on(e) || lab_link(l, i, e);
		link_net_free(&l->net);
	}
	return lab_print_links(l, failed ? NULL : e) || failed ? -1 : 0;
}

static int matrix(struct lab *l, struct err *e)
{
	struct turn *turns;
	size_t n;
	int failed = list_turns(l, &turns, &n, e) || take_turns(l, turns, n, e);

	free(turns);
	/* what was measured is shown also when the rest failed */
	if (lab_print_links(l, failed ? NULL : e) || lab_print(l, failed ? NULL : e) || failed)
		return -1;
	return l->refused ? err_set(e, ERR_RESULT,
				    "%zu of %zu runs were refused, since their links were not what they "
				    "should be; --resume tries these again",
				    l->refused, n)
			  : 0;
}

static int prepare(struct lab *l, struct err *e)
{
	struct bench *b = l->bench;
	char path[PATH_MAX + 16];
	uint64_t repeat;

	if (args_number(b->args, FLAG_repeat, 1, 1, LAB_REPEAT_MAX, &repeat, e))
		return -1;
	l->repeat = repeat;
	snprintf(path, sizeof(path), "%s/bench.jsonl", b->folder);
	if (b->args->flag[FLAG_resume] && lab_read(l, path, e))
		return -1;
	return roles_prepare(&b->roles, e) || bench_load_models(b, e) ? -1 : 0;
}

int lab_run(struct bench *b, struct err *e)
{
	struct lab *l = b->lab = calloc(1, sizeof(*l));
	int only_links = b->args->flag[FLAG_check] != NULL, failed;

	if (!l)
		return err_set(e, ERR_ENV, "out of memory");
	l->bench = b;
	l->group = -1;
	l->net = (struct link_net){.home = -1, .spaces = {-1, -1, -1}};
	failed = parse_links(l, only_links, e) || link_net_rights(e);
	failed = failed || (!only_links && prepare(l, e)) || bench_open_results(b, e) ||
		 (only_links ? check(l, e) : matrix(l, e));
	b->lab = NULL;
	free(l->known);
	free(l);
	return failed ? -1 : 0;
}
