/* SPDX-License-Identifier: Apache-2.0 */
/* obscura bench: models × modes × batches through three real processes over TLS on this host; what each image
 * took, in seconds, bytes, round trips, processor time and memory, beside what was predicted and what the
 * wire alone costs. */
#include "client/bench.h"
#include "client/bench_micro.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/lab.h"
#include "client/papers.h"

#define LINK_LANES 8 /* requests at once */

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

/* ---- one model in one mode ---- */

static int measure_with(struct bench *b, const struct bench_model *m, enum plan_optimise optimise,
			size_t owners, bench_rows rows, struct err *e)
{
	struct bench_setting s = {.model = m, .optimise = optimise, .owners = owners};
	int failed = bench_with_roles(b, &s, rows, e);

	bench_setting_free(&s);
	return failed;
}

static struct measured row_of(const struct bench_setting *s, const char *kind, size_t batch, size_t in_flight)
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
static int matrix_rows(struct bench *b, struct load *l, struct bench_setting *s, struct err *e)
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
static int link_row(struct bench *b, struct load *l, struct bench_setting *s, struct measured row,
		    struct err *e)
{
	lab_begin(b->lab, &row);
	if (run_row(b, l, s->program, row, e))
		return -1;
	lab_note(b->lab, &b->rows[b->n_rows - 1]);
	return 0;
}

static int link_rows(struct bench *b, struct load *l, struct bench_setting *s, struct err *e)
{
	const struct bench_way way = {s->personality, s->optimise, s->he};
	uint64_t fit = BENCH_POOL_BYTES / LINK_LANES / (s->program->corrections + s->program->delta + 1);
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
	struct bench_setting s = {.model = m,
				  .personality = way->personality,
				  .optimise = way->optimise,
				  .he = way->he,
				  .owners = 1};
	int failed = bench_with_roles(b, &s, link_rows, e);

	bench_setting_free(&s);
	return failed;
}

static int images_rows(struct bench *b, struct load *l, struct bench_setting *s, struct err *e)
{
	static const size_t images[] = {1, 8, 64, 512};

	for (int i = 0; i < 4; i++)
		if (run_row(b, l, s->program, row_of(s, "images", images[i], 1), e))
			return -1;
	return 0;
}

static int owners_rows(struct bench *b, struct load *l, struct bench_setting *s, struct err *e)
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

static int profile_row(struct bench *b, struct load *l, struct bench_setting *s, struct err *e)
{
	bench_progress(b, "profile of %s, batch %zu", s->model->name, s->row.batch);
	return measure_warm_up(l, &s->row, e) || measure_latency(b, l, &s->row, e) ? -1 : 0;
}

static int profile_of(struct bench *b, const struct bench_model *m, enum plan_optimise optimise, size_t batch,
		      struct err *e)
{
	struct bench_setting s = {.model = m, .optimise = optimise, .owners = 1};
	int failed;

	s.row = row_of(&s, "profile", batch, 1);
	failed = bench_with_roles(b, &s, profile_row, e) || bench_profile(b, &s.row, s.program, e) ? -1 : 0;
	bench_setting_free(&s);
	return failed;
}

static int batch_rows(struct bench *b, struct load *l, struct bench_setting *s, struct err *e)
{
	for (size_t i = 0; i < b->n_batches; i++)
		if (run_row(b, l, s->program, row_of(s, "macro", b->batches[i], 1), e))
			return -1;
	return 0;
}

static int he_profile_of(struct bench *b, const struct bench_model *m, const struct bench_he *he,
			 size_t batch, struct err *e)
{
	struct bench_setting s = {.model = m, .personality = PERSONALITY_HE, .he = he, .owners = 1};
	int failed;

	s.row = row_of(&s, "profile", batch, 1);
	failed =
	    bench_with_roles(b, &s, profile_row, e) || bench_he_profile(b, &s.row, s.program, e) ? -1 : 0;
	bench_setting_free(&s);
	return failed;
}

int bench_he_batches(struct bench *b, const struct bench_model *m, const struct bench_he *he, struct err *e)
{
	struct bench_setting s = {.model = m, .personality = PERSONALITY_HE, .he = he, .owners = 1};
	int failed = 0;

	if (b->profile && !b->args->flag[FLAG_batch])
		return he_profile_of(b, m, he, 1, e);
	for (size_t i = 0; b->profile && !failed && i < b->n_batches; i++)
		failed = he_profile_of(b, m, he, b->batches[i], e);
	if (b->profile)
		return failed;
	failed = bench_with_roles(b, &s, batch_rows, e);
	bench_setting_free(&s);
	return failed;
}

int bench_plain(struct bench *b, enum personality p, struct err *e)
{
	for (size_t i = 0; i < b->n_models; i++) {
		struct bench_setting s = {.model = &b->models[i], .personality = p, .owners = 1};
		int failed = bench_with_roles(b, &s, batch_rows, e);

		bench_setting_free(&s);
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
