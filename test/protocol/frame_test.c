/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "protocol/frame.h"
#include "wire.pb-c.h"

static const struct {
	const char *name;
	uint8_t code, from, to;
	uint32_t longest;
} rows[] = {
#define FRAME(name, code, from, to, body, longest, meaning) {#name, code, ROLE_##from, ROLE_##to, longest},
#include "protocol/frames.def"
#undef FRAME
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

static void fields_survive(void **state)
{
	struct frame in = {.length = 0x000abcde,
			   .type = FRAME_STEP,
			   .flags = FRAME_MORE,
			   .session = 0xfedc,
			   .lane = 0x89abcdef,
			   .sequence = 0x01234567},
		     out;
	uint8_t header[FRAME_HEADER];
	struct err e = {0};

	frame_pack(header, &in);
	assert_memory_equal(header, "\xde\xbc\x0a\x00\x19\x01\xdc\xfe\xef\xcd\xab\x89\x67\x45\x23\x01",
			    FRAME_HEADER);
	assert_int_equal(frame_unpack(&out, header, ROLE_D, ROLE_M, &e), 0);
	assert_int_equal(out.length, in.length);
	assert_int_equal(out.type, in.type);
	assert_int_equal(out.flags, in.flags);
	assert_int_equal(out.session, in.session);
	assert_int_equal(out.lane, in.lane);
	assert_int_equal(out.sequence, in.sequence);
}

static int unpacks(uint8_t type, uint8_t flags, uint32_t length, enum frame_role from, enum frame_role to)
{
	struct frame f = {.type = type, .flags = flags, .length = length}, out;
	uint8_t header[FRAME_HEADER];
	struct err e = {0};
	int ok;

	frame_pack(header, &f);
	ok = frame_unpack(&out, header, from, to, &e) == 0;
	if (!ok) {
		assert_int_equal(e.code, ERR_PEER);
		assert_true(strlen(e.text) > 0);
	}
	return ok;
}

/* Each row of frames.def, in every direction, at its longest and one byte more. */
static void rules_hold(void **state)
{
	static const enum frame_role roles[] = {ROLE_D, ROLE_M, ROLE_C, ROLE_L};

	for (size_t r = 0; r < ROWS; r++)
		for (size_t a = 0; a < 4; a++)
			for (size_t b = 0; b < 4; b++) {
				int legal = (rows[r].from & roles[a]) && (rows[r].to & roles[b]);

				assert_int_equal(
				    unpacks(rows[r].code, 0, rows[r].longest, roles[a], roles[b]), legal);
				assert_false(
				    unpacks(rows[r].code, 0, rows[r].longest + 1, roles[a], roles[b]));
				assert_false(unpacks(rows[r].code, 2, 0, roles[a], roles[b]));
				/* 1 is FRAME_MORE of a STEP, FRAME_LATER of a CLOSE */
				assert_int_equal(
				    unpacks(rows[r].code, 1, 0, roles[a], roles[b]),
				    legal && (rows[r].code == FRAME_STEP || rows[r].code == FRAME_CLOSE));
			}
}

static void unknown_types_are_refused(void **state)
{
	for (int type = 0; type < 256; type++) {
		int known = 0;

		for (size_t r = 0; r < ROWS; r++)
			known |= rows[r].code == type;
		if (!known)
			assert_false(unpacks((uint8_t)type, 0, 0, ROLE_D, ROLE_M));
		assert_int_equal(strcmp(frame_name((uint8_t)type), "unknown frame") != 0, known);
	}
}

static void role_names(void **state)
{
	assert_int_equal(frame_role("data-owner"), ROLE_D);
	assert_int_equal(frame_role("model-owner"), ROLE_M);
	assert_int_equal(frame_role("provider"), ROLE_C);
	assert_int_equal(frame_role("client"), ROLE_L);
	assert_int_equal(frame_role("dealer"), 0);
	assert_string_equal(frame_role_name(ROLE_M), "model-owner");
	assert_string_equal(frame_role_name(ROLE_DM), "unknown role");
}

static void digest_is_stable(void **state)
{
	uint8_t a[32], b[32], zero[32] = {0};

	frame_digest(a);
	frame_digest(b);
	assert_memory_equal(a, b, 32);
	assert_memory_not_equal(a, zero, 32);
}

/* ---- a channel that keeps the last frame ---- */
static struct frame last;
static uint8_t kept[8192];
static unsigned flushed;

static void keep(struct channel *c, const struct frame *f)
{
	last = *f;
	assert_true(f->length <= sizeof(kept));
	if (f->length)
		memcpy(kept, f->body, f->length);
}

static void keep_inplace(struct channel *c, const struct frame *f, uint8_t *body)
{
	struct frame g = *f;

	g.body = body;
	keep(c, &g);
}

static void flush(struct channel *c)
{
	flushed++;
}

static size_t queued(const struct channel *c)
{
	return 0;
}

static const struct channel_ops keeping = {keep, keep_inplace, flush, queued};

static void errors_are_sent(void **state)
{
	struct channel c = {.ops = &keeping};
	struct err e = {0};
	Wire__Error *said;

	err_set(&e, ERR_INPUT, "no model of that name");
	flushed = 0;
	channel_send_error(&c, 9, &e, "open");
	assert_int_equal(flushed, 1);
	assert_int_equal(last.type, FRAME_ERROR);
	assert_int_equal(last.session, 9);
	said = wire__error__unpack(NULL, last.length, kept);
	assert_non_null(said);
	assert_int_equal(said->code, ERR_INPUT);
	assert_string_equal(said->text, e.text);
	assert_string_equal(said->step, "open");
	wire__error__free_unpacked(said, NULL);
}

/* A message that no frame of its type can hold is not sent; the peer gets an ERROR instead of silence. */
static void too_long_messages_become_errors(void **state)
{
	struct channel c = {.ops = &keeping};
	Wire__Open open = WIRE__OPEN__INIT;
	char name[5000];

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	open.model = name;
	channel_send_message(&c, FRAME_OPEN, 3, 0, &open);
	assert_int_equal(last.type, FRAME_ERROR);
	assert_int_equal(last.session, 3);
	assert_int_equal(last.length, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(fields_survive),
	    cmocka_unit_test(rules_hold),
	    cmocka_unit_test(role_names),
	    cmocka_unit_test(unknown_types_are_refused),
	    cmocka_unit_test(digest_is_stable),
	    cmocka_unit_test(errors_are_sent),
	    cmocka_unit_test(too_long_messages_become_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
