/* SPDX-License-Identifier: Apache-2.0 */
/* DCAP quotes and collateral signed by authorities of our own. */
#include "test/test.h"
#include "test/crypto/attest/make_dcap.h"

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

static void expect(const struct attest_policy *p, enum attest_verdict want)
{
	make_dcap_judge(&m, p, &r);
	if (r.verdict != want)
		fail_msg("expected %s, received %s: %s", attest_verdict_name(want),
			 attest_verdict_name(r.verdict), r.detail);
}

static void kind(int k)
{
	static const struct {
		unsigned version;
		int td, td15;
	} kinds[] = {{3, 0, 0}, {4, 0, 0}, {4, 1, 0}, {5, 0, 0}, {5, 1, 0}, {5, 1, 1}};

	make_dcap_kind(&m, kinds[k].version, kinds[k].td, kinds[k].td15);
}

static void accepted_test(void **state)
{
	struct attest_policy p = make_dcap_policy(&m), none = {0};

	for (int k = 0; k < 6; k++) {
		kind(k);
		expect(&p, ATTEST_OK);
		assert_int_equal(r.evidence_n, m.n);
		assert_int_equal(r.tcb_all, TCB_UP_TO_DATE);
		assert_int_equal(r.evaluation, 7);
		assert_string_equal(r.fmspc, "00a1b2c3d4e5");
		assert_int_equal(attest_field_get(&r, ATTEST_FIELD_REPORT_DATA)[0], 0x5a);
		assert_int_equal(attest_field_get(&r, m.td ? ATTEST_FIELD_MRTD : ATTEST_FIELD_MRENCLAVE)[0],
				 0x4d);
		assert_null(attest_field_get(&r, ATTEST_FIELD_MEASUREMENT));
		expect(&none, ATTEST_ROOT_UNTRUSTED);
		assert_int_equal(attest_verify_dcap(&r, (struct span){m.quote, m.n + 40}, NULL, 0,
						    &m.collateral, &p, MAKE_NOW),
				 ATTEST_OK);
		assert_int_equal(r.evidence_n, m.n); /* what follows does not count */
	}
}

/* A byte of header, body or quoting enclave's report changed and signed again by genuine keys. */
static void signed_again_test(void **state)
{
	static const struct {
		int kind, qe;
		size_t at;
		uint8_t value;
		enum attest_verdict want;
	} rows[] = {
	    {0, 0, 48, 0x07, ATTEST_DEBUG_ENCLAVE},  {2, 0, 120, 0x01, ATTEST_DEBUG_ENCLAVE},
	    {5, 0, 120, 0x80, ATTEST_DEBUG_ENCLAVE}, {5, 0, 123, 0x20, ATTEST_MIGRATABLE},
	    {2, 0, 64, 1, ATTEST_TDX_MODULE},	     {2, 0, 112, 1, ATTEST_TDX_MODULE},
	    {2, 0, 1, 9, ATTEST_TDX_MODULE},	     {0, 1, 48, 0x13, ATTEST_QE_ATTR},
	    {0, 1, 48, 0x31, ATTEST_QE_ATTR},	     {2, 1, 16, 1, ATTEST_QE_MISC},
	    {2, 1, 128, 0, ATTEST_QE_SIGNER},	     {2, 1, 256, 1, ATTEST_QE_SIGNER},
	};
	struct attest_policy p = make_dcap_policy(&m);

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		kind(rows[i].kind);
		(rows[i].qe ? m.qe : m.body)[rows[i].at] = rows[i].value;
		make_quote(&m);
		expect(&p, rows[i].want);
	}
	kind(2);
	m.body[120] = 1;
	m.body[123] = 0x20;
	make_quote(&m);
	p.allow = 1u << ATTEST_ALLOW_DEBUG | 1u << ATTEST_ALLOW_MIGRATION;
	expect(&p, ATTEST_OK);
	kind(0);
	p.isvsvn_minimum = 4;
	expect(&p, ATTEST_TCB_MINIMUM);
	p.isvsvn_minimum = 3;
	p.evaluation_minimum = 8;
	expect(&p, ATTEST_TCBINFO_OLD);
}

static void forms_test(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
		enum attest_verdict want;
	} rows[] = {
	    {0, 2, ATTEST_Q_VERSION}, {0, 6, ATTEST_Q_VERSION}, {2, 3, ATTEST_Q_AKT},
	    {4, 0x82, ATTEST_Q_TEE},  {4, 0, ATTEST_Q_TEE},	{12, 0, ATTEST_Q_VENDOR},
	    {48, 4, ATTEST_Q_BODY},   {50, 0, ATTEST_Q_BODY},	{48, 1, ATTEST_Q_BODY},
	};
	struct attest_policy p = make_dcap_policy(&m);

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		kind(4);
		m.quote[rows[i].at] = rows[i].value;
		expect(&p, rows[i].want);
	}
	kind(0);
	m.quote[4] = 0x81; /* version 3 knows no TDX */
	expect(&p, ATTEST_Q_TEE);
}

static void collateral_test(void **state)
{
	struct attest_policy p = make_dcap_policy(&m);
	struct span kept;

	kind(2);
	kept = m.collateral.root_crl;
	m.collateral.root_crl = (struct span){0};
	expect(&p, ATTEST_NO_COLLATERAL);
	m.collateral.root_crl = m.collateral.pck_crl;
	expect(&p, ATTEST_CRL_ISSUER);
	m.collateral.root_crl = kept;
	assert_int_equal(attest_verify_dcap(&r, (struct span){m.quote, m.n}, NULL, 0, NULL, &p, MAKE_NOW),
			 ATTEST_NO_COLLATERAL);
	p.allow = 1u << ATTEST_ALLOW_NO_COLLATERAL;
	assert_int_equal(attest_verify_dcap(&r, (struct span){m.quote, m.n}, NULL, 0, NULL, &p, MAKE_NOW),
			 ATTEST_OK);
	m.collateral.tcb_info.n--; /* a byte less than what is signed */
	expect(&p, ATTEST_TCBINFO_SIG);
	m.collateral.tcb_info.n++;
	expect(&p, ATTEST_OK);
}

static void revoked_test(void **state)
{
	X509 *const by_root[] = {m.middle.cert, m.signer.cert, NULL, NULL};
	X509 *const by_middle[] = {NULL, NULL, m.leaf.cert, NULL};
	struct attest_policy p = make_dcap_policy(&m);

	kind(2);
	for (int i = 0; i < 4; i++) {
		make_lists(&m, by_root[i], by_middle[i]);
		expect(&p, i < 3 ? ATTEST_REVOKED : ATTEST_OK);
	}
}

/* The signer of collateral must be the one: a PCK key, which a platform's owner has, does not sign TCB info.
 */
static void wrong_signer_test(void **state)
{
	const struct make_id *ids[] = {&m.leaf, &m.middle};
	struct attest_policy p = make_dcap_policy(&m);
	struct make_id other = make_cert("Somebody", EVP_EC_gen("P-256"), &m.root, 0, NULL, 0),
		       kept = m.signer;
	struct span chain;

	kind(2);
	chain = make_pem(ids, 2);
	m.collateral.tcb_chain = chain;
	expect(&p, ATTEST_CHAIN_ROLE);
	make_free(&chain);
	m.signer = other;
	make_collateral_sign(&m);
	expect(&p, ATTEST_TCBINFO_SIG);
	ids[0] = &other;
	chain = make_pem(ids, 1);
	m.collateral.tcb_chain = chain;
	expect(&p, ATTEST_CHAIN_ROLE);
	m.signer = kept;
	make_free(&chain);
	make_id_free(&other);
}

static void edit(char *text, const char *from, const char *to)
{
	char *at = strstr(text, from), rest[4096];

	assert_non_null(at);
	strcpy(rest, at + strlen(from));
	strcpy(at, to);
	strcat(text, rest);
}

/* Signed collateral that says something else. */
static void said_test(void **state)
{
	static const struct {
		int identity;
		const char *from, *to;
		enum attest_verdict want;
	} rows[] = {
	    {0, "\"TDX\"", "\"SGX\"", ATTEST_TCB_ID},
	    {0, "00A1B2C3D4E5", "00a1b2c3d4e5", ATTEST_OK},
	    {0, "00A1B2C3D4E5", "00A1B2C3D4E6", ATTEST_TCB_FMSPC},
	    {0, "\"pceId\":\"0000\"", "\"pceId\":\"0001\"", ATTEST_TCB_FMSPC},
	    {0, "\"version\":3", "\"version\":2", ATTEST_TCBINFO_FORM},
	    {0, "\"version\":3", "\"version\":3,\"version\":3", ATTEST_TCBINFO_FORM},
	    {0, "\"version\":3", "\"version\":-3", ATTEST_TCBINFO_FORM},
	    {0, "2027-01-16T", "2027-01-15T", ATTEST_OK},
	    {0, "2027-01-16T", "2027-01-14T", ATTEST_TCBINFO_TIME},
	    {0, "2027-01-14T", "2027-01-16T", ATTEST_TCBINFO_TIME},
	    {0, "2027-01-14T", "2027-01-14 ", ATTEST_TCBINFO_FORM},
	    {0, "UpToDate", "WellDone", ATTEST_TCBINFO_FORM},
	    {0, "{\"svn\":5}]", "{\"svn\":5},{\"svn\":5}]", ATTEST_TCBINFO_FORM},
	    {0, "{\"svn\":5},", "", ATTEST_TCBINFO_FORM},
	    {0, "{\"svn\":5}", "{\"svn\":256}", ATTEST_TCBINFO_FORM},
	    {0, "\"TDX_01\"", "\"tdx_01\"", ATTEST_OK},
	    {0, "\"TDX_01\"", "\"TDX_02\"", ATTEST_TDX_MODULE},
	    {0, "}]}", "}]}}", ATTEST_TCBINFO_FORM},
	    {1, "TD_QE", "QE", ATTEST_QEID_ID},
	    {1, "\"version\":2", "\"version\":1", ATTEST_QEID_FORM},
	    {1, "2027-01-16T", "2027-01-14T", ATTEST_QEID_TIME},
	    {1, "\"isvprodid\":2", "\"isvprodid\":1", ATTEST_QE_SIGNER},
	    {1, "0e0e", "0e0f", ATTEST_QE_SIGNER},
	    {1, "\"miscselect\":\"00000000\"", "\"miscselect\":\"01000000\"", ATTEST_QE_MISC},
	    {1, "\"attributes\":\"11", "\"attributes\":\"31", ATTEST_QE_ATTR},
	    {1, "\"attributes\":\"11", "\"attributes\":\"15", ATTEST_OK}, /* outside the mask */
	    {1, "\"isvsvn\":4", "\"isvsvn\":\"4\"", ATTEST_QEID_FORM},
	};
	struct attest_policy p = make_dcap_policy(&m);

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		kind(2);
		edit(rows[i].identity ? m.identity : m.info, rows[i].from, rows[i].to);
		make_collateral_sign(&m);
		make_dcap_judge(&m, &p, &r);
		if (r.verdict != rows[i].want)
			fail_msg("%s → %s: %s: %s", rows[i].from, rows[i].to, attest_verdict_name(r.verdict),
				 r.detail);
	}
}

/* Levels of platform, quoting enclave and module, and what they make together. */
static void levels_test(void **state)
{
	static const struct {
		int kind;
		const char *status, *module, *qe;
		uint8_t pck_like, isvsvn, now; /* tee_tcb_svn[2…], module's version at launch and now */
		enum tcb_status all;
	} rows[] = {
	    {0, "UpToDate", "", "UpToDate", 5, 0, 0, TCB_UP_TO_DATE},
	    {0, "SWHardeningNeeded", "", "UpToDate", 5, 0, 0, TCB_SW_HARDENING},
	    {0, "SWHardeningNeeded", "", "OutOfDate", 5, 0, 0, TCB_OUT_OF_DATE},
	    {0, "ConfigurationNeeded", "", "OutOfDate", 5, 0, 0, TCB_OUT_OF_DATE_CONFIGURATION},
	    {0, "ConfigurationAndSWHardeningNeeded", "", "UpToDate", 5, 0, 0,
	     TCB_CONFIGURATION_AND_SW_HARDENING},
	    {0, "UpToDate", "", "Revoked", 5, 0, 0, TCB_REVOKED},
	    {0, "Revoked", "", "UpToDate", 5, 0, 0, TCB_REVOKED},
	    {2, "UpToDate", "UpToDate", "UpToDate", 5, 5, 5, TCB_UP_TO_DATE},
	    {2, "UpToDate", "UpToDate", "UpToDate", 4, 5, 5, TCB_OUT_OF_DATE},
	    {2, "UpToDate", "UpToDate", "UpToDate", 2, 5, 5, TCB_NOT_SUPPORTED},
	    {2, "UpToDate", "UpToDate", "UpToDate", 5, 3, 5, TCB_OUT_OF_DATE},
	    {2, "UpToDate", "UpToDate", "UpToDate", 5, 1, 5, TCB_NOT_SUPPORTED},
	    {2, "UpToDate", "Revoked", "UpToDate", 5, 5, 5, TCB_REVOKED},
	    {2, "ConfigurationNeeded", "OutOfDate", "UpToDate", 5, 5, 5, TCB_OUT_OF_DATE_CONFIGURATION},
	    {5, "UpToDate", "UpToDate", "UpToDate", 5, 3, 5, TCB_TD_RELAUNCH},
	    {5, "UpToDate", "UpToDate", "UpToDate", 5, 3, 3, TCB_OUT_OF_DATE},
	    {5, "ConfigurationNeeded", "UpToDate", "UpToDate", 5, 3, 5, TCB_TD_RELAUNCH_CONFIGURATION},
	    {5, "UpToDate", "UpToDate", "OutOfDate", 5, 3, 5, TCB_OUT_OF_DATE},
	};
	struct attest_policy p = make_dcap_policy(&m);

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		kind(rows[i].kind);
		if (m.td) {
			memset(m.body, rows[i].pck_like, 16);
			m.body[0] = rows[i].isvsvn;
			m.body[1] = 1;
			m.body[TD10_BODY] = rows[i].now;
		}
		make_quote(&m);
		make_info(&m, rows[i].status, rows[i].module);
		make_identity(&m, rows[i].qe);
		make_collateral_sign(&m);
		p.tcb_accepted = 0;
		expect(&p, rows[i].all == TCB_UP_TO_DATE ? ATTEST_OK : ATTEST_TCB_STATUS);
		if (r.tcb_all != rows[i].all)
			fail_msg("row %zu: %s", i, tcb_status_word(r.tcb_all));
		p.tcb_accepted = ~0u; /* revoked keys stay refused */
		expect(&p, rows[i].all == TCB_REVOKED ? ATTEST_TCB_STATUS : ATTEST_OK);
	}
}

static int same_certificates(void)
{
	struct make_id *const want[] = {&m.leaf, &m.middle, &m.root};
	struct attest_result unused;
	struct chain c = {.n = 0};
	int same =
	    !chain_add(&unused, &c, (struct span){m.quote + m.at_certificates, m.n - m.at_certificates}) &&
	    c.n == 3;

	for (int i = 0; same && i < 3; i++)
		same = !X509_cmp(c.cert[i], want[i]->cert);
	chain_free(&c);
	return same;
}

/* Every byte of a quote up to its certificates is signed or a length; in the PEM text, every change that
 * leaves the same certificates is white space or stands outside of them. */
static void mutation_test(void **state)
{
	struct attest_policy p = make_dcap_policy(&m);

	p.allow = 1u << ATTEST_ALLOW_DEBUG | 1u << ATTEST_ALLOW_MIGRATION;
	p.tcb_accepted = ~0u;
	for (int k = 0; k < 6; k += 5) {
		kind(k);
		for (size_t i = 0; i < m.n; i++) {
			uint8_t was = m.quote[i];

			m.quote[i] ^= (uint8_t)(1u << i % 8);
			if (make_dcap_judge(&m, &p, &r) == ATTEST_OK &&
			    (i < m.at_certificates || !same_certificates()))
				fail_msg("byte %zu of kind %d can be changed unseen", i, k);
			m.quote[i] = was;
		}
		for (size_t n = 0; n < m.n; n++)
			assert_int_not_equal(attest_verify_dcap(&r, (struct span){m.quote, n}, NULL, 0,
								&m.collateral, &p, MAKE_NOW),
					     ATTEST_OK);
		expect(&p, ATTEST_OK);
	}
}

static void flip_all(struct span *part, const struct attest_policy *p)
{
	const struct span kept = *part;
	uint8_t *copy = OPENSSL_memdup(kept.p, kept.n);

	part->p = copy;
	for (size_t i = 0; i < kept.n; i++) {
		copy[i] ^= (uint8_t)(1u << i % 8);
		if (make_dcap_judge(&m, p, &r) == ATTEST_OK)
			fail_msg("byte %zu of %zu can be changed unseen", i, kept.n);
		copy[i] ^= (uint8_t)(1u << i % 8);
	}
	*part = kept;
	OPENSSL_free(copy);
}

static void collateral_mutation_test(void **state)
{
	struct attest_policy p = make_dcap_policy(&m);
	struct attest_collateral *c = &m.collateral;

	kind(5);
	flip_all(&c->tcb_info, &p);
	flip_all(&c->tcb_signature, &p);
	flip_all(&c->qe_identity, &p);
	flip_all(&c->qe_signature, &p);
	flip_all(&c->root_crl, &p);
	flip_all(&c->pck_crl, &p);
	expect(&p, ATTEST_OK);
}

static void unwrap_test(void **state)
{
	static const char *const bad[] = {
	    "",
	    "{}",
	    "{\"tcbInfo\":{}}",
	    "{\"tcbInfo\":[],\"signature\":\"00\"}",
	    "{\"tcbInfo\":{},\"signature\":\"00\"}",
	};
	uint8_t signature[64];
	char text[5000], hex[129];
	struct span inner;

	kind(2);
	snprintf(text, sizeof(text), " {\"signature\" : \"%s\",\n\"tcbInfo\" :\t%s }\n",
		 bytes_hex(hex, m.info_signature, 64), m.info);
	assert_int_equal(
	    attest_unwrap((struct span){(uint8_t *)text, strlen(text)}, "tcbInfo", &inner, signature), 0);
	assert_int_equal(inner.n, strlen(m.info));
	assert_memory_equal(inner.p, m.info, inner.n);
	assert_memory_equal(signature, m.info_signature, 64);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(attest_unwrap((struct span){(const uint8_t *)bad[i], strlen(bad[i])},
					       "tcbInfo", &inner, signature),
				 -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(accepted_test), cmocka_unit_test(signed_again_test),
	    cmocka_unit_test(forms_test),    cmocka_unit_test(collateral_test),
	    cmocka_unit_test(revoked_test),  cmocka_unit_test(wrong_signer_test),
	    cmocka_unit_test(said_test),     cmocka_unit_test(levels_test),
	    cmocka_unit_test(mutation_test), cmocka_unit_test(collateral_mutation_test),
	    cmocka_unit_test(unwrap_test),
	};

	return cmocka_run_group_tests_name("attest dcap", tests, setup, teardown);
}
