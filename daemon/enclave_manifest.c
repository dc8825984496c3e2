/* SPDX-License-Identifier: Apache-2.0 */
/* Which model an enclave holds, and whose: the text that its evidence vouches for. */
#include "daemon/enclave_wire.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "crypto/attest/parts.h"

#define OWNER "owner "
#define VERSION_DIGITS 19

static int digest_of(const struct enclave_model *m, uint8_t digest[ENCLAVE_DIGEST])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	int ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha384(), NULL) &&
		 EVP_DigestUpdate(ctx, m->onnx.p, m->onnx.n) && EVP_DigestUpdate(ctx, m->json.p, m->json.n) &&
		 EVP_DigestFinal_ex(ctx, digest, NULL);

	EVP_MD_CTX_free(ctx);
	return ok ? 0 : -1;
}

int enclave_manifest(char out[ENCLAVE_MANIFEST_MAX], const struct enclave_model *m, struct err *e)
{
	char digest[2 * ENCLAVE_DIGEST + 1], owner[2 * ENCLAVE_OWNER + 1];
	uint8_t bytes[ENCLAVE_DIGEST];

	if (digest_of(m, bytes))
		return err_set(e, ERR_ENV, "out of memory for a digest");
	if (!m->name.n || m->name.n > ENCLAVE_NAME_MAX || memchr(m->name.p, '\n', m->name.n) ||
	    memchr(m->name.p, 0, m->name.n))
		return err_set(e, ERR_INPUT, "a model's name has 1 to %d characters in one line",
			       ENCLAVE_NAME_MAX);
	/* No byte of an ONNX file's outermost level is '{' (protobuf: a group), so that one digest has one
	 * border between model and JSON. */
	if (m->json.n && *m->json.p != '{')
		return err_set(e, ERR_INPUT, "the JSON beside a model must begin with { in its first byte");
	bytes_hex(digest, bytes, sizeof(bytes));
	bytes_hex(owner, m->owner, sizeof(m->owner));
	snprintf(out, ENCLAVE_MANIFEST_MAX, "%.*s\n%llu\n%s\n" OWNER "%s\n", (int)m->name.n,
		 (const char *)m->name.p, (unsigned long long)m->version, digest, owner);
	return 0;
}

/* One line, without its end. */
static int take_line(struct span *rest, struct span *line)
{
	const uint8_t *end = rest->n ? memchr(rest->p, '\n', rest->n) : NULL;

	if (!end)
		return -1;
	*line = (struct span){rest->p, (size_t)(end - rest->p)};
	rest->n -= line->n + 1;
	rest->p = end + 1;
	return 0;
}

static int read_version(struct span line, uint64_t *version)
{
	*version = 0;
	if (!line.n || line.n > VERSION_DIGITS)
		return -1;
	for (size_t i = 0; i < line.n; i++) {
		if (line.p[i] < '0' || line.p[i] > '9')
			return -1;
		*version = *version * 10 + (uint64_t)(line.p[i] - '0');
	}
	return 0;
}

static int read_hex(struct span line, uint8_t *out, size_t n)
{
	size_t got = 0;

	return line.n == 2 * n && !sodium_hex2bin(out, n, (const char *)line.p, line.n, NULL, &got, NULL) &&
		       got == n
		   ? 0
		   : -1;
}

int enclave_manifest_read(struct span text, struct enclave_manifest *m)
{
	const size_t word = strlen(OWNER);
	struct span version, digest, owner;

	memset(m, 0, sizeof(*m));
	if (take_line(&text, &m->name) || take_line(&text, &version) || take_line(&text, &digest) ||
	    !m->name.n || m->name.n > ENCLAVE_NAME_MAX || memchr(m->name.p, 0, m->name.n) ||
	    read_version(version, &m->version) || read_hex(digest, m->digest, sizeof(m->digest)))
		return -1;
	if (!text.n) /* of an enclave that does not say whose it is */
		return 0;
	if (take_line(&text, &owner) || text.n || owner.n < word || memcmp(owner.p, OWNER, word))
		return -1;
	m->owned = 1;
	return read_hex((struct span){owner.p + word, owner.n - word}, m->owner, sizeof(m->owner));
}

static int owner_of(const uint8_t *der, int n, uint8_t owner[ENCLAVE_OWNER])
{
	return n > 0 && EVP_Digest(der, (size_t)n, owner, NULL, EVP_sha256(), NULL) ? 0 : -1;
}

int enclave_owner_certificate(const X509 *certificate, uint8_t owner[ENCLAVE_OWNER])
{
	uint8_t *der = NULL;
	int n = certificate ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der) : -1,
	    bad = owner_of(der, n, owner);

	OPENSSL_free(der);
	return bad;
}

int enclave_owner_key(const uint8_t key[32], uint8_t owner[ENCLAVE_OWNER])
{
	EVP_PKEY *pair = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, 32);
	uint8_t *der = NULL;
	int n = pair ? i2d_PUBKEY(pair, &der) : -1, bad = owner_of(der, n, owner);

	OPENSSL_free(der);
	EVP_PKEY_free(pair);
	return bad;
}
