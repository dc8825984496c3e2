/* SPDX-License-Identifier: Apache-2.0 */
/* test/crypto/attest/make_dcap.h — an Intel of our own: root, PCK authority, PCK, TCB signer, quotes and
 * collateral. */
#ifndef OBSCURA_TEST_CRYPTO_ATTEST_MAKE_DCAP_H
#define OBSCURA_TEST_CRYPTO_ATTEST_MAKE_DCAP_H

#include <stdio.h>

#include "test/crypto/attest/make.h"
#include "crypto/attest/quote.h"

struct make_dcap {
	struct make_id root, middle, leaf, signer;
	EVP_PKEY *attestation;
	uint8_t keys[1][ATTEST_DIGEST];
	struct span pck_chain, signer_chain; /* PEM */
	/* what the next quote says */
	unsigned version;
	int td, td15;
	uint8_t body[TD15_BODY], qe[SGX_BODY];
	uint8_t quote[8192];
	size_t n, at_certificates;
	/* what the next collateral says; text is its own buffer */
	char info[4096], identity[2048];
	uint8_t info_signature[64], identity_signature[64];
	struct attest_collateral collateral;
};

/* ---- certificates ---- */

static inline size_t make_tlv(uint8_t *out, uint8_t tag, const uint8_t *p, size_t n)
{
	size_t head = n < 128 ? 2 : 4;

	memmove(out + head, p, n);
	out[0] = tag;
	out[1] = n < 128 ? (uint8_t)n : 0x82;
	if (n >= 128) {
		out[2] = (uint8_t)(n >> 8);
		out[3] = (uint8_t)n;
	}
	return head + n;
}

/* SEQUENCE { OID 1.2.840.113741.1.13.1.arcs, value } */
static inline size_t make_pair(uint8_t *out, const uint8_t *arcs, size_t n, const uint8_t *value,
			       size_t bytes)
{
	uint8_t oid[16] = {0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 0x01, 0x0d, 0x01}, inside[700];
	size_t at;

	memcpy(oid + 9, arcs, n);
	at = make_tlv(inside, 6, oid, 9 + n);
	memcpy(inside + at, value, bytes);
	return make_tlv(out, 0x30, inside, at + bytes);
}

/* Components 5, PCESVN 11, PCE-ID 0, FMSPC 00a1b2c3d4e5. */
static inline size_t make_pck_extension(uint8_t out[1024])
{
	static const uint8_t pceid[] = {4, 2, 0, 0}, fmspc[] = {4, 6, 0, 0xa1, 0xb2, 0xc3, 0xd4, 0xe5};
	uint8_t list[900], versions[800], value[800], cpusvn[18] = {4, 16};
	size_t n = 0, at = 0;

	for (uint8_t i = 1; i <= 17; i++)
		n += make_pair(versions + n, (uint8_t[]){2, i}, 2, (uint8_t[]){2, 1, i == 17 ? 11 : 5}, 3);
	n += make_pair(versions + n, (uint8_t[]){2, 18}, 2, cpusvn, 18);
	n = make_tlv(value, 0x30, versions, n);
	{
		uint8_t outer[900], oid[] = {6, 10, 0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 0x01, 0x0d, 0x01, 2};

		memcpy(outer, oid, sizeof(oid));
		memcpy(outer + sizeof(oid), value, n);
		at = make_tlv(list, 0x30, outer, sizeof(oid) + n);
	}
	at += make_pair(list + at, (uint8_t[]){3}, 1, pceid, sizeof(pceid));
	at += make_pair(list + at, (uint8_t[]){4}, 1, fmspc, sizeof(fmspc));
	return make_tlv(out, 0x30, list, at);
}

static inline void make_dcap_chain(struct make_dcap *m)
{
	const struct make_id *pck[3] = {&m->leaf, &m->middle, &m->root}, *tcb[2] = {&m->signer, &m->root};
	uint8_t extension[1024];
	struct make_extension x = {"1.2.840.113741.1.13.1", extension, 0};

	x.n = make_pck_extension(extension);
	m->root = make_cert("Intel SGX Root CA", EVP_EC_gen("P-256"), NULL, 1, NULL, 0);
	m->middle = make_cert("Intel SGX PCK Platform CA", EVP_EC_gen("P-256"), &m->root, 1, NULL, 0);
	m->leaf = make_cert("Intel SGX PCK Certificate", EVP_EC_gen("P-256"), &m->middle, 0, &x, 1);
	m->signer = make_cert("Intel SGX TCB Signing", EVP_EC_gen("P-256"), &m->root, 0, NULL, 0);
	m->attestation = EVP_EC_gen("P-256");
	make_digest(&m->root, m->keys[0]);
	m->pck_chain = make_pem(pck, 3);
	m->signer_chain = make_pem(tcb, 2);
}

/* ---- quotes ---- */

static inline void make_raw_key(EVP_PKEY *key, uint8_t xy[64])
{
	uint8_t point[65];
	size_t n;

	make_must(EVP_PKEY_get_octet_string_param(key, "pub", point, sizeof(point), &n) == 1);
	make_must(n == 65);
	memcpy(xy, point + 1, 64);
}

static inline size_t make_body_n(const struct make_dcap *m)
{
	return m->td15 ? TD15_BODY : m->td ? TD10_BODY : SGX_BODY;
}

static inline size_t make_qe(struct make_dcap *m, uint8_t *out, const uint8_t xy[64])
{
	uint8_t bound[96];
	size_t n = 0;

	memcpy(bound, xy, 64);
	memset(bound + 64, 0x17, 32);
	memset(m->qe + 320, 0, 64);
	make_must(EVP_Digest(bound, sizeof(bound), m->qe + 320, NULL, EVP_sha256(), NULL));
	memcpy(out, m->qe, SGX_BODY);
	make_ecdsa(m->leaf.key, m->qe, SGX_BODY, out + SGX_BODY, out + SGX_BODY + 32, 32, 0);
	n = SGX_BODY + 64;
	make_le(out + n, 32, 2);
	memcpy(out + n + 2, bound + 64, 32);
	n += 34;
	make_le(out + n, 5, 2);
	make_le(out + n + 2, m->pck_chain.n, 4);
	memcpy(out + n + 6, m->pck_chain.p, m->pck_chain.n);
	return n + 6 + m->pck_chain.n;
}

/* Signs what the fields say into m->quote. */
static inline void make_quote(struct make_dcap *m)
{
	static const uint8_t intel[16] = {0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9,
					  0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07};
	uint8_t *q = m->quote, xy[64], *auth;
	size_t n = 48, body = make_body_n(m), certified;

	memset(q, 0, sizeof(m->quote));
	make_le(q, m->version, 2);
	make_le(q + 2, 2, 2);
	make_le(q + 4, m->td ? 0x81 : 0, 4);
	memcpy(q + 12, intel, 16);
	if (m->version == 5) {
		make_le(q + 48, m->td15 ? 3 : m->td ? 2 : 1, 2);
		make_le(q + 50, body, 4);
		n += 6;
	}
	memcpy(q + n, m->body, body);
	n += body;
	auth = q + n + 4;
	make_ecdsa(m->attestation, q, n, auth, auth + 32, 32, 0);
	make_raw_key(m->attestation, xy);
	memcpy(auth + 64, xy, 64);
	if (m->version == 3) {
		certified = 128 + make_qe(m, auth + 128, xy);
	} else {
		size_t inside = make_qe(m, auth + 134, xy);

		make_le(auth + 128, 6, 2);
		make_le(auth + 130, inside, 4);
		certified = 134 + inside;
	}
	make_le(q + n, certified, 4);
	m->n = n + 4 + certified;
	m->at_certificates = m->n - m->pck_chain.n;
	make_must(m->n <= sizeof(m->quote));
}

/* ---- collateral ---- */

static inline void make_collateral_sign(struct make_dcap *m)
{
	struct attest_collateral *c = &m->collateral;

	c->tcb_info = (struct span){(const uint8_t *)m->info, strlen(m->info)};
	c->qe_identity = (struct span){(const uint8_t *)m->identity, strlen(m->identity)};
	make_ecdsa(m->signer.key, c->tcb_info.p, c->tcb_info.n, m->info_signature, m->info_signature + 32, 32,
		   0);
	make_ecdsa(m->signer.key, c->qe_identity.p, c->qe_identity.n, m->identity_signature,
		   m->identity_signature + 32, 32, 0);
	c->tcb_signature = (struct span){m->info_signature, 64};
	c->qe_signature = (struct span){m->identity_signature, 64};
	c->tcb_chain = c->qe_chain = m->signer_chain;
}

#define MAKE_DATES "\"issueDate\":\"2027-01-14T08:00:00Z\",\"nextUpdate\":\"2027-01-16T08:00:00Z\""
#define MAKE_ZERO48                                                                                          \
	"000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"

static inline size_t make_components(char *out, const char *name, unsigned svn)
{
	size_t n = (size_t)sprintf(out, "\"%s\":[", name);

	for (int i = 0; i < 16; i++)
		n += (size_t)sprintf(out + n, "%s{\"svn\":%u}", i ? "," : "", svn);
	return n + (size_t)sprintf(out + n, "]");
}

static inline size_t make_level(char *out, int td, unsigned svn, const char *status)
{
	size_t n = (size_t)sprintf(out, "{\"tcb\":{");

	n += make_components(out + n, "sgxtcbcomponents", svn);
	n += (size_t)sprintf(out + n, ",\"pcesvn\":11");
	if (td) {
		n += (size_t)sprintf(out + n, ",");
		n += make_components(out + n, "tdxtcbcomponents", svn);
	}
	return n + (size_t)sprintf(out + n, "},\"tcbStatus\":\"%s\",\"advisoryIDs\":[\"TEST-SA-%u\"]}",
				   status, svn);
}

/* Levels: all components ≥ 5: `status`; ≥ 3: OutOfDate. Module 1: isvsvn ≥ 4 `module`, ≥ 2 OutOfDate. */
static inline void make_info(struct make_dcap *m, const char *status, const char *module)
{
	size_t n = (size_t)sprintf(m->info,
				   "{\"id\":\"%s\",\"version\":3," MAKE_DATES
				   ",\"fmspc\":\"00A1B2C3D4E5\",\"pceId\":\"0000\","
				   "\"tcbEvaluationDataNumber\":7,",
				   m->td ? "TDX" : "SGX");

	if (m->td)
		n += (size_t)sprintf(
		    m->info + n,
		    "\"tdxModule\":{\"mrsigner\":\"" MAKE_ZERO48
		    "\",\"attributes\":\"0000000000000000\",\"attributesMask\":\"FFFFFFFFFFFFFFFF\"},"
		    "\"tdxModuleIdentities\":[{\"id\":\"TDX_01\",\"mrsigner\":\"" MAKE_ZERO48
		    "\",\"attributes\":\"0000000000000000\",\"attributesMask\":\"FFFFFFFFFFFFFFFF\","
		    "\"tcbLevels\":[{\"tcb\":{\"isvsvn\":4},\"tcbStatus\":\"%s\"},"
		    "{\"tcb\":{\"isvsvn\":2},\"tcbStatus\":\"OutOfDate\"}]}],",
		    module);
	n += (size_t)sprintf(m->info + n, "\"tcbLevels\":[");
	n += make_level(m->info + n, m->td, 5, status);
	n += (size_t)sprintf(m->info + n, ",");
	n += make_level(m->info + n, m->td, 3, "OutOfDate");
	n += (size_t)sprintf(m->info + n, "]}");
	make_must(n < sizeof(m->info));
}

static inline void make_identity(struct make_dcap *m, const char *status)
{
	char signer[65];

	bytes_hex(signer, m->qe + 128, 32);
	snprintf(
	    m->identity, sizeof(m->identity),
	    "{\"id\":\"%s\",\"version\":2," MAKE_DATES
	    ",\"tcbEvaluationDataNumber\":7,\"miscselect\":\"00000000\","
	    "\"miscselectMask\":\"FFFFFFFF\",\"attributes\":\"11000000000000000000000000000000\","
	    "\"attributesMask\":\"FBFFFFFFFFFFFFFF0000000000000000\",\"mrsigner\":\"%s\",\"isvprodid\":2,"
	    "\"tcbLevels\":[{\"tcb\":{\"isvsvn\":4},\"tcbStatus\":\"%s\"},{\"tcb\":{\"isvsvn\":2},"
	    "\"tcbStatus\":"
	    "\"OutOfDate\"}]}",
	    m->td ? "TD_QE" : "QE", signer, status);
}

static inline void make_lists(struct make_dcap *m, X509 *by_root, X509 *by_middle)
{
	make_free(&m->collateral.root_crl);
	make_free(&m->collateral.pck_crl);
	m->collateral.root_crl = make_crl(&m->root, by_root, MAKE_NOW - MAKE_DAY, MAKE_NOW + MAKE_DAY);
	m->collateral.pck_crl = make_crl(&m->middle, by_middle, MAKE_NOW - MAKE_DAY, MAKE_NOW + MAKE_DAY);
}

/* A quote of this kind with collateral, everything good and up to date. */
static inline void make_dcap_kind(struct make_dcap *m, unsigned version, int td, int td15)
{
	m->version = version;
	m->td = td;
	m->td15 = td15;
	memset(m->body, 0, sizeof(m->body));
	memset(m->qe, 0, sizeof(m->qe));
	m->qe[48] = 0x11;
	memset(m->qe + 128, 0x0e, 32);
	make_le(m->qe + 256, 2, 2);
	make_le(m->qe + 258, 4, 2);
	if (td) {
		memset(m->body, 5, 16); /* tee_tcb_svn: module 1, isvsvn 5 */
		m->body[1] = 1;
		memset(m->body + 136, 0x4d, 48);
		memset(m->body + 520, 0x5a, 64);
		memset(m->body + TD10_BODY, 5, 16);
		m->body[TD10_BODY + 1] = 1;
	} else {
		m->body[48] = 0x05;
		memset(m->body + 64, 0x4d, 32);
		memset(m->body + 128, 0x51, 32);
		make_le(m->body + 258, 3, 2);
		memset(m->body + 320, 0x5a, 64);
	}
	make_quote(m);
	make_info(m, "UpToDate", "UpToDate");
	make_identity(m, "UpToDate");
	make_lists(m, NULL, NULL);
	make_collateral_sign(m);
}

static inline void make_dcap(struct make_dcap *m)
{
	memset(m, 0, sizeof(*m));
	make_dcap_chain(m);
	make_dcap_kind(m, 4, 1, 0);
}

/* The same, with certificates that are valid now. */
static inline void make_dcap_now(struct make_dcap *m)
{
	const struct make_id *pck[3] = {&m->leaf, &m->middle, &m->root};

	make_dcap(m);
	make_valid_now(&m->root, &m->root);
	make_valid_now(&m->middle, &m->root);
	make_valid_now(&m->leaf, &m->middle);
	make_free(&m->pck_chain);
	m->pck_chain = make_pem(pck, 3);
}

static inline void make_dcap_free(struct make_dcap *m)
{
	make_free(&m->pck_chain);
	make_free(&m->signer_chain);
	make_free(&m->collateral.root_crl);
	make_free(&m->collateral.pck_crl);
	make_id_free(&m->root);
	make_id_free(&m->middle);
	make_id_free(&m->leaf);
	make_id_free(&m->signer);
	EVP_PKEY_free(m->attestation);
}

static inline struct attest_policy make_dcap_policy(const struct make_dcap *m)
{
	return (struct attest_policy){.intel = {m->keys, 1}};
}

static inline enum attest_verdict make_dcap_judge(const struct make_dcap *m, const struct attest_policy *p,
						  struct attest_result *r)
{
	return attest_verify_dcap(r, (struct span){m->quote, m->n}, NULL, 0, &m->collateral, p, MAKE_NOW);
}

#endif
