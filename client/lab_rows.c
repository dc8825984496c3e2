/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lab.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/bench_table.h"
#include "client/json.h"

#define LATENCY_SAMPLES 30 /* requests of all repetitions of a row for which a slow link is waited for */
#define SAMPLES_LEAST 10   /* of each */

/* ---- what is known ---- */

static int remember(struct lab *l, const struct lab_known *k, struct err *e)
{
	if (l->n_known == l->room) {
		size_t room = l->room ? 2 * l->room : 64;
		struct lab_known *known = reallocarray(l->known, room, sizeof(*known));

		if (!known)
			return err_set(e, ERR_ENV, "out of memory");
		l->known = known;
		l->room = room;
	}
	l->known[l->n_known++] = *k;
	return 0;
}

static const char *text_of(struct json_object *o, const char *name)
{
	struct json_object *x = json_object_object_get(o, name);

	return json_object_is_type(x, json_type_string) ? json_object_get_string(x) : "";
}

static double online_of(struct json_object *o)
{
	struct json_object *seconds = json_object_object_get(o, "seconds"),
			   *online = seconds ? json_object_object_get(seconds, "online") : NULL,
			   *median = online ? json_object_object_get(online, "median") : NULL;

	return json_object_get_double(median);
}

static int read_row(struct lab *l, struct json_object *o, struct err *e)
{
	struct lab_known k = {.batch = (size_t)json_object_get_int64(json_object_object_get(o, "batch")),
			      .repetition =
				  (size_t)json_object_get_int64(json_object_object_get(o, "repetition")),
			      .online = online_of(o)};

	if (strcmp(text_of(o, "kind"), "macro") || !k.batch || !k.repetition)
		return 0;
	snprintf(k.link, sizeof(k.link), "%s", text_of(o, "link"));
	snprintf(k.model, sizeof(k.model), "%s", text_of(o, "model"));
	snprintf(k.way, sizeof(k.way), "%s", text_of(o, "way"));
	return remember(l, &k, e);
}

int lab_read(struct lab *l, const char *file, struct err *e)
{
	FILE *f = fopen(file, "re");
	char *line = NULL;
	size_t room = 0;
	int failed = 0;

	if (!f)
		return errno == ENOENT ? 0 : err_set(e, ERR_ENV, "cannot read %s: %s", file, strerror(errno));
	while (!failed && getline(&line, &room, f) > 0) {
		struct json_object *o = json_tokener_parse(line);

		if (json_object_is_type(o, json_type_object))
			failed = read_row(l, o, e);
		json_object_put(o);
	}
	free(line);
	fclose(f);
	return failed;
}

static int is_of(const struct lab_known *k, const char *link, const char *model, const struct bench_way *way,
		 size_t batch)
{
	return k->batch == batch && !strcmp(k->way, bench_way_name(way)) && !strcmp(k->link, link) &&
	       !strcmp(k->model, model);
}

int lab_done(const struct lab *l, const char *link, const char *model, const struct bench_way *way,
	     size_t batch, size_t repetition)
{
	for (size_t i = 0; i < l->n_known; i++)
		if (is_of(&l->known[i], link, model, way, batch) && l->known[i].repetition == repetition)
			return 1;
	return 0;
}

int lab_has(const struct lab *l, const char *model, const struct bench_way *way, size_t batch)
{
	return lab_done(l, l->net.link.name, model, way, batch, l->repetition);
}

static struct bench_way way_of(const struct measured *m)
{
	return (struct bench_way){m->personality, m->optimise, m->he};
}

/* ---- prediction ---- */

/* The least of the repetitions on this host's loopback: what computing takes when nobody disturbs. */
static double compute_of(const struct lab *l, const struct measured *m)
{
	const struct bench_way way = way_of(m);
	double least = 0;

	for (size_t i = 0; i < l->n_known; i++)
		if (is_of(&l->known[i], "native", m->model->name, &way, m->batch) &&
		    (least <= 0 || l->known[i].online < least))
			least = l->known[i].online;
	return least;
}

void lab_begin(struct lab *l, struct measured *m)
{
	struct lab_row *row = &m->lab;

	row->net = &l->net;
	row->link = &l->measured[l->at];
	row->native = l->net.link.native;
	snprintf(row->name, sizeof(row->name), "%s", l->net.link.name);
	row->repetition = l->repetition;
}

/* Seconds for so many requests that take `one`, but at least `least`. */
static double time_for(size_t requests, double one, double least)
{
	double seconds = (double)requests * one;

	return seconds > least ? seconds : least;
}

void lab_predict(struct lab *l, struct measured *m)
{
	const struct link_measured *link = &l->measured[l->at];
	const int d = LINK_DATA_OWNER, w = LINK_MODEL_OWNER;
	size_t samples = LATENCY_SAMPLES / l->repeat;
	struct bench *b = l->bench;
	struct lab_row *row = &m->lab;

	row->compute = row->native ? 0 : compute_of(l, m);
	if (!row->native)
		row->transfer = m->planned_trips * link->p50[d][w] +
				(double)m->batch * ((double)m->planned_on.sent / link->byte_rate[d][w] +
						    (double)m->planned_on.received / link->byte_rate[w][d]);
	row->online = row->transfer + row->compute;
	samples = samples < SAMPLES_LEAST ? SAMPLES_LEAST : samples;
	b->latency_seconds = time_for(samples, row->online, b->quick ? 0.25 : 0.5);
	b->steady_seconds = time_for(samples / 2, row->online, b->quick ? 0.4 : 0.6);
}

void lab_note(struct lab *l, const struct measured *m)
{
	const struct bench_way way = way_of(m);
	struct lab_known k = {.batch = m->batch, .repetition = l->repetition, .online = m->online.median};
	struct err ignore = {0}; /* out of memory: then a prediction lacks its compute, and says so: 0 */

	if (strcmp(m->kind, "macro") != 0)
		return;
	snprintf(k.link, sizeof(k.link), "%s", l->net.link.name);
	snprintf(k.model, sizeof(k.model), "%s", m->model->name);
	snprintf(k.way, sizeof(k.way), "%s", bench_way_name(&way));
	(void)!remember(l, &k, &ignore);
}

/* What waited for tickets took longer than its messages: nothing was predicted of that. */
static int is_warm(const struct measured *m)
{
	return m->warm * 4 >= m->latency_requests * 3;
}

/* Measured over predicted, less 1. */
static double off(const struct measured *m)
{
	return m->lab.online > 0 ? m->online.median / m->lab.online - 1 : 0;
}

/* ---- rows ---- */

void lab_json(struct json_object *o, const struct measured *m)
{
	const struct lab_row *row = &m->lab;
	struct json_object *x;

	if (!row->net)
		return;
	json_count(o, "repetition", row->repetition);
	json_text(o, "mechanism", link_mechanism_names[row->net->mechanism]);
	json_object_object_add(o, "link_measured", link_measured_json(row->net, row->link));
	if (row->net->link.native)
		return;
	x = json_object_new_object();
	json_real(json_object_object_get(o, "seconds"), "computing", row->compute);
	json_real(json_object_object_get(o, "seconds"), "waiting",
		  m->online.median > row->compute ? m->online.median - row->compute : 0);
	json_real(x, "compute", row->compute);
	json_real(x, "transfer", row->transfer);
	json_real(x, "online", row->online);
	json_object_object_add(o, "predicted_seconds", x);
	if (is_warm(m) && !strcmp(m->kind, "macro"))
		json_real(o, "off_prediction", off(m));
	else
		json_object_object_add(o, "off_prediction", NULL);
}

static void add_row(struct bench_table *t, const struct measured *m)
{
	const struct bench_way way = way_of(m);
	const struct lab_row *row = &m->lab;

	bench_table_row(t);
	bench_table_cell(t, "%s", row->name);
	bench_table_cell(t, "%s", m->model->name);
	bench_table_cell(t, "%s", bench_way_name(&way));
	bench_table_cell(t, "%zu", m->batch);
	bench_table_cell(t, "%u", m->steady.round_trips);
	bench_table_cell(t, "%.2f", m->online.median * 1e3);
	bench_table_cell(t, "%.2f", m->online.p99 * 1e3);
	if (row->native) {
		bench_table_cell(t, "%s", "");
		bench_table_cell(t, "%s", "");
	} else {
		bench_table_cell(t, "%.2f", row->online * 1e3);
		if (is_warm(m))
			bench_table_cell(t, "%+.1f", off(m) * 100);
		else
			bench_table_cell(t, "cold");
	}
	if (m->floor.rounds)
		bench_table_cell(t, "%.2f", m->floor.seconds.median * 1e3);
	else
		bench_table_cell(t, "-");
	bench_table_cell(t, "%.2f", m->client.median * 1e3);
	bench_table_cell(t, "%zu/%zu", m->warm, m->latency_requests);
	bench_table_cell(t, "%.1f", m->images_per_second);
}

/* As many images as the link lets through. */
static int print_lanes(const struct lab *l, struct err *e)
{
	const struct bench *b = l->bench;
	struct bench_table *t;

	if (bench_table_new(&t, b->markdown, "Several requests at once, offline work included",
			    "LINK|MODEL|MODE|>BATCH|>IN FLIGHT|>CLIENT ms|>P99 ms|>IMAGES/S|>IMAGES", e))
		return -1;
	for (size_t i = 0; i < b->n_rows; i++) {
		const struct measured *m = &b->rows[i];
		const struct bench_way way = way_of(m);

		if (strcmp(m->kind, "lanes") != 0)
			continue;
		bench_table_row(t);
		bench_table_cell(t, "%s", m->lab.name);
		bench_table_cell(t, "%s", m->model->name);
		bench_table_cell(t, "%s", bench_way_name(&way));
		bench_table_cell(t, "%zu", m->batch);
		bench_table_cell(t, "%zu", m->in_flight);
		bench_table_cell(t, "%.1f", m->client.median * 1e3);
		bench_table_cell(t, "%.1f", m->client.p99 * 1e3);
		bench_table_cell(t, "%.1f", m->images_per_second);
		bench_table_cell(t, "%zu", m->steady.images);
	}
	return bench_table_print(t, e);
}

int lab_print(const struct lab *l, struct err *e)
{
	const struct bench *b = l->bench;
	struct bench_table *t;

	if (!b->n_rows)
		return 0;
	if (bench_table_new(
		&t, b->markdown,
		"One request at a time (milliseconds; online: median and 99th percentile, tickets "
		"ready; predicted: round trips × RTT + bytes ÷ rate + online on the native link)",
		"LINK|MODEL|MODE|>BATCH|>TRIPS|>ONLINE|>P99|>PREDICTED|>OFF %|>TLS FLOOR|>CLIENT|>WARM|"
		">IMAGES/S",
		e))
		return -1;
	for (size_t i = 0; i < b->n_rows; i++)
		if (!strcmp(b->rows[i].kind, "macro"))
			add_row(t, &b->rows[i]);
	if (bench_table_print(t, e))
		return -1;
	return b->quick ? 0 : print_lanes(l, e);
}
