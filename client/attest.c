/* SPDX-License-Identifier: Apache-2.0 */
/* obscura attest verify: evidence from files, a verdict on stdout; exit 0 accepted, 6 rejected. */
#include "client/attest.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "client/command.h"
#include "client/enclave.h"

#define CHAIN_FILES 8

/* All that the verifiers need, from files. */
struct inputs {
	struct span evidence, chain[CHAIN_FILES], crl;
	size_t n;
	struct attest_files files;
	int has_collateral;
	struct attest_policy_file policy;
	int64_t now;
};

static void inputs_free(struct inputs *in)
{
	attest_file_free(&in->evidence);
	attest_file_free(&in->crl);
	attest_files_free(&in->files);
	attest_policy_free(&in->policy);
	while (in->n)
		attest_file_free(&in->chain[--in->n]);
}

static int chain_one(struct inputs *in, const char *path, struct err *e)
{
	if (in->n == CHAIN_FILES)
		return err_set(e, ERR_USAGE, "more than %d files of certificates", CHAIN_FILES);
	return attest_file_read(path, &in->chain[in->n++], e);
}

/* --chain A, and every word but "verify": argp moves a second --chain before the words. */
static int read_chain(const struct args *a, int verify, struct inputs *in, struct err *e)
{
	const char *first = a->flag[FLAG_chain];

	if (first && chain_one(in, first, e))
		return -1;
	for (int i = 0; i < a->n; i++) {
		if (i == verify)
			continue;
		if (!first)
			return err_set(e, ERR_USAGE, "what is %.80s? --chain or --evidence names a file",
				       a->words[i]);
		if (chain_one(in, a->words[i], e))
			return -1;
	}
	return 0;
}

/* Intel's folder of collateral; of AMD, crl.der alone. */
static int read_collateral(const struct args *a, struct inputs *in, struct err *e)
{
	const char *folder = a->flag[FLAG_collateral];
	char path[1024];

	if (!folder)
		return 0;
	if (!strcmp(a->flag[FLAG_kind], "snp")) {
		snprintf(path, sizeof(path), "%s/crl.der", folder);
		return attest_file_read(path, &in->crl, e);
	}
	in->has_collateral = 1;
	return attest_files_read(&in->files, folder, e);
}

static int read_inputs(const struct args *a, int verify, struct inputs *in, struct err *e)
{
	if (!a->flag[FLAG_evidence])
		return err_set(e, ERR_USAGE, "say which evidence: --evidence FILE");
	in->now = (int64_t)time(NULL);
	if (a->flag[FLAG_time] && attest_time(a->flag[FLAG_time], &in->now, e))
		return -1;
	if (a->flag[FLAG_policy] && attest_policy_read(&in->policy, a->flag[FLAG_policy], e))
		return -1;
	if (a->flag[FLAG_accept_simulated])
		in->policy.policy.allow |= 1u << ATTEST_ALLOW_SIMULATED;
	if (a->flag[FLAG_allow] && attest_allow_list(a->flag[FLAG_allow], &in->policy.policy.allow, e))
		return -1;
	return attest_file_read(a->flag[FLAG_evidence], &in->evidence, e) || read_chain(a, verify, in, e) ||
		       read_collateral(a, in, e)
		   ? -1
		   : 0;
}

/* What no flag names, the policy may. */
static int judge(const char *kind, const struct inputs *in, struct attest_result *r, struct err *e)
{
	const struct attest_policy_file *p = &in->policy;
	const struct attest_collateral *collateral = in->has_collateral	 ? &in->files.collateral
						     : p->has_collateral ? &p->files.collateral
									 : NULL;

	if (!strcmp(kind, "snp"))
		attest_verify_snp(r, in->evidence, in->n ? in->chain : p->snp_chain,
				  in->n ? in->n : p->n_chain, in->crl.n ? in->crl : p->snp_crl, &p->policy,
				  in->now);
	else if (!strcmp(kind, "dcap"))
		attest_verify_dcap(r, in->evidence, in->chain, in->n, collateral, &p->policy, in->now);
	else if (!strcmp(kind, "ratls"))
		attest_verify_ratls(r, in->evidence, in->chain, in->n, collateral, &p->policy, in->now);
	else if (!strcmp(kind, "sim"))
		attest_verify_sim(r, in->evidence, in->chain, in->n, &p->policy, in->now);
	else
		return err_set(e, ERR_USAGE, "--kind: \"%.40s\" is not snp, dcap, ratls or sim", kind);
	return 0;
}

int command_attest(struct args *a, struct err *e)
{
	struct attest_result r;
	struct inputs in = {.n = 0};
	int bad, verify = 0;

	if (a->n == 1 && !strcmp(a->words[0], "simulation"))
		return attest_simulation(a, e);
	while (verify < a->n && strcmp(a->words[verify], "verify"))
		verify++;
	if (verify == a->n || !a->flag[FLAG_kind])
		return err_set(e, ERR_USAGE,
			       "say what: obscura attest verify --kind snp|dcap|ratls|sim --evidence FILE "
			       "--chain FILE…");
	bad = read_inputs(a, verify, &in, e) || judge(a->flag[FLAG_kind], &in, &r, e) ||
	      attest_show(&r, a->flag[FLAG_json] != NULL, e);
	inputs_free(&in);
	if (bad)
		return -1;
	return attest_accepted(r.verdict)
		   ? 0
		   : err_set(e, ERR_ATTEST, "attestation rejected: %s: %s", attest_verdict_name(r.verdict),
			     attest_verdict_sentence(r.verdict));
}
