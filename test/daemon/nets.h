/* SPDX-License-Identifier: Apache-2.0 */
/* test/daemon/nets.h — several nets in one thread, turned in turn; and a raw TLS peer that may do what no net
 * does. */
#ifndef OBSCURA_TEST_DAEMON_NETS_H
#define OBSCURA_TEST_DAEMON_NETS_H

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "certs.h"
#include "daemon/conn.h"
#include "daemon/log.h"
#include "daemon/net.h"
#include "wire.pb-c.h"

#pragma GCC diagnostic ignored "-Wunused-function" /* no test uses all of this */

#define PATIENCE_MS 20000 /* a test that waits longer has failed */
#define SIDES 4
#define REPLY_BYTES 1000000 /* of a MODEL_LIST */

/* ---- what was logged ---- */

static int nets_stderr = -1, nets_log = -1;

static void log_begin(void)
{
	nets_log = open(certs_path("log", ""), O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0600);
	nets_stderr = dup(2);
	dup2(nets_log, 2);
	log_open("debug", "test");
}

static char *log_text(void)
{
	static char text[1 << 16];
	ssize_t n = pread(nets_log, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = 0;
	return text;
}

static int logged(const char *what)
{
	return strstr(log_text(), what) != NULL;
}

/* Shows what did not come from log_line: a failed assertion, a sanitizer. */
static void log_end(void)
{
	char *text = log_text(), *save = NULL;

	dup2(nets_stderr, 2);
	close(nets_stderr);
	close(nets_log);
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (strncmp(line, "20", 2))
			fprintf(stderr, "%s\n", line);
}

/* The port of the last "listening on". */
static int logged_port(void)
{
	char *at = NULL;

	for (char *next = log_text(); (next = strstr(next, "listening on ")); next++)
		at = next;
	at = at ? strchr(at + 13, ':') : NULL;
	return at ? atoi(at + 1) : 0;
}

/* ---- nets ---- */

struct side {
	struct net *net;
	struct config config;
	struct conn *conn; /* the last that came up */
	int ups, downs, frames, drained;
	struct err why; /* of the last down */
	struct frame last;
	uint32_t next; /* sequence due */
	size_t bytes;
	int wrong;	  /* frames with another content or order than sent */
	size_t most;	  /* bytes queued for a peer, ever */
	int end_on_frame; /* the handler fails */
};
static struct side sides[SIDES];

/* Bytes that the receiver can check: they depend on the place and on the sequence. */
static uint8_t pattern(uint32_t sequence, size_t i)
{
	return (uint8_t)(sequence * 31 + i * 7 + (i >> 8));
}

static void fill_pattern(uint8_t *body, uint32_t sequence, size_t n)
{
	for (size_t i = 0; i < n; i++)
		body[i] = pattern(sequence, i);
}

static void on_up(void *ctx, struct conn *c)
{
	struct side *s = ctx;

	s->conn = c;
	s->ups++;
}

static void answer_models(struct side *s, struct conn *c)
{
	static uint8_t body[REPLY_BYTES];
	struct frame f = {.type = FRAME_MODEL_LIST, .length = sizeof(body), .body = body};
	struct channel *channel = conn_channel(c);
	size_t queued;

	channel->ops->send(channel, &f);
	channel->ops->flush(channel);
	queued = channel->ops->queued(channel);
	s->most = queued > s->most ? queued : s->most;
}

static int on_frame(void *ctx, struct conn *c, const struct frame *f, struct err *e)
{
	struct side *s = ctx;

	s->frames++;
	s->last = *f;
	s->bytes += f->length;
	if (f->type == FRAME_MODELS)
		answer_models(s, c);
	if (f->type == FRAME_STEP || f->type == FRAME_DELTA) {
		s->wrong += f->sequence != s->next++;
		for (size_t i = 0; i < f->length; i++)
			s->wrong += f->body[i] != pattern(f->sequence, i);
	}
	return s->end_on_frame ? err_set(e, ERR_PEER, "the handler wants an end") : 0;
}

static void on_drained(void *ctx, struct conn *c)
{
	((struct side *)ctx)->drained++;
}

static void on_down(void *ctx, struct conn *c, const struct err *why)
{
	struct side *s = ctx;

	s->downs++;
	s->why = *why;
	if (c == s->conn)
		s->conn = NULL;
}

static const struct net_handler handler = {on_up, on_frame, on_drained, on_down};

static void set(struct config *c, const char *name, const char *value)
{
	struct err e = {0};
	char flag[256];

	snprintf(flag, sizeof(flag), "--%s=%s", name, value);
	assert_int_equal(config_flag(c, flag, &e), 0);
}

/* letter: of the role; certificate: its file; ca: whom it trusts. */
static void configure(struct side *s, char letter, const char *certificate, const char *ca)
{
	struct err e = {0};

	*s = (struct side){0};
	assert_int_equal(config_defaults(&s->config, letter, &e), 0);
	set(&s->config, "ca", certs_path(ca, ".pem"));
	set(&s->config, "certificate", certs_path(certificate, ".pem"));
	set(&s->config, "key", certs_path(certificate, ".key"));
	set(&s->config, "threads", "1");
	set(&s->config, "connect-ms", "2000");
}

static enum frame_role role_of(char letter)
{
	return letter == 'D' ? ROLE_D : letter == 'M' ? ROLE_M : letter == 'C' ? ROLE_C : ROLE_L;
}

static void start(struct side *s)
{
	struct err e = {0};

	if (net_new(&s->net, &s->config, role_of(s->config.role), &e))
		fail_msg("%s", e.text);
}

/* Listens on a free port (0) or on a given one; returns it. */
static int start_listening(struct side *s, int port, unsigned roles)
{
	struct err e = {0};
	char address[32];

	start(s);
	snprintf(address, sizeof(address), "127.0.0.1:%d", port);
	if (net_listen(s->net, address, roles, &handler, s, &e))
		fail_msg("%s", e.text);
	return logged_port();
}

static void start_connecting(struct side *s, const char *host, int port, enum frame_role peer)
{
	struct err e = {0};
	char address[64];

	if (!s->net)
		start(s);
	snprintf(address, sizeof(address), "%s:%d", host, port);
	if (net_connect(s->net, address, peer, 1, &handler, s, &e))
		fail_msg("%s", e.text);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void turn(void)
{
	for (int i = 0; i < SIDES; i++)
		if (sides[i].net)
			net_turn(sides[i].net, EVLOOP_NONBLOCK);
	usleep(100);
}

static void turn_for(uint64_t ms)
{
	for (uint64_t end = now_ms() + ms; now_ms() < end;)
		turn();
}

/* Turns all nets until the condition holds. */
#define AWAIT(condition)                                                                                     \
	do {                                                                                                 \
		for (uint64_t end = now_ms() + PATIENCE_MS; !(condition) && now_ms() < end;)                 \
			turn();                                                                              \
		if (!(condition))                                                                            \
			fail_msg("waited in vain for %s; log:\n%s", #condition, log_text());                 \
	} while (0)

static void stop(struct side *s)
{
	net_free(s->net);
	s->net = NULL;
	config_free(&s->config);
	s->conn = NULL;
}

/* ---- a raw peer ---- */

struct raw {
	int fd;
	SSL_CTX *ctx;
	SSL *ssl;
	int ended;
};

static int raw_socket(int port)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

/* Takes fd. certificate: NULL for none. server: we accept. */
static void raw_new(struct raw *r, int fd, const char *certificate, int server)
{
	*r = (struct raw){.fd = fd, .ctx = SSL_CTX_new(TLS_method())};
	if (certificate) {
		assert_int_equal(
		    SSL_CTX_use_certificate_file(r->ctx, certs_path(certificate, ".pem"), SSL_FILETYPE_PEM),
		    1);
		assert_int_equal(
		    SSL_CTX_use_PrivateKey_file(r->ctx, certs_path(certificate, ".key"), SSL_FILETYPE_PEM),
		    1);
	}
	SSL_CTX_set_mode(r->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	r->ssl = SSL_new(r->ctx);
	SSL_set_fd(r->ssl, fd);
	if (server)
		SSL_set_accept_state(r->ssl);
	else
		SSL_set_connect_state(r->ssl);
}

static void raw_free(struct raw *r)
{
	SSL_free(r->ssl);
	SSL_CTX_free(r->ctx);
	close(r->fd);
	ERR_clear_error();
}

/* 1: go on, 0: wait, -1: it has ended. */
static int raw_state(struct raw *r, int result)
{
	int want = result > 0 ? SSL_ERROR_NONE : SSL_get_error(r->ssl, result);

	ERR_clear_error();
	if (want == SSL_ERROR_NONE)
		return 1;
	if (want == SSL_ERROR_WANT_READ || want == SSL_ERROR_WANT_WRITE)
		return 0;
	r->ended = 1;
	return -1;
}

static int raw_handshake(struct raw *r)
{
	int state;

	for (uint64_t end = now_ms() + PATIENCE_MS;
	     !(state = raw_state(r, SSL_do_handshake(r->ssl))) && now_ms() < end;)
		turn();
	return state;
}

static void raw_write(struct raw *r, const void *bytes, size_t n)
{
	for (size_t done = 0; done < n && !r->ended;) {
		int put = SSL_write(r->ssl, (const uint8_t *)bytes + done, (int)(n - done));

		if (raw_state(r, put) > 0)
			done += (size_t)put;
		else
			turn();
	}
}

static void raw_frame(struct raw *r, const struct frame *f)
{
	uint8_t header[FRAME_HEADER];

	frame_pack(header, f);
	raw_write(r, header, sizeof(header));
	if (f->body)
		raw_write(r, f->body, f->length);
}

/* The next frame; -1 when the connection has ended. body may be NULL. */
static int raw_next(struct raw *r, struct frame *f, uint8_t *body, size_t room)
{
	uint8_t header[FRAME_HEADER], dropped[4096];
	size_t done = 0, n = FRAME_HEADER;

	for (uint64_t end = now_ms() + PATIENCE_MS; done < n && now_ms() < end;) {
		size_t at = done - FRAME_HEADER;
		int keep = done >= FRAME_HEADER && body && at < room;
		uint8_t *to = done < FRAME_HEADER ? header + done : keep ? body + at : dropped;
		size_t want = done < FRAME_HEADER ? FRAME_HEADER - done : keep ? room - at : sizeof(dropped);
		int got = SSL_read(r->ssl, to, (int)(want < n - done ? want : n - done)),
		    state = raw_state(r, got);

		if (state < 0)
			return -1;
		if (state > 0)
			done += (size_t)got;
		else
			turn();
		if (done == FRAME_HEADER && n == FRAME_HEADER) {
			*f = (struct frame){.length = header[0] | header[1] << 8 | header[2] << 16 |
						      (uint32_t)header[3] << 24,
					    .type = header[4]};
			n += f->length;
		}
	}
	return done < n ? -1 : f->type;
}

static void raw_hello(struct raw *r, const char *role, uint32_t version, int spoil)
{
	Wire__Hello hello = WIRE__HELLO__INIT;
	uint8_t digest[32], body[256];

	frame_digest(digest);
	digest[0] ^= (uint8_t)spoil;
	hello.version = version;
	hello.role = (char *)(uintptr_t)role;
	hello.digest = (ProtobufCBinaryData){sizeof(digest), digest};
	hello.software = (char[]){"raw"};
	raw_frame(r, &(struct frame){.type = FRAME_HELLO,
				     .length = (uint32_t)wire__hello__pack(&hello, body),
				     .body = body});
}

/* The text of the ERROR that ends the connection; "" when it ends without. */
static const char *raw_error(struct raw *r)
{
	static char text[512];
	uint8_t body[4096];
	struct frame f;
	int type;

	text[0] = 0;
	while ((type = raw_next(r, &f, body, sizeof(body))) >= 0)
		if (type == FRAME_ERROR) {
			Wire__Error *error = wire__error__unpack(NULL, f.length, body);

			snprintf(text, sizeof(text), "%s", error ? error->text : "?");
			wire__error__free_unpacked(error, NULL);
		}
	return text;
}

/* ---- fixtures ---- */

static int nets_begin(void **state)
{
	log_begin();
	return 0;
}

static int nets_end(void **state)
{
	for (int i = 0; i < SIDES; i++)
		if (sides[i].net)
			stop(&sides[i]);
	log_end();
	return 0;
}

static int nets_make(void **state)
{
	return certs_all();
}

static int nets_remove(void **state)
{
	return certs_remove();
}

#endif
