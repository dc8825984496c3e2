/* SPDX-License-Identifier: Apache-2.0 */
/* obscura bench: models × modes × batches through three real processes over TLS on this host; what each image
 * took, in seconds, bytes, round trips, processor time and memory, beside what was predicted and what the
 * wire alone costs. */
#include "client/bench.h"
#include "client/bench_micro.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/bench_table.h"
#include "client/json.h"
#include "client/lab.h"
#include "client/papers.h"

#define POOL_BYTES ((uint64_t)192 << 20) /* of corrections and δ: below the roles' default of 256 MiB */
#define LINK_POOL_BYTES ((uint64_t)1 << 30)
#define POOL_MOST 256
#define LINK_LANES 8 /* requests at once */
#define ROLES 3

#define BAR "####################"

static void show_bar(const struct bench *b)
{
	int width = (int)strlen(BAR), done = (int)(b->part * width);

	fprintf(stderr, "[%.*s%*s] %.0f %%, %.0f min left: ", done, BAR, width - done, "", b->part * 100,
		b->left / 60);
}

void bench_progress(struct bench *b, const char *format, ...)
{
	va_list ap;

	if (!isatty(STDERR_FILENO))
		return;
	fputs("\r\033[K", stderr);
	if (b->left > 0)
		show_bar(b);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fflush(stderr);
	b->shown = 1;
}

void bench_clear(struct bench *b)
{
	if (b->shown)
		fputs("\r\033[K", stderr);
	b->shown = 0;
}

uint64_t bench_pool(const struct bench *b, const struct program *p)
{
	uint64_t ticket = p->corrections + p->delta + 1, fit = POOL_BYTES / ticket,
		 most = LINK_POOL_BYTES / ticket;
	size_t batch = 1;

	for (size_t i = 0; b->lab && i < b->n_batches; i++)
		batch = b->batches[i] > batch ? b->batches[i] : batch;
	/* a link brings them slowly: a request of the largest batch leaves it half full, and none is made
	 * beside it */
	if (fit < 2 * batch)
		fit = 2 * batch < most ? 2 * batch : most;
	return fit < 4 ? 4 : fit > POOL_MOST ? POOL_MOST : fit;
}

/* Memory that the pool is allowed, in MiB. */
static uint64_t pool_mib(const struct bench *b, const struct program *p)
{
	uint64_t mib = 2 * bench_pool(b, p) * (p->corrections + p->delta + 1024) >> 20;

	return mib < 256 ? 256 : mib;
}

uint64_t bench_pool_low(uint64_t high)
{
	return high / 2;
}

/* ---- rows ---- */

static int add_row(struct bench *b, const struct measured *m, struct err *e)
{
	if (b->n_rows == b->room) {
		size_t room = b->room ? 2 * b->room : 64;
		struct measured *rows = reallocarray(b->rows, room, sizeof(*rows));

		if (!rows)
			return err_set(e, ERR_ENV, "out of memory");
		b->rows = rows;
		b->room = room;
	}
	b->rows[b->n_rows++] = *m;
	return report_row(b, m, e);
}

/* A row that was asked for; what is known of it stands in `row`. */
static int run_row(struct bench *b, struct load *l, const struct program *p, struct measured row,
		   struct err *e)
{
	int failed;

	bench_progress(b, "%s, %s, batch %zu, %zu in flight, %zu data owners", row.model->name,
		       bench_way_name(&(struct bench_way){row.personality, row.optimise, row.he}), row.batch,
		       row.in_flight, row.owners);
	failed = roles_go_on(e) || measure_row(b, l, p, &row, e) ||
		 (row.personality == PERSONALITY_ENCLAVE && bench_enclave_measure(b, l, &row, e));
	load_result_free(&row.steady);
	return failed ? -1 : add_row(b, &row, e);
}

/* ---- one model in one mode: processes of its own, so that memory is its own ---- */

struct setting {
	const struct bench_model *model;
	enum plan_optimise optimise;
	struct plan *plan; /* own */
	struct program *program;
	enum personality personality;
	const struct bench_he *he; /* of he */
	size_t owners;
	struct measured row; /* what is profiled */
};

/* Flags of all roles; the texts live here. */
struct flags {
	char high[48], low[48], memory[48], profile[ROLES][160];
	char he_set[16], he_bits[2][32], personality[40];
	struct bench_enclave enclave;
	const char *owner[9], *modeller[8], *provider[2];
	struct roles_flags roles;
};

static void set_flags(struct flags *f, const struct bench *b, const struct setting *s)
{
	uint64_t pool = bench_pool(b, s->program);
	char path[128];
	int o = 3, m = 1;

	memset(f, 0, sizeof(*f));
	snprintf(f->high, sizeof(f->high), "--pool-high=%llu", (unsigned long long)pool);
	snprintf(f->low, sizeof(f->low), "--pool-low=%llu", (unsigned long long)bench_pool_low(pool));
	snprintf(f->memory, sizeof(f->memory), "--pool-memory=%llu",
		 (unsigned long long)pool_mib(b, s->program));
	f->owner[0] = f->high;
	f->owner[1] = f->low;
	f->owner[2] = f->modeller[0] = f->memory;
	f->roles = (struct roles_flags){f->provider, f->modeller, f->owner};
	if (s->personality != PERSONALITY_SMPC) {
		snprintf(f->personality, sizeof(f->personality), "--personalities=%s",
			 s->personality == PERSONALITY_ENCLAVE ? "clear" : personality_name(s->personality));
		f->modeller[m++] = f->personality;
	}
	if (s->personality == PERSONALITY_CLEAR || s->personality == PERSONALITY_ENCLAVE)
		f->owner[o++] = "--clear=on";
	if (s->he) {
		f->owner[o++] = s->he->offline ? "--he-offline=on" : "--he-offline=off";
		snprintf(f->he_set, sizeof(f->he_set), "--he-set=%s", he_params(s->he->set)->name);
		f->modeller[m++] = f->he_set;
		snprintf(f->he_bits[0], sizeof(f->he_bits[0]), "--he-weight-bits=%u", s->he->weight_bits);
		snprintf(f->he_bits[1], sizeof(f->he_bits[1]), "--he-activation-bits=%u",
			 s->he->activation_bits);
		f->modeller[m++] = f->he_bits[0];
		f->modeller[m++] = f->he_bits[1];
	}
	if (!b->profile)
		return;
	for (int i = 0; i < ROLES; i++)
		snprintf(f->profile[i], sizeof(f->profile[i]), "--profile=%s",
			 profile_path(&b->roles, i, path));
	f->owner[o] = f->profile[0];
	f->modeller[m] = f->profile[1];
	f->provider[0] = f->profile[2];
}

/* Adds flags to a list that has room for them. */
static void more_flags(const char **list, const char *const *more, int n)
{
	int at = 0;

	while (list[at])
		at++;
	memcpy(list + at, more, (size_t)n * sizeof(*more));
}

static int start_enclave(struct bench *b, struct flags *f, const struct setting *s, struct err *e)
{
	if (s->personality != PERSONALITY_ENCLAVE)
		return 0;
	if (bench_enclave_provision(b, &f->enclave, s->model, e))
		return -1;
	more_flags(f->owner, f->enclave.owner, 3);
	return 0;
}

static int start_roles(struct bench *b, const struct setting *s, struct err *e)
{
	struct flags f;

	set_flags(&f, b, s);
	if (s->personality == PERSONALITY_ENCLAVE) {
		if (bench_enclave_servers(b, &f.enclave, e))
			return -1;
		more_flags(f.modeller, f.enclave.modeller, 3);
	}
	bench_progress(b, "%s: starting", s->model->name);
	b->roles.alone = !personality_provider(s->personality);
	return roles_servers(&b->roles, s->model->file, &f.roles, e) ||
		       (!b->roles.alone && wire_learn(&b->roles, &b->link_port, e)) ||
		       start_enclave(b, &f, s, e) || roles_owners(&b->roles, s->owners, &f.roles, e)
		   ? -1
		   : 0;
}

typedef int (*rows_of)(struct bench *b, struct load *l, struct setting *s, struct err *e);

/* Starts the roles, lets `rows` measure, ends them. */
static int with_roles(struct bench *b, struct setting *s, rows_of rows, struct err *e)
{
	struct load *l = NULL;
	int failed = bench_plan(s->model, s->optimise, &s->plan, &s->program, e) || start_roles(b, s, e) ||
		     load_open(&l, &b->roles, s->owners, e);

	if (!failed)
		load_personality(l, s->personality);
	failed = failed || rows(b, l, s, e);
	load_close(l);
	roles_end(&b->roles);
	b->roles.alone = 0;
	return failed ? err_context(e, "%s", s->model->name) : 0;
}

static void setting_free(struct setting *s)
{
	if (s->program)
		program_free(s->program);
	if (s->plan)
		plan_free(s->plan);
}

static int measure_with(struct bench *b, const struct bench_model *m, enum plan_optimise optimise,
			size_t owners, rows_of rows, struct err *e)
{
	struct setting s = {.model = m, .optimise = optimise, .owners = owners};
	int failed = with_roles(b, &s, rows, e);

	setting_free(&s);
	return failed;
}

static struct measured row_of(const struct setting *s, const char *kind, size_t batch, size_t in_flight)
{
	return (struct measured){.kind = kind,
				 .model = s->model,
				 .optimise = s->optimise,
				 .personality = s->personality,
				 .he = s->he,
				 .batch = batch,
				 .in_flight = in_flight,
				 .owners = s->owners};
}

/* Batches in rising order, so that peaks of memory are theirs; then several requests at once. */
static int matrix_rows(struct bench *b, struct load *l, struct setting *s, struct err *e)
{
	for (size_t i = 0; i < b->n_batches; i++)
		if (run_row(b, l, s->program, row_of(s, "macro", b->batches[i], 1), e))
			return -1;
	if (b->quick)
		return 0;
	return run_row(b, l, s->program, row_of(s, "lanes", 1, 8), e) ||
		       run_row(b, l, s->program, row_of(s, "lanes", b->batches[b->n_batches - 1], 2), e)
		   ? -1
		   : 0;
}

/* Of the laboratory: the same on every link. */
static int link_row(struct bench *b, struct load *l, struct setting *s, struct measured row, struct err *e)
{
	lab_begin(b->lab, &row);
	if (run_row(b, l, s->program, row, e))
		return -1;
	lab_note(b->lab, &b->rows[b->n_rows - 1]);
	return 0;
}

static int link_rows(struct bench *b, struct load *l, struct setting *s, struct err *e)
{
	const struct bench_way way = {s->personality, s->optimise, s->he};
	uint64_t fit = POOL_BYTES / LINK_LANES / (s->program->corrections + s->program->delta + 1);
	size_t batch = b->batches[b->n_batches - 1];

	for (size_t i = 0; i < b->n_batches; i++)
		if (!lab_has(b->lab, s->model->name, &way, b->batches[i]) &&
		    link_row(b, l, s, row_of(s, "macro", b->batches[i], 1), e))
			return -1;
	if (b->quick || b->roles.alone || b->lab->repetition > 1)
		return 0;
	batch = batch < fit ? batch : fit ? fit : 1; /* else the link carries tickets for minutes */
	return link_row(b, l, s, row_of(s, "lanes", batch, LINK_LANES), e);
}

int bench_batches(struct bench *b, const struct bench_model *m, const struct bench_way *way, struct err *e)
{
	struct setting s = {.model = m,
			    .personality = way->personality,
			    .optimise = way->optimise,
			    .he = way->he,
			    .owners = 1};
	int failed = with_roles(b, &s, link_rows, e);

	setting_free(&s);
	return failed;
}

static int images_rows(struct bench *b, struct load *l, struct setting *s, struct err *e)
{
	static const size_t images[] = {1, 8, 64, 512};

	for (int i = 0; i < 4; i++)
		if (run_row(b, l, s->program, row_of(s, "images", images[i], 1), e))
			return -1;
	return 0;
}

static int owners_rows(struct bench *b, struct load *l, struct setting *s, struct err *e)
{
	return run_row(b, l, s->program, row_of(s, "owners", 1, 1), e);
}

/* That cost grows linearly: images of one request; data owners, each a process with a certificate of its own.
 */
static int growth(struct bench *b, const struct bench_model *m, struct err *e)
{
	static const size_t owners[] = {1, 8, 64};

	if (measure_with(b, m, PLAN_LATENCY, 1, images_rows, e))
		return -1;
	for (int i = 0; i < 3; i++)
		if (measure_with(b, m, PLAN_LATENCY, owners[i], owners_rows, e))
			return -1;
	return 0;
}

/* ---- profiles: processes of their own for each batch, since they write theirs when they end ---- */

static int profile_row(struct bench *b, struct load *l, struct setting *s, struct err *e)
{
	bench_progress(b, "profile of %s, batch %zu", s->model->name, s->row.batch);
	return measure_warm_up(l, &s->row, e) || measure_latency(b, l, &s->row, e) ? -1 : 0;
}

static int profile_of(struct bench *b, const struct bench_model *m, enum plan_optimise optimise, size_t batch,
		      struct err *e)
{
	struct setting s = {.model = m, .optimise = optimise, .owners = 1};
	int failed;

	s.row = row_of(&s, "profile", batch, 1);
	failed = with_roles(b, &s, profile_row, e) || bench_profile(b, &s.row, s.program, e) ? -1 : 0;
	setting_free(&s);
	return failed;
}

static int batch_rows(struct bench *b, struct load *l, struct setting *s, struct err *e)
{
	for (size_t i = 0; i < b->n_batches; i++)
		if (run_row(b, l, s->program, row_of(s, "macro", b->batches[i], 1), e))
			return -1;
	return 0;
}

static int he_profile_of(struct bench *b, const struct bench_model *m, const struct bench_he *he,
			 size_t batch, struct err *e)
{
	struct setting s = {.model = m, .personality = PERSONALITY_HE, .he = he, .owners = 1};
	int failed;

	s.row = row_of(&s, "profile", batch, 1);
	failed = with_roles(b, &s, profile_row, e) || bench_he_profile(b, &s.row, s.program, e) ? -1 : 0;
	setting_free(&s);
	return failed;
}

int bench_he_batches(struct bench *b, const struct bench_model *m, const struct bench_he *he, struct err *e)
{
	struct setting s = {.model = m, .personality = PERSONALITY_HE, .he = he, .owners = 1};
	int failed = 0;

	if (b->profile && !b->args->flag[FLAG_batch])
		return he_profile_of(b, m, he, 1, e);
	for (size_t i = 0; b->profile && !failed && i < b->n_batches; i++)
		failed = he_profile_of(b, m, he, b->batches[i], e);
	if (b->profile)
		return failed;
	failed = with_roles(b, &s, batch_rows, e);
	setting_free(&s);
	return failed;
}

int bench_plain(struct bench *b, enum personality p, struct err *e)
{
	for (size_t i = 0; i < b->n_models; i++) {
		struct setting s = {.model = &b->models[i], .personality = p, .owners = 1};
		int failed = with_roles(b, &s, batch_rows, e);

		setting_free(&s);
		if (failed)
			return -1;
	}
	return 0;
}

/* ---- the whole ---- */

static int one_mode(struct bench *b, const struct bench_model *m, enum plan_optimise optimise, struct err *e)
{
	if (!b->profile)
		return measure_with(b, m, optimise, 1, matrix_rows, e);
	if (!b->args->flag[FLAG_batch])
		return profile_of(b, m, optimise, 1, e);
	for (size_t i = 0; i < b->n_batches; i++)
		if (profile_of(b, m, optimise, b->batches[i], e))
			return -1;
	return 0;
}

static int smpc_matrix(struct bench *b, struct err *e)
{
	const char *only = b->args->flag[FLAG_optimise];

	for (size_t i = 0; i < b->n_models; i++)
		for (int mode = PLAN_LATENCY; mode <= PLAN_BANDWIDTH; mode++) {
			if (only && strcmp(only, mode == PLAN_BANDWIDTH ? "bandwidth" : "latency"))
				continue;
			if (one_mode(b, &b->models[i], mode, e))
				return -1;
		}
	return b->quick || b->profile ? 0 : growth(b, &b->models[0], e);
}

static int matrix(struct bench *b, struct err *e)
{
	int wanted[PERSONALITIES];

	if (bench_personalities(b, wanted, e) || (wanted[PERSONALITY_SMPC] && smpc_matrix(b, e)) ||
	    (wanted[PERSONALITY_HE] && bench_he(b, e)))
		return -1;
	for (enum personality p = PERSONALITY_CLEAR; p <= PERSONALITY_ENCLAVE; p++)
		if (wanted[p] && !b->profile && bench_plain(b, p, e))
			return -1;
	return 0;
}

/* ---- what was asked ---- */

static int check_mode(const struct bench *b, struct err *e)
{
	const char *only = b->args->flag[FLAG_optimise];

	if (!only || !strcmp(only, "latency") || !strcmp(only, "bandwidth"))
		return 0;
	return err_set(e, ERR_USAGE,
		       "--optimise: \"%.40s\" is neither latency nor bandwidth; without it both are measured",
		       only);
}

/* "1,8,128" */
static int parse_batches(struct bench *b, struct err *e)
{
	const char *p = b->args->flag[FLAG_batch];

	p = p ? p : b->args->flag[FLAG_links] ? "1,32" : b->quick ? "1,8" : "1,8,128";
	for (char *end;; p = end + 1) {
		unsigned long n = strtoul(p, &end, 10);

		if (end == p || (*end && *end != ',') || !n || n > 4096 || b->n_batches == BENCH_BATCHES_MAX)
			return err_set(e, ERR_USAGE,
				       "--batch: at most %d numbers from 1 to 4096, as in 1,8,128",
				       BENCH_BATCHES_MAX);
		b->batches[b->n_batches++] = n;
		if (!*end)
			return 0;
	}
}

/* Models that were named must be there; of the others, those that are. */
int bench_load_models(struct bench *b, struct err *e)
{
	const char *asked = b->args->flag[FLAG_models], *shared = papers_folder(b->args->flag[FLAG_shared]);
	char *list = strdup(asked ? asked : "X,Y,Z,A,B,C,D"), *save = NULL;
	int there = 0;

	if (!list)
		return err_set(e, ERR_ENV, "out of memory");
	for (char *which = strtok_r(list, ",", &save); which && there >= 0;
	     which = strtok_r(NULL, ",", &save)) {
		bench_progress(b, "reading %s", which);
		if (b->n_models == BENCH_MODELS_MAX) {
			there = err_set(e, ERR_USAGE, "at most %d models", BENCH_MODELS_MAX);
			break;
		}
		there = bench_model_new(&b->models[b->n_models], which, shared, b->roles.folder, e);
		if (there > 0)
			b->n_models++;
		else if (!there && asked)
			there = err_set(e, ERR_INPUT,
					"there is no model %s below %s; --shared names another folder", which,
					shared);
		else if (!there)
			fprintf(stderr, "obscura: without model %s, which is not below %s\n", which, shared);
	}
	free(list);
	if (there >= 0 && !b->n_models)
		return err_set(e, ERR_USAGE, "--models: no model");
	return there < 0 ? -1 : 0;
}

static int verdict(const struct bench *b, struct err *e)
{
	size_t unlike = 0;

	for (size_t i = 0; i < b->n_rows; i++)
		unlike += b->rows[i].unlike;
	return unlike ? err_set(e, ERR_RESULT, "%zu images had other bytes or round trips than predicted",
				unlike)
		      : 0;
}

/* Kernels, profiles, the matrix: the one that was asked for, or all. */
static int run_parts(struct bench *b, struct err *e)
{
	int micro = b->args->flag[FLAG_micro] != NULL, profile = b->args->flag[FLAG_profile] != NULL,
	    all = !micro && !profile && !b->quick, failed = 0;

	if (b->args->flag[FLAG_links])
		return lab_run(b, e);
	/* whatever is wrong with the arguments shows before minutes are spent, or old results overwritten */
	if (!micro || profile)
		failed = roles_prepare(&b->roles, e) || bench_load_models(b, e);
	if (failed || bench_open_results(b, e) || ((micro || all) && bench_micro(b, e)))
		return -1;
	if (micro && !profile)
		return 0;
	if (profile || all) {
		b->profile = 1;
		failed = matrix(b, e);
		b->profile = 0;
	}
	if (!failed && !profile)
		failed = matrix(b, e);
	bench_clear(b);
	if (b->n_rows && report_tables(b, failed ? NULL : e))
		return -1; /* what was measured is shown also when the rest failed */
	bench_enclave_note(b);
	return failed;
}

static int run(struct bench *b, struct err *e)
{
	int wanted[PERSONALITIES];

	if (check_mode(b, e) || bench_personalities(b, wanted, e) || parse_batches(b, e) || run_parts(b, e) ||
	    bench_close_results(b, e))
		return -1;
	printf("\nAll of it, and more: %s/bench.jsonl; these tables in Markdown: %s/bench.md\n", b->folder,
	       b->folder);
	return verdict(b, e);
}

int command_bench(struct args *a, struct err *e)
{
	struct bench *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return err_set(e, ERR_ENV, "out of memory");
	b->args = a;
	b->quick = a->flag[FLAG_quick] != NULL;
	snprintf(b->folder, sizeof(b->folder), "%s", a->flag[FLAG_out] ? a->flag[FLAG_out] : "build/bench");
	b->latency_seconds = b->quick ? 0.25 : 1.5;
	b->steady_seconds = b->quick ? 0.4 : 2;
	roles_catch();
	r = a->n ? err_set(e, ERR_USAGE, "obscura bench takes no argument") : run(b, e);
	roles_stop(&b->roles);
	for (size_t i = 0; i < b->n_models; i++)
		bench_model_free(&b->models[i]);
	if (bench_close_results(b, r ? NULL : e))
		r = -1;
	json_object_put(b->conditions);
	free(b->rows);
	free(b);
	return r;
}
