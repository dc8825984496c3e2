/* SPDX-License-Identifier: Apache-2.0 */
/* DCAP: a quote as it is; a body or quoting enclave's report signed by our own Intel; the extension of a PCK
 * certificate; a revocation list. The first byte chooses. */
#include "test/crypto/attest/make_dcap.h"
#include "test/fuzz/seeds.h"

static struct make_dcap m;

static const struct seed seeds[] = {
    {0, "sgx/phala/quote.dat"},
    {0, "tdx/phala/quote.dat"},
    {0, "tdx/gotdx-v5/quote.dat"},
    {0, "synthetic/dcap/sgx-ok.dat"},
    {0, "synthetic/dcap/tdx-v5-ok.dat"},
    {0, "sgx/intel-qvl-synthetic/quote.dat"},
    {5, "tdx/phala/collateral/root_ca.crl.der"},
    {6, "tdx/phala/collateral/tcb_info.chain.pem"},
};

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	make_dcap(&m);
	SEEDS(argc, argv, seeds);
	return 0;
}

static void judge(struct span quote, const struct attest_collateral *c)
{
	struct attest_policy p = make_dcap_policy(&m);
	struct attest_result r;

	p.allow = ~0u;
	p.tcb_accepted = ~0u;
	attest_verify_dcap(&r, quote, NULL, 0, c, &p, MAKE_NOW);
	if (r.verdict >= ATTEST_VERDICTS ||
	    (r.verdict == ATTEST_OK && (!r.evidence_n || r.evidence_n > quote.n)))
		abort();
}

static void signed_again(const uint8_t *data, struct span in)
{
	static const struct {
		unsigned version;
		int td, td15;
	} kinds[] = {{3, 0, 0}, {4, 1, 0}, {5, 1, 1}, {5, 0, 0}};
	int k = *data >> 4 & 3, qe = *data >> 6 & 1;
	size_t room = qe ? sizeof(m.qe) : sizeof(m.body);

	make_dcap_kind(&m, kinds[k].version, kinds[k].td, kinds[k].td15);
	memcpy(qe ? m.qe : m.body, in.p, in.n < room ? in.n : room);
	make_quote(&m);
	judge((struct span){m.quote, m.n}, &m.collateral);
}

static void extension(struct span in)
{
	struct make_extension x = {"1.2.840.113741.1.13.1", in.p, in.n};
	struct make_id id = make_cert("Intel SGX PCK Certificate", EVP_EC_gen("P-256"), &m.middle, 0, &x, 1);
	struct attest_result r = {0};
	struct pck p;

	if (pck_read(&r, id.cert, &p) && r.verdict != ATTEST_PCK_FORM)
		abort();
	make_id_free(&id);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = {data + 1, size - 1};
	struct attest_collateral c = m.collateral;

	if (!size)
		return 0;
	switch (*data & 7) {
	case 1:
	case 2:
		signed_again(data, in);
		break;
	case 3:
		extension(in);
		break;
	case 4:
		c.pck_crl = in;
		judge((struct span){m.quote, m.n}, &c);
		break;
	case 5:
		c.root_crl = in;
		judge((struct span){m.quote, m.n}, &c);
		break;
	case 6:
		c.tcb_chain = in;
		judge((struct span){m.quote, m.n}, &c);
		break;
	default:
		judge(in, &c);
	}
	return 0;
}
