/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/attest/ratls.h — what an enclave puts into its own certificate, so that whoever reads interoperable
 * RA-TLS can verify it (ratls.c reads it). */
#ifndef OBSCURA_CRYPTO_ATTEST_RATLS_H
#define OBSCURA_CRYPTO_ATTEST_RATLS_H

#include "conf/err.h"
#include "crypto/attest/attest.h"

#define RATLS_OID "2.23.133.5.4.9"
#define RATLS_CLAIMS 64 /* bytes at most */

/* Claims about a key (SubjectPublicKeyInfo, DER), and the report data that a quote for them needs. Returns
 * their bytes, 0 when memory is short. */
size_t ratls_claims(uint8_t out[RATLS_CLAIMS], struct span key, uint8_t report_data[64]);
/* Content of the extension: at most quote.n + claims.n + 16 bytes. Returns its bytes. */
size_t ratls_evidence(uint8_t *out, struct span quote, struct span claims);

#endif
