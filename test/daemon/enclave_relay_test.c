/* SPDX-License-Identifier: Apache-2.0 */
/* The relay of an enclave's front end: nothing is lost, nothing is reordered, a slow reader stops its sender,
 * what was sent before an end still arrives. */
#include "daemon/enclave_relay.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test/test.h"

#define LONG ((size_t)8 << 20) /* more than all buffers on the way */

static struct event_base *base;
static struct relays *all;
static int client, enclave; /* the ends that the relay joins */

static int setup(void **state)
{
	int a[2], b[2];

	base = event_base_new();
	all = base ? relays_new(base, 1, NULL, NULL) : NULL;
	if (!all || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, a) ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, b))
		return -1;
	client = a[0];
	enclave = b[0];
	return relay_start(all, a[1], b[1], 60);
}

static int teardown(void **state)
{
	relays_free(all);
	event_base_free(base);
	close(client);
	close(enclave);
	return 0;
}

static void turn(void)
{
	assert_true(event_base_loop(base, EVLOOP_NONBLOCK) >= 0);
}

static uint8_t byte_at(size_t i)
{
	return (uint8_t)(i * 167 >> 3 ^ i);
}

/* Writes [*at, n) as far as it goes. */
static void write_some(int fd, size_t *at, size_t n)
{
	uint8_t piece[10000];
	size_t most = n - *at < sizeof(piece) ? n - *at : sizeof(piece);
	ssize_t done;

	for (size_t i = 0; i < most; i++)
		piece[i] = byte_at(*at + i);
	done = send(fd, piece, most, MSG_NOSIGNAL);
	*at += done > 0 ? (size_t)done : 0;
}

static ssize_t read_some(int fd, size_t *at)
{
	uint8_t piece[7001];
	ssize_t n = recv(fd, piece, sizeof(piece), 0);

	for (ssize_t i = 0; i < n; i++)
		assert_int_equal(piece[i], byte_at(*at + (size_t)i));
	*at += n > 0 ? (size_t)n : 0;
	return n;
}

/* Both ways at once, more than fits. */
static void passes_all(void **state)
{
	size_t up = 0, up_got = 0, down = 0, down_got = 0;

	while (up_got < LONG || down_got < LONG) {
		write_some(client, &up, LONG);
		write_some(enclave, &down, LONG);
		turn();
		read_some(enclave, &up_got);
		read_some(client, &down_got);
	}
	assert_true(up_got == LONG && down_got == LONG);
}

static void slow_reader_stops_its_sender(void **state)
{
	size_t sent = 0, got = 0, before;

	do {
		before = sent;
		write_some(client, &sent, LONG);
		for (int i = 0; i < 4; i++)
			turn();
	} while (sent > before);
	assert_true(sent < LONG); /* nobody keeps more than the sockets and one piece */
	while (got < LONG) {
		write_some(client, &sent, LONG);
		turn();
		read_some(enclave, &got);
	}
}

static void last_words_arrive(void **state)
{
	size_t sent = 0, got = 0, before;
	ssize_t n;

	do {
		before = sent;
		write_some(enclave, &sent, LONG);
		turn();
	} while (sent > before);
	shutdown(enclave, SHUT_RDWR);
	do {
		for (int i = 0; i < 4; i++)
			turn();
		n = read_some(client, &got);
	} while (n > 0);
	assert_int_equal(n, 0);
	assert_int_equal(got, sent);
	assert_false(relays_full(all));
}

static void a_place_is_given_back(void **state)
{
	assert_true(relays_full(all));
	close(client);
	turn();
	assert_false(relays_full(all));
	client = dup(enclave); /* for teardown */
}

static void silence_ends_it(void **state)
{
	int a[2], b[2];
	char byte;

	relays_free(all);
	all = relays_new(base, 1, NULL, NULL);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, a), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, b), 0);
	assert_int_equal(relay_start(all, a[1], b[1], 0), 0); /* at once */
	assert_true(event_base_loop(base, EVLOOP_ONCE) >= 0);
	assert_int_equal(recv(a[0], &byte, 1, 0), 0);
	assert_int_equal(recv(b[0], &byte, 1, 0), 0);
	assert_false(relays_full(all));
	close(a[0]);
	close(b[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(passes_all, setup, teardown),
	    cmocka_unit_test_setup_teardown(slow_reader_stops_its_sender, setup, teardown),
	    cmocka_unit_test_setup_teardown(last_words_arrive, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_place_is_given_back, setup, teardown),
	    cmocka_unit_test_setup_teardown(silence_ends_it, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
