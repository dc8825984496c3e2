/* SPDX-License-Identifier: Apache-2.0 */
#include "client/certificate.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BACKDATE_SECONDS 300 /* clocks of hosts differ */
#define SERIAL_BYTES 16

void identity_free(struct identity *id)
{
	X509_free(id->certificate);
	EVP_PKEY_free(id->key);
	memset(id, 0, sizeof(*id));
}

static int openssl_failed(struct err *e, const char *what)
{
	unsigned long code = ERR_get_error();
	const char *why = code ? ERR_reason_error_string(code) : NULL;

	ERR_clear_error();
	return err_set(e, ERR_ENV, "cannot %s: %s", what, why ? why : "OpenSSL failed");
}

/* ---- making ---- */

int host_check(const char *host, struct err *e)
{
	unsigned char address[16];
	size_t n = strlen(host), label = 0;

	if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
		return 0;
	if (!n || n > 253)
		return err_set(e, ERR_USAGE, "\"%.80s\" is no host: a name has 1 to 253 characters", host);
	for (size_t i = 0; i < n; i++) {
		int dot = host[i] == '.', hyphen = host[i] == '-',
		    edge = !label || i + 1 == n || host[i + 1] == '.';

		if ((!dot && !hyphen && !isalnum((unsigned char)host[i])) ||
		    (dot && (!label || i + 1 == n)) || (hyphen && edge) || label > 63)
			return err_set(
			    e, ERR_USAGE,
			    "\"%.80s\" is no host name and no address (write it without port and without [])",
			    host);
		label = dot ? 0 : label + 1;
	}
	if (strspn(host, "0123456789.") == n)
		return err_set(e, ERR_USAGE, "\"%.80s\" is no address: four numbers from 0 to 255 are", host);
	return 0;
}

static int set_serial(X509 *c)
{
	unsigned char bytes[SERIAL_BYTES];
	BIGNUM *n = NULL;
	int ok;

	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		return 0;
	bytes[0] = (unsigned char)((bytes[0] & 0x7f) | 0x40); /* positive, and always 16 bytes long */
	n = BN_bin2bn(bytes, sizeof(bytes), NULL);
	ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(c));
	BN_free(n);
	return ok;
}

static int add_extension(X509 *c, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *x;
	int ok;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, issuer, c, NULL, NULL, 0);
	x = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = x && X509_add_ext(c, x, -1);
	X509_EXTENSION_free(x);
	return ok;
}

static int add_name(X509_NAME *name, const char *field, const char *value)
{
	return X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, (const unsigned char *)value, -1, -1,
					  0);
}

/* Everything that both kinds have. */
static int begin(struct identity *id, const char *cn, const char *ou, unsigned days)
{
	X509 *c = id->certificate = X509_new();
	X509_NAME *name;

	id->key = EVP_EC_gen("P-256");
	if (!c || !id->key || !X509_set_version(c, X509_VERSION_3) || !set_serial(c) ||
	    !X509_set_pubkey(c, id->key))
		return 0;
	if (!X509_gmtime_adj(X509_getm_notBefore(c), -BACKDATE_SECONDS) ||
	    !X509_time_adj_ex(X509_getm_notAfter(c), (int)days, 0, NULL))
		return 0;
	name = X509_get_subject_name(c);
	return add_name(name, "O", "Obscura") && (!ou || add_name(name, "OU", ou)) &&
	       add_name(name, "CN", cn);
}

int authority_make(struct identity *ca, unsigned days, struct err *e)
{
	memset(ca, 0, sizeof(*ca));
	if (begin(ca, "Obscura authority", NULL, days)) {
		X509 *c = ca->certificate;

		if (X509_set_issuer_name(c, X509_get_subject_name(c)) &&
		    add_extension(c, c, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
		    add_extension(c, c, NID_key_usage, "critical,keyCertSign,cRLSign") &&
		    add_extension(c, c, NID_subject_key_identifier, "hash") &&
		    X509_sign(c, ca->key, EVP_sha256()))
			return 0;
	}
	identity_free(ca);
	return openssl_failed(e, "make an authority");
}

/* "DNS:a,IP:1.2.3.4"; hosts have passed host_check, so that no comma or colon of theirs means anything else.
 * Returns new. */
static char *alternatives(char *const *hosts, int n)
{
	char *text = NULL;
	unsigned char address[16];

	for (int i = 0; i < n; i++) {
		int ip =
		    inet_pton(AF_INET, hosts[i], address) == 1 || inet_pton(AF_INET6, hosts[i], address) == 1;
		char *longer;
		int r = asprintf(&longer, "%s%s%s:%s", text ? text : "", text ? "," : "", ip ? "IP" : "DNS",
				 hosts[i]);

		free(text);
		if (r < 0)
			return NULL;
		text = longer;
	}
	return text;
}

static int leaf(struct identity *id, const struct identity *ca, const char *names)
{
	X509 *c = id->certificate;

	return X509_set_issuer_name(c, X509_get_subject_name(ca->certificate)) &&
	       add_extension(c, ca->certificate, NID_basic_constraints, "critical,CA:FALSE") &&
	       add_extension(c, ca->certificate, NID_key_usage, "critical,digitalSignature") &&
	       add_extension(c, ca->certificate, NID_ext_key_usage, "serverAuth,clientAuth") &&
	       add_extension(c, ca->certificate, NID_subject_alt_name, names) &&
	       add_extension(c, ca->certificate, NID_subject_key_identifier, "hash") &&
	       add_extension(c, ca->certificate, NID_authority_key_identifier, "keyid") &&
	       X509_sign(c, ca->key, EVP_sha256());
}

int identity_make(struct identity *id, const struct identity *ca, const char *role, char *const *hosts, int n,
		  unsigned days, struct err *e)
{
	char *names = alternatives(hosts, n);
	int ok;

	memset(id, 0, sizeof(*id));
	if (n < 1 || strlen(hosts[0]) > 64) {
		free(names);
		return err_set(
		    e, ERR_USAGE,
		    "the first host becomes the certificate's common name, which has 1 to 64 characters");
	}
	ok = names && begin(id, hosts[0], role, days) && leaf(id, ca, names);
	free(names);
	if (ok)
		return 0;
	identity_free(id);
	return openssl_failed(e, "make a certificate");
}

/* ---- files ---- */

/* Opens a temporary file beside path; publish() gives it its name. */
static FILE *draft(const char *path, char *temporary, size_t bytes, mode_t mode, struct err *e)
{
	int fd, n = snprintf(temporary, bytes, "%s.XXXXXX", path);
	FILE *f;

	if (n < 0 || (size_t)n >= bytes) {
		err_set(e, ERR_INPUT, "the path is too long: %.80s…", path);
		return NULL;
	}
	fd = mkostemp(temporary, O_CLOEXEC); /* 0600 */
	if (fd < 0 || fchmod(fd, mode) || !(f = fdopen(fd, "w"))) {
		err_set(e, ERR_ENV, "cannot write %s: %s", path, strerror(errno));
		if (fd >= 0) {
			close(fd);
			unlink(temporary);
		}
		return NULL;
	}
	return f;
}

/* link() refuses to replace a file, atomically; rename() replaces it. */
static int publish(FILE *f, const char *temporary, const char *path, int ok, int replace, struct err *e)
{
	int r = -1;

	ok = ok && !fflush(f) && !fsync(fileno(f));
	if (fclose(f) || !ok)
		err_set(e, ERR_ENV, "cannot write %s: %s", path, strerror(errno));
	else if (!replace && link(temporary, path))
		errno == EEXIST
		    ? err_set(e, ERR_INPUT, "%s exists; nothing was changed (--force replaces it)", path)
		    : err_set(e, ERR_ENV, "cannot write %s: %s", path, strerror(errno));
	else if (replace && rename(temporary, path))
		err_set(e, ERR_ENV, "cannot write %s: %s", path, strerror(errno));
	else
		r = 0;
	unlink(temporary);
	return r;
}

int certificate_write(const char *path, X509 *c, int replace, struct err *e)
{
	char temporary[4096];
	FILE *f = draft(path, temporary, sizeof(temporary), 0644, e);

	return f ? publish(f, temporary, path, PEM_write_X509(f, c), replace, e) : -1;
}

int key_write(const char *path, EVP_PKEY *key, int replace, struct err *e)
{
	char temporary[4096];
	FILE *f = draft(path, temporary, sizeof(temporary), 0600, e);

	return f ? publish(f, temporary, path, PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL),
			   replace, e)
		 : -1;
}

int revocation_write(const char *path, X509_CRL *list, struct err *e)
{
	char temporary[4096];
	FILE *f = draft(path, temporary, sizeof(temporary), 0644, e);

	return f ? publish(f, temporary, path, PEM_write_X509_CRL(f, list), 1, e) : -1;
}

static FILE *open_pem(const char *path, struct err *e)
{
	FILE *f = fopen(path, "re");

	if (!f)
		err_set(e, errno == EACCES ? ERR_ENV : ERR_INPUT, "cannot read %s: %s", path,
			strerror(errno));
	return f;
}

int certificate_read(const char *path, X509 **c, struct err *e)
{
	FILE *f = open_pem(path, e);

	*c = NULL;
	if (!f)
		return -1;
	*c = PEM_read_X509(f, NULL, NULL, NULL);
	fclose(f);
	ERR_clear_error();
	return *c ? 0 : err_set(e, ERR_INPUT, "%s: this is no PEM certificate", path);
}

int revocation_read(const char *path, X509_CRL **list, struct err *e)
{
	FILE *f = open_pem(path, e);

	*list = NULL;
	if (!f)
		return -1;
	*list = PEM_read_X509_CRL(f, NULL, NULL, NULL);
	fclose(f);
	ERR_clear_error();
	return *list ? 0 : err_set(e, ERR_INPUT, "%s: this is no PEM revocation list", path);
}

static int no_password(char *buffer, int size, int writing, void *ctx)
{
	return 0;
}

int key_read(const char *path, EVP_PKEY **key, struct err *e)
{
	FILE *f = open_pem(path, e);

	*key = NULL;
	if (!f)
		return -1;
	*key = PEM_read_PrivateKey(f, NULL, no_password, NULL);
	fclose(f);
	ERR_clear_error();
	return *key ? 0 : err_set(e, ERR_INPUT, "%s: this is no PEM private key without password", path);
}

/* ---- reading ---- */

static void printable(char *text)
{
	for (; *text; text++)
		if (!isprint((unsigned char)*text))
			*text = '?';
}

const char *certificate_field(X509 *c, int nid, char *text, size_t bytes)
{
	*text = 0;
	X509_NAME_get_text_by_NID(X509_get_subject_name(c), nid, text, (int)bytes);
	printable(text);
	return text;
}

const char *certificate_hosts(X509 *c, char *text, size_t bytes)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(c, NID_subject_alt_name, NULL, NULL);
	size_t at = 0;

	*text = 0;
	for (int i = 0; i < sk_GENERAL_NAME_num(names) && at < bytes; i++) {
		GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		char address[INET6_ADDRSTRLEN] = "?";
		const ASN1_STRING *s = name->type == GEN_DNS || name->type == GEN_IPADD ? name->d.ia5 : NULL;
		const char *one = address;
		int n;

		if (s && name->type == GEN_IPADD)
			inet_ntop(ASN1_STRING_length(s) == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(s),
				  address, sizeof(address));
		else if (s)
			one = (const char *)ASN1_STRING_get0_data(s);
		n = s && name->type == GEN_DNS ? ASN1_STRING_length(s) : (int)strlen(one);
		at += (size_t)snprintf(text + at, bytes - at, "%s%.*s", i ? ", " : "", n, one);
	}
	GENERAL_NAMES_free(names);
	printable(text);
	return text;
}

const char *certificate_serial(X509 *c, char *text, size_t bytes)
{
	BIGNUM *n = ASN1_INTEGER_to_BN(X509_get0_serialNumber(c), NULL);
	char *hex = n ? BN_bn2hex(n) : NULL;

	snprintf(text, bytes, "%s", hex ? hex : "?");
	OPENSSL_free(hex);
	BN_free(n);
	return text;
}

const char *certificate_until(X509 *c, char *text, size_t bytes)
{
	struct tm tm;

	if (!ASN1_TIME_to_tm(X509_get0_notAfter(c), &tm) || !strftime(text, bytes, "%Y-%m-%d", &tm))
		snprintf(text, bytes, "?");
	return text;
}

int certificate_days_left(X509 *c)
{
	int days = 0, seconds = 0;

	if (!ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(c)))
		return -1;
	return seconds < 0 ? days - 1 : days;
}

static int verify_for(X509_STORE *store, X509 *c, int purpose, struct err *e)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	int ok;

	if (!ctx || !X509_STORE_CTX_init(ctx, store, c, NULL)) {
		X509_STORE_CTX_free(ctx);
		return openssl_failed(e, "check a certificate");
	}
	X509_STORE_CTX_set_purpose(ctx, purpose);
	ok = X509_verify_cert(ctx) == 1;
	if (!ok)
		err_set(e, ERR_RESULT, "%s", X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
	X509_STORE_CTX_free(ctx);
	ERR_clear_error();
	return ok ? 0 : -1;
}

int certificate_verify(X509 *c, X509 *ca, struct err *e)
{
	X509_STORE *store = X509_STORE_new();
	int r = -1;

	if (!store || !X509_STORE_add_cert(store, ca))
		openssl_failed(e, "check a certificate");
	else
		r = verify_for(store, c, X509_PURPOSE_SSL_SERVER, e) ||
			    verify_for(store, c, X509_PURPOSE_SSL_CLIENT, e)
			? -1
			: 0;
	X509_STORE_free(store);
	return r;
}
