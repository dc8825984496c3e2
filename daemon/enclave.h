/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/enclave.h — obscura-enclave: two processes of one program.
 *
 * quoter: copies its own program into a sealed memfd, hashes it, starts the child from that very copy, and
 * gets a report for it when the child asks: from the guest's hardware, or signed by the simulation's quoting
 * key after looking at the child's state from outside. child: terminates TLS, holds model and image,
 * computes. It gets connections from the front end as file descriptors. */
#ifndef OBSCURA_DAEMON_ENCLAVE_H
#define OBSCURA_DAEMON_ENCLAVE_H

#include <stdint.h>
#include <sys/types.h>

#include "conf/err.h"

/* File descriptors that the child is started with. */
#define ENCLAVE_FD_CONTROL 3 /* from the front end: one byte with one file (SCM_RIGHTS) a message */
#define ENCLAVE_FD_QUOTE 4   /* to the quoter: struct enclave_ask; back: struct quoted */
#define ENCLAVE_FD_CA 5	     /* the authority's certificate, PEM */

/* What the front end hands over: a connection; a sealed model, to be read; before the first connection the
 * keeper's socket. */
#define ENCLAVE_HANDS_CONNECTION 'C'
#define ENCLAVE_HANDS_SPARE 'S' /* a connection whose client is still to come */
#define ENCLAVE_HANDS_SEALED 'M'
#define ENCLAVE_HANDS_KEEPER 'K'
#define ENCLAVE_HANDS_ACCESS 'A'  /* rules: daemon/access.h; at any time */
#define ENCLAVE_HANDS_REVOKED 'R' /* a revocation list, PEM; at any time */
#define ENCLAVE_HANDS_OWNERS 'O'  /* which models it takes, and whose: daemon/attest_models.c */
/* What it is told: that the child serves; a line for its log, at one of two levels. */
#define ENCLAVE_SAYS_READY 'R'
#define ENCLAVE_SAYS_NOTE 'N'
#define ENCLAVE_SAYS_WARNING 'W'
#define ENCLAVE_NOTE 400

#define ENCLAVE_UID 61183
#define ENCLAVE_CHAIN_MAX 8192

/* report_data of a report; what only the child can know of its hardening. */
struct enclave_ask {
	uint8_t report_data[64];
	uint32_t hardening;
};

/* Whether the heap lies in secret memory (enclave_memory.c). */
int enclave_memory_secret(void);
/* Drops user, privileges, files and system calls, in an order that each step allows the next. Returns the
 * bits of enum sim_hardening that it put in force; what fails is missing there, and said on stderr. */
uint32_t enclave_harden(void);
/* What can be seen of a child from outside: bits of enum sim_hardening. */
uint32_t enclave_observe(pid_t child);

/* tee: the provider that the quoter asks. */
int enclave_child_main(const char *tee);
/* In Gramine: listens by itself. words: access=FILE, revoked=FILE, owners=FILE, sealed models of the host;
 * NULL at the end. */
int enclave_gramine_main(const char *address, const char *ca, char *const *words);
/* tee: a row of enclave_quote.c; ca: the authority whose certificates the child obeys; key, chain: files of
 * the simulation's quoting key, NULL for hardware. */
int enclave_quoter_main(const char *tee, const char *ca, const char *key, const char *chain);

#endif
