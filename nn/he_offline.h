/* SPDX-License-Identifier: Apache-2.0 */
/* nn/he_offline.h — encryption before the image exists (Delphi's idea): he.offline.
 *
 * A ticket: for each term the data owner draws a mask a and sends it encrypted; the model owner draws s for
 * each step and answers W·a - s. One round trip for all steps. Online the data owner sends e = x - a, n words
 * of k bits in clear, the model owner W·e + bias + s, and their sum is W·x + bias. a and s are uniform mod
 * 2^k, and serve once. */
#ifndef OBSCURA_NN_HE_OFFLINE_H
#define OBSCURA_NN_HE_OFFLINE_H

#include "nn/he_run.h"

/* Words of a ticket at either end: all a, then all W·a - s; all s. */
size_t he_ticket_words(const struct he_plan *hp);
size_t he_ticket_secrets(const struct he_plan *hp);
/* Bytes of making one. */
size_t he_ticket_request(const struct he_plan *hp);
size_t he_ticket_answer(const struct he_plan *hp);
/* Bytes of round trip `level`, online, of one image. */
size_t he_masked_up(const struct he_plan *hp, uint16_t level);
size_t he_masked_down(const struct he_plan *hp, uint16_t level);

/* Data owner: draws a and writes the request; takes the answer. ticket: he_ticket_words. lane: one that no
 * inference uses at the same time. / */
int he_ticket_ask(struct he_lane *lane, uint64_t *ticket, uint8_t *out, struct err *e) MUST_USE;
int he_ticket_take(struct he_lane *lane, uint64_t *ticket, const uint8_t *in, size_t bytes,
		   struct err *e) MUST_USE;
/* Model owner: draws s (he_ticket_secrets words) and writes the answer. */
int he_ticket_reply(struct he_replier *r, const struct he_public *pk, const uint8_t *in, size_t bytes,
		    uint64_t *s, uint8_t *out, struct err *e) MUST_USE;

/* Online, as he_lane_ask, he_reply and he_lane_take: tickets[i] is image i's. */
int he_masked_ask(struct he_lane *lane, uint64_t *const *tickets, uint16_t *level, uint8_t *out,
		  struct err *e) MUST_USE;
int he_masked_reply(struct he_replier *r, uint64_t *const *secrets, uint16_t level, size_t batch,
		    const uint8_t *in, size_t bytes, uint8_t *out, struct err *e) MUST_USE;
int he_masked_take(struct he_lane *lane, uint64_t *const *tickets, const uint8_t *in, size_t bytes,
		   struct err *e) MUST_USE;

#endif
