/* SPDX-License-Identifier: Apache-2.0 */
/* Frames from strangers, at any moment of a session, to the data owner, the model owner and the provider.
 * Input: one byte: how far the session has come; then frames: one byte for wire and direction, two for the
 * body's length, the 16 bytes of the header (its length field is put right unless the wire's byte has bit 7),
 * the body. */
#include "test/replay/world.h"
#include "test/replay/nets.h"

static struct graph *graph;
static struct served *net;

static void told(struct inference *i)
{
	free(i->result);
	i->result = NULL;
	++*(int *)i->ctx;
}

static void headers(const uint8_t *data, size_t size)
{
	struct frame f;

	if (size < FRAME_HEADER)
		return;
	for (unsigned from = 1; from < ROLE_A; from *= 2)
		for (unsigned to = 1; to < ROLE_A; to *= 2) {
			struct err e = {0};
			uint8_t back[FRAME_HEADER];

			if (frame_unpack(&f, data, from, to, &e) < 0)
				continue;
			frame_pack(back, &f);
			if (memcmp(back, data, FRAME_HEADER) != 0)
				abort();
		}
}

static size_t inject(struct world *w, const uint8_t *data, size_t size)
{
	size_t body = data[1] | (size_t)data[2] << 8;
	struct packet *p;

	body = body < size - 3 - FRAME_HEADER ? body : size - 3 - FRAME_HEADER;
	p = calloc(1, sizeof(*p) + FRAME_HEADER + body);
	if (!p)
		abort();
	p->bytes = FRAME_HEADER + body;
	memcpy(p->data, data + 3, FRAME_HEADER + body);
	if (!(data[0] & 0x80))
		for (int i = 0; i < 4; i++)
			p->data[i] = (uint8_t)(body >> (8 * i));
	pipe_put(world_wire(w, (data[0] & 7) / 2 % 3), data[0] & 1, p);
	world_settle(w);
	return 3 + FRAME_HEADER + body;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t pixels[2 * 16];
	struct inference i[2] = {{0}, {0}};
	int n_told = 0;
	struct err e = {0};
	struct world w;

	if (!net)
		net = nets_serve(graph = nets_conv_net(4, 2), PLAN_BANDWIDTH, REVEAL_LOGITS);
	if (!net || !size)
		return 0;
	headers(data + 1, size - 1);
	world_defaults(&w);
	w.owner_options.pool_low = w.owner_options.pool_high = 2;
	if (world_start(&w, net, 1, &e) < 0)
		abort();
	for (int n = 0; n < 2; n++) {
		i[n] = (struct inference){
		    .batch = 1 + (size_t)n, .pixels = pixels, .done = told, .ctx = &n_told};
		owner_infer(w.owner[0], &i[n]);
	}
	for (uint8_t n = data[0]; n && world_step(&w); n--)
		;
	for (size_t at = 1; at + 3 + FRAME_HEADER <= size;)
		at += inject(&w, data + at, size - at);
	world_settle(&w);
	world_sleep(&w, 6000);
	world_end(&w);
	if (n_told != 2)
		abort(); /* somebody still waits */
	return 0;
}
