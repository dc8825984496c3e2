/* SPDX-License-Identifier: Apache-2.0 */
#include <libconfig.h>

#include "client/links.h"

#include <stdio.h>
#include <string.h>

/* The sample file is also the default: one place for the figures. */
__asm__(".pushsection .rodata\n"
	"links_builtin:\n"
	".incbin \"conf/links.conf\"\n"
	".byte 0\n"
	".popsection\n");
extern const char links_builtin[] __attribute__((visibility("hidden")));

static int read_number(const config_setting_t *s, const char *name, double *value)
{
	config_setting_t *x = config_setting_get_member(s, name);

	if (!x || !config_setting_is_number(x))
		return -1;
	*value = config_setting_type(x) == CONFIG_TYPE_FLOAT ? config_setting_get_float(x)
							     : (double)config_setting_get_int64(x);
	return *value > 0 && *value < 1e9 ? 0 : -1;
}

static int read_link(struct link *link, const config_setting_t *s, const char *file, struct err *e)
{
	double rtt_ms, mbit;

	if (!config_setting_is_group(s) || read_number(s, "rtt_ms", &rtt_ms) || read_number(s, "mbit", &mbit))
		return err_set(e, ERR_INPUT, "%s:%u: %s: a link needs rtt_ms and mbit, both above 0", file,
			       config_setting_source_line(s), config_setting_name(s));
	snprintf(link->name, sizeof(link->name), "%s", config_setting_name(s));
	link->rtt = rtt_ms / 1e3;
	link->byte_rate = mbit * 1e6 / 8;
	return 0;
}

static int unknown(const config_setting_t *root, const char *name, struct err *e)
{
	char names[256] = "";
	size_t at = 0;

	for (int i = 0; i < config_setting_length(root) && at < sizeof(names); i++)
		at += (size_t)snprintf(names + at, sizeof(names) - at, "%s%s", i ? ", " : "",
				       config_setting_name(config_setting_get_elem(root, (unsigned)i)));
	return err_set(e, ERR_USAGE, "--link: there is no link \"%.40s\"; there are %s", name, names);
}

static int find(struct link *link, config_t *c, const char *name, const char *file, struct err *e)
{
	const config_setting_t *root, *s;

	if (!(file ? config_read_file(c, file) : config_read_string(c, links_builtin)))
		return err_set(e, ERR_INPUT, "%s:%d: %s", file ? file : "conf/links.conf",
			       config_error_line(c), config_error_text(c));
	root = config_root_setting(c);
	for (int i = 0; i < config_setting_length(root); i++) {
		s = config_setting_get_elem(root, (unsigned)i);
		if (!strcmp(config_setting_name(s), name))
			return read_link(link, s, file ? file : "conf/links.conf", e);
	}
	return unknown(root, name, e);
}

int link_find(struct link *link, const char *name, const char *file, struct err *e)
{
	config_t c;
	int r;

	config_init(&c);
	r = find(link, &c, name, file, e);
	config_destroy(&c);
	return r;
}

double link_seconds(const struct link *link, uint32_t round_trips, uint64_t there, uint64_t back)
{
	return round_trips * link->rtt + (double)(there + back) / link->byte_rate;
}
