/* SPDX-License-Identifier: Apache-2.0 */
/* The client against enclaves on (imitated) hardware: providers answer for this very connection, with an AMD
 * and an Intel of our own; the policy names their roots. What is genuine but for another connection, of
 * another program, or under other roots is refused. Then where certificates and collateral may come from. */
#include "test/client/enclave_stage.h"

#include "daemon/enclave_parts.h"
#include "test/crypto/attest/make_dcap.h"
#include "test/crypto/attest/make_snp.h"
#include "test/daemon/fake_tee.h"

static struct make_snp amd;
static struct make_dcap intel;
static uint8_t table[QUOTE_TABLE_MAX];

static void vendors_now(void)
{
	make_snp(&amd, SNP_GENOA, 0);
	make_valid_now(&amd.ark, &amd.ark);
	make_valid_now(&amd.ask, &amd.ark);
	make_valid_now(&amd.leaf, &amd.ask);
	for (int i = 0; i < 3; i++)
		make_free(&amd.chain[i]);
	amd.chain[0] = make_der(&amd.leaf);
	amd.chain[1] = make_der(&amd.ask);
	amd.chain[2] = make_der(&amd.ark);
	make_dcap_now(&intel);
}

static void write_policies(void)
{
	static char text[1200], hex[97], small[65];
	uint8_t program[48];

	memset(program, 0x4d, sizeof(program));
	bytes_hex(hex, program, 48);
	bytes_hex(small, program, 32);
	snprintf(text, sizeof(text),
		 "measurement = \"%s\"; mrtd = \"%s\"; mrenclave = \"%s\"; amd_roots = [\"ark.der\"];\n"
		 "intel_roots = [\"intel.der\"]; allow = [\"no-collateral\"]; min_model_version = 2;\n",
		 hex, hex, small);
	write_text("policy", text);
	strcat(text, "boot_evidence_age = 7200;\n");
	write_text("boot", text);
	strcat(text, "report_data = \"");
	for (int i = 0; i < 64; i++)
		strcat(text, "00");
	strcat(text, "\";\n");
	write_text("own-data", text);
	snprintf(text, sizeof(text), "measurement = \"%s\"; mrtd = \"%s\"; mrenclave = \"%s\";\n", hex, hex,
		 small);
	write_text("no-roots", text);
	hex[0] = small[0] = '0';
	snprintf(text, sizeof(text),
		 "measurement = \"%s\"; mrtd = \"%s\"; mrenclave = \"%s\"; amd_roots = [\"ark.der\"];\n"
		 "intel_roots = [\"intel.der\"]; allow = [\"no-collateral\"];\n",
		 hex, hex, small);
	write_text("other-program", text);
	strcat(text, "boot_evidence_age = 7200;\n");
	write_text("boot-other-program", text);
	write_text(
	    "no-program",
	    "amd_roots = [\"ark.der\"]; intel_roots = [\"intel.der\"]; allow = [\"no-collateral\"];\n");
	write_file("ark.der", amd.chain[2].p, amd.chain[2].n);
	{
		struct span der = make_der(&intel.root);

		write_file("intel.der", der.p, der.n);
		make_free(&der);
	}
}

static int setup(void **state)
{
	stage_start();
	vendors_now();
	write_policies();
	return 0;
}

static int teardown(void **state)
{
	make_snp_free(&amd);
	make_dcap_free(&intel);
	return stage_stop();
}

/* ---- machines ---- */

static void make_report(const uint8_t data[64])
{
	memcpy(amd.report + 0x50, data, 64);
	make_snp_sign(&amd);
	fake.evidence = (struct span){amd.report, sizeof(amd.report)};
}

static void make_intel(const uint8_t data[64])
{
	memcpy(intel.body + (intel.td ? 520 : 320), data, 64);
	make_quote(&intel);
	fake.evidence = (struct span){intel.quote, intel.n};
}

static void machine(const char *tee, int td)
{
	const struct fake_entry e[3] = {
	    {GUID_VCEK, amd.chain[0]}, {GUID_ASK, amd.chain[1]}, {GUID_ARK, amd.chain[2]}};

	fake_start();
	fake.make = make_report;
	if (!strcmp(tee, "sev-guest"))
		fake_sev_guest();
	else if (!strcmp(tee, "gramine"))
		fake_gramine("dcap\n");
	else
		fake_tsm(td ? "tdx_guest\n" : "sev_guest\n");
	if (td || !strcmp(tee, "gramine")) {
		make_dcap_kind(&intel, td ? 4 : 3, td, 0);
		fake.make = make_intel;
	} else {
		fake.table = (struct span){table, fake_table(table, e, 3)};
	}
}

/* ---- the enclave's side ---- */

enum trick { HONEST, REPLAY, OTHER_CONNECTION, OTHER_KIND, BOOT };

static struct quoted kept;

/* EVIDENCE of the machine for this connection, wrong in one way. */
static void answer(SSL *ssl, const uint8_t *hello, int trick)
{
	struct quoted *q = calloc(1, sizeof(*q));
	uint8_t *out = malloc(1 << 17), data[64], kind;
	const struct quote_provider *p;
	struct err e = {0};
	struct bound x;
	size_t n;

	make_must(q && out);
	bind_to(&x, ssl, hello);
	if (trick == OTHER_CONNECTION)
		memset(x.exporter, 0, sizeof(x.exporter));
	make_must(!binding_report_data(&x.b, data, &e));
	p = quote_choose("auto", &fake_host, &e);
	if (!p || quote_get(p, &fake_host, data, q, &e))
		fail_msg("%s", e.text);
	if (trick == REPLAY)
		*q = kept;
	else
		kept = *q;
	kind = trick == OTHER_KIND ? 77 : (uint8_t)q->kind;
	if (trick == BOOT) {
		kind = ENCLAVE_RATLS;
		q->report_n = q->chain_n = 0;
	}
	n = put_evidence(out, kind, (struct span){q->bytes, q->report_n},
			 (struct span){q->bytes + q->report_n, q->chain_n}, &x);
	(void)!enclave_send(ssl, ENCLAVE_EVIDENCE, out, n, &e);
	free(out);
	free(q);
}

static const char *more_chain; /* --chain */

static enum err_code meet(enum trick trick, const char *policy, struct err *e)
{
	struct args a = {0};
	int simulated = 0;

	a.flag[FLAG_policy] = path_of(policy);
	a.flag[FLAG_chain] = more_chain;
	meet_with(trick, &a, &simulated, e);
	assert_false(simulated);
	return e->code;
}

static void refused(enum trick trick, const char *policy, const char *part)
{
	struct err e;

	assert_int_equal(meet(trick, policy, &e), ERR_ATTEST);
	if (!strstr(e.text, part))
		fail_msg("\"%s\" is not in: %s", part, e.text);
}

static const struct {
	const char *tee;
	int td;
	const char *root, *program;
} machines[] = {
    {"tsm", 0, "ARK_UNTRUSTED", "WANT_MEASUREMENT"},
    {"sev-guest", 0, "ARK_UNTRUSTED", "WANT_MEASUREMENT"},
    {"tsm", 1, "ROOT_UNTRUSTED", "WANT_MRTD"},
    {"gramine", 0, "ROOT_UNTRUSTED", "WANT_MRENCLAVE"},
};

static void connection_test(void **state)
{
	struct err e;

	for (size_t i = 0; i < sizeof(machines) / sizeof(*machines); i++) {
		machine(machines[i].tee, machines[i].td);
		if (meet(HONEST, "policy", &e))
			fail_msg("%s: %s", machines[i].tee, e.text);
		refused(REPLAY, "policy", "WANT_REPORT_DATA");
		refused(OTHER_CONNECTION, "policy", "WANT_REPORT_DATA");
		refused(OTHER_KIND, "policy", "unknown here: 77");
		refused(HONEST, "no-roots", machines[i].root);
		refused(HONEST, "other-program", machines[i].program);
		refused(HONEST, "no-program", "names no program");
		fake_stop();
	}
}

/* ---- evidence in the certificate ---- */

static int ask_machine(const uint8_t data[64], struct quoted *q, struct err *e)
{
	const struct quote_provider *p = quote_choose("auto", &fake_host, e);

	return p ? quote_get(p, &fake_host, data, q, e) : -1;
}

/* The certificate that an enclave on this machine makes for itself replaces the server's; whether it has
 * evidence. */
static int with_identity(void)
{
	struct span key;
	struct err e = {0};
	int ratls = -1;

	make_must(!enclave_identity(server, ask_machine, &key, &ratls, &e));
	OPENSSL_free((void *)key.p);
	return ratls;
}

/* The same, dated back by a day. */
static void grow_old(void)
{
	struct make_id old = {X509_dup(SSL_CTX_get0_certificate(server)), SSL_CTX_get0_privatekey(server)};

	make_must(X509_gmtime_adj(X509_getm_notBefore(old.cert), -ENCLAVE_CLOCK_SLACK - 86400) != NULL);
	make_sign(old.cert, old.key);
	make_must(SSL_CTX_use_certificate(server, old.cert) == 1);
	X509_free(old.cert);
}

static void boot_test(void **state)
{
	struct err e;

	for (size_t i = 0; i < sizeof(machines) / sizeof(*machines); i++) {
		int intels = machines[i].td || !strcmp(machines[i].tee, "gramine");

		machine(machines[i].tee, machines[i].td);
		assert_int_equal(with_identity(), intels); /* the form knows Intel's quotes */
		if (intels) {
			if (meet(BOOT, "boot", &e))
				fail_msg("%s: %s", machines[i].tee, e.text);
			refused(BOOT, "policy", "not asked for");
			refused(BOOT, "boot-other-program", machines[i].program);
			grow_old();
			refused(BOOT, "boot", "too old: expected at most 7200 seconds");
		} else {
			refused(BOOT, "boot", "RATLS_NOEXT");
		}
		fake.failing = 100; /* hardware that says nothing at boot: a certificate without evidence */
		fake.number = EIO;
		assert_int_equal(with_identity(), 0);
		fake_stop();
	}
	make_must(SSL_CTX_use_certificate(server, own.cert) == 1 &&
		  SSL_CTX_use_PrivateKey(server, own.key) == 1);
	machine("tsm", 1);
	refused(BOOT, "boot", "RATLS_NOEXT");
	fake_stop();
}

/* A host without a table: the client has the chain, or not. */
static void flag_test(void **state)
{
	const struct make_id *whole[3] = {&amd.leaf, &amd.ask, &amd.ark};
	struct span pem = make_pem(whole, 3);
	struct args a = {.command = "classify"};
	struct enclave *x = NULL;
	struct err e;

	write_file("flag.pem", pem.p, pem.n);
	make_free(&pem);
	machine("tsm", 0);
	fake.table.n = 0;
	refused(HONEST, "policy", "CHAIN_ROLE");
	more_chain = path_of("flag.pem");
	if (meet(HONEST, "policy", &e))
		fail_msg("%s", e.text);
	more_chain = NULL;
	fake_stop();
	/* a folder that is not there is said before anybody is called */
	a.flag[FLAG_policy] = path_of("policy");
	a.flag[FLAG_collateral] = "/nowhere";
	memset(&e, 0, sizeof(e));
	assert_int_equal(enclave_open(&x, &a, 'D', &e), -1);
	assert_int_equal(e.code, ERR_INPUT);
	assert_non_null(strstr(e.text, "/nowhere/root_ca.crl.der"));
}

/* A value of report data in a policy would be an alternative to the connection's. */
static void own_data_test(void **state)
{
	struct err e;

	machine("tsm", 0);
	assert_int_equal(meet(HONEST, "own-data", &e), ERR_INPUT);
	assert_non_null(strstr(e.text, "which the connection decides"));
	fake_stop();
}

/* ---- where certificates and collateral come from ---- */

static void read_policy(struct attest_policy_file *f, const char *text)
{
	struct err e = {0};

	memset(f, 0, sizeof(*f));
	write_text("files", text);
	if (attest_policy_read(f, path_of("files"), &e))
		fail_msg("%s", e.text);
}

static enum attest_verdict judge(const char *policy, unsigned kind, struct span report, struct span chain,
				 int64_t now)
{
	struct attest_policy_file f;
	struct attest_result r;
	struct err e = {0};

	read_policy(&f, policy);
	assert_int_equal(attest_judge(&r, kind, report, chain, &f, now, &e), 0);
	attest_policy_free(&f);
	return r.verdict;
}

static void chain_test(void **state)
{
	const struct make_id *whole[3] = {&amd.leaf, &amd.ask, &amd.ark}, *leaf[1] = {&amd.leaf};
	struct span report = {amd.report, sizeof(amd.report)}, all = make_pem(whole, 3),
		    one = make_pem(leaf, 1), none = {NULL, 0},
		    junk = {(const uint8_t *)"-----BEGIN CERTIFICATE-----\nAAAA\n", 33};
	const char *without = "amd_roots = [\"ark.der\"];",
		   *authorities = "amd_roots = [\"ark.der\"]; snp_chain = [\"ask.der\", \"ark.der\"];",
		   *complete = "amd_roots = [\"ark.der\"]; snp_chain = [\"all.pem\"];";
	int64_t now = (int64_t)time(NULL);

	write_file("ask.der", amd.chain[1].p, amd.chain[1].n);
	write_file("all.pem", all.p, all.n);
	assert_int_equal(judge(without, ENCLAVE_SNP, report, all, now), ATTEST_OK);
	assert_int_equal(judge(without, ENCLAVE_SNP, report, one, now), ATTEST_CHAIN_ROLE);
	assert_int_equal(judge(without, ENCLAVE_SNP, report, none, now), ATTEST_CHAIN_ROLE);
	assert_int_equal(judge(authorities, ENCLAVE_SNP, report, all, now), ATTEST_OK);
	assert_int_equal(judge(authorities, ENCLAVE_SNP, report, one, now), ATTEST_OK);
	assert_int_equal(judge(authorities, ENCLAVE_SNP, report, none, now), ATTEST_CHAIN_ROLE);
	assert_int_equal(judge(complete, ENCLAVE_SNP, report, none, now), ATTEST_OK);
	assert_int_equal(judge(complete, ENCLAVE_SNP, report, one, now), ATTEST_OK);
	assert_int_equal(judge(complete, ENCLAVE_SNP, report, junk, now), ATTEST_OK);
	assert_int_equal(judge(complete, ENCLAVE_SNP, report, none, now + 7200), ATTEST_CERT_TIME);
	amd.report[0x90] ^= 1; /* another chain cannot make up for a bad signature */
	assert_int_equal(judge(complete, ENCLAVE_SNP, report, one, now), ATTEST_REPORT_SIG);
	amd.report[0x90] ^= 1;
	make_free(&all);
	make_free(&one);
}

static void crl_test(void **state)
{
	struct span report = {amd.report, sizeof(amd.report)}, none = {NULL, 0}, list;
	int64_t now = (int64_t)time(NULL);
	const char *policy = "amd_roots = [\"ark.der\"]; snp_chain = [\"all.pem\"]; snp_crl = \"crl.der\";";

	list = make_crl(&amd.ark, NULL, now - 60, now + 3600);
	write_file("crl.der", list.p, list.n);
	make_free(&list);
	assert_int_equal(judge(policy, ENCLAVE_SNP, report, none, now), ATTEST_OK);
	list = make_crl(&amd.ark, amd.ask.cert, now - 60, now + 3600);
	write_file("crl.der", list.p, list.n);
	make_free(&list);
	assert_int_equal(judge(policy, ENCLAVE_SNP, report, none, now), ATTEST_REVOKED);
}

static void write_hex(const char *name, const uint8_t *p, size_t n)
{
	char text[200];

	write_text(name, bytes_hex(text, p, n));
}

/* A folder as docs/ATTESTATION.md describes it, beside the policy. */
static void collateral_test(void **state)
{
	struct make_dcap m;
	const struct attest_collateral *c = &m.collateral;
	struct span quote, der, none = {NULL, 0};
	const char *policy = "intel_roots = [\"root.der\"]; collateral = \"pcs\";";

	make_dcap(&m);
	der = make_der(&m.root);
	write_file("root.der", der.p, der.n);
	make_free(&der);
	quote = (struct span){m.quote, m.n};
	assert_int_equal(judge("intel_roots = [\"root.der\"];", ENCLAVE_DCAP, quote, none, MAKE_NOW),
			 ATTEST_NO_COLLATERAL);
	make_must(!mkdir(path_of("pcs"), 0755));
	write_file("pcs/root_ca.crl.der", c->root_crl.p, c->root_crl.n);
	write_file("pcs/pck.crl.der", c->pck_crl.p, c->pck_crl.n);
	write_file("pcs/tcb_info.json", c->tcb_info.p, c->tcb_info.n);
	write_hex("pcs/tcb_info.sig.hex", c->tcb_signature.p, 64);
	write_file("pcs/tcb_info.chain.pem", c->tcb_chain.p, c->tcb_chain.n);
	write_file("pcs/qe_identity.json", c->qe_identity.p, c->qe_identity.n);
	write_hex("pcs/qe_identity.sig.hex", c->qe_signature.p, 64);
	write_file("pcs/qe_identity.chain.pem", c->qe_chain.p, c->qe_chain.n);
	assert_int_equal(judge(policy, ENCLAVE_DCAP, quote, none, MAKE_NOW), ATTEST_OK);
	assert_int_equal(judge(policy, ENCLAVE_DCAP, quote, none, MAKE_NOW + 3 * MAKE_DAY), ATTEST_CERT_TIME);
	make_lists(&m, NULL, m.leaf.cert);
	write_file("pcs/pck.crl.der", c->pck_crl.p, c->pck_crl.n);
	assert_int_equal(judge(policy, ENCLAVE_DCAP, quote, none, MAKE_NOW), ATTEST_REVOKED);
	/* an SNP report is no quote, whatever the kind says */
	quote = (struct span){amd.report, sizeof(amd.report)};
	assert_int_equal(judge(policy, ENCLAVE_DCAP, quote, none, MAKE_NOW), ATTEST_Q_AKT);
	make_dcap_free(&m);
}

static void setting_test(void **state)
{
	static const struct {
		const char *text, *say;
	} wrong[] = {
	    {"snp_chain = \"vcek.pem\";", "needs a list"},
	    {"snp_chain = [\"nowhere.pem\"];", "nowhere.pem"},
	    {"snp_crl = [\"crl.der\"];", "needs a string"},
	    {"snp_crl = \"\";", "needs a string"},
	    {"collateral = \"nowhere\";", "nowhere"},
	    {"collateral = 7;", "needs a string"},
	    {"snp_chain = [\"ark.der\", \"ark.der\", \"ark.der\", \"ark.der\", \"ark.der\", \"ark.der\", "
	     "\"ark.der\", "
	     "\"ark.der\", \"ark.der\"];",
	     "too many files"},
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		struct attest_policy_file f = {0};
		struct err e = {0};

		write_text("wrong", wrong[i].text);
		assert_int_equal(attest_policy_read(&f, path_of("wrong"), &e), -1);
		if (!strstr(e.text, wrong[i].say) || !strstr(e.text, ":1: "))
			fail_msg("%s: %s", wrong[i].text, e.text);
		attest_policy_free(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(connection_test), cmocka_unit_test(boot_test),    cmocka_unit_test(flag_test),
	    cmocka_unit_test(own_data_test),   cmocka_unit_test(chain_test),   cmocka_unit_test(crl_test),
	    cmocka_unit_test(collateral_test), cmocka_unit_test(setting_test),
	};

	return cmocka_run_group_tests_name("enclave client and hardware", tests, setup, teardown);
}
