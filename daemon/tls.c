/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#define SUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

/* The text of one field of a certificate's subject, "" when it has none. */
static void subject(X509 *cert, int nid, char *out, size_t bytes)
{
	if (X509_NAME_get_text_by_NID(X509_get_subject_name(cert), nid, out, (int)bytes) < 0)
		out[0] = 0;
}

static void date(const ASN1_TIME *t, char *out, size_t bytes)
{
	BIO *b = BIO_new(BIO_s_mem());
	int n = 0;

	if (b && ASN1_TIME_print(b, t))
		n = BIO_read(b, out, (int)bytes - 1);
	out[n > 0 ? n : 0] = 0;
	BIO_free(b);
}

static int readable(const char *what, const char *path, struct err *e)
{
	if (access(path, R_OK) == 0)
		return 0;
	return err_set(e, ERR_INPUT, "cannot read the %s %s: %s; make one with `obscura pki init` and `obscura pki issue`, or name it with --%s",
		       what, path, strerror(errno), what);
}

static int check_own(const struct config *c, X509 *cert, enum frame_role self, struct err *e)
{
	char role[64], when[64];

	date(X509_get0_notAfter(cert), when, sizeof(when));
	if (X509_cmp_current_time(X509_get0_notAfter(cert)) <= 0)
		return err_set(e, ERR_INPUT, "own certificate %s has expired on %s; renew it with `obscura pki issue`", c->certificate, when);
	if (X509_cmp_current_time(X509_get0_notBefore(cert)) > 0)
		return err_set(e, ERR_INPUT, "own certificate %s is not valid yet; check the clock", c->certificate);
	subject(cert, NID_organizationalUnitName, role, sizeof(role));
	if (frame_role(role) != self)
		return err_set(e, ERR_INPUT, "own certificate %s is for the role \"%s\", not \"%s\"", c->certificate, role, frame_role_name(self));
	return 0;
}

int tls_new(struct tls *tls, const struct config *c, enum frame_role self, struct err *e)
{
	static const unsigned char id[] = "obscura";
	SSL_CTX *ctx;

	*tls = (struct tls){0};
	if (readable("ca", c->ca, e) || readable("certificate", c->certificate, e) || readable("key", c->key, e))
		return -1;
	tls->ctx = ctx = SSL_CTX_new(TLS_method());
	if (!ctx || !SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) || !SSL_CTX_set_ciphersuites(ctx, SUITES))
		return err_set(e, ERR_ENV, "OpenSSL offers no TLS 1.3");
	if (!SSL_CTX_load_verify_locations(ctx, c->ca, NULL))
		return err_set(e, ERR_INPUT, "%s is not a PEM file with the authority's certificate", c->ca);
	if (SSL_CTX_use_certificate_chain_file(ctx, c->certificate) != 1)
		return err_set(e, ERR_INPUT, "%s is not a PEM file with a certificate", c->certificate);
	if (SSL_CTX_use_PrivateKey_file(ctx, c->key, SSL_FILETYPE_PEM) != 1)
		return err_set(e, ERR_INPUT, "%s is not the private key of %s", c->key, c->certificate);
	if (SSL_CTX_check_private_key(ctx) != 1)
		return err_set(e, ERR_INPUT, "the key %s does not belong to the certificate %s", c->key, c->certificate);
	if (check_own(c, SSL_CTX_get0_certificate(ctx), self, e))
		return -1;
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_session_id_context(ctx, id, sizeof(id) - 1);
	SSL_CTX_set_read_ahead(ctx, 1);
	X509_digest(SSL_CTX_get0_certificate(ctx), EVP_sha256(), tls->fingerprint, NULL);
	return 0;
}

void tls_free(struct tls *tls)
{
	SSL_CTX_free(tls->ctx);
	*tls = (struct tls){0};
}

static int is_address(const char *host)
{
	uint8_t buffer[16];

	return inet_pton(AF_INET, host, buffer) == 1 || inet_pton(AF_INET6, host, buffer) == 1;
}

SSL *tls_connection(struct tls *tls, int fd, const char *host, struct err *e)
{
	SSL *ssl = SSL_new(tls->ctx);

	if (!ssl || !SSL_set_fd(ssl, fd))
		goto fail;
	if (!host) {
		SSL_set_accept_state(ssl);
		return ssl;
	}
	SSL_set_connect_state(ssl);
	if (is_address(host) ? !X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) :
			       !SSL_set1_host(ssl, host) || !SSL_set_tlsext_host_name(ssl, host))
		goto fail;
	return ssl;
fail:
	SSL_free(ssl);
	err_set(e, ERR_ENV, "OpenSSL cannot make a connection");
	return NULL;
}

int tls_peer(SSL *ssl, unsigned allowed, enum frame_role *role, uint8_t fingerprint[32], char *name, size_t bytes, struct err *e)
{
	X509 *cert = SSL_get0_peer_certificate(ssl);
	char unit[64];

	if (!cert || SSL_get_verify_result(ssl) != X509_V_OK)
		return err_set(e, ERR_PEER, "shows no valid certificate");
	subject(cert, NID_organizationalUnitName, unit, sizeof(unit));
	subject(cert, NID_commonName, name, bytes);
	*role = frame_role(unit);
	X509_digest(cert, EVP_sha256(), fingerprint, NULL);
	if (!*role || !(*role & allowed))
		return err_set(e, ERR_PEER, "has a certificate for the wrong role: \"%.32s\" (CN %.48s)", unit, name);
	return 0;
}

/* Our own verdict on the peer's certificate. 0: there is none. */
static int verdict(SSL *ssl, const char *step, struct err *e)
{
	long code = SSL_get_verify_result(ssl);
	X509 *cert = SSL_get0_peer_certificate(ssl);
	char when[64] = "";

	if (code == X509_V_OK)
		return 0;
	if (code == X509_V_ERR_CERT_HAS_EXPIRED && cert)
		date(X509_get0_notAfter(cert), when, sizeof(when));
	err_set(e, ERR_PEER, "%s: its certificate is refused: %s%s%s%s", step, X509_verify_cert_error_string(code), when[0] ? " on " : "", when,
		code == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY || code == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN ?
			" (not of the authority that --ca names)" :
			"");
	return 1;
}

void tls_reason(SSL *ssl, const char *step, struct err *e)
{
	int saved = errno;
	unsigned long code = ERR_get_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	ERR_clear_error();
	if (verdict(ssl, step, e))
		return;
	if (reason && strstr(reason, "alert"))
		err_set(e, ERR_PEER, "%s: it refuses our certificate or protocol: %s", step, reason);
	else if (reason && !strstr(reason, "unexpected eof"))
		err_set(e, ERR_PEER, "%s: %s", step, reason);
	else
		err_set(e, ERR_REACH, "%s: the connection was lost%s%s", step, !reason && saved ? ": " : "", !reason && saved ? strerror(saved) : "");
}
