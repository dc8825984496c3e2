/* SPDX-License-Identifier: Apache-2.0 */
/* DCAP quotes: SGX version 3; SGX and TDX version 4 and 5.
 * Source: Intel, "SGX ECDSA QuoteLibReference DCAP API", appendix A; "TDX DCAP Quoting Library API", appendix
 * A. Integers are little-endian, elliptic-curve numbers big-endian. */
#include "crypto/attest/quote.h"

#include <string.h>

#define HEADER 48
#define TEE_SGX 0
#define TEE_TDX 0x81
#define KEY_P256 2
#define CERT_PEM 5    /* PCK chain as PEM */
#define CERT_REPORT 6 /* QE report with its own certification data */

/* What is left to read. */
struct cursor {
	const uint8_t *at;
	size_t n;
};

static const uint8_t *take(struct cursor *c, size_t n)
{
	const uint8_t *at = c->at;

	if (c->n < n)
		return NULL;
	c->at += n;
	c->n -= n;
	return at;
}

static int too_short(struct attest_result *r, const char *what)
{
	return attest_reject(r, ATTEST_Q_SIZE, "%s does not fit", what);
}

static int check_header(struct attest_result *r, struct quote *q, const uint8_t *h)
{
	static const uint8_t intel[16] = {0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9,
					  0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07};
	uint32_t tee = le32(h + 4);

	q->version = r->version = le16(h);
	if (q->version < 3 || q->version > 5)
		return attest_reject(r, ATTEST_Q_VERSION, "version %u", q->version);
	if (le16(h + 2) != KEY_P256)
		return attest_reject(r, ATTEST_Q_AKT, "key type %u, expected %d", le16(h + 2), KEY_P256);
	if (tee != TEE_SGX && (tee != TEE_TDX || q->version == 3))
		return attest_reject(r, ATTEST_Q_TEE, "version %u with kind 0x%x", q->version, tee);
	if (memcmp(h + 12, intel, sizeof(intel)))
		return attest_reject(r, ATTEST_Q_VENDOR, "%s", "");
	q->td = tee == TEE_TDX;
	return 0;
}

/* Version 5 says kind and size of the body; before, the header's kind does. */
static int take_body(struct attest_result *r, struct quote *q, struct cursor *c)
{
	static const size_t sizes[] = {0, SGX_BODY, TD10_BODY, TD15_BODY};
	unsigned kind = q->td ? 2 : 1;
	const uint8_t *d;

	if (q->version == 5) {
		d = take(c, 6);
		if (!d)
			return too_short(r, "the body's descriptor");
		kind = le16(d);
		if (!kind || kind > 3 || le32(d + 2) != sizes[kind])
			return attest_reject(r, ATTEST_Q_BODY, "kind %u of %u bytes", kind, le32(d + 2));
		if (q->td != (kind > 1))
			return attest_reject(r, ATTEST_Q_TEE, "body kind %u in a quote of %s", kind,
					     q->td ? "TDX" : "SGX");
	}
	q->td15 = kind == 3;
	q->body = take(c, sizes[kind]);
	return q->body ? 0 : too_short(r, "the body");
}

/* u16 type, u32 size, data, and nothing after it. */
static int take_certification(struct attest_result *r, struct cursor *c, unsigned type, struct span *data)
{
	const uint8_t *h = take(c, 6);

	if (!h)
		return too_short(r, "certification data");
	if (le16(h) != type)
		return attest_reject(r, ATTEST_Q_CERTTYPE, "type %u, expected %u", le16(h), type);
	data->n = le32(h + 2);
	data->p = take(c, data->n);
	if (!data->p)
		return too_short(r, "certification data");
	return c->n ? attest_reject(r, ATTEST_Q_TRAILING, "%zu bytes", c->n) : 0;
}

static int take_report(struct attest_result *r, struct quote *q, struct cursor *c)
{
	const uint8_t *n;

	q->qe_report = take(c, SGX_BODY);
	q->qe_signature = take(c, 64);
	n = take(c, 2);
	if (!q->qe_report || !q->qe_signature || !n)
		return too_short(r, "the quoting enclave's report");
	q->qe_auth.n = le16(n);
	q->qe_auth.p = take(c, q->qe_auth.n);
	if (!q->qe_auth.p)
		return too_short(r, "the quoting enclave's data");
	return take_certification(r, c, CERT_PEM, &q->certificates);
}

static int take_signature(struct attest_result *r, struct quote *q, struct cursor *c)
{
	struct span report;

	q->signature = take(c, 64);
	q->key = take(c, 64);
	if (!q->signature || !q->key)
		return too_short(r, "the signature");
	if (q->version == 3)
		return take_report(r, q, c);
	if (take_certification(r, c, CERT_REPORT, &report))
		return -1;
	return take_report(r, q, &(struct cursor){report.p, report.n});
}

int quote_parse(struct attest_result *r, struct span evidence, struct quote *q)
{
	struct cursor c = {evidence.p, evidence.n}, signature;
	const uint8_t *header = take(&c, HEADER), *size;

	memset(q, 0, sizeof(*q));
	if (!header || evidence.n > ATTEST_EVIDENCE_MAX)
		return too_short(r, "the header");
	if (check_header(r, q, header) || take_body(r, q, &c))
		return -1;
	q->covered = (struct span){evidence.p, (size_t)(c.at - evidence.p)};
	size = take(&c, 4);
	signature.n = size ? le32(size) : 0;
	signature.at = size ? take(&c, signature.n) : NULL;
	if (!signature.at)
		return too_short(r, "the signature data");
	q->size = (size_t)(c.at - evidence.p);
	return take_signature(r, q, &signature);
}
