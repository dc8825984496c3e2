/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/seal.h — a model encrypted at rest. The file, integers little-endian:
 *
 *   magic 16 · version u64 · owner 32 · nonce 24 · name length u32 · name · ciphertext (model + 16 of tag)
 *
 * All before the ciphertext is the head. It is associated data, so that nothing of it can be changed without
 * the key. The model is ONNX and JSON, spans of u32 length, under XChaCha20-Poly1305 (libsodium).
 *
 * The owner's one secret is a seed; from it (BLAKE2b, crypto_kdf) come the Ed25519 key whose public half is
 * `owner`, and a key for each file: BLAKE2b-256(derived key, head). So what opens one version opens no other.
 */
#ifndef OBSCURA_DAEMON_SEAL_H
#define OBSCURA_DAEMON_SEAL_H

#include "conf/err.h"
#include "daemon/enclave_wire.h"

#define SEAL_MAGIC "obscura-sealed-2"
#define SEAL_KEY 32
#define SEAL_OWNER 32 /* an Ed25519 public key */
#define SEAL_NAME_MAX 200
#define SEAL_HEAD_MAX (16 + 8 + SEAL_OWNER + 24 + 4 + SEAL_NAME_MAX)

/* A sealed file read; spans borrow from it. Nothing of it is proved before seal_open. */
struct sealed {
	struct span head, owner, nonce, name, box;
	uint64_t version;
};
/* Whether it begins as a sealed file of any version does. */
int seal_is(struct span file);
/* 0, or -1 when it is malformed. */
int seal_read(struct span file, struct sealed *s) MUST_USE;
/* The same for a head alone: box is empty. */
int seal_read_head(struct span head, struct sealed *s) MUST_USE;

/* Of the owner's seed. */
int seal_file_key(const uint8_t seed[SEAL_KEY], struct span head, uint8_t key[SEAL_KEY],
		  struct err *e) MUST_USE;
int seal_owner(const uint8_t seed[SEAL_KEY], uint8_t public_key[SEAL_OWNER], uint8_t secret_key[64],
	       struct err *e) MUST_USE;

/* *file: new, *n bytes. Of m: name, version, onnx, json. */
int seal_make(const uint8_t seed[SEAL_KEY], const struct enclave_model *m, uint8_t **file, size_t *n,
	      struct err *e) MUST_USE;
/* key: of this file. *plain: new, *n bytes, for seal_free; m borrows from it and from the file. */
int seal_open(const uint8_t key[SEAL_KEY], struct span file, struct enclave_model *m, uint8_t **plain,
	      size_t *n, struct err *e) MUST_USE;
void seal_free(uint8_t *plain, size_t n); /* wipes; NULL is allowed */

#endif
