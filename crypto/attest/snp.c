/* SPDX-License-Identifier: Apache-2.0 */
/* AMD SEV-SNP attestation reports, versions 2 to 5.
 * Source: AMD, "SEV Secure Nested Paging Firmware ABI Specification" (56860), table ATTESTATION_REPORT; "VCEK
 * Certificate and KDS Interface Specification" (57230). Integers are little-endian. Bytes 0x000…0x29f are
 * signed; all others are the signature or must be zero, so no byte of a report can change unseen. */
#include "crypto/attest/parts.h"

#include <stdio.h>
#include <string.h>

#include <openssl/obj_mac.h>

#define REPORT 0x4a0
#define SIGNED 0x2a0
#define COORDINATE 72 /* bytes of r and of s, of which P-384 needs 48 */

#define POLICY_ONE (UINT64_C(1) << 17)
#define POLICY_MIGRATE (UINT64_C(1) << 18)
#define POLICY_DEBUG (UINT64_C(1) << 19)

#define OID_AMD "1.3.6.1.4.1.3704.1."

static const struct product_row {
	const char *name;
	uint8_t family, model[2][2]; /* ranges of CPUID models; family 0x19 or 0x1a */
} products[SNP_PRODUCTS] = {
    [SNP_MILAN] = {"Milan", 0x19, {{0x00, 0x0f}, {0x00, 0x0f}}},
    [SNP_GENOA] = {"Genoa", 0x19, {{0x10, 0x1f}, {0xa0, 0xaf}}}, /* and Bergamo, Siena */
    [SNP_TURIN] = {"Turin", 0x1a, {{0x00, 0x1f}, {0x00, 0x1f}}},
};

/* SHA-256 of the public keys of ARK-Milan, ARK-Genoa, ARK-Turin. */
static const uint8_t arks[SNP_PRODUCTS][ATTEST_DIGEST] = {
    {0x9f, 0x05, 0x6b, 0xee, 0x44, 0x37, 0x7e, 0x29, 0x30, 0x8c, 0xb5, 0xff, 0xa8, 0x95, 0xbd, 0xfb,
     0x62, 0xd1, 0x88, 0x81, 0xfa, 0x6b, 0xed, 0x8d, 0x6f, 0x07, 0x5b, 0x02, 0x04, 0x08, 0x9c, 0xb9},
    {0x42, 0x9a, 0x69, 0xc9, 0x42, 0x2a, 0xa2, 0x58, 0xee, 0x4d, 0x8d, 0xb5, 0xfc, 0xda, 0x9c, 0x64,
     0x70, 0xef, 0x15, 0xf8, 0xcd, 0x5a, 0x9c, 0xeb, 0xd6, 0xcb, 0xc7, 0xd9, 0x0b, 0x86, 0x38, 0x31},
    {0x4f, 0x12, 0x54, 0x10, 0x56, 0x3a, 0x2a, 0xb9, 0xa5, 0x03, 0x56, 0xf9, 0x24, 0x3f, 0x6f, 0xe0,
     0xb6, 0xf7, 0x3d, 0xe9, 0x86, 0x03, 0xf5, 0x3f, 0x90, 0x33, 0x9c, 0x70, 0xe9, 0xd7, 0xad, 0x08},
};

const char *snp_product_name(enum snp_product p)
{
	return (unsigned)p < SNP_PRODUCTS ? products[p].name : "?";
}

/* ---- the report ---- */

static int must_be_zero(struct attest_result *r, const uint8_t *report)
{
	uint32_t version = le32(report);
	const struct {
		size_t from, to;
	} zero[] = {
	    {0x04c, 0x050},
	    {version < 3 ? 0x188 : 0x18b, 0x1a0}, /* CPUID bytes came with version 3 */
	    {0x1eb, 0x1ec},
	    {0x1ef, 0x1f0},
	    {version < 5 ? 0x1f8 : 0x208, SIGNED}, /* mitigation vectors came with version 5 */
	    {SIGNED + 2 * COORDINATE, REPORT},	   /* not signed: this rule alone protects it */
	};

	for (size_t i = 0; i < sizeof(zero) / sizeof(*zero); i++)
		if (!bytes_zero(report + zero[i].from, zero[i].to - zero[i].from))
			return attest_reject(r, ATTEST_SNP_MBZ,
					     "bytes 0x%03zx to 0x%03zx of a version %u report", zero[i].from,
					     zero[i].to - 1, version);
	return 0;
}

static int check_form(struct attest_result *r, struct span report)
{
	if (report.n != REPORT)
		return attest_reject(r, ATTEST_SNP_SIZE, "expected %d bytes, received %zu", REPORT, report.n);
	r->version = le32(report.p);
	if (r->version < 2 || r->version > 5)
		return attest_reject(r, ATTEST_SNP_VERSION, "version %u", r->version);
	if (le32(report.p + 0x034) != 1)
		return attest_reject(r, ATTEST_SNP_SIGALGO, "algorithm %u, expected 1",
				     le32(report.p + 0x034));
	if (!(le64(report.p + 0x008) & POLICY_ONE))
		return attest_reject(r, ATTEST_SNP_POLICY, "bit 17 of the guest's policy is 0");
	return must_be_zero(r, report.p);
}

/* ---- the chain ---- */

struct snp_chain {
	X509 *leaf, *middle, *root; /* borrow */
	int vlek;
	enum snp_product product;
};

static int slot_take(struct attest_result *r, X509 **slot, X509 *cert, const char *name)
{
	if (*slot)
		return attest_reject(r, ATTEST_CHAIN_ROLE, "two certificates like \"%s\"", name);
	*slot = cert;
	return 0;
}

/* The common name says the role: ARK-Genoa, SEV-Genoa or SEV-VLEK-Genoa, SEV-VCEK or SEV-VLEK. */
static int chain_sort(struct attest_result *r, const struct chain *c, struct snp_chain *s)
{
	char name[64];

	for (size_t i = 0; i < c->n; i++) {
		X509 **slot = &s->middle;

		chain_name(c->cert[i], name, sizeof(name));
		if (!strcmp(name, "SEV-VCEK") || !strcmp(name, "SEV-VLEK"))
			slot = &s->leaf;
		else if (!strncmp(name, "ARK-", 4))
			slot = &s->root;
		else if (strncmp(name, "SEV-", 4))
			return attest_reject(r, ATTEST_CHAIN_ROLE, "\"%s\" is no name of AMD's", name);
		if (slot_take(r, slot, c->cert[i], name))
			return -1;
		if (slot == &s->leaf)
			s->vlek = !strcmp(name, "SEV-VLEK");
	}
	if (!s->leaf || !s->middle || !s->root)
		return attest_reject(r, ATTEST_CHAIN_ROLE, "missing:%s%s%s", s->leaf ? "" : " VCEK or VLEK",
				     s->middle ? "" : " ASK or ASVK", s->root ? "" : " ARK");
	return 0;
}

/* AMD signs with RSASSA-PSS and SHA-384; OpenSSL takes the hash from the certificate itself. */
static int chain_algorithms(struct attest_result *r, const struct chain *c)
{
	for (size_t i = 0; i < c->n; i++) {
		int hash = 0, key = 0;

		if (!X509_get_signature_info(c->cert[i], &hash, &key, NULL, NULL) || hash != NID_sha384 ||
		    key != NID_rsassaPss)
			return attest_reject(r, ATTEST_CHAIN_RULES,
					     "a certificate is not signed with RSA-PSS, SHA-384");
	}
	return 0;
}

/* Names of root and intermediate agree on the generation. They are authentic by now. */
static int chain_product(struct attest_result *r, struct snp_chain *s)
{
	char root[64], middle[64], want[64];
	unsigned p = 0;

	chain_name(s->root, root, sizeof(root));
	chain_name(s->middle, middle, sizeof(middle));
	while (p < SNP_PRODUCTS && strcmp(root + 4, products[p].name))
		p++;
	if (p == SNP_PRODUCTS)
		return attest_reject(r, ATTEST_SNP_PRODUCT, "\"%s\" is no known generation", root);
	snprintf(want, sizeof(want), "SEV-%s%s", s->vlek ? "VLEK-" : "", products[p].name);
	if (strcmp(middle, want))
		return attest_reject(r, ATTEST_CHAIN_NAME, "expected \"%s\", received \"%s\"", want, middle);
	s->product = (enum snp_product)p;
	snprintf(r->product, sizeof(r->product), "%s", products[p].name);
	return 0;
}

static int check_chain(struct attest_result *r, const struct chain *c, struct snp_chain *s, struct span crl,
		       const struct attest_policy *policy, int64_t now)
{
	if (chain_sort(r, c, s))
		return -1;
	if (!chain_trusted(s->root, arks, SNP_PRODUCTS, &policy->amd))
		return attest_reject(r, ATTEST_ARK_UNTRUSTED, "%s", "");
	if (chain_verify(r, s->leaf, s->middle, s->root, now) || chain_algorithms(r, c) ||
	    chain_product(r, s))
		return -1;
	return crl.n ? chain_crl(r, crl, s->root, &s->middle, 1, now) : 0;
}

/* ---- certificate against report ---- */

/* DER INTEGER of one byte: 02 01 xx, or 02 02 00 xx from 0x80 on. */
static int small_integer(struct span x, uint8_t *value)
{
	if (x.n == 3 && x.p[0] == 2 && x.p[1] == 1 && x.p[2] < 0x80)
		*value = x.p[2];
	else if (x.n == 4 && x.p[0] == 2 && x.p[1] == 2 && !x.p[2] && x.p[3] >= 0x80)
		*value = x.p[3];
	else
		return -1;
	return 0;
}

static int leaf_svn(struct attest_result *r, const X509 *leaf, const char *oid, uint8_t *value)
{
	struct span x;

	if (chain_extension(leaf, oid, &x) == 1 && !small_integer(x, value))
		return 0;
	return attest_reject(r, ATTEST_CHAIN_RULES, "the leaf certificate lacks a readable %s", oid);
}

static int leaf_tcb(struct attest_result *r, const struct snp_chain *s, struct snp_tcb *t)
{
	memset(t, 0, sizeof(*t));
	if (s->product == SNP_TURIN && leaf_svn(r, s->leaf, OID_AMD "3.9", &t->fmc))
		return -1;
	return leaf_svn(r, s->leaf, OID_AMD "3.1", &t->bootloader) ||
		       leaf_svn(r, s->leaf, OID_AMD "3.2", &t->tee) ||
		       leaf_svn(r, s->leaf, OID_AMD "3.3", &t->snp) ||
		       leaf_svn(r, s->leaf, OID_AMD "3.8", &t->microcode)
		   ? -1
		   : 0;
}

/* TCB_VERSION: Milan and Genoa: bootloader, TEE, 4 reserved, SNP, microcode; Turin: FMC, bootloader, TEE,
 * SNP, 3 reserved, microcode. */
static struct snp_tcb tcb_read(enum snp_product product, const uint8_t v[8])
{
	if (product == SNP_TURIN)
		return (struct snp_tcb){v[0], v[1], v[2], v[3], v[7]};
	return (struct snp_tcb){0, v[0], v[1], v[6], v[7]};
}

static void tcb_text(char out[64], const struct snp_tcb *t)
{
	snprintf(out, 64, "fmc %u bootloader %u tee %u snp %u microcode %u", t->fmc, t->bootloader, t->tee,
		 t->snp, t->microcode);
}

/* Product of the leaf: "Milan-B0", "Genoa", …; as an IA5String. */
static int leaf_product(struct attest_result *r, const struct snp_chain *s)
{
	const char *want = products[s->product].name;
	struct span x;

	if (chain_extension(s->leaf, OID_AMD "2", &x) == 1 && x.n >= 2 && x.p[0] == 0x16 &&
	    x.p[1] == x.n - 2 && x.n - 2 >= strlen(want) && !memcmp(x.p + 2, want, strlen(want)) &&
	    (x.n - 2 == strlen(want) || x.p[2 + strlen(want)] == '-'))
		return 0;
	return attest_reject(r, ATTEST_SNP_PRODUCT, "the leaf certificate is not for %s", want);
}

static int report_product(struct attest_result *r, const struct snp_chain *s, const uint8_t *report)
{
	const struct product_row *p = &products[s->product];
	uint8_t family = report[0x188], model = report[0x189];

	if (leaf_product(r, s))
		return -1;
	if (r->version < 3)
		return 0;
	for (unsigned i = 0; i < 2; i++)
		if (family == p->family && model >= p->model[i][0] && model <= p->model[i][1])
			return 0;
	return attest_reject(r, ATTEST_SNP_PRODUCT,
			     "the report is of CPUID family 0x%02x model 0x%02x, not %s", family, model,
			     p->name);
}

/* REPORTED_TCB is what the firmware derives the VCEK for. */
static int check_tcb(struct attest_result *r, const struct snp_chain *s, const uint8_t *report)
{
	char cert[64], got[64];
	struct snp_tcb t;

	if (leaf_tcb(r, s, &t))
		return -1;
	r->tcb = tcb_read(s->product, report + 0x180);
	if (!memcmp(&t, &r->tcb, sizeof(t)))
		return 0;
	tcb_text(cert, &t);
	tcb_text(got, &r->tcb);
	return attest_reject(r, ATTEST_TCB_MISMATCH, "certificate: %s; report: %s", cert, got);
}

/* HWID: 64 raw bytes; Turin: 8, and CHIP_ID is 8 bytes and zeros. A VLEK is a key of a cloud provider, not of
 * a chip. */
static int check_chip(struct attest_result *r, const struct snp_chain *s, const uint8_t *report,
		      const struct attest_policy *policy)
{
	const uint8_t *chip = report + 0x1a0;
	struct span id;

	if (s->vlek)
		return 0;
	if (bytes_zero(chip, 64))
		return attest_allows(policy, ATTEST_ALLOW_MASKED_CHIP)
			   ? 0
			   : attest_reject(r, ATTEST_CHIP_MASKED, "the report's chip identity is all zero");
	if (chain_extension(s->leaf, OID_AMD "4", &id) == 1 && id.n == (s->product == SNP_TURIN ? 8 : 64) &&
	    !memcmp(id.p, chip, id.n) && bytes_zero(chip + id.n, 64 - id.n))
		return 0;
	return attest_reject(r, ATTEST_CHIP_ID, "%s", "");
}

static int check_signature(struct attest_result *r, const struct snp_chain *s, const uint8_t *report)
{
	EVP_PKEY *key = X509_get0_pubkey(s->leaf);
	unsigned signer = le32(report + 0x048) >> 2 & 7; /* 0 VCEK, 1 VLEK, 7 none */

	if (!key_is_curve(key, "secp384r1"))
		return attest_reject(r, ATTEST_CHAIN_RULES, "the leaf key is not on P-384");
	if (ecdsa_verify(key, EVP_sha384(), report + SIGNED, report + SIGNED + COORDINATE, COORDINATE, 1,
			 (struct span){report, SIGNED}))
		return attest_reject(r, ATTEST_REPORT_SIG, "%s", "");
	if (signer != (unsigned)s->vlek)
		return attest_reject(r, ATTEST_SNP_KEY, "the report names key %u (0 VCEK, 1 VLEK)", signer);
	r->vlek = s->vlek;
	return 0;
}

/* ---- policy ---- */

static int tcb_below(const struct snp_tcb *t, const struct snp_tcb *least)
{
	return t->fmc < least->fmc || t->bootloader < least->bootloader || t->tee < least->tee ||
	       t->snp < least->snp || t->microcode < least->microcode;
}

/* Reported: what the key vouches for. Launch: what the guest started on. Committed: what the host can roll
 * back to. */
static int check_minimum(struct attest_result *r, enum snp_product product,
			 const struct attest_policy *policy)
{
	static const struct {
		const char *name;
		size_t at;
	} tcbs[] = {{"reported", 0x180}, {"launch", 0x1f0}, {"committed", 0x1e0}};
	const struct snp_tcb *least = &policy->tcb_minimum[product];
	char want[64], got[64];

	for (size_t i = 0; i < sizeof(tcbs) / sizeof(*tcbs); i++) {
		struct snp_tcb t = tcb_read(product, r->body + tcbs[i].at);

		if (!tcb_below(&t, least))
			continue;
		tcb_text(want, least);
		tcb_text(got, &t);
		return attest_reject(r, ATTEST_TCB_MINIMUM, "%s TCB: expected at least %s, received %s",
				     tcbs[i].name, want, got);
	}
	return 0;
}

static int check_policy(struct attest_result *r, enum snp_product product, const struct attest_policy *policy)
{
	r->guest_policy = le64(r->body + 0x008);
	r->platform = le64(r->body + 0x040);
	r->vmpl = le32(r->body + 0x030);
	if (r->version < 3 && !attest_allows(policy, ATTEST_ALLOW_OLD_REPORT))
		return attest_reject(r, ATTEST_SNP_OLD, "version %u", r->version);
	if (r->guest_policy & POLICY_DEBUG && !attest_allows(policy, ATTEST_ALLOW_DEBUG))
		return attest_reject(r, ATTEST_DEBUG_GUEST, "bit 19 of the guest's policy is 1");
	if (r->guest_policy & POLICY_MIGRATE && !attest_allows(policy, ATTEST_ALLOW_MIGRATION))
		return attest_reject(r, ATTEST_MIGRATABLE, "bit 18 of the guest's policy is 1");
	if (r->vmpl > policy->vmpl_max)
		return attest_reject(r, ATTEST_WANT_VMPL, "expected VMPL at most %u, received %u",
				     policy->vmpl_max, r->vmpl);
	if (r->guest_policy & policy->guest_policy_forbidden)
		return attest_reject(r, ATTEST_GUEST_POLICY, "policy 0x%llx, forbidden 0x%llx",
				     (unsigned long long)r->guest_policy,
				     (unsigned long long)policy->guest_policy_forbidden);
	if (~r->platform & policy->platform_required)
		return attest_reject(r, ATTEST_PLATFORM, "platform 0x%llx, required 0x%llx",
				     (unsigned long long)r->platform,
				     (unsigned long long)policy->platform_required);
	return check_minimum(r, product, policy) || attest_check_values(r, policy) ? -1 : 0;
}

enum attest_verdict attest_verify_snp(struct attest_result *r, struct span report, const struct span *chain,
				      size_t n, struct span crl, const struct attest_policy *policy,
				      int64_t now)
{
	struct snp_chain s = {0};
	struct chain c = {.n = 0};
	int bad;

	attest_begin(r);
	bad = check_form(r, report);
	for (size_t i = 0; !bad && i < n; i++)
		bad = chain_add(r, &c, chain[i]);
	if (!bad && !check_chain(r, &c, &s, crl, policy, now) && !check_signature(r, &s, report.p)) {
		attest_body_set(r, ATTEST_BODY_SNP, report.p, REPORT);
		r->evidence_n = REPORT;
		if (!report_product(r, &s, report.p) && !check_tcb(r, &s, report.p) &&
		    !check_chip(r, &s, report.p, policy) && !check_policy(r, s.product, policy))
			r->verdict = ATTEST_OK;
	}
	chain_free(&c);
	return r->verdict;
}
