/* SPDX-License-Identifier: Apache-2.0 */
/* Places in the enclave: a spare has none until its client speaks, or the next spare comes; then it takes one
 * like all others. */
#include "daemon/enclave_parts.h"

#include <sys/socket.h>
#include <unistd.h>

#include "test/test.h"

#define PLACES 64 /* daemon/enclave_guests.c */

static struct guest all[PLACES], spare[2];
static int other[PLACES + 2];

/* Its connection's far end in *far. */
static void connect_guest(struct guest *g, int *far)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	*g = (struct guest){.fd = pair[0]};
	*far = pair[1];
}

static void leave(struct guest *g, int far)
{
	guest_leave(g);
	close(g->fd);
	close(far);
}

/* Whether the connection was shut down from our side. */
static int is_ended(int far)
{
	char byte;

	return recv(far, &byte, 1, MSG_DONTWAIT) == 0;
}

static void fill(void)
{
	for (int i = 0; i < PLACES; i++) {
		connect_guest(&all[i], &other[i]);
		assert_int_equal(guest_enter(&all[i], GUEST_COMES), 0);
	}
}

static void empty(void)
{
	for (int i = 0; i < PLACES; i++)
		leave(&all[i], other[i]);
}

static void enter_spare(int i)
{
	connect_guest(&spare[i], &other[PLACES + i]);
	assert_int_equal(guest_enter(&spare[i], GUEST_SPARE), 0);
}

static void spare_waits_test(void **state)
{
	fill();
	enter_spare(0);
	for (int i = 0; i < PLACES; i++)
		assert_false(is_ended(other[i]));
	assert_int_equal(guest_speaks(&spare[0]), 0);
	assert_true(is_ended(other[0])); /* the oldest that showed no certificate */
	assert_false(is_ended(other[1]));
	assert_int_equal(guest_speaks(&spare[0]), 0); /* it has its place */
	assert_false(is_ended(other[1]));
	leave(&spare[0], other[PLACES]);
	empty();
}

static void next_spare_test(void **state)
{
	fill();
	enter_spare(0);
	enter_spare(1);
	assert_true(is_ended(other[0])); /* the one before has a client by now, who may be slow to speak */
	assert_int_equal(guest_speaks(&spare[0]), 0);
	assert_false(is_ended(other[1]));
	leave(&spare[0], other[PLACES]);
	leave(&spare[1], other[PLACES + 1]);
	empty();
}

static void no_place_test(void **state)
{
	fill();
	for (int i = 0; i < PLACES; i++)
		all[i].standing = GUEST_KNOWN;
	enter_spare(0);
	assert_int_equal(guest_speaks(&spare[0]), -1);
	leave(&spare[0], other[PLACES]);
	enter_spare(0);
	enter_spare(1);
	assert_true(is_ended(other[PLACES]));
	assert_int_equal(spare[0].standing, GUEST_TURNED_OUT);
	leave(&spare[0], other[PLACES]);
	leave(&spare[1], other[PLACES + 1]); /* also while it waits */
	assert_int_equal(guest_enter(&spare[1], GUEST_COMES), -1);
	empty();
}

static void silent_go_first_test(void **state)
{
	struct guest late[2];
	int far[2];

	fill();
	for (int i = 0; i < PLACES - 1; i++)
		assert_int_equal(guest_speaks(&all[i]), 0);
	for (int i = 0; i < 2; i++) {
		connect_guest(&late[i], &far[i]);
		assert_int_equal(guest_enter(&late[i], GUEST_COMES), 0);
		if (!i)
			assert_int_equal(guest_speaks(&late[i]), 0);
		assert_true(is_ended(other[i ? 0 : PLACES - 1])); /* then the oldest of those that speak */
	}
	assert_false(is_ended(other[1]));
	for (int i = 0; i < 2; i++)
		leave(&late[i], far[i]);
	empty();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(spare_waits_test),
	    cmocka_unit_test(next_spare_test),
	    cmocka_unit_test(no_place_test),
	    cmocka_unit_test(silent_go_first_test),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
