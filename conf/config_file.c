/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a libconfig file into struct config; every message names file and line. */
#include <libconfig.h>

#include "conf/config_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX (1 << 20) /* bytes of a configuration file */

static const char *const type_names[] = {"a string in quotes", "a list of strings: [\"a\", \"b\"]",
					 "a whole number", "true or false"};

static int wrong_type(const struct option_row *row, const char *origin, struct err *e)
{
	return err_set(e, ERR_INPUT, "%s: %s: needs %s, for example %s", origin, row->name,
		       type_names[row->type], row->metavar);
}

static int read_list(struct config *c, const struct option_row *row, const config_setting_t *s,
		     const char *origin, struct err *e)
{
	struct config_list *list = (struct config_list *)((char *)c + row->field);
	int n = config_setting_length(s);

	option_list_clear(list);
	for (int i = 0; i < n; i++) {
		const char *item = config_setting_get_string_elem(s, i);

		if (!item)
			return wrong_type(row, origin, e);
		if (option_list_add(list, item, strlen(item), e))
			return -1;
	}
	return option_origin(c, row, origin, e);
}

/* Whether the setting's own type is one that the row takes; the value is then passed on as text. */
static int read_scalar(const struct option_row *row, const config_setting_t *s, char *number, size_t bytes,
		       const char **text)
{
	int type = config_setting_type(s);

	*text = number;
	if (type == CONFIG_TYPE_STRING && (row->type == OPTION_STRING || row->type == OPTION_LIST))
		*text = config_setting_get_string(s);
	else if ((type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64) && row->type == OPTION_NUMBER)
		snprintf(number, bytes, "%lld", config_setting_get_int64(s));
	else if (type == CONFIG_TYPE_BOOL && row->type == OPTION_FLAG)
		*text = config_setting_get_bool(s) ? "yes" : "no";
	else
		return -1;
	return 0;
}

static int read_setting(struct config *c, const config_setting_t *s, const char *file, struct err *e)
{
	const char *name = config_setting_name(s), *text;
	const struct option_row *row;
	char origin[320], number[24];

	snprintf(origin, sizeof(origin), "%.255s:%u", file, config_setting_source_line(s));
	row = option_find(c, name, strlen(name), origin, e);
	if (!row)
		return -1;
	if (row->type == OPTION_LIST && (config_setting_is_array(s) || config_setting_is_list(s)))
		return read_list(c, row, s, origin, e);
	if (read_scalar(row, s, number, sizeof(number), &text))
		return wrong_type(row, origin, e);
	return option_set(c, row, text, origin, e);
}

/* libconfig would follow an @include to any file; one configuration is one file, so that FILE:LINE is the
 * truth. */
static int refuse_include(const char *file, const char *text, struct err *e)
{
	for (unsigned line = 1; text; line++) {
		text += strspn(text, " \t");
		if (!strncmp(text, "@include", 8))
			return err_set(e, ERR_INPUT,
				       "%s:%u: @include is not supported; write the options into this file",
				       file, line);
		text = strchr(text, '\n');
		if (text)
			text++;
	}
	return 0;
}

int config_text(struct config *c, const char *name, const char *text, struct err *e)
{
	config_setting_t *root;
	config_t file;
	int r = -1;

	if (refuse_include(name, text, e))
		return -1;
	config_init(&file);
	if (!config_read_string(&file, text)) {
		err_set(e, ERR_INPUT, "%s:%d: %s; write one option a line: name = value;", name,
			config_error_line(&file), config_error_text(&file));
		goto out;
	}
	root = config_root_setting(&file);
	for (int i = 0; i < config_setting_length(root); i++)
		if (read_setting(c, config_setting_get_elem(root, (unsigned)i), name, e))
			goto out;
	r = 0;
out:
	config_destroy(&file);
	return r;
}

int config_file(struct config *c, const char *path, struct err *e)
{
	FILE *f = fopen(path, "re");
	char *text = NULL;
	size_t n;
	int r = -1;

	if (!f)
		return err_set(e, err_of_file(errno), "cannot read %s: %s", path, strerror(errno));
	text = malloc(FILE_MAX + 1);
	if (!text) {
		err_set(e, ERR_ENV, "out of memory");
		goto out;
	}
	n = fread(text, 1, FILE_MAX, f);
	text[n] = 0;
	if (ferror(f))
		err_set(e, err_of_file(errno), "cannot read %s: %s", path, strerror(errno));
	else if (n == FILE_MAX || memchr(text, 0, n))
		err_set(e, ERR_INPUT, "%s: this is no configuration file (binary, or longer than 1 MiB)",
			path);
	else
		r = config_text(c, path, text, e);
out:
	free(text);
	fclose(f);
	return r;
}
