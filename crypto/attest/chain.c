/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates and revocation lists by OpenSSL, with a verdict of ours for each of its reasons. */
#include "crypto/attest/parts.h"

#include <pthread.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

/* An encrypted PEM block would make OpenSSL ask the terminal for a password. */
static int no_password(char *buffer, int size, int writing, void *ctx)
{
	return -1;
}

static int is_pem(struct span file)
{
	return file.n >= 11 && memmem(file.p, file.n, "-----BEGIN ", 11) && *file.p != 0x30;
}

static int append(struct attest_result *r, struct chain *c, X509 *cert)
{
	if (c->n < CHAIN_MAX) {
		c->cert[c->n++] = cert;
		return 0;
	}
	X509_free(cert);
	return attest_reject(r, ATTEST_CHAIN_ROLE, "more than %d certificates", CHAIN_MAX);
}

static int add_pem(struct attest_result *r, struct chain *c, struct span file)
{
	BIO *in = BIO_new_mem_buf(file.p, (int)file.n);
	size_t before = c->n;
	X509 *cert;
	int bad = 0, at_end;

	if (!in)
		return attest_reject(r, ATTEST_UNCHECKED, "no memory");
	ERR_clear_error();
	while (!bad && (cert = PEM_read_bio_X509(in, NULL, no_password, NULL)))
		bad = append(r, c, cert);
	at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
	ERR_clear_error();
	BIO_free(in);
	if (bad)
		return -1;
	return at_end && c->n > before ? 0
				       : attest_reject(r, ATTEST_CHAIN_FORM, "PEM certificate %zu", c->n + 1);
}

static int read_file(struct attest_result *r, struct chain *c, struct span file)
{
	const uint8_t *at = file.p;
	X509 *cert;

	if (file.n > ATTEST_EVIDENCE_MAX)
		return attest_reject(r, ATTEST_CHAIN_FORM, "certificates of %zu bytes", file.n);
	if (is_pem(file))
		return add_pem(r, c, file);
	cert = file.n ? d2i_X509(NULL, &at, (long)file.n) : NULL;
	ERR_clear_error();
	if (cert && at == file.p + file.n)
		return append(r, c, cert);
	X509_free(cert);
	return attest_reject(r, ATTEST_CHAIN_FORM, "this is neither PEM nor one DER certificate");
}

/* The last file of certificates that could be read: an enclave sends the same with each connection, and to
 * decode a key of P-384 costs as much as to verify with it. */
static pthread_mutex_t last_lock = PTHREAD_MUTEX_INITIALIZER;
static struct chain last;
static uint8_t last_digest[32];

/* 1: c has them. */
static int take_last(struct chain *c, const uint8_t digest[32])
{
	int found;

	pthread_mutex_lock(&last_lock);
	found = last.n && !memcmp(last_digest, digest, sizeof(last_digest)) && c->n + last.n <= CHAIN_MAX;
	for (size_t i = 0; found && i < last.n; i++) {
		X509_up_ref(last.cert[i]);
		c->cert[c->n++] = last.cert[i];
	}
	pthread_mutex_unlock(&last_lock);
	return found;
}

/* Those from `first` on. */
static void keep_last(const struct chain *c, size_t first, const uint8_t digest[32])
{
	pthread_mutex_lock(&last_lock);
	chain_free(&last);
	for (size_t i = first; i < c->n; i++) {
		X509_up_ref(c->cert[i]);
		last.cert[last.n++] = c->cert[i];
	}
	memcpy(last_digest, digest, sizeof(last_digest));
	pthread_mutex_unlock(&last_lock);
}

int chain_add(struct attest_result *r, struct chain *c, struct span file)
{
	size_t first = c->n;
	uint8_t digest[32];
	int known = file.n && file.n <= ATTEST_EVIDENCE_MAX &&
		    EVP_Digest(file.p, file.n, digest, NULL, EVP_sha256(), NULL);

	if (known && take_last(c, digest))
		return 0;
	if (read_file(r, c, file))
		return -1;
	if (known)
		keep_last(c, first, digest);
	return 0;
}

void chain_free(struct chain *c)
{
	while (c->n)
		X509_free(c->cert[--c->n]);
}

void chain_name(const X509 *cert, char *out, size_t bytes)
{
	X509_NAME *name = X509_get_subject_name(cert);
	int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
	const ASN1_STRING *text;

	*out = 0;
	if (at < 0 || X509_NAME_get_index_by_NID(name, NID_commonName, at) >= 0)
		return;
	text = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
	if (ASN1_STRING_length(text) <= 0 || (size_t)ASN1_STRING_length(text) >= bytes)
		return;
	memcpy(out, ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text));
	out[ASN1_STRING_length(text)] = 0;
}

int chain_self_issued(const X509 *cert)
{
	return !X509_NAME_cmp(X509_get_subject_name(cert), X509_get_issuer_name(cert));
}

int chain_key_digest(const X509 *cert, uint8_t digest[ATTEST_DIGEST])
{
	uint8_t *der = NULL;
	int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der), ok;

	ok = n > 0 && EVP_Digest(der, (size_t)n, digest, NULL, EVP_sha256(), NULL);
	OPENSSL_free(der);
	return ok ? 0 : -1;
}

int attest_root_digest(struct span certificate, uint8_t digest[ATTEST_DIGEST])
{
	struct attest_result unused;
	struct chain c = {.n = 0};
	int bad = chain_add(&unused, &c, certificate) || c.n != 1 || chain_key_digest(c.cert[0], digest);

	chain_free(&c);
	return bad ? -1 : 0;
}

int chain_trusted(const X509 *root, const uint8_t (*built_in)[ATTEST_DIGEST], size_t n,
		  const struct attest_roots *more)
{
	uint8_t digest[ATTEST_DIGEST];

	if (chain_key_digest(root, digest))
		return 0;
	for (size_t i = 0; i < n; i++)
		if (!memcmp(built_in[i], digest, sizeof(digest)))
			return 1;
	for (size_t i = 0; i < more->n; i++)
		if (!memcmp(more->keys[i], digest, sizeof(digest)))
			return 1;
	return 0;
}

static enum attest_verdict verdict_of(int reason)
{
	switch (reason) {
	case X509_V_ERR_CERT_SIGNATURE_FAILURE:
	case X509_V_ERR_UNABLE_TO_DECRYPT_CERT_SIGNATURE:
	case X509_V_ERR_UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY:
	case X509_V_ERR_SIGNATURE_ALGORITHM_MISMATCH:
	case X509_V_ERR_SIGNATURE_ALGORITHM_INCONSISTENCY:
		return ATTEST_CHAIN_SIG;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
		return ATTEST_CHAIN_NAME;
	case X509_V_ERR_CERT_NOT_YET_VALID:
	case X509_V_ERR_CERT_HAS_EXPIRED:
	case X509_V_ERR_ERROR_IN_CERT_NOT_BEFORE_FIELD:
	case X509_V_ERR_ERROR_IN_CERT_NOT_AFTER_FIELD:
		return ATTEST_CERT_TIME;
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
		return ATTEST_ROOT_UNTRUSTED;
	case X509_V_ERR_OUT_OF_MEM:
		return ATTEST_UNCHECKED;
	default:
		return ATTEST_CHAIN_RULES;
	}
}

static int64_t seconds_of(const ASN1_TIME *t)
{
	struct tm parts;

	return t && ASN1_TIME_to_tm(t, &parts) ? (int64_t)timegm(&parts) : 0;
}

static void fresh_until(struct attest_result *r, const ASN1_TIME *t)
{
	int64_t end = seconds_of(t);

	if (end < r->fresh_until)
		r->fresh_until = end;
}

static int failed(struct attest_result *r, X509_STORE_CTX *ctx)
{
	int reason = X509_STORE_CTX_get_error(ctx);
	X509 *cert = X509_STORE_CTX_get_current_cert(ctx);
	char name[100] = "";

	if (cert)
		chain_name(cert, name, sizeof(name));
	return attest_reject(r, verdict_of(reason), "certificate \"%.90s\": %s", name,
			     X509_verify_cert_error_string(reason));
}

/* An altered name breaks the chain before its signature is looked at; the wrong signature is the truer
 * reason. */
static int altered(struct attest_result *r, X509 *middle, X509 *root)
{
	if (r->verdict == ATTEST_CHAIN_NAME && middle &&
	    !X509_NAME_cmp(X509_get_issuer_name(middle), X509_get_subject_name(root)) &&
	    X509_verify(middle, X509_get0_pubkey(root)) != 1)
		attest_reject(r, ATTEST_CHAIN_SIG, "the intermediate certificate was altered");
	return -1;
}

/* Chains whose signatures were found good, so that the next evidence under the same certificates costs one
 * signature: only time can change what is said of them. The last KNOWN ones of this process. */
#define KNOWN 4
static pthread_mutex_t known_lock = PTHREAD_MUTEX_INITIALIZER;
static uint8_t known[KNOWN][3][32];
static unsigned known_next;

/* 0, or -1 when one of them has no digest. */
static int chain_digests(uint8_t out[3][32], X509 *leaf, X509 *middle, X509 *root)
{
	X509 *all[3] = {leaf, middle, root};

	memset(out, 0, 3 * 32);
	for (int i = 0; i < 3; i++)
		if (all[i] && !X509_digest(all[i], EVP_sha256(), out[i], NULL))
			return -1;
	return 0;
}

static int is_timely(const X509 *c, int64_t now)
{
	time_t at = (time_t)now;

	return !c || (X509_cmp_time(X509_get0_notBefore(c), &at) == -1 &&
		      X509_cmp_time(X509_get0_notAfter(c), &at) == 1);
}

/* Whether they were good before, and it is their time. */
static int chain_known(uint8_t digests[3][32], const X509 *leaf, const X509 *middle, const X509 *root,
		       int64_t now)
{
	int found = 0;

	pthread_mutex_lock(&known_lock);
	for (int i = 0; i < KNOWN; i++)
		found |= !memcmp(known[i], digests, sizeof(known[i]));
	pthread_mutex_unlock(&known_lock);
	return found && is_timely(leaf, now) && is_timely(middle, now) && is_timely(root, now);
}

static void chain_remember(uint8_t digests[3][32])
{
	pthread_mutex_lock(&known_lock);
	memcpy(known[known_next++ % KNOWN], digests, sizeof(known[0]));
	pthread_mutex_unlock(&known_lock);
}

static int verify(struct attest_result *r, X509 *leaf, X509 *middle, X509 *root, int64_t now)
{
	STACK_OF(X509) *between = sk_X509_new_null(), *trusted = sk_X509_new_null();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	X509_VERIFY_PARAM *param;
	int bad = -1;

	if (!ctx || !between || !trusted || !sk_X509_push(trusted, root) ||
	    (middle && !sk_X509_push(between, middle)) || !X509_STORE_CTX_init(ctx, NULL, leaf, between)) {
		attest_reject(r, ATTEST_UNCHECKED, "no memory");
		goto out;
	}
	X509_STORE_CTX_set0_trusted_stack(ctx, trusted);
	param = X509_STORE_CTX_get0_param(ctx);
	X509_VERIFY_PARAM_set_time(param, (time_t)now);
	X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_CHECK_SS_SIGNATURE);
	if (X509_verify_cert(ctx) == 1)
		bad = 0;
	else
		bad = !failed(r, ctx) ? 0 : altered(r, middle, root);
out:
	X509_STORE_CTX_free(ctx);
	sk_X509_free(between);
	sk_X509_free(trusted);
	ERR_clear_error();
	return bad;
}

int chain_verify(struct attest_result *r, X509 *leaf, X509 *middle, X509 *root, int64_t now)
{
	uint8_t digests[3][32];

	if (chain_digests(digests, leaf, middle, root))
		return attest_reject(r, ATTEST_UNCHECKED, "no memory");
	if (!chain_known(digests, leaf, middle, root, now)) {
		if (verify(r, leaf, middle, root, now))
			return -1;
		chain_remember(digests);
	}
	fresh_until(r, X509_get0_notAfter(leaf));
	fresh_until(r, X509_get0_notAfter(root));
	if (middle)
		fresh_until(r, X509_get0_notAfter(middle));
	return 0;
}

/* ---- revocation lists ---- */

static X509_CRL *crl_read(struct span file)
{
	const uint8_t *at = file.p;
	X509_CRL *crl = NULL;
	BIO *in;

	if (!file.n || file.n > ATTEST_EVIDENCE_MAX * 8)
		return NULL;
	if (!is_pem(file)) {
		crl = d2i_X509_CRL(NULL, &at, (long)file.n);
		if (crl && at != file.p + file.n) {
			X509_CRL_free(crl);
			crl = NULL;
		}
	} else if ((in = BIO_new_mem_buf(file.p, (int)file.n))) {
		crl = PEM_read_bio_X509_CRL(in, NULL, no_password, NULL);
		BIO_free(in);
	}
	ERR_clear_error();
	return crl;
}

/* A list with a critical extension that we do not interpret may cover less than it seems to. */
static int crl_plain(const X509_CRL *crl)
{
	for (int i = 0; i < X509_CRL_get_ext_count(crl); i++)
		if (X509_EXTENSION_get_critical(X509_CRL_get_ext(crl, i)))
			return 0;
	return 1;
}

static int crl_timely(const X509_CRL *crl, int64_t now)
{
	time_t at = (time_t)now;

	return X509_CRL_get0_nextUpdate(crl) && X509_cmp_time(X509_CRL_get0_lastUpdate(crl), &at) == -1 &&
	       X509_cmp_time(X509_CRL_get0_nextUpdate(crl), &at) == 1;
}

static int crl_valid(struct attest_result *r, X509_CRL *crl, X509 *issuer, int64_t now)
{
	char name[100];

	chain_name(issuer, name, sizeof(name));
	if (X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_subject_name(issuer)))
		return attest_reject(r, ATTEST_CRL_ISSUER, "revocation list expected of \"%s\"", name);
	if (!crl_plain(crl))
		return attest_reject(r, ATTEST_CRL_FORM, "list of \"%s\": unknown critical extension", name);
	if (X509_CRL_verify(crl, X509_get0_pubkey(issuer)) != 1)
		return attest_reject(r, ATTEST_CRL_SIG, "list of \"%s\"", name);
	if (!crl_timely(crl, now))
		return attest_reject(r, ATTEST_CRL_TIME, "list of \"%s\"", name);
	fresh_until(r, X509_CRL_get0_nextUpdate(crl));
	return 0;
}

static int crl_lists(struct attest_result *r, X509_CRL *crl, X509 *cert)
{
	X509_REVOKED *entry;
	char name[100];

	/* 2 means "removed from hold", which can only stand in a delta list. */
	if (!X509_CRL_get0_by_cert(crl, &entry, cert))
		return 0;
	chain_name(cert, name, sizeof(name));
	return attest_reject(r, ATTEST_REVOKED, "certificate \"%s\"", name);
}

int chain_crl(struct attest_result *r, struct span file, X509 *issuer, X509 *const *certs, size_t n,
	      int64_t now)
{
	X509_CRL *crl = crl_read(file);
	int bad;

	if (!crl)
		return attest_reject(r, ATTEST_CRL_FORM, "%zu bytes are no list", file.n);
	bad = crl_valid(r, crl, issuer, now);
	for (size_t i = 0; !bad && i < n; i++)
		bad = crl_lists(r, crl, certs[i]);
	X509_CRL_free(crl);
	ERR_clear_error();
	return bad;
}

int chain_extension(const X509 *cert, const char *oid, struct span *content)
{
	ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
	int at = object ? X509_get_ext_by_OBJ(cert, object, -1) : -1, found = at >= 0;
	const ASN1_OCTET_STRING *data;

	if (found && X509_get_ext_by_OBJ(cert, object, at) >= 0)
		found = -1;
	ASN1_OBJECT_free(object);
	content->p = NULL;
	content->n = 0;
	if (found == 1) {
		data = X509_EXTENSION_get_data(X509_get_ext(cert, at));
		content->p = ASN1_STRING_get0_data(data);
		content->n = (size_t)ASN1_STRING_length(data);
	}
	return found;
}

/* ---- signatures ---- */

/* r and s as DER, which OpenSSL wants. Bytes of *der, which the caller frees; 0 on failure. */
static size_t ecdsa_der(const uint8_t *r, const uint8_t *s, size_t n, int little_endian, uint8_t **der)
{
	BIGNUM *(*read)(const unsigned char *, int, BIGNUM *) = little_endian ? BN_lebin2bn : BN_bin2bn;
	ECDSA_SIG *sig = ECDSA_SIG_new();
	BIGNUM *br = read(r, (int)n, NULL), *bs = read(s, (int)n, NULL);
	int size = 0;

	*der = NULL;
	if (sig && br && bs && ECDSA_SIG_set0(sig, br, bs)) {
		size = i2d_ECDSA_SIG(sig, der);
		br = bs = NULL;
	}
	BN_free(br);
	BN_free(bs);
	ECDSA_SIG_free(sig);
	return size > 0 ? (size_t)size : 0;
}

int ecdsa_verify(EVP_PKEY *key, const EVP_MD *hash, const uint8_t *r, const uint8_t *s, size_t n,
		 int little_endian, struct span data)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t *der;
	size_t size = ecdsa_der(r, s, n, little_endian, &der);
	int good = ctx && size && key && EVP_DigestVerifyInit(ctx, NULL, hash, NULL, key) == 1 &&
		   EVP_DigestVerify(ctx, der, size, data.p, data.n) == 1;

	EVP_MD_CTX_free(ctx);
	OPENSSL_free(der);
	ERR_clear_error();
	return good ? 0 : -1;
}

EVP_PKEY *p256_key(const uint8_t xy[64])
{
	uint8_t point[65] = {POINT_CONVERSION_UNCOMPRESSED};
	OSSL_PARAM params[3];
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	EVP_PKEY *key = NULL;

	memcpy(point + 1, xy, 64);
	params[0] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)"prime256v1", 0);
	params[1] = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point));
	params[2] = OSSL_PARAM_construct_end();
	if (!ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
	    EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
		key = NULL;
	EVP_PKEY_CTX_free(ctx);
	ERR_clear_error();
	return key;
}

int key_is_curve(const EVP_PKEY *key, const char *curve)
{
	char name[32] = "";

	return key && EVP_PKEY_is_a(key, "EC") &&
	       EVP_PKEY_get_group_name(key, name, sizeof(name), NULL) == 1 && !strcmp(name, curve);
}
