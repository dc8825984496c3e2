/* SPDX-License-Identifier: Apache-2.0 */
/* The table of certificates that an SNP host writes: what is taken from it lies in it, behind its entries,
 * and becomes PEM of the same bytes. */
#include <stdlib.h>
#include <string.h>

#include "crypto/attest/snp_table.h"
#include "daemon/enclave_quote.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct quoted out;
	struct span certs[SNP_CERTIFICATES], table = {data, size};
	struct err e = {0}, second = {0};
	size_t n = 0;
	int bad = snp_table_read(table, certs, &e);

	for (unsigned i = 0; !bad && i < SNP_CERTIFICATES; i++) {
		if (certs[i].n > size ||
		    (certs[i].n && (certs[i].p < data + 24 || certs[i].p > data + size - certs[i].n)))
			abort();
		n += certs[i].n;
	}
	out.report_n = 1184;
	out.chain_n = 0;
	if (quote_snp_chain(table, &out, &second))
		return bad || n > QUOTE_CHAIN_MAX / 2 ? 0 : (abort(), 0);
	if (bad || out.chain_n < n || (out.chain_n > 0) != (n > 0))
		abort();
	return 0;
}
