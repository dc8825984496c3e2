/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/enclave_keep.h — the enclave's child and its keeper, obscura-enclave-keeper: a process beside it
 * that speaks to the TPM and writes the sealed state's file, because the child may do neither. One message a
 * request on a SOCK_SEQPACKET; first byte: enum keep_op, or in replies 0 for well, 1 for an error with its
 * text. The keeper says once, unasked, whether it can work. */
#ifndef OBSCURA_DAEMON_ENCLAVE_KEEP_H
#define OBSCURA_DAEMON_ENCLAVE_KEEP_H

#include "daemon/enclave_state.h"

#define KEEP_FD 3		       /* of the keeper */
#define KEEP_MESSAGE (STATE_MAX + 256) /* most bytes, with the first */

enum keep_op {
	KEEP_LOAD = 2, /* → the file; nothing where there is none */
	KEEP_SAVE,     /* the file → nothing, when it is on disk */
	KEEP_COUNT,    /* → counter u64, little-endian */
	KEEP_STEP,     /* → the same, after one more */
	KEEP_WRAP,     /* key 32 → wrapped key */
	KEEP_UNWRAP,   /* wrapped key → key 32 */
};

/* Waits for the first word of a new keeper. */
int keep_ready(int fd, struct err *e) MUST_USE;

/* The child's side. */
struct keep {
	int fd; /* −1: no keeper */
	struct span authority;
	uint8_t *key; /* NULL until something was saved; on the heap */
	uint8_t wrapped[1024];
	size_t wrapped_n;
};
/* 1 when there was a state, 0 when there is none, −1 when it is refused: changed, another TPM's, or an old
 * copy. */
int keep_load(struct keep *k, struct enclave_state *s, struct err *e) MUST_USE;
/* 0 at once without a keeper. */
int keep_save(struct keep *k, const struct enclave_state *s, struct err *e) MUST_USE;

#endif
