/* SPDX-License-Identifier: Apache-2.0 */
/* Interoperable RA-TLS: a certificate whose extension 2.23.133.5.4.9 holds CBOR
 *     60000([ bstr quote, bstr claims ]),   claims = { "pubkey-hash": bstr([ alg, bstr hash ]), ? "nonce":
 * bstr, … } with report_data = SHA-256(claims) ‖ 0 …, and hash over the certificate's SubjectPublicKeyInfo:
 * so the quote vouches for the key, and whoever has the key in TLS is the enclave. Source: TCG DICE
 * attestation architecture; CCC interoperable RA-TLS. */
#include "crypto/attest/parts.h"
#include "crypto/attest/ratls.h"

#include <stdio.h>
#include <string.h>

#include <openssl/err.h>

#define OID_EVIDENCE RATLS_OID
#define TAG_TEE 60000
#define DEPTH 8

enum { CBOR_UINT, CBOR_NEGATIVE, CBOR_BYTES, CBOR_TEXT, CBOR_ARRAY, CBOR_MAP, CBOR_TAG, CBOR_SIMPLE };

struct claims {
	uint64_t algorithm;
	struct span hash, nonce;
	int has_hash, has_nonce;
};

/* ---- CBOR (RFC 8949), definite lengths ---- */

static int head(struct span *in, unsigned *major, uint64_t *value)
{
	unsigned info, bytes;

	if (!in->n)
		return -1;
	*major = *in->p >> 5;
	info = *in->p & 31;
	bytes = info < 24 ? 0 : info < 28 ? 1u << (info - 24) : 9;
	if (bytes > 8 || in->n - 1 < bytes)
		return -1;
	*value = bytes ? 0 : info;
	for (unsigned i = 1; i <= bytes; i++)
		*value = *value << 8 | in->p[i];
	in->p += 1 + bytes;
	in->n -= 1 + bytes;
	return 0;
}

static int expect(struct span *in, unsigned major, uint64_t *value)
{
	unsigned got;

	return head(in, &got, value) || got != major ? -1 : 0;
}

static int string(struct span *in, unsigned major, struct span *out)
{
	uint64_t n;

	if (expect(in, major, &n) || n > in->n)
		return -1;
	*out = (struct span){in->p, (size_t)n};
	in->p += n;
	in->n -= (size_t)n;
	return 0;
}

static int skip(struct span *in, int depth)
{
	unsigned major;
	uint64_t n;

	if (!depth || head(in, &major, &n))
		return -1;
	if (major == CBOR_BYTES || major == CBOR_TEXT) {
		if (n > in->n)
			return -1;
		in->p += n;
		in->n -= (size_t)n;
	}
	if (major < CBOR_ARRAY || major == CBOR_SIMPLE)
		return 0;
	if (major != CBOR_TAG &&
	    n > in->n) /* every element takes a byte; also bounds n before it is doubled */
		return -1;
	n = major == CBOR_TAG ? 1 : major == CBOR_MAP ? 2 * n : n;
	for (; n; n--)
		if (skip(in, depth - 1))
			return -1;
	return 0;
}

static int key_is(struct span key, const char *name)
{
	return key.n == strlen(name) && !memcmp(key.p, name, key.n);
}

static int hash_read(struct span in, struct claims *c)
{
	uint64_t n;

	return expect(&in, CBOR_ARRAY, &n) || n != 2 || expect(&in, CBOR_UINT, &c->algorithm) ||
		       string(&in, CBOR_BYTES, &c->hash) || in.n
		   ? -1
		   : 0;
}

static int claims_read(struct span in, struct claims *c)
{
	struct span key, value;
	uint64_t n;

	memset(c, 0, sizeof(*c));
	if (expect(&in, CBOR_MAP, &n))
		return -1;
	for (; n; n--) {
		if (string(&in, CBOR_TEXT, &key))
			return -1;
		if (key_is(key, "pubkey-hash")) {
			if (c->has_hash++ || string(&in, CBOR_BYTES, &value) || hash_read(value, c))
				return -1;
		} else if (key_is(key, "nonce")) {
			if (c->has_nonce++ || string(&in, CBOR_BYTES, &c->nonce))
				return -1;
		} else if (skip(&in, DEPTH)) {
			return -1;
		}
	}
	return in.n || !c->has_hash ? -1 : 0;
}

static int evidence_read(struct span in, struct span *quote, struct span *claims)
{
	uint64_t x;

	return expect(&in, CBOR_TAG, &x) || x != TAG_TEE || expect(&in, CBOR_ARRAY, &x) || x != 2 ||
		       string(&in, CBOR_BYTES, quote) || string(&in, CBOR_BYTES, claims) || in.n
		   ? -1
		   : 0;
}

/* ---- binding ---- */

static int check_claims(struct attest_result *r, struct span claims)
{
	const uint8_t *data = attest_field_get(r, ATTEST_FIELD_REPORT_DATA);
	uint8_t digest[32];

	if (!data || !EVP_Digest(claims.p, claims.n, digest, NULL, EVP_sha256(), NULL))
		return attest_reject(r, ATTEST_UNCHECKED, "no memory");
	if (memcmp(data, digest, 32) || !bytes_zero(data + 32, 32))
		return attest_reject(r, ATTEST_RATLS_CLAIMS, "%s", "");
	return 0;
}

/* Numbers of RFC 6920's registry. */
static const EVP_MD *hash_of(uint64_t algorithm)
{
	switch (algorithm) {
	case 1:
		return EVP_sha256();
	case 7:
		return EVP_sha384();
	case 8:
		return EVP_sha512();
	default:
		return NULL;
	}
}

static int check_key(struct attest_result *r, X509 *cert, const struct claims *c)
{
	const EVP_MD *hash = hash_of(c->algorithm);
	uint8_t digest[EVP_MAX_MD_SIZE], *der = NULL;
	int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der), good;
	unsigned size = 0;

	good = hash && n > 0 && EVP_Digest(der, (size_t)n, digest, &size, hash, NULL) && size == c->hash.n &&
	       !memcmp(digest, c->hash.p, size);
	OPENSSL_free(der);
	return good ? 0
		    : attest_reject(r, ATTEST_RATLS_PUBKEY, "hash algorithm %llu",
				    (unsigned long long)c->algorithm);
}

static int check_nonce(struct attest_result *r, const struct claims *c, const struct attest_policy *policy)
{
	if (!policy->nonce)
		return 0;
	if (c->has_nonce && c->nonce.n == policy->nonce_n &&
	    !memcmp(c->nonce.p, policy->nonce, policy->nonce_n))
		return 0;
	return attest_reject(r, ATTEST_RATLS_NONCE, "%s", c->has_nonce ? "another nonce" : "there is none");
}

/* The certificate itself: its times, and its signature by its own key, without which names and times could be
 * anybody's. */
static int check_certificate(struct attest_result *r, X509 *cert, int64_t now)
{
	time_t at = (time_t)now;

	if (X509_cmp_time(X509_get0_notBefore(cert), &at) != -1 ||
	    X509_cmp_time(X509_get0_notAfter(cert), &at) != 1)
		return attest_reject(r, ATTEST_CERT_TIME, "the RA-TLS certificate");
	if (X509_verify(cert, X509_get0_pubkey(cert)) != 1)
		return attest_reject(r, ATTEST_CHAIN_SIG, "the RA-TLS certificate's own signature");
	return 0;
}

static int open_certificate(struct attest_result *r, struct chain *c, struct span file, struct span *quote,
			    struct span *claims, struct claims *parsed)
{
	struct span extension;
	int found;

	if (chain_add(r, c, file) || c->n != 1)
		return attest_reject(r, ATTEST_RATLS_FORM, "expected one certificate");
	found = chain_extension(c->cert[0], OID_EVIDENCE, &extension);
	if (!found)
		return attest_reject(r, ATTEST_RATLS_NOEXT, "%s", "");
	if (found < 0 || evidence_read(extension, quote, claims) || claims_read(*claims, parsed))
		return attest_reject(r, ATTEST_RATLS_FORM, "extension " OID_EVIDENCE);
	return 0;
}

enum attest_verdict attest_verify_ratls(struct attest_result *r, struct span certificate,
					const struct span *chain, size_t n,
					const struct attest_collateral *collateral,
					const struct attest_policy *policy, int64_t now)
{
	struct span quote, claims;
	struct chain c = {.n = 0};
	struct claims parsed;

	attest_begin(r);
	if (!open_certificate(r, &c, certificate, &quote, &claims, &parsed) &&
	    attest_verify_dcap(r, quote, chain, n, collateral, policy, now) == ATTEST_OK &&
	    !check_certificate(r, c.cert[0], now) && !check_claims(r, claims) &&
	    !check_key(r, c.cert[0], &parsed))
		(void)check_nonce(r, &parsed, policy);
	chain_free(&c);
	ERR_clear_error();
	return r->verdict;
}
