/* SPDX-License-Identifier: Apache-2.0 */
/* Daemon and decoder process talk over a socket pair: each byte carries the end of another socket pair, on
 * which one picture goes one way and its pixels come back. */
#include "daemon/decoder.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <sodium.h>

#include "daemon/confine.h"

#define RUNNING_MAX 4
#define DEADLINE_S 30

struct question {
	struct fit fit;
	uint64_t bytes;
};
struct answer {
	struct err err;
	uint32_t failed;
};

struct decoder {
	struct event_base *base;
	int control; /* our end; the process ends when it is closed */
	pid_t pid;
	struct decoding *first; /* in the order of asking; the first RUNNING_MAX run */
};

struct decoding {
	struct decoding *next;
	struct decoder *decoder;
	struct question question;
	uint8_t *bytes; /* owns; NULL when it runs */
	struct bufferevent *socket;
	struct event *over; /* its end, or its deadline, told from the loop */
	decoder_done done;
	void *ctx;
	struct err err;
};

/* ---- the child of one picture ---- */

static int get_all(void *p, size_t n)
{
	uint8_t *at = p;

	while (n) {
		ssize_t k = read(CONFINE_FD, at, n);

		if (k <= 0)
			return -1;
		at += k;
		n -= (size_t)k;
	}
	return 0;
}

static int decode(uint8_t **chw, struct question *q, struct err *e)
{
	uint8_t *bytes;
	struct image im;

	if (get_all(q, sizeof(*q)) || q->bytes > DECODER_BYTES_MAX)
		return err_set(e, ERR_ENV, "the decoder of pictures was asked for nothing");
	bytes = malloc(q->bytes + 1);
	*chw = malloc(shape_size(q->fit.want));
	if (!bytes || !*chw)
		return err_set(e, ERR_ENV, "out of memory for a picture");
	if (get_all(bytes, q->bytes))
		return err_set(e, ERR_ENV, "the decoder of pictures was not given its picture");
	return image_decode_here(&im, bytes, q->bytes, e) || image_fit(*chw, &im, &q->fit, e) ? -1 : 0;
}

static void __attribute__((noreturn)) child(int fd)
{
	struct question q = {0};
	struct answer a = {0};
	uint8_t *chw = NULL;

	if (confine_enter(fd))
		a.failed = 1 + err_set(&a.err, ERR_ENV,
				       "cannot confine the decoder of pictures: this system refuses seccomp "
				       "or rlimits");
	a.failed = a.err.code || decode(&chw, &q, &a.err);
	if (!confine_put(&a, sizeof(a)) && !a.failed)
		confine_put(chw, shape_size(q.fit.want));
	_exit(0);
}

/* ---- the process that has them ---- */

/* The socket that came; -1: the daemon has ended. */
static int next_socket(int control)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} u;
	char byte;
	struct iovec part = {&byte, 1};
	struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof(u)};
	ssize_t n;
	int fd = -1;

	do
		n = recvmsg(control, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n == 1 && CMSG_FIRSTHDR(&m))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	return fd;
}

static void __attribute__((noreturn)) serve(int control, pid_t daemon)
{
	int fd;

	prctl(PR_SET_NAME, "obscura-decoder");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_DUMPABLE, 0);
	if (getppid() != daemon)
		_exit(0);
	for (int s = 1; s < 32; s++)
		signal(s, SIG_DFL);
	signal(SIGINT, SIG_IGN); /* the daemon ends us */
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGCHLD, SIG_IGN); /* nobody waits for children */
	dup2(control, CONFINE_FD);
	close_range(CONFINE_FD + 1, ~0U, 0);
	while ((fd = next_socket(CONFINE_FD)) >= 0) {
		if (!fork())
			child(fd);
		close(fd); /* also when there was no fork: the daemon then reads an end */
	}
	_exit(0);
}

int decoder_new(struct decoder **decoder, struct err *e)
{
	struct decoder *d = calloc(1, sizeof(*d));
	pid_t self = getpid();
	int ends[2];

	*decoder = NULL;
	if (!d || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends)) {
		free(d);
		return err_set(e, ERR_ENV, "cannot make a socket for the decoder of pictures: %s",
			       strerror(errno));
	}
	d->control = ends[0];
	d->pid = fork();
	if (!d->pid)
		serve(ends[1], self);
	close(ends[1]);
	if (d->pid < 0) {
		close(ends[0]);
		free(d);
		return err_set(e, ERR_ENV, "cannot fork the decoder of pictures: %s", strerror(errno));
	}
	*decoder = d;
	return 0;
}

void decoder_attach(struct decoder *d, struct event_base *base)
{
	d->base = base;
}

void decoder_free(struct decoder *d)
{
	if (!d)
		return;
	close(d->control);
	while (waitpid(d->pid, NULL, 0) < 0 && errno == EINTR)
		;
	free(d);
}

/* ---- the daemon's side of one picture ---- */

static void start_waiting(struct decoder *d);

void decoder_cancel(struct decoding *x)
{
	struct decoding **at;

	if (!x)
		return;
	for (at = &x->decoder->first; *at != x;)
		at = &(*at)->next;
	*at = x->next;
	if (x->socket)
		bufferevent_free(x->socket);
	if (x->bytes)
		sodium_memzero(x->bytes, x->question.bytes);
	free(x->bytes);
	event_free(x->over);
	start_waiting(x->decoder);
	free(x);
}

/* Takes chw. */
static void finish(struct decoding *x, uint8_t *chw)
{
	size_t bytes = shape_size(x->question.fit.want);
	decoder_done done = x->done;
	void *ctx = x->ctx;
	struct err e = x->err;

	decoder_cancel(x);
	done(ctx, chw, &e);
	if (chw)
		sodium_memzero(chw, bytes);
	free(chw);
}

/* The deadline, or a failure that must not be told from inside decoder_start. */
static void on_over(evutil_socket_t fd, short what, void *ctx)
{
	struct decoding *x = ctx;

	err_set(&x->err, ERR_INPUT, "refused: its decoder took longer than %d s", DEADLINE_S);
	finish(x, NULL);
}

static void on_event(struct bufferevent *socket, short what, void *ctx)
{
	struct decoding *x = ctx;

	err_set(&x->err, ERR_INPUT,
		"refused: its decoder ended without a picture: it crashed, ran for too long or wanted too "
		"much memory");
	finish(x, NULL);
}

/* Like evbuffer_remove, but leaves nothing in what libevent frees. */
static void take_pixels(struct evbuffer *in, uint8_t *out, size_t n)
{
	struct evbuffer_iovec piece;

	while (n && evbuffer_peek(in, 1, NULL, &piece, 1) > 0 && piece.iov_len) {
		size_t part = piece.iov_len < n ? piece.iov_len : n;

		memcpy(out, piece.iov_base, part);
		sodium_memzero(piece.iov_base, part);
		evbuffer_drain(in, part);
		out += part;
		n -= part;
	}
}

static void on_read(struct bufferevent *socket, void *ctx)
{
	struct decoding *x = ctx;
	struct evbuffer *in = bufferevent_get_input(socket);
	size_t pixels = shape_size(x->question.fit.want);
	struct answer a;
	uint8_t *chw;

	if (evbuffer_copyout(in, &a, sizeof(a)) < (ssize_t)sizeof(a))
		return;
	a.err.text[sizeof(a.err.text) - 1] = 0;
	if (a.failed) {
		err_set(&x->err, a.err.code == ERR_ENV ? ERR_ENV : ERR_INPUT, "%s", a.err.text);
		finish(x, NULL);
		return;
	}
	if (evbuffer_get_length(in) < sizeof(a) + pixels)
		return;
	chw = malloc(pixels);
	if (chw) {
		evbuffer_drain(in, sizeof(a));
		take_pixels(in, chw, pixels);
	} else {
		err_set(&x->err, ERR_ENV, "out of memory for a picture");
	}
	finish(x, chw);
}

/* Takes fd, which goes to the process. */
static int hand_over(int control, int fd)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} u = {
	    .head = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
	struct iovec part = {"", 1};
	struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof(u)};
	int failed;

	memcpy(CMSG_DATA(&u.head), &fd, sizeof(fd));
	failed = sendmsg(control, &m, MSG_DONTWAIT | MSG_NOSIGNAL) != 1;
	close(fd);
	return failed;
}

/* What libevent has sent. */
static void wipe(const void *bytes, size_t n, void *all)
{
	sodium_memzero(all, n);
	free(all);
}

/* The picture goes from where it lies: a copy of libevent's would stay in freed memory. 0: it is
 * libevent's. */
static int send_picture(struct decoding *x)
{
	if (!x->question.bytes)
		return 0;
	if (evbuffer_add_reference(bufferevent_get_output(x->socket), x->bytes, x->question.bytes, wipe,
				   x->bytes))
		return -1;
	x->bytes = NULL;
	return 0;
}

static int run(struct decoding *x, struct err *e)
{
	struct decoder *d = x->decoder;
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		return err_set(e, ERR_ENV, "cannot make a socket for a picture: %s", strerror(errno));
	evutil_make_socket_nonblocking(ends[0]);
	x->socket = bufferevent_socket_new(d->base, ends[0], BEV_OPT_CLOSE_ON_FREE);
	if (!x->socket) {
		close(ends[0]);
		close(ends[1]);
		return err_set(e, ERR_ENV, "out of memory for a picture");
	}
	if (hand_over(d->control, ends[1]))
		return err_set(e, ERR_ENV, "the decoder of pictures has ended; restart the daemon");
	bufferevent_setcb(x->socket, on_read, NULL, on_event, x);
	bufferevent_write(x->socket, &x->question, sizeof(x->question));
	if (send_picture(x))
		return err_set(e, ERR_ENV, "out of memory for a picture");
	bufferevent_enable(x->socket, EV_READ | EV_WRITE);
	return 0;
}

static void start_waiting(struct decoder *d)
{
	struct timeval limit = {.tv_sec = DEADLINE_S};
	int n = 0;

	for (struct decoding *x = d->first; x && n < RUNNING_MAX; x = x->next, n++) {
		if (x->socket)
			continue;
		if (run(x, &x->err))
			event_active(x->over, EV_TIMEOUT, 0);
		else
			event_add(x->over, &limit);
	}
}

int decoder_start(struct decoding **new, struct decoder *d, const struct fit *fit, const uint8_t *bytes,
		  size_t n, decoder_done done, void *ctx, struct err *e)
{
	struct decoding *x, **last = &d->first;

	*new = NULL;
	if (n > DECODER_BYTES_MAX)
		return err_set(e, ERR_INPUT, "a picture of %zu MB is too large", n >> 20);
	x = calloc(1, sizeof(*x));
	if (!x || !(x->bytes = malloc(n + 1)) || !(x->over = event_new(d->base, -1, 0, on_over, x))) {
		free(x ? x->bytes : NULL);
		free(x);
		return err_set(e, ERR_ENV, "out of memory for a picture");
	}
	memcpy(x->bytes, bytes, n);
	x->decoder = d;
	x->question = (struct question){.fit = *fit, .bytes = n};
	x->done = done;
	x->ctx = ctx;
	while (*last)
		last = &(*last)->next;
	*last = x;
	*new = x;
	start_waiting(d);
	return 0;
}
