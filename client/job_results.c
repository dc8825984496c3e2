/* SPDX-License-Identifier: Apache-2.0 */
/* What came of a batch: CSV or JSON Lines, and a summary with a confusion matrix. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/job.h"
#include "client/json.h"
#include "client/samples.h"
#include "client/sheet.h"
#include "daemon/ledger.h"

#define CLASSES_MAX (1u << 20)
#define MATRIX_MOST 1024 /* classes of a confusion matrix */
#define MATRIX_SHOWN 16	 /* classes of one that is shown as a table */

/* ---- opening ---- */

static int ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && !strcasecmp(text + n - m, end);
}

int results_open(struct results *r, const struct args *a, struct err *e)
{
	struct stat there;

	r->path = a->flag[FLAG_out];
	r->labels = a->flag[FLAG_labels];
	r->json = a->flag[FLAG_json] || ends_with(r->path, ".jsonl") || ends_with(r->path, ".json");
	if (r->labels && access(r->labels, R_OK))
		return err_set(e, err_of_file(errno), "%s: cannot open it: %s", r->labels, strerror(errno));
	if (!strcmp(r->path, "-") || (!stat(r->path, &there) && !S_ISREG(there.st_mode)))
		return err_set(
		    e, ERR_USAGE,
		    "--out: %s is no regular file; results are written beside it and then take its name",
		    r->path);
	if (asprintf(&r->part_path, "%s.part", r->path) < 0) {
		r->part_path = NULL;
		return err_set(e, ERR_ENV, "out of memory");
	}
	r->part = open(r->part_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
	if (r->part < 0)
		return err_set(e, ERR_ENV, "cannot write %s: %s", r->part_path, strerror(errno));
	if (fstat(r->part, &there) || there.st_uid != geteuid()) {
		close(r->part);
		r->part = -1;
		return err_set(e, ERR_INPUT, "%s is somebody else's: remove it, or name another --out",
			       r->part_path);
	}
	if (!flock(r->part, LOCK_EX | LOCK_NB))
		return 0;
	close(r->part);
	r->part = -1;
	return err_set(e, ERR_ENV, "another obscura batch is writing %s", r->path);
}

void results_close(struct results *r)
{
	if (r->part >= 0) {
		unlink(r->part_path); /* it is in its place already, or of no use */
		close(r->part);
	}
	free(r->part_path);
	free(r->truth);
	free(r->confusion);
}

/* ---- walking over all rows ---- */

typedef int (*row_use)(struct results *r, uint64_t at, const Wire__JobRow *row, void *ctx, struct err *e);

static int each_row(struct results *r, row_use use, void *ctx, struct err *e)
{
	for (uint64_t at = 0; at < r->n;) {
		Wire__JobReply *m;
		int failed = 0;

		if (r->page(r->ctx, at, &m, e))
			return -1;
		if (!m->n_rows || m->n_rows > r->n - at)
			failed =
			    err_set(e, ERR_PEER, "the daemon has %zu results of images from %llu on, of %llu",
				    m->n_rows, (unsigned long long)at, (unsigned long long)r->n);
		for (size_t i = 0; !failed && i < m->n_rows; i++)
			failed = use(r, at + i, m->rows[i], ctx, e);
		at += m->n_rows;
		wire__job_reply__free_unpacked(m, NULL);
		if (failed)
			return -1;
	}
	return 0;
}

/* Before writing: how many scores there are, and the names, which labels may go by. */
struct survey {
	char **names; /* own; n, or NULL when labels are not wanted */
	size_t scores, classes;
};

static int survey_row(struct results *r, uint64_t at, const Wire__JobRow *row, void *ctx, struct err *e)
{
	struct survey *s = ctx;
	const char *slash = strrchr(row->name, '/');

	if (row->state != LEDGER_DONE && row->state != LEDGER_FAILED)
		return err_set(e, ERR_PEER, "the daemon has no result of %s", row->name);
	if (row->label >= CLASSES_MAX)
		return err_set(e, ERR_PEER, "the result of %s is class %u", row->name, row->label);
	if (row->n_scores > s->scores)
		s->scores = row->n_scores;
	if (row->state == LEDGER_DONE && row->label >= s->classes)
		s->classes = row->label + 1;
	if (!s->names)
		return 0;
	s->names[at] = strdup(slash && slash[1] ? slash + 1 : row->name);
	return s->names[at] ? 0 : err_set(e, ERR_ENV, "out of memory");
}

/* Labels are held against all classes of the model, where their number is known. */
static int load_truth(struct results *r, struct survey *s, struct err *e)
{
	size_t known = s->scores > r->n_names ? s->scores : r->n_names;

	if (samples_labels(&r->truth, r->labels, s->names, r->n, known ? known : CLASSES_MAX, e))
		return -1;
	for (uint64_t i = 0; i < r->n; i++)
		if ((size_t)r->truth[i] >= s->classes)
			s->classes = (size_t)r->truth[i] + 1;
	r->classes = s->scores > s->classes ? s->scores : s->classes;
	if (r->classes > MATRIX_MOST)
		return 0;
	r->confusion = calloc(r->classes * r->classes, sizeof(*r->confusion));
	return r->confusion ? 0 : err_set(e, ERR_ENV, "out of memory");
}

static int survey(struct results *r, struct survey *s, struct err *e)
{
	int failed = 0;

	if (r->labels && !(s->names = calloc(r->n, sizeof(*s->names))))
		return err_set(e, ERR_ENV, "out of memory");
	failed = each_row(r, survey_row, s, e) || (r->labels && load_truth(r, s, e));
	for (uint64_t i = 0; s->names && i < r->n; i++)
		free(s->names[i]);
	free(s->names);
	s->names = NULL;
	return failed ? -1 : 0;
}

/* ---- one row ---- */

struct writer {
	FILE *out;
	size_t scores;
};

static const char *class_name(const struct results *r, uint32_t label, char number[16])
{
	if (label < r->n_names && r->names[label][0])
		return r->names[label];
	snprintf(number, 16, "%u", label);
	return number;
}

/* RFC 4180: quoted when it must be. */
static void csv_text(FILE *out, const char *text)
{
	if (!strpbrk(text, ",\"\r\n")) {
		fputs(text, out);
		return;
	}
	fputc('"', out);
	for (const char *p = text; *p; p++) {
		if (*p == '"')
			fputc('"', out);
		fputc(*p, out);
	}
	fputc('"', out);
}

static void csv_head(const struct results *r, const struct writer *w)
{
	fprintf(w->out, "image,%slabel,name,attempts,error", r->truth ? "truth," : "");
	for (size_t i = 0; i < w->scores; i++)
		fprintf(w->out, ",score_%zu", i);
	fputs("\r\n", w->out);
}

static void csv_row(const struct results *r, const struct writer *w, uint64_t at, const Wire__JobRow *row)
{
	char number[16];
	int done = row->state == LEDGER_DONE;

	csv_text(w->out, row->name);
	if (r->truth)
		fprintf(w->out, ",%d", r->truth[at]);
	if (done)
		fprintf(w->out, ",%u,", row->label);
	else
		fputs(",,", w->out);
	csv_text(w->out, done ? class_name(r, row->label, number) : "");
	fprintf(w->out, ",%u,", row->attempts);
	csv_text(w->out, row->error);
	for (size_t i = 0; i < w->scores; i++)
		if (done && i < row->n_scores)
			fprintf(w->out, ",%.9g", row->scores[i]);
		else
			fputc(',', w->out);
	fputs("\r\n", w->out);
}

static int json_row(const struct results *r, const struct writer *w, uint64_t at, const Wire__JobRow *row,
		    struct err *e)
{
	struct json_object *o = json_object_new_object(), *scores;
	const char *text;
	char number[16];
	int failed;

	json_text(o, "image", row->name);
	if (r->truth)
		json_count(o, "truth", (uint64_t)r->truth[at]);
	if (row->state == LEDGER_DONE) {
		json_count(o, "label", row->label);
		json_text(o, "name", class_name(r, row->label, number));
		scores = json_object_new_array();
		for (size_t i = 0; i < row->n_scores; i++)
			json_object_array_add(scores, json_real_new(row->scores[i]));
		json_object_object_add(o, "scores", scores);
	} else {
		json_text(o, "error", row->error);
	}
	json_count(o, "attempts", row->attempts);
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	failed = !text || fprintf(w->out, "%s\n", text) < 0;
	json_object_put(o);
	return failed ? err_set(e, ERR_ENV, "cannot write %s: %s", r->part_path, strerror(errno)) : 0;
}

static void count_row(struct results *r, uint64_t at, const Wire__JobRow *row)
{
	if (row->state != LEDGER_DONE) {
		r->failed++;
		return;
	}
	r->done++;
	if (!r->truth)
		return;
	r->right += row->label == (uint32_t)r->truth[at];
	if (r->confusion && row->label < r->classes)
		r->confusion[(size_t)r->truth[at] * r->classes + row->label]++;
}

static int write_row(struct results *r, uint64_t at, const Wire__JobRow *row, void *ctx, struct err *e)
{
	struct writer *w = ctx;

	count_row(r, at, row);
	if (r->json)
		return json_row(r, w, at, row, e);
	csv_row(r, w, at, row);
	return 0;
}

/* ---- the file ---- */

/* On disk before it has its name: a file of that name is whole. */
static int put_in_place(struct results *r, FILE *out, struct err *e)
{
	int failed = fflush(out) || ferror(out) || fsync(fileno(out));

	if (failed || rename(r->part_path, r->path))
		return err_set(e, ERR_ENV, "cannot write %s: %s", r->path, strerror(errno));
	return 0;
}

int results_write(struct results *r, struct err *e)
{
	struct survey s = {0};
	struct writer w = {0};
	int failed;

	if (survey(r, &s, e))
		return -1;
	w.scores = s.scores;
	if (ftruncate(r->part, 0) || !(w.out = fdopen(dup(r->part), "w")))
		return err_set(e, ERR_ENV, "cannot write %s: %s", r->part_path, strerror(errno));
	if (!r->json)
		csv_head(r, &w);
	failed = each_row(r, write_row, &w, e) || put_in_place(r, w.out, e);
	fclose(w.out);
	return failed ? -1 : 0;
}

/* ---- the summary ---- */

static int show_matrix(const struct results *r, struct err *e)
{
	char columns[64 * (MATRIX_SHOWN + 1)] = "TRUE CLASS", number[16];
	size_t at = strlen(columns);
	struct sheet *sheet;

	for (size_t i = 0; i < r->classes; i++)
		at += (size_t)snprintf(columns + at, sizeof(columns) - at, "|>%.40s",
				       class_name(r, (uint32_t)i, number));
	if (sheet_new(&sheet, columns, e))
		return -1;
	for (size_t t = 0; t < r->classes; t++) {
		sheet_row(sheet);
		sheet_cell(sheet, "%s", class_name(r, (uint32_t)t, number));
		for (size_t i = 0; i < r->classes; i++)
			sheet_cell(sheet, "%llu", (unsigned long long)r->confusion[t * r->classes + i]);
	}
	return sheet_print(sheet, e);
}

static int json_summary(const struct results *r, double seconds, uint64_t images, struct err *e)
{
	struct json_object *o = json_object_new_object(), *rows, *row;

	json_text(o, "out", r->path);
	json_text(o, "personality", personality_name(r->personality));
	if (*personality_leaks(r->personality))
		json_text(o, "leaks", personality_leaks(r->personality));
	json_object_object_add(o, "simulated", json_object_new_boolean(r->simulated));
	json_count(o, "images", r->n);
	json_count(o, "done", r->done);
	json_count(o, "failed", r->failed);
	json_count(o, "images_now", images);
	json_real(o, "seconds", seconds);
	if (r->truth)
		json_real(o, "accuracy", r->done ? (double)r->right / (double)r->done : 0);
	if (r->confusion) {
		rows = json_object_new_array();
		for (size_t t = 0; t < r->classes; t++) {
			row = json_object_new_array();
			for (size_t i = 0; i < r->classes; i++)
				json_object_array_add(
				    row, json_object_new_uint64(r->confusion[t * r->classes + i]));
			json_object_array_add(rows, row);
		}
		json_object_object_add(o, "confusion", rows);
	}
	return json_line(o, e);
}

int results_summary(const struct results *r, double seconds, uint64_t images, struct err *e)
{
	if (r->json)
		return json_summary(r, seconds, images, e);
	printf("%llu images: %llu classified, %llu failed", (unsigned long long)r->n,
	       (unsigned long long)r->done, (unsigned long long)r->failed);
	if (images)
		printf("; %llu of them now, %.1f s, %.0f a second", (unsigned long long)images, seconds,
		       (double)images / (seconds > 0 ? seconds : 1));
	printf("\nresults in %s\n", r->path);
	if (*personality_leaks(r->personality))
		printf("%s leaks %s\n", personality_name(r->personality), personality_leaks(r->personality));
	if (r->simulated)
		puts("simulated: no hardware isolation");
	if (!r->truth)
		return 0;
	printf("%llu of %llu are what the labels say: accuracy %.4f\n", (unsigned long long)r->right,
	       (unsigned long long)r->done, r->done ? (double)r->right / (double)r->done : 0);
	return r->confusion && r->classes <= MATRIX_SHOWN ? show_matrix(r, e) : 0;
}
