/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/enclave_parts.h — what the files of the enclave's child share. */
#ifndef OBSCURA_DAEMON_ENCLAVE_PARTS_H
#define OBSCURA_DAEMON_ENCLAVE_PARTS_H

#include "daemon/enclave_wire.h"

/* One connection. */
struct guest {
	SSL *ssl;
	int fd, owner; /* owner: the certificate says model-owner */
	int greeted;
};

/* enclave_model.c: answers to CLASSIFY and PROVISION; the manifest of the model that is held, "" without one.
 */
int enclave_on_classify(struct guest *g, const uint8_t *body, size_t n, struct err *e) MUST_USE;
int enclave_on_provision(struct guest *g, uint8_t *body, size_t n, struct err *e) MUST_USE;
void enclave_model_manifest(char out[ENCLAVE_MANIFEST_MAX]);

#endif
