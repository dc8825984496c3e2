/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that can go wrong between three parties, at every frame of a run: never a crash, never a hang, every request told once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <cmocka.h>
#include "test/replay/world.h"
#include "test/replay/nets.h"

#define REQUESTS 4
static struct graph *graph;
static struct served *net;

static int setup(void **state)
{
	graph = nets_conv_net(4, 2);
	net = nets_serve(graph, PLAN_BANDWIDTH, REVEAL_LOGITS);
	return net ? 0 : -1;
}

static int teardown(void **state)
{
	served_free(net);
	graph_free(graph);
	return 0;
}

struct request {
	struct inference i;
	uint8_t pixels[4 * 16];
	int told;
	uint64_t told_at;
	struct world *w;
};

static void told(struct inference *i)
{
	struct request *r = i->ctx;

	r->told++;
	r->told_at = r->w->now;
}

static void ask(struct world *w, size_t d, struct request *r, size_t batch)
{
	memset(r, 0, sizeof(*r));
	for (size_t n = 0; n < sizeof(r->pixels); n++)
		r->pixels[n] = (uint8_t)(37 * n + 11 * batch + d);
	r->i = (struct inference){.batch = batch, .pixels = r->pixels, .done = told, .ctx = r};
	r->w = w;
	if (w->owner[d]) {
		owner_infer(w->owner[d], &r->i);
		return;
	}
	err_set(&r->i.err, ERR_PEER, "no session");
	r->told = 1;
}

static int right(const struct request *r)
{
	struct float_run *reference;
	struct err e = {0};
	float scores[3], logits[3];
	int same = 1;

	assert_int_equal(float_new(&reference, graph, &e), 0);
	for (size_t b = 0; b < r->i.batch; b++) {
		plan_scores(net->plan, r->i.result + 3 * b, scores);
		float_infer(reference, r->pixels + 16 * b, logits);
		for (int c = 0; c < 3; c++)
			same &= fabsf(scores[c] - logits[c]) < 0.01f;
	}
	float_free(reference);
	return same;
}

/* Two data owners; the first has three requests, so that lanes overlap, and a small pool. */
static void begin(struct world *w, struct request r[REQUESTS])
{
	struct err e = {0};

	w->owner_options.pool_low = 1;
	w->owner_options.pool_high = 3;
	if (world_start(w, net, 2, &e) < 0)
		fail_msg("%s", e.text);
	ask(w, 0, &r[0], 2);
	ask(w, 0, &r[1], 1);
	ask(w, 0, &r[2], 4);
	ask(w, 1, &r[3], 1);
}

static unsigned frames_of_a_clean_run(int deferred)
{
	struct request r[REQUESTS];
	struct world w;
	unsigned frames;

	world_defaults(&w);
	w.deferred = deferred;
	begin(&w, r);
	world_settle(&w);
	for (int i = 0; i < REQUESTS; i++) {
		assert_int_equal(r[i].told, 1);
		assert_int_equal(r[i].i.err.code, ERR_NONE);
		assert_true(right(&r[i]));
		free(r[i].i.result);
	}
	frames = w.frames;
	world_end(&w);
	return frames;
}

/* Everybody is told once; who got a result got the right one, unless masked words themselves were changed. */
static void finish(struct world *w, struct request r[REQUESTS], int may_be_wrong)
{
	struct request again;

	world_settle(w);
	world_sleep(w, WORLD_FOREVER_MS);
	for (int i = 0; i < REQUESTS; i++) {
		assert_int_equal(r[i].told, 1);
		assert_true(!r[i].i.err.code == !!r[i].i.result);
		if (r[i].i.err.code)
			assert_true(strlen(r[i].i.err.text) > 10);
		else
			assert_true(may_be_wrong || right(&r[i]));
		free(r[i].i.result);
	}
	/* What still lives still works. */
	for (size_t d = 0; d < 2; d++) {
		w->tamper = NULL;
		ask(w, d, &again, 1);
		world_settle(w);
		world_sleep(w, WORLD_FOREVER_MS);
		assert_int_equal(again.told, 1);
		free(again.i.result);
	}
	world_end(w);
}

/* ---- a wire or a party dies --------------------------------------------------------------------------------------- */
static enum fate kill_wire_at(struct world *w, struct wire *wire, int side, struct packet **p)
{
	return w->frames == w->target ? KILL_WIRE : DELIVER;
}

static void any_wire_dies_at_any_frame(void **state)
{
	for (int deferred = 0; deferred < 2; deferred++) {
		unsigned frames = frames_of_a_clean_run(deferred);

		for (unsigned n = 0; n < frames; n++) {
			struct request r[REQUESTS];
			struct world w;

			world_defaults(&w);
			w.deferred = deferred;
			w.owner_options.inline_work = w.modeller_options.inline_work = deferred;
			w.tamper = kill_wire_at;
			w.target = n;
			begin(&w, r);
			finish(&w, r, 0);
		}
	}
}

static enum frame_role victim;
static void kill_party(struct world *w)
{
	if (victim == ROLE_C || victim == ROLE_M)
		wire_lost(w, &w->mc);
	for (size_t d = 0; d < (victim == ROLE_D ? 1 : 2); d++) {
		if (victim != ROLE_C)
			wire_lost(w, &w->dm[d]);
		if (victim != ROLE_M)
			wire_lost(w, &w->dc[d]);
	}
	if (victim == ROLE_C) {
		provider_free(w->provider);
		w->provider = NULL;
	}
}

static void restart(struct world *w)
{
	struct err e = {0};

	if (!w->provider)
		assert_int_equal(provider_new(&w->provider, &w->host, &w->provider_options, &e), 0);
	if (!w->mc.alive)
		wire_up(&w->mc, ROLE_M, 2, ROLE_C, 1);
	for (size_t d = 0; d < 2; d++) {
		if (!w->dm[d].alive)
			wire_up(&w->dm[d], ROLE_D, 10 + (int)d, ROLE_M, 2);
		if (!w->dc[d].alive)
			wire_up(&w->dc[d], ROLE_D, 10 + (int)d, ROLE_C, 1);
		if (!w->owner[d])
			assert_int_equal(owner_new(&w->owner[d], &w->host, &w->owner_options, &w->dm[d].end[0].channel,
						   &w->dc[d].end[0].channel, 7, &e),
					 0);
	}
}

/* Killed at every frame; the errors name the dead, the bystander is served, and after a restart all is well. */
static void dies_and_restarts(enum frame_role role, const char *name)
{
	unsigned frames = frames_of_a_clean_run(0);

	victim = role;
	for (unsigned n = 1; n < frames; n++) {
		struct request r[REQUESTS], after;
		struct world w;

		world_defaults(&w);
		begin(&w, r);
		while (w.frames < n)
			world_step(&w);
		kill_party(&w);
		world_settle(&w);
		for (int i = 0; i < REQUESTS; i++) {
			if (role == ROLE_D && i == 3) /* not a victim */
				continue;
			assert_int_equal(r[i].told, 1); /* at once, without a deadline */
			if (r[i].i.err.code && role != ROLE_D) {
				assert_non_null(strstr(r[i].i.err.text, name));
				assert_non_null(strstr(r[i].i.err.text, "went away"));
				assert_true(r[i].i.err.peer[0]);
			}
		}
		restart(&w);
		for (size_t d = 0; d < 2; d++) {
			ask(&w, d, &after, 3);
			world_settle(&w);
			assert_int_equal(after.told, 1);
			assert_int_equal(after.i.err.code, ERR_NONE);
			assert_true(right(&after));
			free(after.i.result);
		}
		finish(&w, r, 0);
	}
}

static void the_provider_dies(void **state)
{
	dies_and_restarts(ROLE_C, "provider 1.example");
}

static void the_model_owner_dies(void **state)
{
	dies_and_restarts(ROLE_M, "model-owner 2.example");
}

static void a_data_owner_dies(void **state)
{
	dies_and_restarts(ROLE_D, "");
}

static void the_error_names_peer_and_step(void **state)
{
	struct request r[REQUESTS];
	char expected[64];
	struct world w;

	world_defaults(&w);
	begin(&w, r);
	while (!w.seen.count[FRAME_BEGIN])
		world_step(&w);
	victim = ROLE_M;
	kill_party(&w);
	snprintf(expected, sizeof(expected), "went away while waiting for message 2 of %u", net->program->n_messages);
	assert_non_null(strstr(r[0].i.err.text, "model-owner 2.example went away"));
	assert_non_null(strstr(r[0].i.err.text, expected));
	finish(&w, r, 0);
}

/* ---- silence ------------------------------------------------------------------------------------------------------ */
static enum fate silence(struct world *w, struct wire *wire, int side, struct packet **p)
{
	return w->frames >= w->target && wire->end[side].channel.self == victim ? DROP : DELIVER;
}

/* A party that lives but says nothing more: every wait ends by its deadline. */
static void every_wait_has_a_deadline(void **state)
{
	static const enum frame_role roles[] = {ROLE_D, ROLE_M, ROLE_C};
	unsigned frames = frames_of_a_clean_run(0);

	for (size_t role = 0; role < 3; role++)
		for (unsigned n = 0; n < frames; n += 2) {
			struct request r[REQUESTS];
			struct world w;

			victim = roles[role];
			world_defaults(&w);
			w.tamper = silence;
			w.target = n;
			begin(&w, r);
			world_settle(&w);
			world_sleep(&w, 2 * w.owner_options.connect_ms + w.owner_options.step_ms + 200);
			for (int i = 0; i < REQUESTS; i++)
				assert_int_equal(r[i].told, 1);
			finish(&w, r, 0);
		}
}

static enum fate no_pair(struct world *w, struct wire *wire, int side, struct packet **p)
{
	return (*p)->data[4] == FRAME_PAIR && wire->end[side].channel.self == ROLE_D ? DROP : DELIVER;
}

static void a_lone_party_is_sent_home(void **state)
{
	struct provider_status s;
	struct request r[REQUESTS];
	struct world w;

	world_defaults(&w);
	w.tamper = no_pair;
	w.owner_options.connect_ms = w.modeller_options.connect_ms = 100000;
	begin(&w, r);
	world_settle(&w);
	provider_status(w.provider, &s);
	assert_int_equal(s.waiting, 2); /* the model owner's ends */
	world_sleep(&w, w.provider_options.connect_ms - 100);
	assert_int_equal(r[0].told, 0);
	world_sleep(&w, 200);
	provider_status(w.provider, &s);
	assert_int_equal(s.waiting, 0);
	assert_non_null(strstr(r[0].i.err.text, "did not come to the provider within 2000 ms"));
	finish(&w, r, 0);
}

/* ---- frames that are changed -------------------------------------------------------------------------------------- */
enum change {
	LOSE, TWICE, SWAP, LANE_UP, LANE_DOWN, SEQUENCE_UP, SEQUENCE_DOWN, FLAG, SHORTER, LONGER, EMPTY, SESSION, TYPE, FIRST_BYTE,
	FIFTH_WORD, LAST_BYTE, GARBAGE, CHANGES
};
static enum change change;
static uint8_t changed_type;

static struct packet *resized(struct packet *p, size_t body)
{
	struct packet *q = calloc(1, sizeof(*q) + FRAME_HEADER + body);
	size_t old = p->bytes - FRAME_HEADER;

	q->bytes = FRAME_HEADER + body;
	memcpy(q->data, p->data, FRAME_HEADER + (old < body ? old : body));
	for (int i = 0; i < 4; i++)
		q->data[i] = (uint8_t)(body >> (8 * i));
	free(p);
	return q;
}

static void to_front(struct wire *wire, int side, struct packet *p)
{
	p->next = wire->pipe[side].head;
	wire->pipe[side].head = p;
	if (!p->next)
		wire->pipe[side].tail = p;
	wire->pipe[side].queued += p->bytes;
}

static void add(uint8_t *field, uint32_t v)
{
	uint32_t was = field[0] | (uint32_t)field[1] << 8 | (uint32_t)field[2] << 16 | (uint32_t)field[3] << 24;

	for (int i = 0; i < 4; i++)
		field[i] = (uint8_t)((was + v) >> (8 * i));
}

static enum fate change_body(struct packet **at)
{
	struct packet *p = *at;
	size_t body = p->bytes - FRAME_HEADER;

	if (change == SHORTER || change == EMPTY)
		*at = resized(p, change == EMPTY || !body ? 0 : body - 1);
	else if (change == LONGER)
		*at = resized(p, body + 1);
	else if (change == FIRST_BYTE && body)
		p->data[FRAME_HEADER] ^= 0x40;
	else if (change == FIFTH_WORD && body > 16)
		p->data[FRAME_HEADER + 16] ^= 1;
	else if (change == LAST_BYTE && body)
		p->data[p->bytes - 1] ^= 1;
	for (size_t i = 0; change == GARBAGE && i < body; i++)
		p->data[FRAME_HEADER + i] = (uint8_t)(i * 2654435761u >> 13);
	return DELIVER;
}

static enum fate change_at(struct world *w, struct wire *wire, int side, struct packet **at)
{
	struct packet *p = *at, *copy;

	if (w->frames != w->target)
		return DELIVER;
	changed_type = p->data[4];
	switch (change) {
	case LOSE:
		return DROP;
	case TWICE:
		copy = calloc(1, sizeof(*copy) + p->bytes);
		memcpy(copy, p, sizeof(*p) + p->bytes);
		to_front(wire, side, copy);
		return DELIVER;
	case SWAP:
		copy = pipe_get(wire, side);
		if (copy) {
			to_front(wire, side, p);
			*at = copy;
		}
		return DELIVER;
	case LANE_UP:
	case LANE_DOWN:
		add(p->data + 8, change == LANE_UP ? 1 : UINT32_MAX);
		return DELIVER;
	case SEQUENCE_UP:
	case SEQUENCE_DOWN:
		add(p->data + 12, change == SEQUENCE_UP ? 1 : UINT32_MAX);
		return DELIVER;
	case FLAG:
		p->data[5] ^= FRAME_MORE;
		return DELIVER;
	case SESSION:
		p->data[6]++;
		return DELIVER;
	case TYPE:
		p->data[4] = p->data[4] == FRAME_STEP ? FRAME_DELTA : p->data[4] + 1;
		return DELIVER;
	default:
		return change_body(at);
	}
}

/* Masked words, corrections and F are uniform: a change in them is not seen (SECURITY.md). All other changes must be. */
static int unseen(void)
{
	int in_words = change >= FIRST_BYTE && change <= GARBAGE;

	return in_words && (changed_type == FRAME_STEP || changed_type == FRAME_DELTA || changed_type == FRAME_WEIGHTS ||
			    changed_type == FRAME_CORRECTIONS || changed_type == FRAME_PAIR || changed_type == FRAME_PAIRED);
}

static void any_frame_is_changed_in_any_way(void **state)
{
	unsigned frames = frames_of_a_clean_run(0);

	for (change = 0; change < CHANGES; change++)
		for (unsigned n = 0; n < frames; n++) {
			struct request r[REQUESTS];
			struct world w;

			world_defaults(&w);
			w.tamper = change_at;
			w.target = n;
			begin(&w, r);
			world_settle(&w);
			world_sleep(&w, 5000);
			finish(&w, r, unseen());
		}
}

static void run_with(enum change c, uint8_t type, unsigned nth, const char *expected)
{
	unsigned frames = frames_of_a_clean_run(0), found = 0;

	change = c;
	for (unsigned n = 0; n < frames; n++) {
		struct request r[REQUESTS];
		struct world w;

		world_defaults(&w);
		w.tamper = change_at;
		w.target = n;
		changed_type = 0;
		begin(&w, r);
		while (w.frames <= n && world_step(&w))
			;
		if (changed_type == type && ++found == nth) {
			world_settle(&w);
			world_sleep(&w, 5000);
			if (!strstr(w.modeller_err.text, expected) && !strstr(r[0].i.err.text, expected) &&
			    !strstr(w.provider_err.text, expected))
				fail_msg("\"%s\" is not in \"%s\" nor \"%s\"", expected, w.modeller_err.text, r[0].i.err.text);
		}
		finish(&w, r, 1);
	}
	assert_true(found >= nth);
}

/* PROTOCOL.md §7: a repeated or skipped ticket, epoch or step ends the session, and so does a tag that is not the same. */
static void tickets_epochs_steps_and_tags_are_checked(void **state)
{
	run_with(TWICE, FRAME_BEGIN, 1, "where ticket 2 is next");
	run_with(LANE_UP, FRAME_BEGIN, 1, "where ticket 0 is next");
	run_with(LANE_DOWN, FRAME_BEGIN, 1, "where ticket 0 is next");
	run_with(FIRST_BYTE, FRAME_BEGIN, 1, "another epoch");
	run_with(LAST_BYTE, FRAME_BEGIN, 1, "another tag for ticket 1");
	run_with(FIRST_BYTE, FRAME_TAGS, 1, "another tag for ticket 0");
	run_with(FIRST_BYTE, FRAME_CORRECTIONS, 1, "another tag for ticket 0");
	run_with(FIFTH_WORD, FRAME_BEGIN, 1, "began an inference of 3 images");
	run_with(TWICE, FRAME_STEP, 1, "");
	run_with(SEQUENCE_UP, FRAME_STEP, 1, "where message 1 was due");
	run_with(LANE_UP, FRAME_STEP, 1, "which is not under way");
	run_with(SHORTER, FRAME_STEP, 1, "wrongly");
	run_with(LONGER, FRAME_STEP, 1, "were missing");
	run_with(FLAG, FRAME_STEP, 1, "wrongly");
	run_with(TWICE, FRAME_DELTA, 1, "was due");
	run_with(TWICE, FRAME_CORRECTIONS, 1, "was due");
	run_with(TWICE, FRAME_TAGS, 1, "was due");
	run_with(LANE_UP, FRAME_READY, 1, "are complete");
	run_with(TWICE, FRAME_READY, 1, "are complete");
	run_with(TWICE, FRAME_PAIR, 1, "PAIR twice");
	run_with(TWICE, FRAME_CREDIT, 1, "CREDIT");
}

/* ---- frames out of place ------------------------------------------------------------------------------------------ */
static void any_frame_out_of_place(void **state)
{
	static const uint8_t types[] = {
#define FRAME(name, code, from, to, body, longest, meaning) code,
#include "protocol/frames.def"
#undef FRAME
	};
	unsigned frames = frames_of_a_clean_run(0);
	uint8_t body[64] = {1, 2, 3};

	for (unsigned n = 0; n < frames; n += 7)
		for (size_t t = 0; t < sizeof(types); t++)
			for (unsigned side = 0; side < 10; side++) {
				struct frame f = {.type = types[t], .session = 7, .length = t % 3 ? 0 : 40};
				struct request r[REQUESTS];
				struct world w;

				if (side < 2)
					f.session = 1; /* on the wire of model owner and provider: its first session */
				world_defaults(&w);
				begin(&w, r);
				while (w.frames < n && world_step(&w))
					;
				pipe_put(world_wire(&w, side / 2), (int)(side % 2), packet_new(&f, body));
				finish(&w, r, 0);
			}
}

/* ---- third parties ------------------------------------------------------------------------------------------------ */
static void the_provider_is_no_client(void **state)
{
	struct request r[REQUESTS];
	struct err e = {0};
	struct owner *o;
	struct world w;

	/* The model owner sees a data owner with the provider's certificate. */
	world_defaults(&w);
	begin(&w, r);
	memset(w.dm[0].end[1].channel.fingerprint, 1, 32);
	world_settle(&w);
	assert_int_equal(r[0].told, 1);
	assert_non_null(strstr(r[0].i.err.text, "the same certificate"));
	assert_int_equal(r[3].i.err.code, ERR_NONE);
	finish(&w, r, 0);
	/* The data owner sees two parties with one certificate. */
	world_defaults(&w);
	wire_up(&w.dm[0], ROLE_D, 10, ROLE_M, 2);
	wire_up(&w.dc[0], ROLE_D, 10, ROLE_C, 2);
	assert_int_equal(owner_new(&o, &w.host, &w.owner_options, &w.dm[0].end[0].channel, &w.dc[0].end[0].channel, 7, &e), -1);
	assert_non_null(strstr(e.text, "the same certificate"));
	assert_null(w.dm[0].pipe[0].head);
}

/* Another data owner has learnt the token and sends the same PAIR. */
static enum fate steal(struct world *w, struct wire *wire, int side, struct packet **p)
{
	struct packet *copy;

	if (wire != &w->dc[0] || side != 0 || (*p)->data[4] != FRAME_PAIR)
		return DELIVER;
	copy = calloc(1, sizeof(*copy) + (*p)->bytes);
	memcpy(copy, *p, sizeof(*copy) + (*p)->bytes);
	copy->data[6] = 99;
	pipe_put(&w->dc[1], 0, copy);
	return w->target ? DROP : DELIVER;
}

static void a_stolen_token_is_worth_nothing(void **state)
{
	for (unsigned drop = 0; drop < 2; drop++) {
		struct request r[REQUESTS];
		struct world w;

		world_defaults(&w);
		w.tamper = steal;
		w.target = drop;
		begin(&w, r);
		world_settle(&w);
		/* The thief is not paired; the owner of the token is, if its own PAIR arrives. */
		assert_int_equal(w.seen.count[FRAME_PAIRED], drop ? 2 : 4);
		assert_int_equal(r[3].i.err.code, ERR_NONE);
		if (!drop)
			assert_int_equal(r[0].i.err.code, ERR_NONE);
		finish(&w, r, 0);
	}
}

/* Rewrites the data owner's PAIR. */
static enum { OTHER_EPOCH, OTHER_PLAN, NAMES_ITSELF, NAMES_PROVIDER, NAMES_THIRD, NO_TOKEN, SENDS_PLAN, LIES } lie;
static enum fate tell_lie(struct world *w, struct wire *wire, int side, struct packet **p)
{
	Wire__Plan plan = WIRE__PLAN__INIT;
	Wire__Pair *pair;
	size_t bytes;

	if (wire != &w->dc[0] || side != 0 || (*p)->data[4] != FRAME_PAIR)
		return DELIVER;
	pair = wire__pair__unpack(NULL, (*p)->bytes - FRAME_HEADER, (*p)->data + FRAME_HEADER);
	assert_non_null(pair);
	if (lie == OTHER_EPOCH)
		pair->epoch.data[3] ^= 1;
	else if (lie == OTHER_PLAN)
		pair->plan_digest.data[3] ^= 1;
	else if (lie == NAMES_ITSELF)
		memset(pair->peer.data, 10, 32);
	else if (lie == NAMES_PROVIDER)
		memset(pair->peer.data, 1, 32);
	else if (lie == NAMES_THIRD)
		memset(pair->peer.data, 33, 32);
	else if (lie == NO_TOKEN)
		pair->token.len = 0;
	else
		pair->plan = &plan;
	bytes = wire__pair__get_packed_size(pair);
	*p = resized(*p, bytes);
	wire__pair__pack(pair, (*p)->data + FRAME_HEADER);
	if (lie == SENDS_PLAN)
		pair->plan = NULL;
	wire__pair__free_unpacked(pair, NULL);
	return DELIVER;
}

static void parties_that_do_not_agree_are_not_paired(void **state)
{
	static const char *const said[] = {"different epochs", "different plans", "its own certificate", "provider be a party",
					   "is not the party", "without token", "only the model owner does"};

	for (lie = 0; lie < LIES; lie++) {
		struct request r[REQUESTS];
		struct world w;

		world_defaults(&w);
		w.tamper = tell_lie;
		begin(&w, r);
		world_settle(&w);
		world_sleep(&w, 5000);
		assert_int_equal(r[0].told, 1);
		assert_int_not_equal(r[0].i.err.code, ERR_NONE);
		if (!strstr(r[0].i.err.text, said[lie]) && !strstr(w.provider_err.text, said[lie]))
			fail_msg("%d: \"%s\", \"%s\"", (int)lie, r[0].i.err.text, w.provider_err.text);
		assert_int_equal(r[3].i.err.code, ERR_NONE);
		finish(&w, r, 0);
	}
}

/* ---- limits ------------------------------------------------------------------------------------------------------- */
static void the_provider_has_quotas(void **state)
{
	struct request r[REQUESTS];
	struct world w;

	world_defaults(&w);
	w.provider_options.mask_bytes = 64; /* no mask fits */
	begin(&w, r);
	world_settle(&w);
	assert_int_equal(r[0].told, 1);
	assert_non_null(strstr(r[0].i.err.text, "mask is larger"));
	finish(&w, r, 0);
	world_defaults(&w);
	w.provider_options.sessions = 0; /* of all; PAIR is refused */
	begin(&w, r);
	world_settle(&w);
	assert_non_null(strstr(r[0].i.err.text, "all the 0 sessions"));
	finish(&w, r, 0);
}

static void memory_limits_are_said(void **state)
{
	struct request r[REQUESTS];
	struct world w;

	world_defaults(&w);
	w.owner_options.pool_bytes = 100;
	begin(&w, r);
	world_settle(&w);
	assert_non_null(strstr(r[0].i.err.text, "raise pool_memory"));
	finish(&w, r, 0);
	world_defaults(&w);
	w.modeller_options.pool_bytes = 100;
	begin(&w, r);
	world_settle(&w);
	assert_non_null(strstr(r[0].i.err.text, "that the model owner allows a session"));
	finish(&w, r, 0);
}

/* Sessions end in the middle of jobs: the jobs free what is left. */
static void the_end_comes_during_jobs(void **state)
{
	unsigned frames = frames_of_a_clean_run(1);

	for (unsigned n = 0; n < frames; n++) {
		struct request r[REQUESTS];
		struct world w;

		world_defaults(&w);
		w.deferred = 1;
		w.owner_options.inline_work = w.modeller_options.inline_work = 1;
		begin(&w, r);
		while (w.frames < n && world_step(&w))
			;
		world_end(&w);
		for (int i = 0; i < REQUESTS; i++) {
			assert_int_equal(r[i].told, 1);
			free(r[i].i.result);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_wire_dies_at_any_frame),
		cmocka_unit_test(the_provider_dies),
		cmocka_unit_test(the_model_owner_dies),
		cmocka_unit_test(a_data_owner_dies),
		cmocka_unit_test(the_error_names_peer_and_step),
		cmocka_unit_test(every_wait_has_a_deadline),
		cmocka_unit_test(a_lone_party_is_sent_home),
		cmocka_unit_test(any_frame_is_changed_in_any_way),
		cmocka_unit_test(tickets_epochs_steps_and_tags_are_checked),
		cmocka_unit_test(any_frame_out_of_place),
		cmocka_unit_test(the_provider_is_no_client),
		cmocka_unit_test(a_stolen_token_is_worth_nothing),
		cmocka_unit_test(parties_that_do_not_agree_are_not_paired),
		cmocka_unit_test(the_provider_has_quotas),
		cmocka_unit_test(memory_limits_are_said),
		cmocka_unit_test(the_end_comes_during_jobs),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
