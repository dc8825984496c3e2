/* SPDX-License-Identifier: Apache-2.0 */
/* Which models a policy accepts from an enclave, and whose:
 *
 *   models = ( { name = "digits"; digests = ["…"]; owners = ["…"]; min_version = 3; } );
 *
 * Of one list any value will do; of a model all that is named must hold. */
#include "daemon/attest_policy_parts.h"

#include <stdio.h>
#include <string.h>

#include "crypto/attest/parts.h"

#define EXAMPLE                                                                                                  \
	"needs a list of groups, for example ( { name = \"digits\"; digests = [\"…\"]; owners = [\"…\"]; } " \
	")"

/* ---- the file ---- */

static int read_name(const struct reading *r, const config_setting_t *s, struct attest_model *m)
{
	const char *name = config_setting_get_string(s);
	size_t n = name ? strlen(name) : 0;

	if (!n || n > ENCLAVE_NAME_MAX || strchr(name, '\n'))
		return policy_refuse(r, s, "needs a model's name, of 1 to 200 characters in one line");
	memcpy(m->name, name, n + 1);
	return 0;
}

/* Values of `bytes` each, one after another in out. */
static int read_values(const struct reading *r, config_setting_t *s, size_t bytes, size_t most, uint8_t *out,
		       size_t *n)
{
	int length = config_setting_is_array(s) || config_setting_is_list(s) ? config_setting_length(s) : -1;
	char why[80];

	snprintf(why, sizeof(why), "needs a list of strings of %zu hexadecimal digits", 2 * bytes);
	if (length < 0)
		return policy_refuse(r, s, why);
	if (!length)
		return policy_refuse(r, s, "the list is empty: no model could meet it");
	if ((size_t)length > most)
		return policy_refuse(r, s, "too many values for one model");
	for (int i = 0; i < length; i++) {
		const char *text = config_setting_get_string_elem(s, i);

		if (!text || policy_hex(text, out + (size_t)i * bytes, bytes))
			return policy_refuse(r, s, why);
	}
	*n = (size_t)length;
	return 0;
}

static int read_part(const struct reading *r, config_setting_t *s, struct attest_model *m)
{
	const char *name = config_setting_name(s);

	if (!strcmp(name, "name"))
		return read_name(r, s, m);
	if (!strcmp(name, "min_version"))
		return policy_number(r, s, INT64_MAX, &m->min_version);
	if (!strcmp(name, "digests"))
		return read_values(r, s, ENCLAVE_DIGEST, ATTEST_MODEL_DIGESTS, m->digests[0], &m->n_digests);
	if (!strcmp(name, "owners"))
		return read_values(r, s, ENCLAVE_OWNER, ATTEST_MODEL_OWNERS, m->owners[0], &m->n_owners);
	return policy_refuse(r, s, "is nothing that a model has: name, digests, owners, min_version");
}

static const struct attest_model *find(const struct attest_models *f, struct span name)
{
	for (size_t i = 0; i < f->n; i++)
		if (strlen(f->all[i].name) == name.n && !memcmp(f->all[i].name, name.p, name.n))
			return &f->all[i];
	return NULL;
}

static int read_model(const struct reading *r, config_setting_t *s, struct attest_models *to)
{
	struct attest_model *m = &to->all[to->n];

	if (!config_setting_is_group(s))
		return policy_refuse(r, s, EXAMPLE);
	if (to->n == ATTEST_POLICY_MODELS)
		return policy_refuse(r, s, "too many models");
	for (int i = 0; i < config_setting_length(s); i++)
		if (read_part(r, config_setting_get_elem(s, (unsigned)i), m))
			return -1;
	if (!*m->name)
		return policy_refuse(r, s, "the model has no name: add name = \"…\";");
	if (find(to, (struct span){(const uint8_t *)m->name, strlen(m->name)}))
		return policy_refuse(r, s,
				     "this model is named twice: a name stands once, with lists of values");
	/* Anybody may give a model that name, and a version. */
	if (!m->n_digests && !m->n_owners)
		return policy_refuse(r, s,
				     "a name alone demands nothing: say which digests, or whose (owners)");
	to->n++;
	return 0;
}

int policy_models(const struct reading *r, config_setting_t *s, struct attest_models *to)
{
	if (!config_setting_is_list(s))
		return policy_refuse(r, s, EXAMPLE);
	for (int i = 0; i < config_setting_length(s); i++)
		if (read_model(r, config_setting_get_elem(s, (unsigned)i), to))
			return -1;
	return config_setting_length(s) ? 0
					: policy_refuse(r, s, "the list is empty: no model could meet it");
}

/* In a file that has nothing else. */
static int read_alone(const struct reading *r, config_setting_t *s)
{
	return strcmp(config_setting_name(s), "models")
		   ? policy_refuse(r, s, "there is no such setting here: models = ( … ); alone")
		   : policy_models(r, s, r->models);
}

int attest_models_text(struct attest_models *models, const char *path, const char *text, struct err *e)
{
	const struct reading r = {.models = models, .path = path, .e = e};

	memset(models, 0, sizeof(*models));
	if (policy_parse(&r, text, read_alone))
		return -1;
	return models->n ? 0 : err_set(e, ERR_INPUT, "%.200s: it names no models: models = ( … );", path);
}

/* ---- a manifest against it ---- */

static int is_among(const uint8_t *values, size_t n, const uint8_t *value, size_t bytes)
{
	for (size_t i = 0; i < n; i++)
		if (!memcmp(values + i * bytes, value, bytes))
			return 1;
	return 0;
}

static int too_old(uint64_t least, uint64_t version, struct err *e)
{
	return version >= least
		   ? 0
		   : err_set(e, ERR_ATTEST,
			     "the enclave's model is too old: expected version %llu at least, received %llu",
			     (unsigned long long)least, (unsigned long long)version);
}

/* Of several values the first is named, and how many there are beside it. */
static int not_among(const struct enclave_manifest *m, const char *what, const char *setting,
		     const uint8_t *values, size_t n, const uint8_t *value, size_t bytes, struct err *e)
{
	char want[2 * ENCLAVE_DIGEST + 1], got[2 * ENCLAVE_DIGEST + 1] = "none", more[32] = "";

	bytes_hex(want, values, bytes);
	if (value)
		bytes_hex(got, value, bytes);
	if (n > 1)
		snprintf(more, sizeof(more), " or %zu more", n - 1);
	return err_set(
	    e, ERR_ATTEST,
	    "the enclave's model %.*s%s: expected %s%s, received %s; ask the model's owner, and add "
	    "it to %s of the policy only if it is right",
	    (int)(m->name.n < 40 ? m->name.n : 40), (const char *)m->name.p, what, want, more, got, setting);
}

static int judge(const struct attest_model *want, const struct enclave_manifest *m, struct err *e)
{
	if (want->n_owners &&
	    (!m->owned || !is_among(want->owners[0], want->n_owners, m->owner, ENCLAVE_OWNER)))
		return not_among(m, " is another owner's", "owners", want->owners[0], want->n_owners,
				 m->owned ? m->owner : NULL, ENCLAVE_OWNER, e);
	if (too_old(want->min_version, m->version, e))
		return -1;
	if (want->n_digests && !is_among(want->digests[0], want->n_digests, m->digest, ENCLAVE_DIGEST))
		return not_among(m, " is another one", "digests", want->digests[0], want->n_digests,
				 m->digest, ENCLAVE_DIGEST, e);
	return 0;
}

static int unnamed(const struct attest_models *f, struct span name, struct err *e)
{
	char want[160] = "";
	size_t at = 0;

	for (size_t i = 0; i < f->n && at < sizeof(want) - 1; i++)
		at +=
		    (size_t)snprintf(want + at, sizeof(want) - at, "%s%.40s", i ? ", " : "", f->all[i].name);
	return err_set(
	    e, ERR_ATTEST,
	    "the policy does not name the enclave's model: expected %s, received %.*s; name another "
	    "enclave, or add the model to the policy's models",
	    want, (int)(name.n < 100 ? name.n : 100), (const char *)name.p);
}

int attest_models_check(const struct attest_models *models, uint64_t least, struct span manifest,
			struct err *e)
{
	const struct attest_model *want;
	struct enclave_manifest m;

	if (manifest.n >= ENCLAVE_MANIFEST_MAX || enclave_manifest_read(manifest, &m))
		return err_set(e, ERR_PEER, "the enclave's manifest is malformed: is it of this version?");
	if (too_old(least, m.version, e))
		return -1;
	if (!models->n)
		return 0;
	want = find(models, m.name);
	return want ? judge(want, &m, e) : unnamed(models, m.name, e);
}

int attest_model_check(const struct attest_policy_file *f, struct span manifest, struct err *e)
{
	if (manifest.n)
		return attest_models_check(&f->models, f->min_model_version, manifest, e);
	if (!f->min_model_version && !f->models.n)
		return 0;
	return err_set(e, ERR_ATTEST,
		       "the policy demands a model: expected one, received no model; its owner brings it "
		       "(obscura model provision)");
}
