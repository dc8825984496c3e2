/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/soon.h — what is expected at once is polled for before one sleeps. In a handshake each end answers
 * in a fraction of a millisecond, and there are a dozen turns; a virtual machine's processor that has gone to
 * sleep takes 50 to 200 µs to wake at each of them. While it polls, a thread gives way to any other. */
#ifndef OBSCURA_DAEMON_SOON_H
#define OBSCURA_DAEMON_SOON_H

#include <sys/types.h>

#include <openssl/types.h>

#include "conf/err.h"

#define SOON_US 1000

/* recv(2) of a blocking socket. */
ssize_t soon_recv(int fd, void *p, size_t n);
/* Like SSL_set_fd, which undoes it, for a blocking socket; its reads are such, and no write raises SIGPIPE. -1:
 * memory is short. */
int soon_set_fd(SSL *ssl, int fd) MUST_USE;

#endif
