/* SPDX-License-Identifier: Apache-2.0 */
/* Tickets are made ahead, within bounds; sessions stand that memory runs out. */
#include <sys/resource.h>
#include "test/protocol/requests.h"

/* ---- memory ---- */
/* Bytes of private writable memory of this process, which RLIMIT_DATA limits. */
static rlim_t data_bytes(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	unsigned long long kib = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "VmData: %llu kB", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return (rlim_t)kib << 10;
}

static struct rlimit no_limit;
static void limit_memory(void)
{
	struct rlimit little;

	getrlimit(RLIMIT_DATA, &no_limit);
	little = (struct rlimit){data_bytes() + (24 << 20), no_limit.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_DATA, &little), 0);
}

/* A lane that finds no memory costs its own inference, at either party, and nothing else. `at`: the frame
 * before which memory runs out; 0: before the data owner begins. */
static void out_of_memory(int at, const char *expected)
{
	struct graph *g = nets_graph(2);
	struct served *served;
	struct inference i = {0}, again = {0};
	struct request r = {0}, s = {0};
	uint8_t *pixels = calloc(128, 256 * 256);
	struct err e = {0};
	struct world w;

	nets_node(g, NN_INPUT, (struct shape){1, 256, 256});
	nets_dense(g, 3);
	served = nets_serve(g, PLAN_LATENCY, REVEAL_LOGITS);
	world_defaults(&w);
	w.owner_options.max_batch = w.modeller_options.max_batch = 128;
	w.owner_options.pool_bytes = w.modeller_options.pool_bytes = 1 << 30;
	w.owner_options.pool_low = w.owner_options.pool_high = 130;
	assert_int_equal(world_start(&w, served, 1, &e), 0);
	world_settle(&w);
	if (!at)
		limit_memory();
	i = (struct inference){.batch = 128, .pixels = pixels, .done = told, .ctx = &r};
	owner_infer(w.owner[0], &i); /* BEGIN and the first message are under way */
	if (at)
		limit_memory();
	world_settle(&w);
	setrlimit(RLIMIT_DATA, &no_limit);
	assert_int_equal(r.told, 1);
	assert_null(i.result);
	if (!strstr(i.err.text, expected))
		fail_msg("\"%s\" is not in \"%s\"", expected, i.err.text);
	assert_int_equal(w.seen.count[FRAME_ABORT], at);
	if (!w.owner[0])
		fail_msg("%d: the session ended: %s", at, w.owner_err[0].text);
	again = (struct inference){.batch = 2, .pixels = pixels, .done = told, .ctx = &s};
	owner_infer(w.owner[0], &again);
	world_settle(&w);
	assert_int_equal(s.told, 1);
	assert_string_equal(again.err.text, "");
	free(again.result);
	free(pixels);
	world_end(&w);
	served_free(served);
	graph_free(g);
}

static void memory_runs_out(void **state)
{
	out_of_memory(0, "out of memory");
	out_of_memory(1, "model-owner 2.example refused: inference of 128 images: out of memory");
}

/* ---- the pool ---- */
static void pool_fills_and_refills(void **state)
{
	struct pool_status s;
	static struct request r;
	struct world w;

	world_defaults(&w);
	w.owner_options.pool_low = 4;
	w.owner_options.pool_high = 10;
	start(&w, SMALL, 1);
	world_settle(&w);
	owner_pool(w.owner[0], &s);
	assert_int_equal(s.depth, 10);
	assert_int_equal(s.high, 10);
	assert_int_equal(s.burnt, 0);
	for (int i = 0; i < 6; i++) { /* down to the low mark: no ticket is made */
		ask(&w, 0, &r, 1, 1);
		world_settle(&w);
		check(&r, SMALL);
		assert_true(r.i.seconds_offline == 0);
		release(&r);
	}
	owner_pool(w.owner[0], &s);
	assert_int_equal(s.depth, 4);
	assert_int_equal(s.made, 10);
	assert_int_equal(s.due, 0);
	ask(&w, 0, &r, 1, 1);
	world_settle(&w);
	release(&r);
	owner_pool(w.owner[0], &s);
	assert_int_equal(s.depth, 10);
	assert_int_equal(s.burnt, 7);
	assert_int_equal(s.made, 17);
	assert_true(s.burn_rate > 0.1 && s.burn_rate < 0.13); /* 7 in the last minute */
	world_sleep(&w, 61000);
	owner_pool(w.owner[0], &s);
	assert_true(s.burn_rate == 0);
	world_end(&w);
}

/* Sessions whose pools are full have nothing to do with the clock, those that wait for anything have. */
static void full_pools_rest(void **state)
{
	static struct request r;
	struct world w;

	world_defaults(&w);
	w.owner_options.pool_low = 4;
	w.owner_options.pool_high = 10;
	start(&w, SMALL, 2);
	assert_false(world_rests(&w));
	while (!w.sessions[0].m)
		world_step(&w);
	assert_false(modeller_rests(w.sessions[0].m)); /* it is to be paired */
	world_settle(&w);
	assert_true(world_rests(&w));
	ask(&w, 0, &r, 8, 1);
	assert_false(owner_rests(w.owner[0]));
	while (!w.seen.count[FRAME_BEGIN])
		world_step(&w);
	assert_true(!modeller_rests(w.sessions[0].m) || !modeller_rests(w.sessions[1].m));
	world_settle(&w);
	check(&r, SMALL);
	release(&r);
	assert_true(world_rests(&w)); /* and the pool is full again */
	world_sleep(&w, 600000);
	assert_int_equal(owner_state(w.owner[0]), OWNER_READY);
	assert_int_equal(owner_state(w.owner[1]), OWNER_READY);
	world_end(&w);
}

static void without_a_pool_tickets_are_made_on_demand(void **state)
{
	struct pool_status s;
	static struct request r;
	struct world w;

	world_defaults(&w);
	start(&w, SMALL, 1);
	world_sleep(&w, 1000);
	owner_pool(w.owner[0], &s);
	assert_int_equal(s.made, 0);
	ask(&w, 0, &r, 3, 1);
	world_settle(&w);
	check(&r, SMALL);
	release(&r);
	owner_pool(w.owner[0], &s);
	assert_int_equal(s.made, 3);
	assert_int_equal(s.depth, 0);
	world_end(&w);
}

/* Credits bound what the provider makes: never more than the model owner has memory for. */
static void credits_bound_memory(void **state)
{
	const struct program *p = nets[CONV]->program;
	struct provider_status status;
	struct pool_status s;
	static struct request r;
	struct world w;

	world_defaults(&w);
	w.owner_options.pool_low = 100;
	w.owner_options.pool_high = 1000;
	w.modeller_options.pool_bytes = lane_bytes(p, 2) + 12 * (p->corrections + p->delta + 256);
	start(&w, CONV, 1);
	world_sleep(&w, 5000);
	provider_status(w.provider, &status);
	owner_pool(w.owner[0], &s);
	assert_true(status.made > 0);
	assert_true(status.made * (p->corrections + p->delta + 256) <= w.modeller_options.pool_bytes);
	assert_int_equal(s.depth, status.made);
	ask(&w, 0, &r, 30, 9); /* more than there will ever be at once */
	world_settle(&w);
	check(&r, CONV);
	release(&r);
	world_end(&w);
}

static void a_full_channel_pauses_production(void **state)
{
	struct provider_status status;
	struct pool_status s;
	struct world w;

	world_defaults(&w);
	w.owner_options.pool_low = w.owner_options.pool_high = 500;
	w.provider_options.queue_bytes = 4 * nets[CONV]->program->corrections;
	w.provider_options.block = 2;
	start(&w, CONV, 1);
	/* The model owner's wire is stuck: frames to it stay in the pipe. */
	while (world_step(&w)) {
		provider_status(w.provider, &status);
		if (status.made)
			break;
	}
	for (int i = 0; i < 1000; i++)
		provider_tick(w.provider);
	provider_status(w.provider, &status);
	assert_true(status.made <= 6);
	owner_pool(w.owner[0], &s);
	assert_int_equal(s.depth, 0);
	assert_int_equal(s.due, 500);
	world_settle(&w);
	for (int i = 0; i < 300; i++)
		world_sleep(&w, 50);
	provider_status(w.provider, &status);
	assert_int_equal(status.made, 500);
	world_end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(memory_runs_out),
	    cmocka_unit_test(pool_fills_and_refills),
	    cmocka_unit_test(full_pools_rest),
	    cmocka_unit_test(without_a_pool_tickets_are_made_on_demand),
	    cmocka_unit_test(credits_bound_memory),
	    cmocka_unit_test(a_full_channel_pauses_production),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
