/* SPDX-License-Identifier: Apache-2.0 */
/* A policy file (libconfig): which program, on which patch level, by which root. Every message names file and
 * line. */
#include "daemon/attest_policy_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- values of fields ---- */

static int add_value(const struct reading *r, const config_setting_t *s, enum attest_field f,
		     const char *text)
{
	struct attest_policy_file *to = r->to;
	char why[80];

	if (to->policy.n_values == ATTEST_POLICY_VALUES)
		return policy_refuse(r, s, "too many values in this file");
	to->values[to->policy.n_values].field = f;
	if (!text || policy_hex(text, to->values[to->policy.n_values].bytes, attest_field_bytes(f))) {
		snprintf(why, sizeof(why), "needs strings of %zu hexadecimal digits",
			 2 * attest_field_bytes(f));
		return policy_refuse(r, s, why);
	}
	to->policy.n_values++;
	return 0;
}

static int read_field(const struct reading *r, config_setting_t *s, enum attest_field f)
{
	if (config_setting_type(s) == CONFIG_TYPE_STRING)
		return add_value(r, s, f, config_setting_get_string(s));
	if (!config_setting_is_array(s) && !config_setting_is_list(s))
		return add_value(r, s, f, NULL);
	for (int i = 0; i < config_setting_length(s); i++)
		if (add_value(r, s, f, config_setting_get_string_elem(s, i)))
			return -1;
	/* An empty list would look like a demand and be none. */
	return config_setting_length(s) ? 0
					: policy_refuse(r, s, "the list is empty: no evidence could meet it");
}

/* ---- words and roots ---- */

static int read_allow(const struct reading *r, const config_setting_t *s, const char *word)
{
	struct err why = {0};
	uint32_t allow = 0;

	if (attest_allow_list(word, &allow, &why))
		return policy_refuse(r, s, why.text);
	if (allow & 1u << ATTEST_ALLOW_SIMULATED) /* one string may have several words */
		return policy_refuse(r, s, "simulation is accepted by --accept-simulated alone, each time");
	r->to->policy.allow |= allow;
	return 0;
}

static int read_status(const struct reading *r, const config_setting_t *s, const char *word)
{
	enum tcb_status status = tcb_status_find(word, strlen(word));

	if (status == TCB_NONE)
		return policy_refuse(r, s,
				     "this is no patch level of Intel's: OutOfDate, SWHardeningNeeded, …");
	if (status == TCB_REVOKED)
		return policy_refuse(r, s,
				     "Revoked is never accepted: the keys of such a platform may be known");
	r->to->policy.tcb_accepted |= 1u << status;
	return 0;
}

/* A path in a policy is relative to the policy. */
static void path_of(const struct reading *r, const char *name, char path[1024])
{
	const char *slash = strrchr(r->path, '/');
	int folder = *name == '/' || !slash ? 0 : (int)(slash + 1 - r->path);

	snprintf(path, 1024, "%.*s%s", folder, r->path, name);
}

static int read_named(const struct reading *r, const config_setting_t *s, const char *name, struct span *file)
{
	struct err why = {0};
	char path[1024];

	path_of(r, name, path);
	return attest_file_read(path, file, &why) ? policy_refuse(r, s, why.text) : 0;
}

static int read_root_file(const struct reading *r, const config_setting_t *s, const char *name,
			  uint8_t digest[ATTEST_DIGEST])
{
	struct span file;
	int bad;

	if (read_named(r, s, name, &file))
		return -1;
	bad = attest_root_digest(file, digest);
	attest_file_free(&file);
	return bad ? policy_refuse(r, s,
				   "the file is not one certificate, nor is this the SHA-256 of a public key")
		   : 0;
}

static int add_root(const struct reading *r, const config_setting_t *s, const char *text,
		    struct attest_roots *roots, uint8_t (*keys)[ATTEST_DIGEST])
{
	if (roots->n == ATTEST_POLICY_ROOTS)
		return policy_refuse(r, s, "too many roots");
	if (policy_hex(text, keys[roots->n], ATTEST_DIGEST) && read_root_file(r, s, text, keys[roots->n]))
		return -1;
	roots->keys = (const uint8_t(*)[ATTEST_DIGEST])keys;
	roots->n++;
	return 0;
}

static int read_amd(const struct reading *r, const config_setting_t *s, const char *text)
{
	return add_root(r, s, text, &r->to->policy.amd, r->to->keys[0]);
}

static int read_intel(const struct reading *r, const config_setting_t *s, const char *text)
{
	return add_root(r, s, text, &r->to->policy.intel, r->to->keys[1]);
}

static int read_simulation(const struct reading *r, const config_setting_t *s, const char *text)
{
	return add_root(r, s, text, &r->to->policy.simulation, r->to->keys[2]);
}

/* ---- files beside the evidence ---- */

int attest_policy_chain(struct attest_policy_file *f, const char *path, struct err *e)
{
	if (f->n_chain == ATTEST_POLICY_CHAIN)
		return err_set(e, ERR_INPUT, "too many files of certificates");
	return attest_file_read(path, &f->snp_chain[f->n_chain++], e);
}

int attest_policy_collateral(struct attest_policy_file *f, const char *folder, struct err *e)
{
	if (f->has_collateral)
		attest_files_free(&f->files);
	f->has_collateral = !attest_files_read(&f->files, folder, e);
	return f->has_collateral ? 0 : -1;
}

static int read_chain(const struct reading *r, const config_setting_t *s, const char *name)
{
	struct err why = {0};
	char path[1024];

	path_of(r, name, path);
	return attest_policy_chain(r->to, path, &why) ? policy_refuse(r, s, why.text) : 0;
}

static int read_crl(const struct reading *r, const config_setting_t *s, const char *name)
{
	attest_file_free(&r->to->snp_crl);
	return read_named(r, s, name, &r->to->snp_crl);
}

static int read_collateral(const struct reading *r, const config_setting_t *s, const char *name)
{
	struct err why = {0};
	char path[1024];

	path_of(r, name, path);
	return attest_policy_collateral(r->to, path, &why) ? policy_refuse(r, s, why.text) : 0;
}

static const struct list_row {
	const char *name;
	int (*read)(const struct reading *r, const config_setting_t *s, const char *text);
	const char *example;
} list_rows[] = {
#define LIST(name, reader, example, what) {#name, reader, example},
#include "daemon/attest_policy.def"
};

static int read_list(const struct reading *r, config_setting_t *s, const struct list_row *row)
{
	char why[120];

	snprintf(why, sizeof(why), "needs a list of strings, for example %s", row->example);
	if (!config_setting_is_array(s) && !config_setting_is_list(s))
		return policy_refuse(r, s, why);
	for (int i = 0; i < config_setting_length(s); i++) {
		const char *text = config_setting_get_string_elem(s, i);

		if (!text)
			return policy_refuse(r, s, why);
		if (row->read(r, s, text))
			return -1;
	}
	return 0;
}

static const struct list_row string_rows[] = {
#define STRING(name, reader, example, what) {#name, reader, example},
#include "daemon/attest_policy.def"
};

static int read_string(const struct reading *r, config_setting_t *s, const struct list_row *row)
{
	const char *text = config_setting_get_string(s);
	char why[120];

	snprintf(why, sizeof(why), "needs a string, for example %s", row->example);
	return text && *text ? row->read(r, s, text) : policy_refuse(r, s, why);
}

/* ---- numbers ---- */

/* 1 when there is such a number, -1 when it is wrong. */
static int read_numbers(const struct reading *r, const config_setting_t *s, const char *name)
{
	struct attest_policy *p = &r->to->policy;
	uint64_t x;

	if (!strcmp(name, "boot_evidence_age"))
		return policy_number(r, s, 365 * 86400, &r->to->boot_evidence_age) ? -1 : 1;
	if (!strcmp(name, "attestation_age")) {
		if (policy_number(r, s, 365 * 86400, &r->to->attestation_age))
			return -1;
		return r->to->attestation_age
			   ? 1
			   : policy_refuse(r, s, "needs a whole number of seconds, 1 at least");
	}
	if (!strcmp(name, "min_model_version"))
		return policy_number(r, s, INT64_MAX, &r->to->min_model_version) ? -1 : 1;

#define NUMBER(key, field, most, what)                                                                       \
	if (!strcmp(name, #key)) {                                                                           \
		if (policy_number(r, s, most, &x))                                                           \
			return -1;                                                                           \
		p->field = (__typeof__(p->field))x;                                                          \
		return 1;                                                                                    \
	}
#include "daemon/attest_policy.def"
	return 0;
}

/* milan = { bootloader = 4; snp = 24; … }: what is left out is 0. */
static int read_tcb(const struct reading *r, config_setting_t *s, struct snp_tcb *t)
{
	static const char *const names[] = {"fmc", "bootloader", "tee", "snp", "microcode"};
	uint8_t *parts = &t->fmc;

	if (!config_setting_is_group(s))
		return policy_refuse(
		    r, s, "needs a group: { bootloader = 4; tee = 0; snp = 24; microcode = 219; }");
	for (int i = 0; i < config_setting_length(s); i++) {
		config_setting_t *part = config_setting_get_elem(s, (unsigned)i);
		unsigned k = 0;
		uint64_t x;

		while (k < 5 && strcmp(names[k], config_setting_name(part)))
			k++;
		if (k == 5)
			return policy_refuse(
			    r, part, "is no part of the firmware: fmc, bootloader, tee, snp, microcode");
		if (policy_number(r, part, 255, &x))
			return -1;
		parts[k] = (uint8_t)x;
	}
	return 0;
}

static int read_setting(const struct reading *r, config_setting_t *s)
{
	const char *name = config_setting_name(s);
	int found = read_numbers(r, s, name);

	if (found)
		return found < 0 ? -1 : 0;
	if (!strcmp(name, "models"))
		return policy_models(r, s, &r->to->models);
	for (size_t i = 0; i < sizeof(list_rows) / sizeof(*list_rows); i++)
		if (!strcmp(name, list_rows[i].name))
			return read_list(r, s, &list_rows[i]);
	for (size_t i = 0; i < sizeof(string_rows) / sizeof(*string_rows); i++)
		if (!strcmp(name, string_rows[i].name))
			return read_string(r, s, &string_rows[i]);
	for (unsigned p = 0; p < SNP_PRODUCTS; p++)
		if (!strcasecmp(name, snp_product_name((enum snp_product)p)))
			return read_tcb(r, s, &r->to->policy.tcb_minimum[p]);
	for (unsigned f = 0; f < ATTEST_FIELDS; f++)
		if (!strcmp(name, attest_field_word((enum attest_field)f)))
			return read_field(r, s, (enum attest_field)f);
	return policy_refuse(r, s, "there is no such setting; docs/ATTESTATION.md lists them");
}

/* ---- the file ---- */

int attest_policy_text(struct attest_policy_file *f, const char *path, struct span text, struct err *e)
{
	const struct reading r = {.to = f, .path = path, .e = e};
	char *copy;
	int bad;

	f->policy.values = f->values;
	f->attestation_age = ATTEST_AGE;
	copy = memchr(text.p, 0, text.n) ? NULL : strndup((const char *)text.p, text.n);
	if (!copy)
		return err_set(e, ERR_INPUT, "%.300s: this is no policy file (binary?)", path);
	bad = policy_parse(&r, copy, read_setting);
	free(copy);
	return bad;
}

int attest_policy_read(struct attest_policy_file *f, const char *path, struct err *e)
{
	struct span file;
	int bad;

	if (attest_file_read(path, &file, e))
		return -1;
	bad = attest_policy_text(f, path, file, e);
	attest_file_free(&file);
	return bad;
}

void attest_policy_free(struct attest_policy_file *f)
{
	while (f->n_chain)
		attest_file_free(&f->snp_chain[--f->n_chain]);
	attest_file_free(&f->snp_crl);
	if (f->has_collateral)
		attest_files_free(&f->files);
	f->has_collateral = 0;
}

int attest_models_read(const char *path, struct err *e)
{
	struct attest_models *models = malloc(sizeof(*models));
	struct span file;
	char *text;
	int bad;

	if (!models || attest_file_read(path, &file, e)) {
		free(models);
		return err_set(e, ERR_ENV, "out of memory");
	}
	text = memchr(file.p, 0, file.n) ? NULL : strndup((const char *)file.p, file.n);
	bad = text ? attest_models_text(models, path, text, e)
		   : err_set(e, ERR_INPUT, "%.300s: this names no models (binary?)", path);
	free(text);
	free(models);
	attest_file_free(&file);
	return bad;
}
