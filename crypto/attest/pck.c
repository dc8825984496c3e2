/* SPDX-License-Identifier: Apache-2.0 */
/* Intel's extension of PCK certificates: a SEQUENCE of SEQUENCE { OID, value }, nested once for the security
 * versions. Source: Intel, "SGX PCK Certificate and CRL Profile Specification". */
#include "crypto/attest/quote.h"

#include <string.h>

#include <openssl/err.h>

#define OID_SGX "1.2.840.113741.1.13.1"

/* 1.2.840.113741.1.13.1 encoded; each arc after it is one byte. */
static const uint8_t prefix[9] = {0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 0x01, 0x0d, 0x01};

static int der_take(struct span *in, int tag, struct span *content)
{
	const unsigned char *at = in->p;
	int got, class, form;
	long n;

	if (!in->n)
		return -1;
	form = ASN1_get_object(&at, &n, &got, &class, (long)in->n);
	if (form & 0x81 || got != tag || class != V_ASN1_UNIVERSAL) { /* error, or indefinite length */
		ERR_clear_error();
		return -1;
	}
	content->p = at;
	content->n = (size_t)n;
	in->n -= (size_t)(at + n - in->p);
	in->p = at + n;
	return 0;
}

/* Non-negative, at most 65535, shortest form. */
static int der_number(struct span *in, unsigned most, unsigned *value)
{
	struct span x;

	if (der_take(in, V_ASN1_INTEGER, &x) || !x.n || x.n > 3 || x.p[0] & 0x80)
		return -1;
	if (x.n > 1 && !x.p[0] && !(x.p[1] & 0x80))
		return -1;
	*value = 0;
	for (size_t i = 0; i < x.n; i++)
		*value = *value << 8 | x.p[i];
	return *value <= most ? 0 : -1;
}

/* An entry: its arcs after the prefix and the rest, which is the value. */
static int entry_take(struct span *in, struct span *arcs, struct span *value)
{
	if (der_take(in, V_ASN1_SEQUENCE, value) || der_take(value, V_ASN1_OBJECT, arcs))
		return -1;
	if (arcs->n <= sizeof(prefix) || memcmp(arcs->p, prefix, sizeof(prefix)))
		return -1;
	arcs->p += sizeof(prefix);
	arcs->n -= sizeof(prefix);
	return 0;
}

/* .2.1 … .2.16 component versions, .2.17 PCESVN, .2.18 CPUSVN; each exactly once. */
static int versions_read(struct span value, struct pck *p)
{
	struct span list, arcs, x;
	uint32_t seen = 0;

	if (der_take(&value, V_ASN1_SEQUENCE, &list) || value.n)
		return -1;
	while (list.n) {
		unsigned arc, number = 0;

		if (entry_take(&list, &arcs, &x) || arcs.n != 2 || arcs.p[0] != 2 || !arcs.p[1] ||
		    arcs.p[1] > 18)
			return -1;
		arc = arcs.p[1];
		if (seen >> arc & 1 || (arc < 18 && der_number(&x, arc == 17 ? 65535 : 255, &number)))
			return -1;
		seen |= 1u << arc;
		if (arc <= 16)
			p->component[arc - 1] = (uint8_t)number;
		else if (arc == 17)
			p->pcesvn = (uint16_t)number;
	}
	return (seen & 0x3fffe) == 0x3fffe ? 0 : -1; /* 1 … 17 */
}

static int octets_read(struct span value, uint8_t *out, size_t n)
{
	struct span x;

	if (der_take(&value, V_ASN1_OCTET_STRING, &x) || value.n || x.n != n)
		return -1;
	memcpy(out, x.p, n);
	return 0;
}

static int list_read(struct span list, struct pck *p)
{
	struct span arcs, value;
	unsigned seen = 0;

	while (list.n) {
		if (entry_take(&list, &arcs, &value) || arcs.n != 1 || arcs.p[0] > 30 ||
		    seen >> arcs.p[0] & 1)
			return -1;
		seen |= 1u << arcs.p[0];
		if ((arcs.p[0] == 2 && versions_read(value, p)) ||
		    (arcs.p[0] == 3 && octets_read(value, p->pceid, sizeof(p->pceid))) ||
		    (arcs.p[0] == 4 && octets_read(value, p->fmspc, sizeof(p->fmspc))))
			return -1;
	}
	return (seen & 0x1c) == 0x1c ? 0 : -1; /* .2, .3 and .4 */
}

int pck_read(struct attest_result *r, const X509 *leaf, struct pck *p)
{
	struct span extension, list;

	memset(p, 0, sizeof(*p));
	if (chain_extension(leaf, OID_SGX, &extension) != 1 || der_take(&extension, V_ASN1_SEQUENCE, &list) ||
	    extension.n || list_read(list, p))
		return attest_reject(r, ATTEST_PCK_FORM, "extension " OID_SGX);
	bytes_hex(r->fmspc, p->fmspc, sizeof(p->fmspc));
	return 0;
}
