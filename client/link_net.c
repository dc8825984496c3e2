/* SPDX-License-Identifier: Apache-2.0 */
#include "client/link_net.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/child.h"
#include "client/json.h"
#include "client/link_parts.h"

const char *const link_mechanism_names[MECHANISMS] = {"native", "netem", "emulator", "tbf"};

/* ---- namespaces ---- */

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), r = -1;

	if (fd >= 0)
		r = write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
	if (fd >= 0)
		close(fd);
	return r;
}

int link_net_rights(struct err *e)
{
	unsigned user = geteuid(), group = getegid();
	char map[64];

	if (!user)
		return 0;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET)) /* home too: nobody enters one that is not its own */
		return err_set(e, ERR_ENV,
			       "links need network namespaces: run as root, or allow user namespaces (%s)",
			       strerror(errno));
	snprintf(map, sizeof(map), "0 %u 1\n", user);
	if (write_file("/proc/self/setgroups", "deny") || write_file("/proc/self/uid_map", map))
		return err_set(e, ERR_ENV, "cannot become root of a user namespace: %s", strerror(errno));
	snprintf(map, sizeof(map), "0 %u 1\n", group);
	if (write_file("/proc/self/gid_map", map))
		return err_set(e, ERR_ENV, "cannot map the group of a user namespace: %s", strerror(errno));
	return device_up("lo", e);
}

static int enter(int space, struct err *e)
{
	return setns(space, CLONE_NEWNET)
		   ? err_set(e, ERR_ENV, "cannot enter a network namespace: %s", strerror(errno))
		   : 0;
}

int link_net_enter(const struct link_net *n, enum link_role role, struct err *e)
{
	return n->home < 0 ? 0 : enter(n->spaces[role], e);
}

int link_net_home(const struct link_net *n, struct err *e)
{
	return n->home < 0 ? 0 : enter(n->home, e);
}

static int open_space(struct err *e)
{
	int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? err_set(e, ERR_ENV, "no network namespaces: %s", strerror(errno)) : fd;
}

/* What a host of today has, so that a connection's window is no narrower than the link; a new namespace has
 * what its parent has, and that may be less. */
static void widen(void)
{
	write_file("/proc/sys/net/ipv4/tcp_rmem", "4096 131072 33554432");
	write_file("/proc/sys/net/ipv4/tcp_wmem", "4096 65536 33554432");
	write_file("/proc/sys/net/ipv4/tcp_no_metrics_save", "1"); /* runs do not learn from each other */
	write_file("/proc/sys/net/ipv4/tcp_slow_start_after_idle",
		   "0"); /* docs/DEPLOYMENT.md: a window is kept */
	write_file("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
}

/* A namespace for each role, with loopback; we stay at home. */
static int make_spaces(struct link_net *n, struct err *e)
{
	int failed = 0;

	n->home = open_space(e);
	if (n->home < 0)
		return -1;
	for (int i = 0; i < LINK_ROLES && !failed; i++) {
		if (unshare(CLONE_NEWNET))
			failed = err_set(e, ERR_ENV, "cannot make a network namespace: %s", strerror(errno));
		failed = failed || (n->spaces[i] = open_space(e)) < 0 || device_up("lo", e);
		if (!failed)
			widen();
	}
	return enter(n->home, e) || failed ? -1 : 0;
}

static void close_spaces(struct link_net *n)
{
	for (int i = 0; i < LINK_ROLES; i++) {
		if (n->spaces[i] >= 0)
			close(n->spaces[i]);
		n->spaces[i] = -1;
	}
	if (n->home >= 0)
		close(n->home);
	n->home = -1;
}

/* ---- emulator ---- */

static int make_devices(struct link_net *n, int fds[LINK_ROLES], struct err *e)
{
	int failed = 0;

	for (int i = 0; i < LINK_ROLES && !failed; i++) {
		failed = link_net_enter(n, i, e);
		if (!failed)
			fds[i] = tun_new(LINK_ADDRESS(i), emulator_gso(&n->link), e);
		failed = failed || fds[i] < 0;
	}
	return link_net_home(n, e) || failed ? -1 : 0;
}

static int start_emulator(struct link_net *n, const int fds[LINK_ROLES], struct err *e)
{
	pid_t parent = getpid();

	n->emulator = fork();
	if (n->emulator < 0) {
		n->emulator = 0;
		return err_set(e, ERR_ENV, "cannot start the link emulator: %s", strerror(errno));
	}
	if (n->emulator)
		return 0;
	signal(SIGTERM, SIG_DFL);
	signal(SIGINT, SIG_IGN); /* Ctrl-C is for our parent, who ends us when the roles have ended */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "link-emulator");
	if (getppid() != parent)
		_exit(ERR_ENV);
	emulator_run(n->emulated, fds);
}

static int make_emulator(struct link_net *n, struct err *e)
{
	int fds[LINK_ROLES] = {-1, -1, -1}, failed;

	n->emulated =
	    mmap(NULL, sizeof(*n->emulated), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (n->emulated == MAP_FAILED) {
		n->emulated = NULL;
		return err_set(e, ERR_ENV, "out of memory");
	}
	n->emulated->link = n->link;
	failed = make_devices(n, fds, e) || start_emulator(n, fds, e);
	for (int i = 0; i < LINK_ROLES; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return failed ? -1 : 0;
}

int link_net_alive(const struct link_net *n, struct err *e)
{
	return n->emulator && !child_alive(n->emulator)
		   ? err_set(e, ERR_ENV,
			     "the link emulator has ended; nothing that was measured since is true")
		   : 0;
}

/* ---- choice ---- */

/* What the link needs beyond rate. */
static int only_rate(const struct link *l)
{
	for (int a = 0; a < LINK_ROLES; a++)
		for (int b = 0; b < LINK_ROLES; b++)
			if (l->paths[a][b].delay > 0 || l->paths[a][b].jitter > 0 || l->paths[a][b].loss > 0)
				return 0;
	return 1;
}

/* netem lets packets overtake each other when they jitter. */
static int jitters(const struct link *l)
{
	for (int a = 0; a < LINK_ROLES; a++)
		for (int b = 0; b < LINK_ROLES; b++)
			if (l->paths[a][b].jitter > 0)
				return 1;
	return 0;
}

static enum link_mechanism choose(const struct link_net *n)
{
	struct err ignore = {0};
	int netem = !jitters(&n->link) && !link_net_enter(n, 0, &ignore) && veth_has_netem();

	if (link_net_home(n, &ignore))
		return MECHANISM_EMULATOR; /* which will fail, and say why */
	return netem ? MECHANISM_NETEM : only_rate(&n->link) ? MECHANISM_TBF : MECHANISM_EMULATOR;
}

static int mechanism_of(struct link_net *n, const char *asked, struct err *e)
{
	if (!asked || !strcmp(asked, "auto")) {
		n->mechanism = choose(n);
		return 0;
	}
	for (n->mechanism = MECHANISM_NETEM; n->mechanism < MECHANISMS; n->mechanism++)
		if (!strcmp(asked, link_mechanism_names[n->mechanism]))
			break;
	if (n->mechanism == MECHANISMS)
		return err_set(e, ERR_USAGE, "--mechanism: \"%.40s\" is none of auto, netem, emulator, tbf",
			       asked);
	if (n->mechanism == MECHANISM_TBF && !only_rate(&n->link))
		return err_set(e, ERR_USAGE,
			       "--mechanism: tbf makes no delay, jitter or loss, which the link %s has",
			       n->link.name);
	return 0;
}

int link_net_new(struct link_net *n, const struct link *link, const char *asked, struct err *e)
{
	memset(n, 0, sizeof(*n));
	n->link = *link;
	n->home = n->spaces[0] = n->spaces[1] = n->spaces[2] = -1;
	if (link->native)
		return 0;
	if (make_spaces(n, e) || mechanism_of(n, asked, e))
		return err_context(e, "link %s", link->name);
	return (n->mechanism == MECHANISM_EMULATOR ? make_emulator(n, e)
						   : veth_mesh(n, n->mechanism == MECHANISM_NETEM, e))
		   ? err_context(e, "link %s (%s)", link->name, link_mechanism_names[n->mechanism])
		   : 0;
}

void link_net_free(struct link_net *n)
{
	if (n->emulator) {
		kill(n->emulator, SIGKILL); /* it holds nothing */
		while (waitpid(n->emulator, NULL, 0) < 0 && errno == EINTR)
			;
	}
	n->emulator = 0;
	if (n->emulated)
		munmap(n->emulated, sizeof(*n->emulated));
	n->emulated = NULL;
	close_spaces(n);
}

/* ---- what it is ---- */

const char *link_net_address(const struct link_net *n, enum link_role role)
{
	static const char *const at[LINK_ROLES] = {"10.77.0.1", "10.77.0.2", "10.77.0.3"};

	return n->home < 0 ? "127.0.0.1" : at[role];
}

static void add_setting(struct json_object *o, const char *name, const char *path)
{
	char text[128] = "";
	FILE *f = fopen(path, "re");

	if (f && fgets(text, sizeof(text), f))
		text[strcspn(text, "\n")] = 0;
	if (f)
		fclose(f);
	for (char *p = text; *p; p++)
		*p = *p == '\t' ? ' ' : *p;
	json_text(o, name, *text ? text : NULL);
}

static uint64_t sum(const _Atomic uint64_t x[LINK_ROLES][LINK_ROLES])
{
	uint64_t s = 0;

	for (int a = 0; a < LINK_ROLES; a++)
		for (int b = 0; b < LINK_ROLES; b++)
			s += x[a][b];
	return s;
}

static void add_emulator(struct json_object *o, const struct emulated *m)
{
	json_count(o, "largest_piece", emulator_gso(&m->link));
	json_object_object_add(o, "real_time", json_object_new_boolean(m->real_time));
	json_real(o, "own_delay", m->own);
	json_count(o, "packets", sum(m->packets));
	json_count(o, "packets_queue_full", sum(m->full));
	json_count(o, "packets_lost", sum(m->lost));
}

struct json_object *link_net_describe(const struct link_net *n)
{
	struct json_object *o = json_object_new_object();
	struct err ignore = {0};

	json_text(o, "mechanism", link_mechanism_names[n->mechanism]);
	if (link_net_enter(n, LINK_DATA_OWNER, &ignore))
		return o;
	json_count(o, "mtu", n->home < 0 ? 65536 : LINK_MTU);
	add_setting(o, "congestion_control", "/proc/sys/net/ipv4/tcp_congestion_control");
	add_setting(o, "tcp_rmem", "/proc/sys/net/ipv4/tcp_rmem");
	add_setting(o, "tcp_wmem", "/proc/sys/net/ipv4/tcp_wmem");
	add_setting(o, "slow_start_after_idle", "/proc/sys/net/ipv4/tcp_slow_start_after_idle");
	if (n->emulated)
		add_emulator(o, n->emulated);
	if (link_net_home(n, &ignore))
		json_text(o, "mechanism", "lost");
	return o;
}
