/* SPDX-License-Identifier: Apache-2.0 */
#include "client/demo.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/child.h"
#include "client/json.h"
#include "client/samples.h"

/* What the same model says in clear, and the truth. */
struct clear {
	struct graph *graph;
	struct samples samples;
	uint32_t *labels; /* owns */
};

static void clear_free(struct clear *c)
{
	samples_free(&c->samples);
	graph_free(c->graph);
	free(c->labels);
}

static int infer_all(struct clear *c, struct err *e)
{
	const struct samples *s = &c->samples;
	float *out = calloc(s->classes, sizeof(*out));
	struct float_run *run = NULL;
	int r = -1;

	c->labels = calloc(s->n, sizeof(*c->labels));
	if (!out || !c->labels)
		err_set(e, ERR_ENV, "out of memory");
	else
		r = float_new(&run, c->graph, e);
	for (size_t i = 0; !r && i < s->n; i++) {
		float_infer(run, s->chw + i * s->pixels, out);
		for (uint32_t j = 1; j < s->classes; j++)
			if (out[j] > out[c->labels[i]])
				c->labels[i] = j;
	}
	float_free(run);
	free(out);
	return r;
}

static int clear_new(struct clear *c, const struct show *show, struct err *e)
{
	struct samples_from from = {.images = show->images, .labels = show->labels, .limit = show->limit};

	memset(c, 0, sizeof(*c));
	if (graph_load(&c->graph, show->file, e))
		return -1;
	from.fit = (struct fit){c->graph->nodes[0].shape, c->graph->pre.resize, 0};
	from.classes = shape_size(c->graph->nodes[c->graph->n - 1].shape);
	if (!samples_load(&c->samples, &from, e) && !infer_all(c, e))
		return 0;
	clear_free(c);
	return -1;
}

/* ---- what `obscura classify --json` printed ---- */

static struct json_object *at(struct json_object *o, const char *path)
{
	struct json_object *found = NULL;

	return o && !json_pointer_get(o, path, &found) ? found : NULL;
}

static uint64_t number(struct json_object *o, const char *path)
{
	return json_object_get_uint64(at(o, path));
}

static uint64_t total(struct json_object *o, const char *phase)
{
	return number(at(o, phase), "/sent") + number(at(o, phase), "/received") +
	       number(at(o, phase), "/provider");
}

/* Every direction and phase, and the round trips, as planned. */
static int as_planned(struct json_object *o)
{
	return json_object_equal(at(o, "/bytes"), at(o, "/predicted/bytes")) && at(o, "/bytes") &&
	       number(o, "/round_trips") == number(o, "/predicted/round_trips");
}

static const char *label_name(const struct clear *c, uint64_t label, char text[16])
{
	if (label < c->graph->pre.n_labels)
		return c->graph->pre.labels[label];
	snprintf(text, 16, "%llu", (unsigned long long)label);
	return text;
}

static void add_scores(struct sheet *sheet, struct json_object *scores, size_t label)
{
	double best = json_object_get_double(json_object_array_get_idx(scores, label)), second = -1e300;
	size_t n = json_object_array_length(scores);

	for (size_t i = 0; i < n; i++) {
		double x = json_object_get_double(json_object_array_get_idx(scores, i));

		if (i != label && x > second)
			second = x;
	}
	sheet_cell(sheet, n > 1 ? "%.2f, next %.2f" : "%.2f", best, second);
}

static int add_row(const struct show *show, const struct clear *c, size_t i, struct json_object *o,
		   struct sheet *sheet)
{
	const char *name = json_object_get_string(at(o, "/image")), *slash = name ? strrchr(name, '/') : NULL;
	uint64_t label = number(o, "/label");
	int fine = as_planned(o) && label == c->labels[i];
	char text[4][24];

	sheet_row(sheet);
	sheet_cell(sheet, "%s", show->model);
	sheet_cell(sheet, "%s", show->optimise);
	sheet_cell(sheet, "%.28s", slash ? slash + 1 : name ? name : "?");
	sheet_cell(sheet, "%s", label_name(c, label, text[0]));
	sheet_cell(sheet, "%s", label_name(c, c->labels[i], text[1]));
	sheet_cell(sheet, "%s", label_name(c, (uint64_t)c->samples.labels[i], text[2]));
	add_scores(sheet, at(o, "/scores"), label);
	sheet_cell(sheet, "%.1f", json_object_get_double(at(o, "/seconds/online")) * 1e3);
	sheet_cell(sheet, "%llu", (unsigned long long)number(o, "/round_trips"));
	sheet_cell(sheet, "%llu", (unsigned long long)number(o, "/predicted/round_trips"));
	sheet_cell(sheet, "%llu", (unsigned long long)total(at(o, "/bytes"), "/online"));
	sheet_cell(sheet, "%llu", (unsigned long long)total(at(o, "/predicted/bytes"), "/online"));
	sheet_cell(sheet, "%llu", (unsigned long long)total(at(o, "/bytes"), "/offline"));
	sheet_cell(sheet, "%llu", (unsigned long long)total(at(o, "/predicted/bytes"), "/offline"));
	sheet_cell(sheet, "%s", fine ? "yes" : "NO");
	return fine;
}

/* ---- the command ---- */

/* argv of `obscura classify`; the texts live in the caller's frame. */
struct classify {
	char socket[128], model[128], optimise[32], limit[32];
	char *argv[CHILD_ARGS];
};

static void classify_argv(struct classify *c, const struct show *s, const struct roles *r,
			  unsigned long long limit)
{
	int n = 0;

	snprintf(c->socket, sizeof(c->socket), "--socket=%s", r->socket);
	snprintf(c->model, sizeof(c->model), "--model=%s", s->model);
	snprintf(c->optimise, sizeof(c->optimise), "--optimise=%s", s->optimise);
	snprintf(c->limit, sizeof(c->limit), "--limit=%llu", limit);
	memset(c->argv, 0, sizeof(c->argv));
	c->argv[n++] = (char *)r->obscura;
	c->argv[n++] = "classify";
	c->argv[n++] = "--json";
	c->argv[n++] = "--max-batch=1"; /* one picture an inference: times and messages of one */
	c->argv[n++] = c->socket;
	c->argv[n++] = c->model;
	c->argv[n++] = c->optimise;
	c->argv[n++] = c->limit;
	c->argv[n++] = (char *)s->images;
}

static int read_rows(FILE *f, const struct show *show, const struct clear *c, struct sheet *sheet,
		     unsigned *wrong, struct err *e)
{
	size_t room = 0, i = 0;
	char *line = NULL;

	for (; getline(&line, &room, f) > 0 && i < c->samples.n; i++) {
		struct json_object *o = json_tokener_parse(line);

		if (!o)
			break;
		*wrong += !add_row(show, c, i, o, sheet);
		json_object_put(o);
	}
	free(line);
	return i == c->samples.n ? 0
				 : err_set(e, ERR_RESULT, "%zu of %zu pictures of %s were classified", i,
					   c->samples.n, show->model);
}

static int classify(const struct show *show, const struct roles *r, const struct clear *c,
		    struct sheet *sheet, unsigned *wrong, struct err *e)
{
	struct classify command;
	struct err why = {0};
	int ends[2], failed;
	pid_t pid;
	FILE *f;

	classify_argv(&command, show, r, show->limit);
	if (pipe2(ends, O_CLOEXEC))
		return err_set(e, ERR_ENV, "cannot make a pipe: %m");
	failed = child_start(&pid, command.argv, ends[1], STDERR_FILENO, e);
	close(ends[1]);
	f = fdopen(ends[0], "r");
	if (!failed && f)
		failed = read_rows(f, show, c, sheet, wrong, &why);
	if (f)
		fclose(f);
	else
		close(ends[0]);
	if (pid && child_wait(&pid, "obscura classify", e))
		return -1; /* its own reason is on standard error, and counts more */
	return failed ? err_set(e, why.code ? why.code : ERR_ENV, "%s", why.text) : 0;
}

int show_run(const struct show *s, const struct roles *r, struct sheet *sheet, unsigned *wrong, struct err *e)
{
	struct clear c;
	int failed;

	if (roles_go_on(e))
		return -1;
	if (clear_new(&c, s, e))
		return err_context(e, "%s", s->model);
	failed = classify(s, r, &c, sheet, wrong, e);
	clear_free(&c);
	return failed;
}

int show_views(const struct show *s, const struct roles *r, const char *folder, struct err *e)
{
	struct classify command;
	char views[PATH_MAX + 16];
	pid_t pid;
	int n = 0;

	if (roles_go_on(e))
		return -1;
	classify_argv(&command, s, r, 1);
	while (command.argv[n])
		n++;
	snprintf(views, sizeof(views), "--views=%s", folder);
	command.argv[n] = views;
	fflush(stdout);
	/* results go nowhere; the list of files, which classify --json writes to standard error, to our
	 * output */
	return child_start(&pid, command.argv, -1, STDOUT_FILENO, e) ||
		       child_wait(&pid, "obscura classify --views", e)
		   ? -1
		   : 0;
}
