/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/enclave_tpm.h — a TPM 2.0 through tss2: a counter that never falls, and a key that only this TPM
 * unwraps. Linked into obscura-enclave-keeper alone. */
#ifndef OBSCURA_DAEMON_ENCLAVE_TPM_H
#define OBSCURA_DAEMON_ENCLAVE_TPM_H

#include <stddef.h>
#include <stdint.h>

#include "conf/err.h"

#define TPM_KEY 32
#define TPM_WRAPPED 1024
/* In the owner's range of the TCG's registry of NV indices. */
#define TPM_INDEX 0x01800b5cu

struct tpm;
/* where: device:/dev/tpmrm0 or swtpm:host=…,port=…. Makes the counter when there is none. */
int tpm_open(struct tpm **t, const char *where, struct err *e) MUST_USE;
void tpm_close(struct tpm *t); /* NULL is allowed */

int tpm_count(struct tpm *t, uint64_t *count, struct err *e) MUST_USE;
/* The counter plus one, and that is its value from now on. */
int tpm_step(struct tpm *t, uint64_t *count, struct err *e) MUST_USE;

/* wrapped: TPM_WRAPPED bytes, *n used. Key and TPM exchange it under a session's cipher. */
int tpm_wrap(struct tpm *t, const uint8_t key[TPM_KEY], uint8_t *wrapped, size_t *n, struct err *e) MUST_USE;
int tpm_unwrap(struct tpm *t, const uint8_t *wrapped, size_t n, uint8_t key[TPM_KEY], struct err *e) MUST_USE;

#endif
