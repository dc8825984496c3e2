/* SPDX-License-Identifier: Apache-2.0 */
/* Policy files: what they say arrives, what they misspell is refused with its line. */
#include "client/attest.h"

#include <stdio.h>
#include <unistd.h>

#include "crypto/attest/sim.h"
#include "test/test.h"
#include "test/crypto/attest/make.h"

static char folder[] = "/tmp/obscura-attest.XXXXXX";

static int setup(void **state)
{
	return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -r %s", folder);
	return system(command);
}

static const char *write_file(const char *name, const void *bytes, size_t n)
{
	static char path[100];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, n, f), n);
	fclose(f);
	return path;
}

static int read_policy(const char *text, struct attest_policy_file *p, struct err *e)
{
	memset(p, 0, sizeof(*p));
	memset(e, 0, sizeof(*e));
	return attest_policy_read(p, write_file("policy", text, strlen(text)), e);
}

#define HEX48                                                                                                \
	"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2F"
#define HEX32 "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff01"

static void whole_test(void **state)
{
	static const char text[] =
	    "# a comment\n"
	    "measurement = [\"" HEX48 "\", \"" HEX48 "\"];\n"
	    "mrenclave = \"" HEX32 "\";\n"
	    "allow = [\"debug\", \"old-report\"];\n"
	    "accept_tcb = [\"OutOfDate\"];\n"
	    "vmpl_max = 2; isvsvn_minimum = 65535; evaluation_minimum = 17; collateral_age = 86400;\n"
	    "guest_policy_forbidden = 0x10000; platform_required = 0x20L;\n"
	    "turin = { fmc = 1; bootloader = 2; tee = 3; snp = 4; microcode = 255; };\n"
	    "milan = { snp = 24; };\n"
	    "intel_roots = [\"" HEX32 "\"];\n";
	struct attest_policy_file p;
	struct err e;

	assert_int_equal(read_policy(text, &p, &e), 0);
	assert_int_equal(p.policy.n_values, 3);
	assert_int_equal(p.values[1].field, ATTEST_FIELD_MEASUREMENT);
	assert_int_equal(p.values[1].bytes[47], 0x2f);
	assert_int_equal(p.values[2].field, ATTEST_FIELD_MRENCLAVE);
	assert_int_equal(p.policy.allow, 1u << ATTEST_ALLOW_DEBUG | 1u << ATTEST_ALLOW_OLD_REPORT);
	assert_int_equal(p.policy.tcb_accepted, 1u << TCB_OUT_OF_DATE);
	assert_int_equal(p.policy.vmpl_max, 2);
	assert_int_equal(p.policy.isvsvn_minimum, 65535);
	assert_int_equal(p.policy.evaluation_minimum, 17);
	assert_int_equal(p.policy.collateral_age, 86400);
	assert_int_equal(p.policy.guest_policy_forbidden, 0x10000);
	assert_int_equal(p.policy.platform_required, 0x20);
	assert_memory_equal(&p.policy.tcb_minimum[SNP_TURIN], "\1\2\3\4\377", 5);
	assert_memory_equal(&p.policy.tcb_minimum[SNP_MILAN], "\0\0\0\30\0", 5);
	assert_int_equal(p.policy.intel.n, 1);
	assert_int_equal(p.policy.intel.keys[0][31], 1);
	assert_int_equal(p.policy.amd.n + p.policy.simulation.n, 0);
}

static void refused_test(void **state)
{
	static const struct {
		const char *text, *say;
	} rows[] = {
	    {"\n\nmrtd = \"00\";", ":3: mrtd: needs strings of 96 hexadecimal digits"},
	    {"mrtd = \"" HEX48 "00\";", "96 hexadecimal digits"},
	    {"mrtd = [];", "the list is empty"},
	    {"mrtd = 7;", "96 hexadecimal digits"},
	    {"mrtd = [\"" HEX48 "\", 7];", ":1"},
	    {"allow = [\"everything\"];", "\"everything\" cannot be allowed"},
	    {"allow = [\"simulated\"];", "--accept-simulated"},
	    {"allow = [\"old-report,simulated\"];", "--accept-simulated"},
	    {"allow = \"debug\";", "needs a list"},
	    {"accept_tcb = [\"Revoked\"];", "never accepted"},
	    {"accept_tcb = [\"Fine\"];", "no patch level"},
	    {"vmpl_max = -1;", "from 0 to 255"},
	    {"vmpl_max = 256;", "from 0 to 255"},
	    {"vmpl_max = \"0\";", "from 0 to 255"},
	    {"milan = 3;", "needs a group"},
	    {"milan = { snp = 256; };", "from 0 to 255"},
	    {"milan = { sn = 2; };", "no part of the firmware"},
	    {"naples = { snp = 2; };", "no such setting"},
	    {"amd_roots = [\"/nonexistent/ark.pem\"];", "/nonexistent/ark.pem"},
	    {"amd_roots = [\"policy\"];", "not one certificate"},
	    {"vmpl_max = ", ":1: syntax error"},
	    {"@include \"/etc/passwd\"\n", "@include"},
	};
	struct attest_policy_file p;
	struct err e;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		assert_int_equal(read_policy(rows[i].text, &p, &e), -1);
		assert_int_equal(e.code, ERR_INPUT);
		if (!strstr(e.text, rows[i].say))
			fail_msg("%s: %s", rows[i].text, e.text);
	}
}

/* A simulation's root named by its file beside the policy. */
static void root_test(void **state)
{
	struct make_id root = make_cert(SIM_ROOT_NAME, EVP_EC_gen("P-256"), NULL, 1, NULL, 0);
	const struct make_id *ids[] = {&root};
	struct span pem = make_pem(ids, 1);
	struct attest_policy_file p;
	uint8_t digest[ATTEST_DIGEST];
	struct err e;

	write_file("root.pem", pem.p, pem.n);
	assert_int_equal(read_policy("simulation_roots = [\"root.pem\"];", &p, &e), 0);
	make_digest(&root, digest);
	assert_int_equal(p.policy.simulation.n, 1);
	assert_memory_equal(p.policy.simulation.keys[0], digest, sizeof(digest));
	make_free(&pem);
	make_id_free(&root);
}

static void time_test(void **state)
{
	static const char *const bad[] = {
	    "", "now", "2026", "2026-13-01", "2026-03-01T", "2026-03-01T12:00:00", "2026-03-01 "};
	struct err e = {0};
	int64_t t;

	assert_int_equal(attest_time("2026-03-01", &t, &e), 0);
	assert_int_equal(t, 1772323200);
	assert_int_equal(attest_time("2026-03-01T01:02:03Z", &t, &e), 0);
	assert_int_equal(t, 1772323200 + 3723);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(attest_time(bad[i], &t, &e), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(whole_test),
	    cmocka_unit_test(refused_test),
	    cmocka_unit_test(root_test),
	    cmocka_unit_test(time_test),
	};

	return cmocka_run_group_tests_name("attest policy", tests, setup, teardown);
}
