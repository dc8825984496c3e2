/* SPDX-License-Identifier: Apache-2.0 */
/* One row: latency with tickets ready, then throughput with all offline work in it. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/bench.h"
#include "client/lab.h"

#define PATIENCE 3	  /* times the time for requests: filling the pool takes longer than emptying it */
#define PATIENCE_LEAST 12 /* seconds: on a slow link much longer */
#define BURST 32	  /* without tickets */
#define SAMPLES 400	  /* of latency: enough for a 99th percentile */
#define LOCAL_SAMPLES 200
#define LAB_REQUESTS 5 /* of latency, however long a slow link takes to fill the pool again */
#define FILL_SECONDS 120
#define SETTLED_SECONDS                                                                                      \
	0.1 /* a pool above its mark that was asked for nothing for so long is not being filled */
#define STUCK_SECONDS 5.0 /* it is not being filled either; but a ticket can take a second on a slow link */
#define QUIET_NS 3000000  /* after the pool is full: workers go to sleep */
#define NO_LIMIT ((size_t)-1)

/* What is collected over several runs. */
struct samples_of {
	double *x; /* owns */
	size_t n;
};

static int append(struct samples_of *s, const double *x, size_t n, struct err *e)
{
	double *all = reallocarray(s->x, s->n + n + 1, sizeof(*all));

	if (!all)
		return err_set(e, ERR_ENV, "out of memory for samples");
	s->x = all;
	memcpy(all + s->n, x, n * sizeof(*x));
	s->n += n;
	return 0;
}

static int is_settled(const struct pool_status *pool, double unchanged)
{
	int idle = !pool->due && pool->depth >= bench_pool_low(pool->high);

	return pool->depth >= pool->high || unchanged > (idle ? SETTLED_SECONDS : STUCK_SECONDS);
}

/* Waits until the pool is full, or at least so full that nobody refills it. */
static int await_pool(struct load *l, struct pool_status *pool, struct err *e)
{
	double start = bench_now(), grown = start, now;
	uint64_t depth = 0;

	for (;;) {
		if (roles_go_on(e) || load_pool(l, pool, e))
			return -1;
		now = bench_now();
		if (pool->depth != depth)
			grown = now;
		depth = pool->depth;
		if (is_settled(pool, now - grown) || now > start + FILL_SECONDS)
			break;
		nanosleep(&(struct timespec){0, 1000000}, NULL);
	}
	nanosleep(&(struct timespec){0, QUIET_NS}, NULL);
	return 0;
}

/* Requests that leave the pool at or above the mark below which it is refilled, so that nobody makes tickets
 * beside them; *rest images more are one below it. None, if not even one request does. */
static size_t burst(const struct pool_status *pool, size_t batch, size_t *rest)
{
	uint64_t low = bench_pool_low(pool->high), above = pool->depth > low ? pool->depth - low : 0;

	*rest = above % batch + 1;
	return above / batch;
}

/* What is collected of requests. */
struct latencies {
	struct samples_of online, client, offline;
	double spent;
};

static void add_judged(struct judged *sum, const struct judged *j)
{
	sum->images += j->images;
	sum->agree += j->agree;
	sum->right += j->right;
	sum->float_right += j->float_right;
}

/* Some requests one after the other; they count unless s is NULL. */
static int ask(struct load *l, struct measured *m, const struct load_spec *spec, struct latencies *s,
	       struct err *e)
{
	struct load_result r = {0};
	int failed = load_run(l, spec, &r, e);

	m->unlike += r.unlike;
	add_judged(&m->judged, &r.judged);
	if (s && !failed) {
		s->spent += r.wall;
		failed = append(&s->online, r.online, r.requests, e) ||
			 append(&s->client, r.client, r.requests, e) ||
			 append(&s->offline, r.offline, r.requests, e);
		for (size_t i = 0; i < r.requests; i++)
			m->warm += load_is_warm(l, r.offline[i]);
	}
	load_result_free(&r);
	return failed ? -1 : 0;
}

/* A burst of requests that find their tickets ready, then one that sets off refilling: with that beside it,
 * it is not what the online phase takes, and counts only where there is no other. */
static int ask_burst(struct bench *b, struct load *l, struct measured *m, struct latencies *s, struct err *e)
{
	struct load_spec spec = {.model = m->model,
				 .optimise = m->optimise,
				 .batch = m->batch,
				 .in_flight = 1,
				 .requests = BURST,
				 .seconds = b->latency_seconds - s->spent};
	struct pool_status pool;
	size_t rest = 0;

	if (await_pool(l, &pool, e))
		return -1;
	if (spec.seconds < 0)
		spec.seconds = 0;
	if (pool.high) /* else there are no tickets: nothing is refilled */
		spec.requests = burst(&pool, m->batch, &rest);
	if (!spec.requests) {
		spec.requests = 1;
		rest = 0;
	}
	if (ask(l, m, &spec, s, e))
		return -1;
	spec.batch = rest;
	spec.requests = 1;
	return rest ? ask(l, m, &spec, NULL, e) : 0;
}

int measure_latency(struct bench *b, struct load *l, struct measured *m, struct err *e)
{
	size_t least = b->lab && !b->quick ? LAB_REQUESTS : 1;
	double patience = PATIENCE * b->latency_seconds;
	double end = bench_now() + (b->lab && patience < PATIENCE_LEAST ? PATIENCE_LEAST : patience);
	struct latencies s = {0};
	int failed = 0;

	while (!failed && s.online.n < SAMPLES &&
	       (s.online.n < least || (s.spent < b->latency_seconds && bench_now() < end)))
		failed = ask_burst(b, l, m, &s, e);
	m->latency_requests = s.online.n;
	m->online = bench_stat(s.online.x, s.online.n);
	m->client = bench_stat(s.client.x, s.client.n);
	m->offline = bench_stat(s.offline.x, s.offline.n);
	free(s.online.x);
	free(s.client.x);
	free(s.offline.x);
	return failed;
}

static int measure_local(struct load *l, struct measured *m, struct err *e)
{
	struct load_spec spec = {.model = m->model,
				 .optimise = m->optimise,
				 .in_flight = 1,
				 .requests = LOCAL_SAMPLES,
				 .seconds = 1,
				 .describe = 1};
	struct load_result r = {0};
	int failed = load_run(l, &spec, &r, e);

	if (!failed)
		m->local = bench_stat(r.client, r.requests);
	load_result_free(&r);
	return failed;
}

/* Counters before and after. */
struct snapshot {
	struct usage used;
	struct wire_pairs wire;
	struct pool_status pool;
};

static int snapshot(struct bench *b, struct load *l, struct snapshot *s, struct err *e)
{
	return load_pool(l, &s->pool, e) || usage_read(&s->used, &b->roles, e) ||
		       wire_read(&s->wire, &b->roles, b->link_port, e)
		   ? -1
		   : 0;
}

static void difference(struct measured *m, struct snapshot *before, struct snapshot *after)
{
	for (int u = 0; u < USERS; u++)
		m->used.cpu[u] = after->used.cpu[u] - before->used.cpu[u];
	memcpy(m->used.peak, after->used.peak, sizeof(m->used.peak));
	wire_since(&after->wire, &before->wire);
	m->wire = after->wire;
	m->made = after->pool.made - before->pool.made;
	m->burnt = after->pool.burnt - before->pool.burnt;
	m->pool_high = after->pool.high;
}

/* Images for which a ticket was made and burnt meanwhile: what the pool had before, or has more after, is not
 * counted. Of several data owners only the first one's pool is known: its share stands for all. */
static double rate(const struct measured *m)
{
	double images = (double)m->steady.images;

	if (m->made < m->burnt && !(m->lab.net && !m->made)) /* on a slow link none may be due yet */
		images *= (double)m->made / (double)m->burnt;
	return m->steady.wall > 0 ? images / m->steady.wall : 0;
}

static int measure_steady(struct bench *b, struct load *l, struct measured *m, struct err *e)
{
	struct load_spec spec = {.model = m->model,
				 .optimise = m->optimise,
				 .batch = m->batch,
				 .in_flight = m->in_flight,
				 .requests = NO_LIMIT,
				 .seconds = b->steady_seconds / 4};
	struct snapshot before, after;
	struct load_result lead = {0};
	/* until the pool is as it stays under this load; on a link bursts have emptied it just now */
	int failed = b->lab && m->latency_requests ? 0 : load_run(l, &spec, &lead, e);

	load_result_free(&lead);
	if (failed || snapshot(b, l, &before, e))
		return -1;
	spec.seconds = b->steady_seconds;
	if (load_run(l, &spec, &m->steady, e) || snapshot(b, l, &after, e))
		return -1;
	difference(m, &before, &after);
	m->unlike += m->steady.unlike;
	add_judged(&m->judged, &m->steady.judged);
	m->images_per_second = rate(m);
	return 0;
}

/* Opens sessions and takes the memory that such a batch needs. */
int measure_warm_up(struct load *l, struct measured *m, struct err *e)
{
	struct load_spec spec = {.model = m->model,
				 .optimise = m->optimise,
				 .batch = m->batch,
				 .in_flight = m->in_flight,
				 .requests = m->in_flight * m->owners};
	struct load_result r = {0};
	int failed = load_run(l, &spec, &r, e);

	m->connect = r.connect;
	m->planned_trips = r.predicted_round_trips;
	m->planned_on = r.predicted_on;
	load_result_free(&r);
	return failed;
}

/* What else a request costs, while nobody makes tickets. */
static int measure_floors(struct bench *b, struct load *l, const struct program *p, struct measured *m,
			  struct err *e)
{
	struct pool_status pool;

	return await_pool(l, &pool, e) || measure_local(l, m, e) ||
		       (m->he && bench_he_floor(&m->floor, &b->roles, m, b->latency_seconds / 4, e)) ||
		       (m->personality == PERSONALITY_SMPC &&
			bench_floor(&m->floor, &b->roles, p, m->batch, b->latency_seconds / 4, e))
		   ? -1
		   : 0;
}

int measure_row(struct bench *b, struct load *l, const struct program *p, struct measured *m, struct err *e)
{
	int alone = m->in_flight == 1 && m->owners == 1;

	if (measure_warm_up(l, m, e))
		return -1;
	if (b->lab)
		lab_predict(b->lab, m);
	if (alone && measure_floors(b, l, p, m, e)) /* first: it leaves a full pool to the next */
		return -1;
	if (alone && m->batch <= bench_pool(b, p) && measure_latency(b, l, m, e))
		return -1;
	if (measure_steady(b, l, m, e))
		return -1;
	if (!m->latency_requests) {
		const struct load_result *r = &m->steady;

		m->latency_requests = r->requests;
		m->warm = r->warm;
		m->online = bench_stat(r->online, r->requests);
		m->client = bench_stat(r->client, r->requests);
		m->offline = bench_stat(r->offline, r->requests);
	}
	return 0;
}
