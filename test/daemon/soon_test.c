/* SPDX-License-Identifier: Apache-2.0 */
/* What is there, what comes while one polls, what comes when one sleeps, what never comes, and an end. */
#include "daemon/soon.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "test/test.h"

static int pair[2];
static SSL_CTX *ctx;
static SSL *ssl;
static BIO *bio;

static int setup(void **state)
{
	const struct timeval wait = {0, 50000};

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)), 0);
	ctx = SSL_CTX_new(TLS_method());
	ssl = SSL_new(ctx);
	assert_non_null(ssl);
	assert_int_equal(soon_set_fd(ssl, pair[0]), 0);
	bio = SSL_get_rbio(ssl);
	assert_int_equal(SSL_get_fd(ssl), pair[0]);
	return 0;
}

static int teardown(void **state)
{
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	close(pair[0]);
	close(pair[1]);
	return 0;
}

static void *say_later(void *us)
{
	nanosleep(&(struct timespec){0, (long)(intptr_t)us * 1000}, NULL);
	return (void *)(intptr_t)write(pair[1], "later", 5);
}

/* Both ways of reading, of what is said so many microseconds from now. */
static void hear(long us)
{
	char text[16] = "";
	pthread_t thread;
	void *said;

	assert_int_equal(pthread_create(&thread, NULL, say_later, (void *)(intptr_t)us), 0);
	assert_int_equal(soon_recv(pair[0], text, sizeof(text)), 5);
	assert_string_equal(text, "later");
	assert_int_equal(pthread_join(thread, &said), 0);
	memset(text, 0, sizeof(text));
	assert_int_equal(pthread_create(&thread, NULL, say_later, (void *)(intptr_t)us), 0);
	assert_int_equal(BIO_read(bio, text, sizeof(text)), 5);
	assert_string_equal(text, "later");
	assert_int_equal(pthread_join(thread, &said), 0);
}

static void comes_test(void **state)
{
	hear(0);
	hear(SOON_US / 4);
	hear(20 * SOON_US);
}

static void never_test(void **state)
{
	char text[16];

	assert_int_equal(soon_recv(pair[0], text, sizeof(text)), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(BIO_read(bio, text, sizeof(text)), -1);
	assert_true(BIO_should_retry(bio));
	assert_int_equal(write(pair[1], "x", 1), 1);
	assert_int_equal(BIO_read(bio, text, sizeof(text)), 1);
	assert_false(BIO_should_retry(bio));
}

static void end_test(void **state)
{
	char text[16];

	close(pair[1]);
	assert_int_equal(soon_recv(pair[0], text, sizeof(text)), 0);
	assert_int_equal(BIO_read(bio, text, sizeof(text)), 0);
	assert_false(BIO_should_retry(bio));
}

static void undone_test(void **state)
{
	char text[16];

	assert_int_equal(SSL_set_fd(ssl, pair[0]), 1);
	assert_int_equal(write(pair[1], "x", 1), 1);
	assert_int_equal(BIO_read(SSL_get_rbio(ssl), text, sizeof(text)), 1);
}

/* Were SIGPIPE raised, this process would end here. */
static void gone_test(void **state)
{
	close(pair[1]);
	pair[1] = -1;
	assert_int_equal(BIO_write(bio, "too late", 8), -1);
	assert_int_equal(errno, EPIPE);
	assert_false(BIO_should_retry(bio));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(comes_test, setup, teardown),
	    cmocka_unit_test_setup_teardown(never_test, setup, teardown),
	    cmocka_unit_test_setup_teardown(end_test, setup, teardown),
	    cmocka_unit_test_setup_teardown(gone_test, setup, teardown),
	    cmocka_unit_test_setup_teardown(undone_test, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
