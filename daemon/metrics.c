/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/metrics.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERIES_MAX 256 /* of one metric; further ones are not kept */
#define LABELS_MAX 400

enum kind { COUNTER, GAUGE, SECONDS };

static const struct {
	enum kind kind;
	const char *name, *roles, *labels, *help;
} rows[METRICS] = {
#define METRIC(kind, name, roles, labels, help) {kind, #name, roles, labels, help},
#include "daemon/metrics.def"
#undef METRIC
};

static const double bounds[] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
				0.25,	0.5,   1,      2.5,   5,    10,	   30};
#define BOUNDS (sizeof(bounds) / sizeof(bounds[0]))

struct series {
	char *labels; /* owns: name="value",… */
	double value; /* a histogram's sum */
	uint64_t count, buckets[BOUNDS];
};

static struct {
	struct series *series; /* owns */
	size_t n;
} table[METRICS];
static char role;

void metrics_clear(enum metric m)
{
	for (size_t i = 0; i < table[m].n; i++)
		free(table[m].series[i].labels);
	free(table[m].series);
	table[m].series = NULL;
	table[m].n = 0;
}

/* ---- series ---- */

static size_t put_escaped(char *out, size_t room, const char *text)
{
	size_t at = 0;

	for (; *text && at + 3 < room; text++) {
		if (*text == '"' || *text == '\\' || *text == '\n')
			out[at++] = '\\';
		out[at++] = *text;
		if (*text == '\n')
			out[at - 1] = 'n';
	}
	out[at] = 0;
	return at;
}

/* name="value",… */
static void render(char out[LABELS_MAX], const char *names, const char *const *values)
{
	size_t at = 0;

	out[0] = 0;
	for (size_t i = 0; *names && at + 100 < LABELS_MAX; i++) {
		size_t n = strcspn(names, ","), share = (LABELS_MAX - at) / 2;

		at += (size_t)snprintf(out + at, LABELS_MAX - at, "%s%.*s=\"", i ? "," : "", (int)n, names);
		at += put_escaped(out + at, share, values[i]);
		at += (size_t)snprintf(out + at, LABELS_MAX - at, "\"");
		names += n + (names[n] == ',');
	}
}

static struct series *find(enum metric m, const char *const *values)
{
	char labels[LABELS_MAX];
	struct series *all, *s;

	render(labels, rows[m].labels, values);
	for (size_t i = 0; i < table[m].n; i++)
		if (!strcmp(table[m].series[i].labels, labels))
			return &table[m].series[i];
	if (table[m].n == SERIES_MAX)
		return NULL;
	all = reallocarray(table[m].series, table[m].n + 1, sizeof(*all));
	if (!all)
		return NULL;
	table[m].series = all;
	s = &all[table[m].n];
	*s = (struct series){.labels = strdup(labels)};
	if (!s->labels)
		return NULL;
	table[m].n++;
	return s;
}

void metrics_add(enum metric m, double n, const char *const *labels)
{
	struct series *s = find(m, labels);

	if (s)
		s->value += n;
}

void metrics_set(enum metric m, double value, const char *const *labels)
{
	struct series *s = find(m, labels);

	if (s)
		s->value = value;
}

void metrics_observe(enum metric m, double seconds, const char *const *labels)
{
	struct series *s = find(m, labels);

	if (!s)
		return;
	s->count++;
	s->value += seconds;
	for (size_t i = 0; i < BOUNDS; i++)
		s->buckets[i] += seconds <= bounds[i];
}

void metrics_open(char letter)
{
	role = letter;
	for (enum metric m = 0; m < METRICS; m++) {
		metrics_clear(m);
		if (strchr(rows[m].roles, role) && !*rows[m].labels)
			metrics_add(m, 0, METRIC_NO_LABELS);
	}
}

/* ---- text ---- */

static void print_histogram(FILE *out, const char *name, const struct series *s)
{
	const char *comma = *s->labels ? "," : "";

	for (size_t i = 0; i < BOUNDS; i++)
		fprintf(out, "obscura_%s_bucket{%s%sle=\"%g\"} %llu\n", name, s->labels, comma, bounds[i],
			(unsigned long long)s->buckets[i]);
	fprintf(out, "obscura_%s_bucket{%s%sle=\"+Inf\"} %llu\n", name, s->labels, comma,
		(unsigned long long)s->count);
	fprintf(out, "obscura_%s_sum%s%s%s %.9g\n", name, *comma ? "{" : "", s->labels, *comma ? "}" : "",
		s->value);
	fprintf(out, "obscura_%s_count%s%s%s %llu\n", name, *comma ? "{" : "", s->labels, *comma ? "}" : "",
		(unsigned long long)s->count);
}

static void print_metric(FILE *out, enum metric m)
{
	static const char *const kinds[] = {"counter", "gauge", "histogram"};
	const char *name = rows[m].name;

	fprintf(out, "# HELP obscura_%s %s\n# TYPE obscura_%s %s\n", name, rows[m].help, name,
		kinds[rows[m].kind]);
	for (size_t i = 0; i < table[m].n; i++) {
		const struct series *s = &table[m].series[i];
		int labelled = *s->labels != 0;

		if (rows[m].kind == SECONDS)
			print_histogram(out, name, s);
		else
			fprintf(out, "obscura_%s%s%s%s %.15g\n", name, labelled ? "{" : "", s->labels,
				labelled ? "}" : "", s->value);
	}
}

char *metrics_text(size_t *bytes)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, bytes);

	if (!out)
		return NULL;
	for (enum metric m = 0; m < METRICS; m++)
		if (strchr(rows[m].roles, role) && table[m].n)
			print_metric(out, m);
	if (!fclose(out))
		return text;
	free(text);
	return NULL;
}
