/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP server against peers that do as they please: limits on connections, time, heads and bodies,
 * answers that come late or never, half requests, garbage. */
#include "test/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <sodium.h>

#include "daemon/http.h"
#include "daemon/log.h"

#define PATH "/tmp/obscura-http-test.sock"
#define PATIENCE_MS 20000

static struct event_base *base;
static struct http *http;
static struct http_call *held; /* "/hold": answered by the test */
static unsigned calls;
static size_t body_bytes;

static void on_call(void *ctx, struct http_call *c)
{
	calls++;
	http_body(c, &body_bytes);
	if (!strcmp(http_path(c), "/hold")) {
		held = c;
		return;
	}
	if (!strcmp(http_path(c), "/guarded") && !http_authorised(c))
		return;
	http_reply(c, 200, "text/plain", "fine", 4);
}

static void start(const struct http_limits *limits)
{
	struct err e = {0};

	calls = 0;
	held = NULL;
	base = event_base_new();
	assert_int_equal(http_new(&http, base, limits, on_call, NULL, &e), 0);
	if (http_listen_unix(http, PATH, "http-socket", &e))
		fail_msg("%s", e.text);
}

static void stop(void)
{
	http_free(http);
	event_base_free(base);
	http = NULL;
}

static const struct http_limits usual = {.body = 1000, .connections = 3, .idle_us = 20000000};

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

#define AWAIT(condition)                                                                                     \
	do {                                                                                                 \
		for (uint64_t end = now_ms() + PATIENCE_MS; !(condition) && now_ms() < end; usleep(200))     \
			event_base_loop(base, EVLOOP_NONBLOCK);                                              \
		assert_true(condition);                                                                      \
	} while (0)

/* ---- a peer ---- */

struct peer {
	int fd, ended;
	char got[20000];
	size_t n;
};

static void peer_connect(struct peer *p)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = PATH};

	*p = (struct peer){.fd = socket(AF_UNIX, SOCK_STREAM, 0)};
	assert_int_equal(connect(p->fd, (struct sockaddr *)&un, sizeof(un)), 0);
	fcntl(p->fd, F_SETFL, O_NONBLOCK);
}

static int peer_read(struct peer *p)
{
	ssize_t n;

	while ((n = recv(p->fd, p->got + p->n, sizeof(p->got) - 1 - p->n, 0)) > 0)
		p->n += (size_t)n;
	p->got[p->n] = 0;
	p->ended |= n == 0 || (n < 0 && errno != EAGAIN);
	return 1;
}

static void peer_send(struct peer *p, const char *bytes, size_t n)
{
	while (n) {
		ssize_t k = send(p->fd, bytes, n, MSG_NOSIGNAL);

		if (k < 0 && errno != EAGAIN)
			return; /* it has had enough */
		if (k > 0) {
			bytes += k;
			n -= (size_t)k;
		}
		event_base_loop(base, EVLOOP_NONBLOCK);
	}
}

static void peer_say(struct peer *p, const char *text)
{
	peer_send(p, text, strlen(text));
}

static void peer_close(struct peer *p)
{
	close(p->fd);
}

/* A new peer says all this; what it hears must contain `answer`. */
static void converse(const char *text, const char *answer)
{
	struct peer p;

	peer_connect(&p);
	peer_say(&p, text);
	AWAIT(peer_read(&p) && (strstr(p.got, answer) || p.ended));
	if (!strstr(p.got, answer))
		fail_msg("\"%s\" was answered by \"%s\", not \"%s\"", text, p.got, answer);
	peer_close(&p);
}

/* ---- tests ---- */

static void test_requests(void **state)
{
	struct stat st;

	start(&usual);
	assert_int_equal(stat(PATH, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	converse("GET /a HTTP/1.1\r\nHost: x\r\n\r\n", "fine");
	converse("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", "fine");
	assert_int_equal(body_bytes, 5);
	converse("POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
		 "chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
		 "fine");
	assert_int_equal(body_bytes, 5);
	converse("GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		 "fineHTTP/1.1 200");
	assert_int_equal(calls, 5);
	stop();
	assert_int_equal(stat(PATH, &st), -1);
}

static void test_bodies(void **state)
{
	char head[100], body[3000];
	struct peer p;

	start(&usual);
	memset(body, 'x', sizeof(body));
	peer_connect(&p); /* our words, while it is not much too long */
	peer_say(&p, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n");
	peer_send(&p, body, 1001);
	AWAIT(peer_read(&p) && strstr(p.got, "http_body_mib"));
	assert_non_null(strstr(p.got, "HTTP/1.1 413"));
	peer_close(&p);
	converse("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", "HTTP/1.1 413");
	converse("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 400");
	peer_connect(&p); /* chunks, one after another */
	peer_say(&p, "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 10 && !p.ended; i++) {
		snprintf(head, sizeof(head), "%x\r\n", 1000);
		peer_say(&p, head);
		peer_send(&p, body, 1000);
		peer_say(&p, "\r\n");
		peer_read(&p);
	}
	AWAIT(peer_read(&p) && p.ended);
	peer_close(&p);
	assert_int_equal(calls, 0);
	stop();
}

static void test_heads(void **state)
{
	static char line[40000];
	struct peer p;

	start(&usual);
	memset(line, 'a', sizeof(line) - 1);
	peer_connect(&p);
	peer_say(&p, "GET /a HTTP/1.1\r\nX: ");
	peer_say(&p, line);
	AWAIT(peer_read(&p) && p.ended);
	peer_close(&p);
	converse("hello\r\n\r\n", "400");
	converse("GET a HTTP/1.1\r\nHost: x\r\n\r\n", "400");
	converse("GET /a HTTP/9.9\r\nHost: x\r\n\r\n", "HTTP/1.");
	converse("\r\n\r\n\r\n", "400");
	assert_true(calls <= 1);
	stop();
}

/* A proxy before us may read another end of the request, and give the rest of it to somebody else: such
 * requests are refused, and nothing that follows them is read. */
static void test_ambiguous(void **state)
{
	static const char *const heads[] = {
	    "Content-Length: 4\r\nContent-Length: 40\r\n", "Host: y\r\nContent-Length: 4\r\n",
	    "Content-Length: 4\r\nTransfer-Encoding: xchunked\r\n", "Transfer-Encoding: gzip, chunked\r\n",
	    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"};
	char text[400];
	struct peer p;

	start(&usual);
	for (size_t i = 0; i < sizeof(heads) / sizeof(*heads); i++) {
		snprintf(text, sizeof(text),
			 "POST /a HTTP/1.1\r\nHost: x\r\n%s\r\n%sGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
			 heads[i], i > 2 ? "0\r\n\r\n" : "abcd");
		peer_connect(&p);
		peer_say(&p, text);
		AWAIT(peer_read(&p) && p.ended);
		if (strncmp(p.got, "HTTP/1.1 4", 10) || strstr(p.got + 12, "HTTP/1.1"))
			fail_msg("%s: %s", heads[i], p.got);
		peer_close(&p);
	}
	assert_int_equal(calls, 0);
	stop();
}

/* An answer to HEAD has no body: the next answer on the connection would begin with it. */
static void test_head(void **state)
{
	struct peer p;

	start(&usual);
	peer_connect(&p);
	peer_say(
	    &p, "HEAD /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	AWAIT(peer_read(&p) && p.ended);
	assert_non_null(strstr(p.got, "Content-Length: 4\r\n"));
	assert_non_null(strstr(p.got, "\r\n\r\nHTTP/1.1 200"));
	assert_int_equal(calls, 2);
	peer_close(&p);
	stop();
}

/* One more than may come waits until one of them goes. */
static void test_connections(void **state)
{
	struct peer p[4];

	start(&usual);
	for (int i = 0; i < 4; i++) {
		peer_connect(&p[i]);
		peer_say(&p[i], "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
	}
	AWAIT(peer_read(&p[0]) && peer_read(&p[1]) && peer_read(&p[2]) && p[0].n && p[1].n && p[2].n);
	for (int i = 0; i < 2000; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	peer_read(&p[3]);
	assert_int_equal(p[3].n, 0);
	assert_int_equal(calls, 3);
	peer_close(&p[1]);
	AWAIT(peer_read(&p[3]) && strstr(p[3].got, "fine"));
	peer_close(&p[0]);
	peer_close(&p[2]);
	peer_close(&p[3]);
	stop();
}

/* Silence, half a head, a body that trickles: all end; a request under way does not. */
static void test_time(void **state)
{
	static const struct http_limits hasty = {.body = 1000, .connections = 10, .idle_us = 300000};
	struct peer silent, half, slow, waiting;

	start(&hasty);
	peer_connect(&silent);
	peer_connect(&half);
	peer_say(&half, "GET /a HTTP/1.1\r\nHo");
	peer_connect(&slow);
	peer_say(&slow, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n");
	peer_connect(&waiting);
	peer_say(&waiting, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
	AWAIT(held);
	for (uint64_t end = now_ms() + PATIENCE_MS; !slow.ended && now_ms() < end; usleep(20000)) {
		peer_say(&slow, "x"); /* always something */
		peer_read(&slow);
	}
	assert_true(slow.ended);
	AWAIT(peer_read(&silent) && silent.ended);
	AWAIT(peer_read(&half) && half.ended);
	peer_read(&waiting);
	assert_false(waiting.ended);
	http_reply(held, 200, "text/plain", "late", 4);
	AWAIT(peer_read(&waiting) && strstr(waiting.got, "late"));
	AWAIT(peer_read(&waiting) && waiting.ended); /* silent since */
	assert_int_equal(calls, 1);
	peer_close(&silent);
	peer_close(&half);
	peer_close(&slow);
	peer_close(&waiting);
	stop();
}

/* The client has gone when its answer comes; the server goes while a client waits. */
static void test_gone(void **state)
{
	struct peer p;

	start(&usual);
	peer_connect(&p);
	peer_say(&p, "POST /hold HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
	AWAIT(held);
	peer_close(&p);
	for (int i = 0; i < 2000; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	http_refuse(held, 503, "too late");
	converse("GET /a HTTP/1.1\r\nHost: x\r\n\r\n", "fine");
	held = NULL;
	peer_connect(&p);
	peer_say(&p, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
	AWAIT(held);
	stop();
	peer_read(&p);
	assert_true(p.ended);
	peer_close(&p);
}

/* ---- TCP ---- */

static uint16_t port;

static int peer_tcp(const char *text, const char *answer)
{
	struct sockaddr_in to = {
	    .sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct peer p = {.fd = socket(AF_INET, SOCK_STREAM, 0)};
	int heard;

	assert_int_equal(connect(p.fd, (struct sockaddr *)&to, sizeof(to)), 0);
	fcntl(p.fd, F_SETFL, O_NONBLOCK);
	peer_say(&p, text);
	AWAIT(peer_read(&p) && (strstr(p.got, "\r\n\r\n") || p.ended));
	heard = strstr(p.got, answer) != NULL;
	peer_close(&p);
	return heard;
}

static void test_guard(void **state)
{
	char file[] = "/tmp/obscura-http-token-XXXXXX", address[64];
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(at);
	struct err e = {0};
	int fd = socket(AF_INET, SOCK_STREAM, 0), token = mkstemp(file);

	assert_int_equal(bind(fd, (struct sockaddr *)&at, n), 0); /* a free port */
	getsockname(fd, (struct sockaddr *)&at, &n);
	close(fd);
	port = at.sin_port;
	start(&usual);
	assert_int_equal(http_token(http, "/nowhere/token", &e), -1);
	assert_int_equal(http_token(http, file, (e = (struct err){0}, &e)), -1); /* empty */
	assert_non_null(strstr(e.text, "openssl rand"));
	assert_int_equal(write(token, "0123456789abcdef\n", 17), 17);
	fchmod(token, 0644);
	assert_int_equal(http_token(http, file, (e = (struct err){0}, &e)), -1);
	assert_non_null(strstr(e.text, "chmod 600"));
	fchmod(token, 0600);
	assert_int_equal(http_listen(http, "0.0.0.0:0", "http_listen", (e = (struct err){0}, &e)), -1);
	assert_int_equal(e.code, ERR_USAGE);
	assert_int_equal(http_token(http, file, (e = (struct err){0}, &e)), 0);
	snprintf(address, sizeof(address), "127.0.0.1:%u", ntohs(port));
	assert_int_equal(http_listen(http, address, "http_listen", &e), 0);
	assert_true(peer_tcp("GET /a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "200 OK"));
	assert_true(peer_tcp("GET /guarded HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "401"));
	assert_true(peer_tcp(
	    "GET /guarded HTTP/1.1\r\nHost: localhost:80\r\nAuthorization: Bearer 0123456789abcdef\r\n\r\n",
	    "200 OK"));
	assert_true(peer_tcp(
	    "GET /guarded HTTP/1.1\r\nHost: [::1]:80\r\nAuthorization: Bearer 0123456789abcde\r\n\r\n",
	    "401"));
	assert_true(
	    peer_tcp("GET /guarded HTTP/1.1\r\nAuthorization: Basic 0123456789abcdef\r\n\r\n", "401"));
	assert_true(peer_tcp("GET /a HTTP/1.1\r\nHost: evil.example\r\n\r\n", "403"));
	assert_true(peer_tcp("GET /a HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\n\r\n", "403"));
	assert_true(
	    peer_tcp("GET /a HTTP/1.1\r\nHost: localhost:1\r\nOrigin: http://localhost:2\r\n\r\n", "403"));
	assert_true(peer_tcp("GET /a HTTP/1.1\r\nHost: localhost:1\r\nOrigin: null\r\n\r\n", "403"));
	assert_true(
	    peer_tcp("GET /a HTTP/1.1\r\nHost: localhost:1\r\nOrigin: http://localhost:1\r\n\r\n", "200 OK"));
	stop();
	close(token);
	unlink(file);
}

static int prepare(void **state)
{
	log_open("error", "test");
	signal(SIGPIPE, SIG_IGN); /* as net_new does */
	return sodium_init() < 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_requests), cmocka_unit_test(test_bodies),
	    cmocka_unit_test(test_heads),    cmocka_unit_test(test_ambiguous),
	    cmocka_unit_test(test_head),     cmocka_unit_test(test_connections),
	    cmocka_unit_test(test_time),     cmocka_unit_test(test_gone),
	    cmocka_unit_test(test_guard),
	};

	return cmocka_run_group_tests(tests, prepare, NULL);
}
