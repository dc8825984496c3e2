/* SPDX-License-Identifier: Apache-2.0 */
/* --optimise auto: which of the two modes the link at hand wants, measured on the live connections. An image
 * takes, offline work included,
 *     t(mode) = round trips · RTT + (online bytes + δ + corrections) / R
 * RTT is the kernel's, of the connection to the model owner. R is what making tickets came to until the pool
 * was full (or for two seconds): (δ + corrections) · tickets / time; it has the provider's link in it, and
 * the work, neither of which we can see otherwise. */
#include <stdlib.h>
#include <string.h>

#include "daemon/entry.h"
#include "daemon/log.h"

#define MEASURE_US 2000000
#define MADE_LEAST 2 /* tickets that say something of the rate */
#define WORTH 0.8    /* the other mode is taken when it needs less than so much of the time */
#define OFFLINE(g) ((double)((g)->delta + (g)->corrections))

double auto_seconds(const struct program *g, double rtt, double byte_rate)
{
	return g->round_trips * rtt + ((double)(g->online[P0] + g->online[P1]) + OFFLINE(g)) / byte_rate;
}

/* Its comparisons in the other mode: nothing else of a network differs. */
static void turn_over(struct tape *tape, enum plan_optimise from)
{
	for (uint16_t i = 0; i < tape->n_rows; i++) {
		struct row *row = &tape->rows[i];

		if (row->kind == OP_RELU || row->kind == OP_MAX || row->kind == OP_ARGMAX)
			row->mode = from == PLAN_BANDWIDTH ? TABLE_LATENCY : TABLE_BANDWIDTH;
	}
}

static int other_seconds(double *seconds, const struct plan *plan, double rtt, double rate, struct err *e)
{
	struct tape tape = plan->tape;
	struct program *other;
	int failed;

	tape.rows = reallocarray(NULL, tape.n_rows, sizeof(*tape.rows));
	if (!tape.rows)
		return err_set(e, ERR_ENV, "out of memory");
	memcpy(tape.rows, plan->tape.rows, tape.n_rows * sizeof(*tape.rows));
	turn_over(&tape, plan->optimise);
	failed = program_new(&other, &tape, e);
	if (!failed) {
		*seconds = auto_seconds(other, rtt, rate);
		program_free(other);
	}
	free(tape.rows);
	return failed;
}

int auto_weigh(enum plan_optimise *better, double seconds[2], const struct plan *plan,
	       const struct program *now, double rtt, double tickets_per_second, struct err *e)
{
	double rate = OFFLINE(now) * tickets_per_second;

	*better = plan->optimise;
	seconds[0] = auto_seconds(now, rtt, rate);
	if (other_seconds(&seconds[1], plan, rtt, rate, e))
		return -1;
	if (seconds[1] < WORTH * seconds[0])
		*better = plan->optimise == PLAN_BANDWIDTH ? PLAN_LATENCY : PLAN_BANDWIDTH;
	return 0;
}

/* Tickets a second while they were made as fast as can be; 0: not known yet. */
static double tickets_rate(struct entry *n, uint64_t now)
{
	struct pool_status pool = {0};
	uint64_t made;

	owner_pool(n->owner, &pool);
	if (owner_state(n->owner) != OWNER_READY) {
		n->ready_us = now;
		n->ready_made = pool.made;
		return 0;
	}
	made = pool.made - n->ready_made;
	if (made < MADE_LEAST || (pool.depth < pool.high && now < n->ready_us + MEASURE_US))
		return 0;
	return (double)made * 1e6 / (double)(now > n->ready_us ? now - n->ready_us : 1);
}

static int undecided(const struct entry *n)
{
	return n->optimise == PLAN_AUTO && n->personality == PERSONALITY_SMPC && !n->weighed && n->owner &&
	       owner_plan(n->owner) && n->d->peers[MODEL_OWNER].conn;
}

/* Where no tickets are made ahead of time, it is decided after an inference. */
int entry_weighs(const struct entry *n)
{
	return undecided(n) && owner_now(n->d) < n->ready_us + MEASURE_US + 2 * NET_TICK_US;
}

int entry_weigh(struct entry *n)
{
	static const char *const names[] = {[PLAN_LATENCY] = "latency", [PLAN_BANDWIDTH] = "bandwidth"};
	enum plan_optimise better;
	double rtt, seconds[2], rate;
	struct err e = {0};

	if (!undecided(n))
		return 0;
	rate = tickets_rate(n, owner_now(n->d));
	if (rate <= 0 || n->running)
		return 0;
	n->weighed = 1; /* once a session's life: a link is not another one every second */
	rtt = conn_rtt(n->d->peers[MODEL_OWNER].conn);
	if (auto_weigh(&better, seconds, owner_plan(n->owner), owner_program(n->owner), rtt, rate, &e)) {
		log_err(LOG_WARNING, "cannot choose a mode", &e);
		return 0;
	}
	log_line(LOG_INFO,
		 "model %s: round trip %.2f ms, %.1f tickets a second: an image takes %.1f ms in %s mode, "
		 "%.1f ms in the "
		 "other; %s mode from now on",
		 n->model, rtt * 1e3, rate, seconds[0] * 1e3, names[n->chosen], seconds[1] * 1e3,
		 names[better]);
	if (better == n->chosen)
		return 0;
	n->chosen = better;
	return 1;
}
