/* SPDX-License-Identifier: Apache-2.0 */
/* test/daemon/certs.h — authorities and certificates of a test, in a folder of its own: NAME.pem and
 * NAME.key. */
#ifndef OBSCURA_TEST_DAEMON_CERTS_H
#define OBSCURA_TEST_DAEMON_CERTS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

static char certs_dir[64];

struct certs_pair {
	X509 *cert;
	EVP_PKEY *key;
};

/* The path of a file of the folder: one of a few static buffers. */
static char *certs_path(const char *name, const char *suffix)
{
	static char paths[16][160];
	static int at;
	char *path = paths[at++ % 16];

	snprintf(path, sizeof(paths[0]), "%s/%s%s", certs_dir, name, suffix);
	return path;
}

static int certs_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *x;
	int ok;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	x = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = x && X509_add_ext(cert, x, -1);
	X509_EXTENSION_free(x);
	return ok ? 0 : -1;
}

static int certs_save(const char *name, const struct certs_pair *p)
{
	FILE *c = fopen(certs_path(name, ".pem"), "w"), *k = fopen(certs_path(name, ".key"), "w");
	int ok = c && k && PEM_write_X509(c, p->cert) &&
		 PEM_write_PrivateKey(k, p->key, NULL, NULL, 0, NULL, NULL);

	if (c)
		fclose(c);
	if (k)
		fclose(k);
	return ok && !chmod(certs_path(name, ".key"), 0600) ? 0 : -1;
}

/* issuer NULL: an authority. role is the OU, hosts a subjectAltName ("DNS:localhost,IP:127.0.0.1"); valid
 * from and to are seconds from now. */
static int certs_make(struct certs_pair *p, const struct certs_pair *issuer, const char *name,
		      const char *role, const char *hosts, long from, long to)
{
	static long serial;
	X509_NAME *subject;
	int bad;

	p->key = EVP_EC_gen("P-256");
	p->cert = X509_new();
	if (!p->key || !p->cert)
		return -1;
	if (!issuer)
		issuer = p;
	subject = X509_get_subject_name(p->cert);
	bad = !X509_set_version(p->cert, 2) || !ASN1_INTEGER_set(X509_get_serialNumber(p->cert), ++serial) ||
	      !X509_gmtime_adj(X509_getm_notBefore(p->cert), from) ||
	      !X509_gmtime_adj(X509_getm_notAfter(p->cert), to) ||
	      !X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const uint8_t *)name, -1, -1, 0) ||
	      (role &&
	       !X509_NAME_add_entry_by_txt(subject, "OU", MBSTRING_UTF8, (const uint8_t *)role, -1, -1, 0)) ||
	      !X509_set_issuer_name(p->cert, X509_get_subject_name(issuer->cert)) ||
	      !X509_set_pubkey(p->cert, p->key);
	if (!bad && !role)
		bad =
		    certs_extension(p->cert, p->cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
		    certs_extension(p->cert, p->cert, NID_key_usage, "critical,keyCertSign,cRLSign");
	if (!bad && role)
		bad = certs_extension(p->cert, issuer->cert, NID_subject_alt_name, hosts) ||
		      certs_extension(p->cert, issuer->cert, NID_ext_key_usage, "serverAuth,clientAuth");
	return bad || !X509_sign(p->cert, issuer->key, EVP_sha256()) || certs_save(name, p) ? -1 : 0;
}

static void certs_free(struct certs_pair *p)
{
	X509_free(p->cert);
	EVP_PKEY_free(p->key);
}

#define CERTS_HOSTS "DNS:localhost,IP:127.0.0.1"
#define CERTS_YEAR (365L * 24 * 3600)

/* Two authorities "ca" and "other", the three roles of "ca", and what is wrong in one way each. */
static int certs_all(void)
{
	static const struct {
		const char *name, *role, *hosts;
		int other;
		long from, to;
	} rows[] = {
	    {"data-owner", "data-owner", CERTS_HOSTS, 0, -60, CERTS_YEAR},
	    {"model-owner", "model-owner", CERTS_HOSTS, 0, -60, CERTS_YEAR},
	    {"provider", "provider", CERTS_HOSTS, 0, -60, CERTS_YEAR},
	    {"stranger", "data-owner", CERTS_HOSTS, 1, -60, CERTS_YEAR},
	    {"strange-server", "model-owner", CERTS_HOSTS, 1, -60, CERTS_YEAR},
	    {"expired", "data-owner", CERTS_HOSTS, 0, -CERTS_YEAR, -60},
	    {"expired-server", "model-owner", CERTS_HOSTS, 0, -CERTS_YEAR, -60},
	    {"elsewhere", "model-owner", "DNS:mo.example,IP:10.9.8.7", 0, -60, CERTS_YEAR},
	};
	struct certs_pair ca, other, p;
	int bad;

	strcpy(certs_dir, "/tmp/obscura-net-XXXXXX");
	if (!mkdtemp(certs_dir) || certs_make(&ca, NULL, "ca", NULL, NULL, -60, CERTS_YEAR) ||
	    certs_make(&other, NULL, "other", NULL, NULL, -60, CERTS_YEAR))
		return -1;
	bad = 0;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bad |= certs_make(&p, rows[i].other ? &other : &ca, rows[i].name, rows[i].role, rows[i].hosts,
				  rows[i].from, rows[i].to);
		certs_free(&p);
	}
	certs_free(&ca);
	certs_free(&other);
	return bad;
}

static int certs_remove(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", certs_dir);
	return system(command);
}

#endif
