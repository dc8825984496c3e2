/* SPDX-License-Identifier: Apache-2.0 */
/* Who may ask: the token, and no page of another site through somebody's browser. */
#include "daemon/http_parts.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#define TOKEN_LEAST 16
#define TOKEN_MOST 512

/* ---- the token ---- */

static void hash(uint8_t out[HTTP_TOKEN_HASH], const char *token, size_t n)
{
	crypto_generichash(out, HTTP_TOKEN_HASH, (const uint8_t *)token, n, NULL, 0);
}

static int read_token(char *token, size_t *n, const char *file, struct err *e)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t got;

	if (fd < 0 || fstat(fd, &st)) {
		err_set(e, ERR_ENV, "cannot read the token file %s: %s", file, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	got = read(fd, token, TOKEN_MOST + 2);
	close(fd);
	if (st.st_mode & (S_IRWXO | S_IWGRP))
		return err_set(e, ERR_ENV, "others may read the token in %s; chmod 600 %s", file, file);
	*n = got > 0 ? strcspn(token, "\r\n") : 0;
	if (*n < TOKEN_LEAST || *n > TOKEN_MOST)
		return err_set(e, ERR_INPUT,
			       "the token in %s has %zu characters: it needs one line of %d to %d; make one "
			       "with openssl rand -hex 24",
			       file, *n, TOKEN_LEAST, TOKEN_MOST);
	for (size_t i = 0; i < *n; i++)
		if (!isgraph((unsigned char)token[i]))
			return err_set(e, ERR_INPUT,
				       "character %zu of the token in %s cannot stand in a header", i + 1,
				       file);
	return 0;
}

int http_token(struct http *h, const char *file, struct err *e)
{
	char token[TOKEN_MOST + 3] = "";
	size_t n = 0;
	int failed = read_token(token, &n, file, e);

	if (!failed) {
		hash(h->token, token, n);
		h->guarded = 1;
	}
	sodium_memzero(token, sizeof(token));
	return failed;
}

int http_trusted(const struct http_call *c)
{
	const char *given = http_header(c, "Authorization");
	uint8_t hashed[HTTP_TOKEN_HASH];

	if (c->port->path || !c->http->guarded)
		return 1;
	if (given && !strncasecmp(given, "Bearer ", 7)) {
		given += 7;
		given += strspn(given, " ");
		hash(hashed, given, strlen(given));
		if (!sodium_memcmp(hashed, c->http->token, sizeof(hashed)))
			return 1;
	}
	return 0;
}

int http_authorised(struct http_call *c)
{
	if (http_trusted(c))
		return 1;
	http_set(c, "WWW-Authenticate", "Bearer");
	http_refuse(c, 401,
		    "this address needs the header Authorization: Bearer TOKEN, with the token of "
		    "http_token_file");
	return 0;
}

/* ---- browsers ---- */

/* Length of the host in "host:port", "[v6]:port". */
static size_t host_length(const char *text)
{
	const char *end = *text == '[' ? strchr(text, ']') : NULL;

	return end ? (size_t)(end + 1 - text) : strcspn(text, ":");
}

/* A name that somebody else's DNS may point at us is not taken. */
static int is_ours(const struct http_call *c, const char *host)
{
	size_t n = host_length(host);

	if (*host == '[' || (n && strspn(host, "0123456789.") == n))
		return 1;
	return (n == 9 && !strncasecmp(host, "localhost", n)) ||
	       (n == strlen(c->port->host) && !strncasecmp(host, c->port->host, n));
}

int http_foreign(struct http_call *c)
{
	const char *host = http_header(c, "Host"), *origin = http_header(c, "Origin"), *at;

	if (c->port->path)
		return 0;
	if (host && !is_ours(c, host)) {
		http_refuse(c, 403, "this server is not \"%.80s\": ask for it by its address", host);
		return 1;
	}
	at = origin ? strstr(origin, "://") : NULL;
	if (origin && (!at || !host || strcasecmp(at + 3, host))) {
		http_refuse(c, 403, "a page of \"%.80s\" may not ask here", origin);
		return 1;
	}
	return 0;
}
