/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs: each runs once on another thread, is done once on the loop's, in order when there is one worker; none
 * is lost at the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>

#include "daemon/workers.h"

#define JOBS 200

struct task {
	struct job job; /* first */
	struct workers *workers;
	int number, runs, dones, again; /* again: done() submits it so often */
	pthread_t ran_on, done_on;
};

static struct task tasks[JOBS];
static int finished, order[JOBS];

static void run(struct job *job)
{
	struct task *c = (struct task *)job;

	c->runs++;
	c->ran_on = pthread_self();
	if (c->number % 50 == 0)
		usleep(2000);
}

static void done(struct job *job)
{
	struct task *c = (struct task *)job;

	if (!c->dones++)
		order[finished++] = c->number;
	c->done_on = pthread_self();
	if (c->again-- > 0)
		workers_submit(c->workers, job);
}

static struct workers *start(struct event_base *base, unsigned threads, int again)
{
	struct workers *w;
	struct err e = {0};

	assert_int_equal(workers_new(&w, base, threads, &e), 0);
	finished = 0;
	for (int i = 0; i < JOBS; i++) {
		tasks[i] = (struct task){
		    .job = {.run = run, .done = done}, .workers = w, .number = i, .again = again};
		workers_submit(w, &tasks[i].job);
	}
	return w;
}

static void check(int times, int other_thread)
{
	assert_int_equal(finished, JOBS);
	for (int i = 0; i < JOBS; i++) {
		assert_int_equal(tasks[i].runs, times);
		assert_int_equal(tasks[i].dones, times);
		assert_true(pthread_equal(tasks[i].done_on, pthread_self()));
		if (other_thread)
			assert_false(pthread_equal(tasks[i].ran_on, pthread_self()));
	}
}

static void test_order(void **state)
{
	struct event_base *base = event_base_new();
	struct workers *w = start(base, 1, 0);

	assert_int_equal(workers_busy(w), JOBS);
	while (workers_busy(w))
		event_base_loop(base, EVLOOP_ONCE);
	check(1, 1);
	for (int i = 0; i < JOBS; i++)
		assert_int_equal(order[i], i);
	workers_free(w);
	event_base_free(base);
}

static void test_again(void **state)
{
	struct event_base *base = event_base_new();
	struct workers *w = start(base, 3, 4);

	while (workers_busy(w))
		event_base_loop(base, EVLOOP_ONCE);
	check(5, 1);
	workers_free(w);
	event_base_free(base);
}

/* The end comes while jobs wait, run and are submitted again. */
static void test_end(void **state)
{
	struct event_base *base = event_base_new();
	struct workers *w = start(base, 2, 2);

	workers_free(w);
	check(3, 0);
	event_base_free(base);
}

static sem_t gate;

static void wait_at_gate(struct job *job)
{
	sem_wait(&gate);
	run(job);
}

static void open_gate(struct job *job)
{
	run(job);
	sem_post(&gate);
}

/* An urgent job runs while an offline one keeps the only thread for them; that one waits for it here. */
static void test_urgent(void **state)
{
	struct event_base *base = event_base_new();
	struct err e = {0};
	struct workers *w;

	sem_init(&gate, 0, 0);
	finished = 0;
	assert_int_equal(workers_new(&w, base, 1, &e), 0);
	tasks[0] = (struct task){.job = {wait_at_gate, done, 0}, .workers = w, .number = 1};
	tasks[1] = (struct task){.job = {open_gate, done, 1}, .workers = w, .number = 2};
	workers_submit(w, &tasks[0].job);
	workers_submit(w, &tasks[1].job);
	while (workers_busy(w))
		event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(tasks[0].dones, 1);
	assert_int_equal(tasks[1].dones, 1);
	workers_free(w);
	event_base_free(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_order),
	    cmocka_unit_test(test_again),
	    cmocka_unit_test(test_end),
	    cmocka_unit_test(test_urgent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
