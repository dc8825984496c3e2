/* SPDX-License-Identifier: Apache-2.0 */
/* protocol/he.h — sessions of the he personality (protocol/duo.h), sans-I/O:
 *   D → M  OPEN (personality he)     M → D  OPENED (plan, set, widths)
 *   D → M  HE_KEY (digest)           M → D  HE_READY (1: I have that key; 0: send it)
 *   D → M  HE_KEY (the key)          M → D  HE_READY (1)                    only after 0
 *   D → M  BEGIN (epoch, count)      one inference of a batch
 *   D → M  STEP 2i, M → D STEP 2i+1  request and answer of round trip i (nn/he_run.h)
 * With tickets (he_offline) encryption happens before:
 *   D → M  HE_TICKET (masks), M → D HE_TICKET (answer)      nn/he_offline.h; numbers rise from 0
 *   BEGIN names the first of its tickets; STEP carries words in clear.
 * Inferences of a session run one after another; a batch shares its round trips. With nonlinear = client the
 * data owner sees every pre-activation, and so can solve for the weights. */
#ifndef OBSCURA_PROTOCOL_HE_H
#define OBSCURA_PROTOCOL_HE_H

#include "nn/he_offline.h"
#include "protocol/core.h"

#define HE_DIGEST 32 /* SHA-256 of a public key as sent */

/* ---- keys, kept in this process for later sessions (he_keys.c); used on the loop thread, what they point to
 * by jobs too ---- */
/* The data owner's own key for one set and one model owner. */
struct he_pair {
	struct he_pair *next;
	unsigned refs;
	enum he_set set;
	uint8_t peer[32]; /* the model owner's certificate */
	uint8_t digest[HE_DIGEST];
	struct he_key *key;
	uint8_t *public; /* owns: FRAME_HEADER bytes, then he_public_bytes */
};
/* Makes one when there is none. NULL with e. Held: he_pair_drop. */
struct he_pair *he_pair_get(enum he_set set, const uint8_t peer[32], struct err *e);
void he_pair_drop(struct he_pair *pair);

/* A data owner's public key at the model owner. */
struct he_known {
	struct he_known *next;
	unsigned refs;
	enum he_set set;
	uint8_t digest[HE_DIGEST], peer[32];
	struct he_public *pk;
};
/* NULL when this peer has not sent it. Held: he_known_drop. */
struct he_known *he_known_find(enum he_set set, const uint8_t peer[32], const uint8_t digest[HE_DIGEST]);
/* bytes is hostile: it must have the digest. */
struct he_known *he_known_add(enum he_set set, const uint8_t peer[32], const uint8_t digest[HE_DIGEST],
			      const uint8_t *bytes, size_t n, struct err *e);
void he_known_drop(struct he_known *known);

/* The longest message of either direction, for a batch. */
static inline size_t he_longest(const struct he_plan *hp, size_t batch)
{
	size_t most = 0;

	for (uint16_t i = 0; i < hp->levels; i++) {
		size_t up = he_request_bytes(hp, i, batch), down = he_answer_bytes(hp, i, batch);

		most = up > most ? up : most;
		most = down > most ? down : most;
		up = he_masked_up(hp, i) * batch;
		down = he_masked_down(hp, i) * batch;
		most = up > most ? up : most;
		most = down > most ? down : most;
	}
	return most;
}

#endif
