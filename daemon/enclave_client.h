/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/enclave_client.h — a connection to an enclave that has proved itself. */
#ifndef OBSCURA_DAEMON_ENCLAVE_CLIENT_H
#define OBSCURA_DAEMON_ENCLAVE_CLIENT_H

#include "conf/config.h"
#include "daemon/attest.h"
#include "daemon/enclave_wire.h"
#include "wire.pb-c.h"

struct enclave;
struct enclave_trust;
struct enclave_how {
	const struct config *config;	/* enclave, ca, certificate, key, step_ms */
	const char *policy;		/* file; NULL or "": an error that says what to do */
	const char *chain, *collateral; /* file and folder beside those of the policy; NULL: none */
	int accept_simulated;
	char role; /* 'D' or 'M': whose certificate config has */
	/* Where what these files say is kept for the next connection, which must have the same files; NULL:
	 * nowhere. One connection is dialled at a time. */
	struct enclave_trust **keep;
};
void enclave_trust_free(
    struct enclave_trust *t); /* after the connections that were made with it; NULL is allowed */
/* TLS to config->enclave, a nonce, evidence; verified against the policy before anything else is said.
 * Blocks. ERR_ATTEST names expected and received. */
int enclave_dial(struct enclave **x, const struct enclave_how *how, struct err *e) MUST_USE;
void enclave_close(struct enclave *x);
/* Whether its evidence was simulated: then every output says so. */
int enclave_simulated(const struct enclave *x);
/* Seconds that its proof counts for, by the policy that it met. */
uint64_t enclave_attestation_age(const struct enclave *x);
/* Asks, and waits for the answer; times, bytes and "simulated" in it are what this side has seen. */
int enclave_classify(struct enclave *x, const Wire__Classify *q, Wire__Classified **reply,
		     struct err *e) MUST_USE;

/* enclave_files.c: whether it enforces the files that config names, if any: access rules, revocation list,
 * owners of models. */
int enclave_files_check(const struct config *c, struct span policy, struct err *e) MUST_USE;

/* The model owner's side: a PROVISION or RELEASE, and the manifest that the enclave then has. */
int enclave_bring(struct enclave *x, enum enclave_type type, struct span body,
		  char manifest[ENCLAVE_MANIFEST_MAX], int *simulated, struct err *e) MUST_USE;
/* To which a release is sealed; the evidence vouches for it. Borrows. */
const uint8_t *enclave_release_key(const struct enclave *x);

/* ---- without waiting, for a loop (enclave_client_loop.c): one question at a time ---- */
/* From now on the socket does not block. */
int enclave_loose(struct enclave *x, struct err *e) MUST_USE;
int enclave_fd(const struct enclave *x);
/* A question as enclave_pump sends it: its bytes, and these. */
size_t enclave_packed(const Wire__Classify *q);
void enclave_pack(const Wire__Classify *q, uint8_t *packed);
/* packed is borrowed until the answer is there; images of image_bytes each. */
void enclave_ask(struct enclave *x, const uint8_t *packed, size_t n, size_t images, size_t image_bytes);
/* Sends and receives what it can. 1: *reply (new) is the answer; 0: not yet, *writes says whether for want of
 * room to send. -1: the connection is of no use any more. Without a question it finds out whether the other
 * side has gone. */
int enclave_pump(struct enclave *x, int *writes, Wire__Classified **reply, struct err *e) MUST_USE;

#endif
