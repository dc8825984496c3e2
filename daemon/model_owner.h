/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/model_owner.h — private to the model owner: sessions and the role's state. model_owner.c has their
 * life, model_owner_admin.c their numbers. */
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

/* Tells metrics of tickets made and burnt since the last call. */
void session_count(struct session *s);
/* For the admin socket. */
int model_owner_ready(void *model_owner, struct err *e);
void model_owner_collect(void *model_owner);

#endif
