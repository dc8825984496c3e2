/* SPDX-License-Identifier: Apache-2.0 */
/* Which congestion control the connection of an inference has. Its messages alternate: each end is silent for
 * a round trip, then sends tens or hundreds of kilobytes, and waits. BBR learns little of the link from that,
 * and paces what it sends by the little that it knows; cubic and Reno send at once what a window holds, and
 * the window has grown to the largest message. Large messages were sooner with Reno (docs/EXPERIMENTS.md);
 * cubic may leave slow start before that (HyStart). But they forget the window when nothing was sent for a
 * while, unless tcp_slow_start_after_idle is off.
 *
 * It is set before the connection is made, on a listener for what it accepts: a socket that had BBR for a
 * moment goes on pacing with whatever follows (Linux keeps sk_pacing_status). */
#include "daemon/net_parts.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int forgets_when_idle(void)
{
	FILE *f = fopen("/proc/sys/net/ipv4/tcp_slow_start_after_idle", "re");
	int c = f ? getc(f) : '1';

	if (f)
		fclose(f);
	return c != '0';
}

void socket_congestion(int fd, const char *name)
{
	if (*name)
		setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name));
}

/* Whether the kernel has it, and lets us. Returns 0 or errno. */
static int try(const char *name)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), why = 0;

	if (fd < 0)
		return errno;
	if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)))
		why = errno;
	close(fd);
	return why;
}

int congestion_choose(char name[CONGESTION_BYTES], const char *asked, struct err *e)
{
	static const char keep_window[] = "reno";
	int why;

	*name = 0;
	if (!strcmp(asked, "host"))
		return 0;
	if (strcmp(asked, "auto") != 0) {
		snprintf(name, CONGESTION_BYTES, "%s", asked);
		why = strlen(asked) < CONGESTION_BYTES ? try(name) : ENOENT;
		return why ? err_set(
				 e, ERR_ENV,
				 "congestion = %.20s: %s; /proc/sys/net/ipv4/tcp_allowed_congestion_control "
				 "lists what can be had",
				 asked, strerror(why))
			   : 0;
	}
	if (!forgets_when_idle() && !try(keep_window))
		snprintf(name, CONGESTION_BYTES, "%s", keep_window);
	return 0;
}
