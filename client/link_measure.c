/* SPDX-License-Identifier: Apache-2.0 */
/* Both ends of each connection are this process's: sockets stay in the namespace where they were made. */
#include "client/link_measure.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "client/bench_stat.h"
#include "client/json.h"

#define MESSAGE 64 /* bytes */
#define ROUNDS_MOST 400
#define ROUNDS_LEAST 16
#define ROUNDS_SECONDS 1.0
/* Before bytes are counted TCP finds the rate, overruns the queue on the way, and mends what that lost: until
 * then bytes that came long ago are released all at once. */
#define RAMP_SECONDS 0.4
#define RAMP_ROUNDS 25
#define WINDOW_SECONDS 1.0
#define WINDOW_ROUNDS 15
#define PATIENCE_S 10
#define TOGETHER                                                                                             \
	1.5e8 /* bytes a second: faster ones are measured one after another, we are but one thread           \
	       */
#define CHUNK (256 << 10)

/* One connection, both ends. */
struct flow {
	enum link_role from, to;
	int out, in; /* own; −1: none */
	uint64_t received;
};

static void flow_close(struct flow *f)
{
	if (f->out >= 0)
		close(f->out);
	if (f->in >= 0)
		close(f->in);
	f->out = f->in = -1;
}

static int tcp_socket(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0)
		return -1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){PATIENCE_S, 0}, sizeof(struct timeval));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){PATIENCE_S, 0}, sizeof(struct timeval));
	return fd;
}

static int broken(const struct flow *f, const char *what, struct err *e)
{
	return err_set(e, ERR_ENV, "%s from %s to %s: %s", what, link_role_names[f->from],
		       link_role_names[f->to], strerror(errno));
}

static int listen_at(const struct link_net *n, const struct flow *f, struct sockaddr_in *at, struct err *e)
{
	socklen_t bytes = sizeof(*at);
	int fd;

	*at = (struct sockaddr_in){.sin_family = AF_INET};
	if (link_net_enter(n, f->to, e) || inet_pton(AF_INET, link_net_address(n, f->to), &at->sin_addr) != 1)
		return err_set(e, ERR_ENV, "no address of a role");
	fd = tcp_socket();
	if (fd >= 0 && !bind(fd, (struct sockaddr *)at, sizeof(*at)) && !listen(fd, 1) &&
	    !getsockname(fd, (struct sockaddr *)at, &bytes))
		return fd;
	if (fd >= 0)
		close(fd);
	return broken(f, "cannot listen", e);
}

static int flow_open(const struct link_net *n, struct flow *f, enum link_role from, enum link_role to,
		     struct err *e)
{
	struct sockaddr_in at;
	int listening, one = 1;

	*f = (struct flow){from, to, -1, -1, 0};
	listening = listen_at(n, f, &at, e);
	if (listening < 0 || link_net_enter(n, from, e))
		return -1;
	f->out = tcp_socket();
	if (f->out >= 0 && !connect(f->out, (struct sockaddr *)&at, sizeof(at)))
		f->in = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
	close(listening);
	if (f->in < 0)
		return broken(f, "cannot connect", e);
	setsockopt(f->in, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(f->in, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){PATIENCE_S, 0}, sizeof(struct timeval));
	return 0;
}

/* ---- round trips ---- */

static int there_and_back(const struct flow *f, struct err *e)
{
	uint8_t message[MESSAGE] = {0};

	if (send(f->out, message, MESSAGE, MSG_NOSIGNAL) != MESSAGE ||
	    recv(f->in, message, MESSAGE, MSG_WAITALL) != MESSAGE ||
	    send(f->in, message, MESSAGE, MSG_NOSIGNAL) != MESSAGE ||
	    recv(f->out, message, MESSAGE, MSG_WAITALL) != MESSAGE)
		return broken(f, "no round trip", e);
	return 0;
}

static size_t rounds_of(double rtt)
{
	double n = rtt > 0 ? ROUNDS_SECONDS / rtt : ROUNDS_MOST;

	return n > ROUNDS_MOST ? ROUNDS_MOST : n < ROUNDS_LEAST ? ROUNDS_LEAST : (size_t)n;
}

static int round_trips(const struct flow *f, size_t n, struct bench_stat *s, struct err *e)
{
	double samples[ROUNDS_MOST];

	if (there_and_back(f, e)) /* the first warms up */
		return -1;
	for (size_t i = 0; i < n; i++) {
		double start = bench_now();

		if (there_and_back(f, e))
			return -1;
		samples[i] = bench_now() - start;
	}
	*s = bench_stat(samples, n);
	return 0;
}

static int measure_rtt(const struct link_net *n, struct link_measured *m, struct err *e)
{
	for (int a = 0; a < LINK_ROLES; a++)
		for (int b = a + 1; b < LINK_ROLES; b++) {
			struct flow f = {.out = -1, .in = -1};
			struct bench_stat s = {0};
			int failed = flow_open(n, &f, a, b, e);

			m->rounds = rounds_of(link_rtt(&n->link, a, b));
			failed = failed || round_trips(&f, m->rounds, &s, e);
			flow_close(&f);
			if (failed)
				return -1;
			m->p50[a][b] = s.median;
			m->p99[a][b] = s.p99;
		}
	return 0;
}

/* The emulator's own time, with a delay of nothing above it, is taken off the delay: half of what the median
 * round trip is too long. Where round trips are long it does not matter, and measuring takes long. */
static int calibrate(const struct link_net *n, struct err *e)
{
	struct link_measured m = {0};
	double rtt = link_rtt(&n->link, LINK_DATA_OWNER, LINK_MODEL_OWNER), own;

	if (!n->emulated || rtt > 5e-3)
		return 0;
	if (measure_rtt(n, &m, e))
		return -1;
	own = n->emulated->own + (m.p50[LINK_DATA_OWNER][LINK_MODEL_OWNER] - rtt) / 2;
	n->emulated->own = own > 0 ? own : 0;
	return 0;
}

/* ---- rates ---- */

/* Moves what can be moved now. */
static int move(struct flow *f, const struct pollfd polls[2], uint8_t *chunk, struct err *e)
{
	ssize_t n = 0;

	if (polls[0].revents)
		n = send(f->out, chunk, CHUNK, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && errno != EAGAIN)
		return broken(f, "cannot send", e);
	n = 0;
	if (polls[1].revents)
		n = recv(f->in, chunk, CHUNK, MSG_DONTWAIT);
	if (n < 0 && errno != EAGAIN)
		return broken(f, "cannot receive", e);
	f->received += n > 0 ? (uint64_t)n : 0;
	return 0;
}

static int pump(struct flow *flows, size_t n, double seconds, uint8_t *chunk, struct err *e)
{
	struct pollfd polls[2 * LINK_ROLES];
	double end = bench_now() + seconds;

	while (bench_now() < end) {
		for (size_t i = 0; i < n; i++) {
			polls[2 * i] = (struct pollfd){.fd = flows[i].out, .events = POLLOUT};
			polls[2 * i + 1] = (struct pollfd){.fd = flows[i].in, .events = POLLIN};
		}
		if (poll(polls, 2 * n, 100) < 0 && errno != EINTR)
			return err_set(e, ERR_ENV, "poll: %s", strerror(errno));
		for (size_t i = 0; i < n; i++)
			if (move(&flows[i], polls + 2 * i, chunk, e))
				return -1;
	}
	return 0;
}

static double longest(const struct link_net *n, const struct flow *flows, size_t n_flows)
{
	double most = 0;

	for (size_t i = 0; i < n_flows; i++) {
		double rtt = link_rtt(&n->link, flows[i].from, flows[i].to);

		most = rtt > most ? rtt : most;
	}
	return most;
}

/* Up to three connections at once, each its own pair of hosts. */
static int rates(const struct link_net *n, struct flow *flows, size_t n_flows, struct link_measured *m,
		 struct err *e)
{
	uint8_t *chunk = calloc(1, CHUNK);
	double rtt = longest(n, flows, n_flows), window = WINDOW_ROUNDS * rtt, start, took;
	int failed = chunk ? 0 : err_set(e, ERR_ENV, "out of memory");

	failed = failed || pump(flows, n_flows, RAMP_SECONDS + RAMP_ROUNDS * rtt, chunk, e);
	for (size_t i = 0; i < n_flows; i++)
		flows[i].received = 0;
	start = bench_now();
	failed = failed || pump(flows, n_flows, window < WINDOW_SECONDS ? WINDOW_SECONDS : window, chunk, e);
	took = bench_now() - start;
	for (size_t i = 0; i < n_flows && !failed; i++)
		m->byte_rate[flows[i].from][flows[i].to] = (double)flows[i].received / took;
	free(chunk);
	return failed ? -1 : 0;
}

static int open_and_rate(const struct link_net *n, const enum link_role ends[][2], size_t count,
			 struct link_measured *m, struct err *e)
{
	struct flow flows[LINK_ROLES];
	int failed = 0;

	for (size_t i = 0; i < LINK_ROLES; i++)
		flows[i].out = flows[i].in = -1;
	for (size_t i = 0; i < count && !failed; i++)
		failed = flow_open(n, &flows[i], ends[i][0], ends[i][1], e);
	failed = failed || rates(n, flows, count, m, e);
	for (size_t i = 0; i < count; i++)
		flow_close(&flows[i]);
	return failed ? -1 : 0;
}

/* Each role sends to one and hears from another: then the other way. */
static int measure_rates(const struct link_net *n, struct link_measured *m, struct err *e)
{
	static const enum link_role ends[6][2] = {{0, 1}, {1, 2}, {2, 0}, {1, 0}, {2, 1}, {0, 2}};
	size_t together = LINK_ROLES;

	for (int i = 0; i < 6; i++)
		if (n->link.paths[ends[i][0]][ends[i][1]].byte_rate > TOGETHER / LINK_ROLES * 1.1)
			together = 1;
	for (size_t i = 0; i < 6; i += together)
		if (open_and_rate(n, ends + i, together, m, e))
			return -1;
	return 0;
}

/* ---- verdict ---- */

double link_off_rtt(const struct link_net *n, const struct link_measured *m)
{
	double most = 0;

	for (int a = 0; a < LINK_ROLES; a++)
		for (int b = a + 1; b < LINK_ROLES; b++) {
			double rtt = link_rtt(&n->link, a, b), off = fabs(m->p50[a][b] - rtt) / rtt;

			if (rtt > 0 && off > most)
				most = off;
		}
	return most;
}

double link_off_rate(const struct link_net *n, const struct link_measured *m)
{
	double most = 0;

	for (int a = 0; a < LINK_ROLES; a++)
		for (int b = 0; b < LINK_ROLES; b++) {
			double rate = n->link.paths[a][b].byte_rate;
			double off = a == b ? 0 : fabs(m->byte_rate[a][b] - rate) / rate;

			if (off > most)
				most = off;
		}
	return most;
}

static int measure_once(const struct link_net *n, struct link_measured *m, struct err *e)
{
	struct err ignore = {0};
	int failed =
	    link_net_alive(n, e) || calibrate(n, e) || measure_rtt(n, m, e) || measure_rates(n, m, e);

	return link_net_home(n, failed ? &ignore : e) || failed ? -1 : 0;
}

int link_measure(const struct link_net *n, struct link_measured *m, unsigned tries, struct err *e)
{
	memset(m, 0, sizeof(*m));
	while (m->tries++ < tries) {
		if (measure_once(n, m, e))
			return err_context(e, "link %s", n->link.name);
		if (n->link.native ||
		    (link_off_rtt(n, m) <= LINK_TOLERANCE && link_off_rate(n, m) <= LINK_TOLERANCE))
			return 0;
	}
	m->tries = tries;
	return err_set(
	    e, ERR_RESULT,
	    "link %s is not what it should be: round trips are off by %.0f %%, rates by %.0f %% (at most "
	    "%.0f %%), after %u tries; is this host busy with other work?",
	    n->link.name, link_off_rtt(n, m) * 100, link_off_rate(n, m) * 100, LINK_TOLERANCE * 100, tries);
}

/* ---- JSON ---- */

static struct json_object *pair_json(const struct link_net *n, const struct link_measured *m, int a, int b)
{
	struct json_object *o = json_object_new_object();

	json_real(o, "rtt", m->p50[a][b]);
	json_real(o, "rtt_p99", m->p99[a][b]);
	json_real(o, "there", m->byte_rate[a][b]);
	json_real(o, "back", m->byte_rate[b][a]);
	if (n->link.native)
		return o;
	json_real(o, "profile_rtt", link_rtt(&n->link, a, b));
	json_real(o, "profile_there", n->link.paths[a][b].byte_rate);
	json_real(o, "profile_back", n->link.paths[b][a].byte_rate);
	return o;
}

struct json_object *link_measured_json(const struct link_net *n, const struct link_measured *m)
{
	struct json_object *o = json_object_new_object();
	char name[64];

	json_count(o, "rounds", m->rounds);
	json_count(o, "tries", m->tries);
	if (!n->link.native) {
		json_real(o, "off_rtt", link_off_rtt(n, m));
		json_real(o, "off_rate", link_off_rate(n, m));
	}
	for (int a = 0; a < LINK_ROLES; a++)
		for (int b = a + 1; b < LINK_ROLES; b++) {
			snprintf(name, sizeof(name), "%s_and_%s", link_role_names[a], link_role_names[b]);
			json_object_object_add(o, name, pair_json(n, m, a, b));
		}
	return o;
}
