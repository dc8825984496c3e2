/* SPDX-License-Identifier: Apache-2.0 */
/* The writing side of ratls.c: CBOR (RFC 8949) with definite, shortest lengths. */
#include "crypto/attest/ratls.h"

#include <string.h>

#include <openssl/evp.h>

#define TAG_TEE 60000
#define SHA256 1 /* in RFC 6920's registry; every reader knows it */

enum { CBOR_UINT = 0, CBOR_BYTES = 2, CBOR_TEXT = 3, CBOR_ARRAY = 4, CBOR_MAP = 5, CBOR_TAG = 6 };

static size_t head(uint8_t *out, unsigned major, size_t value)
{
	unsigned bytes = value < 24 ? 0 : value < 0x100 ? 1 : value < 0x10000 ? 2 : 4;

	out[0] = (uint8_t)(major << 5 | (bytes == 0 ? value : bytes == 1 ? 24u : bytes == 2 ? 25u : 26u));
	for (unsigned i = 0; i < bytes; i++)
		out[1 + i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
	return 1 + bytes;
}

static size_t string(uint8_t *out, unsigned major, const void *p, size_t n)
{
	size_t at = head(out, major, n);

	memcpy(out + at, p, n);
	return at + n;
}

/* { "pubkey-hash": bstr([ 1, bstr SHA-256(key) ]) }; report data: SHA-256(claims) ‖ 0. */
size_t ratls_claims(uint8_t out[RATLS_CLAIMS], struct span key, uint8_t report_data[64])
{
	uint8_t digest[32], pair[40];
	size_t n, at;

	if (!EVP_Digest(key.p, key.n, digest, NULL, EVP_sha256(), NULL))
		return 0;
	at = head(pair, CBOR_ARRAY, 2);
	at += head(pair + at, CBOR_UINT, SHA256);
	at += string(pair + at, CBOR_BYTES, digest, sizeof(digest));
	n = head(out, CBOR_MAP, 1);
	n += string(out + n, CBOR_TEXT, "pubkey-hash", 11);
	n += string(out + n, CBOR_BYTES, pair, at);
	memset(report_data, 0, 64);
	return EVP_Digest(out, n, report_data, NULL, EVP_sha256(), NULL) ? n : 0;
}

size_t ratls_evidence(uint8_t *out, struct span quote, struct span claims)
{
	size_t n = head(out, CBOR_TAG, TAG_TEE);

	n += head(out + n, CBOR_ARRAY, 2);
	n += string(out + n, CBOR_BYTES, quote.p, quote.n);
	return n + string(out + n, CBOR_BYTES, claims.p, claims.n);
}
