/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/enclave_release.h — what an owner sends so that an enclave opens a sealed model that lies at its
 * host.
 *
 * RELEASE is a sealed box (X25519, libsodium) to the enclave's key of this start, which the evidence names:
 *
 *   file key 32 · head of the file · signed: Ed25519 signature 64 · "obscura-floor-v2" · floor u64 · keep u8
 *   · the enclave's key 32 · SHA-256 of the file 32 · name
 *
 * head and signed are spans of u32 length. The head names the owner's public key: the signature is by it, for
 * this start of this enclave and this file alone, so that what one enclave was given proves nothing to
 * another, and for no other file. */
#ifndef OBSCURA_DAEMON_ENCLAVE_RELEASE_H
#define OBSCURA_DAEMON_ENCLAVE_RELEASE_H

#include "daemon/seal.h"

#define RELEASE_MAX 1024

struct release {
	struct span key;    /* SEAL_KEY bytes; borrows, as the head */
	struct sealed file; /* its head alone */
	struct span said;   /* signature and statement; of the statement: */
	struct span to, digest;
	uint64_t floor; /* no older version of this name, from now on */
	int keep;	/* the enclave may keep the key beyond its end, sealed */
};

/* The owner's side. seed: the owner's; to: the enclave's key. *box: new, *n bytes, no secret in clear. */
int release_make(const uint8_t seed[SEAL_KEY], struct span file, uint64_t floor, int keep,
		 const uint8_t to[ENCLAVE_RELEASE_KEY], uint8_t **box, size_t *n, struct err *e) MUST_USE;
/* The enclave's side: decrypts, checks the owner's signature. *plain: new, *n bytes, for seal_free, also
 * after an error; r borrows from it. */
int release_open(struct span box, const uint8_t public_key[ENCLAVE_RELEASE_KEY],
		 const uint8_t secret_key[ENCLAVE_RELEASE_KEY], struct release *r, uint8_t **plain, size_t *n,
		 struct err *e) MUST_USE;
/* What the box holds, with its signature checked; *genuine: whether it is the owner's. -1: malformed. */
int release_read(struct span plain, struct release *r, int *genuine) MUST_USE;
/* The signed part alone; r->file is what it is for. Whether the file is the one that was signed. */
#define RELEASE_SAID (64 + 16 + 8 + 1 + ENCLAVE_RELEASE_KEY + 32 + SEAL_NAME_MAX)
int release_read_said(struct span said, struct release *r, int *genuine) MUST_USE;
int release_is_of(const struct release *r, struct span file, struct err *e) MUST_USE;

#endif
