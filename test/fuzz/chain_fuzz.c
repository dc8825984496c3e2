/* SPDX-License-Identifier: Apache-2.0 */
/* Files of certificates, and revocation lists: as they are, or signed again by our own authority, so that
 * what follows the signature is reached. The first byte chooses. */
#include "test/crypto/attest/make.h"
#include "test/fuzz/seeds.h"

static struct make_id root, leaf;

static const struct seed seeds[] = {
    {0, "snp/ms-turin/vcek.pem"},
    {0, "snp/ms-genoa/ca.pem"},
    {0, "snp/trustee-vlek/vlek.der"},
    {0, "tdx/phala/collateral/tcb_info.chain.pem"},
    {1, "tdx/phala/collateral/root_ca.crl.der"},
    {2, "tdx/phala/collateral/root_ca.crl.der"},
    {2, "tdx/phala/collateral/pck.crl.der"},
};

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	root = make_cert("root", EVP_EC_gen("P-256"), NULL, 1, NULL, 0);
	leaf = make_cert("leaf", EVP_EC_gen("P-256"), &root, 0, NULL, 0);
	SEEDS(argc, argv, seeds);
	return 0;
}

/* Nothing of a stranger's may pass for what our root has issued. */
static void certificates(struct attest_result *r, struct span in)
{
	uint8_t digest[ATTEST_DIGEST];
	struct chain c = {.n = 0};
	struct span content;
	char name[16];

	if (!chain_add(r, &c, in) && !c.n)
		abort();
	for (size_t i = 0; i < c.n; i++) {
		chain_name(c.cert[i], name, sizeof(name));
		if (strlen(name) >= sizeof(name))
			abort();
		(void)!chain_key_digest(c.cert[i], digest);
		(void)chain_extension(c.cert[i], "2.23.133.5.4.9", &content);
		if (X509_cmp(c.cert[i], leaf.cert) && X509_cmp(c.cert[i], root.cert) &&
		    !chain_verify(r, c.cert[i], NULL, root.cert, MAKE_NOW))
			abort();
	}
	chain_free(&c);
}

/* The list in the input, as if our authority had signed it. */
static void signed_again(struct attest_result *r, struct span in)
{
	const uint8_t *at = in.p;
	X509_CRL *crl = d2i_X509_CRL(NULL, &at, (long)in.n);
	X509_REVOKED *entry;
	uint8_t *der = NULL;
	int n = -1, listed;

	if (crl && X509_CRL_set_issuer_name(crl, X509_get_subject_name(root.cert)) &&
	    X509_CRL_sign(crl, root.key, EVP_sha256()) > 0)
		n = i2d_X509_CRL(crl, &der);
	if (n > 0 && !chain_crl(r, (struct span){der, (size_t)n}, root.cert, &leaf.cert, 1, MAKE_NOW)) {
		listed = X509_CRL_get0_by_serial(crl, &entry, X509_get_serialNumber(leaf.cert));
		if (listed == 1)
			abort(); /* it is on the list and passed */
	}
	OPENSSL_free(der);
	X509_CRL_free(crl);
	ERR_clear_error();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = {data + 1, size - 1};
	struct attest_result r;

	if (!size)
		return 0;
	attest_begin(&r);
	if (*data % 3 == 0)
		certificates(&r, in);
	else if (*data % 3 == 1)
		(void)!chain_crl(&r, in, root.cert, &leaf.cert, 1, MAKE_NOW);
	else
		signed_again(&r, in);
	if (r.verdict >= ATTEST_VERDICTS)
		abort();
	return 0;
}
