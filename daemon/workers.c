/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/workers.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NICE 10

/* A queue entry: jobs are the sessions' own and have no link. */
struct entry {
	struct entry *next;
	struct job *job;
};
struct queue {
	struct entry *first, **last;
};

struct workers {
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct queue waiting, finished;
	pthread_t *threads;
	unsigned n;
	int stopping, wake;  /* eventfd */
	struct entry *spare; /* the loop's: entries to be used again */
	size_t under_way;    /* the loop's */
	struct event *event;
};

static void push(struct queue *q, struct entry *e)
{
	e->next = NULL;
	*q->last = e;
	q->last = &e->next;
}

static struct entry *pop(struct queue *q)
{
	struct entry *e = q->first;

	if (e && !(q->first = e->next))
		q->last = &q->first;
	return e;
}

static void wake(struct workers *w)
{
	uint64_t one = 1;

	if (write(w->wake, &one, sizeof(one)) < 0)
		return; /* the counter is full: it will wake anyway */
}

/* What the loop does comes first: this thread gets what is left, and is not given the processor early when it
 * wakes. */
static void yield_to_loop(void)
{
	struct sched_param none = {0};

	setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE);
	sched_setscheduler(0, SCHED_BATCH, &none);
}

static void *work(void *ctx)
{
	struct workers *w = ctx;

	yield_to_loop();
	pthread_mutex_lock(&w->lock);
	for (;;) {
		struct entry *e;

		while (!(e = pop(&w->waiting)) && !w->stopping)
			pthread_cond_wait(&w->work, &w->lock);
		if (!e)
			break;
		pthread_mutex_unlock(&w->lock);
		e->job->run(e->job);
		pthread_mutex_lock(&w->lock);
		push(&w->finished, e);
		wake(w);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static void finish(struct workers *w)
{
	struct entry *e;

	for (;;) {
		struct job *job;

		pthread_mutex_lock(&w->lock);
		e = pop(&w->finished);
		pthread_mutex_unlock(&w->lock);
		if (!e)
			return;
		job = e->job;
		e->next = w->spare;
		w->spare = e;
		w->under_way--;
		job->done(job); /* may submit another */
	}
}

static void on_wake(evutil_socket_t fd, short what, void *ctx)
{
	uint64_t n;

	if (read(fd, &n, sizeof(n)) == sizeof(n))
		finish(ctx);
}

int workers_new(struct workers **workers, struct event_base *base, unsigned n, struct err *e)
{
	struct workers *w = calloc(1, sizeof(*w));

	*workers = NULL;
	if (!w || !(w->threads = calloc(n, sizeof(*w->threads)))) {
		free(w);
		return err_set(e, ERR_ENV, "out of memory");
	}
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->work, NULL);
	w->waiting.last = &w->waiting.first;
	w->finished.last = &w->finished.first;
	w->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	w->event = w->wake < 0 ? NULL : event_new(base, w->wake, EV_READ | EV_PERSIST, on_wake, w);
	if (!w->event || event_add(w->event, NULL)) {
		workers_free(w);
		return err_set(e, ERR_ENV, "cannot make an event descriptor");
	}
	for (; w->n < n; w->n++)
		if (pthread_create(&w->threads[w->n], NULL, work, w)) {
			workers_free(w);
			return err_set(e, ERR_ENV,
				       "cannot start %u worker threads; --threads=N asks for fewer", n);
		}
	*workers = w;
	return 0;
}

void workers_submit(struct workers *w, struct job *job)
{
	struct entry *e = w->spare;

	if (e)
		w->spare = e->next;
	else
		e = malloc(sizeof(*e));
	if (!e || w->stopping) { /* better late than lost; a job that ends may still submit the next */
		free(e);
		job->run(job);
		job->done(job);
		return;
	}
	e->job = job;
	w->under_way++;
	pthread_mutex_lock(&w->lock);
	push(&w->waiting, e);
	pthread_cond_signal(&w->work);
	pthread_mutex_unlock(&w->lock);
}

size_t workers_busy(const struct workers *w)
{
	return w->under_way;
}

void workers_free(struct workers *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->stopping = 1;
	pthread_cond_broadcast(&w->work);
	pthread_mutex_unlock(&w->lock);
	for (unsigned i = 0; i < w->n; i++)
		pthread_join(w->threads[i], NULL);
	finish(w);
	if (w->event)
		event_free(w->event);
	if (w->wake >= 0)
		close(w->wake);
	while (w->spare) {
		struct entry *e = w->spare;

		w->spare = e->next;
		free(e);
	}
	pthread_cond_destroy(&w->work);
	pthread_mutex_destroy(&w->lock);
	free(w->threads);
	free(w);
}
