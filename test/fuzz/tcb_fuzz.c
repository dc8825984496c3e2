/* SPDX-License-Identifier: Apache-2.0 */
/* TCB info, QE identity and Intel's answers around them, as if they were signed. The first byte chooses. */
#include "crypto/attest/jspan.h"
#include "test/crypto/attest/make_dcap.h"
#include "test/fuzz/seeds.h"

static struct make_dcap m;

static const struct seed seeds[] = {
    {0, "sgx/phala/collateral/tcb_info.json"},
    {1, "tdx/phala/collateral/tcb_info.json"},
    {2, "tdx/oe/oe-v5-collateral/tcb_info.json"},
    {4, "sgx/phala/collateral/qe_identity.json"},
    {5, "tdx/phala/collateral/qe_identity.json"},
    {8, "tdx/gotdx-collateral/sample_tcbInfo_response"},
    {12, "tdx/gotdx-collateral/sample_qeIdentity_response"},
};

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	make_dcap(&m);
	SEEDS(argc, argv, seeds);
	return 0;
}

static void inside(const struct attest_result *r, struct span in)
{
	if (r->verdict >= ATTEST_VERDICTS || strlen(r->advisories) >= sizeof(r->advisories) ||
	    r->tcb_all >= TCB_STATUSES || in.n > ATTEST_EVIDENCE_MAX * 8)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = {data + 1, size - 1}, inner;
	struct attest_policy policy = {.tcb_accepted = ~0u};
	struct quote q;
	struct platform p = {.quote = &q};
	struct attest_result r;
	uint8_t signature[64];
	unsigned kind = size ? *data & 3 : 0;

	if (!size)
		return 0;
	attest_begin(&r);
	if (*data & 8) {
		if (!attest_unwrap(in, *data & 4 ? "enclaveIdentity" : "tcbInfo", &inner, signature) &&
		    (inner.p < in.p || inner.p + inner.n > in.p + in.n || *inner.p != '{'))
			abort();
		return 0;
	}
	if (m.td != (kind > 0) || m.td15 != (kind > 1))
		make_dcap_kind(&m, kind ? 5 : 3, kind > 0, kind > 1);
	make_must(!quote_parse(&r, (struct span){m.quote, m.n}, &q));
	memset(p.pck.component, 5, 16);
	p.pck.pcesvn = 11;
	memcpy(p.pck.fmspc, "\0\xa1\xb2\xc3\xd4\xe5", 6);
	if (*data & 4)
		(void)!qe_identity_check(&r, &p, in, &policy, MAKE_NOW);
	else if (!tcb_info_check(&r, &p, in, &policy, MAKE_NOW) || !jspan_check(in))
		(void)!tcb_levels_judge(&r, &p, in);
	inside(&r, in);
	return 0;
}
