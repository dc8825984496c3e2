/* SPDX-License-Identifier: Apache-2.0 */
/* SEV-SNP reports signed by authorities of our own: each way to be wrong has its verdict, and no byte can
 * change unseen. */
#include "test/test.h"
#include "test/crypto/attest/make_snp.h"

static struct make_snp milan, turin, vlek;

static int setup(void **state)
{
	make_snp(&milan, SNP_MILAN, 0);
	make_snp(&turin, SNP_TURIN, 0);
	make_snp(&vlek, SNP_GENOA, 1);
	return 0;
}

static int teardown(void **state)
{
	make_snp_free(&milan);
	make_snp_free(&turin);
	make_snp_free(&vlek);
	return 0;
}

static struct attest_policy trusting(const struct make_snp *m)
{
	return (struct attest_policy){.amd = {m->root, 1}};
}

static enum attest_verdict judge(const struct make_snp *m, const struct attest_policy *p,
				 struct attest_result *r)
{
	return attest_verify_snp(r, (struct span){m->report, sizeof(m->report)}, m->chain, 3,
				 (struct span){0}, p, MAKE_NOW);
}

static void expect(const struct make_snp *m, const struct attest_policy *p, enum attest_verdict want)
{
	struct attest_result r;

	judge(m, p, &r);
	if (r.verdict != want)
		fail_msg("expected %s, received %s: %s", attest_verdict_name(want),
			 attest_verdict_name(r.verdict), r.detail);
}

static void accepted_test(void **state)
{
	struct make_snp *const all[] = {&milan, &turin, &vlek};
	struct attest_result r;

	for (size_t i = 0; i < 3; i++)
		for (unsigned version = 2; version <= 5; version++) {
			struct attest_policy p = trusting(all[i]);

			make_snp_report(all[i], version);
			expect(all[i], &p, version == 2 ? ATTEST_SNP_OLD : ATTEST_OK);
			p.allow = 1u << ATTEST_ALLOW_OLD_REPORT;
			assert_int_equal(judge(all[i], &p, &r), ATTEST_OK);
			assert_memory_equal(&r.tcb, &all[i]->tcb, sizeof(r.tcb));
			assert_memory_equal(attest_field_get(&r, ATTEST_FIELD_REPORT_DATA),
					    all[i]->report + 0x50, 64);
			assert_int_equal(r.vlek, all[i]->vlek);
			assert_int_equal(r.fresh_until, MAKE_NOW + MAKE_DAY);
			assert_string_equal(r.product, snp_product_name(all[i]->product));
		}
	make_snp_report(&milan, 3);
	make_snp_report(&turin, 3);
	make_snp_report(&vlek, 3);
}

/* One field of the report changed and signed again by the genuine key. */
static void signed_again_test(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
		enum attest_verdict want;
	} rows[] = {
	    {0x000, 1, ATTEST_SNP_VERSION},	{0x000, 6, ATTEST_SNP_VERSION},
	    {0x034, 2, ATTEST_SNP_SIGALGO},	{0x00a, 0x01, ATTEST_SNP_POLICY},
	    {0x00a, 0x07, ATTEST_MIGRATABLE},	{0x00a, 0x0b, ATTEST_DEBUG_GUEST},
	    {0x030, 1, ATTEST_WANT_VMPL},	{0x048, 4, ATTEST_SNP_KEY},
	    {0x04c, 1, ATTEST_SNP_MBZ},		{0x180, 5, ATTEST_TCB_MISMATCH},
	    {0x181, 0, ATTEST_TCB_MISMATCH},	{0x186, 23, ATTEST_TCB_MISMATCH},
	    {0x187, 0xdc, ATTEST_TCB_MISMATCH}, {0x188, 0x1a, ATTEST_SNP_PRODUCT},
	    {0x189, 0x11, ATTEST_SNP_PRODUCT},	{0x18b, 1, ATTEST_SNP_MBZ},
	    {0x1a0, 0, ATTEST_CHIP_ID},		{0x1df, 0, ATTEST_CHIP_ID},
	    {0x1eb, 1, ATTEST_SNP_MBZ},		{0x1ef, 1, ATTEST_SNP_MBZ},
	    {0x1f8, 1, ATTEST_SNP_MBZ},		{0x29f, 1, ATTEST_SNP_MBZ},
	};
	struct attest_policy p = trusting(&milan);

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		make_snp_report(&milan, 3);
		milan.report[rows[i].at] = rows[i].value;
		make_snp_sign(&milan);
		expect(&milan, &p, rows[i].want);
	}
	make_snp_report(&milan, 3);
	expect(&milan, &p, ATTEST_OK);
}

static void allowed_test(void **state)
{
	struct attest_policy p = trusting(&milan);

	milan.report[0x00a] = 0x0f;
	milan.report[0x030] = 2;
	make_snp_sign(&milan);
	expect(&milan, &p, ATTEST_DEBUG_GUEST);
	p.allow = 1u << ATTEST_ALLOW_DEBUG;
	expect(&milan, &p, ATTEST_MIGRATABLE);
	p.allow |= 1u << ATTEST_ALLOW_MIGRATION;
	expect(&milan, &p, ATTEST_WANT_VMPL);
	p.vmpl_max = 2;
	expect(&milan, &p, ATTEST_OK);
	make_snp_report(&milan, 3);
	memset(milan.report + 0x1a0, 0, 64);
	make_snp_sign(&milan);
	expect(&milan, &p, ATTEST_CHIP_MASKED);
	p.allow = 1u << ATTEST_ALLOW_MASKED_CHIP;
	expect(&milan, &p, ATTEST_OK);
	make_snp_report(&milan, 3);
}

/* Turin's chip identity is 8 bytes: what follows must be zero, or a report of another chip could be shown. */
static void turin_test(void **state)
{
	struct attest_policy p = trusting(&turin);

	turin.report[0x1a8] = 1;
	make_snp_sign(&turin);
	expect(&turin, &p, ATTEST_CHIP_ID);
	make_snp_report(&turin, 5);
	turin.report[0x180] ^= 1; /* FMC */
	make_snp_sign(&turin);
	expect(&turin, &p, ATTEST_TCB_MISMATCH);
	make_snp_report(&turin, 3);
}

static void minimum_test(void **state)
{
	struct attest_policy p = trusting(&milan);

	p.tcb_minimum[SNP_MILAN] = milan.tcb;
	p.tcb_minimum[SNP_GENOA] = (struct snp_tcb){255, 255, 255, 255, 255};
	expect(&milan, &p, ATTEST_OK);
	milan.report[0x1f6]--; /* launched under older SNP firmware */
	make_snp_sign(&milan);
	expect(&milan, &p, ATTEST_TCB_MINIMUM);
	make_snp_report(&milan, 3);
	milan.report[0x1e7]--; /* may be rolled back */
	make_snp_sign(&milan);
	expect(&milan, &p, ATTEST_TCB_MINIMUM);
	make_snp_report(&milan, 3);
	p.tcb_minimum[SNP_MILAN].microcode++;
	expect(&milan, &p, ATTEST_TCB_MINIMUM);
	p = trusting(&milan);
	p.platform_required = 1u << 5;
	expect(&milan, &p, ATTEST_OK);
	p.platform_required = 1u << 4;
	expect(&milan, &p, ATTEST_PLATFORM);
	p = trusting(&milan);
	p.guest_policy_forbidden = 1u << 16;
	expect(&milan, &p, ATTEST_GUEST_POLICY);
}

static void values_test(void **state)
{
	struct attest_value values[3] = {{ATTEST_FIELD_MEASUREMENT, {1}}, {ATTEST_FIELD_REPORT_DATA, {2}}};
	struct attest_policy p = trusting(&milan);
	struct attest_result r;

	p.values = values;
	p.n_values = 2;
	assert_int_equal(judge(&milan, &p, &r), ATTEST_WANT_MEASUREMENT);
	assert_non_null(strstr(r.detail, "expected 0100"));
	assert_non_null(strstr(r.detail, "received 4d4d"));
	memset(values[0].bytes, 0x4d, 48);
	assert_int_equal(judge(&milan, &p, &r), ATTEST_WANT_REPORT_DATA);
	values[2].field = ATTEST_FIELD_REPORT_DATA; /* an alternative */
	memset(values[2].bytes, 0x5a, 64);
	p.n_values = 3;
	assert_int_equal(judge(&milan, &p, &r), ATTEST_OK);
	assert_true(r.program_named);
	values[0].field = ATTEST_FIELD_MRTD; /* names programs, but none for SNP */
	assert_int_equal(judge(&milan, &p, &r), ATTEST_WANT_MEASUREMENT);
	assert_non_null(strstr(r.detail, "expected none of this kind"));
}

static enum attest_verdict with_chain(const struct make_snp *m, const struct span *chain, size_t n,
				      int64_t now)
{
	struct attest_policy p = trusting(m);
	struct attest_result r;

	return attest_verify_snp(&r, (struct span){m->report, sizeof(m->report)}, chain, n, (struct span){0},
				 &p, now);
}

static void chain_test(void **state)
{
	const struct make_id *const all[] = {&milan.ark, &milan.leaf, &milan.ask};
	struct span pem = make_pem(all, 3), bad[4];
	struct attest_policy none = {0};

	assert_int_equal(with_chain(&milan, &pem, 1, MAKE_NOW), ATTEST_OK);
	assert_int_equal(with_chain(&milan, milan.chain, 2, MAKE_NOW), ATTEST_CHAIN_ROLE);
	memcpy(bad, milan.chain, sizeof(milan.chain));
	bad[3] = bad[0];
	assert_int_equal(with_chain(&milan, bad, 4, MAKE_NOW), ATTEST_CHAIN_ROLE);
	bad[1] = turin.chain[1];
	assert_int_equal(with_chain(&milan, bad, 3, MAKE_NOW), ATTEST_CHAIN_NAME);
	bad[1] = (struct span){(const uint8_t *)"-----BEGIN NOTHING", 18};
	assert_int_equal(with_chain(&milan, bad, 3, MAKE_NOW), ATTEST_CHAIN_FORM);
	bad[1] = (struct span){milan.chain[1].p, milan.chain[1].n - 1};
	assert_int_equal(with_chain(&milan, bad, 3, MAKE_NOW), ATTEST_CHAIN_FORM);
	bad[1] = (struct span){0};
	assert_int_equal(with_chain(&milan, bad, 3, MAKE_NOW), ATTEST_CHAIN_FORM);
	assert_int_equal(with_chain(&milan, milan.chain, 3, MAKE_NOW + 2 * MAKE_DAY), ATTEST_CERT_TIME);
	assert_int_equal(with_chain(&milan, milan.chain, 3, MAKE_NOW - 2 * MAKE_DAY), ATTEST_CERT_TIME);
	expect(&milan, &none, ATTEST_ARK_UNTRUSTED);
	make_free(&pem);
}

/* A key that AMD never certified, under names that are right. */
static void forged_test(void **state)
{
	struct make_snp forged;
	struct attest_policy p = trusting(&milan);
	struct attest_result r;
	struct span chain[3];

	make_snp(&forged, SNP_MILAN, 0);
	expect(&forged, &p, ATTEST_ARK_UNTRUSTED);
	memcpy(chain, forged.chain, sizeof(chain));
	chain[2] = milan.chain[2]; /* the genuine root over a forged ASK */
	assert_int_equal(attest_verify_snp(&r, (struct span){forged.report, 1184}, chain, 3, (struct span){0},
					   &p, MAKE_NOW),
			 ATTEST_CHAIN_SIG);
	chain[1] = milan.chain[1]; /* and the genuine ASK over a forged VCEK */
	assert_int_equal(attest_verify_snp(&r, (struct span){forged.report, 1184}, chain, 3, (struct span){0},
					   &p, MAKE_NOW),
			 ATTEST_CHAIN_SIG);
	assert_int_equal(attest_verify_snp(&r, (struct span){forged.report, 1184}, milan.chain, 3,
					   (struct span){0}, &p, MAKE_NOW),
			 ATTEST_REPORT_SIG);
	make_snp_free(&forged);
}

static void crl_test(void **state)
{
	struct span empty = make_crl(&milan.ark, NULL, MAKE_NOW - 9, MAKE_NOW + 9);
	struct span revoked = make_crl(&milan.ark, milan.ask.cert, MAKE_NOW - 9, MAKE_NOW + 9);
	struct span late = make_crl(&milan.ark, NULL, MAKE_NOW - 9, MAKE_NOW - 5);
	struct span other = make_crl(&turin.ark, NULL, MAKE_NOW - 9, MAKE_NOW + 9);
	const struct span lists[] = {empty, revoked, late, other, {empty.p, empty.n - 1}};
	static const enum attest_verdict want[] = {ATTEST_OK, ATTEST_REVOKED, ATTEST_CRL_TIME,
						   ATTEST_CRL_ISSUER, ATTEST_CRL_FORM};
	struct attest_policy p = trusting(&milan);
	struct attest_result r;

	for (int i = 0; i < 5; i++)
		assert_int_equal(attest_verify_snp(&r, (struct span){milan.report, 1184}, milan.chain, 3,
						   lists[i], &p, MAKE_NOW),
				 want[i]);
	make_free(&empty);
	make_free(&revoked);
	make_free(&late);
	make_free(&other);
}

/* Every bit of a report is signed, the signature, or must be zero. */
static void mutation_test(void **state)
{
	struct attest_policy p = trusting(&turin);
	struct attest_result r;

	p.allow = ~0u;
	p.vmpl_max = 255;
	for (size_t i = 0; i < sizeof(turin.report); i++) {
		turin.report[i] ^= (uint8_t)(1u << i % 8);
		if (attest_accepted(judge(&turin, &p, &r)))
			fail_msg("byte 0x%03zx can be changed unseen", i);
		turin.report[i] ^= (uint8_t)(1u << i % 8);
	}
	for (size_t n = 0; n < sizeof(turin.report); n += 7)
		assert_int_equal(attest_verify_snp(&r, (struct span){turin.report, n}, turin.chain, 3,
						   (struct span){0}, &p, MAKE_NOW),
				 ATTEST_SNP_SIZE);
	expect(&turin, &p, ATTEST_OK);
}

/* Every byte of every certificate. */
static void certificate_mutation_test(void **state)
{
	for (int c = 0; c < 3; c++) {
		uint8_t *copy = OPENSSL_memdup(turin.chain[c].p, turin.chain[c].n);
		struct span chain[3] = {turin.chain[0], turin.chain[1], turin.chain[2]};

		chain[c].p = copy;
		for (size_t i = 0; i < chain[c].n; i++) {
			copy[i] ^= (uint8_t)(1u << i % 8);
			if (with_chain(&turin, chain, 3, MAKE_NOW) == ATTEST_OK)
				fail_msg("byte %zu of certificate %d can be changed unseen", i, c);
			copy[i] ^= (uint8_t)(1u << i % 8);
		}
		OPENSSL_free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(accepted_test),
	    cmocka_unit_test(signed_again_test),
	    cmocka_unit_test(allowed_test),
	    cmocka_unit_test(turin_test),
	    cmocka_unit_test(minimum_test),
	    cmocka_unit_test(values_test),
	    cmocka_unit_test(chain_test),
	    cmocka_unit_test(forged_test),
	    cmocka_unit_test(crl_test),
	    cmocka_unit_test(mutation_test),
	    cmocka_unit_test(certificate_mutation_test),
	};

	return cmocka_run_group_tests_name("attest snp", tests, setup, teardown);
}
