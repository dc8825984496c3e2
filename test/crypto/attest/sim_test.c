/* SPDX-License-Identifier: Apache-2.0 */
/* Simulated reports: only by a root that the policy names, only where simulation is allowed, never "OK". */
#include "test/test.h"
#include "test/crypto/attest/make.h"
#include "crypto/attest/sim.h"

static struct make_id root, key;
static struct span chain[2];
static uint8_t keys[1][ATTEST_DIGEST], report[SIM_REPORT], measurement[48], data[64];

static int setup(void **state)
{
	memset(measurement, 0x4d, sizeof(measurement));
	memset(data, 0x5a, sizeof(data));
	root = make_cert(SIM_ROOT_NAME, EVP_EC_gen("P-256"), NULL, 1, NULL, 0);
	key = make_cert(SIM_KEY_NAME, EVP_EC_gen("P-256"), &root, 0, NULL, 0);
	make_digest(&root, keys[0]);
	chain[0] = make_der(&key);
	chain[1] = make_der(&root);
	return 0;
}

static int teardown(void **state)
{
	make_free(&chain[0]);
	make_free(&chain[1]);
	make_id_free(&key);
	make_id_free(&root);
	return 0;
}

static void make_report(uint32_t hardening)
{
	struct err e = {0};

	assert_int_equal(sim_report_make(report, key.key, hardening, measurement, data, &e), 0);
}

static struct attest_policy accepting(void)
{
	return (struct attest_policy){.allow = 1u << ATTEST_ALLOW_SIMULATED, .simulation = {keys, 1}};
}

static enum attest_verdict judge(const struct attest_policy *p, struct attest_result *r)
{
	return attest_verify_sim(r, (struct span){report, sizeof(report)}, chain, 2, p, MAKE_NOW);
}

static void accepted_test(void **state)
{
	struct attest_policy p = accepting();
	struct attest_result r;

	make_report(SIM_ALL);
	assert_int_equal(judge(&p, &r), ATTEST_SIMULATED);
	assert_true(attest_accepted(r.verdict));
	assert_non_null(strstr(attest_verdict_sentence(r.verdict), SIM_WORDS));
	assert_memory_equal(attest_field_get(&r, ATTEST_FIELD_MEASUREMENT), measurement, 48);
	assert_memory_equal(attest_field_get(&r, ATTEST_FIELD_REPORT_DATA), data, 64);
	p.allow = 0;
	assert_int_equal(judge(&p, &r), ATTEST_SIM_REFUSED);
	p = accepting();
	p.simulation.n = 0;
	assert_int_equal(judge(&p, &r), ATTEST_ROOT_UNTRUSTED);
	/* A root named for AMD or Intel is none for simulation. */
	p.amd = p.intel = (struct attest_roots){keys, 1};
	assert_int_equal(judge(&p, &r), ATTEST_ROOT_UNTRUSTED);
}

/* What a person is told is what is demanded. */
static void sentence_test(void **state)
{
	char size[32];

	snprintf(size, sizeof(size), "exactly %d bytes", SIM_REPORT);
	assert_non_null(strstr(attest_verdict_sentence(ATTEST_SIM_SIZE), size));
	assert_non_null(strstr(attest_verdict_sentence(ATTEST_SIM_REFUSED), "--accept-simulated"));
}

static const char *const words[] = {
#define HARDENING(name, word, what) word,
#include "crypto/attest/hardening.def"
#undef HARDENING
};

static void hardening_test(void **state)
{
	struct attest_policy p = accepting();
	struct attest_result r;

	for (unsigned h = 0; h < SIM_HARDENINGS; h++) {
		make_report(SIM_ALL & ~(1u << h));
		assert_true(bytes_zero(report + 24, 48));
		p.allow = 1u << ATTEST_ALLOW_SIMULATED;
		assert_int_equal(judge(&p, &r), ATTEST_SIM_HARDENING);
		assert_non_null(strstr(r.detail, words[h]));
		p.allow |= 1u << ATTEST_ALLOW_UNHARDENED;
		assert_int_equal(judge(&p, &r), ATTEST_SIMULATED);
	}
}

static void values_test(void **state)
{
	struct attest_value value = {ATTEST_FIELD_MEASUREMENT, {0x4d}};
	struct attest_policy p = accepting();
	struct attest_result r;

	make_report(SIM_ALL);
	p.values = &value;
	p.n_values = 1;
	assert_int_equal(judge(&p, &r), ATTEST_WANT_MEASUREMENT);
	memcpy(value.bytes, measurement, 48);
	assert_int_equal(judge(&p, &r), ATTEST_SIMULATED);
	value.field = ATTEST_FIELD_REPORT_DATA;
	assert_int_equal(judge(&p, &r), ATTEST_WANT_REPORT_DATA);
}

static void mutation_test(void **state)
{
	struct attest_policy p = accepting();
	struct attest_result r;

	p.allow = ~0u;
	make_report(SIM_ALL);
	for (size_t i = 0; i < sizeof(report); i++) {
		report[i] ^= (uint8_t)(1u << i % 8);
		if (attest_accepted(judge(&p, &r)))
			fail_msg("byte %zu can be changed unseen", i);
		report[i] ^= (uint8_t)(1u << i % 8);
	}
	for (size_t n = 0; n < sizeof(report); n++)
		assert_int_equal(attest_verify_sim(&r, (struct span){report, n}, chain, 2, &p, MAKE_NOW),
				 ATTEST_SIM_SIZE);
	assert_int_equal(judge(&p, &r), ATTEST_SIMULATED);
}

static void chain_test(void **state)
{
	struct make_id other = make_cert(SIM_KEY_NAME, EVP_EC_gen("P-256"), NULL, 0, NULL, 0);
	struct make_id odd = make_cert(SIM_KEY_NAME, EVP_EC_gen("P-384"), &root, 0, NULL, 0);
	struct span forged[2] = {make_der(&other), chain[1]}, other_curve[2] = {make_der(&odd), chain[1]};
	struct attest_policy p = accepting();
	struct attest_result r;
	struct err e = {0};
	const struct span whole = {report, sizeof(report)};

	make_report(SIM_ALL);
	assert_int_equal(attest_verify_sim(&r, whole, chain, 1, &p, MAKE_NOW), ATTEST_CHAIN_ROLE);
	assert_int_equal(attest_verify_sim(&r, whole, chain, 2, &p, MAKE_NOW + 2 * MAKE_DAY),
			 ATTEST_CERT_TIME);
	attest_verify_sim(&r, whole, forged, 2, &p, MAKE_NOW);
	assert_false(attest_accepted(r.verdict));
	assert_int_equal(attest_verify_sim(&r, whole, other_curve, 2, &p, MAKE_NOW), ATTEST_SIM_SIG);
	assert_int_equal(sim_report_make(report, odd.key, SIM_ALL, measurement, data, &e), -1);
	make_free(&forged[0]);
	make_free(&other_curve[0]);
	make_id_free(&other);
	make_id_free(&odd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(accepted_test),  cmocka_unit_test(sentence_test),
	    cmocka_unit_test(hardening_test), cmocka_unit_test(values_test),
	    cmocka_unit_test(mutation_test),  cmocka_unit_test(chain_test),
	};

	return cmocka_run_group_tests_name("attest sim", tests, setup, teardown);
}
