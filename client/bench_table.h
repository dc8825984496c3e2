/* SPDX-License-Identifier: Apache-2.0 */
/* client/bench_table.h — a table that is printed for people and, the same cells, written as Markdown. */
#ifndef OBSCURA_CLIENT_BENCH_TABLE_H
#define OBSCURA_CLIENT_BENCH_TABLE_H

#include <stdio.h>
#include "conf/err.h"

struct bench_table;
/* markdown: borrows; NULL: printed only. columns: as sheet_new takes them. */
int bench_table_new(struct bench_table **t, FILE *markdown, const char *title, const char *columns,
		    struct err *e) MUST_USE;
void bench_table_row(struct bench_table *t);
void bench_table_cell(struct bench_table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints and frees. */
int bench_table_print(struct bench_table *t, struct err *e) MUST_USE;
void bench_table_free(struct bench_table *t);
/* A line of text under it. */
void bench_note(FILE *markdown, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
