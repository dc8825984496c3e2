/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions of data owners, a model owner and a provider in one process: right results, right counts; what
 * each party sees. */
#include "crypto/ring.h"
#include "test/protocol/requests.h"

/* ---- right runs ---- */
static void one_image(enum net net, int deferred, uint64_t inline_work)
{
	struct request r;
	struct world w;

	world_defaults(&w);
	w.deferred = deferred;
	w.owner_options.inline_work = w.modeller_options.inline_work = inline_work;
	start(&w, net, 1);
	ask(&w, 0, &r, 1, 5);
	world_settle(&w);
	check(&r, net);
	check_counts(&r, net);
	assert_int_equal(r.i.round_trips, nets[net]->program->round_trips);
	assert_int_equal(owner_state(w.owner[0]), OWNER_READY);
	release(&r);
	world_end(&w);
}

static void every_net_is_right(void **state)
{
	for (int net = 0; net < NETS; net++) {
		one_image(net, 0, 0);
		one_image(net, 1, 0);
		one_image(net, 1, 1); /* every online step is a job */
		one_image(net, 2, 1);
	}
}

/* Wires and jobs of any relative speed. */
static void in_any_order(void **state)
{
	static struct request r[2][4];

	for (uint32_t seed = 1; seed <= 60; seed++) {
		enum net net = seed % NETS;
		struct world w;

		world_defaults(&w);
		w.deferred = 1;
		w.chaos = seed;
		w.owner_options.inline_work = w.modeller_options.inline_work = seed / NETS % 2;
		w.owner_options.pool_low = seed % 3;
		w.owner_options.pool_high = seed % 7;
		start(&w, net, 2);
		for (size_t i = 0; i < 4; i++)
			for (size_t d = 0; d < 2; d++)
				ask(&w, d, &r[d][i], 1 + (seed + i) % 5, seed);
		world_settle(&w);
		for (size_t i = 0; i < 8; i++) {
			check(&r[i / 4][i % 4], net);
			check_counts(&r[i / 4][i % 4], net);
			release(&r[i / 4][i % 4]);
		}
		world_end(&w);
	}
}

static void batches_and_lanes(void **state)
{
	static struct request r[12];

	for (int deferred = 0; deferred < 3; deferred++) {
		struct world w;

		world_defaults(&w);
		w.deferred = deferred;
		w.owner_options.pool_low = w.owner_options.pool_high = deferred * 4;
		w.owner_options.inline_work = w.modeller_options.inline_work = deferred;
		start(&w, CONV, 1);
		for (size_t i = 0; i < 12; i++)
			ask(&w, 0, &r[i], 1 + i % 8, (uint32_t)i);
		world_settle(&w);
		for (size_t i = 0; i < 12; i++) {
			check(&r[i], CONV);
			check_counts(&r[i], CONV);
			assert_int_equal(r[i].i.round_trips, nets[CONV]->program->round_trips);
			release(&r[i]);
		}
		world_end(&w);
	}
}

/* A batch above every limit is run in parts; its counters still add up. */
static void large_batches_are_split(void **state)
{
	static struct request r;
	struct world w;

	world_defaults(&w);
	w.modeller_options.max_batch = 5;
	start(&w, SMALL, 1);
	ask(&w, 0, &r, 23, 3);
	world_settle(&w);
	check(&r, SMALL);
	check_counts(&r, SMALL);
	/* each part has as many; they run side by side */
	assert_int_equal(r.i.round_trips, nets[SMALL]->program->round_trips);
	release(&r);
	world_end(&w);
}

/* Who gets a result may ask again at once. */
static struct world *asking;
static void ask_again(struct inference *i)
{
	struct request *r = i->ctx;

	r->told++;
	free(i->result);
	if (r->told < 20)
		owner_infer(asking->owner[0], i);
}

static void a_receiver_asks_again(void **state)
{
	static struct request r[3];
	struct world w;

	world_defaults(&w);
	w.owner_options.pool_low = 1;
	w.owner_options.pool_high = 5;
	start(&w, SMALL, 1);
	asking = &w;
	for (size_t n = 0; n < 3; n++) {
		memset(&r[n], 0, sizeof(r[n]));
		r[n].i = (struct inference){
		    .batch = 1 + n, .pixels = r[n].pixels, .done = ask_again, .ctx = &r[n]};
		owner_infer(w.owner[0], &r[n].i);
	}
	world_settle(&w);
	for (size_t n = 0; n < 3; n++) {
		assert_int_equal(r[n].told, 20);
		assert_string_equal(r[n].i.err.text, "");
	}
	/* And who is told of the end may ask once more: it is told at once. */
	for (size_t n = 0; n < 3; n++) {
		r[n].told = 18;
		owner_infer(w.owner[0], &r[n].i);
	}
	wire_lost(&w, &w.dm[0]);
	for (size_t n = 0; n < 3; n++) {
		assert_int_equal(r[n].told, 20);
		assert_non_null(strstr(r[n].i.err.text, "went away"));
	}
	world_end(&w);
}

static void several_data_owners(void **state)
{
	static struct request r[WORLD_OWNERS][3];
	struct provider_status status;
	struct world w;

	world_defaults(&w);
	w.deferred = 2;
	start(&w, BANDWIDTH, WORLD_OWNERS);
	for (size_t i = 0; i < 3; i++)
		for (size_t d = 0; d < WORLD_OWNERS; d++)
			ask(&w, d, &r[d][i], 1 + i, (uint32_t)(10 * d + i));
	world_settle(&w);
	for (size_t d = 0; d < WORLD_OWNERS; d++)
		for (size_t i = 0; i < 3; i++) {
			check(&r[d][i], BANDWIDTH);
			release(&r[d][i]);
		}
	provider_status(w.provider, &status);
	assert_int_equal(status.sessions, WORLD_OWNERS);
	assert_int_equal(status.waiting, 0);
	assert_int_equal(status.made, WORLD_OWNERS * (1 + 2 + 3));
	assert_int_equal(status.bytes, status.made * nets[BANDWIDTH]->program->corrections);
	world_end(&w);
}

/* F and corrections of more than one frame. */
static struct graph *wide_net(void)
{
	struct graph *g = nets_graph(7);

	nets_node(g, NN_INPUT, (struct shape){1, 36, 36});
	nets_conv(g, 6);
	nets_node(g, NN_RELU, g->nodes[1].shape);
	nets_pool(g);
	nets_dense(g, 160);
	nets_node(g, NN_RELU, (struct shape){160, 1, 1});
	nets_dense(g, 3);
	for (size_t i = 0; i < 160 * 6 * 18 * 18; i++) /* 1944 inputs: keep the sums small */
		g->nodes[4].weights[i] /= 32;
	return g;
}

static void long_messages_travel_in_pieces(void **state)
{
	struct graph *g = wide_net();
	struct served *served = nets_serve(g, PLAN_LATENCY, REVEAL_LOGITS);
	struct inference i = {0};
	struct float_run *reference;
	struct request r;
	uint8_t *pixels = malloc(8 * 36 * 36);
	float scores[3], logits[3];
	struct err e = {0};
	struct world w;

	for (size_t n = 0; n < 8 * 36 * 36; n++)
		pixels[n] = (uint8_t)(n * 2654435761u >> 20);
	assert_true(served->program->setup > FRAME_BODY_MAX);
	assert_true(served->program->corrections > FRAME_BODY_MAX);
	world_defaults(&w);
	assert_int_equal(world_start(&w, served, 1, &e), 0);
	i = (struct inference){.batch = 8, .pixels = pixels, .done = told, .ctx = &r};
	r.told = 0;
	owner_infer(w.owner[0], &i);
	world_settle(&w);
	assert_int_equal(r.told, 1);
	assert_string_equal(i.err.text, "");
	assert_int_equal(i.round_trips, served->program->round_trips);
	assert_int_equal(i.offline.provider, 8 * served->program->corrections);
	assert_int_equal(float_new(&reference, g, &e), 0);
	for (size_t b = 0; b < 8; b++) {
		plan_scores(served->plan, i.result + 3 * b, scores);
		float_infer(reference, pixels + b * 36 * 36, logits);
		for (int c = 0; c < 3; c++)
			assert_true(fabsf(scores[c] - logits[c]) < 0.02f);
	}
	float_free(reference);
	free(i.result);
	free(pixels);
	world_end(&w);
	served_free(served);
	graph_free(g);
}

/* One layer only: no δ, no ticket's half from the data owner; and a first message of more than one frame. */
static void a_single_layer_and_a_long_message(void **state)
{
	struct graph *g = nets_graph(2);
	struct served *served;
	struct inference i = {0};
	struct request r;
	uint8_t *pixels = calloc(8, 256 * 256);
	int64_t expected[3];
	struct fixed *fixed;
	struct err e = {0};
	struct world w;

	nets_node(g, NN_INPUT, (struct shape){1, 256, 256});
	nets_dense(g, 3);
	for (size_t n = 0; n < 8 * 256 * 256; n++)
		pixels[n] = (uint8_t)(n * 2654435761u >> 20);
	served = nets_serve(g, PLAN_LATENCY, REVEAL_LOGITS);
	assert_int_equal(served->program->delta, 0);
	assert_true(8 * served->program->messages[0].bytes > FRAME_BODY_MAX);
	world_defaults(&w);
	assert_int_equal(world_start(&w, served, 1, &e), 0);
	i = (struct inference){.batch = 8, .pixels = pixels, .done = told, .ctx = &r};
	r.told = 0;
	owner_infer(w.owner[0], &i);
	world_settle(&w);
	assert_int_equal(r.told, 1);
	assert_string_equal(i.err.text, "");
	assert_int_equal(w.seen.count[FRAME_DELTA], 0);
	assert_int_equal(w.seen.count[FRAME_STEP], 3);
	assert_int_equal(i.online.sent, 8 * served->program->online[P0]);
	/* Nothing is rounded: equal to the last bit. */
	assert_int_equal(fixed_new(&fixed, served->plan, served->weights, &e), 0);
	for (size_t b = 0; b < 8; b++) {
		fixed_infer(fixed, pixels + b * 256 * 256, NULL, NULL, expected);
		assert_memory_equal(i.result + 3 * b, expected, sizeof(expected));
	}
	fixed_free(fixed);
	free(i.result);
	free(pixels);
	world_end(&w);
	served_free(served);
	graph_free(g);
}

/* ---- what parties learn ---- */
/* The top bits of the words that really left in a first message. */
static uint8_t seen_view[72];
static enum fate see(struct world *w, struct wire *wire, int side, struct packet **p)
{
	unsigned k = nets[CONV]->plan->tape.values[0].k;
	uint64_t words[36];

	if ((*p)->data[4] != FRAME_STEP || wire->end[side].channel.self != ROLE_D || (*p)->data[8] != 0 ||
	    (*p)->data[12] != 0)
		return DELIVER;
	for (size_t image = 0; image < 2; image++) {
		ring_unpack(words, (*p)->data + FRAME_HEADER + image * ring_packed(36, k), 36, k);
		for (size_t i = 0; i < 36; i++)
			seen_view[36 * image + i] = (uint8_t)(words[i] >> (k - 8));
	}
	return DELIVER;
}

static void views_are_masked(void **state)
{
	static struct request a, b;
	struct world w;

	world_defaults(&w);
	w.tamper = see;
	start(&w, CONV, 1);
	memset(&a, 0, sizeof(a));
	memset(&b, 0, sizeof(b));
	for (struct request *r = &a;; r = &b) {
		r->i =
		    (struct inference){.batch = 2, .pixels = r->pixels, .done = told, .ctx = r, .views = 1};
		owner_infer(w.owner[0], &r->i);
		if (r == &b)
			break;
	}
	world_settle(&w);
	assert_non_null(a.i.masked);
	assert_non_null(b.i.masked);
	assert_memory_equal(a.i.masked, seen_view, 72);
	check(&a, CONV);
	/* The same black image four times: four different noises. */
	assert_memory_not_equal(a.i.masked, a.i.masked + 36, 36);
	assert_memory_not_equal(a.i.masked, b.i.masked, 72);
	release(&a);
	release(&b);
	world_end(&w);
}

/* The provider gets plan, seed and names, and no byte that depends on W: its frames carry neither F nor a
 * digest of it. */
static unsigned to_provider[64];
static enum fate watch(struct world *w, struct wire *wire, int side, struct packet **p)
{
	if (wire->end[!side].channel.self == ROLE_C)
		to_provider[(*p)->data[4] & 63]++;
	if (wire->end[!side].channel.self == ROLE_C && (*p)->data[4] == FRAME_PAIR) {
		Wire__Pair *pair =
		    wire__pair__unpack(NULL, (*p)->bytes - FRAME_HEADER, (*p)->data + FRAME_HEADER);

		assert_non_null(pair);
		assert_int_equal(pair->base.n_unknown_fields, 0);
		assert_memory_equal(pair->epoch.data, w->served->epoch, 16);
		if (wire->end[side].channel.self == ROLE_D) {
			assert_null(pair->plan);
			assert_int_equal(pair->weight_seed.len, 0);
		}
		wire__pair__free_unpacked(pair, NULL);
	}
	return DELIVER;
}

static void the_provider_sees_little(void **state)
{
	static struct request r;
	struct world w;

	memset(to_provider, 0, sizeof(to_provider));
	world_defaults(&w);
	w.tamper = watch;
	start(&w, CONV, 1);
	ask(&w, 0, &r, 4, 1);
	world_settle(&w);
	check(&r, CONV);
	release(&r);
	for (unsigned type = 0; type < 64; type++)
		assert_true(!to_provider[type] || type == FRAME_PAIR || type == FRAME_CREDIT);
	assert_int_equal(to_provider[FRAME_PAIR], 2);
	world_end(&w);
}

/* Two servings of one model: other epochs, other masks, another F. */
static void every_serving_is_a_new_epoch(void **state)
{
	struct served *again = nets_serve(graphs[SMALL], PLAN_LATENCY, REVEAL_LOGITS);

	assert_memory_not_equal(again->epoch, nets[SMALL]->epoch, 16);
	assert_memory_not_equal(again->weight_seed, nets[SMALL]->weight_seed, 32);
	assert_memory_not_equal(again->masked, nets[SMALL]->masked, nets[SMALL]->program->setup);
	assert_int_equal(again->plan_bytes, nets[SMALL]->plan_bytes);
	assert_memory_equal(again->plan_packed, nets[SMALL]->plan_packed, again->plan_bytes);
	served_free(again);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_net_is_right),
	    cmocka_unit_test(in_any_order),
	    cmocka_unit_test(batches_and_lanes),
	    cmocka_unit_test(large_batches_are_split),
	    cmocka_unit_test(a_receiver_asks_again),
	    cmocka_unit_test(several_data_owners),
	    cmocka_unit_test(long_messages_travel_in_pieces),
	    cmocka_unit_test(a_single_layer_and_a_long_message),
	    cmocka_unit_test(views_are_masked),
	    cmocka_unit_test(the_provider_sees_little),
	    cmocka_unit_test(every_serving_is_a_new_epoch),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
