/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/enclave_relay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIECE (256u << 10) /* read at once: also the most that waits for one side */

/* One socket, and what waits for it. */
struct side {
	struct relay *relay;
	int fd, ended; /* ended: it will send no more */
	struct event *readable, *writable;
	uint8_t *queue; /* owns; bytes [at, n) have not been taken; NULL: none */
	size_t at, n;
};

struct relay {
	struct relay *next, **place;
	struct relays *all;
	struct timeval silent;
	struct side side[2]; /* outside, inside */
};

struct relays {
	struct event_base *base;
	struct relay *first;
	unsigned n, most;
	void (*ended)(void *ctx);
	void *ctx;
	uint8_t piece[PIECE];
};

static void side_free(struct side *s)
{
	if (s->readable)
		event_free(s->readable);
	if (s->writable)
		event_free(s->writable);
	if (s->fd >= 0)
		close(s->fd);
	free(s->queue);
}

static void relay_free(struct relay *r)
{
	struct relays *all;

	*r->place = r->next;
	if (r->next)
		r->next->place = r->place;
	r->all->n--;
	side_free(&r->side[0]);
	side_free(&r->side[1]);
	all = r->all;
	free(r);
	if (all->ended)
		all->ended(all->ctx);
}

static struct side *other(struct side *s)
{
	struct relay *r = s->relay;

	return &r->side[s == &r->side[0]];
}

static int reads(struct side *s)
{
	return event_add(s->readable, s == &s->relay->side[0] ? &s->relay->silent : NULL);
}

/* How many of n bytes the socket has taken; -1: it has gone. */
static ssize_t give(const struct side *s, const uint8_t *p, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t r = send(s->fd, p + done, n - done, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return errno == EAGAIN ? (ssize_t)done : -1;
		done += (size_t)r;
	}
	return (ssize_t)done;
}

/* What was not taken waits, and its sender with it. */
static int keep(struct side *to, const uint8_t *p, size_t n)
{
	to->queue = malloc(n);
	if (!to->queue)
		return -1;
	memcpy(to->queue, p, n);
	to->at = 0;
	to->n = n;
	event_del(other(to)->readable);
	return event_add(to->writable, NULL);
}

/* No more will come from s: what waits for the other is still delivered. */
static void end(struct side *s)
{
	s->ended = 1;
	if (!other(s)->queue)
		relay_free(s->relay);
	else
		event_del(s->readable);
}

static void on_readable(evutil_socket_t fd, short what, void *ctx)
{
	struct side *s = ctx, *to = other(s);
	uint8_t *piece = s->relay->all->piece;
	ssize_t n = what & EV_TIMEOUT ? 0 : recv(fd, piece, PIECE, MSG_DONTWAIT), taken;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		end(s);
		return;
	}
	taken = give(to, piece, (size_t)n);
	if (taken < 0 || (taken < n && keep(to, piece + taken, (size_t)(n - taken))))
		relay_free(s->relay);
}

static void on_writable(evutil_socket_t fd, short what, void *ctx)
{
	struct side *s = ctx;
	ssize_t taken = give(s, s->queue + s->at, s->n - s->at);

	if (taken >= 0) {
		s->at += (size_t)taken;
		if (s->at < s->n && !event_add(s->writable, NULL))
			return;
	}
	free(s->queue);
	s->queue = NULL;
	if (taken < 0 || s->at < s->n || other(s)->ended || reads(other(s)))
		relay_free(s->relay);
}

static int side_start(struct side *s)
{
	struct event_base *base = s->relay->all->base;

	s->readable = event_new(base, s->fd, EV_READ | EV_PERSIST, on_readable, s);
	s->writable = event_new(base, s->fd, EV_WRITE, on_writable, s);
	return !s->readable || !s->writable || reads(s) ? -1 : 0;
}

int relays_full(const struct relays *all)
{
	return all->n >= all->most;
}

int relay_start(struct relays *all, int outside, int inside, unsigned silent_s)
{
	struct relay *r = calloc(1, sizeof(*r));

	if (!r) {
		close(outside);
		close(inside);
		return -1;
	}
	r->all = all;
	r->silent.tv_sec = (time_t)silent_s;
	r->next = all->first;
	r->place = &all->first;
	if (r->next)
		r->next->place = &r->next;
	all->first = r;
	all->n++;
	r->side[0] = (struct side){.relay = r, .fd = outside};
	r->side[1] = (struct side){.relay = r, .fd = inside};
	if (!side_start(&r->side[0]) && !side_start(&r->side[1]))
		return 0;
	relay_free(r);
	return -1;
}

struct relays *relays_new(struct event_base *base, unsigned most, void (*ended)(void *ctx), void *ctx)
{
	struct relays *all = calloc(1, sizeof(*all));

	if (!all)
		return NULL;
	all->base = base;
	all->most = most;
	all->ended = ended;
	all->ctx = ctx;
	return all;
}

void relays_free(struct relays *all)
{
	if (!all)
		return;
	while (all->first)
		relay_free(all->first);
	free(all);
}
