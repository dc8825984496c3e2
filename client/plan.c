/* SPDX-License-Identifier: Apache-2.0 */
/* obscura plan: what an inference costs, before anything runs. */
#include <stdio.h>
#include <string.h>

#include "client/command.h"
#include "client/clear.h"
#include "client/he.h"
#include "client/json.h"
#include "client/links.h"
#include "client/rows.h"
#include "client/sheet.h"
#include "protocol/engine.h"

#define POOL_BYTES ((uint64_t)256 << 20) /* options pool_memory and max_batch */
#define BATCH_MOST 128

/* What one mode comes to on a link. */
struct on_link {
	uint32_t round_trips;
	double online, offline, rate; /* seconds of one image; images a second in requests of `batch` */
	size_t batch;
};

/* A model lowered in one mode, with its link. */
struct planned {
	struct plan *plan;	 /* owns */
	struct program *program; /* owns */
	unsigned spare;
	uint64_t multiply_adds; /* of one pass over all linear rows */
	uint64_t weights;	/* words of all matrices */
	struct link link;
	int has_link;
	struct on_link modes[2]; /* of each mode, by enum plan_optimise */
};

static void planned_free(struct planned *p)
{
	program_free(p->program);
	plan_free(p->plan);
	memset(p, 0, sizeof(*p));
}

static void add_work(struct planned *p)
{
	const struct tape *tape = &p->plan->tape;

	for (uint16_t i = 0; i < tape->n_rows; i++) {
		p->multiply_adds += row_multiply_adds(&tape->rows[i]);
		for (uint16_t t = 0; t < tape->rows[i].n_terms; t++)
			p->weights += term_weights(&tape->rows[i].terms[t]);
	}
}

/* Tickets of a batch are in memory before it begins, within the roles' defaults. */
static size_t batch_most(const struct program *g)
{
	uint64_t fit = POOL_BYTES / (g->corrections + g->delta + 1);

	return fit < 1 ? 1 : fit < BATCH_MOST ? (size_t)fit : BATCH_MOST;
}

static struct on_link on_link_of(const struct program *g, const struct link *link)
{
	const struct link_load load = {g->round_trips, g->online[P0], g->online[P1], g->delta,
				       g->corrections};
	size_t batch = link_batch(link, &load, batch_most(g));

	return (struct on_link){
	    g->round_trips, link_online(link, g->round_trips, g->online[P0], g->online[P1]),
	    link_offline(link, g->delta, g->corrections), link_rate(link, &load, batch), batch};
}

static int planned_make(struct planned *p, const struct graph *g, const struct plan_options *options,
			struct err *e)
{
	struct bounds *bounds = NULL;
	struct weights *weights = NULL;

	memset(p, 0, sizeof(*p));
	if (plan_make(&p->plan, &weights, &bounds, g, options, e))
		return -1;
	p->spare = bounds->spare;
	bounds_free(bounds);
	weights_free(weights);
	if (program_new(&p->program, &p->plan->tape, e)) {
		planned_free(p);
		return -1;
	}
	add_work(p);
	return 0;
}

/* ---- rows ---- */

static void sheet_plan_row(struct sheet *s, const struct planned *p, uint16_t i)
{
	const struct row *row = &p->plan->tape.rows[i];
	const struct value *v = &p->plan->tape.values[row->out];
	const struct placed *at = &p->program->rows[i];
	char text[96];

	sheet_row(s);
	sheet_cell(s, "%u", i);
	sheet_cell(s, "%s", row_describe(row, text, sizeof(text)));
	sheet_cell(s, "%u×%u×%u", v->shape.c, v->shape.h, v->shape.w);
	sheet_cell(s, "%u", v->k);
	sheet_cell(s, "%u", v->f);
	sheet_cell(s, "%u", v->k - v->f);
	sheet_cell(s, "%llu", (unsigned long long)at->cost.comparisons);
	sheet_cell(s, "%llu", (unsigned long long)row_sent(p->program, at, P0));
	sheet_cell(s, "%llu", (unsigned long long)row_sent(p->program, at, P1));
	sheet_cell(s, "%llu", (unsigned long long)at->cost.delta);
	sheet_cell(s, "%llu", (unsigned long long)at->cost.corrections);
	sheet_cell(s, "%llu", (unsigned long long)row_multiply_adds(row));
}

static int print_rows(const struct planned *p, struct err *e)
{
	struct sheet *s;

	if (sheet_new(&s,
		      ">ROW|STEP|SHAPE|>K|>F|>W|>COMPARISONS|>ONLINE SENT|>RECEIVED|>OFFLINE "
		      "SENT|>PROVIDER|>MULTIPLY-ADDS",
		      e))
		return -1;
	for (uint16_t i = 0; i < p->plan->tape.n_rows; i++)
		sheet_plan_row(s, p, i);
	return sheet_print(s, e);
}

/* ---- totals ---- */

/* Memory of the three parties, bytes: a lane of one image, one ticket, weights. */
struct memory {
	uint64_t lane, ticket, weights;
};

static void memory_of(const struct planned *p, struct memory m[3])
{
	uint64_t words = p->weights * 8;

	m[0] = (struct memory){lane_bytes(p->program, 1), p->program->ahead * 8 + 16, words};
	m[1] = (struct memory){lane_bytes(p->program, 1), p->program->corrections + p->program->delta + 16,
			       words};
	m[2] = (struct memory){p->program->live * 8 + p->program->wide * 8 + p->program->scratch,
			       p->program->corrections + 16, words};
}

static int print_bytes(const struct planned *p, struct err *e)
{
	const struct program *g = p->program;
	const struct {
		const char *phase, *direction;
		uint64_t bytes;
	} rows[] = {{"online", "data owner → model owner", g->online[P0]},
		    {"online", "model owner → data owner", g->online[P1]},
		    {"offline", "data owner → model owner", g->delta},
		    {"offline", "provider → model owner", g->corrections},
		    {"once a session", "model owner → data owner", g->setup}};
	struct sheet *s;

	if (sheet_new(&s, "PHASE|DIRECTION|>BYTES", e))
		return -1;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		sheet_row(s);
		sheet_cell(s, "%s", rows[i].phase);
		sheet_cell(s, "%s", rows[i].direction);
		sheet_cell(s, "%llu", (unsigned long long)rows[i].bytes);
	}
	return sheet_print(s, e);
}

static int print_parties(const struct planned *p, struct err *e)
{
	static const char *const names[] = {"data owner", "model owner", "provider"};
	char text[3][24];
	struct memory m[3];
	struct sheet *s;

	memory_of(p, m);
	if (sheet_new(&s, "PARTY|>MULTIPLY-ADDS ONLINE|>OFFLINE|>MEMORY OF A LANE|>OF A TICKET|>OF WEIGHTS",
		      e))
		return -1;
	for (int i = 0; i < 3; i++) {
		sheet_row(s);
		sheet_cell(s, "%s", names[i]);
		sheet_cell(s, "%llu", (unsigned long long)(i == 1 ? p->multiply_adds : 0));
		sheet_cell(s, "%llu", (unsigned long long)(i == 1 ? 0 : p->multiply_adds));
		sheet_cell(s, "%s", sheet_bytes(text[0], m[i].lane));
		sheet_cell(s, "%s", sheet_bytes(text[1], m[i].ticket));
		sheet_cell(s, "%s", sheet_bytes(text[2], m[i].weights));
	}
	return sheet_print(s, e);
}

static const char *mode_name(const struct plan *plan)
{
	return plan->optimise == PLAN_LATENCY ? "latency" : "bandwidth";
}

static double online_rate(const struct link *l)
{
	return l->paths[LINK_DATA_OWNER][LINK_MODEL_OWNER].byte_rate;
}

/* Both modes, and which is taken. */
static int print_link(const struct planned *p, struct err *e)
{
	static const char *const names[] = {[PLAN_LATENCY] = "latency", [PLAN_BANDWIDTH] = "bandwidth"};
	char online[24], offline[24];
	struct sheet *s;

	printf("\nOn the link %s (%g ms, %g Mbit/s), transfer alone:\n\n", p->link.name,
	       link_rtt(&p->link, LINK_DATA_OWNER, LINK_MODEL_OWNER) * 1e3, online_rate(&p->link) * 8 / 1e6);
	if (sheet_new(&s, "MODE|>ROUND TRIPS|>ONLINE|>OFFLINE|>BATCH|>IMAGES/S|TAKEN", e))
		return -1;
	for (int i = 0; i < 2; i++) {
		const struct on_link *m = &p->modes[i];

		sheet_row(s);
		sheet_cell(s, "%s", names[i]);
		sheet_cell(s, "%u", m->round_trips);
		sheet_cell(s, "%s", sheet_seconds(online, m->online));
		sheet_cell(s, "%s", sheet_seconds(offline, m->offline));
		sheet_cell(s, "%zu", m->batch);
		sheet_cell(s, "%.1f", m->rate);
		sheet_cell(s, "%s", i == (int)p->plan->optimise ? "yes" : "");
	}
	return sheet_print(s, e);
}

static int print_table(const struct planned *p, const char *model, struct err *e)
{
	printf("%s, smpc, %s mode, for one image\n\n", model, mode_name(p->plan));
	if (print_rows(p, e))
		return -1;
	puts("");
	if (print_bytes(p, e))
		return -1;
	puts("");
	if (print_parties(p, e))
		return -1;
	printf("\n%u round trips, %llu comparisons; the narrowest word has %u bits to spare before rounding "
	       "up.\n",
	       p->program->round_trips, (unsigned long long)p->program->comparisons, p->spare);
	return p->has_link ? print_link(p, e) : 0;
}

/* ---- JSON ---- */

static struct json_object *json_shape(struct shape s)
{
	struct json_object *a = json_object_new_array();

	json_object_array_add(a, json_object_new_int64(s.c));
	json_object_array_add(a, json_object_new_int64(s.h));
	json_object_array_add(a, json_object_new_int64(s.w));
	return a;
}

static struct json_object *json_bytes(uint64_t sent, uint64_t received, uint64_t delta, uint64_t corrections)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "online", json_counted(sent, received, NULL));
	json_object_object_add(o, "offline", json_counted(delta, 0, &corrections));
	return o;
}

static struct json_object *json_row(const struct planned *p, uint16_t i)
{
	const struct row *row = &p->plan->tape.rows[i];
	const struct value *v = &p->plan->tape.values[row->out];
	const struct placed *at = &p->program->rows[i];
	struct json_object *o = json_object_new_object();
	char text[96];

	json_count(o, "row", i);
	json_text(o, "op", ops[row->kind]->name);
	json_text(o, "step", row_describe(row, text, sizeof(text)));
	json_object_object_add(o, "shape", json_shape(v->shape));
	json_count(o, "k", v->k);
	json_count(o, "f", v->f);
	json_count(o, "w", v->k - v->f);
	json_count(o, "comparisons", at->cost.comparisons);
	json_object_object_add(o, "bytes",
			       json_bytes(row_sent(p->program, at, P0), row_sent(p->program, at, P1),
					  at->cost.delta, at->cost.corrections));
	json_count(o, "multiply_adds", row_multiply_adds(row));
	return o;
}

static struct json_object *json_parties(const struct planned *p)
{
	static const char *const names[] = {"data_owner", "model_owner", "provider"};
	struct json_object *o = json_object_new_object();
	struct memory m[3];

	memory_of(p, m);
	for (int i = 0; i < 3; i++) {
		struct json_object *x = json_object_new_object(), *work = json_object_new_object(),
				   *memory = json_object_new_object();

		json_count(work, "online", i == 1 ? p->multiply_adds : 0);
		json_count(work, "offline", i == 1 ? 0 : p->multiply_adds);
		json_count(memory, "lane", m[i].lane);
		json_count(memory, "ticket", m[i].ticket);
		json_count(memory, "weights", m[i].weights);
		json_object_object_add(x, "multiply_adds", work);
		json_object_object_add(x, "memory", memory);
		json_object_object_add(o, names[i], x);
	}
	return o;
}

static void add_mode(struct json_object *o, const struct on_link *m)
{
	json_count(o, "round_trips", m->round_trips);
	json_real(o, "online", m->online);
	json_real(o, "offline", m->offline);
	json_count(o, "batch", m->batch);
	json_real(o, "images_per_second", m->rate);
}

static struct json_object *json_link(const struct planned *p)
{
	struct json_object *o = json_object_new_object(), *latency = json_object_new_object(),
			   *bandwidth = json_object_new_object();

	json_text(o, "name", p->link.name);
	json_real(o, "rtt", link_rtt(&p->link, LINK_DATA_OWNER, LINK_MODEL_OWNER));
	json_real(o, "bytes_per_second", online_rate(&p->link));
	add_mode(o, &p->modes[p->plan->optimise]);
	add_mode(latency, &p->modes[PLAN_LATENCY]);
	add_mode(bandwidth, &p->modes[PLAN_BANDWIDTH]);
	json_object_object_add(o, "latency", latency);
	json_object_object_add(o, "bandwidth", bandwidth);
	return o;
}

static int print_json(const struct planned *p, const char *model, struct err *e)
{
	const struct program *g = p->program;
	struct json_object *o = json_object_new_object(), *rows = json_object_new_array();

	json_text(o, "model", model);
	json_text(o, "personality", "smpc");
	json_text(o, "mode", mode_name(p->plan));
	json_text(o, "reveal", p->plan->reveal == REVEAL_LABEL ? "label" : "logits");
	json_object_object_add(o, "input", json_shape(p->plan->input));
	for (uint16_t i = 0; i < p->plan->tape.n_rows; i++)
		json_object_array_add(rows, json_row(p, i));
	json_object_object_add(o, "layers", rows);
	json_count(o, "round_trips", g->round_trips);
	json_count(o, "comparisons", g->comparisons);
	json_object_object_add(o, "bytes",
			       json_bytes(g->online[P0], g->online[P1], g->delta, g->corrections));
	json_count(o, "setup_bytes", g->setup);
	json_object_object_add(o, "parties", json_parties(p));
	json_count(o, "overflow_bits_spare", p->spare);
	if (p->has_link)
		json_object_object_add(o, "link", json_link(p));
	return json_line(o, e);
}

/* ---- choice ---- */

/* Without --optimise a link decides. */
static int parse_optimise(const struct args *a, struct plan_options *options, int *automatic, struct err *e)
{
	const char *text = a->flag[FLAG_optimise];

	*automatic = text ? !strcmp(text, "auto") : a->flag[FLAG_link] != NULL;
	options->optimise = text && !strcmp(text, "bandwidth") ? PLAN_BANDWIDTH : PLAN_LATENCY;
	if (!text || *automatic || !strcmp(text, "latency") || !strcmp(text, "bandwidth"))
		return 0;
	return err_set(e, ERR_USAGE, "--optimise: \"%.40s\" is none of latency, bandwidth, auto", text);
}

/* Both modes through the link; the one that was asked for, or the one whose whole inference, offline transfer
 * included, is sooner. */
static int choose(struct planned *p, const struct graph *g, struct plan_options *options, int automatic,
		  const struct link *link, struct err *e)
{
	struct planned other;
	int asked = (int)options->optimise;

	options->optimise = PLAN_LATENCY;
	if (planned_make(p, g, options, e))
		return -1;
	options->optimise = PLAN_BANDWIDTH;
	if (planned_make(&other, g, options, e)) {
		planned_free(p);
		return -1;
	}
	p->modes[PLAN_LATENCY] = on_link_of(p->program, link);
	p->modes[PLAN_BANDWIDTH] = on_link_of(other.program, link);
	memcpy(other.modes, p->modes, sizeof(p->modes));
	if (automatic)
		asked = p->modes[1].online + p->modes[1].offline < p->modes[0].online + p->modes[0].offline;
	if (asked) {
		struct planned swap = *p;

		*p = other;
		other = swap;
	}
	planned_free(&other);
	p->has_link = 1;
	p->link = *link;
	return 0;
}

static int make(struct planned *p, const struct args *a, const struct graph *g, struct err *e)
{
	const char *name = a->flag[FLAG_link];
	struct plan_options options;
	struct link link;
	int automatic;

	if (args_plan(a, &options, e) || parse_optimise(a, &options, &automatic, e))
		return -1;
	if (automatic && !name)
		name = "lan";
	if (name && link_find(&link, name, a->flag[FLAG_link_file], e))
		return -1;
	return name ? choose(p, g, &options, automatic, &link, e) : planned_make(p, g, &options, e);
}

int command_plan(struct args *a, struct err *e)
{
	enum personality personality;
	struct planned p;
	struct graph *g;
	int r;

	if (a->n != 1)
		return err_set(e, ERR_USAGE, "say which: obscura plan MODEL.onnx");
	if (args_personality(a, &personality, e) || args_model(a, a->words[0], &g, e))
		return -1;
	if (personality != PERSONALITY_SMPC) {
		r = personality == PERSONALITY_HE ? he_plan_command(a, g, e) : clear_plan_command(a, g, e);
		graph_free(g);
		return r;
	}
	r = make(&p, a, g, e);
	if (!r) {
		r = a->flag[FLAG_json] ? print_json(&p, g->name, e) : print_table(&p, g->name, e);
		planned_free(&p);
	}
	graph_free(g);
	return r;
}
