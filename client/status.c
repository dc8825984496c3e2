/* SPDX-License-Identifier: Apache-2.0 */
/* obscura status, obscura stock: the data owner's daemon, its peers, sessions and ticket pools. */
#include <stdio.h>

#include "client/ask.h"
#include "client/command.h"
#include "client/json.h"
#include "client/sheet.h"
#include "daemon/status_json.h"

static int print_peers(const Wire__Status *s, struct err *e)
{
	struct sheet *sheet;

	if (sheet_new(&sheet, "PEER|NAME|ADDRESS|STATE|REASON", e))
		return -1;
	for (size_t i = 0; i < s->n_peers; i++) {
		const Wire__Peer *p = s->peers[i];

		sheet_row(sheet);
		sheet_cell(sheet, "%s", p->role);
		sheet_cell(sheet, "%s", p->name);
		sheet_cell(sheet, "%s", p->address);
		sheet_cell(sheet, "%s", p->state);
		sheet_cell(sheet, "%s", p->error);
	}
	return sheet_print(sheet, e);
}

static int print_pools(const Wire__Status *s, struct err *e)
{
	struct sheet *sheet;
	char bytes[24];

	if (!s->n_pools) {
		puts("No session yet: the first request for a model opens one.");
		return 0;
	}
	if (sheet_new(&sheet,
		      "MODEL|PERSONALITY|MODE|REVEAL|PEER|STATE|>TICKETS|>FULL|>MEMORY|>MADE|>USED|>A SECOND",
		      e))
		return -1;
	for (size_t i = 0; i < s->n_pools; i++) {
		const Wire__Pool *p = s->pools[i];

		sheet_row(sheet);
		sheet_cell(sheet, "%s", p->model);
		sheet_cell(sheet, "%s", p->personality);
		sheet_cell(sheet, "%s", p->mode);
		sheet_cell(sheet, "%s", p->reveal);
		sheet_cell(sheet, "%s", p->peer);
		sheet_cell(sheet, "%s", p->state);
		sheet_cell(sheet, "%llu", (unsigned long long)p->depth);
		sheet_cell(sheet, "%llu", (unsigned long long)p->high);
		sheet_cell(sheet, "%s", sheet_bytes(bytes, p->bytes));
		sheet_cell(sheet, "%llu", (unsigned long long)p->made);
		sheet_cell(sheet, "%llu", (unsigned long long)p->burnt);
		sheet_cell(sheet, "%.3g", p->burn_rate);
	}
	return sheet_print(sheet, e);
}

static int status_json(const Wire__Status *s, struct err *e)
{
	struct json_object *o = json_object_new_object(), *peers = json_object_new_array(),
			   *pools = json_object_new_array(), *warnings = json_object_new_array();

	json_text(o, "role", s->role);
	json_text(o, "software", s->software);
	json_real(o, "uptime", s->uptime);
	for (size_t i = 0; i < s->n_peers; i++)
		json_object_array_add(peers, status_peer(s->peers[i]));
	json_object_object_add(o, "peers", peers);
	for (size_t i = 0; i < s->n_pools; i++)
		json_object_array_add(pools, status_pool(s->pools[i]));
	json_object_object_add(o, "pools", pools);
	for (size_t i = 0; i < s->n_warnings; i++)
		json_object_array_add(warnings, json_object_new_string(s->warnings[i]));
	json_object_object_add(o, "warnings", warnings);
	return json_line(o, e);
}

static int fetch(const struct args *a, Wire__Status **s, struct err *e)
{
	struct ask *ask;
	int r;

	if (a->n)
		return err_set(e, ERR_USAGE, "obscura %s takes no argument", a->command);
	if (ask_open(&ask, &a->config, 0, e))
		return -1;
	r = ask_status(ask, s, e);
	ask_close(ask);
	return r;
}

int command_status(struct args *a, struct err *e)
{
	Wire__Status *s;
	int r;

	if (fetch(a, &s, e))
		return -1;
	if (a->flag[FLAG_json]) {
		r = status_json(s, e);
	} else {
		printf("%s, up for %.0f s\n\n", s->role, s->uptime);
		r = print_peers(s, e);
		for (size_t i = 0; i < s->n_warnings; i++)
			printf("warning: %s\n", s->warnings[i]);
		puts("");
		if (!r)
			r = print_pools(s, e);
	}
	wire__status__free_unpacked(s, NULL);
	return r;
}

int command_stock(struct args *a, struct err *e)
{
	Wire__Status *s;
	int r = 0;

	if (fetch(a, &s, e))
		return -1;
	if (!a->flag[FLAG_json])
		r = print_pools(s, e);
	for (size_t i = 0; a->flag[FLAG_json] && !r && i < s->n_pools; i++)
		r = json_line(status_pool(s->pools[i]), e);
	wire__status__free_unpacked(s, NULL);
	return r;
}
