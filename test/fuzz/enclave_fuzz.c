/* SPDX-License-Identifier: Apache-2.0 */
/* What client and enclave read of one another: evidence, and a model. The first byte chooses. Everything must
 * lie in the body. */
#include "daemon/enclave_wire.h"

#include <stdlib.h>
#include <string.h>

static void inside(struct span body, struct span part)
{
	if (part.p < body.p || part.p + part.n > body.p + body.n)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span body = {data + 1, size - 1};
	char manifest[ENCLAVE_MANIFEST_MAX];
	struct enclave_evidence v;
	struct enclave_model m;
	struct err e = {0};

	if (!size)
		return 0;
	if (!(*data & 1)) {
		if (enclave_evidence_read(body, &v))
			return 0;
		inside(body, v.report);
		inside(body, v.chain);
		inside(body, v.policy);
		inside(body, v.manifest);
	} else if (!enclave_model_read(body, &m)) {
		inside(body, m.onnx);
		inside(body, m.json);
		if (!enclave_manifest(manifest, m.name, m.version, m.onnx, m.json, &e) &&
		    (strlen(manifest) < 98 || memchr(m.name.p, '\n', m.name.n)))
			abort();
	}
	return 0;
}
