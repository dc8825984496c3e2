/* SPDX-License-Identifier: Apache-2.0 */
#include "client/bench_table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "client/sheet.h"

struct bench_table {
	struct sheet *sheet; /* owns */
	FILE *markdown;
	unsigned columns, at; /* at: cells of the row under way */
};

/* "A|>B" → "| A | B |" and the line that aligns them. Returns how many there are. */
static unsigned write_head(const char *columns, FILE *f)
{
	unsigned n = 1;

	fputs("\n| ", f);
	for (const char *p = columns; *p; p++)
		if (*p == '|')
			fputs(" | ", f);
		else if (*p != '>')
			putc(*p, f);
	fputs(" |\n|", f);
	for (const char *p = columns;; p++, n++) {
		fputs(*p == '>' ? "---:|" : "---|", f);
		p += strcspn(p, "|");
		if (!*p)
			break;
	}
	return n;
}

int bench_table_new(struct bench_table **table, FILE *markdown, const char *title, const char *columns,
		    struct err *e)
{
	struct bench_table *t = calloc(1, sizeof(*t));

	*table = NULL;
	if (!t || sheet_new(&t->sheet, columns, e)) {
		free(t);
		return err_set(e, ERR_ENV, "out of memory for a table");
	}
	printf("\n%s\n", title);
	if (markdown) {
		t->markdown = markdown;
		fprintf(markdown, "\n### %s\n", title);
		t->columns = write_head(columns, markdown);
	}
	*table = t;
	return 0;
}

/* A row may have fewer cells than there are columns; Markdown wants them all. */
static void end_row(struct bench_table *t)
{
	for (; t->markdown && t->at && t->at < t->columns; t->at++)
		fputs(" |", t->markdown);
	t->at = 0;
}

void bench_table_row(struct bench_table *t)
{
	end_row(t);
	sheet_row(t->sheet);
	if (t->markdown)
		fputs("\n|", t->markdown);
}

void bench_table_cell(struct bench_table *t, const char *format, ...)
{
	char text[160];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	sheet_cell(t->sheet, "%s", text);
	t->at++;
	if (t->markdown)
		fprintf(t->markdown, " %s |", text);
}

int bench_table_print(struct bench_table *t, struct err *e)
{
	struct sheet *s = t->sheet;

	end_row(t);
	if (t->markdown)
		putc('\n', t->markdown);
	t->sheet = NULL;
	bench_table_free(t);
	return sheet_print(s, e);
}

void bench_table_free(struct bench_table *t)
{
	if (!t)
		return;
	sheet_free(t->sheet);
	free(t);
}

void bench_note(FILE *markdown, const char *format, ...)
{
	va_list ap, again;

	va_start(ap, format);
	va_copy(again, ap);
	vprintf(format, ap);
	putchar('\n');
	if (markdown) {
		putc('\n', markdown);
		vfprintf(markdown, format, again);
		putc('\n', markdown);
	}
	va_end(again);
	va_end(ap);
}
