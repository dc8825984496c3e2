/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/attest/binding.h"

#include <string.h>

#include <openssl/evp.h>

#define NAME "obscura-enclave-v1"

static int digest(const EVP_MD *hash, const struct span *parts, size_t n, uint8_t *out)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	int ok = ctx && EVP_DigestInit_ex(ctx, hash, NULL);

	for (size_t i = 0; ok && i < n; i++)
		ok = EVP_DigestUpdate(ctx, parts[i].p, parts[i].n);
	ok = ok && EVP_DigestFinal_ex(ctx, out, NULL);
	EVP_MD_CTX_free(ctx);
	return ok ? 0 : -1;
}

int binding_report_data(const struct binding *b, uint8_t out[64], struct err *e)
{
	uint8_t key[48], statement[48];
	const struct span said[] = {b->policy, b->manifest};
	const struct span parts[] = {
	    {(const uint8_t *)NAME, strlen(NAME)},
	    {&b->role, 1},
	    {key, sizeof(key)},
	    {statement, sizeof(statement)},
	    {b->nonce, BINDING_NONCE},
	    {b->exporter, BINDING_NONCE},
	};

	if (digest(EVP_sha384(), &b->key, 1, key) || digest(EVP_sha384(), said, 2, statement) ||
	    digest(EVP_sha512(), parts, sizeof(parts) / sizeof(*parts), out))
		return err_set(e, ERR_ENV, "out of memory for a digest");
	return 0;
}
