/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/soon.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/ssl.h>

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* -1 with EAGAIN: nothing came in time. */
static ssize_t poll_for(int fd, void *p, size_t n)
{
	uint64_t until = now_us() + SOON_US;
	ssize_t got;

	while ((got = recv(fd, p, n, MSG_DONTWAIT)) < 0 && errno == EAGAIN && now_us() < until)
		sched_yield();
	return got;
}

ssize_t soon_recv(int fd, void *p, size_t n)
{
	ssize_t got = poll_for(fd, p, n);

	return got < 0 && errno == EAGAIN ? recv(fd, p, n, 0) : got;
}

/* ---- OpenSSL's socket with another read ---- */

static BIO_METHOD *method;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int read_soon(BIO *b, char *p, int n)
{
	ssize_t got = n > 0 ? poll_for((int)BIO_get_fd(b, NULL), p, (size_t)n) : 0;

	if (got <= 0) /* an end, an error, or time to sleep: the socket's own read tells them */
		return BIO_meth_get_read(BIO_s_socket())(b, p, n);
	BIO_clear_retry_flags(b);
	return (int)got;
}

/* Like the socket's own, but a peer that has gone ends the connection, not this process. */
static int write_quietly(BIO *b, const char *p, int n)
{
	ssize_t put = n > 0 ? send((int)BIO_get_fd(b, NULL), p, (size_t)n, MSG_NOSIGNAL) : 0;

	BIO_clear_retry_flags(b);
	if (put < 0 && BIO_sock_should_retry((int)put))
		BIO_set_retry_write(b);
	return (int)put;
}

static void make(void)
{
	const BIO_METHOD *socket = BIO_s_socket();
	BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOCKET, "socket, polled first");

	if (m && BIO_meth_set_write(m, write_quietly) && BIO_meth_set_read(m, read_soon) &&
	    BIO_meth_set_puts(m, BIO_meth_get_puts(socket)) &&
	    BIO_meth_set_ctrl(m, BIO_meth_get_ctrl(socket)) &&
	    BIO_meth_set_create(m, BIO_meth_get_create(socket)) &&
	    BIO_meth_set_destroy(m, BIO_meth_get_destroy(socket)))
		method = m;
	else
		BIO_meth_free(m);
}

int soon_set_fd(SSL *ssl, int fd)
{
	BIO *b;

	pthread_once(&once, make);
	b = method ? BIO_new(method) : NULL;
	if (!b)
		return -1;
	BIO_set_fd(b, fd, BIO_NOCLOSE);
	SSL_set_bio(ssl, b, b);
	return 0;
}
