/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/attest/attest.h — is this evidence of a trusted execution environment genuine, and is it what we
 * want?
 *
 * No clock, no I/O: time, certificates, collateral and policy are arguments. Every byte of them but the
 * policy is hostile. Nothing is accepted because something is missing: what a policy does not allow is
 * refused. */
#ifndef OBSCURA_CRYPTO_ATTEST_ATTEST_H
#define OBSCURA_CRYPTO_ATTEST_ATTEST_H

#include <stddef.h>
#include <stdint.h>

enum attest_verdict {
#define VERDICT(code, sentence) ATTEST_##code,
#include "crypto/attest/verdict.def"
#undef VERDICT
	ATTEST_VERDICTS
};

enum attest_field {
#define FIELD(name, word, bytes, snp, sgx, td, sim) ATTEST_FIELD_##name,
#include "crypto/attest/field.def"
	ATTEST_FIELDS
};

/* Numbers of the bits of attest_policy.allow. */
enum attest_allow {
#define ALLOW(name, word, what) ATTEST_ALLOW_##name,
#include "crypto/attest/allow.def"
#undef ALLOW
	ATTEST_ALLOWS
};

enum tcb_status {
	TCB_NONE, /* there is no such level in this evidence, or no collateral */
#define TCB_STATUS(name, word, advice) TCB_##name,
#include "crypto/attest/tcb_status.def"
#undef TCB_STATUS
	TCB_STATUSES
};

/* Borrowed bytes. */
struct span {
	const uint8_t *p;
	size_t n;
};

enum attest_body { ATTEST_BODY_NONE, ATTEST_BODY_SNP, ATTEST_BODY_SGX, ATTEST_BODY_TD, ATTEST_BODY_SIM };

#define ATTEST_DIGEST 32     /* bytes of the SHA-256 of a root's public key (SubjectPublicKeyInfo) */
#define ATTEST_FIELD_MAX 64  /* bytes of the longest field */
#define ATTEST_BODY_MAX 1184 /* bytes of the longest body */
#define ATTEST_EVIDENCE_MAX (1u << 17)

/* Security versions of the parts of AMD's firmware. */
struct snp_tcb {
	uint8_t fmc, bootloader, tee, snp, microcode; /* fmc: Turin only */
};
enum snp_product { SNP_MILAN, SNP_GENOA, SNP_TURIN, SNP_PRODUCTS };

/* One accepted value of a field; several of one field are alternatives. */
struct attest_value {
	enum attest_field field;
	uint8_t bytes[ATTEST_FIELD_MAX];
};

/* Trusted root keys beside the built-in ones of AMD and Intel. Simulation has no built-in root. */
struct attest_roots {
	const uint8_t (*keys)[ATTEST_DIGEST]; /* borrows */
	size_t n;
};

/* All zero is the strictest: no exception, patch level UpToDate only, but no program named. */
struct attest_policy {
	uint32_t allow;	       /* bits of enum attest_allow */
	uint32_t tcb_accepted; /* bits of enum tcb_status, beside UpToDate; Revoked is never accepted */
	uint8_t vmpl_max;      /* SNP: highest VMPL number accepted */
	uint64_t guest_policy_forbidden, platform_required; /* SNP: bits of POLICY and PLATFORM_INFO */
	struct snp_tcb tcb_minimum[SNP_PRODUCTS];	    /* SNP: for reported, launch and committed TCB */
	uint32_t evaluation_minimum;			    /* Intel: least tcbEvaluationDataNumber */
	uint16_t isvsvn_minimum;			    /* SGX: least security version of the enclave */
	int64_t collateral_age;		   /* Intel: seconds since it was issued, at most; 0: any */
	const struct attest_value *values; /* borrows */
	size_t n_values;
	struct attest_roots amd, intel, simulation;
	const uint8_t *nonce; /* RA-TLS: the nonce that the claims must carry; NULL: any */
	size_t nonce_n;
};

/* What a verifier found. All but verdict and detail says only what was read and verified before the verdict
 * fell. */
struct attest_result {
	enum attest_verdict verdict;
	char detail[400]; /* what was expected and what received; "" when the sentence says all */
	enum attest_body kind;
	uint8_t body[ATTEST_BODY_MAX]; /* a copy of the signed body, for attest_field_get */
	size_t body_n;
	/* bytes of the evidence that are accounted for; hash, store and compare these only */
	size_t evidence_n;
	uint32_t version;
	char product[16]; /* SNP: "Milan", …; DCAP: "SGX", "TDX" */
	int vlek;
	struct snp_tcb tcb;
	uint32_t vmpl;
	uint64_t guest_policy, platform;
	enum tcb_status tcb_level, qe_level, module_level, tcb_all; /* as selected; and converged */
	uint32_t evaluation;
	char fmspc[13], advisories[256];
	int64_t fresh_until; /* when the first of certificates and collateral ends, Unix seconds */
	int program_named;   /* the policy names programs, and this is one of them */
	uint32_t hardening;  /* simulation: which parts are in force */
};

/* Collateral of Intel's PCS: exact bytes as signed. A span with n == 0 is missing; all missing: none given.
 */
struct attest_collateral {
	struct span root_crl, pck_crl;			/* DER or PEM */
	struct span tcb_info, tcb_signature, tcb_chain; /* inner JSON object, 64 bytes r‖s, PEM */
	struct span qe_identity, qe_signature, qe_chain;
};

/* SEV-SNP report, versions 2 to 5, by VCEK or VLEK. chain: PEM or DER, in any order: leaf, ASK or ASVK, ARK.
 * crl: AMD's revocation list of that ARK, n == 0 when there is none. */
enum attest_verdict attest_verify_snp(struct attest_result *r, struct span report, const struct span *chain,
				      size_t n, struct span crl, const struct attest_policy *policy,
				      int64_t now);
/* DCAP quote: SGX version 3, SGX and TDX version 4 and 5. chain: the root, if the quote should not carry it.
 * collateral may be NULL. */
enum attest_verdict attest_verify_dcap(struct attest_result *r, struct span quote, const struct span *chain,
				       size_t n, const struct attest_collateral *collateral,
				       const struct attest_policy *policy, int64_t now);
/* X.509 certificate (PEM or DER) with a DCAP quote in the interoperable RA-TLS extension. */
enum attest_verdict attest_verify_ratls(struct attest_result *r, struct span certificate,
					const struct span *chain, size_t n,
					const struct attest_collateral *collateral,
					const struct attest_policy *policy, int64_t now);
/* Simulated report; chain: certificate of the quoting key and the root made at installation. Never ATTEST_OK.
 */
enum attest_verdict attest_verify_sim(struct attest_result *r, struct span report, const struct span *chain,
				      size_t n, const struct attest_policy *policy, int64_t now);

/* The digest by which roots are named, of a file with one certificate. 0 or -1. */
int attest_root_digest(struct span certificate, uint8_t digest[ATTEST_DIGEST]);

/* Whether the verdict lets a client go on: OK, or SIMULATED where the policy allowed it. */
int attest_accepted(enum attest_verdict v);
const char *attest_verdict_name(enum attest_verdict v);
const char *attest_verdict_sentence(enum attest_verdict v);
const char *attest_allow_word(enum attest_allow a);
const char *tcb_status_word(enum tcb_status s);
const char *tcb_status_advice(enum tcb_status s);
/* TCB_NONE when there is no such word. */
enum tcb_status tcb_status_find(const char *word, size_t n);
const char *attest_field_word(enum attest_field f);
size_t attest_field_bytes(enum attest_field f);
/* Borrows the field from the result's body; NULL when this kind of evidence has none. */
const uint8_t *attest_field_get(const struct attest_result *r, enum attest_field f);
const char *snp_product_name(enum snp_product p);

/* Intel's answers wrap what is signed: {"tcbInfo":{…},"signature":"<128 hex>"}. Gives the exact bytes of
 * member `name` and the 64 bytes of the signature. 0 or -1. */
int attest_unwrap(struct span json, const char *name, struct span *inner, uint8_t signature[64]);

#endif
