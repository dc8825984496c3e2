/* SPDX-License-Identifier: Apache-2.0 */
/* Gramine: pseudo-files inside the SGX enclave. The 64 bytes that are written count until others are, for the
 * whole process: callers take turns. Source: Gramine, "Attestation and Secret Provisioning". */
#include "daemon/enclave_quote.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/enclave_wire.h"

#define FILES "/dev/attestation/"

int quote_gramine_probe(const struct quote_host *h, struct err *e)
{
	char type[32];
	int number = quote_line(h, FILES "attestation_type", type, sizeof(type));

	if (number == ENOENT)
		return err_set(e, ERR_ENV, "no " FILES ": this is not inside gramine-sgx");
	if (number)
		return err_set(e, ERR_ENV, FILES "attestation_type: %s", strerror(number));
	if (strcmp(type, "dcap"))
		return err_set(
		    e, ERR_ENV,
		    "attestation type \"%s\": the manifest needs sgx.remote_attestation = \"dcap\"", type);
	return 0;
}

int quote_gramine_get(const struct quote_host *h, const uint8_t data[64], struct quoted *out, struct err *e)
{
	int number = quote_write(h, FILES "user_report_data", data, 64);
	size_t n;

	if (number)
		return err_set(e, ERR_ENV, FILES "user_report_data: %s", strerror(number));
	number = quote_read(h, FILES "quote", out->bytes, QUOTE_REPORT_MAX, &n);
	if (number)
		return err_set(e, ERR_ENV,
			       FILES "quote: %s; is the host's AESM service running, and has its PCK "
				     "certificate arrived?",
			       strerror(number));
	out->kind = ENCLAVE_DCAP;
	out->report_n = (uint32_t)n;
	return 0;
}
