/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/enclave_wire.h — messages between a client and an enclave, inside TLS: u32 length, u8 type, body;
 * integers little-endian. Client: HELLO; enclave: EVIDENCE; then CLASSIFY and CLASSIFIED (wire.proto), or
 * PROVISION or RELEASE, and PROVISIONED. */
#ifndef OBSCURA_DAEMON_ENCLAVE_WIRE_H
#define OBSCURA_DAEMON_ENCLAVE_WIRE_H

#include <openssl/ssl.h>

#include "conf/err.h"
#include "crypto/attest/attest.h"

#define ENCLAVE_BODY_MAX (64u << 20)
#define ENCLAVE_MANIFEST_MAX 512

enum enclave_type {
	ENCLAVE_HELLO = 1,   /* role, 32 bytes of nonce; zero: evidence of boot time is enough */
	ENCLAVE_EVIDENCE,    /* kind, report, chain, policy, manifest: spans of u32 length */
	ENCLAVE_CLASSIFY,    /* Wire__Classify */
	ENCLAVE_CLASSIFIED,  /* Wire__Classified */
	ENCLAVE_PROVISION,   /* name, version in decimal, ONNX, JSON ("" if there is none): spans */
	ENCLAVE_PROVISIONED, /* manifest */
	ENCLAVE_REFUSED,     /* text */
	ENCLAVE_RELEASE,     /* daemon/enclave_release.h */
};
/* RATLS: the evidence is in the certificate of the connection, of boot time; it answers a HELLO whose nonce
 * is zero, if there is any. */
enum enclave_kind { ENCLAVE_SIM = 1, ENCLAVE_SNP, ENCLAVE_DCAP, ENCLAVE_RATLS };

/* Certificates are dated back by so many seconds, for clients whose clocks are late. */
#define ENCLAVE_CLOCK_SLACK 3600

/* The 5 bytes before a body; the body's length. */
void enclave_head(uint8_t head[5], enum enclave_type type, size_t n);
size_t enclave_head_length(const uint8_t head[5]);
/* One message whole; blocks. */
int enclave_send(SSL *ssl, enum enclave_type type, const void *body, size_t n, struct err *e) MUST_USE;
/* *body: new, n bytes and a 0 after them. A REFUSED becomes an error; any type but `want` (0: any) too. */
int enclave_receive(SSL *ssl, enum enclave_type want, size_t most, enum enclave_type *type, uint8_t **body,
		    size_t *n, struct err *e) MUST_USE;

/* Bodies of spans. put: out may be NULL to count; returns the bytes. take: 0 or -1. */
size_t enclave_put(uint8_t *out, struct span s);
int enclave_take(struct span *rest, struct span *s) MUST_USE;

/* EVIDENCE and PROVISION read whole; spans borrow from the body. 0, or -1 when it is malformed. */
struct enclave_evidence {
	struct span kind, report, chain, policy, manifest;
};
int enclave_evidence_read(struct span body, struct enclave_evidence *v) MUST_USE;
#define ENCLAVE_OWNER 32
struct enclave_model {
	struct span name, version_text, onnx, json;
	uint64_t version;
	uint8_t owner[ENCLAVE_OWNER]; /* not in the message: who brought it */
};
int enclave_model_read(struct span body, struct enclave_model *m) MUST_USE;

/* enclave_manifest.c: "name\nversion\n<96 hex: SHA-384 of ONNX ‖ JSON>\nowner <64 hex>\n". The owner is
 * SHA-256 of a public key (SubjectPublicKeyInfo, DER): of the Ed25519 key that signed the release of a sealed
 * model, or of the certificate with which the model came through the connection. */
#define ENCLAVE_NAME_MAX 200
#define ENCLAVE_DIGEST 48
struct enclave_manifest {
	struct span name; /* borrows */
	uint64_t version;
	uint8_t digest[ENCLAVE_DIGEST], owner[ENCLAVE_OWNER];
	int owned; /* the last line is there: enclaves of before do not have it */
};
int enclave_manifest(char out[ENCLAVE_MANIFEST_MAX], const struct enclave_model *m, struct err *e) MUST_USE;
int enclave_manifest_read(struct span text, struct enclave_manifest *m) MUST_USE;
int enclave_owner_certificate(const X509 *certificate, uint8_t owner[ENCLAVE_OWNER]) MUST_USE;
int enclave_owner_key(const uint8_t key[32], uint8_t owner[ENCLAVE_OWNER]) MUST_USE;

/* Whose certificates the enclave obeys, and its X25519 key of this start, to which a release is sealed:
 * "ca <64 hex: SHA-256 of the authority's public key>\nrelease <64 hex: the key>\n\n". */
#define ENCLAVE_RELEASE_KEY 32
#define ENCLAVE_POLICY_CA 68 /* bytes of the first line */
#define ENCLAVE_POLICY (ENCLAVE_POLICY_CA + 8 + 2 * ENCLAVE_RELEASE_KEY + 3)
int enclave_policy(char out[ENCLAVE_POLICY], X509 *authority, const uint8_t release[ENCLAVE_RELEASE_KEY],
		   struct err *e) MUST_USE;
/* After these lines may follow, each with the SHA-256 of a file that the enclave enforces: "access <64
 * hex>\n", "owners <64 hex>\n", "revoked <64 hex>\n" (enclave_rules.c). enclave_policy_file gives one of
 * them, NULL when there is none. */
#define ENCLAVE_POLICY_MAX (ENCLAVE_POLICY + 3 * 80)
const char *enclave_policy_file(struct span policy, const char *word, char hex[65]);
int enclave_policy_release(struct span policy, uint8_t release[ENCLAVE_RELEASE_KEY]) MUST_USE;

#endif
