/* SPDX-License-Identifier: Apache-2.0 */
/* A thin cover of libsmartcols: the first failure is remembered and reported when the table is printed. */
#include <libsmartcols.h>

#include "client/sheet.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sheet {
	struct libscols_table *table;
	struct libscols_line *line;
	size_t cell;
	int failed;
};

int sheet_new(struct sheet **sheet, const char *columns, struct err *e)
{
	struct sheet *s = calloc(1, sizeof(*s));
	char *names = strdup(columns), *save = NULL;

	if (s)
		s->table = scols_new_table();
	if (!s || !s->table || !names) {
		free(names);
		sheet_free(s);
		return err_set(e, ERR_ENV, "out of memory for a table");
	}
	for (char *name = strtok_r(names, "|", &save); name; name = strtok_r(NULL, "|", &save)) {
		int right = *name == '>';

		if (!scols_table_new_column(s->table, name + right, 0, right ? SCOLS_FL_RIGHT : 0))
			s->failed = 1;
	}
	free(names);
	*sheet = s;
	return 0;
}

void sheet_row(struct sheet *s)
{
	s->line = scols_table_new_line(s->table, NULL);
	s->cell = 0;
	s->failed |= !s->line;
}

void sheet_cell(struct sheet *s, const char *format, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, format);
	if (!s->line || vasprintf(&text, format, ap) < 0)
		s->failed = 1;
	else if (scols_line_refer_data(s->line, s->cell++, text)) { /* the line owns text */
		s->failed = 1;
		free(text);
	}
	va_end(ap);
}

int sheet_print(struct sheet *s, struct err *e)
{
	int failed = s->failed;

	if (!failed && scols_table_get_nlines(s->table))
		failed = scols_print_table(s->table);
	sheet_free(s);
	return failed ? err_set(e, ERR_ENV, "cannot print a table") : 0;
}

void sheet_free(struct sheet *s)
{
	if (!s)
		return;
	scols_unref_table(s->table);
	free(s);
}

const char *sheet_bytes(char *text, unsigned long long bytes)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
	double x = (double)bytes;
	unsigned unit = 0;

	for (; x >= 999.95 && unit < 4; unit++)
		x /= 1000;
	snprintf(text, 24, unit ? "%.1f %s" : "%.0f %s", x, units[unit]);
	return text;
}

const char *sheet_seconds(char *text, double s)
{
	if (s < 0.9995)
		snprintf(text, 24, s < 0.0099995 ? "%.2f ms" : "%.1f ms", s * 1e3);
	else
		snprintf(text, 24, s < 100 ? "%.2f s" : "%.0f s", s);
	return text;
}
