/* SPDX-License-Identifier: Apache-2.0 */
/* Evidence of any kind that an enclave sends, by its verifier. The host chose the certificates that came with
 * it, so the client's own may be needed beside them, or instead. */
#include "daemon/attest.h"

#include "daemon/enclave_wire.h"

/* A chain that lacks a certificate, has one twice or cannot be read, is no verdict on the report yet. */
static int other_chain_may_help(enum attest_verdict v)
{
	return v == ATTEST_CHAIN_ROLE || v == ATTEST_CHAIN_FORM;
}

/* The host's certificates; these and the policy's; the policy's alone. */
static void judge_snp(struct attest_result *r, struct span report, struct span chain,
		      const struct attest_policy_file *f, int64_t now)
{
	struct span all[1 + ATTEST_POLICY_CHAIN] = {chain};
	size_t given = chain.n > 0;

	for (size_t i = 0; i < f->n_chain; i++)
		all[1 + i] = f->snp_chain[i];
	attest_verify_snp(r, report, all, given, f->snp_crl, &f->policy, now);
	if (f->n_chain && other_chain_may_help(r->verdict))
		attest_verify_snp(r, report, all + 1 - given, given + f->n_chain, f->snp_crl, &f->policy,
				  now);
	if (f->n_chain && given && other_chain_may_help(r->verdict))
		attest_verify_snp(r, report, all + 1, f->n_chain, f->snp_crl, &f->policy, now);
}

int attest_judge(struct attest_result *r, unsigned kind, struct span report, struct span chain,
		 const struct attest_policy_file *f, int64_t now, struct err *e)
{
	const struct attest_collateral *collateral = f->has_collateral ? &f->files.collateral : NULL;

	switch (kind) {
	case ENCLAVE_SIM:
		attest_verify_sim(r, report, &chain, 1, &f->policy, now);
		return 0;
	case ENCLAVE_SNP:
		judge_snp(r, report, chain, f, now);
		return 0;
	case ENCLAVE_DCAP: /* the chain is in the quote */
		attest_verify_dcap(r, report, NULL, 0, collateral, &f->policy, now);
		return 0;
	case ENCLAVE_RATLS:
		attest_verify_ratls(r, report, NULL, 0, collateral, &f->policy, now);
		return 0;
	default:
		return err_set(e, ERR_ATTEST, "the enclave's evidence is of a kind that is unknown here: %u",
			       kind);
	}
}
