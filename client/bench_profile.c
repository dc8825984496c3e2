/* SPDX-License-Identifier: Apache-2.0 */
/* obscura bench --profile: where each microsecond of an inference went, by row of the tape and party. The
 * roles write what they measured (protocol/profile.h) when they end. */
#include <stdlib.h>
#include <string.h>

#include "client/bench_profile.h"
#include "client/json.h"
#include "client/rows.h"
#include "client/bench_table.h"

static const char *const names[OFS] = {"data_owner", "model_owner", "provider"};
static const char *const whats[PROFILE_WHATS] = {"compute_ns",	 "send_ns",	"wait_ns", "encrypt_ns",
						 "transform_ns", "multiply_ns", "mask_ns", "decrypt_ns",
						 "ahead_ns",	 "deal_ns"};

const char *profile_path(const struct roles *r, int of, char path[128])
{
	snprintf(path, 128, "%s/profile-%s.jsonl", r->folder, names[of]);
	return path;
}

static double number(struct json_object *o, const char *name)
{
	struct json_object *x = NULL;

	return json_object_object_get_ex(o, name, &x) ? json_object_get_double(x) : 0;
}

/* One line of a role's file, of the tape that we look at. */
static void add_line(struct taken *rows, size_t n, enum of of, struct json_object *o)
{
	double images = number(o, "images"), tickets = number(o, "tickets");
	size_t row = (size_t)number(o, "row");

	if ((size_t)number(o, "rows") != n || row >= n)
		return;
	for (int w = 0; w < PROFILE_WHATS; w++) {
		double of_how_many = w < PROFILE_AHEAD ? images : tickets;

		if (of_how_many > 0)
			rows[row].seconds[of][w] += number(o, whats[w]) * 1e-9 / of_how_many;
	}
}

int profile_read(struct taken *rows, size_t n, const struct roles *r, enum of of, struct err *e)
{
	char path[128], *line = NULL;
	size_t room = 0, found = 0;
	FILE *f = fopen(profile_path(r, of, path), "re");

	while (f && getline(&line, &room, f) > 0) {
		struct json_object *o = json_tokener_parse(line);

		add_line(rows, n, of, o);
		json_object_put(o);
		found++;
	}
	free(line);
	if (f)
		fclose(f);
	return found ? 0 : err_set(e, ERR_ENV, "the %s wrote no profile", names[of]);
}

/* Waiting begins when the engine stops; what the slot then sends is counted apart. */
void profile_total(struct taken *sum, const struct taken *rows, size_t n)
{
	memset(sum, 0, sizeof(*sum));
	for (size_t i = 0; i < n; i++)
		for (int of = 0; of < OFS; of++)
			for (int w = 0; w < PROFILE_WHATS; w++)
				sum->seconds[of][w] += rows[i].seconds[of][w];
}

/* ---- output ---- */

static const struct {
	enum of of;
	enum profile_what what;
} columns[] = {{OF_OWNER, PROFILE_COMPUTE},    {OF_OWNER, PROFILE_SEND},    {OF_OWNER, PROFILE_WAIT},
	       {OF_MODELLER, PROFILE_COMPUTE}, {OF_MODELLER, PROFILE_SEND}, {OF_MODELLER, PROFILE_WAIT},
	       {OF_OWNER, PROFILE_AHEAD},      {OF_PROVIDER, PROFILE_DEAL}};
#define COLUMNS (sizeof(columns) / sizeof(*columns))

static void cells(struct bench_table *t, const struct taken *x)
{
	for (size_t c = 0; c < COLUMNS; c++)
		bench_table_cell(t, "%.1f", x->seconds[columns[c].of][columns[c].what] * 1e6);
}

static void row_line(struct bench_table *t, const struct program *p, uint16_t i, const struct taken *x)
{
	const struct row *row = &p->tape->rows[i];
	const struct shape shape = p->tape->values[row->out].shape;
	const struct placed *at = &p->rows[i];
	char text[96];

	bench_table_row(t);
	bench_table_cell(t, "%u", i);
	bench_table_cell(t, "%s", row_describe(row, text, sizeof(text)));
	bench_table_cell(t, "%u×%u×%u", shape.c, shape.h, shape.w);
	cells(t, x);
	bench_table_cell(t, "%llu", (unsigned long long)row_sent(p, at, P0));
	bench_table_cell(t, "%llu", (unsigned long long)row_sent(p, at, P1));
	bench_table_cell(t, "%llu", (unsigned long long)at->cost.delta);
	bench_table_cell(t, "%llu", (unsigned long long)at->cost.corrections);
}

/* What the rows do not say: the daemon around them, the socket, the network. */
static void print_rest(FILE *f, const struct measured *m, const struct taken *sum)
{
	const double *d = sum->seconds[OF_OWNER], *o = sum->seconds[OF_MODELLER];
	double rows = (d[PROFILE_COMPUTE] + d[PROFILE_SEND] + d[PROFILE_WAIT]) * (double)m->batch;

	bench_note(f,
		   "Of a request: rows %.1f, the daemon around them %.1f, socket and driver %.1f; in all "
		   "%.1f (median "
		   "%.1f).",
		   rows * 1e6, (m->online.mean - rows) * 1e6, (m->client.mean - m->online.mean) * 1e6,
		   m->client.mean * 1e6, m->client.median * 1e6);
	bench_note(f,
		   "While the data owner waits, the model owner computes and sends (%.1f); the rest is the "
		   "network, TLS "
		   "and being woken.",
		   (o[PROFILE_COMPUTE] + o[PROFILE_SEND]) * 1e6);
}

static int print(const struct bench *b, const struct measured *m, const struct program *p,
		 const struct taken *rows, const struct taken *sum, struct err *e)
{
	struct bench_table *t;
	char title[200];

	snprintf(title, sizeof(title),
		 "%s, %s mode, batch %zu: microseconds of one image, means over %zu requests", m->model->name,
		 m->optimise == PLAN_BANDWIDTH ? "bandwidth" : "latency", m->batch, m->latency_requests);
	if (bench_table_new(
		&t, b->markdown, title,
		"ROW|STEP|OUT|>D COMPUTES|>SENDS|>WAITS|>M COMPUTES|>SENDS|>WAITS|>D OFFLINE|>C OFFLINE|>D→M "
		"BYTES|>M→D|>D→M OFFLINE|>C→M",
		e))
		return -1;
	for (uint16_t i = 0; i < p->tape->n_rows; i++)
		row_line(t, p, i, &rows[i]);
	bench_table_row(t);
	bench_table_cell(t, " ");
	bench_table_cell(t, "all");
	bench_table_cell(t, " ");
	cells(t, sum);
	if (bench_table_print(t, e))
		return -1;
	print_rest(b->markdown, m, sum);
	return 0;
}

static struct json_object *json_taken(const struct taken *t)
{
	struct json_object *o = json_object_new_object();

	for (int of = 0; of < OFS; of++) {
		struct json_object *x = json_object_new_object();

		if (of != OF_PROVIDER) {
			json_real(x, "compute", t->seconds[of][PROFILE_COMPUTE]);
			json_real(x, "send", t->seconds[of][PROFILE_SEND]);
			json_real(x, "wait", t->seconds[of][PROFILE_WAIT]);
		}
		if (of != OF_MODELLER)
			json_real(x, "offline",
				  t->seconds[of][of == OF_OWNER ? PROFILE_AHEAD : PROFILE_DEAL]);
		json_object_object_add(o, names[of], x);
	}
	return o;
}

static struct json_object *json_row(const struct program *p, uint16_t i, const struct taken *t)
{
	const struct placed *at = &p->rows[i];
	struct json_object *o = json_object_new_object(), *bytes = json_object_new_object();
	char text[96];

	json_count(o, "row", i);
	json_text(o, "op", ops[p->tape->rows[i].kind]->name);
	json_text(o, "step", row_describe(&p->tape->rows[i], text, sizeof(text)));
	json_object_object_add(o, "seconds", json_taken(t));
	json_object_object_add(bytes, "online", json_counted(row_sent(p, at, P0), row_sent(p, at, P1), NULL));
	json_object_object_add(bytes, "offline", json_counted(at->cost.delta, 0, &at->cost.corrections));
	json_object_object_add(o, "bytes", bytes);
	return o;
}

static struct json_object *json_profile(const struct measured *m, const struct program *p,
					const struct taken *rows, const struct taken *sum)
{
	struct json_object *o = json_object_new_object(), *list = json_object_new_array();

	json_text(o, "kind", "profile");
	json_text(o, "model", m->model->name);
	json_text(o, "personality", "smpc");
	json_text(o, "mode", m->optimise == PLAN_BANDWIDTH ? "bandwidth" : "latency");
	json_text(o, "link", "native");
	json_count(o, "batch", m->batch);
	json_count(o, "requests", m->latency_requests);
	json_real(o, "online", m->online.mean);
	json_real(o, "total", m->client.mean);
	json_object_object_add(o, "seconds", json_taken(sum));
	for (uint16_t i = 0; i < p->tape->n_rows; i++)
		json_object_array_add(list, json_row(p, i, &rows[i]));
	json_object_object_add(o, "rows", list);
	return o;
}

int bench_profile(struct bench *b, const struct measured *m, const struct program *p, struct err *e)
{
	size_t n = p->tape->n_rows;
	struct taken *rows = calloc(n, sizeof(*rows)), sum;
	int failed = rows ? 0 : err_set(e, ERR_ENV, "out of memory");

	for (int of = 0; !failed && of < OFS; of++)
		failed = profile_read(rows, n, &b->roles, of, e);
	if (!failed) {
		profile_total(&sum, rows, n);
		bench_clear(b);
		failed = print(b, m, p, rows, &sum, e) || report_line(b, json_profile(m, p, rows, &sum), e)
			     ? -1
			     : 0;
	}
	free(rows);
	return failed;
}
