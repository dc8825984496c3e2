/* SPDX-License-Identifier: Apache-2.0 */
/* obscura bench --profile --personalities he: where each microsecond of an inference went, by row of the tape
 * and party. With tickets, of what is left to do when the image is there. */
#include <stdlib.h>
#include <string.h>

#include "client/bench_profile.h"
#include "client/bench_table.h"
#include "client/he.h"
#include "client/json.h"
#include "client/rows.h"
#include "nn/he_offline.h"

static const struct {
	enum of of;
	enum profile_what what;
	const char *name;
} columns[] = {
    {OF_OWNER, PROFILE_ENCRYPT, "encrypt"},
    {OF_OWNER, PROFILE_TRANSFORM, "transform"},
    {OF_OWNER, PROFILE_MASK, "mask"},
    {OF_OWNER, PROFILE_DECRYPT, "decrypt"},
    {OF_OWNER, PROFILE_COMPUTE, "compute"},
    {OF_OWNER, PROFILE_SEND, "send"},
    {OF_OWNER, PROFILE_WAIT, "wait"},
    {OF_MODELLER, PROFILE_TRANSFORM, "transform"},
    {OF_MODELLER, PROFILE_MULTIPLY, "multiply"},
    {OF_MODELLER, PROFILE_MASK, "mask"},
    {OF_MODELLER, PROFILE_COMPUTE, "compute"},
    {OF_MODELLER, PROFILE_SEND, "send"},
};
#define COLUMNS (sizeof(columns) / sizeof(*columns))

/* What the model owner computes of a row while the data owner waits. Its sending is part of the network: the
 * data owner reads meanwhile. */
static double busy(const struct taken *t)
{
	double sum = 0;

	for (int w = 0; w < PROFILE_AHEAD; w++)
		sum += w == PROFILE_SEND ? 0 : t->seconds[OF_MODELLER][w];
	return sum;
}

/* The wire, the answer's TLS, being woken, and workers' queues: of a round trip, at the first row that it
 * answers. The rows of one round trip follow each other, and the first of them has waited. */
static double network(const struct taken *rows, size_t n, size_t i)
{
	double rest = rows[i].seconds[OF_OWNER][PROFILE_WAIT];

	if (rest <= 0)
		return 0;
	rest -= busy(&rows[i]);
	for (size_t j = i + 1; j < n && rows[j].seconds[OF_OWNER][PROFILE_WAIT] <= 0; j++)
		rest -= busy(&rows[j]);
	return rest > 0 ? rest : 0;
}

static double all_network(const struct taken *rows, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += network(rows, n, i);
	return sum;
}

/* ---- bytes ---- */

/* Payload of one image: of a round trip at the first row that it answers. */
struct sent {
	uint64_t online[2], offline[2]; /* by the data owner, by the model owner */
};

static void level_bytes(struct sent *s, const struct he_plan *hp, uint16_t level, int tickets)
{
	s->online[0] = tickets ? he_masked_up(hp, level) : he_request_bytes(hp, level, 1);
	s->online[1] = tickets ? he_masked_down(hp, level) : he_answer_bytes(hp, level, 1);
	/* one seed for the ticket */
	s->offline[0] = tickets ? hp->up[level] + (level ? 0 : HE_SEED_BYTES) : 0;
	s->offline[1] = tickets ? hp->down[level] : 0;
}

static int count_bytes(struct sent *rows, size_t n, const struct measured *m, struct err *e)
{
	struct he_local made;
	uint16_t next = 0;

	if (bench_he_plan(&made, m, e))
		return -1;
	for (uint16_t i = 0; i < made.hp->n_steps; i++)
		if (made.hp->steps[i].level == next && made.hp->steps[i].row < n)
			level_bytes(&rows[made.hp->steps[i].row], made.hp, next++, m->he->offline);
	he_local_free(&made);
	return 0;
}

static void add_sent(struct sent *sum, const struct sent *s)
{
	for (int i = 0; i < 2; i++) {
		sum->online[i] += s->online[i];
		sum->offline[i] += s->offline[i];
	}
}

static struct json_object *json_sent(const struct sent *s)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "online", json_counted(s->online[0], s->online[1], NULL));
	json_object_object_add(o, "offline", json_counted(s->offline[0], s->offline[1], NULL));
	return o;
}

static void sent_cells(struct bench_table *t, const struct sent *s)
{
	for (int i = 0; i < 2; i++)
		bench_table_cell(t, "%llu", (unsigned long long)s->online[i]);
	for (int i = 0; i < 2; i++)
		bench_table_cell(t, "%llu", (unsigned long long)s->offline[i]);
}

/* ---- output ---- */

static void cells(struct bench_table *t, const struct taken *x, double wire)
{
	for (size_t c = 0; c < COLUMNS; c++)
		bench_table_cell(
		    t, "%.1f",
		    (columns[c].what == PROFILE_WAIT ? wire : x->seconds[columns[c].of][columns[c].what]) *
			1e6);
}

static void row_line(struct bench_table *t, const struct tape *tape, const struct taken *rows,
		     const struct sent *sent, uint16_t i)
{
	const struct shape shape = tape->values[tape->rows[i].out].shape;
	char text[96];

	bench_table_row(t);
	bench_table_cell(t, "%u", i);
	bench_table_cell(t, "%s", row_describe(&tape->rows[i], text, sizeof(text)));
	bench_table_cell(t, "%u×%u×%u", shape.c, shape.h, shape.w);
	cells(t, &rows[i], network(rows, tape->n_rows, i));
	sent_cells(t, &sent[i]);
}

static void print_rest(FILE *f, const struct measured *m, const struct taken *sum)
{
	double rows = 0;

	for (int w = 0; w < PROFILE_AHEAD; w++)
		rows += sum->seconds[OF_OWNER][w] * (double)m->batch;
	bench_note(f,
		   "Of a request: rows %.1f, the daemon and its workers around them %.1f, socket and driver "
		   "%.1f; in all %.1f (median "
		   "%.1f). The model owner computes for %.1f of an image, "
		   "which is not in NETWORK; its sends are.",
		   rows * 1e6, (m->online.mean - rows) * 1e6, (m->client.mean - m->online.mean) * 1e6,
		   m->client.mean * 1e6, m->client.median * 1e6, busy(sum) * 1e6);
}

static int print(const struct bench *b, const struct measured *m, const struct tape *tape,
		 const struct taken *rows, const struct taken *sum, const struct sent *sent, struct err *e)
{
	struct sent all = {0};
	struct bench_table *t;
	char title[200];

	snprintf(title, sizeof(title),
		 "%s, %s, batch %zu: microseconds of one image, means over %zu requests", m->model->name,
		 m->he->name, m->batch, m->latency_requests);
	if (bench_table_new(
		&t, b->markdown, title,
		"ROW|STEP|OUT|>D ENCRYPTS|>TRANSFORMS|>MASKS|>DECRYPTS|>COMPUTES|>SENDS|>NETWORK|>M "
		"TRANSFORMS|>MULTIPLIES|>MASKS|>COMPUTES|>SENDS|>BYTES SENT|>RECEIVED|>AHEAD|>RECEIVED",
		e))
		return -1;
	for (uint16_t i = 0; i < tape->n_rows; i++) {
		row_line(t, tape, rows, sent, i);
		add_sent(&all, &sent[i]);
	}
	bench_table_row(t);
	bench_table_cell(t, " ");
	bench_table_cell(t, "all");
	bench_table_cell(t, " ");
	cells(t, sum, all_network(rows, tape->n_rows));
	sent_cells(t, &all);
	if (bench_table_print(t, e))
		return -1;
	print_rest(b->markdown, m, sum);
	return 0;
}

static struct json_object *json_taken(const struct taken *t, double wire)
{
	struct json_object *o = json_object_new_object(),
			   *of[] = {json_object_new_object(), json_object_new_object()};

	for (size_t c = 0; c < COLUMNS; c++)
		json_real(of[columns[c].of], columns[c].name, t->seconds[columns[c].of][columns[c].what]);
	json_object_object_add(o, "data_owner", of[OF_OWNER]);
	json_object_object_add(o, "model_owner", of[OF_MODELLER]);
	json_real(o, "network", wire);
	return o;
}

static struct json_object *json_rows(const struct tape *tape, const struct taken *rows,
				     const struct sent *sent)
{
	struct json_object *list = json_object_new_array();

	for (uint16_t i = 0; i < tape->n_rows; i++) {
		struct json_object *o = json_object_new_object();
		char text[96];

		json_count(o, "row", i);
		json_text(o, "op", ops[tape->rows[i].kind]->name);
		json_text(o, "step", row_describe(&tape->rows[i], text, sizeof(text)));
		json_object_object_add(o, "seconds", json_taken(&rows[i], network(rows, tape->n_rows, i)));
		json_object_object_add(o, "bytes", json_sent(&sent[i]));
		json_object_array_add(list, o);
	}
	return list;
}

static struct json_object *json_profile(const struct measured *m, const struct tape *tape,
					const struct taken *rows, const struct taken *sum,
					const struct sent *sent)
{
	struct json_object *o = json_object_new_object();

	json_text(o, "kind", "profile");
	json_text(o, "model", m->model->name);
	json_text(o, "personality", "he");
	json_text(o, "he_set", he_params(m->he->set)->name);
	json_object_object_add(o, "he_offline", json_object_new_boolean(m->he->offline));
	json_text(o, "way", m->he->name);
	json_text(o, "leaks", personality_leaks(PERSONALITY_HE));
	json_text(o, "link", "native");
	json_count(o, "batch", m->batch);
	json_count(o, "requests", m->latency_requests);
	json_real(o, "online", m->online.mean);
	json_real(o, "total", m->client.mean);
	json_object_object_add(o, "seconds", json_taken(sum, all_network(rows, tape->n_rows)));
	json_object_object_add(o, "rows", json_rows(tape, rows, sent));
	return o;
}

int bench_he_profile(struct bench *b, const struct measured *m, const struct program *p, struct err *e)
{
	size_t n = p->tape->n_rows;
	struct taken *rows = calloc(n, sizeof(*rows)), sum;
	struct sent *sent = calloc(n, sizeof(*sent));
	int failed = rows && sent ? 0 : err_set(e, ERR_ENV, "out of memory");

	failed = failed || count_bytes(sent, n, m, e) || profile_read(rows, n, &b->roles, OF_OWNER, e) ||
		 profile_read(rows, n, &b->roles, OF_MODELLER, e);
	if (!failed) {
		profile_total(&sum, rows, n);
		bench_clear(b);
		failed = print(b, m, p->tape, rows, &sum, sent, e) ||
			 report_line(b, json_profile(m, p->tape, rows, &sum, sent), e);
	}
	free(rows);
	free(sent);
	return failed ? -1 : 0;
}
