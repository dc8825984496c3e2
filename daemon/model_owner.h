/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/model_owner.h — private to the model owner: sessions and the role's state. model_owner.c has their
 * life, model_owner_open.c how they come to be, model_owner_admin.c their numbers. */
#ifndef OBSCURA_DAEMON_MODEL_OWNER_H
#define OBSCURA_DAEMON_MODEL_OWNER_H

#include "daemon/access.h"
#include "daemon/models.h"
#include "daemon/net.h"

struct session {
	struct session *next;
	struct modeller *m;
	struct model *model; /* holds it */
	struct conn *owner, *provider;
	uint16_t id, provider_id;
	uint64_t made, burnt; /* tickets that metrics know of */
	uint64_t leave_us;    /* 0, or since when the data owner is asked to end it */
};

/* An OPEN that waits: for the provider's connection, or for a variant that is being made. */
struct opening {
	struct opening *next;
	struct conn *owner;
	uint16_t id;
	uint64_t since_us;
	unsigned optimise, reveal;
	int he_offline;
	char model[128];
};

struct model_owner {
	struct net *net;
	const struct config *config;
	struct models *models;
	struct access *access;
	struct enclave_front *front; /* NULL: no enclave */
	struct conn *provider;
	struct err provider_why;
	uint64_t renew_us; /* 0, or since when the provider's connection waits to be made anew */
	struct session *sessions;
	struct opening *openings;
	unsigned n_sessions; /* openings too */
	uint16_t last_id;
	uint64_t online_us; /* of the last message of an inference */
};

uint64_t model_owner_now(const struct model_owner *o);
/* Tells the peer, and the log. step: of the session */
void model_owner_refuse(struct conn *c, uint16_t session, const struct err *e, const char *step);
/* By the data owner's number of it, or by the provider's. */
struct session *session_find(const struct model_owner *o, const struct conn *c, uint16_t id);
/* The caller keeps its hold of the model when this fails. */
int session_start(struct model_owner *o, struct conn *c, uint16_t id, struct model *model,
		  const struct served *served, int he_offline, struct err *e) MUST_USE;

/* model_owner_open.c: an OPEN; -1: the connection is to end. */
int openings_frame(struct model_owner *o, struct conn *c, const struct frame *f, struct err *e) MUST_USE;
void openings_try(struct model_owner *o);    /* something has come that some may wait for */
void openings_expire(struct model_owner *o); /* those that have waited too long are refused */
/* Those of a connection, or only one session of it (id != 0). */
void openings_drop(struct model_owner *o, const struct conn *c, uint16_t id);

/* Tells metrics of tickets made and burnt since the last call. */
void session_count(struct session *s);
/* For the admin socket. */
int model_owner_ready(void *model_owner, struct err *e);
void model_owner_collect(void *model_owner);

#endif
