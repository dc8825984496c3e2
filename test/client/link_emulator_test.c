/* SPDX-License-Identifier: Apache-2.0 */
/* The wire's arithmetic; test/sys/links.sh measures a real one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "client/link_emulator.h"

#include <string.h>

#define MS 1000000u

static const double sure[2] = {0.999, 0};

/* 1 MB/s, 10 ms: each 1000 bytes take a millisecond of the wire, one after another. */
static void test_rate_and_delay(void **state)
{
	struct link_path p = {.delay = 0.01, .byte_rate = 1e6, .queue = 0.005};
	struct wire_clock w = {0};
	int lost;

	assert_int_equal(wire_due(&w, &p, 0, 100 * MS, 1000, sure, &lost), 111 * MS);
	assert_int_equal(wire_due(&w, &p, 0, 100 * MS, 2000, sure, &lost), 113 * MS);
	assert_int_equal(wire_due(&w, &p, 0, 102 * MS, 1000, sure, &lost), 114 * MS);
	assert_int_equal(wire_due(&w, &p, 0, 200 * MS, 1000, sure, &lost), 211 * MS); /* idle: no credit */
	assert_int_equal(wire_due(&w, &p, 0.004, 300 * MS, 1000, sure, &lost), 307 * MS);
	assert_int_equal(wire_due(&w, &p, 0.04, 400 * MS, 1000, sure, &lost),
			 401 * MS); /* never back in time */
}

static void test_queue(void **state)
{
	struct link_path p = {.delay = 0, .byte_rate = 1e6, .queue = 0.005};
	struct wire_clock w = {0};
	int lost;

	for (unsigned i = 1; i <= 6; i++)
		assert_int_equal(wire_due(&w, &p, 0, MS, 1000, sure, &lost), (1 + i) * MS);
	assert_int_equal(wire_due(&w, &p, 0, MS, 1000, sure, &lost), 0); /* six before it: 6 ms > 5 ms */
	assert_int_equal(wire_due(&w, &p, 0, 2 * MS, 1000, sure, &lost), 8 * MS); /* it took no time */
}

static void test_loss_and_jitter(void **state)
{
	struct link_path p = {.delay = 0.01, .byte_rate = 1e9, .jitter = 0.008, .loss = 0.25, .queue = 1};
	struct wire_clock w = {0};
	int lost;

	assert_int_equal(wire_due(&w, &p, 0, 1000 * MS, 1000, (double[]){0.25, 0.5}, &lost),
			 1014 * MS + 1000);
	assert_false(lost);
	/* earlier than the one before it by its own jitter: kept in order */
	assert_int_equal(wire_due(&w, &p, 0, 1001 * MS, 1000, (double[]){0.9, 0}, &lost), 1014 * MS + 1000);
	assert_int_not_equal(wire_due(&w, &p, 0, 1002 * MS, 1000, (double[]){0.2499, 0.999}, &lost), 0);
	assert_true(lost);
	/* and what was lost holds nobody up */
	assert_int_equal(wire_due(&w, &p, 0, 1005 * MS, 1000, (double[]){0.9, 0}, &lost), 1015 * MS + 1000);
}

static void test_packets(void **state)
{
	uint8_t ip[4000] = {0x45};
	uint64_t bytes;

	ip[9] = 6;
	ip[20 + 12] = 8 << 4; /* a TCP header of 32 bytes */
	assert_int_equal(wire_packets(ip, 1500, 0, &bytes), 1);
	assert_int_equal(bytes, 1500);
	assert_int_equal(wire_packets(ip, 52 + 2 * 1448, 1448, &bytes), 2);
	assert_int_equal(bytes, 2 * 1500);
	assert_int_equal(wire_packets(ip, 52 + 2 * 1448 + 1, 1448, &bytes), 3);
	assert_int_equal(bytes, 2 * 1500 + 53);
	/* what is no IPv4, too short, or says that its header is longer than it is */
	assert_int_equal(wire_packets(ip, 19, 0, &bytes), 0);
	assert_int_equal(wire_packets(ip, 39, 1448, &bytes), 0);
	assert_int_equal(wire_packets(ip, 52, 1448, &bytes), 0);
	ip[0] = 0x44;
	assert_int_equal(wire_packets(ip, 3000, 1448, &bytes), 0);
	ip[0] = 0x60;
	assert_int_equal(wire_packets(ip, 1500, 0, &bytes), 0);
	ip[0] = 0x45;
	ip[9] = 17;
	assert_int_equal(wire_packets(ip, 3000, 1448, &bytes), 0);
}

/* Pieces of a quarter of a millisecond of the slowest direction; single packets where they are lost singly.
 */
static void test_pieces(void **state)
{
	struct link l;
	struct err e = {0};

	assert_int_equal(link_find(&l, "wan", NULL, &e), 0);
	assert_int_equal(emulator_gso(&l), 12500);
	l.paths[1][2].byte_rate = 1e6;
	assert_int_equal(emulator_gso(&l), LINK_MTU);
	assert_int_equal(link_find(&l, "lan", NULL, &e), 0);
	assert_int_equal(emulator_gso(&l), 65536);
	l.paths[2][0].loss = 0.001;
	assert_int_equal(emulator_gso(&l), LINK_MTU);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rate_and_delay),  cmocka_unit_test(test_queue),
	    cmocka_unit_test(test_loss_and_jitter), cmocka_unit_test(test_packets),
	    cmocka_unit_test(test_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
