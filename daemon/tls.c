/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "daemon/log.h"

#define READ_BYTES (32u << 10) /* what one read of the socket takes at most */
/* OpenSSL: the reason code of a received alert is its number and this (SSL_AD_REASON_OFFSET) */
#define ALERT_REASON 1000

/* ---- reading certificates ---- */

/* The text of one field of a certificate's subject, "" when it has none. */
static void subject(X509 *cert, int nid, char *out, size_t bytes)
{
	if (X509_NAME_get_text_by_NID(X509_get_subject_name(cert), nid, out, (int)bytes) < 0)
		out[0] = 0;
}

static void date(const ASN1_TIME *t, char *out, size_t bytes)
{
	struct tm tm;

	out[0] = 0;
	if (ASN1_TIME_to_tm(t, &tm))
		strftime(out, bytes, "%Y-%m-%d %H:%M UTC", &tm);
}

/* ---- our verdict on the peer's certificate ---- */

/* cert: the one of the chain at which verification failed. */
static void explain(struct tls_note *note, X509 *cert, X509 *leaf, int code)
{
	char *out = note->refusal, name[64] = "", text[128] = "";
	size_t n = sizeof(note->refusal);

	if (cert)
		subject(cert, NID_commonName, name, sizeof(name));
	switch (code) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		date(X509_get0_notAfter(cert), text, sizeof(text));
		snprintf(out, n, "its certificate (%s) has expired on %s", name, text);
		break;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		date(X509_get0_notBefore(cert), text, sizeof(text));
		snprintf(out, n, "its certificate (%s) is not valid before %s; check the clocks", name, text);
		break;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_CERT_SIGNATURE_FAILURE:
		if (leaf)
			subject(leaf, NID_commonName, name, sizeof(name));
		snprintf(out, n, "its certificate (%s) is of an unknown authority, not of %.120s", name,
			 note->tls->authority);
		break;
	case X509_V_ERR_CERT_REVOKED:
		snprintf(out, n, "its certificate (%s) is revoked, says %.160s", name, note->tls->revoked);
		break;
	case X509_V_ERR_CRL_HAS_EXPIRED:
		snprintf(out, n,
			 "our revocation list %.160s has ended; obscura pki revoke makes the next one",
			 note->tls->revoked);
		break;
	case X509_V_ERR_UNABLE_TO_GET_CRL:
		snprintf(out, n,
			 "its certificate (%s) is of an authority that %.160s has no revocation list of",
			 name, note->tls->revoked);
		break;
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		tls_hosts(cert, text, sizeof(text));
		snprintf(out, n, "its certificate is for the hosts %s, not for %.100s",
			 text[0] ? text : "(none)", note->host);
		break;
	default:
		snprintf(out, n, "its certificate (%s) is refused: %s", name,
			 X509_verify_cert_error_string(code));
	}
}

static int on_verify(int ok, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_note *note = ssl ? SSL_get_app_data(ssl) : NULL;

	if (!ok && note && !note->refusal[0])
		explain(note, X509_STORE_CTX_get_current_cert(store), X509_STORE_CTX_get0_cert(store),
			X509_STORE_CTX_get_error(store));
	return ok;
}

/* A session to resume came after the handshake; the last one is kept. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
	struct tls_note *note = SSL_get_app_data(ssl);

	if (!note || !note->session)
		return 0;
	SSL_SESSION_free(*note->session);
	*note->session = session;
	return 1;
}

/* ---- contexts ---- */

/* what: the option's name too. */
static int readable(const char *what, const char *path, struct err *e)
{
	if (access(path, R_OK) == 0)
		return 0;
	if (errno == EACCES)
		return err_set(e, ERR_ENV, "cannot read the %s %s: %s; it must be this user's own (chown)",
			       what, path, strerror(errno));
	return err_set(e, ERR_INPUT,
		       "cannot read the %s %s: %s; make one with `obscura pki init` and `obscura pki issue`, "
		       "or name it with --%s",
		       what, path, strerror(errno), what);
}

/* Whether one of the lists names the certificate. */
static int is_revoked(const struct tls *tls, X509 *cert)
{
	X509_REVOKED *r;

	for (int i = 0; i < sk_X509_CRL_num(tls->lists); i++) {
		X509_CRL *list = sk_X509_CRL_value(tls->lists, i);

		if (!X509_NAME_cmp(X509_CRL_get_issuer(list), X509_get_issuer_name(cert)) &&
		    X509_CRL_get0_by_cert(list, &r, cert) == 1)
			return 1;
	}
	return 0;
}

/* Signed by one of the authorities, and not ended: a list that is not good must not be one that says nothing.
 */
static int check_list(X509_STORE *store, X509_CRL *list, const char *path, struct err *e)
{
	STACK_OF(X509_OBJECT) *all = X509_STORE_get0_objects(store);
	int signed_by_us = 0;

	for (int i = 0; i < sk_X509_OBJECT_num(all); i++) {
		X509 *ca = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(all, i));

		signed_by_us |= ca && !X509_NAME_cmp(X509_get_subject_name(ca), X509_CRL_get_issuer(list)) &&
				X509_CRL_verify(list, X509_get0_pubkey(ca)) == 1;
	}
	if (!signed_by_us)
		return err_set(e, ERR_INPUT, "the revocation list %s is not signed by our authority", path);
	if (X509_CRL_get0_nextUpdate(list) && X509_cmp_current_time(X509_CRL_get0_nextUpdate(list)) <= 0)
		return err_set(e, ERR_INPUT,
			       "the revocation list %s has ended; obscura pki revoke makes the next one",
			       path);
	return 0;
}

static int load_lists(struct tls *tls, struct err *e)
{
	X509_STORE *store = SSL_CTX_get_cert_store(tls->ctx);
	FILE *f = fopen(tls->revoked, "re");
	X509_CRL *list;
	int failed = 0;

	if (!f)
		return err_set(e, err_of_file(errno),
			       "cannot read the revocation list %s: %s; make one with `obscura pki revoke`",
			       tls->revoked, strerror(errno));
	tls->lists = sk_X509_CRL_new_null();
	while (!failed && tls->lists && (list = PEM_read_X509_CRL(f, NULL, NULL, NULL))) {
		failed = check_list(store, list, tls->revoked, e);
		if (!failed && !X509_STORE_add_crl(store, list))
			failed =
			    err_set(e, ERR_ENV, "OpenSSL does not take the revocation list %s", tls->revoked);
		if (!sk_X509_CRL_push(tls->lists, list))
			X509_CRL_free(list);
	}
	fclose(f);
	if (!failed && !sk_X509_CRL_num(tls->lists))
		failed = err_set(e, ERR_INPUT, "%s is not a PEM file with a revocation list", tls->revoked);
	if (!failed)
		X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
	ERR_clear_error();
	return failed;
}

static int check_own(const struct config *c, X509 *cert, enum frame_role self, struct err *e)
{
	char role[64], when[64];

	date(X509_get0_notAfter(cert), when, sizeof(when));
	if (X509_cmp_current_time(X509_get0_notAfter(cert)) <= 0)
		return err_set(e, ERR_INPUT,
			       "own certificate %s has expired on %s; renew it with `obscura pki issue`",
			       c->certificate, when);
	if (X509_cmp_current_time(X509_get0_notBefore(cert)) > 0)
		return err_set(e, ERR_INPUT, "own certificate %s is not valid yet; check the clock",
			       c->certificate);
	subject(cert, NID_organizationalUnitName, role, sizeof(role));
	if (frame_role(role) != self)
		return err_set(e, ERR_INPUT,
			       "own certificate %s is for the role \"%s\", not \"%s\"; make one with "
			       "`obscura pki issue %s HOST`",
			       c->certificate, role, frame_role_name(self), frame_role_name(self));
	return 0;
}

/* Whether `ca` vouches for our own certificate. Peers may know its authority all the same, so that this is a
 * warning. */
static int is_of_authority(SSL_CTX *ctx)
{
	X509_STORE_CTX *v = X509_STORE_CTX_new();
	STACK_OF(X509) *chain = NULL;
	int code = X509_V_OK;

	SSL_CTX_get0_chain_certs(ctx, &chain);
	if (v && X509_STORE_CTX_init(v, SSL_CTX_get_cert_store(ctx), SSL_CTX_get0_certificate(ctx), chain) &&
	    X509_verify_cert(v) != 1)
		code = X509_STORE_CTX_get_error(v);
	X509_STORE_CTX_free(v);
	ERR_clear_error();
	return code != X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY &&
	       code != X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT &&
	       code != X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE &&
	       code != X509_V_ERR_CERT_SIGNATURE_FAILURE;
}

/* A key with a passphrase would stop a daemon at a prompt. */
static int no_passphrase(char *buffer, int bytes, int writing, void *ctx)
{
	return -1;
}

static int load_own(SSL_CTX *ctx, const struct config *c, struct err *e)
{
	struct stat st;

	SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
	if (SSL_CTX_use_certificate_chain_file(ctx, c->certificate) != 1)
		return err_set(e, ERR_INPUT, "%s is not a PEM file with a certificate", c->certificate);
	if (SSL_CTX_use_PrivateKey_file(ctx, c->key, SSL_FILETYPE_PEM) != 1) {
		if (ERR_GET_REASON(ERR_peek_error()) == X509_R_KEY_VALUES_MISMATCH ||
		    ERR_GET_REASON(ERR_peek_error()) == X509_R_KEY_TYPE_MISMATCH)
			return err_set(
			    e, ERR_INPUT,
			    "the key %s does not belong to the certificate %s; issue both together", c->key,
			    c->certificate);
		return err_set(e, ERR_INPUT, "%s is not a PEM file with a private key without passphrase",
			       c->key);
	}
	if (SSL_CTX_check_private_key(ctx) != 1)
		return err_set(e, ERR_INPUT,
			       "the key %s does not belong to the certificate %s; issue both together",
			       c->key, c->certificate);
	if (!stat(c->key, &st) && (st.st_mode & 077))
		log_line(LOG_WARNING, "the private key %s can be read by others; chmod 600 it", c->key);
	return 0;
}

static void settle(SSL_CTX *ctx)
{
	static const unsigned char id[] = "obscura";

	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, on_verify);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				  SSL_MODE_NO_AUTO_CHAIN);
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_default_read_buffer_len(ctx, READ_BYTES);
	/* resumption: the server's state is in its tickets, the client's in its connector */
	SSL_CTX_set_session_id_context(ctx, id, sizeof(id) - 1);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ctx, on_session);
	SSL_CTX_set_num_tickets(ctx, 1);
}

int tls_new(struct tls *tls, const struct config *c, enum frame_role self, struct err *e)
{
	SSL_CTX *ctx;

	*tls = (struct tls){.authority = c->ca, .certificate = c->certificate, .revoked = c->revoked};
	if (readable("ca", c->ca, e) || readable("certificate", c->certificate, e) ||
	    readable("key", c->key, e))
		return -1;
	tls->ctx = ctx = SSL_CTX_new(TLS_method());
	if (!ctx || !SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) ||
	    !SSL_CTX_set_ciphersuites(ctx, TLS_SUITES))
		return err_set(e, ERR_ENV, "OpenSSL offers no TLS 1.3");
	if (!SSL_CTX_load_verify_locations(ctx, c->ca, NULL))
		return err_set(e, ERR_INPUT, "%s is not a PEM file with the authority's certificate", c->ca);
	if ((c->revoked[0] && load_lists(tls, e)) || load_own(ctx, c, e) ||
	    check_own(c, SSL_CTX_get0_certificate(ctx), self, e)) {
		ERR_clear_error();
		return -1;
	}
	if (is_revoked(tls, SSL_CTX_get0_certificate(ctx)))
		return err_set(e, ERR_INPUT, "own certificate %s is revoked, says %s; issue another one",
			       c->certificate, c->revoked);
	if (!is_of_authority(ctx))
		log_line(
		    LOG_WARNING,
		    "own certificate %s is not of the authority %s: peers that know only this one refuse us",
		    c->certificate, c->ca);
	settle(ctx);
	X509_digest(SSL_CTX_get0_certificate(ctx), EVP_sha256(), tls->fingerprint, NULL);
	return 0;
}

void tls_free(struct tls *tls)
{
	SSL_CTX_free(tls->ctx);
	sk_X509_CRL_pop_free(tls->lists, X509_CRL_free);
	*tls = (struct tls){0};
}

/* ---- one connection ---- */

static int is_address(const char *host)
{
	uint8_t buffer[16];

	return inet_pton(AF_INET, host, buffer) == 1 || inet_pton(AF_INET6, host, buffer) == 1;
}

static int expect_host(SSL *ssl, const char *host)
{
	SSL_set_connect_state(ssl);
	if (is_address(host))
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host);
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
	return SSL_set1_host(ssl, host) && SSL_set_tlsext_host_name(ssl, host);
}

SSL *tls_connection(struct tls *tls, int fd, struct tls_note *note, struct err *e)
{
	SSL *ssl = SSL_new(tls->ctx);

	note->tls = tls;
	if (!ssl || !SSL_set_fd(ssl, fd) || !SSL_set_app_data(ssl, note) ||
	    (note->host && !expect_host(ssl, note->host))) {
		SSL_free(ssl);
		ERR_clear_error();
		err_set(e, ERR_ENV, "OpenSSL cannot make a connection");
		return NULL;
	}
	if (!note->host)
		SSL_set_accept_state(ssl);
	else if (note->session && *note->session)
		SSL_set_session(ssl, *note->session);
	return ssl;
}

/* Not revoked meanwhile, not expired. */
static int tls_still_good(const struct tls *tls, SSL *ssl, struct err *e)
{
	X509 *cert = SSL_get0_peer_certificate(ssl);
	char name[64], when[64];

	if (!cert)
		return err_set(e, ERR_PEER, "its certificate is missing or not valid");
	subject(cert, NID_commonName, name, sizeof(name));
	date(X509_get0_notAfter(cert), when, sizeof(when));
	if (X509_cmp_current_time(X509_get0_notAfter(cert)) <= 0)
		return err_set(e, ERR_PEER, "its certificate (%s) has expired on %s", name, when);
	if (is_revoked(tls, cert))
		return err_set(e, ERR_PEER, "its certificate (%s) is revoked", name);
	return 0;
}

int tls_still_trusted(const struct tls *tls, SSL *ssl, struct err *e)
{
	X509 *cert = SSL_get0_peer_certificate(ssl);
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	char name[64] = "";
	int good =
	    cert && ctx &&
	    X509_STORE_CTX_init(ctx, SSL_CTX_get_cert_store(tls->ctx), cert, SSL_get_peer_cert_chain(ssl));

	if (good) {
		/* lists are tls_still_good's: one that has ended cuts no connection that stands */
		X509_VERIFY_PARAM_clear_flags(X509_STORE_CTX_get0_param(ctx), X509_V_FLAG_CRL_CHECK);
		good = X509_verify_cert(ctx) == 1;
		subject(cert, NID_commonName, name, sizeof(name));
	}
	X509_STORE_CTX_free(ctx);
	ERR_clear_error();
	if (tls_still_good(tls, ssl, e))
		return -1;
	return good ? 0
		    : err_set(e, ERR_PEER, "its certificate (%s) is of an unknown authority, not of %.120s",
			      name, tls->authority);
}

/* A list of the certificate's authority that has ended since it was read says nothing any more. A whole
 * handshake looks at that itself; one that resumes does not. */
static int lists_in_force(const struct tls *tls, X509 *cert, struct err *e)
{
	for (int i = 0; i < sk_X509_CRL_num(tls->lists); i++) {
		X509_CRL *list = sk_X509_CRL_value(tls->lists, i);
		const ASN1_TIME *end = X509_CRL_get0_nextUpdate(list);

		if (end && !X509_NAME_cmp(X509_CRL_get_issuer(list), X509_get_issuer_name(cert)) &&
		    X509_cmp_current_time(end) <= 0)
			return err_set(e, ERR_PEER,
				       "its certificate cannot be checked: the revocation list %.160s has "
				       "ended; obscura pki "
				       "revoke makes the next one",
				       tls->revoked);
	}
	return 0;
}

int tls_peer(SSL *ssl, unsigned allowed, enum frame_role *role, uint8_t fingerprint[32], uint8_t key[32],
	     char *name, size_t bytes, struct err *e)
{
	X509 *cert = SSL_get0_peer_certificate(ssl);
	const struct tls_note *note = SSL_get_app_data(ssl);
	char unit[64];

	if (!cert || SSL_get_verify_result(ssl) != X509_V_OK)
		return err_set(e, ERR_PEER, "its certificate is missing or not valid");
	subject(cert, NID_organizationalUnitName, unit, sizeof(unit));
	subject(cert, NID_commonName, name, bytes);
	*role = frame_role(unit);
	if (X509_digest(cert, EVP_sha256(), fingerprint, NULL) != 1 ||
	    X509_pubkey_digest(cert, EVP_sha256(), key, NULL) != 1)
		return err_set(e, ERR_ENV, "out of memory for a digest");
	/* a resumed session looks neither at dates nor at lists again */
	if (tls_still_good(note->tls, ssl, e) || lists_in_force(note->tls, cert, e))
		return -1;
	if (!*role || !(*role & allowed))
		return err_set(e, ERR_PEER, "its certificate (%.48s) is for the wrong role: \"%.32s\"", name,
			       unit);
	return 0;
}

/* ---- why it failed ---- */

/* What the peer's alert says about us. */
static const struct {
	int alert;
	const char *text;
} alerts[] = {
    {SSL_AD_UNKNOWN_CA, "our certificate is of an authority that it does not know"},
    {SSL_AD_CERTIFICATE_EXPIRED, "our certificate has expired"},
    {SSL_AD_BAD_CERTIFICATE,
     "our certificate is not good: not for the host name that it connects to, or not valid yet"},
    {SSL_AD_CERTIFICATE_REVOKED, "our certificate has been revoked"},
    {SSL_AD_UNSUPPORTED_CERTIFICATE, "our certificate is not for this end of TLS"},
    {SSL_AD_CERTIFICATE_UNKNOWN, "our certificate is not acceptable"},
    {SSL_AD_DECRYPT_ERROR, "our certificate or signature cannot be verified"},
    {SSL_AD_CERTIFICATE_REQUIRED, "we showed no certificate"},
    {SSL_AD_PROTOCOL_VERSION, "it does not speak TLS 1.3"},
};

static void alert_reason(int alert, const char *step, struct err *e)
{
	for (size_t i = 0; i < sizeof(alerts) / sizeof(alerts[0]); i++)
		if (alerts[i].alert == alert) {
			err_set(e, ERR_PEER, "%s: it refuses us: %s", step, alerts[i].text);
			return;
		}
	err_set(e, ERR_PEER, "%s: it refuses us: %s", step, SSL_alert_desc_string_long(alert));
}

void tls_reason(SSL *ssl, const char *step, int saved, struct err *e)
{
	const struct tls_note *note = SSL_get_app_data(ssl);
	unsigned long code = ERR_get_error();
	int reason = ERR_GET_REASON(code);

	ERR_clear_error();
	if (note->refusal[0])
		err_set(e, ERR_PEER, "%s: %s", step, note->refusal);
	else if (ERR_GET_LIB(code) == ERR_LIB_SSL && reason >= ALERT_REASON && reason < ALERT_REASON + 256)
		alert_reason(reason - ALERT_REASON, step, e);
	else if (ERR_GET_LIB(code) == ERR_LIB_SSL && reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
		err_set(e, ERR_PEER, "%s: it shows no certificate", step);
	else if (code && reason != SSL_R_UNEXPECTED_EOF_WHILE_READING)
		err_set(e, ERR_PEER, "%s: it does not speak TLS 1.3 as it should: %s", step,
			ERR_reason_error_string(code));
	else
		err_set(e, ERR_REACH, "%s: it went away%s%s", step, !code && saved ? ": " : "",
			!code && saved ? strerror(saved) : "");
}

double tls_seconds_left(const struct tls *tls)
{
	X509 *cert = tls->ctx ? SSL_CTX_get0_certificate(tls->ctx) : NULL;
	int days = 0, seconds = 0;

	if (!cert || !ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(cert)))
		return 0;
	return days * 86400.0 + seconds;
}
