/* SPDX-License-Identifier: Apache-2.0 */
/* client/certificate.h — P-256 keys and certificates of a small authority; by OpenSSL. */
#ifndef OBSCURA_CLIENT_CERTIFICATE_H
#define OBSCURA_CLIENT_CERTIFICATE_H

#include <openssl/x509.h>
#include "conf/err.h"

/* What the daemons look for: subject CN = first host, OU = role, subjectAltName = all hosts, both TLS usages.
 */
struct identity {
	X509 *certificate; /* owns */
	EVP_PKEY *key;	   /* owns; NULL when only the certificate was read */
};
void identity_free(struct identity *id);

/* A new authority: path length 0, valid for `days`. */
int authority_make(struct identity *ca, unsigned days, struct err *e) MUST_USE;
/* A certificate for role ("data-owner" …) and n hosts (names or addresses), signed by ca. */
int identity_make(struct identity *id, const struct identity *ca, const char *role, char *const *hosts, int n,
		  unsigned days, struct err *e) MUST_USE;
/* A host name (letters, digits, hyphens, dots) or an IPv4 or IPv6 address. */
int host_check(const char *host, struct err *e) MUST_USE;

/* PEM files. A key file is created 0600. Existing files are refused unless replace; then they are replaced
 * whole. */
int certificate_write(const char *path, X509 *c, int replace, struct err *e) MUST_USE;
int key_write(const char *path, EVP_PKEY *key, int replace, struct err *e) MUST_USE;
int certificate_read(const char *path, X509 **c, struct err *e) MUST_USE;
int key_read(const char *path, EVP_PKEY **key, struct err *e) MUST_USE;

/* Revocation lists (revocation.c). The next one: what was on `before` (NULL: nothing), and n serial numbers.
 */
int revocation_make(X509_CRL **list, const struct identity *ca, X509_CRL *before,
		    const ASN1_INTEGER *const *serials, int n, unsigned days, struct err *e) MUST_USE;
int revocation_has(X509_CRL *list, X509 *c); /* list NULL: no */
int revocation_verify(X509_CRL *list, X509 *ca, struct err *e) MUST_USE;
int revocation_serial(const char *hex, ASN1_INTEGER **serial, struct err *e) MUST_USE;
int revocation_read(const char *path, X509_CRL **list, struct err *e) MUST_USE;
int revocation_write(const char *path, X509_CRL *list, struct err *e) MUST_USE; /* replaces it whole */

/* Texts for people; returned text fits the buffer. */
const char *certificate_field(X509 *c, int nid, char *text,
			      size_t bytes);			   /* of the subject; "" when absent */
const char *certificate_hosts(X509 *c, char *text, size_t bytes);  /* "a, b" */
const char *certificate_serial(X509 *c, char *text, size_t bytes); /* hexadecimal */
const char *certificate_until(X509 *c, char *text, size_t bytes);  /* "2026-05-01" */
int certificate_days_left(X509 *c);				   /* negative: expired so many days ago */
/* Whether c is what ca signed, now valid, and fit for both ends of TLS; the reason otherwise. */
int certificate_verify(X509 *c, X509 *ca, struct err *e) MUST_USE;

#endif
