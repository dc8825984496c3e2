/* SPDX-License-Identifier: Apache-2.0 */
/* Intel quotes: root → PCK authority → PCK → quoting enclave's report → attestation key → quote. */
#include "crypto/attest/quote.h"

#include <stdio.h>
#include <string.h>

#define SGX_DEBUG 2	   /* attributes byte 0 */
#define TD_MIGRATABLE 0x20 /* tdattributes byte 3: bit 29 */

/* SHA-256 of the public key of "Intel SGX Root CA". */
static const uint8_t intel_root[1][ATTEST_DIGEST] = {
    {0xa0, 0xaf, 0x03, 0x12, 0x89, 0xf5, 0xd5, 0xd4, 0x13, 0x2f, 0x91, 0x86, 0x06, 0x8a, 0x7f, 0xc1,
     0x36, 0x28, 0x63, 0x3b, 0xa2, 0x35, 0x77, 0x74, 0x72, 0xe2, 0x9b, 0x6b, 0x6c, 0x67, 0xa4, 0x9e}};

/* MRSIGNER of Intel's quoting enclaves for SGX and TDX. A PCK key vouches for other enclaves of the platform,
 * too; QE identity tells them apart, and this does where a policy allows to go without. */
static const uint8_t intel_qe[2][32] = {
    {0x8c, 0x4f, 0x57, 0x75, 0xd7, 0x96, 0x50, 0x3e, 0x96, 0x13, 0x7f, 0x77, 0xc6, 0x8a, 0x82, 0x9a,
     0x00, 0x56, 0xac, 0x8d, 0xed, 0x70, 0x14, 0x0b, 0x08, 0x1b, 0x09, 0x44, 0x90, 0xc5, 0x7b, 0xff},
    {0xdc, 0x9e, 0x2a, 0x7c, 0x6f, 0x94, 0x8f, 0x17, 0x47, 0x4e, 0x34, 0xa7, 0xfc, 0x43, 0xed, 0x03,
     0x0f, 0x7c, 0x15, 0x63, 0xf1, 0xba, 0xbd, 0xdf, 0x63, 0x40, 0xc8, 0x2e, 0x0e, 0x54, 0xa8, 0xc5},
};

/* ---- the chain ---- */

static int has_prefix(const char *text, const char *prefix)
{
	return !strncmp(text, prefix, strlen(prefix));
}

static X509 **slot_of(struct platform *p, X509 *cert, const char *name)
{
	if (chain_self_issued(cert))
		return &p->root;
	if (has_prefix(name, "Intel SGX PCK Certificate"))
		return &p->leaf;
	if (has_prefix(name, "Intel SGX PCK Platform CA") || has_prefix(name, "Intel SGX PCK Processor CA"))
		return &p->middle;
	return NULL;
}

static int chain_sort(struct attest_result *r, const struct chain *c, struct platform *p)
{
	char name[100];

	for (size_t i = 0; i < c->n; i++) {
		X509 **slot;

		chain_name(c->cert[i], name, sizeof(name));
		slot = slot_of(p, c->cert[i], name);
		if (!slot || *slot)
			return attest_reject(r, ATTEST_PCK_CHAIN, "\"%.80s\" %s", name,
					     slot ? "stands twice" : "has no place in it");
		*slot = c->cert[i];
	}
	if (p->leaf && p->middle)
		return 0;
	return attest_reject(r, ATTEST_PCK_CHAIN, "missing: %s",
			     p->leaf ? "PCK authority" : "PCK certificate");
}

/* The root may come from outside the quote; trusted it is by its key alone. */
static int check_chain(struct attest_result *r, struct platform *p, const struct chain *given,
		       const struct attest_policy *policy, int64_t now)
{
	for (size_t i = 0; !p->root && i < given->n; i++)
		if (chain_self_issued(given->cert[i]))
			p->root = given->cert[i];
	if (!p->root)
		return attest_reject(r, ATTEST_PCK_CHAIN, "missing: root");
	if (!chain_trusted(p->root, intel_root, 1, &policy->intel))
		return attest_reject(r, ATTEST_ROOT_UNTRUSTED, "%s", "");
	if (chain_verify(r, p->leaf, p->middle, p->root, now) || pck_read(r, p->leaf, &p->pck))
		return -1;
	if (!key_is_curve(X509_get0_pubkey(p->leaf), "prime256v1"))
		return attest_reject(r, ATTEST_CHAIN_RULES, "the PCK is not on P-256");
	return 0;
}

/* ---- signatures ---- */

/* report_data of the quoting enclave = SHA-256(attestation key ‖ its own data) ‖ 0 … */
static int key_is_bound(const struct quote *q)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t digest[32];
	int good = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) && EVP_DigestUpdate(ctx, q->key, 64) &&
		   EVP_DigestUpdate(ctx, q->qe_auth.p, q->qe_auth.n) && EVP_DigestFinal_ex(ctx, digest, NULL);

	EVP_MD_CTX_free(ctx);
	return good && !memcmp(q->qe_report + 320, digest, 32) && bytes_zero(q->qe_report + 352, 32);
}

static int check_signatures(struct attest_result *r, const struct platform *p)
{
	const struct quote *q = p->quote;
	EVP_PKEY *key;
	int bad;

	if (ecdsa_verify(X509_get0_pubkey(p->leaf), EVP_sha256(), q->qe_signature, q->qe_signature + 32, 32,
			 0, (struct span){q->qe_report, SGX_BODY}))
		return attest_reject(r, ATTEST_QE_REPORT_SIG, "%s", "");
	if (!key_is_bound(q))
		return attest_reject(r, ATTEST_QE_REPORT_DATA, "%s", "");
	key = p256_key(q->key);
	bad = !key || ecdsa_verify(key, EVP_sha256(), q->signature, q->signature + 32, 32, 0, q->covered);
	EVP_PKEY_free(key);
	return bad ? attest_reject(r, ATTEST_QUOTE_SIG, "%s", "") : 0;
}

/* ---- policy ---- */

static int check_td(struct attest_result *r, const uint8_t *td, const struct attest_policy *policy)
{
	/* Any bit of the first byte makes a trust domain open to its host; bit 0 is DEBUG. */
	if (td[120] && !attest_allows(policy, ATTEST_ALLOW_DEBUG))
		return attest_reject(r, ATTEST_DEBUG_ENCLAVE, "TDATTRIBUTES begin with 0x%02x", td[120]);
	if (td[123] & TD_MIGRATABLE && !attest_allows(policy, ATTEST_ALLOW_MIGRATION))
		return attest_reject(r, ATTEST_MIGRATABLE, "bit 29 of TDATTRIBUTES is 1");
	if (!bytes_zero(td + 112, 8) || !bytes_zero(td + 64, 48))
		return attest_reject(r, ATTEST_TDX_MODULE,
				     "its signer or attributes are not zero, as Intel's are");
	return 0;
}

static int check_mode(struct attest_result *r, const struct quote *q, const struct attest_policy *policy)
{
	if (q->qe_report[48] & SGX_DEBUG)
		return attest_reject(r, ATTEST_QE_ATTR, "the quoting enclave runs in debug mode");
	if (q->td)
		return check_td(r, q->body, policy);
	if (q->body[48] & SGX_DEBUG && !attest_allows(policy, ATTEST_ALLOW_DEBUG))
		return attest_reject(r, ATTEST_DEBUG_ENCLAVE, "bit 1 of the enclave's attributes is 1");
	if (le16(q->body + 258) < policy->isvsvn_minimum)
		return attest_reject(r, ATTEST_TCB_MINIMUM,
				     "enclave's ISVSVN: expected at least %u, received %u",
				     policy->isvsvn_minimum, le16(q->body + 258));
	return 0;
}

static int without_collateral(struct attest_result *r, const struct platform *p,
			      const struct attest_policy *policy)
{
	static const struct attest_roots none = {NULL, 0};

	if (!attest_allows(policy, ATTEST_ALLOW_NO_COLLATERAL))
		return attest_reject(r, ATTEST_NO_COLLATERAL, "%s", "");
	if (chain_trusted(p->root, intel_root, 1, &none) &&
	    memcmp(p->quote->qe_report + 128, intel_qe[p->quote->td], 32))
		return attest_reject(r, ATTEST_QE_SIGNER, "its MRSIGNER is not Intel's");
	return 0;
}

static int judge(struct attest_result *r, struct platform *p, const struct chain *given,
		 const struct attest_collateral *collateral, const struct attest_policy *policy, int64_t now)
{
	const struct quote *q = p->quote;

	if (check_chain(r, p, given, policy, now) || check_signatures(r, p))
		return -1;
	attest_body_set(r, q->td ? ATTEST_BODY_TD : ATTEST_BODY_SGX, q->body,
			q->td15 ? TD15_BODY
			: q->td ? TD10_BODY
				: SGX_BODY);
	r->evidence_n = q->size;
	snprintf(r->product, sizeof(r->product), "%s", q->td ? "TDX" : "SGX");
	if (check_mode(r, q, policy))
		return -1;
	if (collateral ? collateral_check(r, p, collateral, policy, now) : without_collateral(r, p, policy))
		return -1;
	return attest_check_values(r, policy);
}

enum attest_verdict attest_verify_dcap(struct attest_result *r, struct span quote, const struct span *chain,
				       size_t n, const struct attest_collateral *collateral,
				       const struct attest_policy *policy, int64_t now)
{
	struct chain own = {.n = 0}, given = {.n = 0};
	struct quote q;
	struct platform p = {.quote = &q};
	int bad;

	attest_begin(r);
	bad = quote_parse(r, quote, &q) || chain_add(r, &own, q.certificates);
	for (size_t i = 0; !bad && i < n; i++)
		bad = chain_add(r, &given, chain[i]);
	if (!bad && !chain_sort(r, &own, &p) && !judge(r, &p, &given, collateral, policy, now))
		r->verdict = ATTEST_OK;
	chain_free(&own);
	chain_free(&given);
	return r->verdict;
}
