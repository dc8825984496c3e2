/* SPDX-License-Identifier: Apache-2.0 */
/* obscura model provision: a model goes to an attested enclave, or the key of one that lies there sealed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/command.h"
#include "client/enclave.h"
#include "crypto/attest/sim.h"

static int read_json(const char *onnx, struct span *json, struct err *e)
{
	char path[1024];
	const char *dot = strrchr(onnx, '.');

	*json = (struct span){NULL, 0};
	snprintf(path, sizeof(path), "%.*s.json", (int)(dot ? dot - onnx : (long)strlen(onnx)), onnx);
	return access(path, F_OK) ? 0 : attest_file_read(path, json, e);
}

/* The body of PROVISION; new. */
static uint8_t *bundle(const struct enclave_model *m, size_t *n)
{
	char text[24];
	struct span parts[] = {m->name, {(const uint8_t *)text, 0}, m->onnx, m->json};
	uint8_t *out;

	parts[1].n = (size_t)snprintf(text, sizeof(text), "%llu", (unsigned long long)m->version);
	*n = 0;
	for (int i = 0; i < 4; i++)
		*n += enclave_put(NULL, parts[i]);
	out = malloc(*n);
	*n = 0;
	for (int i = 0; out && i < 4; i++)
		*n += enclave_put(out + *n, parts[i]);
	return out;
}

int provision_send(struct args *a, struct enclave *x, enum enclave_type type, struct span body, struct err *e)
{
	char text[ENCLAVE_MANIFEST_MAX];
	struct enclave_manifest m;
	struct json_object *o;
	int simulated;

	if (enclave_bring(x, type, body, text, &simulated, e))
		return -1;
	if (enclave_manifest_read((struct span){(const uint8_t *)text, strlen(text)}, &m))
		return err_set(e, ERR_PEER, "the enclave's manifest is malformed: is it of this version?");
	if (a->flag[FLAG_json]) {
		o = json_object_new_object();
		manifest_json(o, &m);
		json_object_object_add(o, "simulated", json_object_new_boolean(simulated));
		return json_line(o, e);
	}
	if (simulated)
		puts(SIM_WORDS);
	manifest_text(&m);
	return 0;
}

static int provision_model(struct args *a, const struct enclave_model *m, struct err *e)
{
	struct enclave *x = NULL;
	size_t n;
	uint8_t *body = bundle(m, &n);
	int bad = !body ? err_set(e, ERR_ENV, "out of memory")
			: enclave_open(&x, a, 'M', e) ||
			      provision_send(a, x, ENCLAVE_PROVISION, (struct span){body, n}, e);

	enclave_close(x);
	free(body);
	return bad ? -1 : 0;
}

/* name.onnx → name. */
static void model_name(const char *path, struct span *name)
{
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *dot = strrchr(base, '.');

	*name = (struct span){(const uint8_t *)base, dot ? (size_t)(dot - base) : strlen(base)};
}

/* The model itself: to be sealed, or to be sent. */
static int take_model(struct args *a, int seal, struct span onnx, uint64_t version, struct err *e)
{
	struct enclave_model m = {.onnx = onnx, .version = version};
	const char *path = a->words[1];
	int bad;

	if (seal_is(onnx))
		return err_set(e, ERR_USAGE, "%.200s is sealed: %s", path,
			       seal ? "seal the model that it was made of" : "name its --seal-key");
	model_name(path, &m.name);
	bad = read_json(path, &m.json, e) || (seal ? model_seal(a, &m, e) : provision_model(a, &m, e));
	attest_file_free(&m.json);
	return bad;
}

int model_provision(struct args *a, struct err *e)
{
	int seal = !strcmp(a->words[0], "seal"), release = !seal && a->flag[FLAG_seal_key], bad;
	struct span file = {NULL, 0};
	uint64_t version;

	if (a->n != 2 + seal)
		return err_set(
		    e, ERR_USAGE,
		    seal ? "say which: obscura model seal MODEL.onnx FILE.sealed --seal-key FILE"
			 : "say which: obscura model provision MODEL.onnx --enclave HOST:PORT --policy FILE");
	if (a->flag[FLAG_keep] && !release)
		return err_set(e, ERR_USAGE, "--keep is for the key of a sealed model: name its --seal-key");
	if (args_number(a, FLAG_version_number, release ? 0 : 1, 0, INT64_MAX, &version, e))
		return -1;
	bad = attest_file_read_most(a->words[1], ENCLAVE_BODY_MAX - 4096, &file, e) ||
	      (release ? release_sealed(a, file, version, e) : take_model(a, seal, file, version, e));
	attest_file_free(&file);
	return bad ? -1 : 0;
}
