/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/tls_lean.h — an OpenSSL context that knows the keys of our certificates and no others.
 *
 * To decode the key of a peer's certificate, OpenSSL 3.0 walks through all kinds of keys and all decoders
 * that the context knows, for each connection again: with those of the default provider that takes five times
 * as long as what it is done for. */
#ifndef OBSCURA_DAEMON_TLS_LEAN_H
#define OBSCURA_DAEMON_TLS_LEAN_H

#include <openssl/types.h>

#include "conf/err.h"

/* For SSL_CTX_new_ex and what belongs to such a context. Made at the first call, for the life of the process.
 * NULL, which is OpenSSL's default context, when it cannot be made. */
OSSL_LIB_CTX *tls_lean(void);
/* A private key, PEM; it cannot be read in such a context. The certificate comes first. -1: OpenSSL's errors
 * say why. */
int tls_lean_key(SSL_CTX *tls, const char *path) MUST_USE;

#endif
