/* SPDX-License-Identifier: Apache-2.0 */
/* What people read of the options: dump, sample file, help, and which option a message is about. */
#include "conf/config_table.h"
#include "conf/text.h"

#include <string.h>

static void print_string(FILE *out, const char *text)
{
	fputc('"', out);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', out);
		if ((unsigned char)*text < 32)
			fprintf(out, "\\x%02x", (unsigned char)*text);
		else
			fputc(*text, out);
	}
	fputc('"', out);
}

static void print_value(FILE *out, const struct option_row *row, const void *f)
{
	const struct config_list *list = f;

	switch (row->type) {
	case OPTION_STRING:
		print_string(out, *(char *const *)f);
		break;
	case OPTION_LIST:
		fputc('[', out);
		for (size_t i = 0; i < list->n; i++) {
			fputs(i ? ", " : "", out);
			print_string(out, list->items[i]);
		}
		fputc(']', out);
		break;
	case OPTION_NUMBER:
		fprintf(out, *(const uint64_t *)f > INT32_MAX ? "%lluL" : "%llu",
			*(const unsigned long long *)f);
		break;
	case OPTION_FLAG:
		fputs(*(const int *)f ? "true" : "false", out);
		break;
	}
}

void config_dump(const struct config *c, FILE *out)
{
	for (size_t i = 0; i < option_count; i++) {
		const struct option_row *row = &option_rows[i];

		if (!strchr(row->roles, c->role))
			continue;
		fprintf(out, "%s = ", row->name);
		print_value(out, row, (const char *)c + row->field);
		fprintf(out, "; # %s\n", *option_origin_of((struct config *)c, row));
	}
}

void config_sample(char role, FILE *out)
{
	struct config c;

	if (config_defaults(&c, role, NULL))
		return;
	fprintf(
	    out,
	    "# Configuration of the %s. Every option is shown with its default; remove the # to change it.\n",
	    role_row(role)->name);
	for (size_t i = 0; i < option_count; i++) {
		const struct option_row *row = &option_rows[i];

		if (!strchr(row->roles, role))
			continue;
		fprintf(out, "\n# %s (%s)\n#%s = ", row->help, row->metavar, row->name);
		print_value(out, row, (const char *)&c + row->field);
		fputs(";\n", out);
	}
	config_free(&c);
}

void config_help(char role, FILE *out)
{
	for (size_t i = 0; i < option_count; i++) {
		const struct option_row *row = &option_rows[i];
		char flag[96];

		if (!strchr(row->roles, role))
			continue;
		snprintf(flag, sizeof(flag), "--%s=%s", row->name, row->metavar);
		for (char *p = flag + 2; *p && *p != '='; p++)
			if (*p == '_')
				*p = '-';
		text_help(out, flag, row->help, row->value);
	}
}

static void put_place(const struct config *c, const struct option_row *row, char *place, size_t bytes)
{
	const char *origin = *option_origin_of((struct config *)(uintptr_t)c, row);

	if (!strcmp(origin, "default"))
		snprintf(place, bytes, "%s (default)", row->name);
	else
		option_label(row, origin, place, bytes);
}

const char *config_place(const struct config *c, const char *text, char *place, size_t bytes)
{
	const char *first = NULL;

	snprintf(place, bytes, "the configuration");
	for (size_t i = 0; i < option_count; i++) {
		const struct option_row *row = &option_rows[i];
		const void *f = (const char *)c + row->field;
		const struct config_list one = {(char **)(uintptr_t)f, 1}, *list = f;

		if (!strchr(row->roles, c->role) || (row->type != OPTION_STRING && row->type != OPTION_LIST))
			continue;
		if (row->type == OPTION_STRING)
			list = &one;
		for (size_t k = 0; k < list->n; k++) {
			const char *at = *list->items[k] ? strstr(text, list->items[k]) : NULL;

			if (!at || (first && at >= first))
				continue;
			first = at;
			put_place(c, row, place, bytes);
		}
	}
	return place;
}
