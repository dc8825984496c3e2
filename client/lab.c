/* SPDX-License-Identifier: Apache-2.0 */
/* Links × models × modes × batches × repetitions. The native link comes first: what is online there is what
 * computing takes, and every prediction has it as its last term. The rest is in a random order, so that what
 * changes on this host with time is not taken for a property of a link. */
#include "client/lab.h"

#include <stdlib.h>
#include <string.h>

/* Models in a mode on a link, once: processes of their own, the link made and measured anew. */
struct turn {
	size_t link, model, repetition;
	enum plan_optimise optimise;
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
		if (!lab_done(l, l->links[t->link].name, b->models[t->model].name, t->optimise, b->batches[i],
			      t->repetition))
			return 0;
	return 1;
}

/* All that is to do. Returns how many; *turns is the caller's to free. */
static size_t list_turns(const struct lab *l, struct turn **turns)
{
	const struct bench *b = l->bench;
	const char *only = b->args->flag[FLAG_optimise];
	size_t n = 0;

	*turns = calloc(l->n_links * b->n_models * l->repeat * 2 + 1, sizeof(**turns));
	for (size_t link = 0; *turns && link < l->n_links; link++)
		for (size_t r = 1; r <= l->repeat; r++)
			for (size_t m = 0; m < b->n_models; m++)
				for (int o = PLAN_LATENCY; o <= PLAN_BANDWIDTH; o++) {
					struct turn t = {link, m, r, o};

					if (only &&
					    strcmp(only, o == PLAN_BANDWIDTH ? "bandwidth" : "latency"))
						continue;
					if (!all_done(l, &t))
						(*turns)[n++] = t;
				}
	return n;
}

/* Fisher and Yates; those of the native link, which stand first, stay there. */
static void shuffle(struct turn *turns, size_t n)
{
	size_t first = 0;

	srandom((unsigned)(bench_now() * 1e3));
	while (first < n && !turns[first].link)
		first++;
	for (size_t i = n; i > first + 1; i--) {
		size_t j = first + (size_t)random() % (i - first);
		struct turn t = turns[i - 1];

		turns[i - 1] = turns[j];
		turns[j] = t;
	}
}

static int take_turn(struct lab *l, const struct turn *t, struct err *e)
{
	struct bench *b = l->bench;
	struct err why = {0};
	int failed;

	l->at = t->link;
	l->repetition = t->repetition;
	if (roles_go_on(e))
		return -1;
	failed = lab_link(l, t->link, &why);
	if (failed && why.code == ERR_RESULT) { /* refused: the other turns are none the worse */
		bench_clear(b);
		fprintf(stderr, "obscura: %s\n", why.text);
		l->refused++;
		link_net_free(&l->net);
		return 0;
	}
	b->roles.net = &l->net;
	if (failed)
		err_set(e, why.code, "%s", why.text);
	failed = failed || bench_batches(b, &b->models[t->model], t->optimise, e) ||
		 link_net_alive(&l->net, e);
	b->roles.net = NULL;
	link_net_free(&l->net);
	return failed ? -1 : 0;
}

static int take_turns(struct lab *l, const struct turn *turns, size_t n, struct err *e)
{
	double start = bench_now();

	for (size_t i = 0; i < n; i++) {
		l->bench->part = (double)i / (double)n;
		l->bench->left = i ? (bench_now() - start) / (double)i * (double)(n - i) : 0;
		if (take_turn(l, &turns[i], e))
			return -1;
	}
	return 0;
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
	size_t n = list_turns(l, &turns);
	int failed;

	if (!turns)
		return err_set(e, ERR_ENV, "out of memory");
	shuffle(turns, n);
	failed = take_turns(l, turns, n, e);
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
	failed = parse_links(l, only_links, e) || link_net_rights(e);
	if (!failed && only_links)
		failed = check(l, e);
	else
		failed = failed || prepare(l, e) || matrix(l, e);
	b->lab = NULL;
	free(l->known);
	free(l);
	return failed ? -1 : 0;
}
