/* SPDX-License-Identifier: Apache-2.0 */
/* The enclave's key and certificate: made here at each start, and never leaves. Clients trust the evidence,
 * not this certificate; where the evidence is an Intel quote, the certificate carries one of boot time as
 * well (RA-TLS). */
#include <stdio.h>
#include <stdlib.h>

#include <openssl/x509v3.h>

#include "crypto/attest/ratls.h"
#include "daemon/enclave_parts.h"

#define YEAR (365L * 24 * 3600)

static X509 *bare(EVP_PKEY *key)
{
	X509 *cert = X509_new();
	X509_NAME *name = cert ? X509_get_subject_name(cert) : NULL;

	if (cert && X509_set_version(cert, 2) && ASN1_INTEGER_set(X509_get_serialNumber(cert), 1) &&
	    X509_gmtime_adj(X509_getm_notBefore(cert), -ENCLAVE_CLOCK_SLACK) &&
	    X509_gmtime_adj(X509_getm_notAfter(cert), YEAR) &&
	    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const uint8_t *)"obscura-enclave", -1, -1,
				       0) &&
	    X509_set_issuer_name(cert, name) && X509_set_pubkey(cert, key))
		return cert;
	X509_free(cert);
	return NULL;
}

static int add_extension(X509 *cert, const uint8_t *p, size_t n)
{
	ASN1_OBJECT *oid = OBJ_txt2obj(RATLS_OID, 1);
	ASN1_OCTET_STRING *content = ASN1_OCTET_STRING_new();
	X509_EXTENSION *x = NULL;
	int ok = oid && content && ASN1_OCTET_STRING_set(content, p, (int)n);

	if (ok)
		x = X509_EXTENSION_create_by_OBJ(NULL, oid, 0, content);
	ok = x && X509_add_ext(cert, x, -1);
	X509_EXTENSION_free(x);
	ASN1_OCTET_STRING_free(content);
	ASN1_OBJECT_free(oid);
	return ok ? 0 : -1;
}

/* 1 when the certificate has evidence of boot time; 0 when this hardware has none of that form, or cannot say
 * now: then clients get evidence for their connection, or hear why not. */
static int embed(X509 *cert, struct span key, enclave_ask_quote *ask)
{
	struct quoted *q = malloc(sizeof(*q));
	uint8_t claims[RATLS_CLAIMS], data[64], *content = NULL;
	size_t n = ratls_claims(claims, key, data);
	struct err e = {0};
	int done = 0;

	if (q && n && !ask(data, q, &e) && q->kind == ENCLAVE_DCAP) {
		content = malloc(q->report_n + n + 16);
		if (content)
			done = !add_extension(cert, content,
					      ratls_evidence(content, (struct span){q->bytes, q->report_n},
							     (struct span){claims, n}));
	}
	if (e.code)
		fprintf(stderr, "obscura-enclave: no evidence in the certificate: %s\n", e.text);
	free(content);
	free(q);
	return done;
}

int enclave_identity(SSL_CTX *tls, enclave_ask_quote *boot, struct span *key, int *ratls, struct err *e)
{
	EVP_PKEY *pair = EVP_EC_gen("P-256");
	X509 *cert = pair ? bare(pair) : NULL;
	uint8_t *der = NULL;
	int n = cert ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der) : -1, ok = n > 0;

	*key = (struct span){der, ok ? (size_t)n : 0};
	*ratls = ok && boot && embed(cert, *key, boot);
	ok = ok && X509_sign(cert, pair, EVP_sha256()) && SSL_CTX_use_certificate(tls, cert) == 1 &&
	     SSL_CTX_use_PrivateKey(tls, pair) == 1;
	X509_free(cert);
	EVP_PKEY_free(pair);
	return ok ? 0 : err_set(e, ERR_ENV, "cannot make a key and a certificate");
}
