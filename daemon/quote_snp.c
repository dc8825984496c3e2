/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates of an SNP host, for both ways to a report. They are not parsed here: root of the guest has no
 * business in ASN.1 that the host wrote. */
#include <string.h>

#include <openssl/pem.h>

#include "crypto/attest/snp_table.h"
#include "daemon/enclave_quote.h"

static int put_all(BIO *out, const struct span *certs)
{
	for (unsigned i = 0; i < SNP_CERTIFICATES; i++)
		if (certs[i].n && !PEM_write_bio(out, PEM_STRING_X509, "", certs[i].p, (long)certs[i].n))
			return -1;
	return 0;
}

int quote_snp_chain(struct span table, struct quoted *out, struct err *e)
{
	struct span certs[SNP_CERTIFICATES];
	BIO *pem = BIO_new(BIO_s_mem());
	char *text = NULL;
	long n = 0;
	int bad;

	if (!pem)
		return err_set(e, ERR_ENV, "out of memory");
	bad = snp_table_read(table, certs, e);
	if (!bad && put_all(pem, certs))
		bad = err_set(e, ERR_ENV, "out of memory");
	n = BIO_get_mem_data(pem, &text);
	if (!bad && (n < 0 || n > QUOTE_CHAIN_MAX))
		bad = err_set(e, ERR_ENV, "the host's certificates are %ld bytes of PEM; %d are the limit", n,
			      QUOTE_CHAIN_MAX);
	if (!bad && n) {
		memcpy(out->bytes + out->report_n, text, (size_t)n);
		out->chain_n = (uint32_t)n;
	}
	BIO_free(pem);
	return bad;
}
