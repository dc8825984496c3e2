/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/enclave_front.h — the untrusted side of the enclave personality: starts obscura-enclave, accepts
 * connections, relays ciphertext. It has neither key nor model nor image. */
#ifndef OBSCURA_DAEMON_ENCLAVE_FRONT_H
#define OBSCURA_DAEMON_ENCLAVE_FRONT_H

#include "conf/config.h"
#include "daemon/net.h"

struct enclave_front;
/* Whether what the configuration says of the enclave can be: its files, and the hardware. */
int enclave_front_check(const struct config *config, struct err *e) MUST_USE;
/* *f is NULL when config->enclave_listen is empty. */
int enclave_front_new(struct enclave_front **f, struct net *net, const struct config *config,
		      struct err *e) MUST_USE;
/* Access rules and revocation list, again after a reload: the enclave enforces them, or says why not. f: may
 * be NULL. */
int enclave_front_rules(struct enclave_front *f, const struct config *config, struct err *e) MUST_USE;
/* The configuration has changed: what is new of enclave_models is handed over. NULL is allowed. */
void enclave_front_reload(struct enclave_front *f, const struct config *config);
void enclave_front_free(struct enclave_front *f); /* NULL is allowed */

/* Starts a program that lies beside obscurad, with one end of a new SOCK_SEQPACKET pair as descriptor 3
 * (enclave_spawn.c). */
int enclave_spawn(const char *name, char *const argv[], int *ours, pid_t *pid, struct err *e) MUST_USE;

#endif
