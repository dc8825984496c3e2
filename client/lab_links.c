/* SPDX-License-Identifier: Apache-2.0 */
#include "client/bench_table.h"
#include "client/json.h"
#include "client/lab.h"

static int link_row(struct lab *l, const struct link_measured *m, int refused, struct err *e)
{
	struct json_object *o = json_object_new_object();

	json_text(o, "kind", "link");
	json_text(o, "link", l->net.link.name);
	json_object_object_add(o, "made", link_net_describe(&l->net));
	json_object_object_add(o, "measured", link_measured_json(&l->net, m));
	json_object_object_add(o, "refused", json_object_new_boolean(refused));
	return report_line(l->bench, o, e);
}

int lab_link(struct lab *l, size_t i, struct err *e)
{
	int failed;

	bench_progress(l->bench, "link %s: measuring", l->links[i].name);
	if (link_net_new(&l->net, &l->links[i], l->bench->args->flag[FLAG_mechanism], e))
		return -1;
	l->made[i] = l->net.mechanism;
	failed = link_measure(&l->net, &l->measured[i], LAB_TRIES, e);
	if (failed && e->code != ERR_RESULT)
		return -1;
	return link_row(l, &l->measured[i], failed, failed ? NULL : e) || failed ? -1 : 0;
}

static void add_pair(struct bench_table *t, const struct lab *l, size_t i, int a, int b)
{
	static const char *const pairs[LINK_ROLES][LINK_ROLES] = {
	    {"", "data owner, model owner", "data owner, provider"}, {"", "", "model owner, provider"}};
	const struct link_measured *m = &l->measured[i];

	bench_table_row(t);
	bench_table_cell(t, "%s", l->links[i].name);
	bench_table_cell(t, "%s", link_mechanism_names[l->made[i]]);
	bench_table_cell(t, "%s", pairs[a][b]);
	bench_table_cell(t, "%.2f", link_rtt(&l->links[i], a, b) * 1e3);
	bench_table_cell(t, "%.2f", m->p50[a][b] * 1e3);
	bench_table_cell(t, "%.2f", m->p99[a][b] * 1e3);
	bench_table_cell(t, "%.0f", l->links[i].paths[a][b].byte_rate * 8e-6);
	bench_table_cell(t, "%.0f", m->byte_rate[a][b] * 8e-6);
	bench_table_cell(t, "%.0f", m->byte_rate[b][a] * 8e-6);
}

static int any_measured(const struct lab *l)
{
	for (size_t i = 0; i < l->n_links; i++)
		if (l->measured[i].tries)
			return 1;
	return 0;
}

int lab_print_links(const struct lab *l, struct err *e)
{
	struct bench_table *t;

	bench_clear(l->bench);
	if (!any_measured(l))
		return 0;
	if (bench_table_new(&t, l->bench->markdown,
			    "Links as measured last over TCP between the roles' hosts (milliseconds, Mbit/s)",
			    "LINK|MADE BY|BETWEEN|>PROFILE|>ROUND TRIP|>P99|>PROFILE|>THERE|>BACK", e))
		return -1;
	for (size_t i = 0; i < l->n_links; i++)
		for (int a = 0; a < LINK_ROLES; a++)
			for (int b = a + 1; b < LINK_ROLES; b++)
				if (l->measured[i].tries)
					add_pair(t, l, i, a, b);
	return bench_table_print(t, e);
}
