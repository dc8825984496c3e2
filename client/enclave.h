/* SPDX-License-Identifier: Apache-2.0 */
/* client/enclave.h — connections to enclaves, as commands open them. */
#ifndef OBSCURA_CLIENT_ENCLAVE_H
#define OBSCURA_CLIENT_ENCLAVE_H

#include "client/attest.h"
#include "client/command.h"
#include "client/json.h"
#include "daemon/enclave_client.h"
#include "daemon/enclave_release.h"
#include "wire.pb-c.h"

/* As enclave_dial, to where the arguments say; under --policy and --accept-simulated. */
int enclave_open(struct enclave **x, const struct args *a, char role, struct err *e) MUST_USE;

/* obscura model seal and provision (client/provision.c); obscura attest simulation. */
int model_provision(struct args *a, struct err *e) MUST_USE;
/* PROVISION or RELEASE; prints what the enclave then holds. */
int provision_send(struct args *a, struct enclave *x, enum enclave_type type, struct span body,
		   struct err *e) MUST_USE;
/* client/manifest.c: what a data owner's policy may demand of a model, for people and for programs. */
void manifest_text(const struct enclave_manifest *m);
void manifest_json(struct json_object *o, const struct enclave_manifest *m);
/* client/seal.c. release: the enclave gets what it needs to open the file that lies there; floor: the least
 * version from now on, 0: the file's. */
int model_seal(struct args *a, const struct enclave_model *m, struct err *e) MUST_USE;
int release_sealed(struct args *a, struct span file, uint64_t floor, struct err *e) MUST_USE;
int attest_simulation(struct args *a, struct err *e) MUST_USE;

#endif
