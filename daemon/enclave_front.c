/* SPDX-License-Identifier: Apache-2.0 */
/* Each connection from outside gets a socket pair, whose other end goes to the child; bytes pass through both
 * ways (enclave_relay.c). */
#include "daemon/enclave_front.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/listener.h>

#include "daemon/attest.h"
#include "daemon/enclave.h"
#include "daemon/enclave_keep.h"
#include "daemon/enclave_quote.h"
#include "daemon/enclave_relay.h"
#include "daemon/log.h"
#include "daemon/net_parts.h"
#include "daemon/seal.h"

#define RELAYS 256
#define COLD_US 4000	/* in which a client has shaken hands, seen evidence, asked once, and been answered */
#define REFILL_US 50000 /* the client that came last is likely to have been served */
#define HAND_S 5	/* so long may the child take to make room for a file */
#define PAUSE_US 100000
#define SILENT_S 120 /* a client that says nothing gives its place in the child back */

struct enclave_front {
	struct net *net;
	struct event_base *base;
	struct evconnlistener *listener;
	struct event *control;
	int fd;	   /* to the child: sockets of new connections; back: "R" */
	int spare; /* for the next client: our end of a pair whose other end the child waits at; -1: none */
	struct event *refill;
	struct event *again; /* pending: nothing is accepted until then */
	pid_t quoter, keeper;
	const struct quote_provider *provider;
	struct relays *relays;
};

/* ---- new connections ---- */

/* Connections do not wait for a child that is behind; all else does, for a while: no crowd of strangers may
 * keep a revocation list from it. */
static int hand_over(int control, int fd, char what)
{
	int wait = what != ENCLAVE_HANDS_CONNECTION && what != ENCLAVE_HANDS_SPARE;
	char buffer[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec io = {&what, 1};
	struct msghdr m = {
	    .msg_iov = &io, .msg_iovlen = 1, .msg_control = buffer, .msg_controllen = sizeof(buffer)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	ssize_t sent;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	do
		sent = sendmsg(control, &m, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT));
	while (sent < 0 && errno == EINTR);
	return sent == 1 ? 0 : -1;
}

/* A pair, of which the child gets one end: it blocks there and has a thread for each. Returns the other; -1:
 * it cannot be. */
static int open_pair(const struct enclave_front *f, char what)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -1;
	evutil_make_socket_nonblocking(pair[0]);
	if (hand_over(f->fd, pair[1], what)) {
		close(pair[0]);
		pair[0] = -1;
	}
	close(pair[1]);
	return pair[0];
}

static void drop_spare(struct enclave_front *f)
{
	if (f->spare >= 0)
		close(f->spare);
	f->spare = -1;
}

/* -1: there is none, or the child had no place for it. */
static int take_spare(struct enclave_front *f)
{
	int fd = f->spare;
	char byte;

	if (fd >= 0 && recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN) {
		f->spare = -1;
		return fd;
	}
	drop_spare(f);
	return -1;
}

static void refill(void *ctx)
{
	struct enclave_front *f = ctx;

	net_soon(f->net, 0);
	if (f->refill && f->spare < 0)
		f->spare = open_pair(f, ENCLAVE_HANDS_SPARE);
}

static void on_refill(evutil_socket_t fd, short what, void *ctx)
{
	refill(ctx);
}

/* Takes outside. The child has prepared for one client ahead (a thread, TLS), and does so again when a client
 * has gone or some time has passed: not while it serves this one. */
static int relay(struct enclave_front *f, int outside)
{
	static const struct timeval later = {0, REFILL_US};
	int inside = take_spare(f);

	if (inside < 0)
		inside = open_pair(f, ENCLAVE_HANDS_CONNECTION);
	event_add(f->refill, &later);
	if (inside >= 0)
		return relay_start(f->relays, outside, inside, SILENT_S);
	close(outside);
	return -1;
}

/* Descriptors are short, or the child is far behind: without turning in circles, or a line for each stranger. */
static void pause_accepting(struct enclave_front *f)
{
	static const struct timeval later = {0, PAUSE_US};

	if (evtimer_pending(f->again, NULL))
		return;
	log_line(LOG_WARNING, "connections cannot be handed to the enclave: %s", strerror(errno));
	evconnlistener_disable(f->listener);
	evtimer_add(f->again, &later);
}

static void on_again(evutil_socket_t fd, short what, void *ctx)
{
	struct enclave_front *f = ctx;

	evconnlistener_enable(f->listener);
}

static void on_accept_error(struct evconnlistener *l, void *ctx)
{
	pause_accepting(ctx);
}

static void on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *from, int n, void *ctx)
{
	struct enclave_front *f = ctx;

	if (relays_full(f->relays)) {
		close(fd);
		return;
	}
	socket_no_delay(fd);
	net_soon(f->net, COLD_US);
	if (relay(f, fd))
		pause_accepting(f);
}

/* ---- the child ---- */

static void stop(struct enclave_front *f)
{
	if (f->listener)
		evconnlistener_free(f->listener);
	f->listener = NULL;
	if (f->control)
		event_free(f->control);
	f->control = NULL;
	if (f->refill)
		event_free(f->refill);
	f->refill = NULL;
	if (f->again)
		event_free(f->again);
	f->again = NULL;
	drop_spare(f);
	relays_free(f->relays);
	f->relays = NULL;
}

static void on_control(evutil_socket_t fd, short what, void *ctx)
{
	struct enclave_front *f = ctx;
	char text[ENCLAVE_NOTE];
	ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		text[n] = 0;
		if (*text == ENCLAVE_SAYS_READY)
			log_line(LOG_INFO,
				 "the enclave is ready (%s); it has no model until one is provisioned",
				 f->provider->what);
		else
			log_line(*text == ENCLAVE_SAYS_WARNING ? LOG_WARNING : LOG_INFO, "the enclave: %s",
				 text + 1);
		return;
	}
	log_line(LOG_ERR, "the enclave has ended; restart this daemon, then provision the model again");
	stop(f);
}

static int simulation_files(const struct config *c, char key[1100], char chain[1100], struct err *e)
{
	snprintf(key, 1100, "%.1000s/quoting.key", c->simulation);
	snprintf(chain, 1100, "%.1000s/chain.pem", c->simulation);
	if (access(key, R_OK) || access(chain, R_OK))
		return err_set(e, ERR_INPUT,
			       "%.300s: %s; obscura attest simulation --dir %.100s makes what is needed", key,
			       strerror(errno), c->simulation);
	return 0;
}

static int start(struct enclave_front *f, const struct config *c, struct err *e)
{
	static const struct timeval patience = {.tv_sec = HAND_S};
	char key[1100], chain[1100];
	int simulated = !strcmp(f->provider->name, "sim");
	char *const argv[] = {(char *)"obscura-enclave",
			      (char *)"quoter",
			      (char *)f->provider->name,
			      (char *)c->ca,
			      simulated ? key : NULL,
			      chain,
			      NULL};

	if (simulated && simulation_files(c, key, chain, e))
		return -1;
	if (enclave_spawn("obscura-enclave", argv, &f->fd, &f->quoter, e))
		return -1;
	setsockopt(f->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	return 0;
}

/* The sealed state's keeper, when there is to be one; the child gets its socket before any connection. */
static int start_keeper(struct enclave_front *f, const struct config *c, struct err *e)
{
	char *const argv[] = {(char *)"obscura-enclave-keeper", c->enclave_tpm, c->enclave_state, NULL};
	int fd = -1, bad;

	if (!c->enclave_state[0])
		return 0;
	bad = enclave_spawn("obscura-enclave-keeper", argv, &fd, &f->keeper, e) || keep_ready(fd, e);
	if (!bad && (bad = hand_over(f->fd, fd, ENCLAVE_HANDS_KEEPER)))
		err_set(e, ERR_ENV, "cannot hand the keeper to the enclave: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
	return bad;
}

/* Its descriptor, or -1. */
static int open_sealed(const char *path, struct err *e)
{
	char magic[sizeof(SEAL_MAGIC) - 1];
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_set(e, err_of_file(errno), "cannot read %.300s of enclave_models: %s", path,
			       strerror(errno));
	if (pread(fd, magic, sizeof(magic), 0) == (ssize_t)sizeof(magic) &&
	    !memcmp(magic, SEAL_MAGIC, sizeof(magic)))
		return fd;
	close(fd);
	return err_set(e, ERR_INPUT,
		       "%.300s of enclave_models is no sealed model of this version; "
		       "obscura model seal makes one",
		       path);
}

/* Sealed models go to the child as open files; the same again are known by their heads. */
static int hand_models(struct enclave_front *f, const struct config *c, struct err *e)
{
	for (size_t i = 0; i < c->enclave_models.n; i++) {
		const char *path = c->enclave_models.items[i];
		int fd = open_sealed(path, e), bad;

		if (fd < 0)
			return -1;
		bad = hand_over(f->fd, fd, ENCLAVE_HANDS_SEALED);
		if (bad)
			err_set(e, ERR_ENV, "cannot hand %.300s to the enclave: %s", path, strerror(errno));
		close(fd);
		if (bad)
			return -1;
	}
	return 0;
}

static int hand_file(struct enclave_front *f, const char *path, char what, struct err *e)
{
	int fd, bad;

	if (!path[0])
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, ERR_INPUT, "cannot read %.300s: %s", path, strerror(errno));
	bad = hand_over(f->fd, fd, what);
	if (bad)
		err_set(e, ERR_ENV, "cannot hand %.300s to the enclave: %s", path, strerror(errno));
	close(fd);
	return bad;
}

int enclave_front_rules(struct enclave_front *f, const struct config *c, struct err *e)
{
	int bad;

	if (!f || f->fd < 0)
		return 0;
	bad = hand_file(f, c->access, ENCLAVE_HANDS_ACCESS, e);
	bad |= hand_file(f, c->revoked, ENCLAVE_HANDS_REVOKED, e); /* whatever became of the others */
	bad |= hand_file(f, c->enclave_owners, ENCLAVE_HANDS_OWNERS, e);
	return bad;
}

static int listen_at(struct enclave_front *f, const char *address, struct err *e)
{
	struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM}, *found = NULL;
	struct sockaddr_storage bound;
	socklen_t n = sizeof(bound);
	char host[256], port[16];

	if (address_split(address, host, sizeof(host), port, sizeof(port), e))
		return -1;
	if (getaddrinfo(host, port, &hints, &found))
		return err_set(e, ERR_INPUT, "enclave_listen: %.200s is no address", address);
	f->listener = evconnlistener_new_bind(
	    f->base, on_accept, f, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE, -1,
	    found->ai_addr, (int)found->ai_addrlen);
	freeaddrinfo(found);
	if (!f->listener)
		return err_set(e, ERR_ENV, "cannot listen on %.200s: %s", address, strerror(errno));
	evconnlistener_set_error_cb(f->listener, on_accept_error);
	if (!getsockname(evconnlistener_get_fd(f->listener), (struct sockaddr *)&bound, &n) &&
	    !getnameinfo((struct sockaddr *)&bound, n, host, sizeof(host), port, sizeof(port),
			 NI_NUMERICHOST | NI_NUMERICSERV))
		log_line(LOG_INFO, "enclave at %s:%s", host, port);
	return 0;
}

int enclave_front_check(const struct config *c, struct err *e)
{
	const struct quote_provider *provider;
	char key[1100], chain[1100];

	if (!c->enclave_listen[0])
		return c->enclave_models.n || c->enclave_state[0] || c->enclave_owners[0]
			   ? err_set(e, ERR_USAGE,
				     "enclave_models, enclave_owners and enclave_state need enclave_listen")
			   : 0;
	if (c->enclave_owners[0] && attest_models_read(c->enclave_owners, e))
		return -1;
	provider = quote_choose(c->tee, &quote_host_linux, e);
	if (!provider || (!strcmp(provider->name, "sim") && simulation_files(c, key, chain, e)))
		return -1;
	for (size_t i = 0; i < c->enclave_models.n; i++) {
		int fd = open_sealed(c->enclave_models.items[i], e);

		if (fd < 0)
			return -1;
		close(fd);
	}
	return 0;
}

int enclave_front_new(struct enclave_front **front, struct net *net, const struct config *config,
		      struct err *e)
{
	struct enclave_front *f;

	*front = NULL;
	if (enclave_front_check(config, e))
		return -1;
	if (!config->enclave_listen[0])
		return 0;
	f = calloc(1, sizeof(*f));
	if (!f)
		return err_set(e, ERR_ENV, "out of memory");
	f->net = net;
	f->base = net_base(net);
	f->fd = f->spare = -1;
	f->provider = quote_choose(config->tee, &quote_host_linux, e);
	f->relays = relays_new(f->base, RELAYS, refill, f);
	f->refill = evtimer_new(f->base, on_refill, f);
	f->again = evtimer_new(f->base, on_again, f);
	if (!f->relays || !f->refill || !f->again) {
		err_set(e, ERR_ENV, "out of memory");
		goto fail;
	}
	if (!f->provider || start(f, config, e) || enclave_front_rules(f, config, e) ||
	    hand_models(f, config, e) || start_keeper(f, config, e) ||
	    listen_at(f, config->enclave_listen, e))
		goto fail;
	f->control = event_new(f->base, f->fd, EV_READ | EV_PERSIST, on_control, f);
	if (f->control && !event_add(f->control, NULL)) {
		refill(f);
		*front = f;
		return 0;
	}
	err_set(e, ERR_ENV, "out of memory");
fail:
	enclave_front_free(f);
	return -1;
}

void enclave_front_reload(struct enclave_front *f, const struct config *config)
{
	struct err e = {0};

	if (f && f->listener && hand_models(f, config, &e))
		log_err(LOG_WARNING, "sealed models", &e);
}

void enclave_front_free(struct enclave_front *f)
{
	if (!f)
		return;
	stop(f);
	if (f->fd >= 0)
		close(f->fd); /* the child ends, then the quoter */
	if (f->quoter > 0)
		waitpid(f->quoter, NULL, 0);
	if (f->keeper > 0)
		waitpid(f->keeper, NULL, 0); /* ends with the child */
	free(f);
}
