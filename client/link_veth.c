/* SPDX-License-Identifier: Apache-2.0 */
/* Roles joined by veth pairs, with a queue of the kernel's at each end. Both mechanisms have the same
 * devices: in the namespace of role a, "to1" leads to role 1, whose address stands on its loopback device. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/child.h"
#include "client/link_parts.h"

#define WORDS_MAX 30
#define BURST 65536.0 /* bytes that tbf lets through at once: a piece of TCP's */

static const char *const folders[] = {"/usr/sbin", "/sbin", "/usr/bin", "/bin"};

/* The path of ip or tc; NULL: not there. */
static const char *path_of(const char *program, char path[64])
{
	for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++) {
		snprintf(path, 64, "%s/%s", folders[i], program);
		if (!access(path, X_OK))
			return path;
	}
	return NULL;
}

/* Runs "ip link …" or "tc qdisc …" in the current namespace: words at single spaces. */
static int run(struct err *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int run(struct err *e, const char *format, ...)
{
	char line[400], all[400], path[64], *argv[WORDS_MAX + 1] = {0}, *save = NULL;
	struct err why = {0};
	int n = 0;
	pid_t pid;
	va_list ap;

	va_start(ap, format);
	vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	strcpy(all, line);
	for (char *w = strtok_r(line, " ", &save); w && n < WORDS_MAX; w = strtok_r(NULL, " ", &save))
		argv[n++] = w;
	if (!path_of(argv[0], path))
		return err_set(e, ERR_ENV, "there is no program %s; install iproute2", argv[0]);
	argv[0] = path;
	if (child_start(&pid, argv, -1, -1, &why) || child_wait(&pid, argv[0], &why))
		return err_set(e, ERR_ENV, "%s: %s", all, why.text);
	return 0;
}

int veth_has_netem(void)
{
	struct err e = {0};

	return !run(&e, "tc qdisc add dev lo root netem delay 1ms") && !run(&e, "tc qdisc del dev lo root");
}

/* The queue of one direction, in the namespace of the role that sends. */
static int add_queue(int to, const struct link_path *p, int netem, struct err *e)
{
	double packets = (p->delay + p->queue) * p->byte_rate / LINK_MTU;

	if (netem)
		return run(
		    e, "tc qdisc add dev to%d root netem delay %.0fus loss %.6f%% rate %.0fbit limit %.0f",
		    to, p->delay * 1e6, p->loss * 100, p->byte_rate * 8, packets < 100 ? 100 : packets);
	return run(e, "tc qdisc add dev to%d root tbf rate %.0fbit burst %.0f latency %.0fms", to,
		   p->byte_rate * 8, BURST > p->byte_rate / 100 ? BURST : p->byte_rate / 100, p->queue * 1e3);
}

/* One end, in its namespace. */
static int add_end(int from, int to, const struct link_path *p, int netem, struct err *e)
{
	return run(e, "ip link set dev to%d mtu %d up", to, LINK_MTU) ||
		       run(e, "ip route add 10.77.0.%d/32 dev to%d src 10.77.0.%d", to + 1, to, from + 1) ||
		       add_queue(to, p, netem, e)
		   ? -1
		   : 0;
}

/* Made in the namespace of a; its other end is moved to that of b. */
static int add_pair(const struct link_net *n, int a, int b, int netem, struct err *e)
{
	if (link_net_enter(n, a, e) ||
	    run(e, "ip link add to%d type veth peer name to%d netns /proc/%d/fd/%d", b, a, (int)getpid(),
		n->spaces[b]) ||
	    add_end(a, b, &n->link.paths[a][b], netem, e))
		return -1;
	return link_net_enter(n, b, e) || add_end(b, a, &n->link.paths[b][a], netem, e) ? -1 : 0;
}

static int add_all(const struct link_net *n, int netem, struct err *e)
{
	for (int a = 0; a < LINK_ROLES; a++)
		if (link_net_enter(n, a, e) || run(e, "ip address add 10.77.0.%d/32 dev lo", a + 1))
			return -1;
	for (int a = 0; a < LINK_ROLES; a++)
		for (int b = a + 1; b < LINK_ROLES; b++)
			if (add_pair(n, a, b, netem, e))
				return -1;
	return 0;
}

int veth_mesh(const struct link_net *n, int netem, struct err *e)
{
	int failed = add_all(n, netem, e);

	return link_net_home(n, e) || failed ? -1 : 0;
}
