/* SPDX-License-Identifier: Apache-2.0 */
/* obscura-enclave inside Gramine: this process is the SGX enclave, and no other can hand it open files. So it
 * listens by itself; the host's network stack, outside, relays ciphertext as the front end does elsewhere.
 * There is no quoter, and nothing to harden: who could use a system call is outside already. */
#include "daemon/enclave.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/enclave_parts.h"

#define SILENT_S 120 /* a client that says nothing gives its place back */

/* IPv4 in digits, or [IPv6]: looking up a name would ask the host. */
static int address_of(const char *text, struct sockaddr_storage *at, socklen_t *n, struct err *e)
{
	struct sockaddr_in *four = (struct sockaddr_in *)at;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)at;
	const char *colon = strrchr(text, ':');
	size_t length = colon ? (size_t)(colon - text) : 0;
	char host[64] = "", *end;
	unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;
	int v6 = length > 2 && *text == '[' && text[length - 1] == ']';

	memset(at, 0, sizeof(*at));
	if (colon && colon[1] && !*end && port < 65536 && length && length < sizeof(host)) {
		memcpy(host, text + v6, length - (size_t)v6 * 2);
		if (v6 && inet_pton(AF_INET6, host, &six->sin6_addr) == 1) {
			six->sin6_family = AF_INET6;
			six->sin6_port = htons((uint16_t)port);
			*n = sizeof(*six);
			return 0;
		}
		if (!v6 && inet_pton(AF_INET, host, &four->sin_addr) == 1) {
			four->sin_family = AF_INET;
			four->sin_port = htons((uint16_t)port);
			*n = sizeof(*four);
			return 0;
		}
	}
	return err_set(e, ERR_USAGE, "\"%.80s\" is no address: write 0.0.0.0:7404 or [::]:7404", text);
}

static int listen_at(const char *text, struct err *e)
{
	struct sockaddr_storage at;
	socklen_t n = 0;
	int fd, one = 1;

	if (address_of(text, &at, &n, e))
		return -1;
	fd = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		if (!bind(fd, (struct sockaddr *)&at, n) && !listen(fd, 64))
			return fd;
	}
	err_set(e, ERR_ENV, "cannot listen on %.80s: %s", text, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

static int open_file(const char *path, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		err_set(e, ERR_INPUT, "cannot read %.300s: %s", path, strerror(errno));
	return fd;
}

static void serve(int listener)
{
	const struct timeval silent = {.tv_sec = SILENT_S};
	int one = 1;

	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0) {
			if (errno != EINTR && errno != ECONNABORTED)
				quote_host_linux.pause(100); /* out of files: connections must end first */
			continue;
		}
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &silent, sizeof(silent));
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &silent, sizeof(silent));
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		enclave_child_accept(fd, GUEST_COMES);
	}
}

/* access=FILE, revoked=FILE and owners=FILE are enforced; any other word is a sealed model. What they say to
 * a front end goes to standard error. */
static int take_file(const char *word, struct err *e)
{
	static const struct {
		const char *name;
		char what;
	} rows[] = {{"access=", ENCLAVE_HANDS_ACCESS},
		    {"revoked=", ENCLAVE_HANDS_REVOKED},
		    {"owners=", ENCLAVE_HANDS_OWNERS}};
	char what = 0;
	int fd;

	for (size_t i = 0; !what && i < sizeof(rows) / sizeof(*rows); i++)
		if (!strncmp(word, rows[i].name, strlen(rows[i].name))) {
			what = rows[i].what;
			word += strlen(rows[i].name);
		}
	fd = open_file(word, e);
	if (fd < 0)
		return -1;
	if (what)
		enclave_rules_handed(what, fd);
	else
		enclave_owner_lies_here(fd);
	return 0;
}

static int start(const char *address, const char *ca, char *const *words, int *listener, struct err *e)
{
	const struct quote_provider *gramine = quote_choose("gramine", &quote_host_linux, e);
	int file = gramine ? open_file(ca, e) : -1;

	if (file < 0 || enclave_child_prepare(file, gramine, 1, e))
		return -1;
	while (*words)
		if (take_file(*words++, e))
			return -1;
	*listener = listen_at(address, e);
	return *listener < 0 ? -1 : 0;
}

static void say_ready(int listener)
{
	struct sockaddr_storage at;
	struct sockaddr_in *four = (struct sockaddr_in *)&at;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&at;
	socklen_t n = sizeof(at);
	char host[64] = "?";
	int v6;

	if (getsockname(listener, (struct sockaddr *)&at, &n))
		return;
	v6 = at.ss_family == AF_INET6;
	inet_ntop(at.ss_family, v6 ? (void *)&six->sin6_addr : (void *)&four->sin_addr, host, sizeof(host));
	fprintf(stderr,
		v6 ? "obscura-enclave: ready at [%s]:%u; it has no model until one is provisioned\n"
		   : "obscura-enclave: ready at %s:%u; it has no model until one is provisioned\n",
		host, ntohs(v6 ? six->sin6_port : four->sin_port));
}

int enclave_gramine_main(const char *address, const char *ca, char *const *words)
{
	struct err e = {0};
	int listener;

	if (start(address, ca, words, &listener, &e)) {
		fprintf(stderr, "obscura-enclave: %s\n", e.text);
		return e.code;
	}
	say_ready(listener);
	serve(listener);
	return 0;
}
