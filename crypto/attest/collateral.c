/* SPDX-License-Identifier: Apache-2.0 */
/* Intel's collateral: revocation lists, and the signatures over TCB info and QE identity, which cover the
 * exact bytes of the inner JSON object. */
#include "crypto/attest/quote.h"

#include <string.h>

#define SIGNER "Intel SGX TCB Signing"

/* Who signs collateral: a certificate by the root itself, with this name. A PCK certificate, which every
 * platform has, would otherwise do as well. */
static int signer_pick(struct attest_result *r, const struct chain *c, X509 **signer)
{
	char name[100];

	*signer = NULL;
	for (size_t i = 0; i < c->n; i++) {
		if (chain_self_issued(c->cert[i]))
			continue; /* the root; ours is taken from the quote and pinned */
		chain_name(c->cert[i], name, sizeof(name));
		if (*signer || strncmp(name, SIGNER, strlen(SIGNER)))
			return attest_reject(r, ATTEST_CHAIN_ROLE, "\"%.80s\" does not sign collateral",
					     name);
		*signer = c->cert[i];
	}
	return *signer ? 0 : attest_reject(r, ATTEST_CHAIN_ROLE, "missing: " SIGNER);
}

static int signed_by(struct attest_result *r, X509 *signer, struct span text, struct span signature,
		     enum attest_verdict wrong)
{
	EVP_PKEY *key = X509_get0_pubkey(signer);

	if (signature.n == 64 && key_is_curve(key, "prime256v1") &&
	    !ecdsa_verify(key, EVP_sha256(), signature.p, signature.p + 32, 32, 0, text))
		return 0;
	return attest_reject(r, wrong, "%s", "");
}

static int check_signed(struct attest_result *r, const struct platform *p, const struct attest_collateral *c,
			struct span text, struct span signature, struct span chain, enum attest_verdict wrong,
			int64_t now)
{
	struct chain certs = {.n = 0};
	X509 *signer;
	int bad = chain_add(r, &certs, chain) || signer_pick(r, &certs, &signer) ||
		  chain_verify(r, signer, NULL, p->root, now) ||
		  chain_crl(r, c->root_crl, p->root, &signer, 1, now) ||
		  signed_by(r, signer, text, signature, wrong);

	chain_free(&certs);
	return bad ? -1 : 0;
}

static int complete(const struct attest_collateral *c)
{
	return c->root_crl.n && c->pck_crl.n && c->tcb_info.n && c->tcb_signature.n && c->tcb_chain.n &&
	       c->qe_identity.n && c->qe_signature.n && c->qe_chain.n;
}

static int check_status(struct attest_result *r, const struct attest_policy *policy)
{
	if (r->tcb_all == TCB_UP_TO_DATE)
		return 0;
	if (r->tcb_all != TCB_REVOKED && policy->tcb_accepted >> r->tcb_all & 1)
		return 0;
	return attest_reject(r, ATTEST_TCB_STATUS, "%s: %s", tcb_status_word(r->tcb_all),
			     tcb_status_advice(r->tcb_all));
}

int collateral_check(struct attest_result *r, const struct platform *p, const struct attest_collateral *c,
		     const struct attest_policy *policy, int64_t now)
{
	if (!complete(c))
		return attest_reject(r, ATTEST_NO_COLLATERAL, "a part of it is missing");
	if (chain_crl(r, c->root_crl, p->root, &p->middle, 1, now) ||
	    chain_crl(r, c->pck_crl, p->middle, &p->leaf, 1, now) ||
	    check_signed(r, p, c, c->tcb_info, c->tcb_signature, c->tcb_chain, ATTEST_TCBINFO_SIG, now) ||
	    tcb_info_check(r, p, c->tcb_info, policy, now) ||
	    check_signed(r, p, c, c->qe_identity, c->qe_signature, c->qe_chain, ATTEST_QEID_SIG, now) ||
	    qe_identity_check(r, p, c->qe_identity, policy, now) || tcb_levels_judge(r, p, c->tcb_info))
		return -1;
	return check_status(r, policy);
}
