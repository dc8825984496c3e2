/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to the model owner, answers to the data owner, and widths of a plan, from strangers. The first
 * byte says which, the second the round trip; the rest is repeated to the length that is due, or (upper bit
 * of the first) taken as it is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/he.h"
#include "test/replay/nets.h"

static struct {
	struct graph *graph;
	struct served *net;
	struct he_pair *pair;
	struct he_known *known;
	struct he_replier *replier;
	struct he_lane *lane;
	uint8_t *request, *answer;
} s;

static void start(void)
{
	struct plan_options options = plan_defaults();
	struct err e = {0};
	uint8_t peer[32] = {1};

	if (served_new(&s.net, PERSONALITY_HE, s.graph = nets_conv_net(6, 2), &options, HE_S, &e) ||
	    !(s.pair = he_pair_get(HE_S, peer, &e)) ||
	    !(s.known = he_known_add(HE_S, peer, s.pair->digest, s.pair->public + FRAME_HEADER,
				     he_public_bytes(HE_S), &e)) ||
	    he_replier_new(&s.replier, s.net->he_model, &e) ||
	    he_lane_new(&s.lane, s.net->he_plan, s.pair->key, 1, &e))
		abort();
	s.request = malloc(he_longest(s.net->he_plan, 1));
	s.answer = malloc(he_longest(s.net->he_plan, 1));
}

static uint8_t *message(const uint8_t *data, size_t size, size_t due, int as_is, size_t *bytes)
{
	uint8_t *m = malloc((as_is ? size : due) + 1);

	*bytes = as_is ? size : due;
	for (size_t i = 0; i < *bytes; i++)
		m[i] = data[i % size];
	return m;
}

static void request(const uint8_t *data, size_t size, int as_is, uint16_t level)
{
	const struct he_plan *hp = s.net->he_plan;
	struct err e = {0};
	size_t bytes;
	uint8_t *m =
	    message(data, size, level < hp->levels ? he_request_bytes(hp, level, 1) : 0, as_is, &bytes);

	if (he_reply(s.replier, s.known->pk, level, 1, m, bytes, s.answer, &e) &&
	    (e.code != ERR_PEER || !e.text[0]))
		abort();
	free(m);
}

static void answer(const uint8_t *data, size_t size, int as_is)
{
	const struct he_plan *hp = s.net->he_plan;
	static const uint8_t pixels[36];
	struct err e = {0};
	uint16_t level;

	he_lane_begin(s.lane, pixels, 1);
	while (he_lane_ask(s.lane, &level, s.request, &e) == 1) {
		size_t bytes;
		uint8_t *m = message(data, size, he_answer_bytes(hp, level, 1), as_is, &bytes);
		int refused = he_lane_take(s.lane, m, bytes, &e);

		free(m);
		if (refused && (e.code != ERR_PEER || !e.text[0]))
			abort();
		if (refused)
			return;
	}
}

static void widths(const uint8_t *data, size_t size)
{
	struct he_width w[16];
	struct he_plan *hp;
	struct err e = {0};
	size_t n = size / HE_WIDTH_BYTES < 16 ? size / HE_WIDTH_BYTES : 16;

	for (size_t i = 0; i < n; i++)
		w[i] = he_width_unpack(data + HE_WIDTH_BYTES * i);
	if (he_plan_read(&hp, s.net->plan, size % 3, w, n, &e) == 0)
		he_plan_free(hp);
	else if (!e.text[0])
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!s.net)
		start();
	if (size < 3)
		return 0;
	switch (data[0] & 3) {
	case 0:
		widths(data + 1, size - 1);
		break;
	case 1:
		answer(data + 2, size - 2, data[0] >> 7);
		break;
	default:
		request(data + 2, size - 2, data[0] >> 7, data[1] & 3);
	}
	return 0;
}
