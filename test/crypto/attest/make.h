/* SPDX-License-Identifier: Apache-2.0 */
/* test/crypto/attest/make.h — authorities, certificates, revocation lists and reports of our own, by OpenSSL.
 * What is asked for stands in structs, so that a test changes one thing and signs again. */
#ifndef OBSCURA_TEST_CRYPTO_ATTEST_MAKE_H
#define OBSCURA_TEST_CRYPTO_ATTEST_MAKE_H

#include <stdlib.h>
#include <string.h>

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include "crypto/attest/parts.h"

#define MAKE_NOW 1800000000 /* 2027-01-15: the time of all tests here */
#define MAKE_DAY (24 * 3600)

/* Tests and fuzz targets share these files, so there is no framework here. */
static inline void make_must(int good)
{
	if (!good)
		abort();
}

struct make_id {
	X509 *cert;
	EVP_PKEY *key;
};

struct make_extension {
	const char *oid;
	const uint8_t *bytes;
	size_t n;
};

static inline void make_id_free(struct make_id *id)
{
	X509_free(id->cert);
	EVP_PKEY_free(id->key);
	memset(id, 0, sizeof(*id));
}

static inline void make_v3(X509 *cert, int nid, const char *value)
{
	X509_EXTENSION *x = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	make_must(x && X509_add_ext(cert, x, -1));
	X509_EXTENSION_free(x);
}

static inline void make_raw(X509 *cert, const struct make_extension *e)
{
	ASN1_OBJECT *oid = OBJ_txt2obj(e->oid, 1);
	ASN1_OCTET_STRING *data = ASN1_OCTET_STRING_new();
	X509_EXTENSION *x;

	make_must(oid && data && ASN1_OCTET_STRING_set(data, e->bytes, (int)e->n));
	x = X509_EXTENSION_create_by_OBJ(NULL, oid, 0, data);
	make_must(x && X509_add_ext(cert, x, -1));
	X509_EXTENSION_free(x);
	ASN1_OCTET_STRING_free(data);
	ASN1_OBJECT_free(oid);
}

/* RSA keys sign as AMD does (PSS, SHA-384, salt 48), others with the hash of their size. */
static inline void make_sign(X509 *cert, EVP_PKEY *key)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	int rsa = EVP_PKEY_is_a(key, "RSA"), wide = rsa || EVP_PKEY_get_bits(key) > 256;
	EVP_PKEY_CTX *options;

	make_must(EVP_DigestSignInit(ctx, &options, wide ? EVP_sha384() : EVP_sha256(), NULL, key) == 1);
	if (rsa) {
		make_must(EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING) == 1);
		make_must(EVP_PKEY_CTX_set_rsa_pss_saltlen(options, 48) == 1);
	}
	make_must(X509_sign_ctx(cert, ctx) > 0);
	EVP_MD_CTX_free(ctx);
}

/* key: owned by the new identity. issuer NULL: self-signed. */
static inline struct make_id make_cert(const char *name, EVP_PKEY *key, const struct make_id *issuer, int ca,
				       const struct make_extension *more, size_t n)
{
	static long serial = 1000;
	struct make_id id = {X509_new(), key};
	X509_NAME *subject = X509_get_subject_name(id.cert);

	make_must(X509_set_version(id.cert, 2) && ASN1_INTEGER_set(X509_get_serialNumber(id.cert), ++serial));
	make_must(ASN1_TIME_set(X509_getm_notBefore(id.cert), MAKE_NOW - MAKE_DAY) &&
		  ASN1_TIME_set(X509_getm_notAfter(id.cert), MAKE_NOW + MAKE_DAY));
	make_must(X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_UTF8, (const uint8_t *)"Obscura test", -1,
					     -1, 0));
	make_must(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const uint8_t *)name, -1, -1, 0));
	make_must(X509_set_issuer_name(id.cert, issuer ? X509_get_subject_name(issuer->cert) : subject));
	make_must(X509_set_pubkey(id.cert, key));
	make_v3(id.cert, NID_basic_constraints, ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
	if (ca)
		make_v3(id.cert, NID_key_usage, "critical,keyCertSign,cRLSign");
	for (size_t i = 0; i < n; i++)
		make_raw(id.cert, &more[i]);
	make_sign(id.cert, issuer ? issuer->key : key);
	return id;
}

/* The tests' certificates are of a fixed time; what a client meets must be valid now. */
static inline void make_valid_now(struct make_id *id, const struct make_id *issuer)
{
	make_must(X509_gmtime_adj(X509_getm_notBefore(id->cert), -60) &&
		  X509_gmtime_adj(X509_getm_notAfter(id->cert), 3600));
	make_sign(id->cert, issuer->key);
}

static inline void make_digest(const struct make_id *id, uint8_t out[ATTEST_DIGEST])
{
	make_must(chain_key_digest(id->cert, out) == 0);
}

static inline struct span make_der(const struct make_id *id)
{
	uint8_t *der = NULL;
	int n = i2d_X509(id->cert, &der);

	make_must(n > 0);
	return (struct span){der, (size_t)n};
}

/* Several certificates as one PEM text. */
static inline struct span make_pem(const struct make_id *const *ids, size_t n)
{
	BIO *out = BIO_new(BIO_s_mem());
	struct span s;
	char *text;

	for (size_t i = 0; i < n; i++)
		make_must(PEM_write_bio_X509(out, ids[i]->cert));
	s.n = (size_t)BIO_get_mem_data(out, &text);
	s.p = OPENSSL_memdup(text, s.n);
	BIO_free(out);
	return s;
}

static inline void make_free(struct span *s)
{
	OPENSSL_free((void *)s->p);
	s->p = NULL;
	s->n = 0;
}

/* A revocation list of the issuer with one revoked certificate, or none. */
static inline struct span make_crl(const struct make_id *issuer, X509 *revoked, int64_t from, int64_t to)
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *t = ASN1_TIME_new();
	uint8_t *der = NULL;
	int n;

	make_must(X509_CRL_set_version(crl, 1) &&
		  X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer->cert)));
	make_must(ASN1_TIME_set(t, from) && X509_CRL_set1_lastUpdate(crl, t));
	make_must(ASN1_TIME_set(t, to) && X509_CRL_set1_nextUpdate(crl, t));
	if (revoked) {
		X509_REVOKED *entry = X509_REVOKED_new();

		make_must(X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(revoked)) &&
			  X509_REVOKED_set_revocationDate(entry, t) && X509_CRL_add0_revoked(crl, entry));
	}
	make_must(X509_CRL_sign(crl, issuer->key,
				EVP_PKEY_is_a(issuer->key, "RSA") ? EVP_sha384() : EVP_sha256()) > 0);
	n = i2d_X509_CRL(crl, &der);
	make_must(n > 0);
	ASN1_TIME_free(t);
	X509_CRL_free(crl);
	return (struct span){der, (size_t)n};
}

/* r and s of n bytes each, big- or little-endian. */
static inline void make_ecdsa(EVP_PKEY *key, const uint8_t *data, size_t size, uint8_t *r, uint8_t *s, int n,
			      int little)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t der[160];
	const uint8_t *at = der;
	size_t length = sizeof(der);
	ECDSA_SIG *sig;

	make_must(EVP_DigestSignInit(ctx, NULL, EVP_PKEY_get_bits(key) > 256 ? EVP_sha384() : EVP_sha256(),
				     NULL, key) == 1);
	make_must(EVP_DigestSign(ctx, der, &length, data, size) == 1);
	sig = d2i_ECDSA_SIG(NULL, &at, (long)length);
	make_must((little ? BN_bn2lebinpad : BN_bn2binpad)(ECDSA_SIG_get0_r(sig), r, n) == n);
	make_must((little ? BN_bn2lebinpad : BN_bn2binpad)(ECDSA_SIG_get0_s(sig), s, n) == n);
	ECDSA_SIG_free(sig);
	EVP_MD_CTX_free(ctx);
}

static inline void make_le(uint8_t *p, uint64_t x, int n)
{
	for (int i = 0; i < n; i++)
		p[i] = (uint8_t)(x >> 8 * i);
}

#endif
