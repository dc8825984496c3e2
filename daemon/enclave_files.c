/* SPDX-License-Identifier: Apache-2.0 */
/* What the model's owner wants enforced beside its model: the enclave's policy text has the digests of the
 * files that it enforces, and the evidence vouches for the text. */
#include "daemon/enclave_client.h"

#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

#include "crypto/attest/parts.h"

static int check(const char *path, const char *word, const char *what, struct span policy, struct err *e)
{
	char want[65], got[65];
	uint8_t digest[32];
	struct span file;
	int bad;

	if (!path || !*path)
		return 0;
	if (attest_file_read(path, &file, e))
		return -1;
	bad = !EVP_Digest(file.p, file.n, digest, NULL, EVP_sha256(), NULL);
	attest_file_free(&file);
	if (bad)
		return err_set(e, ERR_ENV, "out of memory for a digest");
	bytes_hex(want, digest, sizeof(digest));
	if (!enclave_policy_file(policy, word, got))
		snprintf(got, sizeof(got), "none");
	if (!strcmp(want, got))
		return 0;
	return err_set(e, ERR_ATTEST,
		       "the enclave enforces other %s than %.200s: expected SHA-256 %s, received %s", what,
		       path, want, got);
}

int enclave_files_check(const struct config *c, struct span policy, struct err *e)
{
	return check(c->access, "access", "access rules", policy, e) ||
		       check(c->revoked, "revoked", "revocations", policy, e) ||
		       check(c->enclave_owners, "owners", "owners of models", policy, e)
		   ? -1
		   : 0;
}
