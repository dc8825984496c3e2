/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/enclave_state.h — what an enclave remembers of its owner: version floors, and a released key that it
 * may keep. In memory, and sealed for a restart.
 *
 * The sealed file, integers little-endian: magic 16 · counter u64 · nonce 24 · wrapped key (span) ·
 * XChaCha20-Poly1305 of the state. All before the ciphertext, then the authority that the enclave obeys, is
 * associated data. The counter is that of a TPM, after the step that was made for this file. */
#ifndef OBSCURA_DAEMON_ENCLAVE_STATE_H
#define OBSCURA_DAEMON_ENCLAVE_STATE_H

#include "daemon/enclave_release.h"

#define STATE_NAMES 16
#define STATE_KEY 32
#define STATE_MAX 8192 /* of the file */

struct enclave_state {
	int pinned; /* an owner was accepted */
	uint8_t owner[SEAL_OWNER];
	unsigned n;
	struct state_floor {
		char name[SEAL_NAME_MAX + 1];
		uint64_t floor;
	} names[STATE_NAMES];
	uint64_t list; /* the revocation list that was in force with the key: enclave_rules_list */
	size_t head_n; /* 0: no key is kept */
	uint8_t head[SEAL_HEAD_MAX], key[SEAL_KEY];
	size_t said_n; /* with a key: what its owner signed for the file */
	uint8_t said[RELEASE_SAID];
};

/* 0 where there is none. */
uint64_t state_floor(const struct enclave_state *s, struct span name);
/* Whether there is a floor for the name, be it 0. */
int state_knows(const struct enclave_state *s, struct span name);
/* Whether the version may follow what was accepted; -1 names both. */
int state_allows(const struct enclave_state *s, struct span name, uint64_t version, struct err *e) MUST_USE;
/* The floor of a name never falls. */
int state_raise(struct enclave_state *s, struct span name, uint64_t floor, struct err *e) MUST_USE;
/* A release against what was accepted: owner, floor. Then s holds what follows from it. */
int state_accept(struct enclave_state *s, const struct release *r, struct err *e) MUST_USE;

/* Bytes of a state; pack: new, for seal_free. */
uint8_t *state_pack(const struct enclave_state *s, size_t *n);
int state_read(struct span bytes, struct enclave_state *s) MUST_USE;

struct state_file {
	struct span head, nonce, wrapped, box;
	uint64_t counter;
};
int state_file_read(struct span file, struct state_file *f) MUST_USE;
/* *file: new, *n bytes. */
int state_seal(const struct enclave_state *s, const uint8_t key[STATE_KEY], struct span wrapped,
	       uint64_t counter, struct span authority, uint8_t **file, size_t *n, struct err *e) MUST_USE;
int state_open(struct enclave_state *s, const uint8_t key[STATE_KEY], const struct state_file *f,
	       struct span authority, struct err *e) MUST_USE;

#endif
