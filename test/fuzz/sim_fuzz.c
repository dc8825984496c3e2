/* SPDX-License-Identifier: Apache-2.0 */
/* Simulated reports: as they are, or as certificates. A report that was not signed here must never be
 * accepted. */
#include "crypto/attest/sim.h"
#include "test/crypto/attest/make.h"

static struct make_id root, key;
static struct span chain[2];
static uint8_t keys[1][ATTEST_DIGEST], report[SIM_REPORT];

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const uint8_t measurement[48] = {1}, data[64] = {2};
	struct err e = {0};

	root = make_cert(SIM_ROOT_NAME, EVP_EC_gen("P-256"), NULL, 1, NULL, 0);
	key = make_cert(SIM_KEY_NAME, EVP_EC_gen("P-256"), &root, 0, NULL, 0);
	make_digest(&root, keys[0]);
	chain[0] = make_der(&key);
	chain[1] = make_der(&root);
	make_must(!sim_report_make(report, key.key, SIM_ALL, measurement, data, &e));
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct attest_policy p = {.allow = ~0u, .simulation = {keys, 1}};
	struct span in = {data + 1, size - 1}, files[2] = {chain[0], chain[1]},
		    whole = {report, sizeof(report)};
	struct attest_result r;

	if (!size)
		return 0;
	if (*data & 1)
		files[*data >> 1 & 1] = in;
	attest_verify_sim(&r, *data & 1 ? whole : in, files, 2, &p, MAKE_NOW);
	if (r.verdict >= ATTEST_VERDICTS || attest_accepted(r.verdict))
		abort();
	return 0;
}
