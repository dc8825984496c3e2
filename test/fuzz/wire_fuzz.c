/* SPDX-License-Identifier: Apache-2.0 */
/* Control messages from strangers. Input: one byte chooses the message and its reader, the rest is its
 * body. */
#include "test/replay/world.h"
#include "test/replay/nets.h"

static void plan(const uint8_t *data, size_t size)
{
	struct program *program;
	struct plan *p, *again;
	struct err e = {0};
	uint8_t *packed;
	size_t bytes;

	if (plan_unpack(&p, data, size, &e) < 0)
		return;
	packed = plan_pack(p, &bytes);
	if (!packed || plan_unpack(&again, packed, bytes, &e) < 0)
		abort(); /* what was taken once is taken again */
	plan_free(again);
	free(packed);
	if (program_new(&program, &p->tape, &e) == 0)
		program_free(program);
	plan_free(p);
}

static void message(uint8_t type, unsigned wire, int side, const uint8_t *data, size_t size)
{
	struct frame f = {.type = type, .session = 7, .length = (uint32_t)size};
	static struct graph *graph;
	static struct served *net;
	struct err e = {0};
	struct world w;

	if (!net)
		net = nets_serve(graph = nets_small(2), PLAN_LATENCY, REVEAL_LOGITS);
	world_defaults(&w);
	if (!net || world_start(&w, net, 1, &e) < 0)
		abort();
	/* The data owner waits for OPENED, the model owner for OPEN, the provider for PAIR. */
	wire_empty(&w.dm[0]);
	pipe_put(world_wire(&w, wire), side, packet_new(&f, data));
	world_settle(&w);
	world_end(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct {
		uint8_t type, wire, side;
	} readers[] = {{FRAME_OPEN, 1, 0},   {FRAME_OPENED, 1, 1}, {FRAME_PAIR, 0, 0},	{FRAME_PAIR, 2, 0},
		       {FRAME_PAIRED, 2, 1}, {FRAME_ERROR, 1, 1},  {FRAME_ERROR, 2, 0}, {FRAME_ABORT, 1, 1}};
	size_t which;

	if (!size || size > 65536)
		return 0;
	which = data[0] % (1 + sizeof(readers) / sizeof(readers[0]));
	if (which == 0)
		plan(data + 1, size - 1);
	else
		message(readers[which - 1].type, readers[which - 1].wire, readers[which - 1].side, data + 1,
			size - 1);
	return 0;
}
