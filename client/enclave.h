/* SPDX-License-Identifier: Apache-2.0 */
/* client/enclave.h — a connection to an enclave that has proved itself. */
#ifndef OBSCURA_CLIENT_ENCLAVE_H
#define OBSCURA_CLIENT_ENCLAVE_H

#include "client/attest.h"
#include "client/command.h"
#include "daemon/enclave_release.h"
#include "wire.pb-c.h"

struct enclave;
/* TLS to config->enclave, a nonce, evidence; verified against --policy before anything else is said. role:
 * 'D' or 'M': whose certificate config has. ERR_ATTEST names expected and received. */
int enclave_open(struct enclave **x, const struct args *a, char role, struct err *e) MUST_USE;
void enclave_close(struct enclave *x);
/* Whether its evidence was simulated: then every output says so. */
int enclave_simulated(const struct enclave *x);
/* As ask_classify. */
int enclave_classify(struct enclave *x, const Wire__Classify *q, Wire__Classified **reply,
		     struct err *e) MUST_USE;

/* The model owner's side: a PROVISION or RELEASE, and the manifest that the enclave then has. */
int enclave_bring(struct enclave *x, enum enclave_type type, struct span body,
		  char manifest[ENCLAVE_MANIFEST_MAX], int *simulated, struct err *e) MUST_USE;
/* To which a release is sealed; the evidence vouches for it. Borrows. */
const uint8_t *enclave_release_key(const struct enclave *x);

/* obscura model seal and provision (client/provision.c); obscura attest simulation. */
int model_provision(struct args *a, struct err *e) MUST_USE;
/* PROVISION or RELEASE; prints what the enclave then holds. */
int provision_send(struct enclave *x, enum enclave_type type, struct span body, struct err *e) MUST_USE;
/* client/seal.c. release: the enclave gets what it needs to open the file that lies there; floor: the least
 * version from now on, 0: the file's. */
int model_seal(struct args *a, const struct enclave_model *m, struct err *e) MUST_USE;
int release_sealed(struct args *a, struct span file, uint64_t floor, struct err *e) MUST_USE;
int attest_simulation(struct args *a, struct err *e) MUST_USE;

#endif
