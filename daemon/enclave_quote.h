/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/enclave_quote.h — evidence from what this machine has: one row of a table for each provider.
 *
 * Under SEV-SNP and TDX the quoter asks, as root of the guest; under Gramine there is no other process, and
 * the enclave asks itself. report_data is always computed by the child: a provider sees 64 bytes. */
#ifndef OBSCURA_DAEMON_ENCLAVE_QUOTE_H
#define OBSCURA_DAEMON_ENCLAVE_QUOTE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <openssl/evp.h>

#include "conf/err.h"
#include "crypto/attest/attest.h"

#define QUOTE_REPORT_MAX 32768 /* Linux: TSM_REPORT_OUTBLOB_MAX; an Intel quote has about 5,000 bytes */
#define QUOTE_CHAIN_MAX 32768
#define QUOTE_TABLE_MAX 16384 /* Linux: SEV_FW_BLOB_MAX_SIZE */

/* An answer, also as the quoter sends it: the head and n bytes. kind 0: no evidence, `bytes` says why. */
struct quoted {
	uint32_t kind; /* enum enclave_kind */
	uint32_t report_n, chain_n;
	uint8_t bytes[QUOTE_REPORT_MAX + QUOTE_CHAIN_MAX]; /* report, then certificates as PEM */
};
#define QUOTED_HEAD offsetof(struct quoted, bytes)
/* Whether n received bytes are such a message, whole. */
int quoted_whole(const struct quoted *q, size_t n);

/* The simulation's quoting key, and what is simulated. */
struct quote_sim {
	EVP_PKEY *key;
	struct span chain; /* PEM */
	const uint8_t *measurement;
	uint32_t hardening; /* in force now */
};

/* Where devices are. Tests put a folder before all paths, and replace the calls by which attribute files and
 * devices differ from plain files. */
struct quote_host {
	const char *root; /* before every path */
	int (*make_dir)(const char *path, mode_t mode);
	int (*remove_dir)(const char *path);
	ssize_t (*read)(int fd, void *p, size_t n);
	int (*close)(int fd);
	int (*control)(int fd, unsigned long request, void *argument); /* ioctl */
	void (*pause)(unsigned ms);
	const struct quote_sim *sim; /* borrows; NULL: no simulation */
};
extern const struct quote_host quote_host_linux;

struct quote_provider {
	const char *name; /* as --tee names it */
	const char *what; /* for people */
	int automatic;	  /* whether --tee=auto may choose it */
	/* Whether it works here; what is missing, and a remedy, in *e. */
	int (*probe)(const struct quote_host *h, struct err *e);
	int (*get)(const struct quote_host *h, const uint8_t data[64], struct quoted *out, struct err *e);
};

/* NULL when `tee` names none, or none of those that "auto" may choose works here. */
const struct quote_provider *quote_choose(const char *tee, const struct quote_host *h, struct err *e);
/* Asks, and holds the answer to the question: evidence for other data never leaves this function. */
int quote_get(const struct quote_provider *p, const struct quote_host *h, const uint8_t data[64],
	      struct quoted *out, struct err *e) MUST_USE;

/* ---- for providers ---- */

int quote_tsm_probe(const struct quote_host *h, struct err *e) MUST_USE;
int quote_tsm_get(const struct quote_host *h, const uint8_t data[64], struct quoted *out,
		  struct err *e) MUST_USE;
int quote_sev_guest_probe(const struct quote_host *h, struct err *e) MUST_USE;
int quote_sev_guest_get(const struct quote_host *h, const uint8_t data[64], struct quoted *out,
			struct err *e) MUST_USE;
int quote_gramine_probe(const struct quote_host *h, struct err *e) MUST_USE;
int quote_gramine_get(const struct quote_host *h, const uint8_t data[64], struct quoted *out,
		      struct err *e) MUST_USE;
int quote_sim_probe(const struct quote_host *h, struct err *e) MUST_USE;
int quote_sim_get(const struct quote_host *h, const uint8_t data[64], struct quoted *out,
		  struct err *e) MUST_USE;

/* A whole file under h->root, of at most `room` bytes: 0 or an errno (EFBIG: it is larger). */
int quote_read(const struct quote_host *h, const char *path, void *out, size_t room, size_t *n) MUST_USE;
/* In one write, as attribute files want it: 0 or an errno. */
int quote_write(const struct quote_host *h, const char *path, const void *p, size_t n) MUST_USE;
/* A text file's first line into out; 0 or an errno. */
int quote_line(const struct quote_host *h, const char *path, char *out, size_t room) MUST_USE;
/* Whether asking again may help: EBUSY, EAGAIN, EINTR. */
int quote_passing(int number);
/* The host's certificate table as PEM, behind the report that out already has. */
int quote_snp_chain(struct span table, struct quoted *out, struct err *e) MUST_USE;

#endif
