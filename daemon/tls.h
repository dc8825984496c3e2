/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/tls.h — TLS 1.3 with certificates on both ends: contexts, who the peer is, why it was refused. */
#ifndef OBSCURA_DAEMON_TLS_H
#define OBSCURA_DAEMON_TLS_H

#include <openssl/ssl.h>
#include "conf/config.h"
#include "protocol/frame.h"

/* Whoever connects prefers the first. */
#define TLS_SUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

struct tls {
	SSL_CTX *ctx;
	const char *authority, *certificate, *revoked; /* borrow: the files, for messages */
	STACK_OF(X509_CRL) * lists;		       /* own: what is revoked; NULL: there is no list */
	uint8_t fingerprint[32];		       /* SHA-256 of our certificate */
};
/* Reads authority, certificate and key; checks that they belong together, that the role is `self`, that it
 * has not expired. Every error names the file and the remedy. */
int tls_new(struct tls *tls, const struct config *config, enum frame_role self, struct err *e) MUST_USE;
void tls_free(struct tls *tls);
/* Until our own certificate expires; negative: it has. */
double tls_seconds_left(const struct tls *tls);

/* What one connection's TLS writes down for its owner; it outlives the SSL. */
struct tls_note {
	const struct tls *tls;
	/* borrows: the name that the certificate must carry; NULL for an accepted connection */
	const char *host;
	/* borrows the place: the last session with this address, to be resumed; NULL: none is kept */
	SSL_SESSION **session;
	char refusal[320]; /* why we refuse the peer's certificate, "" if we do not */
};
/* A connection's TLS, for the note's host. */
SSL *tls_connection(struct tls *tls, int fd, struct tls_note *note, struct err *e);
/* Whether the peer of a connection that was made before a new configuration is still good: not revoked
 * meanwhile, not expired, and our authorities, which may be others, would take its certificate now. */
int tls_still_trusted(const struct tls *tls, SSL *ssl, struct err *e) MUST_USE;
/* After the handshake: the peer's role (one of `allowed`), fingerprint, digest of its key, and name. */
int tls_peer(SSL *ssl, unsigned allowed, enum frame_role *role, uint8_t fingerprint[32], uint8_t key[32],
	     char *name, size_t bytes, struct err *e) MUST_USE;
/* The peer's common name, then its hosts, one a line; hosts that do not fit are left out. */
#define TLS_NAMES 2048
void tls_names(SSL *ssl, char *names, size_t bytes);
/* The hosts that a certificate is for: "localhost, 127.0.0.1". */
void tls_hosts(X509 *cert, char *out, size_t bytes);
/* What ends within 30 days, or has ended: own certificate, authorities, revocation lists. Calls each with a
 * line for a person, remedy included. */
typedef void (*tls_warning)(void *ctx, const char *text);
void tls_expiring(const struct tls *tls, tls_warning each, void *ctx);
/* Likewise for a peer's certificate: 1 and the line, or 0. */
int tls_peer_expiring(SSL *ssl, const char *name, char *text, size_t bytes);
/* Seconds until a peer's certificate ends, negative afterwards: for metrics. */
double tls_peer_seconds_left(SSL *ssl);
/* Why a handshake, read or write failed, in words: our verdict on the peer's certificate, its alert on ours,
 * or the system's error (ERR_REACH: the connection itself was lost). saved: errno after the call that failed.
 */
void tls_reason(SSL *ssl, const char *step, int saved, struct err *e);

#endif
