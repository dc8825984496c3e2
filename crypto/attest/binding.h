/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/attest/binding.h — what an enclave's evidence is bound to, so that it cannot be relayed or replayed.
 */
#ifndef OBSCURA_CRYPTO_ATTEST_BINDING_H
#define OBSCURA_CRYPTO_ATTEST_BINDING_H

#include "conf/err.h"
#include "crypto/attest/attest.h"

#define BINDING_NONCE 32
#define BINDING_EXPORTER_LABEL "EXPORTER-obscura-enclave-v1"

struct binding {
	uint8_t role;			 /* whom it is for: 'D' data owner, 'M' model owner */
	struct span key;		 /* SubjectPublicKeyInfo (DER) of the enclave's TLS certificate */
	struct span policy, manifest;	 /* what the enclave obeys; which model it holds */
	const uint8_t *nonce, *exporter; /* 32 bytes each: the client's; of this TLS connection */
};

/* report_data = SHA-512("obscura-enclave-v1" ‖ role ‖ SHA-384(key) ‖ SHA-384(policy ‖ manifest) ‖ nonce ‖
 * exporter). policy ends with an empty line, so that the border to the manifest is fixed. */
int binding_report_data(const struct binding *b, uint8_t out[64], struct err *e) MUST_USE;

#endif
