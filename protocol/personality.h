/* SPDX-License-Identifier: Apache-2.0 */
/* protocol/personality.h — how an inference can be evaluated: names, and what sessions of each do. */
#ifndef OBSCURA_PROTOCOL_PERSONALITY_H
#define OBSCURA_PROTOCOL_PERSONALITY_H

#include <stddef.h>
#include <stdint.h>
#include "conf/err.h"

enum personality {
#define PERSONALITY(NAME, name, provider, leaks) PERSONALITY_##NAME,
#include "protocol/personalities.def"
#undef PERSONALITY
	PERSONALITIES
};
const char *personality_name(enum personality p);
/* The one of that name, or PERSONALITIES. */
enum personality personality_named(const char *name);
/* The same of the first n characters. */
enum personality personality_of(const char *name, size_t n);
int personality_provider(enum personality p);	   /* whether a provider takes part */
const char *personality_leaks(enum personality p); /* "": nothing */

/* ---- sessions of all but smpc: owner_… and modeller_… of session.h call these, and need no provider ---- */
struct host;
struct channel;
struct frame;
struct owner_options;
struct inference;
struct pool_status;
struct plan;
struct program;
struct served;
struct modeller_options;

struct owner_kind {
	int (*open)(void **owner, const struct host *host, const struct owner_options *options,
		    struct channel *model_owner, uint16_t session, struct err *e);
	int (*frame)(void *owner, struct channel *from, const struct frame *f, struct err *e);
	int (*tick)(void *owner, struct err *e);
	void (*infer)(void *owner, struct inference *i);
	void (*lost)(void *owner, struct channel *c, const char *why);
	unsigned (*state)(const void *owner); /* enum owner_state */
	int (*leaving)(const void *owner);
	const struct plan *(*plan)(const void *owner);
	const struct program *(*program)(const void *owner); /* only what is predicted of one image */
	void (*pool)(const void *owner, struct pool_status *s);
	void (*free)(void *owner);
};
struct modeller_kind {
	int (*open)(void **modeller, const struct host *host, const struct modeller_options *options,
		    const struct served *served, struct channel *data_owner, uint16_t session, struct err *e);
	int (*frame)(void *modeller, struct channel *from, const struct frame *f, struct err *e);
	int (*tick)(void *modeller, struct err *e);
	void (*lost)(void *modeller, struct channel *c, const char *why);
	void (*leave)(void *modeller);
	void (*pool)(const void *modeller, struct pool_status *s);
	void (*free)(void *modeller);
};
/* NULL: there are none (smpc, whose own session.h describes; enclave, which is not reached through the model
 * owner's sessions). */
const struct owner_kind *owner_kind(enum personality p);
const struct modeller_kind *modeller_kind(enum personality p);

extern const struct owner_kind he_owner_kind, clear_owner_kind;
extern const struct modeller_kind he_modeller_kind, clear_modeller_kind;

#endif
