/* SPDX-License-Identifier: Apache-2.0 */
/* Frames are changed, lost, repeated, out of place, or from somebody else, at every frame of a run. */
#include "test/replay/scenario.h"

/* ---- frames that are changed ---- */
enum change {
	LOSE,
	TWICE,
	SWAP,
	LANE_UP,
	LANE_DOWN,
	SEQUENCE_UP,
	SEQUENCE_DOWN,
	FLAG,
	SHORTER,
	LONGER,
	EMPTY,
	SESSION,
	TYPE,
	FIRST_BYTE,
	FIFTH_WORD,
	LAST_BYTE,
	GARBAGE,
	CHANGES
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
	uint32_t was =
	    field[0] | (uint32_t)field[1] << 8 | (uint32_t)field[2] << 16 | (uint32_t)field[3] << 24;

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

/* Masked words, corrections and F are uniform: a change in them is not seen (SECURITY.md). All other changes
 * must be. */
static int unseen(void)
{
	int in_words = change >= FIRST_BYTE && change <= GARBAGE;

	return in_words && (changed_type == FRAME_STEP || changed_type == FRAME_DELTA ||
			    changed_type == FRAME_WEIGHTS || changed_type == FRAME_CORRECTIONS ||
			    changed_type == FRAME_PAIR || changed_type == FRAME_PAIRED);
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
				fail_msg("\"%s\" is not in \"%s\" nor \"%s\"", expected, w.modeller_err.text,
					 r[0].i.err.text);
		}
		finish(&w, r, 1);
	}
	assert_true(found >= nth);
}

/* PROTOCOL.md §7: a repeated or skipped ticket, epoch or step ends the session, and so does a tag that is not
 * the same. */
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

/* ---- frames out of place ---- */
static void any_frame_out_of_place(void **state)
{
	static const uint8_t types[] = {
#define FRAME(name, code, from, to, body, longest, meaning) code,
#include "protocol/frames.def"
#undef FRAME
	};
	unsigned frames = frames_of_a_clean_run(0);
	uint8_t body[64] = {1, 2, 3};

	for (unsigned n = 0; n < frames; n += 11)
		for (size_t t = 0; t < sizeof(types); t++)
			for (unsigned side = 0; side < 10; side++) {
				struct frame f = {.type = types[t], .session = 7, .length = t % 3 ? 0 : 40};
				struct request r[REQUESTS];
				struct world w;

				if (side < 2)
					/* on the wire of model owner and provider: its first session */
					f.session = 1;
				world_defaults(&w);
				begin(&w, r);
				while (w.frames < n && world_step(&w))
					;
				pipe_put(world_wire(&w, side / 2), (int)(side % 2), packet_new(&f, body));
				finish(&w, r, 0);
			}
}

/* ---- what was not asked for ---- */
static void said(struct world *w, const char *expected)
{
	if (!strstr(w->modeller_err.text, expected))
		fail_msg("\"%s\" is not in \"%s\"", expected, w->modeller_err.text);
}

/* A data owner begins on a ticket that is not there. (Its tags are wrong too: what is said first is that.) */
static void a_ticket_that_is_not_complete(void **state)
{
	struct request r[REQUESTS];
	struct pool_status s;
	struct world w;
	struct frame f = {.type = FRAME_BEGIN, .session = 7};
	uint8_t *body;

	world_defaults(&w);
	w.modeller_options.max_batch = 256; /* more than the pool holds */
	begin(&w, r);
	world_settle(&w);
	owner_pool(w.owner[0], &s);
	f.lane = (uint32_t)s.burnt;
	f.length = (uint32_t)(20 + 16 * (s.depth + 1)); /* every ticket of the pool, and one more */
	body = calloc(1, f.length);
	memcpy(body, net->epoch, 16);
	body[16] = (uint8_t)(s.depth + 1);
	pipe_put(&w.dm[0], 0, packet_new(&f, body));
	free(body);
	world_settle(&w);
	said(&w, "began an inference on tickets up to");
	finish(&w, r, 0);
}

/* A provider goes on when nobody has room for more. */
static void corrections_that_nobody_asked_for(void **state)
{
	const struct program *p = net->program;
	uint64_t ticket = p->corrections + p->delta + 256;
	struct request r[REQUESTS];
	struct pool_status s;
	struct world w;
	struct frame f = {.type = FRAME_CORRECTIONS, .session = 1, .length = (uint32_t)(16 + p->corrections)};
	uint8_t *body = calloc(1, f.length);

	world_defaults(&w);
	w.modeller_options.max_batch = 1;
	w.modeller_options.pool_bytes = (lane_bytes(p, 1) / ticket + 2) * ticket;
	w.owner_options.pool_low = 1;
	begin(&w, r);
	world_settle(&w);
	modeller_pool(w.sessions[0].m, &s);
	f.session = w.sessions[0].provider_session;
	for (uint64_t t = s.made; t <= s.burnt + s.high; t++) {
		f.lane = (uint32_t)t;
		pipe_put(&w.mc, 1, packet_new(&f, body));
	}
	world_settle(&w);
	said(&w, "which nobody asked for");
	free(body);
	finish(&w, r, 0);
}

/* ---- third parties ---- */
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
	assert_int_equal(
	    owner_new(&o, &w.host, &w.owner_options, &w.dm[0].end[0].channel, &w.dc[0].end[0].channel, 7, &e),
	    -1);
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
static enum {
	OTHER_EPOCH,
	OTHER_PLAN,
	NAMES_ITSELF,
	NAMES_PROVIDER,
	NAMES_THIRD,
	NO_TOKEN,
	SENDS_PLAN,
	LIES
} lie;
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
	static const char *const said[] = {
	    "different epochs", "different plans", "its own certificate",      "provider be a party",
	    "is not the party", "without token",   "only the model owner does"};

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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(any_frame_is_changed_in_any_way),
	    cmocka_unit_test(tickets_epochs_steps_and_tags_are_checked),
	    cmocka_unit_test(any_frame_out_of_place),
	    cmocka_unit_test(a_ticket_that_is_not_complete),
	    cmocka_unit_test(corrections_that_nobody_asked_for),
	    cmocka_unit_test(the_provider_is_no_client),
	    cmocka_unit_test(a_stolen_token_is_worth_nothing),
	    cmocka_unit_test(parties_that_do_not_agree_are_not_paired),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
