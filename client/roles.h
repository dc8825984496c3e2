/* SPDX-License-Identifier: Apache-2.0 */
/* client/roles.h — the three roles as processes on loopback or on a link, with throw-away certificates, in a
 * folder that goes with them: for `demo` and `bench`. */
#ifndef OBSCURA_CLIENT_ROLES_H
#define OBSCURA_CLIENT_ROLES_H

#include <limits.h>
#include <signal.h>
#include <stddef.h>
#include <sys/types.h>
#include "client/link_net.h"

#define ROLES_OWNERS_MAX 256

/* Pids are 0 where nothing runs. */
struct roles {
	char folder[64];
	char obscura[PATH_MAX], obscurad[PATH_MAX];
	char socket[96];					  /* of the first data owner */
	char provider_at[64], model_owner_at[64], enclave_at[64]; /* enclave: after roles_enclave */
	const struct link_net *net; /* borrows: the hosts on which they start; NULL: this one */
	pid_t provider, model_owner, data_owners[ROLES_OWNERS_MAX];
	size_t n_owners, n_certificates; /* certificates: of data owners */
	int alone;			 /* no provider is started */
};
/* Ctrl-C, SIGTERM and SIGHUP end what goes on. */
void roles_catch(void);
/* ERR_RESULT, "interrupted", when one of them came. */
int roles_go_on(struct err *e) MUST_USE;

/* Runs a command whose output is of no interest. */
int roles_quietly(char *const argv[], struct err *e) MUST_USE;
/* Makes the folder; certificates for loopback. */
int roles_prepare(struct roles *r, struct err *e) MUST_USE;

/* What each role is started with beside its addresses and certificate: flags, NULL at the end of a list;
 * NULL: none. */
struct roles_flags {
	const char *const *provider, *const *model_owner, *const *data_owner;
};
/* models: "a.onnx,b.onnx". Returns when provider and model owner listen. */
int roles_servers(struct roles *r, const char *models, const struct roles_flags *flags,
		  struct err *e) MUST_USE;
/* Waits until the model owner's enclave (its flags ask for one) is ready. */
int roles_enclave(struct roles *r, struct err *e) MUST_USE;
/* Starts data owners until there are n, each with a certificate of its own. */
int roles_owners(struct roles *r, size_t n, const struct roles_flags *flags, struct err *e) MUST_USE;
/* Both: one data owner. */
int roles_start(struct roles *r, const char *models, const struct roles_flags *flags, struct err *e) MUST_USE;
/* The Unix socket of data owner i. Returns path. */
const char *roles_socket(const struct roles *r, size_t i, char path[112]);
/* Ends the processes; the folder stays, and roles_start may follow. */
void roles_end(struct roles *r);
/* Ends what runs and removes the folder. */
void roles_stop(struct roles *r);

#endif
