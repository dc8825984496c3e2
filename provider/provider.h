/* SPDX-License-Identifier: Apache-2.0 */
/* provider/provider.h — the crypto provider, sans-I/O: pairs sessions, makes tickets, honours credits. */
#ifndef OBSCURA_PROVIDER_PROVIDER_H
#define OBSCURA_PROVIDER_PROVIDER_H

#include "protocol/session.h"

struct provider;
struct provider_options {
	uint32_t connect_ms;	   /* how long one party waits for the other */
	uint32_t sessions;	   /* at most, of all; each peer at most a quarter of them, at least 8 */
	uint64_t queue_bytes;	   /* corrections buffered for one peer before production pauses */
	uint32_t block;		   /* tickets made at once, at most */
	uint64_t mask_bytes;	   /* memory for cached weight masks B (by model owner and epoch) */
	const struct rules *rules; /* borrows; NULL: everything is allowed */
};
int provider_new(struct provider **p, const struct host *host, const struct provider_options *options,
		 struct err *e) MUST_USE;
/* A frame with a session from an authenticated channel. -1 with e: that session failed (peers were told); the
 * provider goes on. */
int provider_frame(struct provider *p, struct channel *from, const struct frame *f, struct err *e) MUST_USE;
/* A channel has gone: its sessions end, the other parties are told. */
void provider_lost(struct provider *p, struct channel *c);
/* Deadlines, production; call when it is due, every 50 ms is soon enough, and when a channel has drained. */
void provider_tick(struct provider *p);
/* When provider_tick has something to do, if nothing happens before, by the host's clock; 0: now; UINT64_MAX:
 * never. */
uint64_t provider_due(const struct provider *p);
/* Options of sessions from now on. */
void provider_configure(struct provider *p, const struct provider_options *options);
struct provider_status {
	uint64_t sessions, waiting, made, bytes;
};
void provider_status(const struct provider *p, struct provider_status *s);
void provider_free(struct provider *p);

#endif
