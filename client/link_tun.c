/* SPDX-License-Identifier: Apache-2.0 */
/* Devices of the current namespace by ioctl(2) and rtnetlink(7): no program need be there. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/link_parts.h"

#define DEVICE "link0"
#define BACKLOG 4000 /* packets that wait for the emulator: it shares its processor */

static struct ifreq request(const char *name)
{
	struct ifreq r = {0};

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	return r;
}

static int up(int fd, const char *name)
{
	struct ifreq r = request(name);

	r.ifr_flags = IFF_UP | IFF_RUNNING;
	return ioctl(fd, SIOCSIFFLAGS, &r);
}

static int set_address(int fd, unsigned long what, uint32_t address)
{
	struct ifreq r = request(DEVICE);
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};

	memcpy(&r.ifr_addr, &in, sizeof(in));
	return ioctl(fd, what, &r);
}

static int set_mtu(int fd)
{
	struct ifreq r = request(DEVICE);

	r.ifr_mtu = LINK_MTU;
	return ioctl(fd, SIOCSIFMTU, &r);
}

int device_up(const char *name, struct err *e)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), failed = fd < 0 || up(fd, name);
	int why = errno;

	if (fd >= 0)
		close(fd);
	return failed ? err_set(e, ERR_ENV, "cannot set up %s: %s", name, strerror(why)) : 0;
}

/* How much TCP may hand over in one piece, 0: as it is, and how many may wait. By netlink: ioctl wants more
 * rights for the latter than a user namespace gives. */
static int set_sizes(uint32_t gso)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg i;
		struct {
			struct rtattr a;
			uint32_t value;
		} x[2];
	} ask = {{0, RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK, 0, 0},
		 {.ifi_family = AF_UNSPEC, .ifi_index = (int)if_nametoindex(DEVICE)},
		 {{{RTA_LENGTH(sizeof(uint32_t)), IFLA_TXQLEN}, BACKLOG},
		  {{RTA_LENGTH(sizeof(uint32_t)), IFLA_GSO_MAX_SIZE}, gso}}};
	struct {
		struct nlmsghdr h;
		struct nlmsgerr e;
		char rest[256];
	} answer;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), r = -1;

	ask.h.nlmsg_len = (uint32_t)(gso ? sizeof(ask) : sizeof(ask) - sizeof(ask.x[1]));
	if (fd >= 0 && send(fd, &ask, ask.h.nlmsg_len, 0) == (ssize_t)ask.h.nlmsg_len &&
	    recv(fd, &answer, sizeof(answer), 0) >= (ssize_t)(sizeof(answer.h) + sizeof(answer.e)) &&
	    answer.h.nlmsg_type == NLMSG_ERROR) {
		r = answer.e.error ? -1 : 0;
		errno = -answer.e.error;
	}
	if (fd >= 0)
		close(fd);
	return r;
}

/* One MTU: no pieces at all. */
static int configure(int tun, uint32_t address, uint32_t gso)
{
	unsigned offload = gso > LINK_MTU ? TUN_F_CSUM | TUN_F_TSO4 : TUN_F_CSUM;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), failed;

	if (fd < 0)
		return -1;
	failed = ioctl(tun, TUNSETOFFLOAD, offload) || set_sizes(gso > LINK_MTU && gso < 65536 ? gso : 0) ||
		 set_mtu(fd) || set_address(fd, SIOCSIFADDR, address) ||
		 set_address(fd, SIOCSIFNETMASK, 0xffffff00u) || up(fd, DEVICE);
	close(fd);
	return failed ? -1 : 0;
}

int tun_new(uint32_t address, uint32_t gso, struct err *e)
{
	struct ifreq r = request(DEVICE);
	int tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (tun < 0)
		return err_set(e, ERR_ENV, "/dev/net/tun: %s; the link emulator needs it%s", strerror(errno),
			       errno == EACCES ? ": chmod 666, or run as root" : "");
	r.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
	if (!ioctl(tun, TUNSETIFF, &r) && !configure(tun, address, gso))
		return tun;
	err_set(e, ERR_ENV, "cannot set up a TUN device: %s", strerror(errno));
	close(tun);
	return -1;
}
