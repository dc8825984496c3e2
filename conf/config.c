/* SPDX-License-Identifier: Apache-2.0 */
/* Defaults, flags and the meaning of every option; libconfig files are read by config_file.c. */
#include "conf/config_table.h"
#include "conf/text.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LABEL 400 /* bytes of "FILE:LINE: name" */

const struct option_row option_rows[] = {
#define OPTION(type, name, value, roles, metavar, help)                                                      \
	{#name,                                                                                              \
	 value,                                                                                              \
	 roles,                                                                                              \
	 metavar,                                                                                            \
	 help,                                                                                               \
	 OPTION_##type,                                                                                      \
	 offsetof(struct config, name),                                                                      \
	 offsetof(struct config, origin.name)},
#include "conf/options.def"
#undef OPTION
};
const size_t option_count = sizeof(option_rows) / sizeof(*option_rows);

static const struct limit {
	size_t field;
	uint64_t least, most;
} limits[] = {
#define LIMIT(name, least, most) {offsetof(struct config, name), least, most},
#include "conf/limits.def"
#undef LIMIT
};

static const struct role_row roles[] = {
    {'D', "data-owner", "", "data-owner"},
    {'M', "model-owner", "127.0.0.1:7402", "model-owner"},
    {'C', "provider", "127.0.0.1:7403", "provider"},
    {'L', "command line", "", "data-owner"},
};

const struct role_row *role_row(char letter)
{
	for (size_t i = 0; i < sizeof(roles) / sizeof(*roles); i++)
		if (roles[i].letter == letter)
			return &roles[i];
	return NULL;
}

static void *field(struct config *c, const struct option_row *row)
{
	return (char *)c + row->field;
}

char **option_origin_of(struct config *c, const struct option_row *row)
{
	return (char **)((char *)c + row->origin);
}

static const struct option_row *row_named(const char *name)
{
	for (size_t i = 0; i < option_count; i++)
		if (!strcmp(option_rows[i].name, name))
			return &option_rows[i];
	return NULL;
}

static int same_name(const char *row, const char *name, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (row[i] != (name[i] == '-' ? '_' : name[i]))
			return 0;
	return row[n] == 0;
}

static int unknown_option(const struct config *c, const char *name, size_t n, const char *origin,
			  struct err *e)
{
	const char *near = NULL;
	size_t best = 4;

	for (size_t i = 0; i < option_count; i++) {
		size_t d = strchr(option_rows[i].roles, c->role) ? text_distance(option_rows[i].name, name, n)
								 : TEXT_FAR;

		if (d < best) {
			best = d;
			near = option_rows[i].name;
		}
	}
	if (near)
		return err_set(e, ERR_INPUT, "%s: %.*s: there is no such option; did you mean %s?", origin,
			       (int)(n < 64 ? n : 64), name, near);
	return err_set(e, ERR_INPUT, "%s: %.*s: there is no such option; --help lists all", origin,
		       (int)(n < 64 ? n : 64), name);
}

const struct option_row *option_find(const struct config *c, const char *name, size_t n, const char *origin,
				     struct err *e)
{
	for (size_t i = 0; i < option_count; i++) {
		const struct option_row *row = &option_rows[i];

		if (!same_name(row->name, name, n))
			continue;
		if (strchr(row->roles, c->role))
			return row;
		err_set(e, ERR_INPUT, "%s: %s: the %s does not use this option; remove it", origin, row->name,
			role_row(c->role)->name);
		return NULL;
	}
	unknown_option(c, name, n, origin, e);
	return NULL;
}

void option_list_clear(struct config_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		free(list->items[i]);
	free(list->items);
	list->items = NULL;
	list->n = 0;
}

int option_list_add(struct config_list *list, const char *item, size_t n, struct err *e)
{
	char **items = reallocarray(list->items, list->n + 1, sizeof(*items));

	if (!items)
		return err_set(e, ERR_ENV, "out of memory");
	list->items = items;
	items[list->n] = strndup(item, n);
	if (!items[list->n])
		return err_set(e, ERR_ENV, "out of memory");
	list->n++;
	return 0;
}

static int set_list(struct config_list *list, const char *text, struct err *e)
{
	option_list_clear(list);
	while (*text) {
		size_t n = strcspn(text, ",");

		if (n && option_list_add(list, text, n, e))
			return -1;
		text += n + (text[n] == ',');
	}
	return 0;
}

static int set_number(uint64_t *value, const char *text)
{
	char *end;

	if (!isdigit((unsigned char)*text))
		return -1;
	errno = 0;
	*value = strtoull(text, &end, 10);
	return *end || errno ? -1 : 0;
}

static int set_flag(int *value, const char *text)
{
	static const char *const words[] = {"no", "yes", "false", "true", "off", "on", "0", "1"};

	for (int i = 0; i < 8; i++)
		if (!strcmp(text, words[i])) {
			*value = i & 1;
			return 0;
		}
	return -1;
}

int option_origin(struct config *c, const struct option_row *row, const char *origin, struct err *e)
{
	char *copy = strdup(origin);

	if (!copy)
		return err_set(e, ERR_ENV, "out of memory");
	free(*option_origin_of(c, row));
	*option_origin_of(c, row) = copy;
	return 0;
}

const char *option_label(const struct option_row *row, const char *origin, char *buffer, size_t bytes)
{
	snprintf(buffer, bytes, !strncmp(origin, "--", 2) ? "%s" : "%s: %s", origin, row->name);
	return buffer;
}

int option_set(struct config *c, const struct option_row *row, const char *text, const char *origin,
	       struct err *e)
{
	void *f = field(c, row);
	char *copy, label[LABEL];

	switch (row->type) {
	case OPTION_STRING:
		copy = strdup(text);
		if (!copy)
			return err_set(e, ERR_ENV, "out of memory");
		free(*(char **)f);
		*(char **)f = copy;
		break;
	case OPTION_LIST:
		if (set_list(f, text, e))
			return -1;
		break;
	case OPTION_NUMBER:
		if (set_number(f, text))
			return err_set(e, ERR_INPUT, "%s: \"%.40s\" is not a whole number from 0 upwards",
				       option_label(row, origin, label, sizeof(label)), text);
		break;
	case OPTION_FLAG:
		if (set_flag(f, text))
			return err_set(e, ERR_INPUT, "%s: \"%.40s\" is neither yes nor no",
				       option_label(row, origin, label, sizeof(label)), text);
		break;
	}
	return option_origin(c, row, origin, e);
}

/* The default of an option that depends on the role: listen, certificate, key. */
static const char *role_default(const struct role_row *role, const struct option_row *row, char *buffer,
				size_t bytes)
{
	if (!strcmp(row->name, "listen"))
		return role->listen;
	if (strcmp(row->name, "certificate") && strcmp(row->name, "key"))
		return row->value;
	snprintf(buffer, bytes, "/etc/obscura/pki/%s.%s", role->identity, *row->name == 'k' ? "key" : "pem");
	return buffer;
}

int config_defaults(struct config *c, char role, struct err *e)
{
	const struct role_row *r = role_row(role);
	char buffer[64];

	memset(c, 0, sizeof(*c));
	if (!r)
		return err_set(e, ERR_USAGE, "there is no role '%c'", role);
	c->role = role;
	for (size_t i = 0; i < option_count; i++) {
		const char *text = role_default(r, &option_rows[i], buffer, sizeof(buffer));

		if (option_set(c, &option_rows[i], text, "default", e)) {
			config_free(c);
			return -1;
		}
	}
	return 0;
}

int config_flag(struct config *c, const char *flag, struct err *e)
{
	const char *name = flag + (strncmp(flag, "--", 2) ? 0 : 2);
	size_t n = strcspn(name, "=");
	const struct option_row *row;
	char origin[80];

	snprintf(origin, sizeof(origin), "--%.*s", (int)(n < 60 ? n : 60), name);
	for (char *p = origin; *p; p++)
		if (*p == '_')
			*p = '-';
	row = option_find(c, name, n, "command line", e);
	if (row && !name[n] && row->type != OPTION_FLAG)
		return err_set(e, ERR_USAGE, "%s needs a value: %s=%s", origin, origin, row->metavar);
	if (row && !option_set(c, row, name[n] ? name + n + 1 : "yes", origin, e))
		return 0;
	if (e && e->code == ERR_INPUT)
		e->code = ERR_USAGE;
	return -1;
}

/* ---- what belongs together ---- */

/* "host:port", "[v6]:port"; port 0 only where one listens (the system then picks a free one). */
static int check_address(const char *text, int listens, const char **reason)
{
	const char *colon = strrchr(text, ':');
	uint64_t port;

	*reason = "write it as HOST:PORT";
	if (!colon || colon == text)
		return -1;
	if (*text == '[' ? colon[-1] != ']' : memchr(text, ':', (size_t)(colon - text)) != NULL) {
		*reason = "write an IPv6 address as [ADDRESS]:PORT";
		return -1;
	}
	*reason = "the port is a number from 1 to 65535";
	return set_number(&port, colon + 1) || port > 65535 || (!port && !listens) ? -1 : 0;
}

static int in_choices(const char *choices, char between, const char *text)
{
	const char stop[] = {between, 0};
	size_t n = strlen(text);

	for (const char *p = choices; *p; p += strcspn(p, stop), p += *p == between)
		if (strcspn(p, stop) == n && !strncmp(p, text, n))
			return 1;
	return 0;
}

static int check_string(const struct option_row *row, const char *text, const char *label, struct err *e)
{
	const char *reason;

	if (strchr(row->metavar, '|') && !strstr(row->metavar, "NAME") &&
	    !in_choices(row->metavar, '|', text))
		return err_set(e, ERR_INPUT, "%s: \"%.60s\" is none of %s", label, text, row->metavar);
	if (!*text && strstr(row->name, "_listen"))
		return 0; /* nowhere */
	if (!strcmp(row->metavar, "HOST:PORT") &&
	    check_address(text, strstr(row->name, "listen") != NULL, &reason))
		return err_set(e, ERR_INPUT, "%s: \"%.80s\" is no address; %s", label, text, reason);
	return 0;
}

/* Where the metavar lists words, and not examples, only they may stand in the list. */
static int check_list(const struct option_row *row, const struct config_list *list, const char *label,
		      struct err *e)
{
	if (strstr(row->metavar, "…"))
		return 0;
	for (size_t i = 0; i < list->n; i++)
		if (!in_choices(row->metavar, ',', list->items[i]))
			return err_set(e, ERR_INPUT, "%s: \"%.60s\" is none of %s", label, list->items[i],
				       row->metavar);
	return 0;
}

static int check_number(const struct option_row *row, uint64_t value, const char *label, struct err *e)
{
	for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++)
		if (limits[i].field == row->field && (value < limits[i].least || value > limits[i].most))
			return err_set(e, ERR_INPUT, "%s: %llu is outside %llu to %llu", label,
				       (unsigned long long)value, (unsigned long long)limits[i].least,
				       (unsigned long long)limits[i].most);
	return 0;
}

static int check_value(const struct config *c, const struct option_row *row, struct err *e)
{
	const void *f = (const char *)c + row->field;
	char label[LABEL];

	option_label(row, *option_origin_of((struct config *)(uintptr_t)c, row), label, sizeof(label));
	switch (row->type) {
	case OPTION_STRING:
		return check_string(row, *(char *const *)f, label, e);
	case OPTION_LIST:
		return check_list(row, f, label, e);
	case OPTION_NUMBER:
		return check_number(row, *(const uint64_t *)f, label, e);
	case OPTION_FLAG:
		break;
	}
	return 0;
}

/* Addresses in numbers that are no loopback need a token; names are looked up when the role starts. */
static int check_http(const struct config *c, struct err *e)
{
	const char *at = c->http_listen, *colon = strrchr(at, ':');
	size_t n = colon ? (size_t)(colon - at) : 0;
	struct in6_addr v6;
	struct in_addr v4;
	char host[64], label[LABEL];
	int foreign = 0;

	if (!n || n >= sizeof(host) || *c->http_token_file)
		return 0;
	memcpy(host, at + (*at == '['), n - 2 * (*at == '['));
	host[n - 2 * (*at == '[')] = 0;
	if (inet_pton(AF_INET, host, &v4) == 1)
		foreign = ntohl(v4.s_addr) >> 24 != 127;
	else if (inet_pton(AF_INET6, host, &v6) == 1)
		foreign = !IN6_IS_ADDR_LOOPBACK(&v6);
	return foreign ? err_set(e, ERR_INPUT,
				 "%s: %s can be reached from other hosts, so requests need a "
				 "token: write one "
				 "into a file and name it with http_token_file, or listen on 127.0.0.1",
				 option_label(row_named("http_listen"), c->origin.http_listen, label,
					      sizeof(label)),
				 at)
		       : 0;
}

static int check_all(const struct config *c, struct err *e)
{
	char label[LABEL];

	for (size_t i = 0; i < option_count; i++)
		if (strchr(option_rows[i].roles, c->role) && check_value(c, &option_rows[i], e))
			return -1;
	if (strchr("DL", c->role) && c->pool_high && c->pool_low > c->pool_high)
		return err_set(e, ERR_INPUT, "%s: %llu is more than pool_high = %llu (%s); lower it",
			       option_label(row_named("pool_low"), c->origin.pool_low, label, sizeof(label)),
			       (unsigned long long)c->pool_low, (unsigned long long)c->pool_high,
			       c->origin.pool_high);
	return c->role == 'D' ? check_http(c, e) : 0;
}

int config_check(const struct config *c, struct err *e)
{
	if (!check_all(c, e))
		return 0;
	if (e && e->code == ERR_INPUT && !strncmp(e->text, "--", 2)) /* the command line, no file */
		e->code = ERR_USAGE;
	return -1;
}

/* ---- a role that runs takes a new configuration ---- */

static size_t field_bytes(const struct option_row *row)
{
	static const size_t bytes[] = {sizeof(config_STRING), sizeof(config_LIST), sizeof(config_NUMBER),
				       sizeof(config_FLAG)};

	return bytes[row->type];
}

static int same_value(const struct option_row *row, const void *a, const void *b)
{
	const struct config_list *x = a, *y = b;

	if (row->type == OPTION_STRING)
		return !strcmp(*(char *const *)a, *(char *const *)b);
	if (row->type != OPTION_LIST)
		return !memcmp(a, b, field_bytes(row));
	for (size_t i = 0; i < x->n && i < y->n; i++)
		if (strcmp(x->items[i], y->items[i]))
			return 0;
	return x->n == y->n;
}

static void swap(void *a, void *b, size_t bytes)
{
	uint8_t t[sizeof(config_LIST)];

	memcpy(t, a, bytes);
	memcpy(a, b, bytes);
	memcpy(b, t, bytes);
}

size_t config_adopt(struct config *c, struct config *next, char *kept, size_t bytes)
{
	size_t n = 0;

	if (bytes)
		*kept = 0;
	for (size_t i = 0; i < option_count; i++) {
		const struct option_row *row = &option_rows[i];
		void *old = field(c, row), *new = field(next, row);
		size_t at = bytes ? strlen(kept) : 0;

		if (strchr(row->roles, '*')) {
			swap(old, new, field_bytes(row));
			swap(option_origin_of(c, row), option_origin_of(next, row), sizeof(char *));
		} else if (strchr(row->roles, c->role) && !same_value(row, old, new)) {
			snprintf(kept + at, bytes - at, "%s%s", n++ ? ", " : "", row->name);
		}
	}
	return n;
}

void config_free(struct config *c)
{
	for (size_t i = 0; i < option_count; i++) {
		const struct option_row *row = &option_rows[i];

		if (row->type == OPTION_STRING)
			free(*(char **)field(c, row));
		if (row->type == OPTION_LIST)
			option_list_clear(field(c, row));
		free(*option_origin_of(c, row));
	}
	memset(c, 0, sizeof(*c));
}
