/* SPDX-License-Identifier: Apache-2.0 */
/* client/enclave.h — a connection to an enclave that has proved itself. */
#ifndef OBSCURA_CLIENT_ENCLAVE_H
#define OBSCURA_CLIENT_ENCLAVE_H

#include "client/attest.h"
#include "client/command.h"
#include "daemon/seal.h"
#include "wire.pb-c.h"

struct enclave;
/* TLS to config->enclave, a nonce, evidence; verified against --policy before anything else is said. role:
 * 'D' or 'M': whose certificate config has. ERR_ATTEST names expected and received. */
int enclave_open(struct enclave **x, const struct args *a, char role, struct err *e) MUST_USE;
void enclave_close(struct enclave *x);
/* As ask_classify. */
int enclave_classify(struct enclave *x, const Wire__Classify *q, Wire__Classified **reply,
		     struct err *e) MUST_USE;

/* obscura model provision MODEL.onnx; obscura attest simulation. */
int model_provision(struct args *a, struct err *e) MUST_USE; /* and "seal" */
/* client/seal.c. floor: the least version; *plain for seal_free, also after an error. */
int model_seal(struct args *a, const struct enclave_model *m, struct err *e) MUST_USE;
int model_unseal(struct args *a, struct span file, uint64_t floor, struct enclave_model *m, uint8_t **plain,
		 size_t *n, struct err *e) MUST_USE;
int attest_simulation(struct args *a, struct err *e) MUST_USE;

#endif
