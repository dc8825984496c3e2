/* SPDX-License-Identifier: Apache-2.0 */
/* Simulated evidence: no hardware isolation. By name only. */
#include "daemon/enclave_quote.h"

#include <string.h>

#include "crypto/attest/sim.h"
#include "daemon/enclave_wire.h"

int quote_sim_probe(const struct quote_host *h, struct err *e)
{
	return 0;
}

int quote_sim_get(const struct quote_host *h, const uint8_t data[64], struct quoted *out, struct err *e)
{
	const struct quote_sim *s = h->sim;

	if (!s || s->chain.n > QUOTE_CHAIN_MAX)
		return err_set(e, ERR_ENV, "there is no quoting key (obscura attest simulation)");
	if (sim_report_make(out->bytes, s->key, s->hardening, s->measurement, data, e))
		return -1;
	memcpy(out->bytes + SIM_REPORT, s->chain.p, s->chain.n);
	out->kind = ENCLAVE_SIM;
	out->report_n = SIM_REPORT;
	out->chain_n = (uint32_t)s->chain.n;
	return 0;
}
