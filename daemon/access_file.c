/* SPDX-License-Identifier: Apache-2.0 */
/* The file of rules. Whatever is not understood is refused with file and line: a limit that is misspelt would
 * be none. */
#include <libconfig.h>

#include "conf/config_table.h"
#include "daemon/access_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX (1 << 20)
#define NAME_MOST 255

/* ---- patterns ---- */

/* Host names have no case. */
static int fits(const char *pattern, const char *name, size_t n)
{
	size_t p = strlen(pattern);

	if (!strcmp(pattern, "*"))
		return 1;
	if (pattern[0] == '*')
		return n > p - 1 && !strncasecmp(name + n - (p - 1), pattern + 1, p - 1);
	return n == p && !strncasecmp(name, pattern, n);
}

const char *access_fits(const struct config_list *patterns, const char *names, const char **pattern,
			size_t *n)
{
	for (size_t i = 0; i < patterns->n; i++)
		for (const char *at = names; *at; at += *n, at += *at == '\n') {
			*n = strcspn(at, "\n");
			*pattern = patterns->items[i];
			if (*n && fits(*pattern, at, *n))
				return at;
		}
	return NULL;
}

/* ---- one rule ---- */

struct reading {
	const char *file;
	enum frame_role self;
	unsigned line; /* of the setting that is read */
	struct err *e;
};

static int bad(const struct reading *r, const char *key, const char *reason)
{
	return err_set(r->e, ERR_INPUT, "%s:%u: %s: %s", r->file, r->line, key, reason);
}

/* "*" stands alone or before a dot: "*.clinic.example". */
static int name_ok(const char *s, int pattern)
{
	size_t n = strlen(s);
	const char *star = strchr(s, '*');

	for (size_t i = 0; i < n; i++)
		if ((unsigned char)s[i] <= ' ' || s[i] == 127)
			return 0;
	if (star)
		return pattern && star == s && !strchr(s + 1, '*') && (n == 1 || (s[1] == '.' && n > 2));
	return n && n <= NAME_MOST;
}

static int add_name(const struct reading *r, const char *key, struct config_list *list, const char *s,
		    int pattern)
{
	if (!s)
		return bad(r, key, "needs a name in quotes, or a list of them: [\"a\", \"b\"]");
	if (!name_ok(s, pattern))
		return bad(r, key,
			   pattern
			       ? "is no name: letters without blanks; \"*\" is all, \"*.NAME\" all below NAME"
			       : "is no model's name: letters without blanks; leave models out for all");
	return option_list_add(list, s, strlen(s), r->e);
}

static int read_names(const struct reading *r, const config_setting_t *s, struct config_list *list,
		      int pattern)
{
	const char *key = config_setting_name(s);
	int n = config_setting_length(s);

	if (!config_setting_is_array(s) && !config_setting_is_list(s))
		return add_name(r, key, list, config_setting_get_string(s), pattern);
	if (!n)
		return bad(r, key, "is an empty list, which nothing fits; leave it out, or name some");
	for (int i = 0; i < n; i++)
		if (add_name(r, key, list, config_setting_get_string_elem(s, i), pattern))
			return -1;
	return 0;
}

static int read_limit(const struct reading *r, const config_setting_t *s, uint64_t *limit)
{
	int type = config_setting_type(s);
	long long n = type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64 ? config_setting_get_int64(s) : 0;

	if (n < 1)
		return bad(r, config_setting_name(s),
			   "needs a whole number from 1 on; leave it out for no limit");
	*limit = (uint64_t)n;
	return 0;
}

static int read_reveal(const struct reading *r, const config_setting_t *s, int *label_only)
{
	const char *text = config_setting_get_string(s);

	if (r->self != ROLE_M)
		return bad(r, "reveal", "only the model owner can demand it; remove it");
	if (!text || (strcmp(text, "label") != 0 && strcmp(text, "any") != 0))
		return bad(r, "reveal", "is \"label\" or \"any\"");
	*label_only = !strcmp(text, "label");
	return 0;
}

static int read_key(const struct reading *r, const config_setting_t *s, struct access_rule *rule)
{
	const char *key = config_setting_name(s);

	if (!strcmp(key, "who"))
		return read_names(r, s, &rule->who, 1);
	if (!strcmp(key, "models"))
		return read_names(r, s, &rule->models, 0);
	if (!strcmp(key, "reveal"))
		return read_reveal(r, s, &rule->label_only);
	if (!strcmp(key, "per_minute"))
		return read_limit(r, s, &rule->per_minute);
	if (!strcmp(key, "per_day"))
		return read_limit(r, s, &rule->per_day);
	if (strcmp(key, "model_owner") != 0)
		return bad(r, key,
			   "is unknown; who, models, model_owner, reveal, per_minute, per_day are known");
	if (r->self != ROLE_C)
		return bad(r, key, "only a provider has several model owners; remove it");
	return read_names(r, s, &rule->with, 1);
}

static int read_rule(struct reading *r, const config_setting_t *s, struct access_rule *rule)
{
	rule->line = r->line = config_setting_source_line(s);
	if (!config_setting_is_group(s))
		return bad(r, "rules", "a rule is written { who = \"NAME\"; … }");
	for (int i = 0; i < config_setting_length(s); i++) {
		const config_setting_t *one = config_setting_get_elem(s, (unsigned)i);

		r->line = config_setting_source_line(one);
		if (read_key(r, one, rule))
			return -1;
	}
	r->line = rule->line;
	return rule->who.n ? 0 : bad(r, "who", "is missing; name a data owner's host, or \"*\"");
}

/* ---- the file ---- */

static int read_root(struct reading *r, const config_setting_t *root, struct access_list *list)
{
	const config_setting_t *rules = NULL;

	for (int i = 0; i < config_setting_length(root); i++) {
		const config_setting_t *s = config_setting_get_elem(root, (unsigned)i);

		r->line = config_setting_source_line(s);
		if (strcmp(config_setting_name(s), "rules") != 0)
			return bad(r, config_setting_name(s),
				   "is unknown; the file has one setting: rules = ( { … }, … );");
		if (!config_setting_is_list(s))
			return bad(r, "rules", "is a list: rules = ( { … }, … );");
		rules = s;
	}
	if (!rules || !config_setting_length(rules))
		return err_set(r->e, ERR_INPUT,
			       "%s: has no rules, so that nobody could use anything; write rules = ( { who = "
			       "\"*\"; } );",
			       r->file);
	list->all = calloc((size_t)config_setting_length(rules), sizeof(*list->all));
	if (!list->all)
		return err_set(r->e, ERR_ENV, "out of memory for %s", r->file);
	for (int i = 0; i < config_setting_length(rules); i++)
		if (read_rule(r, config_setting_get_elem(rules, (unsigned)i), &list->all[list->n++]))
			return -1;
	return 0;
}

/* One file is all there is, so that FILE:LINE is the truth. */
static int has_include(const char *text)
{
	while (text) {
		text += strspn(text, " \t");
		if (!strncmp(text, "@include", 8))
			return 1;
		text = strchr(text, '\n');
		if (text)
			text++;
	}
	return 0;
}

int access_list_text(struct access_list *list, const char *name, const char *text, enum frame_role self,
		     struct err *e)
{
	struct reading r = {.file = name, .self = self, .e = e};
	config_t file;
	int failed;

	*list = (struct access_list){.path = strdup(name)};
	if (!list->path)
		return err_set(e, ERR_ENV, "out of memory for %s", name);
	config_init(&file);
	if (has_include(text))
		failed = err_set(e, ERR_INPUT,
				 "%s: @include is not supported; write the rules into this file", name);
	else if (!config_read_string(&file, text))
		failed = err_set(e, ERR_INPUT, "%s:%d: %s; write rules = ( { who = \"NAME\"; … }, … );", name,
				 config_error_line(&file), config_error_text(&file));
	else
		failed = read_root(&r, config_root_setting(&file), list);
	config_destroy(&file);
	if (failed)
		access_list_free(list);
	return failed;
}

/* Returns new, or NULL. */
static char *slurp(const char *path, struct err *e)
{
	char *text = malloc(FILE_MAX + 1);
	FILE *f = fopen(path, "re");
	size_t n = f && text ? fread(text, 1, FILE_MAX, f) : 0;

	if (!f || !text || ferror(f))
		err_set(e, f ? ERR_ENV : err_of_file(errno), "cannot read the rules %s: %s", path,
			strerror(f && !text ? ENOMEM : errno));
	else if (n == FILE_MAX || memchr(text, 0, n))
		err_set(e, ERR_INPUT, "%s: this is no file of rules (binary, or longer than 1 MiB)", path);
	else
		text[n] = 0;
	if (f)
		fclose(f);
	if (!e->code)
		return text;
	free(text);
	return NULL;
}

int access_list_read(struct access_list *list, const char *path, enum frame_role self, struct err *e)
{
	struct err why = {0};
	char *text;
	int failed;

	*list = (struct access_list){0};
	if (!path[0])
		return 0;
	text = slurp(path, &why);
	if (!text)
		return err_set(e, why.code, "%s", why.text);
	failed = access_list_text(list, path, text, self, e);
	free(text);
	return failed;
}

void access_list_free(struct access_list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		option_list_clear(&list->all[i].who);
		option_list_clear(&list->all[i].models);
		option_list_clear(&list->all[i].with);
	}
	free(list->all);
	free(list->path);
	*list = (struct access_list){0};
}
