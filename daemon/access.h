/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/access.h — which data owner may use which model, how often; and the record of what was used
 * (audit.h).
 *
 * The file of the option `access` is a list of rules in libconfig syntax; the first that fits a data owner
 * and a model is the one, and what no rule fits is refused:
 *
 *   rules = (
 *     { who = "hospital.example"; models = ["digits", "cells"]; reveal = "label"; per_minute = 60; per_day =
 * 5000; }, { who = ["*.clinic.example", "10.1.2.3"]; model_owner = "model.example"; }
 *   );
 *
 * who: the common name or a host of the data owner's certificate; "*.NAME" is every host below NAME, "*"
 * everybody. models: names; without it, all. model_owner: likewise its certificate (only at a provider).
 * reveal = "label": scores are refused (only at a model owner). per_minute, per_day: images (at a provider:
 * tickets) of one account: the name that fitted, or for a pattern the certificate's common name; summed over
 * the rule's models. A day is one of UTC, and its count is read back from the audit after a restart. Without
 * a file every data owner of the authority may use all. */
#ifndef OBSCURA_DAEMON_ACCESS_H
#define OBSCURA_DAEMON_ACCESS_H

#include <time.h>

#include "conf/config.h"
#include "protocol/session.h"

/* What was read for a configuration that is not yet in force: rules, and the audit, opened. */
struct access_next;
/* May run on a worker. Errors name file and line. */
int access_read(struct access_next **next, const struct config *config, enum frame_role self,
		struct err *e) MUST_USE;
void access_drop(struct access_next *next); /* NULL is allowed */

/* Only whether the rules are good: nothing is opened or made, as somebody else may ask (-t). */
int access_check(const struct config *config, enum frame_role self, struct err *e) MUST_USE;

struct access;
/* Reads rules, opens the audit and counts what it says of today. */
int access_new(struct access **a, const struct config *config, enum frame_role self, struct err *e) MUST_USE;
/* On the loop, after access_read: sessions that are open are judged by the new rules from their next image
 * on. */
void access_take(struct access *a, struct access_next *next);
/* access_read and access_take in one: when it fails all stays as it was. */
int access_reload(struct access *a, const struct config *config, struct err *e) MUST_USE;
void access_free(struct access *a); /* NULL is allowed */

/* A data owner as its certificate names it. All borrows. */
struct access_who {
	const char *names;	    /* common name, then the hosts, one a line */
	const char *from;	    /* its connection */
	const uint8_t *certificate; /* SHA-256 */
};
struct access_clock {
	uint64_t now_us; /* monotonic */
	time_t wall;
};
/* One question: may who use model (of the model owner `with`, by its names; NULL at the model owner itself)?
 */
struct access_ask {
	struct access_who who;
	const char *with, *with_from, *model;
	enum plan_reveal reveal; /* what is asked for */
	const uint8_t *session;	 /* 16 bytes, or NULL */
	uint64_t first;		 /* ticket */
	uint32_t n;		 /* images */
	int whole;		 /* all or nothing */
};
/* Opening a session. -1 with a text for the peer: who, what, remedy. */
int access_open(struct access *a, const struct access_ask *ask, const struct access_clock *clock,
		struct err *e) MUST_USE;
/* Whether a rule lets this data owner use the model at all: for lists. */
int access_lists(const struct access *a, const char *names, const char *model);
/* Of n images: how many may be used now. These are counted and recorded; when they are fewer, why is for the
 * peer. */
uint32_t access_use(struct access *a, const struct access_ask *ask, const struct access_clock *clock,
		    struct err *why);

/* The same for sessions: who is read off the connections. */
const struct rules *access_rules(const struct access *a);

struct access_status {
	uint64_t images, refused; /* since the start */
	uint64_t rules;		  /* 0: there is no file */
};
void access_status(const struct access *a, struct access_status *s);

#endif
