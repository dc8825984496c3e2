/* SPDX-License-Identifier: Apache-2.0 */
/* Rows as JSON Lines and as tables. One schema for all rows: docs/BENCHMARKS.md names every field. */
#include <string.h>

#include "client/bench.h"
#include "client/bench_table.h"
#include "client/json.h"
#include "client/lab.h"
#include "client/sheet.h"

static const char *const users[USERS] = {"data_owner", "model_owner", "provider", "driver"};
static const char *const pairs[PAIRS] = {"data_owner_model_owner", "data_owner_provider",
					 "model_owner_provider"};

const char *bench_way_name(const struct bench_way *w)
{
	if (w->personality != PERSONALITY_SMPC)
		return w->he ? w->he->name : personality_name(w->personality);
	return w->optimise == PLAN_BANDWIDTH ? "bandwidth" : "latency";
}

static const char *mode_of(const struct measured *m)
{
	return bench_way_name(&(struct bench_way){m->personality, m->optimise, m->he});
}

/* ---- figures ---- */

static double ratio(double a, double b)
{
	return b > 0 ? a / b : 0;
}

/* Of all processes together, the driver too: what a busy machine does not change much. */
static double per_cpu_second(const struct measured *m)
{
	double cpu = 0;

	for (int u = 0; u < USERS; u++)
		cpu += m->used.cpu[u];
	return ratio((double)m->steady.images, cpu);
}

/* ---- JSON ---- */

static struct json_object *json_stat(const struct bench_stat *s)
{
	struct json_object *o = json_object_new_object();

	json_count(o, "n", s->n);
	json_real(o, "least", s->least);
	json_real(o, "median", s->median);
	json_real(o, "p99", s->p99);
	json_real(o, "most", s->most);
	json_real(o, "mean", s->mean);
	return o;
}

static struct json_object *json_phases(struct json_object *online, struct json_object *offline)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "online", online);
	json_object_object_add(o, "offline", offline);
	return o;
}

/* Sums over `images`, as one image's mean: whole when every image cost the same. */
static struct json_object *json_mean(const struct counted *c, size_t images, int provider)
{
	struct json_object *o = json_object_new_object();
	double n = images ? (double)images : 1;

	json_real(o, "sent", (double)c->sent / n);
	json_real(o, "received", (double)c->received / n);
	if (provider)
		json_real(o, "provider", (double)c->provider / n);
	return o;
}

static struct json_object *json_seconds(const struct measured *m)
{
	struct json_object *o = json_object_new_object();

	json_real(o, "connect", m->connect);
	json_object_object_add(o, "offline", json_stat(&m->offline));
	json_object_object_add(o, "online", json_stat(&m->online));
	json_object_object_add(o, "total", json_stat(&m->client));
	return o;
}

/* What TLS put on the sockets between the roles, of one image: all phases together by pair, and split like
 * `bytes`. Online is exact when requests run one after another; offline is what else moved. */
static void add_wire(struct json_object *o, const struct measured *m)
{
	const struct load_result *r = &m->steady;
	const struct wire_pairs *w = &m->wire;
	struct json_object *by_pair = json_object_new_object();
	struct counted off = {
	    .sent = w->sent[PAIR_D_M] > r->wire_on.sent ? w->sent[PAIR_D_M] - r->wire_on.sent : 0,
	    .received =
		w->received[PAIR_D_M] > r->wire_on.received ? w->received[PAIR_D_M] - r->wire_on.received : 0,
	    .provider = w->received[PAIR_M_C]};

	for (int p = 0; p < PAIRS; p++)
		json_object_object_add(
		    by_pair, pairs[p],
		    json_mean(&(struct counted){w->sent[p], w->received[p], 0}, r->images, 0));
	json_object_object_add(
	    o, "wire", json_phases(json_mean(&r->wire_on, r->images, 0), json_mean(&off, r->images, 1)));
	json_object_object_add(o, "wire_pairs", by_pair);
}

static void add_bytes(struct json_object *o, const struct measured *m)
{
	const struct load_result *r = &m->steady;
	struct json_object *predicted = json_object_new_object();

	json_count(o, "round_trips", r->round_trips);
	json_object_object_add(
	    o, "bytes", json_phases(json_mean(&r->on, r->images, 0), json_mean(&r->off, r->images, 1)));
	add_wire(o, m);
	json_count(predicted, "round_trips", r->predicted_round_trips);
	json_object_object_add(predicted, "bytes",
			       json_phases(json_counted(r->predicted_on.sent, r->predicted_on.received, NULL),
					   json_counted(r->predicted_off.sent, r->predicted_off.received,
							&r->predicted_off.provider)));
	json_object_object_add(o, "predicted", predicted);
	json_object_object_add(o, "as_predicted", json_object_new_boolean(!m->unlike));
	json_count(o, "setup_bytes", r->setup_bytes);
}

static void add_processes(struct json_object *o, const struct measured *m)
{
	struct json_object *cpu = json_object_new_object(), *peak = json_object_new_object();

	for (int u = 0; u < USERS; u++) {
		json_real(cpu, users[u], m->steady.images ? m->used.cpu[u] / (double)m->steady.images : 0);
		json_count(peak, users[u], m->used.peak[u]);
	}
	json_object_object_add(o, "cpu_seconds", cpu);
	json_object_object_add(o, "peak_bytes", peak);
}

static struct json_object *json_floor(const struct measured *m)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "tls", m->floor.rounds ? json_stat(&m->floor.seconds) : NULL);
	json_object_object_add(o, "socket", m->local.n ? json_stat(&m->local) : NULL);
	json_real(o, "float", m->model->float_seconds);
	return o;
}

static void add_personality(struct json_object *o, const struct measured *m)
{
	json_text(o, "personality", personality_name(m->personality));
	json_text(o, "mode", m->optimise == PLAN_BANDWIDTH ? "bandwidth" : "latency");
	json_text(o, "way", mode_of(m));
	if (*personality_leaks(m->personality))
		json_text(o, "leaks", personality_leaks(m->personality));
	if (!m->he)
		return;
	json_text(o, "he_set", he_params(m->he->set)->name);
	json_object_object_add(o, "he_offline", json_object_new_boolean(m->he->offline));
	json_count(o, "he_weight_bits",
		   m->he->weight_bits ? m->he->weight_bits : plan_defaults().weight_bits);
	json_count(o, "he_activation_bits",
		   m->he->activation_bits ? m->he->activation_bits : plan_defaults().activation_bits);
}

/* Of an enclave: the same requests of clear, of it, and on new connections. */
static struct json_object *json_beside(const struct measured *m)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "clear", json_stat(&m->beside[0]));
	json_object_object_add(o, "enclave", json_stat(&m->beside[1]));
	json_object_object_add(o, "cold", json_stat(&m->cold));
	return o;
}

/* What is not known is null. */
static void add_share(struct json_object *o, const char *name, int known, size_t part, size_t whole)
{
	if (known && whole)
		json_real(o, name, (double)part / (double)whole);
	else
		json_object_object_add(o, name, NULL);
}

static void add_judged(struct json_object *o, const struct measured *m)
{
	const struct judged *j = &m->judged;
	int known = m->model->truth != NULL;

	json_count(o, "judged", j->images);
	add_share(o, "agreement", 1, j->agree, j->images);
	add_share(o, "accuracy", known, j->right, j->images);
	add_share(o, "float_accuracy", known, j->float_right, j->images);
}

static struct json_object *json_row(const struct measured *m)
{
	struct json_object *o = json_object_new_object();

	json_text(o, "kind", m->kind);
	json_text(o, "model", m->model->name);
	add_personality(o, m);
	json_text(o, "link", m->lab.net ? m->lab.net->link.name : "native");
	json_count(o, "batch", m->batch);
	json_count(o, "in_flight", m->in_flight);
	json_count(o, "data_owners", m->owners);
	json_count(o, "requests", m->latency_requests);
	json_count(o, "warm", m->warm);
	json_object_object_add(o, "seconds", json_seconds(m));
	json_count(o, "images", m->steady.images);
	json_real(o, "wall", m->steady.wall);
	json_real(o, "images_per_second", m->images_per_second);
	json_real(o, "images_per_cpu_second", per_cpu_second(m));
	json_count(o, "pool_high", m->pool_high);
	json_count(o, "tickets_made", m->made);
	json_count(o, "tickets_burnt", m->burnt);
	add_judged(o, m);
	add_bytes(o, m);
	add_processes(o, m);
	json_object_object_add(o, "floor", json_floor(m));
	lab_json(o, m);
	json_object_object_add(o, "simulated", json_object_new_boolean(m->simulated));
	if (m->simulated)
		json_text(o, "isolation", "simulated: no hardware isolation");
	if (m->cold.n)
		json_object_object_add(o, "beside_clear", json_beside(m));
	return o;
}

int report_line(struct bench *b, struct json_object *o, struct err *e)
{
	const char *text =
	    o ? json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)
	      : NULL;
	int failed = !text || fprintf(b->jsonl, "%s\n", text) < 0 || fflush(b->jsonl);

	json_object_put(o);
	return failed ? err_set(e, ERR_ENV, "cannot write %s/bench.jsonl: %m", b->folder) : 0;
}

int report_row(struct bench *b, const struct measured *m, struct err *e)
{
	return report_line(b, json_row(m), e);
}

/* ---- tables ---- */

static uint64_t mean(uint64_t sum, size_t images)
{
	return images ? (sum + images / 2) / images : 0;
}

struct listing {
	const char *title, *columns; /* as sheet_new takes them */
	int (*wants)(const struct measured *m);
	void (*fill)(const struct measured *m, struct bench_table *t);
};

static int is_alone(const struct measured *m)
{
	return !strcmp(m->kind, "macro");
}

static int is_together(const struct measured *m)
{
	return strcmp(m->kind, "macro") != 0;
}

static void fill_speed(const struct measured *m, struct bench_table *t)
{
	double floor_seconds = m->floor.seconds.median;

	bench_table_cell(t, "%s", m->model->name);
	bench_table_cell(t, "%s", mode_of(m));
	bench_table_cell(t, "%zu", m->batch);
	bench_table_cell(t, "%.3f", m->online.median * 1e3);
	bench_table_cell(t, "%.3f", m->online.p99 * 1e3);
	bench_table_cell(t, "%.3f", m->client.median * 1e3);
	bench_table_cell(t, "%zu/%zu", m->warm, m->latency_requests);
	if (m->floor.rounds) {
		bench_table_cell(t, "%.3f", floor_seconds * 1e3);
		bench_table_cell(t, "%.1f", ratio(m->online.median, floor_seconds));
	} else { /* not measured */
		bench_table_cell(t, "-");
		bench_table_cell(t, "-");
	}
	bench_table_cell(t, "%.3f", m->model->float_seconds * 1e3);
	bench_table_cell(t, "%.0f", m->images_per_second);
	bench_table_cell(t, "%.1f", ratio(m->images_per_second, 1 / m->model->float_seconds) * 100);
	bench_table_cell(t, "%.0f", per_cpu_second(m));
}

static void fill_cost(const struct measured *m, struct bench_table *t)
{
	const struct load_result *r = &m->steady;
	double n = r->images ? (double)r->images : 1;
	char bytes[24];

	bench_table_cell(t, "%s", m->model->name);
	bench_table_cell(t, "%s", mode_of(m));
	bench_table_cell(t, "%zu", m->batch);
	bench_table_cell(t, "%u", r->round_trips);
	bench_table_cell(t, "%llu", (unsigned long long)mean(r->on.sent, r->images));
	bench_table_cell(t, "%llu", (unsigned long long)mean(r->on.received, r->images));
	bench_table_cell(t, "%llu", (unsigned long long)mean(r->off.sent, r->images));
	bench_table_cell(t, "%llu", (unsigned long long)mean(r->off.provider, r->images));
	bench_table_cell(t, "%s", m->unlike ? "NO" : "yes");
	bench_table_cell(
	    t, "%llu",
	    (unsigned long long)mean(m->wire.sent[PAIR_D_M] + m->wire.received[PAIR_D_M], r->images));
	bench_table_cell(t, "%llu", (unsigned long long)mean(m->wire.received[PAIR_M_C], r->images));
	for (int u = 0; u <= USED_PROVIDER; u++)
		bench_table_cell(t, "%.3f", m->used.cpu[u] / n * 1e3);
	for (int u = 0; u <= USED_PROVIDER; u++)
		bench_table_cell(t, "%s", sheet_bytes(bytes, m->used.peak[u]));
}

static void fill_together(const struct measured *m, struct bench_table *t)
{
	double n = m->steady.images ? (double)m->steady.images : 1;
	char bytes[24];

	bench_table_cell(t, "%s", m->kind);
	bench_table_cell(t, "%s", m->model->name);
	bench_table_cell(t, "%s", mode_of(m));
	bench_table_cell(t, "%zu", m->owners);
	bench_table_cell(t, "%zu", m->in_flight);
	bench_table_cell(t, "%zu", m->batch);
	bench_table_cell(t, "%.3f", m->client.median * 1e3);
	bench_table_cell(t, "%.3f", m->client.p99 * 1e3);
	bench_table_cell(t, "%.0f", m->images_per_second);
	for (int u = 0; u <= USED_PROVIDER; u++)
		bench_table_cell(t, "%.3f", m->used.cpu[u] / n * 1e3);
	for (int u = 0; u <= USED_PROVIDER; u++)
		bench_table_cell(t, "%s", sheet_bytes(bytes, m->used.peak[u]));
	bench_table_cell(t, "%s", m->unlike ? "NO" : "yes");
}

static const struct listing tables[] = {
    {"Time of one request (milliseconds) with its tickets ready, and images a second with all offline work "
     "included",
     "MODEL|MODE|>BATCH|>ONLINE|>P99|>CLIENT|>WARM|>TLS FLOOR|>TIMES|>FLOAT|>IMAGES/S|>% OF "
     "FLOAT|>IMAGES/CPU SECOND",
     is_alone, fill_speed},
    {"Payload of one image (bytes), what TLS made of it, processor time of one image (milliseconds), peak "
     "memory",
     "MODEL|MODE|>BATCH|>TRIPS|>SENT|>RECEIVED|>OFF SENT|>OFF PROVIDER|AS PLANNED|>WIRE D-M|>WIRE C-M|>CPU "
     "D|>CPU M|>CPU C|>PEAK "
     "D|>PEAK M|>PEAK C",
     is_alone, fill_cost},
    {"Several requests under way, many images, many data owners (milliseconds; offline work included)",
     "KIND|MODEL|MODE|>DATA OWNERS|>IN FLIGHT|>BATCH|>CLIENT|>P99|>IMAGES/S|>CPU D|>CPU M|>CPU C|>PEAK "
     "D|>PEAK M|>PEAK C|AS "
     "PLANNED",
     is_together, fill_together},
};
#define TABLES (sizeof(tables) / sizeof(*tables))

static int wanted(const struct bench *b, const struct listing *t)
{
	for (size_t i = 0; i < b->n_rows; i++)
		if (t->wants(&b->rows[i]))
			return 1;
	return 0;
}

int report_tables(const struct bench *b, struct err *e)
{
	for (size_t i = 0; i < TABLES; i++) {
		struct bench_table *t;

		if (!wanted(b, &tables[i]))
			continue;
		if (bench_table_new(&t, b->markdown, tables[i].title, tables[i].columns, e))
			return -1;
		for (size_t j = 0; j < b->n_rows; j++) {
			if (!tables[i].wants(&b->rows[j]))
				continue;
			bench_table_row(t);
			tables[i].fill(&b->rows[j], t);
		}
		if (bench_table_print(t, e))
			return -1;
	}
	return 0;
}
