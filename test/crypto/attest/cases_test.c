/* SPDX-License-Identifier: Apache-2.0 */
/* Every row of the shared evidence's CASES.tsv must give its verdict, at its time, under its policy. */
#include <openssl/pem.h>

#include "test/crypto/attest/data.h"
#include "crypto/attest/parts.h"

enum { ID, KIND, EVIDENCE, CHAIN, COLLATERAL, TIME, UNIX, EXPECT, LEVELS, POLICY, COLUMNS };

struct world {
	struct attest_policy policy;
	struct attest_value values[4];
	uint8_t root[1][ATTEST_DIGEST];
};

/* "strict" of the list is about the evidence itself: it allows no debug, but says nothing of what a client's
 * policy adds. So all that is not debug is allowed here, each by its own flag; strict_test below takes the
 * flags away again. */
static void policy_of_list(struct world *w)
{
	memset(w, 0, sizeof(*w));
	w->policy.allow = 1u << ATTEST_ALLOW_MIGRATION | 1u << ATTEST_ALLOW_NO_COLLATERAL |
			  1u << ATTEST_ALLOW_MASKED_CHIP | 1u << ATTEST_ALLOW_OLD_REPORT;
	w->policy.tcb_accepted = ~0u;
	w->policy.vmpl_max = 3;
	w->policy.values = w->values;
}

static void want(struct world *w, enum attest_field f, const uint8_t *bytes)
{
	struct attest_value *v = &w->values[w->policy.n_values++];

	assert_true(w->policy.n_values <= 4);
	v->field = f;
	memcpy(v->bytes, bytes, attest_field_bytes(f));
}

static void want_file(struct world *w, enum attest_field f, const char *name)
{
	struct span s = data_must(name);

	assert_true(s.n <= ATTEST_FIELD_MAX && s.n >= attest_field_bytes(f));
	want(w, f, s.p);
	data_free(&s);
}

static void trust_file(struct world *w, const char *name)
{
	struct attest_result r;
	struct chain c = {.n = 0};
	struct span s = data_must(name);

	assert_int_equal(chain_add(&r, &c, s), 0);
	assert_int_equal(chain_key_digest(c.cert[0], w->root[0]), 0);
	w->policy.amd = w->policy.intel = (struct attest_roots){(const uint8_t(*)[ATTEST_DIGEST])w->root, 1};
	chain_free(&c);
	data_free(&s);
}

static void policy_read(struct world *w, char **row)
{
	const char *text = row[POLICY];
	int snp = !strcmp(row[KIND], "snp");
	uint8_t ones[64], zeros[64] = {0};

	memset(ones, 1, sizeof(ones));
	policy_of_list(w);
	if (strstr(text, "allow_debug"))
		w->policy.allow |= 1u << ATTEST_ALLOW_DEBUG;
	if (strstr(text, "pin=synthetic"))
		trust_file(w, snp ? "synthetic/snp/ark.pem" : "synthetic/dcap/root.pem");
	if (strstr(text, "want vmpl 0") || !strcmp(row[ID], "syn-snp-vmpl3"))
		w->policy.vmpl_max = 0;
	if (strstr(text, "report_data=01*64"))
		want(w, ATTEST_FIELD_REPORT_DATA, ones);
	if (strstr(text, "measurement=00*48"))
		want(w, ATTEST_FIELD_MEASUREMENT, zeros);
	if (strstr(text, "mrtd=00*48"))
		want(w, ATTEST_FIELD_MRTD, zeros);
	if (strstr(text, "report_data.bin"))
		want_file(w, ATTEST_FIELD_REPORT_DATA, "synthetic/report_data.bin");
	if (strstr(text, "measurement.bin")) {
		want_file(w, ATTEST_FIELD_MEASUREMENT, "synthetic/measurement.bin");
		want_file(w, ATTEST_FIELD_MRTD, "synthetic/measurement.bin");
		want_file(w, ATTEST_FIELD_MRENCLAVE, "synthetic/measurement.bin");
	}
}

struct inputs {
	struct span evidence, chain[4];
	size_t n;
	struct attest_collateral collateral;
	int has_collateral;
};

static void collateral_read(struct inputs *in, const char *folder)
{
	static const char *const names[] = {"root_ca.crl.der",	   "pck.crl.der",	   "tcb_info.json",
					    "tcb_info.sig.hex",	   "tcb_info.chain.pem",   "qe_identity.json",
					    "qe_identity.sig.hex", "qe_identity.chain.pem"};
	struct span *parts = &in->collateral.root_crl;
	char path[256];

	in->has_collateral = strcmp(folder, "-") != 0;
	for (int i = 0; in->has_collateral && i < 8; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		parts[i] = data_must(path);
		if (!strstr(names[i], ".hex"))
			continue;
		for (int j = 0; j < 64; j++)
			assert_int_equal(
			    sscanf((const char *)parts[i].p + 2 * j, "%2hhx", (uint8_t *)parts[i].p + j), 1);
		parts[i].n = 64;
	}
}

static void inputs_read(struct inputs *in, char **row)
{
	char *rest = row[CHAIN], *name;

	in->evidence = data_must(row[EVIDENCE]);
	in->n = 0;
	memset(&in->collateral, 0, sizeof(in->collateral));
	collateral_read(in, row[COLLATERAL]);
	while ((name = strsep(&rest, ";")))
		in->chain[in->n++] = data_must(name);
}

static void inputs_free(struct inputs *in)
{
	struct span *parts = &in->collateral.root_crl;

	for (int i = 0; i < 8; i++)
		data_free(&parts[i]);
	data_free(&in->evidence);
	while (in->n)
		data_free(&in->chain[--in->n]);
}

static enum attest_verdict judge(struct attest_result *r, char **row, const struct inputs *in,
				 const struct attest_policy *policy)
{
	const struct attest_collateral *collateral = in->has_collateral ? &in->collateral : NULL;
	int64_t now = strtoll(row[UNIX], NULL, 10);

	if (!strcmp(row[KIND], "snp"))
		return attest_verify_snp(r, in->evidence, in->chain, in->n, (struct span){0}, policy, now);
	if (!strcmp(row[KIND], "dcap"))
		return attest_verify_dcap(r, in->evidence, in->chain, in->n, collateral, policy, now);
	return attest_verify_ratls(r, in->evidence, in->chain, in->n, collateral, policy, now);
}

/* Levels of the list: "TCB info/quoting enclave/module". */
static int levels_agree(const struct attest_result *r, const char *want)
{
	char got[160];

	snprintf(got, sizeof(got), "%s/%s/%s", tcb_status_word(r->tcb_level), tcb_status_word(r->qe_level),
		 tcb_status_word(r->module_level));
	if (!strcmp(want, "-") || !strcmp(want, got))
		return 1;
	print_error("levels: expected %s, received %s\n", want, got);
	return 0;
}

/* 1 when the row's verdict was given. */
static int one(char **row)
{
	struct attest_result r;
	struct inputs in;
	struct world w;
	int good;

	policy_read(&w, row);
	inputs_read(&in, row);
	good = !strcmp(attest_verdict_name(judge(&r, row, &in, &w.policy)), row[EXPECT]) &&
	       levels_agree(&r, row[LEVELS]);
	if (!good)
		print_error("%s: expected %s, received %s: %s\n", row[ID], row[EXPECT],
			    attest_verdict_name(r.verdict), r.detail);
	inputs_free(&in);
	return good;
}

/* What a policy that allows nothing says where the list says OK. */
static const char *strict_verdict(char **row, const struct inputs *in)
{
	if (!strcmp(row[KIND], "snp")) {
		if (in->evidence.p[0] == 2)
			return "SNP_OLD";
		return strstr(row[ID], "vlek") ? "WANT_VMPL" : "OK";
	}
	if (!strcmp(row[KIND], "ratls") || strstr(row[POLICY], "allow_debug"))
		return "DEBUG_ENCLAVE";
	if (!in->has_collateral)
		return "NO_COLLATERAL";
	if (!strcmp(row[ID], "tdx-v5-oe")) /* TDATTRIBUTES bit 29 */
		return "MIGRATABLE";
	return !strncmp(row[LEVELS], "UpToDate/UpToDate/", 18) && !strstr(row[LEVELS], "OutOfDate")
		   ? "OK"
		   : "TCB_STATUS";
}

/* 1 when the strictest policy accepts none that the list refuses, and refuses for the right reason what needs
 * a flag. */
static int one_strict(char **row)
{
	struct attest_result r;
	struct inputs in;
	struct world w;
	const char *got, *want;
	int good;

	policy_read(&w, row);
	w.policy.allow = 0;
	w.policy.tcb_accepted = 0;
	w.policy.vmpl_max = 0;
	inputs_read(&in, row);
	got = attest_verdict_name(judge(&r, row, &in, &w.policy));
	want = strcmp(row[EXPECT], "OK") ? NULL : strict_verdict(row, &in);
	good = want ? !strcmp(got, want) : strcmp(got, "OK") != 0;
	if (!good)
		print_error("%s, strictly: expected %s, received %s\n", row[ID], want ? want : "a refusal",
			    got);
	inputs_free(&in);
	return good;
}

/* Where a change cannot matter: after the quote, and white space of its PEM text. */
static size_t signed_end(char **row, const struct inputs *in)
{
	const uint8_t *pem = memmem(in->evidence.p, in->evidence.n, "-----BEGIN", 10);

	return strcmp(row[KIND], "snp") && pem ? (size_t)(pem - in->evidence.p) : in->evidence.n;
}

/* Genuine evidence with one bit changed, at every 29th byte from a different start each. */
static int one_mutated(char **row)
{
	static size_t start;
	struct attest_result r;
	struct inputs in;
	struct world w;
	int good = 1;

	if (strcmp(row[EXPECT], "OK") || !strcmp(row[KIND], "ratls"))
		return 1;
	policy_read(&w, row);
	inputs_read(&in, row);
	for (size_t i = start++ % 29, end = signed_end(row, &in); i < end; i += 29) {
		uint8_t *byte = (uint8_t *)in.evidence.p + i;

		*byte ^= (uint8_t)(1u << i % 8);
		if (attest_accepted(judge(&r, row, &in, &w.policy))) {
			print_error("%s: byte %zu can be changed unseen\n", row[ID], i);
			good = 0;
		}
		*byte ^= (uint8_t)(1u << i % 8);
	}
	inputs_free(&in);
	return good;
}

/* Runs each row of a kind (NULL: all) through f and counts. */
static void all_of(const char *kind, unsigned least, int (*f)(char **row))
{
	FILE *file = fopen(data_path("CASES.tsv"), "r");
	unsigned good = 0, n = 0;
	char line[1024];

	if (!file) {
		print_message("no %s: the shared evidence is not here\n", data_path("CASES.tsv"));
		skip();
	}
	while (fgets(line, sizeof(line), file)) {
		char *row[COLUMNS] = {0}, *rest = line;

		for (int i = 0; i < COLUMNS; i++)
			row[i] = strsep(&rest, "\t\n");
		if (!row[POLICY] || !strcmp(row[KIND], "kind") || (kind && strcmp(row[KIND], kind)))
			continue;
		n++;
		good += (unsigned)f(row);
	}
	fclose(file);
	print_message("%u of %u cases%s%s\n", good, n, kind ? " of kind " : "", kind ? kind : "");
	assert_int_equal(good, n);
	assert_true(n >= least);
}

static void snp_test(void **state)
{
	all_of("snp", 49, one);
}

static void dcap_test(void **state)
{
	all_of("dcap", 64, one);
}

static void ratls_test(void **state)
{
	all_of("ratls", 7, one);
}

static void strict_test(void **state)
{
	all_of(NULL, 120, one_strict);
}

static void mutated_test(void **state)
{
	all_of(NULL, 120, one_mutated);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(snp_test),	   cmocka_unit_test(dcap_test),	   cmocka_unit_test(ratls_test),
	    cmocka_unit_test(strict_test), cmocka_unit_test(mutated_test),
	};

	return cmocka_run_group_tests_name("attest cases", tests, NULL, NULL);
}
