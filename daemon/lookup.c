/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/lookup.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* Shared by the loop and the thread: whoever is last frees it. */
struct lookup {
	char host[256], port[16];
	lookup_done done;
	void *ctx;
	struct event *event; /* the loop's */
	int fd;		     /* eventfd: the thread has finished */
	/* below: under the lock */
	int holders;
	struct addrinfo *found;
	int failed;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

struct addrinfo *lookup_number(const char *host, const char *port)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV},
			*found = NULL;

	return getaddrinfo(host, port, &hints, &found) ? NULL : found;
}

static void let_go(struct lookup *l)
{
	int holders;

	pthread_mutex_lock(&lock);
	holders = --l->holders;
	pthread_mutex_unlock(&lock);
	if (holders)
		return;
	if (l->found)
		freeaddrinfo(l->found);
	if (l->fd >= 0)
		close(l->fd);
	free(l);
}

static void *resolve(void *ctx)
{
	struct lookup *l = ctx;
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *found = NULL;
	int failed = getaddrinfo(l->host, l->port, &hints, &found);
	uint64_t one = 1;

	pthread_mutex_lock(&lock);
	l->found = failed ? NULL : found;
	l->failed = failed;
	if (write(l->fd, &one, sizeof(one)) < 0)
		l->failed = EAI_SYSTEM; /* cannot happen: the counter is 0 */
	pthread_mutex_unlock(&lock);
	let_go(l);
	return NULL;
}

static void on_finished(evutil_socket_t fd, short what, void *ctx)
{
	struct lookup *l = ctx;
	struct addrinfo *found;
	lookup_done done = l->done;
	int failed;

	pthread_mutex_lock(&lock);
	found = l->found;
	l->found = NULL;
	failed = l->failed;
	pthread_mutex_unlock(&lock);
	ctx = l->ctx;
	lookup_cancel(l);
	done(ctx, found, found ? NULL : gai_strerror(failed));
}

void lookup_cancel(struct lookup *l)
{
	if (!l)
		return;
	event_free(l->event);
	let_go(l);
}

struct lookup *lookup_new(struct event_base *base, const char *host, const char *port, lookup_done done,
			  void *ctx, struct err *e)
{
	struct lookup *l = calloc(1, sizeof(*l));
	pthread_attr_t detached;
	pthread_t thread;

	if (!l)
		goto fail;
	snprintf(l->host, sizeof(l->host), "%s", host);
	snprintf(l->port, sizeof(l->port), "%s", port);
	l->done = done;
	l->ctx = ctx;
	l->holders = 2;
	l->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	l->event = l->fd < 0 ? NULL : event_new(base, l->fd, EV_READ, on_finished, l);
	if (!l->event || event_add(l->event, NULL))
		goto fail;
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &detached, resolve, l) == 0) {
		pthread_attr_destroy(&detached);
		return l;
	}
	pthread_attr_destroy(&detached);
fail:
	if (l && l->event)
		event_free(l->event);
	if (l && l->fd >= 0)
		close(l->fd);
	free(l);
	err_set(e, ERR_ENV, "cannot look up %s: out of memory, threads or descriptors", host);
	return NULL;
}
