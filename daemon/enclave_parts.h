/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/enclave_parts.h — what the files of the enclave's child share. */
#ifndef OBSCURA_DAEMON_ENCLAVE_PARTS_H
#define OBSCURA_DAEMON_ENCLAVE_PARTS_H

#include "daemon/enclave_quote.h"
#include "daemon/enclave_wire.h"

/* GUEST_SPARE: its client has not come yet. */
enum guest_place { GUEST_COMES, GUEST_SPARE };
/* One connection. */
enum guest_standing { GUEST_UNKNOWN, GUEST_KNOWN, GUEST_TURNED_OUT };
struct guest {
	struct guest *next; /* enclave_guests.c has these four */
	enum guest_standing standing;
	int speaks;	 /* its handshake has begun */
	uint8_t who[32]; /* SHA-256 of its certificate's key, when known */
	SSL *ssl;
	int fd, owner;			     /* owner: the certificate says model-owner */
	int greeted, settled;		     /* settled: it was asked something */
	char manifest[ENCLAVE_MANIFEST_MAX]; /* of the last evidence that it was given */
	int outdated;			     /* another model has come since */
};

/* enclave_child.c. prepare: key, certificate, authority (read from the file ca, which is closed). local: whom
 * to ask for evidence, NULL: the quoter; boot: the certificate shall have some of its own. accept: takes the
 * connection, and makes all ready before it waits for the first byte. */
int enclave_child_prepare(int ca, const struct quote_provider *local, int boot, struct err *e) MUST_USE;
void enclave_child_accept(int fd, enum guest_place place);

/* enclave_guests.c. enter: -1 when all places are taken by others that showed a certificate; of those that
 * did not the oldest is turned out. A spare takes its place when its client speaks, which may then be
 * refused. known: after its handshake; -1 when its certificate has its share of places already. */
int guest_enter(struct guest *g, enum guest_place place) MUST_USE;
int guest_speaks(struct guest *g) MUST_USE;
int guest_known(struct guest *g, const X509 *certificate) MUST_USE;
void guest_leave(struct guest *g);

/* enclave_turns.c: one question for evidence at a time, whoever has taken least of the hardware's time first.
 * begin: waits; -1 when this certificate takes more than its share, e says when it may ask again. */
int turn_begin(const uint8_t who[32], struct err *e) MUST_USE;
void turn_end(void);

/* enclave_identity.c. boot: asked for evidence of the key, NULL: none. key: new, DER of the public key;
 * ratls: whether the certificate has evidence. */
typedef int enclave_ask_quote(const uint8_t data[64], struct quoted *q, struct err *e);
int enclave_identity(SSL_CTX *tls, enclave_ask_quote *boot, struct span *key, int *ratls,
		     struct err *e) MUST_USE;

/* enclave_model.c: a model made ready to run; the one that is held, and its manifest ("" without one). */
struct enclave_ready;
int enclave_model_make(struct enclave_ready **ready, const struct enclave_model *m, struct err *e) MUST_USE;
void enclave_model_free(struct enclave_ready *ready); /* NULL is allowed */
void enclave_model_take(struct enclave_ready *ready); /* holds it from now on, and frees the last one */
void enclave_model_manifest(char out[ENCLAVE_MANIFEST_MAX]);
int enclave_on_classify(struct guest *g, const uint8_t *body, size_t n, struct err *e) MUST_USE;

/* enclave_owner.c: what the model owner brings. start: before the first thread; public_key: for the evidence;
 * policy: borrows, its first line goes with a sealed state. lies_here: a sealed model of the host. keeper: of
 * the sealed state, which is taken up at once. */
int enclave_owner_start(uint8_t public_key[ENCLAVE_RELEASE_KEY], const char *policy, struct err *e) MUST_USE;
void enclave_owner_lies_here(int fd);
/* A line for the front end's log: the child itself may write to no file. level: ENCLAVE_SAYS_… */
void enclave_say(char level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void enclave_owner_keeper(int fd);
/* Another revocation list is in force: a model that is kept comes back with none that is older. */
void enclave_owner_listed(void);
int enclave_on_provision(struct guest *g, const uint8_t *body, size_t n, struct err *e) MUST_USE;
int enclave_on_release(struct guest *g, const uint8_t *body, size_t n, struct err *e) MUST_USE;

/* enclave_rules.c: who may use the model, and who may bring one. start: before the first thread. handed:
 * ENCLAVE_HANDS_ACCESS, _OWNERS or _REVOKED, and its file. policy: base with lines for what is in force;
 * returns its bytes; after an owner has seen them, rules do not change. takes: whether the model, with its
 * owner, may be brought. admit: whether the
 * peer is not revoked; use: whether it may have n images classified, which are then counted (0: whether it
 * may use the model at all). */
void enclave_rules_start(X509 *authority);
void enclave_rules_handed(char what, int fd);
size_t enclave_rules_policy(char out[ENCLAVE_POLICY_MAX], const char base[ENCLAVE_POLICY], int owner);
/* Rules stay as they are from now on: "access <64 hex>\nowners <64 hex>\n", as far as there are any; returns
 * the bytes. */
size_t enclave_rules_freeze(char out[160]);
int enclave_rules_takes(const struct enclave_model *m, struct err *e) MUST_USE;
/* The revocation list in force: 1 and its number, 0 where there is none. */
uint64_t enclave_rules_list(void);
int enclave_rules_admit(SSL *ssl, struct err *e) MUST_USE;
int enclave_rules_use(SSL *ssl, const char *model, unsigned reveal, size_t n, struct err *e) MUST_USE;

#endif
