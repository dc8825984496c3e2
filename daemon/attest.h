/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/attest.h — files of evidence and policy for crypto/attest. */
#ifndef OBSCURA_DAEMON_ATTEST_H
#define OBSCURA_DAEMON_ATTEST_H

#include "conf/err.h"
#include "crypto/attest/attest.h"
#include "daemon/enclave_wire.h"

#define ATTEST_FILE_MAX (1u << 20)
#define ATTEST_AGE 3600

/* Reads a file of at most ATTEST_FILE_MAX bytes; s->p is new, freed by attest_file_free. */
int attest_file_read(const char *path, struct span *s, struct err *e) MUST_USE;
int attest_file_read_most(const char *path, size_t most, struct span *s, struct err *e) MUST_USE;
void attest_file_free(struct span *s);
/* 2026-03-01 or 2026-03-01T12:00:00Z as Unix seconds. */
int attest_time(const char *text, int64_t *seconds, struct err *e) MUST_USE;
/* Words of allow.def, separated by commas, into bits. */
int attest_allow_list(const char *text, uint32_t *allow, struct err *e) MUST_USE;

/* Intel's collateral from a folder (attest_collateral.c); owns what `collateral` points into. */
struct attest_files {
	struct attest_collateral collateral;
	const char *folder; /* borrows */
	struct span tcb_info, qe_identity;
	uint8_t signature[2][64];
};
int attest_files_read(struct attest_files *f, const char *folder, struct err *e) MUST_USE;
void attest_files_free(struct attest_files *f);

/* A policy from a file (attest_policy.c); `policy` points into the rest, so this is not copied. Start it with
 * zeros. */
#define ATTEST_POLICY_VALUES 64
#define ATTEST_POLICY_ROOTS 8
#define ATTEST_POLICY_CHAIN 8
#define ATTEST_POLICY_MODELS 32
#define ATTEST_MODEL_DIGESTS 32
#define ATTEST_MODEL_OWNERS 8
/* A model that an enclave may hold; of a list of 0 any value will do. */
struct attest_model {
	char name[ENCLAVE_NAME_MAX + 1];
	uint64_t min_version;
	size_t n_digests, n_owners;
	uint8_t digests[ATTEST_MODEL_DIGESTS][ENCLAVE_DIGEST], owners[ATTEST_MODEL_OWNERS][ENCLAVE_OWNER];
};
struct attest_models {
	struct attest_model all[ATTEST_POLICY_MODELS];
	size_t n; /* 0: any model */
};
struct attest_policy_file {
	struct attest_policy policy;
	uint64_t min_model_version; /* of the model in an enclave */
	struct attest_models models;
	/* seconds that evidence in a certificate may be old; 0: for this connection only */
	uint64_t boot_evidence_age;
	/* seconds after which a connection attests anew; attest_policy_text puts ATTEST_AGE where none is said */
	uint64_t attestation_age;
	struct attest_value values[ATTEST_POLICY_VALUES];
	uint8_t keys[3][ATTEST_POLICY_ROOTS][ATTEST_DIGEST]; /* AMD, Intel, simulation */
	/* files beside the evidence that the policy names; owns */
	struct span snp_chain[ATTEST_POLICY_CHAIN], snp_crl;
	size_t n_chain;
	struct attest_files files;
	int has_collateral;
};
/* Also after an error there is something to free. */
int attest_policy_read(struct attest_policy_file *f, const char *path, struct err *e) MUST_USE;
/* The same from memory; path is for messages, and files that the text names are beside it. */
int attest_policy_text(struct attest_policy_file *f, const char *path, struct span text,
		       struct err *e) MUST_USE;
void attest_policy_free(struct attest_policy_file *f);
/* One more file of certificates; another folder of collateral than the policy's. */
int attest_policy_chain(struct attest_policy_file *f, const char *path, struct err *e) MUST_USE;
int attest_policy_collateral(struct attest_policy_file *f, const char *folder, struct err *e) MUST_USE;

/* attest_models.c: whether the policy accepts the model of this manifest, which evidence vouches for; "":
 * none is there yet. ERR_ATTEST names expected and received. */
int attest_model_check(const struct attest_policy_file *f, struct span manifest, struct err *e) MUST_USE;
/* The same for models alone, of this version at least; a text that has nothing else, where path is for
 * messages. */
int attest_models_check(const struct attest_models *models, uint64_t least, struct span manifest,
			struct err *e) MUST_USE;
int attest_models_text(struct attest_models *models, const char *path, const char *text,
		       struct err *e) MUST_USE;
/* Whether such a file is right. */
int attest_models_read(const char *path, struct err *e) MUST_USE;

/* What an enclave sent over a connection (enum enclave_kind; of RATLS its certificate), under the policy and
 * with the files that it names (attest_judge.c). chain: its certificates, PEM, n == 0 when it has none. -1:
 * the kind is unknown. */
int attest_judge(struct attest_result *r, unsigned kind, struct span report, struct span chain,
		 const struct attest_policy_file *f, int64_t now, struct err *e) MUST_USE;

#endif
