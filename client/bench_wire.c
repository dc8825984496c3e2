/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes on the roles' connections, from the kernel (sock_diag(7)): no role needs to be asked, and nobody's
 * counters need to be believed. */
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "client/bench_host.h"

#define ESTABLISHED 1u /* TCP_ESTABLISHED; <netinet/tcp.h> cannot stand beside <linux/tcp.h> */
#define LEARN_MS 10000

/* One end of a connection on loopback. */
struct seen {
	uint16_t from, to;
	uint64_t sent, received;
};
typedef void (*see)(void *ctx, const struct seen *s);

static void look(const struct nlmsghdr *h, see each, void *ctx)
{
	const struct inet_diag_msg *m = (const struct inet_diag_msg *)NLMSG_DATA(h);
	const struct rtattr *a = (const struct rtattr *)(m + 1);
	size_t left = h->nlmsg_len - NLMSG_LENGTH(sizeof(*m));

	for (; left >= sizeof(*a) && a->rta_len >= sizeof(*a) && a->rta_len <= left;) {
		size_t step = RTA_ALIGN(a->rta_len);

		if (a->rta_type == INET_DIAG_INFO && a->rta_len > sizeof(*a)) {
			struct tcp_info info = {0};
			size_t n = a->rta_len - sizeof(*a);

			memcpy(&info, a + 1, n < sizeof(info) ? n : sizeof(info));
			each(ctx, &(struct seen){ntohs(m->id.idiag_sport), ntohs(m->id.idiag_dport),
						 info.tcpi_bytes_sent - info.tcpi_bytes_retrans,
						 info.tcpi_bytes_received});
		}
		left -= step < left ? step : left;
		a = (const struct rtattr *)((const char *)a + step);
	}
}

/* 1: that was the last part. */
static int read_part(int fd, see each, void *ctx, struct err *e)
{
	_Alignas(struct nlmsghdr) char buffer[1 << 16];
	ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
	size_t left = n > 0 ? (size_t)n : 0;

	if (n <= 0)
		return err_set(e, ERR_ENV, "the kernel does not list its connections: %s", strerror(errno));
	for (const struct nlmsghdr *h = (void *)buffer; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
		if (h->nlmsg_type == NLMSG_DONE)
			return 1;
		if (h->nlmsg_type == NLMSG_ERROR)
			return err_set(e, ERR_ENV, "the kernel does not list its connections (sock_diag)");
		if (h->nlmsg_type == SOCK_DIAG_BY_FAMILY &&
		    h->nlmsg_len >= NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
			look(h, each, ctx);
	}
	return 0;
}

static int list(see each, void *ctx, struct err *e)
{
	struct {
		struct nlmsghdr h;
		struct inet_diag_req_v2 q;
	} ask = {{sizeof(ask), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, 0, 0},
		 {.sdiag_family = AF_INET,
		  .sdiag_protocol = IPPROTO_TCP,
		  .idiag_ext = 1 << (INET_DIAG_INFO - 1),
		  .idiag_states = 1 << ESTABLISHED}};
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG), r = 0;

	if (fd < 0 || send(fd, &ask, sizeof(ask), 0) < 0)
		r = err_set(e, ERR_ENV, "cannot ask the kernel for its connections: %s", strerror(errno));
	while (!r)
		r = read_part(fd, each, ctx, e);
	if (fd >= 0)
		close(fd);
	return r < 0 ? -1 : 0;
}

/* ---- whose they are ---- */

struct sum {
	struct wire_pairs *w;
	uint16_t provider, model_owner, enclave, link; /* link: the model owner's own port to the provider */
};

static uint16_t port_of(const char *address)
{
	const char *colon = strrchr(address, ':');

	return colon ? (uint16_t)atoi(colon + 1) : 0;
}

/* Each connection is listed twice: the end that connected counts. */
static void add(void *ctx, const struct seen *s)
{
	const struct sum *sum = ctx;
	enum pair p = PAIR_D_M;

	if (s->to == sum->provider)
		p = s->from == sum->link ? PAIR_M_C : PAIR_D_C;
	else if (s->to != sum->model_owner && (!sum->enclave || s->to != sum->enclave))
		return;
	sum->w->sent[p] += s->sent;
	sum->w->received[p] += s->received;
}

int wire_read(struct wire_pairs *w, const struct roles *r, uint16_t model_owner_port, struct err *e)
{
	struct sum sum = {w, port_of(r->provider_at), port_of(r->model_owner_at), port_of(r->enclave_at),
			  model_owner_port};

	memset(w, 0, sizeof(*w));
	if (!r->net || r->net->link.native)
		return list(add, &sum, e);
	/* each host lists its own: what the data owner connected, then what the model owner did */
	sum.link = 0;
	if (link_net_enter(r->net, LINK_DATA_OWNER, e) || list(add, &sum, e))
		return -1;
	sum.link = model_owner_port;
	if (link_net_enter(r->net, LINK_MODEL_OWNER, e) || list(add, &sum, e))
		return -1;
	return link_net_home(r->net, e);
}

struct learning {
	uint16_t provider, found;
};

static void learn(void *ctx, const struct seen *s)
{
	struct learning *l = ctx;

	if (s->to == l->provider)
		l->found = s->from;
}

int wire_learn(const struct roles *r, uint16_t *port, struct err *e)
{
	struct learning l = {.provider = port_of(r->provider_at)};

	for (unsigned ms = 0; !l.found && ms < LEARN_MS; ms += 5) {
		if (roles_go_on(e) || (r->net && link_net_enter(r->net, LINK_MODEL_OWNER, e)) ||
		    list(learn, &l, e) || (r->net && link_net_home(r->net, e)))
			return -1;
		if (!l.found)
			nanosleep(&(struct timespec){0, 5000000}, NULL);
	}
	*port = l.found;
	return l.found ? 0
		       : err_set(e, ERR_ENV, "the model owner has not reached its provider in %d s",
				 LEARN_MS / 1000);
}

void wire_since(struct wire_pairs *now, const struct wire_pairs *before)
{
	for (int p = 0; p < PAIRS; p++) {
		now->sent[p] -= before->sent[p];
		now->received[p] -= before->received[p];
	}
}
