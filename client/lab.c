/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lab.h"

#include <stdlib.h>
#include <string.h>

#include "client/json.h"
#include "client/sheet.h"

#define TRIES 4 /* of measuring a link, before a run on it is refused */
#define LINKS_MAX 16

struct lab {
	struct bench *bench;
	struct link links[LINKS_MAX];
	struct link_net nets[LINKS_MAX]; /* one at a time; what was measured stays */
	struct link_measured measured[LINKS_MAX];
	size_t n;
};

/* ---- links ---- */

static int parse_links(struct lab *l, const struct args *a, struct err *e)
{
	char *list = strdup(a->flag[FLAG_links]), *save = NULL;
	int failed = list ? 0 : err_set(e, ERR_ENV, "out of memory");

	for (char *name = list ? strtok_r(list, ",", &save) : NULL; name && !failed;
	     name = strtok_r(NULL, ",", &save))
		failed = l->n == LINKS_MAX ? err_set(e, ERR_USAGE, "--links: at most %d links", LINKS_MAX)
					   : link_find(&l->links[l->n++], name, a->flag[FLAG_link_file], e);
	free(list);
	if (!failed && !l->n)
		failed = err_set(e, ERR_USAGE, "--links: no link");
	return failed;
}

static int link_row(struct bench *b, const struct link_net *n, const struct link_measured *m, int refused,
		    struct err *e)
{
	struct json_object *o = json_object_new_object();

	json_text(o, "kind", "link");
	json_text(o, "link", n->link.name);
	json_object_object_add(o, "made", link_net_describe(n));
	json_object_object_add(o, "measured", link_measured_json(n, m));
	json_object_object_add(o, "refused", json_object_new_boolean(refused));
	return report_line(b, o, e);
}

/* Builds link i, measures it, and writes both down. It stays when it is good. */
static int build(struct lab *l, size_t i, struct err *e)
{
	struct link_net *n = &l->nets[i];
	int failed;

	bench_progress(l->bench, "link %s: measuring", l->links[i].name);
	if (link_net_new(n, &l->links[i], l->bench->args->flag[FLAG_mechanism], e))
		return -1;
	failed = link_measure(n, &l->measured[i], TRIES, e);
	if (failed && e->code != ERR_RESULT)
		return -1;
	return link_row(l->bench, n, &l->measured[i], failed, failed ? NULL : e) || failed ? -1 : 0;
}

static void sheet_pair(struct sheet *s, const struct lab *l, size_t i, int a, int b)
{
	static const char *const pairs[LINK_ROLES][LINK_ROLES] = {
	    {"", "data owner, model owner", "data owner, provider"}, {"", "", "model owner, provider"}};
	const struct link_measured *m = &l->measured[i];

	sheet_row(s);
	sheet_cell(s, "%s", l->links[i].name);
	sheet_cell(s, "%s", link_mechanism_names[l->nets[i].mechanism]);
	sheet_cell(s, "%s", pairs[a][b]);
	sheet_cell(s, "%.2f", link_rtt(&l->links[i], a, b) * 1e3);
	sheet_cell(s, "%.2f", m->p50[a][b] * 1e3);
	sheet_cell(s, "%.2f", m->p99[a][b] * 1e3);
	sheet_cell(s, "%.0f", l->links[i].paths[a][b].byte_rate * 8e-6);
	sheet_cell(s, "%.0f", m->byte_rate[a][b] * 8e-6);
	sheet_cell(s, "%.0f", m->byte_rate[b][a] * 8e-6);
}

static int print_links(const struct lab *l, struct err *e)
{
	struct sheet *s;

	bench_clear(l->bench);
	if (!l->measured[0].tries)
		return 0;
	puts("Links (milliseconds, Mbit/s), measured over TCP between the roles' hosts");
	if (sheet_new(&s, "LINK|MADE BY|BETWEEN|>PROFILE|>ROUND TRIP|>P99|>PROFILE|>THERE|>BACK", e))
		return -1;
	for (size_t i = 0; i < l->n; i++)
		for (int a = 0; a < LINK_ROLES; a++)
			for (int b = a + 1; b < LINK_ROLES; b++)
				if (l->measured[i].tries)
					sheet_pair(s, l, i, a, b);
	return sheet_print(s, e);
}

/* ---- the whole ---- */

static int check(struct lab *l, struct err *e)
{
	int failed = 0;

	for (size_t i = 0; i < l->n && !failed; i++) {
		failed = roles_go_on(e) || build(l, i, e);
		link_net_free(&l->nets[i]);
	}
	return print_links(l, failed ? NULL : e) || failed ? -1 : 0;
}

int lab_run(struct bench *b, struct err *e)
{
	struct lab *l = calloc(1, sizeof(*l));
	int failed;

	if (!l)
		return err_set(e, ERR_ENV, "out of memory");
	l->bench = b;
	failed = parse_links(l, b->args, e) || link_net_rights(e) || check(l, e);
	free(l);
	return failed ? -1 : 0;
}
