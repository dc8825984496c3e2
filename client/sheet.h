/* SPDX-License-Identifier: Apache-2.0 */
/* client/sheet.h — tables for people, by libsmartcols. */
#ifndef OBSCURA_CLIENT_SHEET_H
#define OBSCURA_CLIENT_SHEET_H

#include "conf/err.h"

struct sheet;
/* columns: "NAME|>NUMBER|…": separated by '|', a '>' before a name aligns to the right. */
int sheet_new(struct sheet **s, const char *columns, struct err *e) MUST_USE;
/* Starts a row; sheet_cell fills its next cell. */
void sheet_row(struct sheet *s);
void sheet_cell(struct sheet *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints to standard output (unless memory was short on the way) and frees. */
int sheet_print(struct sheet *s, struct err *e) MUST_USE;
void sheet_free(struct sheet *s);

/* "12.3 kB", as people write it; text: at least 24 bytes, returned. */
const char *sheet_bytes(char *text, unsigned long long bytes);
/* "1.2 ms", "3.4 s". */
const char *sheet_seconds(char *text, double seconds);

#endif
