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

/* Threads with a queue of their own. */
struct crew {
	struct workers *workers;
	pthread_cond_t work;
	struct queue waiting;
	pthread_t *threads;
	unsigned n;
};
enum { OFFLINE, URGENT, CREWS };

struct workers {
	pthread_mutex_t lock;
	struct crew crews[CREWS];
	struct queue finished;
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

/* What the loop and urgent jobs do comes first: this thread gets what is left, and is not given the processor
 * early when it wakes. */
static void yield_to_loop(void)
{
	struct sched_param none = {0};

	setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE);
	sched_setscheduler(0, SCHED_BATCH, &none);
}

static void *work(void *ctx)
{
	struct crew *crew = ctx;
	struct workers *w = crew->workers;

	if (crew == &w->crews[OFFLINE])
		yield_to_loop();
	pthread_mutex_lock(&w->lock);
	for (;;) {
		struct entry *e;

		while (!(e = pop(&crew->waiting)) && !w->stopping)
			pthread_cond_wait(&crew->work, &w->lock);
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

static int crew_start(struct workers *w, struct crew *crew, unsigned n)
{
	crew->workers = w;
	if (!(crew->threads = calloc(n, sizeof(*crew->threads))))
		return -1;
	while (crew->n < n && !pthread_create(&crew->threads[crew->n], NULL, work, crew))
		crew->n++;
	return crew->n == n ? 0 : -1;
}

int workers_new(struct workers **workers, struct event_base *base, unsigned n, struct err *e)
{
	struct workers *w = calloc(1, sizeof(*w));

	*workers = NULL;
	if (!w)
		return err_set(e, ERR_ENV, "out of memory");
	pthread_mutex_init(&w->lock, NULL);
	w->finished.last = &w->finished.first;
	for (int i = 0; i < CREWS; i++) {
		pthread_cond_init(&w->crews[i].work, NULL);
		w->crews[i].waiting.last = &w->crews[i].waiting.first;
	}
	w->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	w->event = w->wake < 0 ? NULL : event_new(base, w->wake, EV_READ | EV_PERSIST, on_wake, w);
	if (!w->event || event_add(w->event, NULL)) {
		workers_free(w);
		return err_set(e, ERR_ENV, "cannot make an event descriptor");
	}
	for (int i = 0; i < CREWS; i++)
		if (crew_start(w, &w->crews[i], n)) {
			workers_free(w);
			return err_set(e, ERR_ENV,
				       "cannot start %u worker threads; --threads=N asks for fewer",
				       CREWS * n);
		}
	*workers = w;
	return 0;
}

void workers_submit(struct workers *w, struct job *job)
{
	struct crew *crew = &w->crews[job->urgent ? URGENT : OFFLINE];
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
	push(&crew->waiting, e);
	pthread_cond_signal(&crew->work);
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
	for (int i = 0; i < CREWS; i++)
		pthread_cond_broadcast(&w->crews[i].work);
	pthread_mutex_unlock(&w->lock);
	for (int i = 0; i < CREWS; i++)
		for (unsigned t = 0; t < w->crews[i].n; t++)
			pthread_join(w->crews[i].threads[t], NULL);
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
	for (int i = 0; i < CREWS; i++) {
		pthread_cond_destroy(&w->crews[i].work);
		free(w->crews[i].threads);
	}
	pthread_mutex_destroy(&w->lock);
	free(w);
}
