/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/tls.h — TLS 1.3 with certificates on both ends: contexts, and who the peer is. */
#ifndef OBSCURA_DAEMON_TLS_H
#define OBSCURA_DAEMON_TLS_H

#include <openssl/ssl.h>
#include "conf/config.h"
#include "protocol/frame.h"

struct tls {
	SSL_CTX *ctx;
	uint8_t fingerprint[32]; /* SHA-256 of our certificate */
};
/* Reads authority, certificate and key; checks that they belong together, that the role is `self`, that it has not expired. Every error
 * names the file and the remedy. */
int tls_new(struct tls *tls, const struct config *config, enum frame_role self, struct err *e) MUST_USE;
void tls_free(struct tls *tls);

/* A connection's TLS. host: for an outgoing one, the name or address that the certificate must carry; NULL for an accepted one. */
SSL *tls_connection(struct tls *tls, int fd, const char *host, struct err *e);
/* After the handshake: the peer's role (one of `allowed`), fingerprint and name. */
int tls_peer(SSL *ssl, unsigned allowed, enum frame_role *role, uint8_t fingerprint[32], char *name, size_t bytes, struct err *e) MUST_USE;
/* Why a handshake, read or write failed, in words: our verdict on the peer's certificate, its alert on ours, or the system's error. */
void tls_reason(SSL *ssl, const char *step, struct err *e);

#endif
