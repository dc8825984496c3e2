/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's counters of three connections between three pretended roles: each pair, both directions, to
 * the byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/bench_host.h"

/* One connection and both its ends. */
struct pipe_of {
	int from, to;
};

static int listen_at(char address[64])
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 4), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
	snprintf(address, 64, "127.0.0.1:%u", ntohs(at.sin_port));
	return fd;
}

static struct pipe_of join(int listening)
{
	struct pipe_of p = {.from = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	struct sockaddr_in at;
	socklen_t n = sizeof(at);

	assert_int_equal(getsockname(listening, (struct sockaddr *)&at, &n), 0);
	assert_int_equal(connect(p.from, (struct sockaddr *)&at, sizeof(at)), 0);
	p.to = accept(listening, NULL, NULL);
	assert_true(p.to >= 0);
	return p;
}

static void leave(struct pipe_of p)
{
	close(p.from);
	close(p.to);
}

/* Returns when the other end has them. */
static void carry(int from, int to, size_t bytes)
{
	static uint8_t buffer[100000];
	size_t got = 0;

	assert_true(bytes <= sizeof(buffer));
	assert_int_equal(write(from, buffer, bytes), bytes);
	while (got < bytes) {
		ssize_t n = read(to, buffer, bytes - got);

		assert_true(n > 0);
		got += (size_t)n;
	}
}

static void test_pairs(void **state)
{
	struct roles r = {.folder = ""};
	struct wire_pairs before, after;
	struct pipe_of m_c, d_c, d_m;
	int provider = listen_at(r.provider_at), model_owner = listen_at(r.model_owner_at);
	struct err e = {0};
	uint16_t port;

	m_c = join(provider);
	assert_int_equal(wire_learn(&r, &port, &e), 0);
	assert_int_not_equal(port, 0);
	d_c = join(provider);
	d_m = join(model_owner);
	carry(d_m.from, d_m.to, 5); /* before */
	assert_int_equal(wire_read(&before, &r, port, &e), 0);
	carry(m_c.to, m_c.from, 100000);
	carry(m_c.from, m_c.to, 17);
	carry(d_c.from, d_c.to, 300);
	carry(d_c.to, d_c.from, 4000);
	carry(d_m.from, d_m.to, 50000);
	carry(d_m.to, d_m.from, 1);
	assert_int_equal(wire_read(&after, &r, port, &e), 0);
	wire_since(&after, &before);
	assert_int_equal(before.sent[PAIR_D_M], 5);
	assert_int_equal(after.sent[PAIR_M_C], 17);
	assert_int_equal(after.received[PAIR_M_C], 100000);
	assert_int_equal(after.sent[PAIR_D_C], 300);
	assert_int_equal(after.received[PAIR_D_C], 4000);
	assert_int_equal(after.sent[PAIR_D_M], 50000);
	assert_int_equal(after.received[PAIR_D_M], 1);
	leave(m_c);
	leave(d_c);
	leave(d_m);
	close(provider);
	close(model_owner);
}

static void test_usage(void **state)
{
	struct roles r = {.provider = getpid(),
			  .model_owner = getpid(),
			  .data_owners = {getpid(), getpid()},
			  .n_owners = 2};
	struct usage u;
	struct err e = {0};

	assert_int_equal(usage_read(&u, &r, &e), 0);
	assert_true(u.peak[USED_PROVIDER] > 1 << 20);
	assert_true(u.peak[USED_DATA_OWNER] > u.peak[USED_MODEL_OWNER]); /* two against one */
	assert_true(u.cpu[USED_DRIVER] > 0);
	r.provider = (1 << 22) + 1; /* beyond the greatest there can be */
	assert_int_equal(usage_read(&u, &r, &e), -1);
	assert_non_null(strstr(e.text, "has it ended"));
}

static void test_conditions(void **state)
{
	static const char *const names[] = {"kind",  "date", "kernel", "processor",
					    "cores", "tier", "load",   "compiler"};
	struct json_object *o = host_conditions(), *x;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		assert_true(json_object_object_get_ex(o, names[i], &x));
		assert_true(strlen(json_object_get_string(x)) > 0);
	}
	json_object_put(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_pairs),
	    cmocka_unit_test(test_usage),
	    cmocka_unit_test(test_conditions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
