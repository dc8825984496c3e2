/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/attest/quote.h — where the parts of a DCAP quote lie; and what Intel's certificate says of the
 * platform. */
#ifndef OBSCURA_CRYPTO_ATTEST_QUOTE_H
#define OBSCURA_CRYPTO_ATTEST_QUOTE_H

#include "crypto/attest/parts.h"

#define SGX_BODY 384
#define TD10_BODY 584
#define TD15_BODY 648

/* Borrows from the evidence. */
struct quote {
	unsigned version;
	int td, td15;
	const uint8_t *body;	     /* SGX_BODY, TD10_BODY or TD15_BODY bytes */
	struct span covered;	     /* header (and descriptor) and body: what the attestation key signs */
	const uint8_t *signature;    /* 64: r‖s */
	const uint8_t *key;	     /* 64: x‖y of the attestation key */
	const uint8_t *qe_report;    /* SGX_BODY bytes */
	const uint8_t *qe_signature; /* 64: by the PCK */
	struct span qe_auth, certificates;
	size_t size; /* bytes of the quote; what follows is not signed and does not count */
};
int quote_parse(struct attest_result *r, struct span evidence, struct quote *q) MUST_USE;

/* Intel's extension 1.2.840.113741.1.13.1 of a PCK certificate. */
struct pck {
	uint8_t component[16]; /* security versions of the platform's parts */
	uint16_t pcesvn;
	uint8_t pceid[2], fmspc[6];
};
int pck_read(struct attest_result *r, const X509 *leaf, struct pck *p) MUST_USE;

/* What collateral is judged against. */
struct platform {
	const struct quote *quote; /* borrows */
	struct pck pck;
	X509 *leaf, *middle, *root; /* borrow */
};
/* CRLs, TCB info and QE identity; sets levels, evaluation, advisories and fresh_until of r. */
int collateral_check(struct attest_result *r, const struct platform *p, const struct attest_collateral *c,
		     const struct attest_policy *policy, int64_t now) MUST_USE;

/* Inside signed TCB info (tcb.c); `info` is the inner object, already checked by jspan_check. */
int tcb_info_check(struct attest_result *r, const struct platform *p, struct span info,
		   const struct attest_policy *policy, int64_t now) MUST_USE;
int qe_identity_check(struct attest_result *r, const struct platform *p, struct span identity,
		      const struct attest_policy *policy, int64_t now) MUST_USE;
/* Finds levels and converges them (after both checks above). */
int tcb_levels_judge(struct attest_result *r, const struct platform *p, struct span info) MUST_USE;

#endif
