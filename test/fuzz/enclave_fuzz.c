/* SPDX-License-Identifier: Apache-2.0 */
/* What client and enclave read of one another: evidence, a model, the policy text in the evidence, a request,
 * an answer, a manifest. The first byte chooses. Everything must lie in the body. */
#include "daemon/enclave_wire.h"
#include "wire.pb-c.h"

#include <stdlib.h>
#include <string.h>

static void inside(struct span body, struct span part)
{
	if (part.p < body.p || part.p + part.n > body.p + body.n)
		abort();
}

static void evidence(struct span body)
{
	struct enclave_evidence v;

	if (enclave_evidence_read(body, &v))
		return;
	inside(body, v.report);
	inside(body, v.chain);
	inside(body, v.policy);
	inside(body, v.manifest);
}

static void manifest_of(struct enclave_model *m)
{
	char text[ENCLAVE_MANIFEST_MAX];
	struct enclave_manifest read;
	struct err e = {0};

	if (enclave_manifest(text, m, &e))
		return;
	if (enclave_manifest_read((struct span){(const uint8_t *)text, strlen(text)}, &read) ||
	    read.version != m->version || read.name.n != m->name.n ||
	    memcmp(read.name.p, m->name.p, m->name.n) || !read.owned)
		abort();
}

static void manifest(struct span body)
{
	struct enclave_manifest m;

	if (enclave_manifest_read(body, &m))
		return;
	inside(body, m.name);
	if (memchr(m.name.p, '\n', m.name.n))
		abort();
}

static void model(struct span body)
{
	struct enclave_model m = {.version = 0};

	if (enclave_model_read(body, &m))
		return;
	inside(body, m.onnx);
	inside(body, m.json);
	manifest_of(&m);
}

static void policy(struct span body)
{
	uint8_t release[ENCLAVE_RELEASE_KEY];
	char hex[65];

	if (enclave_policy_release(body, release))
		return;
	if (enclave_policy_file(body, "access", hex) && strspn(hex, "0123456789abcdef") != 64)
		abort();
	if (enclave_policy_file(body, "owners", hex) && strlen(hex) != 64)
		abort();
	if (enclave_policy_file(body, "revoked", hex) && strlen(hex) != 64)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span body = {data + 1, size - 1};
	Wire__Classified *answer = NULL;
	Wire__Classify *request = NULL;

	if (!size)
		return 0;
	switch (*data % 6) {
	case 0:
		evidence(body);
		break;
	case 1:
		model(body);
		break;
	case 2:
		policy(body);
		break;
	case 5:
		manifest(body);
		break;
	case 3:
		request = wire__classify__unpack(NULL, body.n, body.p);
		break;
	default:
		answer = wire__classified__unpack(NULL, body.n, body.p);
	}
	if (request)
		wire__classify__free_unpacked(request, NULL);
	if (answer)
		wire__classified__free_unpacked(answer, NULL);
	return 0;
}
