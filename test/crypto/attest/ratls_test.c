/* SPDX-License-Identifier: Apache-2.0 */
/* RA-TLS certificates of our own: the quote must be for this key, these claims, this nonce. */
#include "test/test.h"
#include "test/crypto/attest/make_ratls.h"
#include "crypto/attest/ratls.h"

static struct make_dcap m;
static struct attest_result r;

static int setup(void **state)
{
	make_dcap(&m);
	return 0;
}

static int teardown(void **state)
{
	make_dcap_free(&m);
	return 0;
}

static enum attest_verdict judge(struct span certificate, const struct attest_policy *p)
{
	return attest_verify_ratls(&r, certificate, NULL, 0, &m.collateral, p, MAKE_NOW);
}

static enum attest_verdict once(const struct make_claims *c, const struct attest_policy *p)
{
	struct span pem = make_ratls(&m, c);

	judge(pem, p);
	make_free(&pem);
	return r.verdict;
}

static void accepted_test(void **state)
{
	static const unsigned algorithms[] = {1, 7, 8};
	struct attest_policy p = make_dcap_policy(&m);

	for (int i = 0; i < 3; i++)
		assert_int_equal(once(&(struct make_claims){.algorithm = algorithms[i]}, &p), ATTEST_OK);
	make_dcap_kind(&m, 3, 0, 0);
	assert_int_equal(once(&(struct make_claims){.algorithm = 1}, &p), ATTEST_OK);
	make_dcap_kind(&m, 4, 1, 0);
	assert_int_equal(once(&(struct make_claims){.algorithm = 1, .no_extension = 1}, &p),
			 ATTEST_RATLS_NOEXT);
	assert_int_equal(once(&(struct make_claims){.algorithm = 1, .spoil_data = 1}, &p),
			 ATTEST_RATLS_CLAIMS);
	assert_int_equal(once(&(struct make_claims){.algorithm = 2}, &p),
			 ATTEST_RATLS_PUBKEY); /* no hash that we know */
	assert_int_equal(once(&(struct make_claims){.algorithm = 1, .key = m.attestation}, &p),
			 ATTEST_RATLS_PUBKEY);
}

static void nonce_test(void **state)
{
	struct attest_policy p = make_dcap_policy(&m);

	p.nonce = (const uint8_t *)"fresh";
	p.nonce_n = 5;
	assert_int_equal(once(&(struct make_claims){.algorithm = 1, .nonce = "fresh"}, &p), ATTEST_OK);
	assert_int_equal(once(&(struct make_claims){.algorithm = 1, .nonce = "stale"}, &p),
			 ATTEST_RATLS_NONCE);
	assert_int_equal(once(&(struct make_claims){.algorithm = 1}, &p), ATTEST_RATLS_NONCE);
}

static void time_test(void **state)
{
	struct attest_policy p = make_dcap_policy(&m);
	struct span pem = make_ratls(&m, &(struct make_claims){.algorithm = 1});

	assert_int_equal(judge((struct span){pem.p, pem.n / 2}, &p), ATTEST_RATLS_FORM);
	assert_int_equal(judge((struct span){pem.p, 0}, &p), ATTEST_RATLS_FORM);
	assert_int_equal(judge(m.pck_chain, &p), ATTEST_RATLS_FORM); /* three certificates */
	assert_int_equal(attest_verify_ratls(&r, pem, NULL, 0, &m.collateral, &p, MAKE_NOW + 2 * MAKE_DAY),
			 ATTEST_CERT_TIME);
	make_free(&pem);
}

/* What enclaves write into their certificates, as others read it. */
static void written_test(void **state)
{
	struct attest_policy p = make_dcap_policy(&m);
	uint8_t claims[RATLS_CLAIMS], data[64], *key = NULL;
	EVP_PKEY *pair = EVP_EC_gen("P-256");
	int bytes = i2d_PUBKEY(pair, &key);
	size_t n;

	assert_true(bytes > 0);
	n = ratls_claims(claims, (struct span){key, (size_t)bytes}, data);
	assert_true(n && n <= sizeof(claims));
	for (int td = 0; td < 2; td++) {
		static uint8_t extension[9000];
		struct make_extension x = {RATLS_OID, extension, 0};
		struct make_id id;
		struct span der;

		make_dcap_kind(&m, td ? 4 : 3, td, 0);
		memcpy(m.body + (td ? 520 : 320), data, 64);
		make_quote(&m);
		x.n = ratls_evidence(extension, (struct span){m.quote, m.n}, (struct span){claims, n});
		assert_true(x.n <= m.n + n + 16);
		EVP_PKEY_up_ref(pair);
		id = make_cert("enclave", pair, NULL, 0, &x, 1);
		der = make_der(&id);
		assert_int_equal(judge(der, &p), ATTEST_OK);
		make_free(&der);
		make_id_free(&id);
		id = make_cert("enclave", EVP_EC_gen("P-256"), NULL, 0, &x, 1);
		der = make_der(&id);
		assert_int_equal(judge(der, &p), ATTEST_RATLS_PUBKEY);
		make_free(&der);
		make_id_free(&id);
	}
	OPENSSL_free(key);
	EVP_PKEY_free(pair);
}

/* The whole certificate is signed, the quote in it once more. */
static void mutation_test(void **state)
{
	struct attest_policy p = make_dcap_policy(&m);
	struct span pem = make_ratls(&m, &(struct make_claims){.algorithm = 7, .nonce = "n"});
	struct chain c = {.n = 0};
	uint8_t *der = NULL;
	int n;

	assert_int_equal(chain_add(&r, &c, pem), 0);
	n = i2d_X509(c.cert[0], &der);
	assert_true(n > 0);
	assert_int_equal(judge((struct span){der, (size_t)n}, &p), ATTEST_OK);
	for (int i = 0; i < n; i++) {
		der[i] ^= (uint8_t)(1u << i % 8);
		if (judge((struct span){der, (size_t)n}, &p) == ATTEST_OK)
			fail_msg("byte %d of %d can be changed unseen", i, n);
		der[i] ^= (uint8_t)(1u << i % 8);
	}
	OPENSSL_free(der);
	chain_free(&c);
	make_free(&pem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(accepted_test), cmocka_unit_test(nonce_test),    cmocka_unit_test(time_test),
	    cmocka_unit_test(written_test),  cmocka_unit_test(mutation_test),
	};

	return cmocka_run_group_tests_name("attest ratls", tests, setup, teardown);
}
