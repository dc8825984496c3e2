/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/seal.h — a model encrypted at rest. The file, integers little-endian:
 *
 *   magic 16 · version u64 · nonce 24 · name length u32 · name · ciphertext (model + 16 of tag)
 *
 * XChaCha20-Poly1305 (libsodium); all before the ciphertext is associated data, so that neither name nor
 * version can be changed without the key. The model is ONNX and JSON, spans of u32 length. */
#ifndef OBSCURA_DAEMON_SEAL_H
#define OBSCURA_DAEMON_SEAL_H

#include "conf/err.h"
#include "daemon/enclave_wire.h"

#define SEAL_MAGIC "obscura-sealed-1"
#define SEAL_KEY 32
#define SEAL_NAME_MAX 255

/* A sealed file read; spans borrow from it. Nothing of it is proved before seal_open. */
struct sealed {
	struct span head, nonce, name, box; /* head: all that is associated data */
	uint64_t version;
};
/* 0, or -1 when it is malformed. */
int seal_read(struct span file, struct sealed *s) MUST_USE;
/* *file: new, *n bytes. Of m: name, version, onnx, json. */
int seal_make(const uint8_t key[SEAL_KEY], const struct enclave_model *m, uint8_t **file, size_t *n,
	      struct err *e) MUST_USE;
/* *plain: new, *n bytes, for seal_free; m borrows from it and from the file. */
int seal_open(const uint8_t key[SEAL_KEY], struct span file, struct enclave_model *m, uint8_t **plain,
	      size_t *n, struct err *e) MUST_USE;
void seal_free(uint8_t *plain, size_t n); /* wipes; NULL is allowed */

#endif
