/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/enclave_front.h — the untrusted side of the enclave personality: starts obscura-enclave, accepts
 * connections, relays ciphertext. It has neither key nor model nor image. */
#ifndef OBSCURA_DAEMON_ENCLAVE_FRONT_H
#define OBSCURA_DAEMON_ENCLAVE_FRONT_H

#include "conf/config.h"
#include "daemon/net.h"

struct enclave_front;
/* *f is NULL when config->enclave_listen is empty. */
int enclave_front_new(struct enclave_front **f, struct net *net, const struct config *config,
		      struct err *e) MUST_USE;
void enclave_front_free(struct enclave_front *f); /* NULL is allowed */

#endif
