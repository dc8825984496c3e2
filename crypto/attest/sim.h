/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/attest/sim.h — the simulated report, for the process that holds the quoting key. */
#ifndef OBSCURA_CRYPTO_ATTEST_SIM_H
#define OBSCURA_CRYPTO_ATTEST_SIM_H

#include <openssl/evp.h>

#include "conf/err.h"
#include "crypto/attest/attest.h"

#define SIM_REPORT 272
#define SIM_WORDS "simulated: no hardware isolation"
#define SIM_KEY_NAME "Obscura Simulated Quoting Key"
#define SIM_ROOT_NAME "Obscura Simulation Root"

enum sim_hardening {
#define HARDENING(name, word, what) SIM_##name,
#include "crypto/attest/hardening.def"
#undef HARDENING
	SIM_HARDENINGS
};
#define SIM_ALL ((1u << SIM_HARDENINGS) - 1)

/* Writes and signs a report with a P-256 key. The measurement becomes zero unless hardening is SIM_ALL. */
int sim_report_make(uint8_t out[SIM_REPORT], EVP_PKEY *key, uint32_t hardening, const uint8_t measurement[48],
		    const uint8_t report_data[64], struct err *e) MUST_USE;

#endif
