/* SPDX-License-Identifier: Apache-2.0 */
/* RA-TLS: a certificate as it is, or its extension inside a certificate of ours, or the claims beside a
 * genuine quote. */
#include "test/crypto/attest/make_ratls.h"
#include "test/fuzz/seeds.h"

static struct make_dcap m;

static const struct seed seeds[] = {
    {0, "ratls/gramine-cert.pem"},
    {0, "ratls/intel-sgxsdk-cert.pem"},
    {0, "ratls/rats-tls-cert.pem"},
    {0, "negative/ratls/stolen-quote.pem"},
};

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	make_dcap(&m);
	make_dcap_kind(&m, 3, 0, 0);
	SEEDS(argc, argv, seeds);
	return 0;
}

static void judge(struct span certificate)
{
	struct attest_policy p = make_dcap_policy(&m);
	struct attest_result r;

	p.allow = ~0u;
	attest_verify_ratls(&r, certificate, NULL, 0, &m.collateral, &p, MAKE_NOW);
	if (r.verdict >= ATTEST_VERDICTS)
		abort();
}

static void with_extension(const uint8_t *p, size_t n)
{
	struct make_extension x = {"2.23.133.5.4.9", p, n};
	struct make_id id = make_cert("enclave", EVP_EC_gen("P-256"), NULL, 0, &x, 1);
	struct span der = make_der(&id);

	judge(der);
	make_free(&der);
	make_id_free(&id);
}

/* The quote vouches for whatever claims the input has. */
static void with_claims(struct span in)
{
	static uint8_t extension[9000];
	size_t n;

	if (in.n > 600)
		return;
	memset(m.body + 320, 0, 64);
	make_must(EVP_Digest(in.p, in.n, m.body + 320, NULL, EVP_sha256(), NULL));
	make_quote(&m);
	n = make_cbor_head(extension, 6, 60000);
	n += make_cbor_head(extension + n, 4, 2);
	n += make_cbor(extension + n, 2, m.quote, m.n);
	n += make_cbor(extension + n, 2, in.p, in.n);
	with_extension(extension, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = {data + 1, size - 1};

	if (!size)
		return 0;
	switch (*data % 3) {
	case 0:
		judge(in);
		break;
	case 1:
		with_extension(in.p, in.n);
		break;
	default:
		with_claims(in);
	}
	return 0;
}
