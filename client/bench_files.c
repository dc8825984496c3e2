/* SPDX-License-Identifier: Apache-2.0 */
/* The files that a benchmark writes. */
#include "client/bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/bench_table.h"

/* A last line that is not whole goes. */
static int drop_part(FILE *f)
{
	long whole = 0, at = 0;
	int c;

	for (rewind(f); (c = getc(f)) != EOF; at++)
		if (c == '\n')
			whole = at + 1;
	return ferror(f) || (at > whole && ftruncate(fileno(f), whole)) ? -1 : 0;
}

static FILE *create(const struct bench *b, const char *name, struct err *e)
{
	int resume = b->args->flag[FLAG_resume] != NULL;
	char path[PATH_MAX + 16];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", b->folder, name);
	f = fopen(path, resume ? "a+e" : "we");
	if (f && (!resume || !drop_part(f)))
		return f;
	err_set(e, ERR_ENV, "cannot write %s: %s", path, strerror(errno));
	if (f)
		fclose(f);
	return NULL;
}

static int show_conditions(struct bench *b, struct err *e)
{
	struct bench_table *t;

	if (bench_table_new(&t, b->markdown, "Conditions", "WHAT|VALUE", e))
		return -1;
	json_object_object_foreach(b->conditions, name, value)
	{
		bench_table_row(t);
		bench_table_cell(t, "%s", name);
		bench_table_cell(t, "%s", value ? json_object_get_string(value) : "not known");
	}
	return bench_table_print(t, e);
}

int bench_open_results(struct bench *b, struct err *e)
{
	if (!b->args->flag[FLAG_out])
		mkdir("build", 0755);
	if (mkdir(b->folder, 0755) && errno != EEXIST)
		return err_set(e, ERR_ENV, "cannot make the folder %s: %s", b->folder, strerror(errno));
	if (!(b->jsonl = create(b, "bench.jsonl", e)) || !(b->markdown = create(b, "bench.md", e)))
		return -1;
	b->conditions = host_conditions();
	json_object_object_add(b->conditions, "quick", json_object_new_boolean(b->quick));
	return show_conditions(b, e) ? -1 : report_line(b, json_object_get(b->conditions), e);
}

int bench_close_results(struct bench *b, struct err *e)
{
	FILE *files[] = {b->jsonl, b->markdown};
	int failed = 0;

	for (int i = 0; i < 2; i++)
		if (files[i] && (fflush(files[i]) || ferror(files[i]) || fclose(files[i])))
			failed = err_set(e, ERR_ENV, "cannot write the results in %s: %s", b->folder,
					 strerror(errno));
	b->jsonl = b->markdown = NULL;
	return failed;
}
