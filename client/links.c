/* SPDX-License-Identifier: Apache-2.0 */
#include <libconfig.h>

#include "client/links.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define QUEUE_MS 100.0 /* of a router's buffer, where the link does not say */
#define MOST 1e7       /* of any figure in a file: 10 Tbit/s, three hours */

const char *const link_role_names[LINK_ROLES] = {"data_owner", "model_owner", "provider"};

/* The sample file is also the default: one place for the figures. */
__asm__(".pushsection .rodata\n"
	"links_builtin:\n"
	".incbin \"conf/links.conf\"\n"
	".byte 0\n"
	".popsection\n");
extern const char links_builtin[] __attribute__((visibility("hidden")));

/* ---- one direction ---- */

static void set_delay(struct link_path *p, double ms)
{
	p->delay = ms / 1e3;
}

static void set_rtt(struct link_path *p, double ms)
{
	p->delay = ms / 2e3;
}

static void set_rate(struct link_path *p, double mbit)
{
	p->byte_rate = mbit * 1e6 / 8;
}

static void set_jitter(struct link_path *p, double ms)
{
	p->jitter = ms / 1e3;
}

static void set_loss(struct link_path *p, double percent)
{
	p->loss = percent / 100;
}

static void set_queue(struct link_path *p, double ms)
{
	p->queue = ms / 1e3;
}

enum scope { WHOLE = 1, PAIR = 2, DIRECTION = 4 };

static const struct figure {
	const char *name;
	unsigned scopes;
	double least, most;
	void (*set)(struct link_path *p, double value);
} figures[] = {
    {"rtt_ms", WHOLE | PAIR, 0, MOST, set_rtt},
    {"delay_ms", DIRECTION, 0, MOST, set_delay},
    {"mbit", WHOLE | PAIR | DIRECTION, 1e-3, MOST, set_rate},
    {"jitter_ms", WHOLE | PAIR | DIRECTION, 0, MOST, set_jitter},
    {"loss_percent", WHOLE | PAIR | DIRECTION, 0, 50, set_loss},
    {"queue_ms", WHOLE | PAIR | DIRECTION, 1, MOST, set_queue},
};
#define FIGURES (sizeof(figures) / sizeof(*figures))

static const struct figure *figure_of(const char *name, unsigned scope)
{
	for (size_t i = 0; i < FIGURES; i++)
		if ((figures[i].scopes & scope) && !strcmp(figures[i].name, name))
			return &figures[i];
	return NULL;
}

static int number_of(const struct figure *f, const config_setting_t *s, double *value)
{
	if (!config_setting_is_number(s))
		return -1;
	*value = config_setting_type(s) == CONFIG_TYPE_FLOAT ? config_setting_get_float(s)
							     : (double)config_setting_get_int64(s);
	return *value >= f->least && *value <= f->most ? 0 : -1;
}

/* Which paths a group is about. */
struct part {
	enum link_role from, to;
	unsigned scope;
};

static void apply(struct link *link, const struct part *part, const struct figure *f, double value)
{
	for (int from = 0; from < LINK_ROLES; from++)
		for (int to = 0; to < LINK_ROLES; to++) {
			int there = from == (int)part->from && to == (int)part->to,
			    back = from == (int)part->to && to == (int)part->from;

			if (from != to && (part->scope == WHOLE || there || (part->scope == PAIR && back)))
				f->set(&link->paths[from][to], value);
		}
}

/* "data_owner_to_provider", "data_owner_and_provider". */
static int part_of(struct part *part, const char *name)
{
	char text[64];

	for (int a = 0; a < LINK_ROLES; a++)
		for (int b = 0; b < LINK_ROLES; b++) {
			*part = (struct part){a, b, DIRECTION};
			snprintf(text, sizeof(text), "%s_to_%s", link_role_names[a], link_role_names[b]);
			if (a != b && !strcmp(text, name))
				return 1;
			part->scope = PAIR;
			snprintf(text, sizeof(text), "%s_and_%s", link_role_names[a], link_role_names[b]);
			if (a != b && !strcmp(text, name))
				return 1;
		}
	return 0;
}

/* Where something is wrong. */
static int wrong(const config_setting_t *s, const char *file, const char *what, struct err *e)
{
	return err_set(e, ERR_INPUT, "%s:%u: %s: %s", file, config_setting_source_line(s),
		       config_setting_name(s), what);
}

static int read_figure(struct link *link, const struct part *part, const config_setting_t *s,
		       const char *file, struct err *e)
{
	const struct figure *f = figure_of(config_setting_name(s), part->scope);
	double value;

	if (!f)
		return wrong(
		    s, file,
		    part->scope == DIRECTION
			? "of one direction there are delay_ms, mbit, jitter_ms, loss_percent, queue_ms"
			: "there are rtt_ms, mbit, jitter_ms, loss_percent, queue_ms, and parts such as "
			  "data_owner_to_provider or data_owner_and_provider",
		    e);
	if (number_of(f, s, &value)) {
		char what[64];

		snprintf(what, sizeof(what), "not a number from %g to %g", f->least, f->most);
		return wrong(s, file, what, e);
	}
	apply(link, part, f, value);
	return 0;
}

/* ---- a link ---- */

/* Plain figures first: parts differ from them wherever they stand. */
static int read_figures(struct link *link, const struct part *part, const config_setting_t *group,
			const char *file, struct err *e)
{
	for (int i = 0; i < config_setting_length(group); i++) {
		const config_setting_t *s = config_setting_get_elem(group, (unsigned)i);

		if (part->scope == WHOLE && !strcmp(config_setting_name(s), "native"))
			link->native = config_setting_get_bool(s);
		else if (!config_setting_is_group(s) && read_figure(link, part, s, file, e))
			return -1;
	}
	return 0;
}

static int read_parts(struct link *link, const config_setting_t *group, unsigned scope, const char *file,
		      struct err *e)
{
	for (int i = 0; i < config_setting_length(group); i++) {
		const config_setting_t *s = config_setting_get_elem(group, (unsigned)i);
		struct part part;

		if (!config_setting_is_group(s))
			continue;
		if (!part_of(&part, config_setting_name(s)))
			return wrong(
			    s, file,
			    "a part is ROLE_to_ROLE or ROLE_and_ROLE, of data_owner, model_owner, provider",
			    e);
		if (part.scope == scope && read_figures(link, &part, s, file, e))
			return -1;
	}
	return 0;
}

static int read_link(struct link *link, const config_setting_t *s, const char *file, struct err *e)
{
	const struct part whole = {.scope = WHOLE};

	memset(link, 0, sizeof(*link));
	snprintf(link->name, sizeof(link->name), "%s", config_setting_name(s));
	if (!config_setting_is_group(s) || !config_setting_get_member(s, "rtt_ms") ||
	    !config_setting_get_member(s, "mbit"))
		return wrong(s, file, "a link needs rtt_ms and mbit", e);
	apply(link, &whole, figure_of("queue_ms", WHOLE), QUEUE_MS);
	return read_figures(link, &whole, s, file, e) || read_parts(link, s, PAIR, file, e) ||
		       read_parts(link, s, DIRECTION, file, e)
		   ? -1
		   : 0;
}

static int unknown(const config_setting_t *root, const char *name, struct err *e)
{
	char names[256] = "";
	size_t at = 0;

	for (int i = 0; i < config_setting_length(root) && at < sizeof(names); i++)
		at += (size_t)snprintf(names + at, sizeof(names) - at, "%s%s", i ? ", " : "",
				       config_setting_name(config_setting_get_elem(root, (unsigned)i)));
	return err_set(e, ERR_USAGE, "there is no link \"%.40s\"; there are %s", name, names);
}

static int find(struct link *link, config_t *c, const char *name, const char *file, struct err *e)
{
	const config_setting_t *root, *s;

	if (!(file ? config_read_file(c, file) : config_read_string(c, links_builtin)))
		return file && config_error_type(c) == CONFIG_ERR_FILE_IO
			   ? err_set(e, err_of_file(errno), "cannot read %s: %s", file, strerror(errno))
			   : err_set(e, ERR_INPUT, "%s:%d: %s", file ? file : "conf/links.conf",
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

/* ---- time ---- */

double link_rtt(const struct link *link, enum link_role a, enum link_role b)
{
	return link->paths[a][b].delay + link->paths[b][a].delay;
}

static double transfer(const struct link_path *p, uint64_t bytes)
{
	return (double)bytes / p->byte_rate;
}

double link_online(const struct link *link, uint32_t round_trips, uint64_t there, uint64_t back)
{
	return round_trips * link_rtt(link, LINK_DATA_OWNER, LINK_MODEL_OWNER) +
	       transfer(&link->paths[LINK_DATA_OWNER][LINK_MODEL_OWNER], there) +
	       transfer(&link->paths[LINK_MODEL_OWNER][LINK_DATA_OWNER], back);
}

double link_offline(const struct link *link, uint64_t delta, uint64_t corrections)
{
	return transfer(&link->paths[LINK_DATA_OWNER][LINK_MODEL_OWNER], delta) +
	       transfer(&link->paths[LINK_PROVIDER][LINK_MODEL_OWNER], corrections);
}

static double larger(double a, double b)
{
	return a > b ? a : b;
}

/* A request takes what is online of it, or what making as many tickets takes where that is longer: δ and
 * corrections move while messages of the request before wait for each other. Seconds, of a batch of n:
 *     max(trips · RTT + n · (there / R₀₁ + back / R₁₀),  n · δ / R₀₁,  n · corrections / R₂₁) */
double link_rate(const struct link *link, const struct link_load *load, size_t batch)
{
	const struct link_path *there = &link->paths[LINK_DATA_OWNER][LINK_MODEL_OWNER],
			       *made = &link->paths[LINK_PROVIDER][LINK_MODEL_OWNER];
	double online = link_online(link, load->round_trips, load->there * batch, load->back * batch),
	       offline =
		   larger(transfer(there, load->delta * batch), transfer(made, load->corrections * batch));

	return (double)batch / larger(online, offline);
}

size_t link_batch(const struct link *link, const struct link_load *load, size_t most)
{
	size_t batch = 1;

	while (2 * batch <= most)
		batch *= 2;
	for (double best = link_rate(link, load, batch); batch > 1; batch /= 2)
		if (link_rate(link, load, batch / 2) < 0.9 * best)
			break;
	return batch;
}
