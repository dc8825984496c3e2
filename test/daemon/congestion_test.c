/* SPDX-License-Identifier: Apache-2.0 */
#include "test/test.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/net.h"

static int write_setting(const char *text)
{
	int fd = open("/proc/sys/net/ipv4/tcp_slow_start_after_idle", O_WRONLY | O_CLOEXEC), r;

	if (fd < 0)
		return -1;
	r = write(fd, text, 1) == 1 ? 0 : -1;
	close(fd);
	return r;
}

static void test_host(void **state)
{
	char name[CONGESTION_BYTES] = "x";
	struct err e = {0};

	assert_int_equal(congestion_choose(name, "host", &e), 0);
	assert_string_equal(name, "");
}

static void test_asked(void **state)
{
	char name[CONGESTION_BYTES], set[CONGESTION_BYTES] = "";
	socklen_t n = sizeof(set);
	struct err e = {0};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(congestion_choose(name, "reno", &e), 0);
	socket_congestion(fd, name);
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, set, &n), 0);
	assert_string_equal(set, "reno");
	close(fd);
	assert_int_equal(congestion_choose(name, "nosuch", &e), -1);
	assert_int_equal(e.code, ERR_ENV);
	assert_non_null(strstr(e.text, "congestion = nosuch"));
	memset(&e, 0, sizeof(e));
	assert_int_equal(congestion_choose(name, "a-name-that-no-kernel-knows", &e), -1);
}

/* In a network namespace of our own, since the setting is the host's. */
static void test_auto(void **state)
{
	char name[CONGESTION_BYTES];
	struct err e = {0};

	if (unshare(CLONE_NEWNET) || write_setting("1"))
		skip();
	assert_int_equal(congestion_choose(name, "auto", &e), 0);
	assert_string_equal(name, "");
	assert_int_equal(write_setting("0"), 0);
	assert_int_equal(congestion_choose(name, "auto", &e), 0);
	assert_string_equal(name, "reno");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_host),
	    cmocka_unit_test(test_asked),
	    cmocka_unit_test(test_auto),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
