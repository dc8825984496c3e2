/* SPDX-License-Identifier: Apache-2.0 */
/* Settings of a policy file, and of one that has models alone: what both are read with. */
#include "daemon/attest_policy_parts.h"

#include <stdio.h>
#include <string.h>

int policy_refuse(const struct reading *r, const config_setting_t *s, const char *why)
{
	const char *name = config_setting_name(s);

	return err_set(r->e, ERR_INPUT, "%.200s:%u: %s%s%s", r->path, config_setting_source_line(s),
		       name ? name : "", name ? ": " : "", why);
}

int policy_hex(const char *text, uint8_t *out, size_t n)
{
	if (strlen(text) != 2 * n || strspn(text, "0123456789abcdefABCDEF") != 2 * n)
		return -1;
	for (size_t i = 0; i < n; i++)
		sscanf(text + 2 * i, "%2hhx", &out[i]);
	return 0;
}

int policy_number(const struct reading *r, const config_setting_t *s, uint64_t most, uint64_t *value)
{
	int type = config_setting_type(s);
	long long x = type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64 ? config_setting_get_int64(s) : -1;
	char why[80];

	*value = (uint64_t)x;
	if (x >= 0 && (uint64_t)x <= most)
		return 0;
	snprintf(why, sizeof(why), "needs a whole number from 0 to %llu", (unsigned long long)most);
	return policy_refuse(r, s, why);
}

int policy_parse(const struct reading *r, const char *text, policy_setting *read)
{
	config_setting_t *root;
	config_t file;
	int bad = 0;

	if (strstr(text, "@include"))
		return err_set(r->e, ERR_INPUT, "%.200s: @include is not supported: a policy is one file",
			       r->path);
	if (strstr(text, "\\x00")) /* what follows it in a string would not be seen */
		return err_set(r->e, ERR_INPUT, "%.200s: \\x00 has no place in a policy", r->path);
	config_init(&file);
	if (!config_read_string(&file, text)) {
		err_set(r->e, ERR_INPUT, "%.200s:%d: %s; write one setting a line: name = value;", r->path,
			config_error_line(&file), config_error_text(&file));
		config_destroy(&file);
		return -1;
	}
	root = config_root_setting(&file);
	for (int i = 0; !bad && i < config_setting_length(root); i++)
		bad = read(r, config_setting_get_elem(root, (unsigned)i));
	config_destroy(&file);
	return bad;
}
