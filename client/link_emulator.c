/* SPDX-License-Identifier: Apache-2.0 */
/* The link emulator. One thread: read what the roles' kernels send, compute when it arrives, wait, write it
 * to the other kernel.
 *
 * A packet of b bytes that comes at time t, on a wire of rate R and delay δ that is free again at f:
 *     begins to leave  s = max(t, f)           lost when s − t > queue
 *     has left         f' = s + b / R
 *     is delivered     d = max(f' + δ + jitter, d of the packet before it): packets keep their order
 * so the rate needs no ticks: it is a clock of each direction that runs ahead of time.
 *
 * Kernels hand over TCP segments in one piece of up to gso_size parts (IFF_VNET_HDR) and take them so: a
 * tenth of the system calls. It counts as its parts with a header each, and is delivered when its last part
 * is. */
#include "client/link_emulator.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define PACKET_MAX (sizeof(struct virtio_net_hdr) + 65536)
#define SPIN_NS 40000 /* so long before a packet is due we do not sleep: waking up takes as long */
#define BATCH 64      /* packets read before those that are due are looked at */
#define NEVER UINT64_MAX
#define TCP 6

/* On its way. */
struct packet {
	struct packet *next;
	uint64_t due;
	uint32_t length;
	uint8_t data[]; /* virtio_net_hdr, IP packet */
};
struct wire {
	struct packet *first, **end;
	struct wire_clock clock;
	struct link_path path;
};
struct emulator {
	struct emulated *shared;
	const int *fds;
	struct wire wires[LINK_ROLES][LINK_ROLES];
	uint64_t random;
	uint8_t buffer[PACKET_MAX];
};

/* ---- when ---- */

uint32_t emulator_gso(const struct link *link)
{
	double least = 65536;

	for (int a = 0; a < LINK_ROLES; a++)
		for (int b = 0; b < LINK_ROLES; b++) {
			const struct link_path *p = &link->paths[a][b];
			double bytes = p->loss > 0 ? LINK_MTU : p->byte_rate * 250e-6;

			if (a != b && bytes < least)
				least = bytes;
		}
	return least < LINK_MTU ? LINK_MTU : (uint32_t)least;
}

uint64_t wire_due(struct wire_clock *w, const struct link_path *p, double own, uint64_t now, uint64_t bytes,
		  const double random[2], int *lost)
{
	uint64_t start = now > w->free_at ? now : w->free_at, due;
	double late = p->delay - own + p->jitter * random[1];

	*lost = 0;
	if ((double)(start - now) > p->queue * 1e9)
		return 0;
	w->free_at = start + (uint64_t)((double)bytes / p->byte_rate * 1e9);
	*lost = random[0] < p->loss;
	due = w->free_at + (uint64_t)(late > 0 ? late * 1e9 : 0);
	if (due < w->last)
		due = w->last;
	if (!*lost)
		w->last = due;
	return due;
}

uint32_t wire_packets(const uint8_t *ip, uint32_t length, uint32_t gso_size, uint64_t *bytes)
{
	uint32_t header, parts;

	*bytes = length;
	if (length < 20 || ip[0] >> 4 != 4)
		return 0;
	header = 4u * (ip[0] & 15u);
	if (!gso_size)
		return 1;
	if (ip[9] != TCP || header < 20 || length < header + 20)
		return 0;
	header += 4u * (ip[header + 12] >> 4);
	if (length <= header)
		return 0;
	parts = (length - header + gso_size - 1) / gso_size;
	*bytes += (uint64_t)(parts - 1) * header;
	return parts;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* [0, 1): xorshift64*, Vigna 2016. Loss and jitter are no secrets, and repeat from run to run. */
static double draw(struct emulator *m)
{
	m->random ^= m->random >> 12;
	m->random ^= m->random << 25;
	m->random ^= m->random >> 27;
	return (double)((m->random * 0x2545f4914f6cdd1dull) >> 11) * 0x1p-53;
}

/* ---- in ---- */

/* The role that an IPv4 packet is for, −1: nobody. */
static int destination(const uint8_t *ip)
{
	uint32_t address;

	memcpy(&address, ip + 16, 4);
	address = ntohl(address) - LINK_ADDRESS(0);
	return address < LINK_ROLES ? (int)address : -1;
}

static void append(struct wire *w, const uint8_t *data, uint32_t length, uint64_t due)
{
	struct packet *p = malloc(sizeof(*p) + length);

	if (!p)
		return; /* a lost packet; TCP sends it again */
	p->next = NULL;
	p->due = due;
	p->length = length;
	memcpy(p->data, data, length);
	*w->end = p;
	w->end = &p->next;
}

static void take(struct emulator *m, int from, uint32_t length, uint64_t now)
{
	const uint8_t *ip = m->buffer + sizeof(struct virtio_net_hdr);
	struct virtio_net_hdr *h = (void *)m->buffer;
	double random[2] = {draw(m), draw(m)};
	uint64_t bytes, due;
	uint32_t parts;
	struct wire *w;
	int to, lost;

	if (length <= sizeof(*h))
		return;
	parts = wire_packets(ip, length - (uint32_t)sizeof(*h),
			     h->gso_type == VIRTIO_NET_HDR_GSO_NONE ? 0 : h->gso_size, &bytes);
	to = parts ? destination(ip) : -1;
	if (to < 0 || to == from)
		return;
	w = &m->wires[from][to];
	due = wire_due(&w->clock, &w->path, m->shared->own, now, bytes, random, &lost);
	m->shared->packets[from][to] += parts;
	m->shared->bytes[from][to] += bytes;
	if (!due)
		m->shared->full[from][to] += parts;
	else if (lost)
		m->shared->lost[from][to] += parts;
	else
		append(w, m->buffer, length, due);
}

/* How many packets came. */
static int take_all(struct emulator *m, int from)
{
	int n = 0;

	for (; n < BATCH; n++) {
		ssize_t length = read(m->fds[from], m->buffer, sizeof(m->buffer));

		if (length <= 0)
			break;
		take(m, from, (uint32_t)length, now_ns());
	}
	return n;
}

/* ---- out ---- */

static void deliver(struct emulator *m, int from, int to, uint64_t now)
{
	struct wire *w = &m->wires[from][to];

	while (w->first && w->first->due <= now) {
		struct packet *p = w->first;

		w->first = p->next;
		if (!w->first)
			w->end = &w->first;
		if (write(m->fds[to], p->data, p->length) < 0) /* no memory there: lost, as in a queue */
			m->shared->full[from][to]++;
		free(p);
	}
}

/* Delivers what is due; when the next is. */
static uint64_t deliver_all(struct emulator *m)
{
	uint64_t now = now_ns(), next = NEVER;

	for (int from = 0; from < LINK_ROLES; from++)
		for (int to = 0; to < LINK_ROLES; to++) {
			const struct wire *w = &m->wires[from][to];

			deliver(m, from, to, now);
			if (w->first && w->first->due < next)
				next = w->first->due;
		}
	return next;
}

/* ---- for ever ---- */

/* Until a packet comes or one is nearly due. */
static void rest(struct emulator *m, uint64_t next)
{
	struct pollfd polls[LINK_ROLES];
	struct timespec wait;
	uint64_t now = now_ns();

	if (next != NEVER && next < now + SPIN_NS)
		return;
	for (int i = 0; i < LINK_ROLES; i++)
		polls[i] = (struct pollfd){.fd = m->fds[i], .events = POLLIN};
	if (next != NEVER)
		wait = (struct timespec){(time_t)((next - SPIN_NS - now) / 1000000000u),
					 (long)((next - SPIN_NS - now) % 1000000000u)};
	ppoll(polls, LINK_ROLES, next == NEVER ? NULL : &wait, NULL);
}

/* The roles compute on the same processors: a wire does not wait for them. */
static void go_first(struct emulated *m)
{
	m->real_time = !sched_setscheduler(0, SCHED_RR, &(struct sched_param){.sched_priority = 10});
	if (!m->real_time)
		setpriority(PRIO_PROCESS, 0, -10);
	prctl(PR_SET_TIMERSLACK, 1);
	mlockall(MCL_CURRENT);
}

void emulator_run(struct emulated *shared, const int fds[LINK_ROLES])
{
	static struct emulator m;

	m.shared = shared;
	m.fds = fds;
	m.random = 0x9e3779b97f4a7c15u;
	for (int from = 0; from < LINK_ROLES; from++)
		for (int to = 0; to < LINK_ROLES; to++) {
			m.wires[from][to].end = &m.wires[from][to].first;
			m.wires[from][to].path = shared->link.paths[from][to];
		}
	go_first(shared);
	for (;;) {
		uint64_t next;

		for (int from = 0; from < LINK_ROLES; from++)
			take_all(&m, from);
		next = deliver_all(&m);
		rest(&m, next);
	}
}
