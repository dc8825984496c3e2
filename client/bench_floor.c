/* SPDX-License-Identifier: Apache-2.0 */
/* What the wire alone costs: two processes send each other the messages of a plan over TLS on loopback, with
 * the roles' own certificates and ciphers, and compute nothing. Blocking sockets: nothing is faster on one
 * connection. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/bench.h"
#include "client/child.h"
#include "daemon/net.h"
#include "daemon/tls.h"

#define ROUNDS 400
#define BEGIN_BYTES(n) (FRAME_HEADER + 20 + 16 * (n)) /* leaves with the first message */

/* One end. */
struct end {
	struct config config;
	struct tls tls;
	struct tls_note note;
	SSL *ssl;
	int fd;
};

/* ---- TLS ---- */

static int configure(struct end *x, const struct roles *r, char role, const char *name, struct err *e)
{
	char flag[3][160];

	if (config_defaults(&x->config, role, e))
		return -1;
	snprintf(flag[0], sizeof(flag[0]), "--ca=%s/pki/ca.pem", r->folder);
	snprintf(flag[1], sizeof(flag[1]), "--certificate=%s/pki/%s.pem", r->folder, name);
	snprintf(flag[2], sizeof(flag[2]), "--key=%s/pki/%s.key", r->folder, name);
	for (int i = 0; i < 3; i++)
		if (config_flag(&x->config, flag[i], e))
			return -1;
	return tls_new(&x->tls, &x->config, role == 'D' ? ROLE_D : ROLE_M, e);
}

/* host: NULL for the end that was called. */
static int secure(struct end *x, const char *host, struct err *e)
{
	int one = 1;

	setsockopt(x->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	x->note.host = host;
	x->ssl = tls_connection(&x->tls, x->fd, &x->note, e);
	if (!x->ssl)
		return -1;
	SSL_clear_mode(x->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE); /* a write is the whole message */
	return SSL_do_handshake(x->ssl) == 1
		   ? 0
		   : err_set(e, ERR_ENV, "no TLS between two processes of this host");
}

static void end_free(struct end *x)
{
	SSL_free(x->ssl);
	if (x->tls.ctx)
		tls_free(&x->tls);
	config_free(&x->config);
	if (x->fd >= 0)
		close(x->fd);
}

/* ---- messages ---- */

/* Payload, the headers of its pieces, and BEGIN before the first. */
static size_t message_bytes(const struct program *p, uint32_t message, size_t batch)
{
	size_t bytes = p->messages[message].bytes * batch;

	return bytes + FRAME_HEADER * ((bytes + FRAME_BODY_MAX - 1) / FRAME_BODY_MAX) +
	       (message ? 0 : BEGIN_BYTES(batch));
}

static int write_bytes(SSL *ssl, const uint8_t *buffer, size_t n)
{
	for (size_t at = 0; at < n;) {
		int done =
		    SSL_write(ssl, buffer + at, (int)(n - at < FRAME_BODY_MAX ? n - at : FRAME_BODY_MAX));

		if (done <= 0)
			return -1;
		at += (size_t)done;
	}
	return 0;
}

static int read_bytes(SSL *ssl, uint8_t *buffer, size_t n)
{
	for (size_t at = 0; at < n;) {
		int done =
		    SSL_read(ssl, buffer + at, (int)(n - at < FRAME_BODY_MAX ? n - at : FRAME_BODY_MAX));

		if (done <= 0)
			return -1;
		at += (size_t)done;
	}
	return 0;
}

/* All messages of one inference, as one party. */
static int exchange(struct end *x, const struct program *p, enum party party, size_t batch, uint8_t *buffer)
{
	for (uint32_t m = 0; m < p->n_messages; m++) {
		size_t n = message_bytes(p, m, batch);

		if (p->messages[m].from == party ? write_bytes(x->ssl, buffer, n)
						 : read_bytes(x->ssl, buffer, n))
			return -1;
	}
	return 0;
}

static uint8_t *buffer_for(const struct program *p, size_t batch)
{
	size_t most = 1;

	for (uint32_t m = 0; m < p->n_messages; m++)
		if (most < message_bytes(p, m, batch))
			most = message_bytes(p, m, batch);
	return calloc(1, most);
}

/* ---- two processes ---- */

/* The model owner's end, in a child: until the other hangs up. */
static int answer(int listening, const struct roles *r, const struct program *p, size_t batch)
{
	struct end x = {.fd = -1};
	uint8_t *buffer = buffer_for(p, batch);
	struct err e = {0};

	if (!buffer || configure(&x, r, 'M', "model-owner", &e) ||
	    (x.fd = accept(listening, NULL, NULL)) < 0 || secure(&x, NULL, &e))
		return 1;
	while (!exchange(&x, p, P1, batch, buffer))
		;
	return 0;
}

/* Made on a role's host: it stays there. It has the congestion control that the roles' have. */
static int socket_of(const struct roles *r, enum link_role role)
{
	char congestion[CONGESTION_BYTES];
	struct err ignore = {0};
	int fd = -1;

	if (!r->net || !link_net_enter(r->net, role, &ignore))
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && !congestion_choose(congestion, "auto", &ignore))
		socket_congestion(fd, congestion);
	if (r->net && link_net_home(r->net, &ignore) && fd >= 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static const char *address_of(const struct roles *r)
{
	return r->net ? link_net_address(r->net, LINK_MODEL_OWNER) : "127.0.0.1";
}

static int listen_anywhere(const struct roles *r, struct sockaddr_in *at, struct err *e)
{
	int fd = socket_of(r, LINK_MODEL_OWNER);
	socklen_t n = sizeof(*at);

	*at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = inet_addr(address_of(r))};
	if (fd >= 0 && !bind(fd, (struct sockaddr *)at, sizeof(*at)) && !listen(fd, 1) &&
	    !getsockname(fd, (struct sockaddr *)at, &n))
		return fd;
	if (fd >= 0)
		close(fd);
	return err_set(e, ERR_ENV, "cannot listen on loopback: %s", strerror(errno));
}

static int measure(struct floor *f, struct end *x, const struct program *p, size_t batch, double seconds,
		   struct err *e)
{
	double samples[ROUNDS], end;
	uint8_t *buffer = buffer_for(p, batch);
	int failed = buffer ? exchange(x, p, P0, batch, buffer) : -1; /* one to warm up */

	end = bench_now() + seconds;
	for (f->rounds = 0; !failed && f->rounds < ROUNDS && (!f->rounds || bench_now() < end); f->rounds++) {
		double start = bench_now();

		failed = exchange(x, p, P0, batch, buffer);
		samples[f->rounds] = bench_now() - start;
	}
	free(buffer);
	f->seconds = bench_stat(samples, f->rounds);
	return failed ? err_set(e, ERR_ENV, "the floor's connection broke") : 0;
}

static int call(struct end *x, const struct roles *r, const struct sockaddr_in *at, struct err *e)
{
	x->fd = socket_of(r, LINK_DATA_OWNER);
	if (x->fd < 0 || connect(x->fd, (const struct sockaddr *)at, sizeof(*at)))
		return err_set(e, ERR_ENV, "cannot connect on loopback: %s", strerror(errno));
	return configure(x, r, 'D', "data-owner", e) ? -1 : secure(x, address_of(r), e);
}

int bench_floor(struct floor *f, const struct roles *r, const struct program *p, size_t batch, double seconds,
		struct err *e)
{
	struct end x = {.fd = -1};
	struct sockaddr_in at;
	int listening = listen_anywhere(r, &at, e), failed;
	pid_t child;

	if (listening < 0)
		return -1;
	child = fork();
	if (!child) {
		signal(
		    SIGTERM,
		    SIG_DFL); /* the loop's handlers would tell our parent, through a pipe that is shared */
		signal(SIGINT, SIG_DFL);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(answer(listening, r, p, batch));
	}
	close(listening);
	if (child < 0)
		return err_set(e, ERR_ENV, "cannot start a process: %s", strerror(errno));
	failed = call(&x, r, &at, e) || measure(f, &x, p, batch, seconds, e) ? -1 : 0;
	end_free(&x);
	child_stop(&child, 1000);
	return failed;
}
