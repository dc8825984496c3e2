/* SPDX-License-Identifier: Apache-2.0 */
/* obscura demo: throw-away certificates, three real processes on loopback, real pictures, and what each party
 * saw. */
#include "client/demo.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/child.h"
#include "client/command.h"

#define SHOWS_MAX 32

/* The project's own sample models, and their pictures in test/images. */
static const struct {
	const char *model, *kind;
} own[] = {{"digits_mlp", "digits"}, {"digits_conv", "digits"}, {"fashion_res", "fashion"}};

struct demo {
	struct roles roles;
	struct show shows[SHOWS_MAX];
	size_t n, distinct; /* distinct: how many before the second mode repeats them */
	char out[PATH_MAX];
	uint64_t count;
	unsigned wrong;
};

/* ---- what there is to show ---- */

static void join(char *out, const char *folder, const char *name, const char *end)
{
	if ((size_t)snprintf(out, PATH_MAX, "%s/%s%s", folder, name, end) >= PATH_MAX)
		*out = 0;
}

static struct show *add_show(struct demo *d, const char *model)
{
	struct show *s = &d->shows[d->n++];

	memset(s, 0, sizeof(*s));
	s->model = model;
	s->optimise = "latency";
	s->limit = d->count;
	return s;
}

static void drop_unless_there(struct demo *d, const struct show *s)
{
	if (access(s->file, R_OK) || access(s->images, R_OK) || access(s->labels, R_OK))
		d->n--;
}

/* The folder test/ of the tree that this program was built in, or of the current folder. */
static void find_tree(char *tree)
{
	char here[PATH_MAX];

	*tree = 0;
	if (!child_beside(here, sizeof(here), "../../test", &(struct err){0}) && !access(here, R_OK))
		join(tree, here, "", "");
	else if (!access("test/models", R_OK))
		strcpy(tree, "test");
	else
		strcpy(tree, "/usr/share/obscura");
}

static void add_own(struct demo *d)
{
	char tree[PATH_MAX], models[PATH_MAX], images[PATH_MAX];

	find_tree(tree);
	join(models, tree, "models", "");
	join(images, tree, "images", "");
	for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++) {
		struct show *s = add_show(d, own[i].model);

		join(s->file, models, own[i].model, ".onnx");
		join(s->images, images, own[i].kind, "-idx3-ubyte");
		join(s->labels, images, own[i].kind, "-labels-idx1-ubyte");
		drop_unless_there(d, s);
	}
}

static int add_papers(struct demo *d, const char *shared, struct err *e)
{
	for (size_t i = 0; i < PAPERS; i++) {
		struct show *s = add_show(d, papers[i].model);
		int there = paper_model(s->file, &papers[i], shared, d->roles.folder, e);

		if (there < 0)
			return -1;
		snprintf(s->images, sizeof(s->images), "%s/data/%s", shared, papers[i].images);
		snprintf(s->labels, sizeof(s->labels), "%s/data/%s", shared, papers[i].labels);
		if (there)
			drop_unless_there(d, s);
		else
			d->n--;
	}
	return 0;
}

/* Once more with one picture each, in bandwidth mode. */
static void add_bandwidth(struct demo *d)
{
	d->distinct = d->n;
	for (size_t i = 0; i < d->distinct && d->n < SHOWS_MAX; i++) {
		struct show *s = &d->shows[d->n++];

		*s = d->shows[i];
		s->optimise = "bandwidth";
		s->limit = 1;
	}
}

/* ---- the course of events ---- */

static int start_roles(struct demo *d, struct err *e)
{
	char *models = NULL;
	size_t n;
	FILE *f = open_memstream(&models, &n);
	int failed;

	if (!f)
		return err_set(e, ERR_ENV, "out of memory");
	for (size_t i = 0; i < d->distinct; i++)
		fprintf(f, "%s%s", i ? "," : "", d->shows[i].file);
	if (fclose(f))
		return err_set(e, ERR_ENV, "out of memory");
	failed = roles_start(&d->roles, models, &(struct roles_flags){0}, e);
	free(models);
	return failed;
}

static int run_shows(struct demo *d, struct err *e)
{
	struct sheet *sheet;
	int failed = 0;

	if (sheet_new(&sheet,
		      "MODEL|MODE|IMAGE|LABEL|IN CLEAR|TRUTH|SCORES|>MS|>ROUND TRIPS|>PLAN|>ONLINE "
		      "BYTES|>PLAN|>OFFLINE BYTES|>PLAN|AS PLANNED",
		      e))
		return -1;
	for (size_t i = 0; i < d->n && !failed; i++)
		failed = show_run(&d->shows[i], &d->roles, sheet, &d->wrong, e);
	if (sheet_print(sheet, e))
		failed = -1;
	return failed;
}

/* One digit (or whatever comes first) and, where there is one, the first cell. */
static int run_views(struct demo *d, struct err *e)
{
	const struct show *last = &d->shows[d->distinct - 1];

	if (show_views(&d->shows[0], &d->roles, d->out, e))
		return -1;
	return last->model == papers[2].model ? show_views(last, &d->roles, d->out, e) : 0;
}

static int make_out(struct demo *d, const struct args *a, struct err *e)
{
	const char *out = a->flag[FLAG_out];

	if (out) {
		if (mkdir(out, 0755) && errno != EEXIST)
			return err_set(e, ERR_ENV, "cannot make the folder %s: %s", out, strerror(errno));
		snprintf(d->out, sizeof(d->out), "%s", out);
		return 0;
	}
	strcpy(d->out, "/tmp/obscura-pictures-XXXXXX");
	return mkdtemp(d->out) ? 0 : err_set(e, ERR_ENV, "cannot make a folder in /tmp: %s", strerror(errno));
}

static int collect(struct demo *d, const struct args *a, struct err *e)
{
	add_own(d);
	if (add_papers(d, papers_folder(a->flag[FLAG_shared]), e))
		return -1;
	if (!d->n)
		return err_set(e, ERR_INPUT,
			       "there are no sample models here; run the demo from the source tree, or name "
			       "the data with --shared DIR");
	add_bandwidth(d);
	return 0;
}

static int run(struct demo *d, const struct args *a, struct err *e)
{
	if (roles_prepare(&d->roles, e) || collect(d, a, e) || make_out(d, a, e))
		return -1;
	printf("Three processes on this host, with certificates of a throw-away authority: provider, model "
	       "owner, data owner.\n"
	       "The data owner never shows a picture, the model owner never shows its weights.\n\n");
	fflush(stdout);
	if (start_roles(d, e) || run_shows(d, e))
		return -1;
	puts("\nOnline and offline bytes are payload of one picture, all directions together; PLAN is what "
	     "`obscura plan` predicted.\n");
	if (run_views(d, e))
		return -1;
	if (d->wrong)
		return err_set(e, ERR_RESULT, "%u pictures were not as planned, or not as in clear",
			       d->wrong);
	puts("\nEvery label is the one of the same model in clear; every byte and round trip is as planned.");
	return 0;
}

int command_demo(struct args *a, struct err *e)
{
	struct demo *d;
	int r;

	if (a->n)
		return err_set(e, ERR_USAGE, "obscura demo takes no argument");
	d = calloc(1, sizeof(*d));
	if (!d)
		return err_set(e, ERR_ENV, "out of memory");
	roles_catch();
	r = args_number(a, FLAG_count, 4, 1, 1000, &d->count, e) ? -1 : run(d, a, e);
	roles_stop(&d->roles);
	if (r && *d->out)
		rmdir(d->out); /* unless there are pictures in it */
	free(d);
	return r;
}
