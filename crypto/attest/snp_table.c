/* SPDX-License-Identifier: Apache-2.0 */
/* Source: AMD, "SEV-ES Guest-Hypervisor Communication Block Standardization" (56421), SNP Extended Guest
 * Request: entries of 24 bytes, { GUID of 16 bytes in the order of RFC 4122, u32 offset, u32 length },
 * little-endian, until one whose GUID is zero; then the certificates, in DER. The host writes it: nothing in
 * it is trusted, and the certificates are verified by whoever judges the report. */
#include "crypto/attest/snp_table.h"

#include <string.h>

#include "crypto/attest/parts.h"

#define ENTRY 24
#define GUID 16

static const uint8_t guids[SNP_CERTIFICATES][GUID] = {
    [SNP_VCEK] = {0x63, 0xda, 0x75, 0x8d, 0xe6, 0x64, 0x45, 0x64, 0xad, 0xc5, 0xf4, 0xb9, 0x3b, 0xe8, 0xac,
		  0xcd},
    [SNP_VLEK] = {0xa8, 0x07, 0x4b, 0xc2, 0xa2, 0x5a, 0x48, 0x3e, 0xaa, 0xe6, 0x39, 0xc0, 0x45, 0xa0, 0xb8,
		  0xa1},
    [SNP_ASK] = {0x4a, 0xb7, 0xb3, 0x79, 0xbb, 0xac, 0x4f, 0xe4, 0xa0, 0x2f, 0x05, 0xae, 0xf3, 0x27, 0xc7,
		 0x82},
    [SNP_ARK] = {0xc0, 0xb4, 0x06, 0xa4, 0xa8, 0x03, 0x49, 0x52, 0x97, 0x43, 0x3f, 0xb6, 0x01, 0x4c, 0xd0,
		 0xae},
};

/* Bytes of the entries with the last, zero one; 0 when there is no end. */
static size_t entries_end(struct span table)
{
	for (size_t at = 0; at + ENTRY <= table.n; at += ENTRY)
		if (bytes_zero(table.p + at, GUID))
			return at + ENTRY;
	return 0;
}

static int read_entry(struct span table, size_t at, size_t end, struct span *cert, struct err *e)
{
	size_t offset = le32(table.p + at + GUID), n = le32(table.p + at + GUID + 4);

	if (n && (offset < end || offset > table.n || n > table.n - offset))
		return err_set(e, ERR_PEER,
			       "entry %zu of the host's certificate table: %zu bytes at %zu; the table has "
			       "%zu, its certificates begin at %zu",
			       at / ENTRY, n, offset, table.n, end);
	*cert = (struct span){table.p + offset, n};
	return 0;
}

int snp_table_read(struct span table, struct span certs[SNP_CERTIFICATES], struct err *e)
{
	size_t end = entries_end(table);
	struct span cert;

	memset(certs, 0, SNP_CERTIFICATES * sizeof(*certs));
	if (!end && !bytes_zero(table.p, table.n))
		return err_set(e, ERR_PEER, "the host's certificate table has no end");
	for (size_t at = 0; at + ENTRY < end; at += ENTRY) {
		unsigned i = 0;

		if (read_entry(table, at, end, &cert, e))
			return -1;
		while (i < SNP_CERTIFICATES && memcmp(guids[i], table.p + at, GUID))
			i++;
		if (i == SNP_CERTIFICATES || !cert.n)
			continue; /* revocation lists, and what a host may add */
		if (certs[i].n)
			return err_set(e, ERR_PEER, "the host's certificate table has entry %zu twice",
				       at / ENTRY);
		certs[i] = cert;
	}
	return 0;
}
