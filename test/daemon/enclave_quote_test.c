/* SPDX-License-Identifier: Apache-2.0 */
/* Every quote provider on a machine of files and one ioctl that replays real evidence; what it gives goes
 * through the real verifier, at the time when the evidence was good. Then everything that a kernel, a
 * firmware or a host can do wrong. */
#include "test/daemon/fake_tee.h"
#include "daemon/attest.h"
#include "crypto/attest/quote.h"
#include "crypto/attest/snp_table.h"
#include "daemon/enclave_wire.h"
#include "test/crypto/attest/data.h"
#include "test/crypto/attest/make_snp.h"

static struct quoted out;
static struct make_snp amd; /* for what needs no real evidence */
static uint8_t table[QUOTE_TABLE_MAX];

static int setup(void **state)
{
	fake_start();
	return 0;
}

static int teardown(void **state)
{
	assert_int_equal(fake.made, fake.removed);
	fake_stop();
	return 0;
}

/* ---- real evidence ---- */

static const struct row {
	const char *tee, *driver, *evidence, *guid, *leaf, *ca, *collateral;
	int64_t now;
	uint32_t levels; /* accepted beside UpToDate */
	uint8_t vmpl;
} rows[] = {
    {"tsm", "sev_guest\n", "snp/ms-milan/report.bin", GUID_VCEK, "snp/ms-milan/vcek.pem",
     "snp/ms-milan/ca.pem", NULL, 1772323200, 0, 0},
    {"tsm", "sev_guest\n", "snp/ms-turin/report.bin", GUID_VCEK, "snp/ms-turin/vcek.pem",
     "snp/ms-turin/ca.pem", NULL, 1772323200, 0, 0},
    {"tsm", "sev_guest\n", "snp/trustee-vlek/report.bin", GUID_VLEK, "snp/trustee-vlek/vlek.der",
     "snp/roots/asvk_ark_milan_vlek.pem", NULL, 1748736000, 0, 1},
    {"sev-guest", NULL, "snp/ms-milan/report.bin", GUID_VCEK, "snp/ms-milan/vcek.pem", "snp/ms-milan/ca.pem",
     NULL, 1772323200, 0, 0},
    {"sev-guest", NULL, "snp/ms-genoa/report.bin", GUID_VCEK, "snp/ms-genoa/vcek.pem", "snp/ms-genoa/ca.pem",
     NULL, 1772323200, 0, 0},
    {"sev-guest", NULL, "snp/trustee-vlek/report.bin", GUID_VLEK, "snp/trustee-vlek/vlek.der",
     "snp/roots/asvk_ark_milan_vlek.pem", NULL, 1748736000, 0, 1},
    {"tsm", "tdx_guest\n", "tdx/phala/quote.dat", NULL, NULL, NULL, "tdx/phala/collateral", 1751587200, 0, 0},
    {"tsm", "tdx_guest\n", "tdx/gotdx-v5/quote.dat", NULL, NULL, NULL, "tdx/phala-outdated/collateral",
     1772323200, 0, 0},
    {"tsm", "tdx_guest\n", "tdx/gotdx-cos113/quote.dat", NULL, NULL, NULL, "tdx/oe/oe-v5-collateral",
     1782518400, 1u << TCB_OUT_OF_DATE, 0},
    {"gramine", NULL, "sgx/phala/quote.dat", NULL, NULL, NULL, "sgx/phala/collateral", 1751587200, ~0u, 0},
};

/* DER of certificate i of a file. */
static struct span der_of(const char *file, size_t i)
{
	struct span s = data_must(file);
	struct attest_result r;
	struct chain c = {.n = 0};
	uint8_t *der = NULL;
	int n;

	assert_int_equal(chain_add(&r, &c, s), 0);
	assert_true(i < c.n);
	n = i2d_X509(c.cert[i], &der);
	assert_true(n > 0);
	chain_free(&c);
	data_free(&s);
	return (struct span){der, (size_t)n};
}

static void put_table(const struct row *row)
{
	struct fake_entry e[4] = {{row->guid, {NULL, 0}}, {GUID_ASK, {NULL, 0}}, {GUID_ARK, {NULL, 0}}};

	if (!row->leaf)
		return;
	e[0].der = der_of(row->leaf, 0);
	e[1].der = der_of(row->ca, 0);
	e[2].der = der_of(row->ca, 1);
	fake.table = (struct span){table, fake_table(table, e, 3)};
	for (int i = 0; i < 3; i++)
		make_free(&e[i].der);
}

static void machine(const struct row *row)
{
	if (!strcmp(row->tee, "tsm"))
		fake_tsm(row->driver);
	else if (!strcmp(row->tee, "sev-guest"))
		fake_sev_guest();
	else
		fake_gramine("dcap\n");
	put_table(row);
	fake.evidence = data_must(row->evidence);
}

/* Report data of replayed evidence: only for these is it an answer. */
static void data_of(struct span evidence, uint8_t data[64])
{
	struct attest_result r = {0};
	struct quote q;

	if (evidence.n == 1184) {
		memcpy(data, evidence.p + 0x50, 64);
		return;
	}
	assert_int_equal(quote_parse(&r, evidence, &q), 0);
	memcpy(data, q.body + (q.td ? 520 : 320), 64);
}

static enum attest_verdict judge(const struct row *row, const uint8_t want[64])
{
	struct attest_value value = {.field = ATTEST_FIELD_REPORT_DATA};
	struct attest_policy p = {
	    .values = &value, .n_values = 1, .tcb_accepted = row->levels, .vmpl_max = row->vmpl};
	struct span report = {out.bytes, out.report_n}, chain = {out.bytes + out.report_n, out.chain_n};
	struct attest_files files;
	struct attest_result r;
	struct err e = {0};

	memcpy(value.bytes, want, 64);
	if (out.kind == ENCLAVE_SNP) {
		attest_verify_snp(&r, report, &chain, 1, (struct span){0}, &p, row->now);
	} else {
		char folder[512];

		snprintf(folder, sizeof(folder), "%s", data_path(row->collateral));
		if (attest_files_read(&files, folder, &e))
			fail_msg("%s", e.text);
		attest_verify_dcap(&r, report, NULL, 0, &files.collateral, &p, row->now);
		attest_files_free(&files);
		assert_int_equal(r.evidence_n, out.report_n); /* cut to its size */
	}
	if (!attest_accepted(r.verdict) && r.verdict != ATTEST_WANT_REPORT_DATA)
		print_message("%s: %s: %s\n", row->evidence, attest_verdict_name(r.verdict), r.detail);
	return r.verdict;
}

static void one_row(const struct row *row)
{
	const struct quote_provider *p;
	struct err e = {0};
	uint8_t data[64], other[64];

	machine(row);
	data_of(fake.evidence, data);
	memcpy(other, data, 64);
	other[63] ^= 1;
	p = quote_choose("auto", &fake_host, &e);
	if (!p)
		fail_msg("%s: %s", row->evidence, e.text);
	assert_string_equal(p->name, row->tee);
	if (quote_get(p, &fake_host, data, &out, &e))
		fail_msg("%s: %s", row->evidence, e.text);
	assert_memory_equal(fake.data, data, 64);
	assert_int_equal(judge(row, data), ATTEST_OK);
	assert_int_equal(judge(row, other), ATTEST_WANT_REPORT_DATA);
	/* evidence for something else is never handed on as ours */
	assert_int_equal(quote_get(p, &fake_host, other, &out, &e), -1);
	assert_non_null(strstr(e.text, "not what was asked for"));
	data_free(&fake.evidence);
}

static void real_test(void **state)
{
	struct span there;

	if (data_read(rows[0].evidence, &there)) {
		print_message("no %s: the shared evidence is not here\n", data_path(rows[0].evidence));
		skip();
	}
	data_free(&there);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		one_row(&rows[i]);
		assert_int_equal(fake.made, fake.removed);
		fake_stop();
		fake_start();
	}
}

/* ---- evidence of our own, for each question ---- */

static void make_report(const uint8_t data[64])
{
	memcpy(amd.report + 0x50, data, 64);
	make_snp_sign(&amd);
	fake.evidence = (struct span){amd.report, sizeof(amd.report)};
}

static void our_amd(void)
{
	const struct fake_entry e[3] = {
	    {GUID_VCEK, amd.chain[0]}, {GUID_ASK, amd.chain[1]}, {GUID_ARK, amd.chain[2]}};

	fake.make = make_report;
	fake.table = (struct span){table, fake_table(table, e, 3)};
}

static const uint8_t question[64] = "what only this connection knows";

static int ask(const char *tee, struct err *e)
{
	const struct quote_provider *p;

	memset(e, 0, sizeof(*e));
	p = quote_choose(tee, &fake_host, e);
	return p ? quote_get(p, &fake_host, question, &out, e) : -1;
}

static void says(const struct err *e, const char *part)
{
	if (!strstr(e->text, part))
		fail_msg("\"%s\" is not in: %s", part, e->text);
}

static void refused(const char *tee, const char *part)
{
	struct err e;

	assert_int_equal(ask(tee, &e), -1);
	says(&e, part);
	assert_int_equal(fake.made, fake.removed);
}

static void given(const char *tee)
{
	struct err e;

	if (ask(tee, &e))
		fail_msg("%s", e.text);
	assert_memory_equal(fake.data, question, 64);
}

static void choice_test(void **state)
{
	struct err e = {0};

	assert_null(quote_choose("auto", &fake_host, &e));
	says(&e, "tsm: ");
	says(&e, "sev-guest: ");
	says(&e, "gramine: ");
	says(&e, "--tee=sim");
	refused("tsm", "configfs");
	refused("sev-guest", "no SEV-SNP guest");
	refused("gramine", "gramine-sgx");
	refused("sim", "quoting key"); /* by name, and there is no key here */
	refused("nitro", "is not auto, tsm, sev-guest, gramine or sim");
	fake_gramine("none\n");
	refused("gramine", "sgx.remote_attestation");
	fake_tsm("arm_cca_guest\n");
	refused("tsm", "neither sev_guest nor tdx_guest");
	fake_sev_guest();
	memset(&e, 0, sizeof(e));
	assert_string_equal(quote_choose("auto", &fake_host, &e)->name, "sev-guest");
	fake.provider = "tdx_guest\n";
	assert_string_equal(quote_choose("auto", &fake_host, &e)->name, "tsm");
	fake.provider = NULL; /* the folder without a driver */
	refused("tsm", "no SEV-SNP or TDX guest");
}

/* ---- configfs-tsm ---- */

static void generation_test(void **state)
{
	fake_tsm("sev_guest\n");
	our_amd();
	fake.intruders = 1;
	given("tsm"); /* at the second try */
	assert_int_equal(fake.pauses, 1);
	assert_int_equal(fake.asked, 2);
	fake.intruders = 100;
	refused("tsm", "somebody else writes into our request");
	assert_int_equal(fake.asked, 7); /* and not for ever */
	fake.intruders = 0;
	fake.deaf = 100; /* inblob was not taken in: an answer would be to nothing */
	refused("tsm", "generation 0, expected 1");
	assert_int_equal(fake.asked, 7);
}

static void level_test(void **state)
{
	fake_tsm("sev_guest\n");
	our_amd();
	fake.floor = "0\n";
	given("tsm");
	assert_string_equal(fake.level, "");
	fake.floor = "2\n"; /* under a service module */
	given("tsm");
	assert_string_equal(fake.level, "2");
}

static void outblob_test(void **state)
{
	static uint8_t large[QUOTE_REPORT_MAX + 1];
	const struct {
		int number, asked;
		const char *part;
	} faults[] = {{EBUSY, 5, "busy"},
		      {EIO, 1, "kernel's log"},
		      {ENOTTY, 1, "kernel's log"},
		      {EINVAL, 1, "outblob"}};

	fake_tsm("sev_guest\n");
	our_amd();
	for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++) {
		fake.failing = 100;
		fake.number = faults[i].number;
		fake.asked = 0;
		refused("tsm", faults[i].part);
		assert_int_equal(fake.asked, faults[i].asked);
	}
	fake.failing = 3;
	fake.number = EAGAIN;
	given("tsm");
	fake.make = NULL;
	fake.evidence = (struct span){amd.report, 1183};
	refused("tsm", "a report of 1183 bytes, not 1184");
	fake.evidence.n = 0;
	refused("tsm", "outblob is empty");
	fake.evidence = (struct span){large, sizeof(large)};
	refused("tsm", "too large");
	fake.provider = "tdx_guest\n";
	fake.evidence = (struct span){large, 700};
	refused("tsm", "this is no quote");
}

/* ---- /dev/sev-guest ---- */

static void control_test(void **state)
{
	fake_sev_guest();
	our_amd();
	fake.failing = 4;
	fake.number = EBUSY;
	given("sev-guest");
	assert_int_equal(fake.pauses, 4);
	fake.failing = 100;
	refused("sev-guest", "holds back requests");
	fake.number = EIO;
	fake.firmware_error = 0x16;
	refused("sev-guest", "firmware 0x16");
	fake.host_error = SNP_GUEST_VMM_ERR_INVALID_LEN;
	refused("sev-guest", "needs 28672 bytes");
	fake.host_error = 0;
	fake.number = ENOTTY; /* both requests: the key to the firmware is gone */
	refused("sev-guest", "start the guest again");
	assert_int_equal(fake.plain, 1);
	fake.failing = 1; /* the first only: no extended report here */
	given("sev-guest");
	assert_int_equal(fake.plain, 2);
	assert_int_equal(out.chain_n, 0);
	fake.status = 0x27;
	refused("sev-guest", "no key to sign with");
	fake.status = 0;
	fake.size = 1183;
	refused("sev-guest", "a report of 1183 bytes");
	fake.size = UINT32_MAX;
	refused("sev-guest", "a report of 4294967295 bytes");
}

/* ---- the host's certificates ---- */

static void table_test(void **state)
{
	const struct {
		size_t at;
		uint32_t value;
		const char *part;
	} faults[] = {
	    {16, 0, "entry 0"},		      /* a certificate among the entries */
	    {16, 95, "entry 0"},	      /* in the last of them */
	    {40, UINT32_MAX, "entry 1"},      /* behind the end */
	    {44, UINT32_MAX, "entry 1"},      /* over the end, and offset + length wraps */
	    {68, QUOTE_TABLE_MAX, "entry 2"}, /* longer than what is left */
	};
	struct span certs[SNP_CERTIFICATES];
	struct err e;

	fake_tsm("sev_guest\n");
	fake_sev_guest();
	for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++) {
		our_amd();
		make_le(table + faults[i].at, faults[i].value, 4);
		refused("tsm", faults[i].part);
		refused("sev-guest", faults[i].part);
	}
	our_amd();
	memcpy(table + 24, table, 16);
	refused("tsm", "twice");
	our_amd();
	memset(table + 72, 0xff, 24); /* no end */
	memset(&e, 0, sizeof(e));
	assert_int_equal(snp_table_read((struct span){table, 96}, certs, &e), -1);
	says(&e, "no end");
	our_amd();
	fake.table.n = 0; /* the host has none: the report goes alone */
	given("tsm");
	assert_int_equal(out.chain_n, 0);
	our_amd();
	memset(table, 0, sizeof(table));
	given("sev-guest");
	assert_int_equal(out.chain_n, 0);
}

/* Twelve certificates' worth of bytes in the table: the PEM text is longer than what we pass on. */
static void long_chain_test(void **state)
{
	static uint8_t big[QUOTE_TABLE_MAX];
	struct fake_entry e[2] = {{GUID_VCEK, {big, 15000}}, {GUID_ASK, {big, 1300}}};

	fake_sev_guest();
	fake.make = make_report;
	fake.table = (struct span){table, fake_table(table, e, 2)};
	given("sev-guest"); /* whatever it is: clients judge it */
	assert_true(out.chain_n > 16300 && out.chain_n < QUOTE_CHAIN_MAX);
}

/* ---- Gramine ---- */

static void gramine_test(void **state)
{
	static uint8_t large[QUOTE_REPORT_MAX + 1];

	fake_gramine("dcap\n");
	refused("gramine", "this is no quote");
	fake.evidence = (struct span){large, sizeof(large)};
	refused("gramine", "too large");
	fake.failing = 1;
	fake.number = EPERM;
	refused("gramine", "AESM");
}

/* ---- messages of the quoter ---- */

static void whole_test(void **state)
{
	struct quoted q = {.kind = ENCLAVE_SNP, .report_n = 3, .chain_n = 4};

	assert_true(quoted_whole(&q, QUOTED_HEAD + 7));
	assert_false(quoted_whole(&q, QUOTED_HEAD + 6));
	assert_false(quoted_whole(&q, QUOTED_HEAD + 8));
	assert_false(quoted_whole(&q, QUOTED_HEAD - 1));
	q.report_n = UINT32_MAX;
	q.chain_n = 8; /* the sum would wrap to 7 in 32 bits */
	assert_false(quoted_whole(&q, QUOTED_HEAD + 7));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(real_test),	TEST(choice_test),  TEST(generation_test), TEST(level_test),
	    TEST(outblob_test), TEST(control_test), TEST(table_test),	   TEST(long_chain_test),
	    TEST(gramine_test), TEST(whole_test),
	};
	int bad;

	make_snp(&amd, SNP_MILAN, 0);
	bad = cmocka_run_group_tests_name("enclave quote", tests, NULL, NULL);
	make_snp_free(&amd);
	return bad;
}
