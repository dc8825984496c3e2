/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/attest/snp_table.h — the table of certificates that an SNP host gives beside a report. */
#ifndef OBSCURA_CRYPTO_ATTEST_SNP_TABLE_H
#define OBSCURA_CRYPTO_ATTEST_SNP_TABLE_H

#include "conf/err.h"
#include "crypto/attest/attest.h"

enum snp_certificate { SNP_VCEK, SNP_VLEK, SNP_ASK, SNP_ARK, SNP_CERTIFICATES };

/* certs: borrow from the table, n == 0 where it has none. An empty table, and one of zeros, has no
 * certificates: that is no error. */
int snp_table_read(struct span table, struct span certs[SNP_CERTIFICATES], struct err *e) MUST_USE;

#endif
