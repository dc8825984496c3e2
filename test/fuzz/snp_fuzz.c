/* SPDX-License-Identifier: Apache-2.0 */
/* SEV-SNP: a report as it is, a report signed by our own AMD (so that what follows the signature is reached),
 * a file of certificates, a revocation list. The first byte chooses. */
#include "test/crypto/attest/make_snp.h"
#include "test/fuzz/seeds.h"

static struct make_snp amd[2];

static const struct seed seeds[] = {
    {0, "snp/ms-turin/report.bin"},
    {1, "snp/ms-genoa/report.bin"},
    {1, "snp/virtee-milan/report.bin"},
    {2, "snp/ms-turin/vcek.pem"},
    {2, "snp/ms-genoa/ca.pem"},
    {2, "snp/trustee-vlek/vlek.der"},
    {3, "tdx/phala/collateral/root_ca.crl.der"},
};

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	make_snp(&amd[0], SNP_TURIN, 0);
	make_snp(&amd[1], SNP_MILAN, 1);
	SEEDS(argc, argv, seeds);
	return 0;
}

static void judge(const struct make_snp *m, struct span report, const struct span *chain, size_t n,
		  struct span crl)
{
	struct attest_policy p = {.amd = {m->root, 1}, .allow = ~0u, .vmpl_max = 3};
	struct attest_result r;
	enum attest_verdict v = attest_verify_snp(&r, report, chain, n, crl, &p, MAKE_NOW);

	if (v >= ATTEST_VERDICTS || v != r.verdict || (v == ATTEST_OK && r.kind != ATTEST_BODY_SNP))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = {data + 1, size - 1}, none = {NULL, 0}, chain[3];
	struct make_snp *m;

	if (!size)
		return 0;
	m = &amd[*data >> 7];
	memcpy(chain, m->chain, sizeof(chain));
	switch (*data & 3) {
	case 0:
		judge(m, in, chain, 3, none);
		break;
	case 1:
		memset(m->report, 0, sizeof(m->report));
		memcpy(m->report, in.p, in.n < sizeof(m->report) ? in.n : sizeof(m->report));
		make_snp_sign(m);
		judge(m, (struct span){m->report, sizeof(m->report)}, chain, 3, none);
		break;
	case 2:
		chain[*data >> 2 & 1] = in;
		judge(m, (struct span){m->report, sizeof(m->report)}, chain, 3, none);
		break;
	default:
		judge(m, (struct span){m->report, sizeof(m->report)}, chain, 3, in);
	}
	return 0;
}
