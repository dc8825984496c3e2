/* SPDX-License-Identifier: Apache-2.0 */
/* test/crypto/attest/make_snp.h — an AMD of our own: ARK, ASK or ASVK, VCEK or VLEK, and reports. */
#ifndef OBSCURA_TEST_CRYPTO_ATTEST_MAKE_SNP_H
#define OBSCURA_TEST_CRYPTO_ATTEST_MAKE_SNP_H

#include <stdio.h>

#include "test/crypto/attest/make.h"

struct make_snp {
	enum snp_product product;
	int vlek;
	struct make_id ark, ask, leaf;
	uint8_t root[1][ATTEST_DIGEST], chip[64];
	struct snp_tcb tcb;
	uint8_t report[1184];
	struct span chain[3]; /* leaf, ASK, ARK as DER */
};

/* DER INTEGER of a byte. */
static inline size_t make_small(uint8_t *out, uint8_t x)
{
	size_t n = x < 0x80 ? 1 : 2;

	out[0] = 2;
	out[1] = (uint8_t)n;
	out[2] = 0;
	out[1 + n] = x;
	return 2 + n;
}

static inline void make_snp_leaf(struct make_snp *m)
{
	static const char *const oids[] = {"3.1", "3.2", "3.3", "3.8", "3.9"};
	const uint8_t svn[] = {m->tcb.bootloader, m->tcb.tee, m->tcb.snp, m->tcb.microcode, m->tcb.fmc};
	int turin = m->product == SNP_TURIN;
	uint8_t small[5][4], product[16] = {0x16};
	char oid[7][40];
	struct make_extension x[7];
	size_t n = 0;

	for (; n < (turin ? 5u : 4u); n++) {
		snprintf(oid[n], sizeof(oid[n]), "1.3.6.1.4.1.3704.1.%s", oids[n]);
		x[n] = (struct make_extension){oid[n], small[n], make_small(small[n], svn[n])};
	}
	product[1] =
	    (uint8_t)sprintf((char *)product + 2, "%s%s", snp_product_name(m->product), turin ? "" : "-B0");
	x[n++] = (struct make_extension){"1.3.6.1.4.1.3704.1.2", product, 2u + product[1]};
	if (!m->vlek)
		x[n++] = (struct make_extension){"1.3.6.1.4.1.3704.1.4", m->chip, turin ? 8 : 64};
	m->leaf = make_cert(m->vlek ? "SEV-VLEK" : "SEV-VCEK", EVP_EC_gen("P-384"), &m->ask, 0, x, n);
}

/* Signs what stands in the report. */
static inline void make_snp_sign(struct make_snp *m)
{
	memset(m->report + 0x2a0, 0, 144);
	make_ecdsa(m->leaf.key, m->report, 0x2a0, m->report + 0x2a0, m->report + 0x2a0 + 72, 72, 1);
}

static inline void make_snp_tcb(const struct make_snp *m, uint8_t *out)
{
	const struct snp_tcb *t = &m->tcb;
	uint8_t old[8] = {t->bootloader, t->tee, 0, 0, 0, 0, t->snp, t->microcode};
	uint8_t turin[8] = {t->fmc, t->bootloader, t->tee, t->snp, 0, 0, 0, t->microcode};

	memcpy(out, m->product == SNP_TURIN ? turin : old, 8);
}

static inline void make_snp_report(struct make_snp *m, unsigned version)
{
	static const uint8_t cpuid[SNP_PRODUCTS][3] = {{0x19, 1, 1}, {0x19, 0x11, 1}, {0x1a, 2, 1}};
	uint8_t *r = m->report;

	memset(r, 0, sizeof(m->report));
	make_le(r, version, 4);
	make_le(r + 0x008, 0x30000, 8);
	make_le(r + 0x034, 1, 4);
	make_le(r + 0x040, 0x25, 8);
	make_le(r + 0x048, m->vlek ? 1u << 2 : 0, 4);
	memset(r + 0x050, 0x5a, 64);
	memset(r + 0x090, 0x4d, 48);
	make_snp_tcb(m, r + 0x038);
	make_snp_tcb(m, r + 0x180);
	make_snp_tcb(m, r + 0x1e0);
	make_snp_tcb(m, r + 0x1f0);
	if (version >= 3)
		memcpy(r + 0x188, cpuid[m->product], 3);
	memcpy(r + 0x1a0, m->chip, m->product == SNP_TURIN ? 8 : 64);
	if (version >= 5)
		make_le(r + 0x1f8, 0x77, 8);
	make_snp_sign(m);
}

static inline void make_snp(struct make_snp *m, enum snp_product product, int vlek)
{
	char name[32];

	memset(m, 0, sizeof(*m));
	m->product = product;
	m->vlek = vlek;
	m->tcb = (struct snp_tcb){product == SNP_TURIN ? 2 : 0, 4, 1, 24, 0xdb};
	for (int i = 0; i < 64; i++)
		m->chip[i] = (uint8_t)(0x80 + i);
	snprintf(name, sizeof(name), "ARK-%s", snp_product_name(product));
	m->ark = make_cert(name, EVP_RSA_gen(2048), NULL, 1, NULL, 0);
	snprintf(name, sizeof(name), "SEV-%s%s", vlek ? "VLEK-" : "", snp_product_name(product));
	m->ask = make_cert(name, EVP_RSA_gen(2048), &m->ark, 1, NULL, 0);
	make_snp_leaf(m);
	make_digest(&m->ark, m->root[0]);
	m->chain[0] = make_der(&m->leaf);
	m->chain[1] = make_der(&m->ask);
	m->chain[2] = make_der(&m->ark);
	make_snp_report(m, 3);
}

static inline void make_snp_free(struct make_snp *m)
{
	for (int i = 0; i < 3; i++)
		make_free(&m->chain[i]);
	make_id_free(&m->leaf);
	make_id_free(&m->ask);
	make_id_free(&m->ark);
}

#endif
