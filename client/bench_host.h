/* SPDX-License-Identifier: Apache-2.0 */
/* client/bench_host.h — what the kernel knows of the roles' processes, of their connections, and of this
 * host. */
#ifndef OBSCURA_CLIENT_BENCH_HOST_H
#define OBSCURA_CLIENT_BENCH_HOST_H

#include <json-c/json.h>
#include <stdint.h>

#include "client/roles.h"

enum used_by { USED_DATA_OWNER, USED_MODEL_OWNER, USED_PROVIDER, USED_DRIVER, USERS };
/* Several data owners together: sums. */
struct usage {
	double cpu[USERS];    /* seconds of processor, user and system, all threads */
	uint64_t peak[USERS]; /* bytes of resident memory, the most at any time */
};
int usage_read(struct usage *u, const struct roles *r, struct err *e) MUST_USE;

/* Bytes on the TCP connections between roles, TLS and all. sent: from the one named first. */
enum pair { PAIR_D_M, PAIR_D_C, PAIR_M_C, PAIRS };
struct wire_pairs {
	uint64_t sent[PAIRS], received[PAIRS];
};
/* The model owner's own port on its connection to the provider, as long as nobody else has one. Waits for it.
 */
int wire_learn(const struct roles *r, uint16_t *port, struct err *e) MUST_USE;
int wire_read(struct wire_pairs *w, const struct roles *r, uint16_t model_owner_port, struct err *e) MUST_USE;
void wire_since(struct wire_pairs *now, const struct wire_pairs *before);

/* Processor, kernel, load, compiler, commit, date: NULL when memory is short. */
struct json_object *host_conditions(void);

#endif
