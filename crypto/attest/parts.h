/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/attest/parts.h — what the verifiers share; not for users of attest.h. */
#ifndef OBSCURA_CRYPTO_ATTEST_PARTS_H
#define OBSCURA_CRYPTO_ATTEST_PARTS_H

#include <openssl/x509.h>

#include "crypto/attest/attest.h"
#include "conf/err.h"

static inline uint16_t le16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t le32(const uint8_t *p)
{
	return le16(p) | (uint32_t)le16(p + 2) << 16;
}

static inline uint64_t le64(const uint8_t *p)
{
	return le32(p) | (uint64_t)le32(p + 4) << 32;
}

/* Whether all n bytes are zero; evidence is public, so time does not matter. */
int bytes_zero(const uint8_t *p, size_t n);
/* Lower-case hexadecimal with a final 0; out has 2n + 1 bytes. Returns out. */
char *bytes_hex(char *out, const uint8_t *p, size_t n);

/* Starts a result: everything zero, verdict UNCHECKED. */
void attest_begin(struct attest_result *r);
/* Sets the verdict and its detail, returns -1. */
int attest_reject(struct attest_result *r, enum attest_verdict v, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int attest_allows(const struct attest_policy *p, enum attest_allow a);
/* Copies the body and notes the kind. */
void attest_body_set(struct attest_result *r, enum attest_body kind, const uint8_t *body, size_t n);
/* The policy's demands on fields: 0, or -1 with WANT_…. */
int attest_check_values(struct attest_result *r, const struct attest_policy *p) MUST_USE;

/* ---- certificates (chain.c) ---- */

#define CHAIN_MAX 8

struct chain {
	X509 *cert[CHAIN_MAX]; /* owns */
	size_t n;
};
/* Appends the certificates of a DER or PEM file. 0 or -1 with CHAIN_FORM. */
int chain_add(struct attest_result *r, struct chain *c, struct span file) MUST_USE;
void chain_free(struct chain *c);
/* The only common name of the subject, "" when there is none. */
void chain_name(const X509 *cert, char *out, size_t bytes);
int chain_self_issued(const X509 *cert);
/* SHA-256 of the SubjectPublicKeyInfo. 0 or -1. */
int chain_key_digest(const X509 *cert, uint8_t digest[ATTEST_DIGEST]) MUST_USE;
int chain_trusted(const X509 *root, const uint8_t (*built_in)[ATTEST_DIGEST], size_t n,
		  const struct attest_roots *more);
/* leaf – middle (may be NULL) – root, which is trusted by its key: signatures (the root's own, too), names,
 * times, constraints. */
int chain_verify(struct attest_result *r, X509 *leaf, X509 *middle, X509 *root, int64_t now) MUST_USE;
/* issuer's revocation list: form, issuer, signature, time; then none of certs[0…n-1] that issuer issued is in
 * it. */
int chain_crl(struct attest_result *r, struct span file, X509 *issuer, X509 *const *certs, size_t n,
	      int64_t now) MUST_USE;
/* Content of the only extension with this OID. 1 found, 0 absent, -1 twice. */
int chain_extension(const X509 *cert, const char *oid, struct span *content);

/* ECDSA with r and s of n bytes each (big- or little-endian) over data. 0 good, -1 not. */
int ecdsa_verify(EVP_PKEY *key, const EVP_MD *hash, const uint8_t *r, const uint8_t *s, size_t n,
		 int little_endian, struct span data) MUST_USE;
/* Public P-256 key from x‖y; NULL when it is no point of the curve. Returns new. */
EVP_PKEY *p256_key(const uint8_t xy[64]);
int key_is_curve(const EVP_PKEY *key, const char *curve);

#endif
