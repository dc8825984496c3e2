/* SPDX-License-Identifier: Apache-2.0 */
/* A policy file. What is accepted must not allow more than any file may: no simulation, no revoked platform,
 * no field that does not exist; and a model that it names it names once, with
 * a demand. */
#include "daemon/attest.h"

#include <stdlib.h>
#include <string.h>

/* libconfig 1.5 itself loses the text of a string that a syntax error interrupts. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libconfig";
}

static void models_in_bounds(const struct attest_models *models)
{
	if (models->n > ATTEST_POLICY_MODELS)
		abort();
	for (size_t i = 0; i < models->n; i++) {
		const struct attest_model *m = &models->all[i];

		if (!*m->name || memchr(m->name, '\n', strlen(m->name)) || !(m->n_digests + m->n_owners) ||
		    m->n_digests > ATTEST_MODEL_DIGESTS || m->n_owners > ATTEST_MODEL_OWNERS)
			abort();
		for (size_t j = 0; j < i; j++)
			if (!strcmp(m->name, models->all[j].name))
				abort();
	}
}

static void in_bounds(const struct attest_policy_file *f)
{
	const struct attest_policy *p = &f->policy;

	if (p->allow >> ATTEST_ALLOWS || p->allow & 1u << ATTEST_ALLOW_SIMULATED ||
	    p->tcb_accepted & 1u << TCB_REVOKED || p->values != f->values ||
	    p->n_values > ATTEST_POLICY_VALUES || p->amd.n > ATTEST_POLICY_ROOTS ||
	    p->intel.n > ATTEST_POLICY_ROOTS || p->simulation.n > ATTEST_POLICY_ROOTS)
		abort();
	for (size_t i = 0; i < p->n_values; i++)
		if (p->values[i].field >= ATTEST_FIELDS)
			abort();
	models_in_bounds(&f->models);
}

/* As the enclave reads its own file: what is accepted names a model. */
static void models_alone(const uint8_t *data, size_t size)
{
	static struct attest_models models;
	char *text = memchr(data, 0, size) ? NULL : strndup((const char *)data, size);
	struct err e = {0};

	if (text && !attest_models_text(&models, "owners", text, &e)) {
		models_in_bounds(&models);
		if (!models.n)
			abort();
	} else if (text && (!e.code || !*e.text)) {
		abort();
	}
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct attest_policy_file f;
	struct err e = {0};

	if (size > ATTEST_FILE_MAX || memmem(data, size, "\"/", 2)) /* no file of this host is to be opened */
		return 0;
	memset(&f, 0, sizeof(f));
	if (!attest_policy_text(&f, "/nowhere/policy.conf", (struct span){data, size}, &e))
		in_bounds(&f);
	else if (!e.code || !*e.text)
		abort();
	attest_policy_free(&f);
	models_alone(data, size);
	return 0;
}
