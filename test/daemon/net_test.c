/* SPDX-License-Identifier: Apache-2.0 */
/* Connections with real TLS over loopback: the right peer, every wrong one, hostile bytes, slow readers,
 * silence, loss and return. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/resource.h>

#include "daemon/net_parts.h"
#include "nets.h"

#define M (&sides[0]) /* the model owner, who listens */
#define D (&sides[1]) /* the data owner, who connects */

static void both_up(void)
{
	configure(M, 'M', "model-owner", "ca");
	configure(D, 'D', "data-owner", "ca");
	start_connecting(D, "localhost", start_listening(M, 0, ROLE_D), ROLE_M);
	AWAIT(M->conn && D->conn);
}

/* ---- the right peer ---- */

static void test_right_peer(void **state)
{
	struct channel *m, *d;

	both_up();
	m = conn_channel(M->conn);
	d = conn_channel(D->conn);
	assert_int_equal(m->peer, ROLE_D);
	assert_int_equal(d->peer, ROLE_M);
	assert_memory_equal(m->fingerprint, d->self_fingerprint, 32);
	assert_memory_equal(d->fingerprint, m->self_fingerprint, 32);
	assert_memory_not_equal(d->fingerprint, d->self_fingerprint, 32);
	assert_non_null(strstr(m->name, "data-owner data-owner (127.0.0.1:"));
	assert_non_null(strstr(d->name, "model-owner localhost:"));
	assert_true(d->wire_sent > 500 && d->wire_received > 500);
	assert_string_equal(SSL_get_version(M->conn->ssl), "TLSv1.3");
	assert_int_equal(M->downs + D->downs, 0);
}

/* Short and long frames, gathered and in place, in the order in which they were sent. */
static void test_frames(void **state)
{
	static uint8_t buffer[FRAME_HEADER + FRAME_BODY_MAX];
	static const uint32_t lengths[] = {
	    0, 1, 15, 16, 17, 1000, 16384, 32751, 32752, 32768, 100000, FRAME_BODY_MAX - 1, FRAME_BODY_MAX};
	uint8_t *body = buffer + FRAME_HEADER;
	struct channel *c;
	uint32_t sent = 0;
	size_t bytes = 0;

	both_up();
	c = conn_channel(D->conn);
	for (int round = 0; round < 4; round++)
		for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
			struct frame f = {.type = round & 1 ? FRAME_STEP : FRAME_DELTA,
					  .session = 7,
					  .lane = 9,
					  .sequence = sent,
					  .length = lengths[i],
					  .body = body};

			fill_pattern(body, sent++, lengths[i]);
			bytes += lengths[i];
			if ((i + (size_t)round) % 2)
				c->ops->send_inplace(c, &f, body);
			else
				c->ops->send(c, &f);
			if (i % 3 == 0)
				c->ops->flush(c);
		}
	c->ops->flush(c);
	assert_true(c->ops->queued(c) > 0); /* more than the socket takes: the rest left later */
	AWAIT(M->frames == (int)sent);
	assert_int_equal(M->wrong, 0);
	assert_int_equal(M->bytes, bytes);
	assert_int_equal(M->last.session, 7);
	assert_int_equal(M->last.lane, 9);
	AWAIT(D->drained > 0);
	assert_int_equal(c->ops->queued(c), 0);
	assert_true(c->wire_sent > bytes && c->wire_sent < bytes + bytes / 50);
	assert_int_equal(conn_channel(M->conn)->wire_received, c->wire_sent);
}

/* Nothing leaves before flush, and then all of it as one TLS record. */
static void test_one_flush(void **state)
{
	uint8_t buffer[FRAME_HEADER + 500];
	struct frame f = {.type = FRAME_BEGIN, .session = 1, .length = 36, .body = buffer},
		     step = {.type = FRAME_STEP, .session = 1, .length = 500};
	uint64_t before;
	struct channel *c;

	both_up();
	turn_for(50);
	c = conn_channel(D->conn);
	before = c->wire_sent;
	fill_pattern(buffer + FRAME_HEADER, 0, 500);
	c->ops->send(c, &f);
	c->ops->send_inplace(c, &step, buffer + FRAME_HEADER);
	assert_int_equal(c->wire_sent, before);
	c->ops->flush(c);
	assert_int_equal(c->wire_sent - before,
			 36 + 500 + 2 * FRAME_HEADER + 22); /* record: 5 header, 1 type, 16 tag */
	AWAIT(M->frames == 2);
	assert_int_equal(M->wrong, 0);
}

static void test_unix(void **state)
{
	struct err e = {0};
	char path[128];

	snprintf(path, sizeof(path), "%s/new/socket", certs_dir);
	configure(D, 'D', "data-owner", "ca");
	start(D);
	assert_int_equal(net_listen_unix(D->net, path, &handler, D, &e), 0);
	configure(M, 'L', "data-owner", "ca");
	start(M);
	assert_int_equal(net_connect_unix(M->net, path, &handler, M, &e), 0);
	AWAIT(D->conn && M->conn);
	assert_int_equal(conn_channel(D->conn)->peer, ROLE_L);
	assert_int_equal(conn_channel(M->conn)->peer, ROLE_D);
	conn_channel(M->conn)->ops->send(conn_channel(M->conn), &(struct frame){.type = FRAME_STATUS});
	conn_channel(M->conn)->ops->flush(conn_channel(M->conn));
	AWAIT(D->frames == 1);
	assert_int_equal(D->last.type, FRAME_STATUS);
	stop(M);
	AWAIT(D->downs == 1);
	assert_int_equal(D->why.code, ERR_REACH);
	assert_int_equal(net_connect_unix(D->net, certs_path("nobody", ""), &handler, M, &e), -1);
	assert_int_equal(e.code, ERR_REACH);
}

/* The listener has it, before anybody comes: what was BBR's once paces for ever. */
static void test_congestion(void **state)
{
	int fds = 0;

	configure(M, 'M', "model-owner", "ca");
	set(&M->config, "congestion", "reno");
	start_listening(M, 0, ROLE_D);
	for (int fd = 3; fd < 256; fd++) {
		int listens = 0, family = 0;
		socklen_t n = sizeof(listens), m = sizeof(family), o = CONGESTION_BYTES;
		char name[CONGESTION_BYTES] = "";

		if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &n) || !listens ||
		    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &m) || family != AF_INET)
			continue;
		assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &o), 0);
		assert_string_equal(name, "reno");
		fds++;
	}
	assert_int_equal(fds, 1);
}

static void test_nobody_there(void **state)
{
	int port;

	configure(M, 'M', "model-owner", "ca");
	port = start_listening(M, 0, ROLE_D);
	stop(M);
	configure(D, 'D', "data-owner", "ca");
	start_connecting(D, "127.0.0.1", port, ROLE_M);
	AWAIT(D->downs >= 2); /* tried again */
	assert_int_equal(D->why.code, ERR_REACH);
	assert_non_null(strstr(D->why.text, "cannot connect: Connection refused"));
	assert_non_null(strstr(D->why.peer, "model-owner 127.0.0.1:"));
}

/* ---- hostile bytes ---- */

static void test_garbage(void **state)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
	char answer[64];
	int port, fd, silent;

	configure(M, 'M', "model-owner", "ca");
	set(&M->config, "connect-ms", "300");
	port = start_listening(M, 0, ROLE_D);
	silent = raw_socket(port);
	fd = raw_socket(port);
	assert_int_equal(write(fd, request, sizeof(request)), sizeof(request));
	AWAIT(logged("it does not speak TLS 1.3"));
	AWAIT(recv(fd, answer, sizeof(answer), 0) == 0); /* after its alert, an end in order */
	close(fd);
	AWAIT(logged("TLS handshake: no answer within 300 ms"));
	AWAIT(recv(silent, answer, sizeof(answer), 0) == 0);
	close(silent);
	configure(D, 'D', "data-owner", "ca");
	start_connecting(D, "127.0.0.1", port, ROLE_M);
	AWAIT(M->conn && D->conn);
}

/* What a peer with a good certificate may not send. Another connection of the same process lives on. */
static void hostile(int port, int hello, const struct frame *f, const char *says)
{
	const char *text;
	struct raw r;

	raw_new(&r, raw_socket(port), "data-owner", 0);
	assert_int_equal(raw_handshake(&r), 1);
	if (hello)
		raw_hello(&r, "data-owner", PROTOCOL_VERSION, 0);
	raw_frame(&r, f);
	text = raw_error(&r);
	if (!strstr(text, says))
		fail_msg("the model owner says \"%s\", not \"%s\"", text, says);
	raw_free(&r);
}

static void wrong_hello(int port, const char *role, uint32_t version, int spoil, const char *says)
{
	const char *text;
	struct raw r;

	raw_new(&r, raw_socket(port), "data-owner", 0);
	assert_int_equal(raw_handshake(&r), 1);
	raw_hello(&r, role, version, spoil);
	text = raw_error(&r);
	if (!strstr(text, says))
		fail_msg("the model owner says \"%s\", not \"%s\"", text, says);
	raw_free(&r);
}

static void test_hostile_frames(void **state)
{
	int port, downs;

	both_up();
	port = logged_port();
	hostile(port, 1, &(struct frame){.type = FRAME_DELTA, .session = 1, .length = FRAME_BODY_MAX + 1},
		"is longer than the 1048576 allowed");
	hostile(port, 1, &(struct frame){.type = FRAME_OPEN, .session = 1, .length = 0xffffffff},
		"is longer than the 4096 allowed");
	hostile(port, 1, &(struct frame){.type = 99, .session = 1}, "unknown type 99");
	hostile(port, 1, &(struct frame){.type = FRAME_WEIGHTS, .session = 1},
		"a data-owner may not send WEIGHTS to a model-owner");
	hostile(port, 1, &(struct frame){.type = FRAME_DELTA, .flags = 0x80, .session = 1},
		"unknown flags 0x80");
	hostile(port, 1, &(struct frame){.type = FRAME_HELLO}, "said HELLO twice");
	hostile(port, 0, &(struct frame){.type = FRAME_MODELS}, "began with MODELS");
	hostile(port, 0,
		&(struct frame){.type = FRAME_HELLO, .length = 3, .body = (const uint8_t *)"\xff\xff\xff"},
		"HELLO that cannot be read");
	wrong_hello(port, "data-owner", PROTOCOL_VERSION + 1, 0, "protocol version 2 meets version 1");
	wrong_hello(port, "provider", PROTOCOL_VERSION, 0, "\"provider\" where a data-owner was due");
	wrong_hello(port, "data-owner", PROTOCOL_VERSION, 1, "frames or operators differ");
	downs = M->downs;
	M->end_on_frame = 1;
	hostile(port, 1, &(struct frame){.type = FRAME_MODELS}, "the handler wants an end");
	M->end_on_frame = 0;
	AWAIT(M->downs == downs + 1);
	assert_int_equal(D->downs, 0);
	conn_channel(D->conn)->ops->send(conn_channel(D->conn), &(struct frame){.type = FRAME_MODELS});
	conn_channel(D->conn)->ops->flush(conn_channel(D->conn));
	AWAIT(D->frames == 1);
	assert_int_equal(D->last.type, FRAME_MODEL_LIST);
}

/* ---- slow and silent peers ---- */

/* A peer asks and asks and reads nothing: what waits for it stays bounded, nothing is lost, others are
 * served. */
static void test_slow_reader(void **state)
{
	enum { QUESTIONS = 60 };
	struct frame f;
	struct raw r;

	both_up();
	raw_new(&r, raw_socket(logged_port()), "data-owner", 0);
	assert_int_equal(raw_handshake(&r), 1);
	raw_hello(&r, "data-owner", PROTOCOL_VERSION, 0);
	AWAIT(M->ups == 2);
	for (int i = 0; i < QUESTIONS; i++)
		raw_frame(&r, &(struct frame){.type = FRAME_MODELS});
	AWAIT(M->most > 4u << 20);
	turn_for(200);
	assert_true(M->most < 10u << 20);
	assert_true(M->frames < QUESTIONS);
	conn_channel(D->conn)->ops->send(conn_channel(D->conn), &(struct frame){.type = FRAME_MODELS});
	conn_channel(D->conn)->ops->flush(conn_channel(D->conn));
	AWAIT(D->frames == 1);
	assert_int_equal(raw_next(&r, &f, NULL, 0), FRAME_HELLO);
	for (int i = 0; i < QUESTIONS; i++) {
		int type = raw_next(&r, &f, NULL, 0);

		if (type == FRAME_PING && i--)
			continue;
		assert_int_equal(type, FRAME_MODEL_LIST);
		assert_int_equal(f.length, REPLY_BYTES);
	}
	assert_int_equal(M->frames, QUESTIONS + 1);
	assert_int_equal(M->downs, 0);
	raw_free(&r);
	AWAIT(M->downs == 1);
}

/* One that never reads is given up after step_ms, although it goes on sending. */
static void test_never_reads(void **state)
{
	struct raw r;

	configure(M, 'M', "model-owner", "ca");
	set(&M->config, "step-ms", "300");
	raw_new(&r, raw_socket(start_listening(M, 0, ROLE_D)), "data-owner", 0);
	assert_int_equal(raw_handshake(&r), 1);
	raw_hello(&r, "data-owner", PROTOCOL_VERSION, 0);
	for (int i = 0; i < 20; i++)
		raw_frame(&r, &(struct frame){.type = FRAME_MODELS});
	for (uint64_t until = now_ms() + PATIENCE_MS; !M->downs && now_ms() < until;)
		raw_frame(&r, &(struct frame){.type = FRAME_BEGIN, .session = 1});
	assert_int_equal(M->downs, 1);
	assert_int_equal(M->why.code, ERR_PEER);
	assert_non_null(strstr(M->why.text, "does not read"));
	raw_free(&r);
}

static void test_silence(void **state)
{
	struct frame f;
	struct raw r;
	int pings = 0, type;

	configure(M, 'M', "model-owner", "ca");
	configure(D, 'D', "data-owner", "ca");
	set(&M->config, "idle-ms", "150");
	set(&D->config, "idle-ms", "150");
	start_connecting(D, "localhost", start_listening(M, 0, ROLE_D), ROLE_M);
	AWAIT(M->conn && D->conn);
	raw_new(&r, raw_socket(logged_port()), "data-owner", 0);
	assert_int_equal(raw_handshake(&r), 1);
	raw_hello(&r, "data-owner", PROTOCOL_VERSION, 0);
	AWAIT(M->ups == 2);
	AWAIT(M->downs == 1); /* the raw peer answers no PING */
	assert_int_equal(M->why.code, ERR_REACH);
	assert_non_null(strstr(M->why.text, "silent for"));
	while ((type = raw_next(&r, &f, NULL, 0)) >= 0)
		pings += type == FRAME_PING;
	assert_int_equal(pings, 1);
	raw_free(&r);
	turn_for(600);
	assert_int_equal(D->downs, 0); /* the other does */
	assert_int_equal(M->downs, 1);
}

/* ---- rest ---- */

static int soonest(const struct event_base *base, const struct event *e, void *ctx)
{
	struct timeval at, now, *left = ctx;

	if (!event_pending(e, EV_TIMEOUT, &at))
		return 0;
	gettimeofday(&now, NULL);
	timersub(&at, &now, &at);
	if (timercmp(&at, left, <))
		*left = at;
	return 0;
}

/* Milliseconds until the first timer of a net. */
static long timer_ms(const struct side *s)
{
	struct timeval left = {.tv_sec = 1000000};

	event_base_foreach_event(net_base(s->net), soonest, &left);
	return (long)left.tv_sec * 1000 + left.tv_usec / 1000;
}

static uint64_t clock_due(void *ctx)
{
	return *(uint64_t *)ctx;
}

static void clock_tick(void *ctx)
{
	*(uint64_t *)ctx = UINT64_MAX;
}

/* Two that have nothing to say have one timer each, for the next PING; what begins to wait is noticed. */
static void test_rest(void **state)
{
	static const struct net_clock clock = {clock_due, clock_tick};
	uint64_t due = UINT64_MAX;

	configure(M, 'M', "model-owner", "ca");
	configure(D, 'D', "data-owner", "ca");
	set(&M->config, "idle-ms", "600000");
	set(&D->config, "idle-ms", "600000");
	start_connecting(D, "localhost", start_listening(M, 0, ROLE_D), ROLE_M);
	net_set_clock(D->net, &clock, &due);
	AWAIT(M->conn && D->conn);
	AWAIT(timer_ms(D) > 300000 && timer_ms(D) <= 600000);
	AWAIT(timer_ms(M) > 300000 && timer_ms(M) <= 660000);
	due = 0;
	AWAIT(due == UINT64_MAX);
	AWAIT(timer_ms(D) > 300000 && timer_ms(D) <= 600000);
	stop(M);
	AWAIT(D->downs == 1);
	AWAIT(D->downs == 2); /* it is tried again */
}

/* ---- loss and return ---- */

static void test_reconnect(void **state)
{
	int port;

	both_up();
	port = logged_port();
	assert_false(SSL_session_reused(D->conn->ssl));
	stop(M);
	AWAIT(D->downs >= 1 && !D->conn);
	assert_int_equal(D->why.code, ERR_REACH);
	AWAIT(D->downs >= 3);
	configure(M, 'M', "model-owner", "ca");
	start_listening(M, port, ROLE_D);
	net_hurry(D->net);
	AWAIT(M->conn && D->conn);
	assert_int_equal(D->ups, 2);
	assert_false(SSL_session_reused(D->conn->ssl)); /* a new process has new ticket keys */
}

static void test_resumption(void **state)
{
	struct err e = {.code = ERR_PEER, .text = "enough for now"};
	uint64_t full, resumed;

	both_up();
	full = conn_channel(M->conn)->wire_sent;
	turn_for(50); /* the ticket arrives after the handshake */
	conn_end(M->conn, &e);
	AWAIT(D->downs == 1);
	assert_string_equal(D->why.text, "it says: enough for now");
	AWAIT(D->ups == 2 && M->ups == 2 && M->conn);
	assert_true(SSL_session_reused(D->conn->ssl));
	assert_true(SSL_session_reused(M->conn->ssl));
	resumed = conn_channel(M->conn)->wire_sent;
	assert_true(resumed < full); /* no certificate of the server */
	assert_int_equal(conn_channel(M->conn)->peer, ROLE_D);
	assert_memory_equal(conn_channel(D->conn)->fingerprint, conn_channel(M->conn)->self_fingerprint, 32);
	assert_memory_equal(conn_channel(M->conn)->fingerprint, conn_channel(D->conn)->self_fingerprint, 32);
}

/* A revocation list that ends while the role runs says nothing any more: who resumes is refused as anybody
 * else. */
static void test_resumption_without_list(void **state)
{
	struct err e = {.code = ERR_PEER, .text = "enough for now"};
	struct tls *tls;
	X509_CRL *list = X509_CRL_new();
	ASN1_TIME *ended = X509_gmtime_adj(NULL, -1);

	both_up();
	tls = &M->net->tls;
	X509_CRL_set_issuer_name(list, X509_get_issuer_name(SSL_CTX_get0_certificate(tls->ctx)));
	X509_CRL_set1_nextUpdate(list, ended);
	ASN1_TIME_free(ended);
	tls->revoked = "list.crl";
	tls->lists = sk_X509_CRL_new_null();
	sk_X509_CRL_push(tls->lists, list); /* its owner from now on */
	turn_for(50);			    /* the ticket arrives after the handshake */
	conn_end(M->conn, &e);
	AWAIT(D->downs == 2);
	assert_int_equal(M->ups, 1);
	if (!strstr(D->why.text, "the revocation list list.crl has ended"))
		fail_msg("%s", D->why.text);
}

/* An authority that is not trusted any more: who is here by its word has to go, not only who comes anew. */
static void test_authority_is_replaced(void **state)
{
	struct tls tls;
	struct err e = {0};

	both_up();
	assert_int_equal(net_read_tls(M->net, &M->config, &tls, &e), 0);
	assert_int_equal(net_take_tls(M->net, &tls), 0);
	turn_for(50);
	assert_int_equal(M->downs, 0); /* nothing has changed */
	set(&M->config, "ca", certs_path("other", ".pem"));
	assert_int_equal(net_read_tls(M->net, &M->config, &tls, &e), 0);
	assert_int_equal(net_take_tls(M->net, &tls), 0);
	AWAIT(M->downs == 1 && D->downs >= 1);
	assert_int_equal(M->ups, 1);
	assert_non_null(strstr(M->why.text, "is of an unknown authority, not of"));
}

/* Room for so many descriptors, twice; skips where the system does not give it. */
static void need_descriptors(rlim_t n)
{
	struct rlimit l;

	getrlimit(RLIMIT_NOFILE, &l);
	l.rlim_cur = l.rlim_cur > n ? l.rlim_cur : n;
	if (setrlimit(RLIMIT_NOFILE, &l))
		skip();
}

/* Strangers who take all places and say nothing: who shows a certificate gets in. */
static void test_strangers_hold_places(void **state)
{
	static int fds[CONNS_MAX + 50];
	int port;

	need_descriptors(2 * CONNS_MAX + 300);
	configure(M, 'M', "model-owner", "ca");
	configure(D, 'D', "data-owner", "ca");
	set(&M->config, "connect-ms", "600000");
	port = start_listening(M, 0, ROLE_D);
	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++) {
		fds[i] = raw_socket(port);
		if (i % 32 == 31)
			turn();
	}
	AWAIT(M->net->n_conns >= CONNS_MAX);
	start_connecting(D, "localhost", port, ROLE_M);
	AWAIT(M->conn && D->conn);
	assert_true(M->net->n_conns <= CONNS_MAX + 50);
	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++)
		close(fds[i]);
}

/* One certificate gets a share of the places, over however many connections. */
static void test_one_peer_holds_places(void **state)
{
	int port;

	need_descriptors(2 * CONNS_MAX + 300);
	configure(M, 'M', "model-owner", "ca");
	configure(D, 'D', "data-owner", "ca");
	port = start_listening(M, 0, ROLE_D);
	for (int i = 0; i < CONNS_OF_PEER; i++) {
		start_connecting(D, "localhost", port, ROLE_M);
		AWAIT(M->ups == i + 1 && D->ups == i + 1);
	}
	start_connecting(D, "localhost", port, ROLE_M);
	AWAIT(D->downs);
	assert_non_null(strstr(D->why.text, "no more are allowed to one peer"));
	assert_int_equal(M->ups, CONNS_OF_PEER);
}

static int busy_turns, stop_port, refused_while_stopping;

static int busy(void *ctx)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)stop_port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (busy_turns < 3) /* not when asked first: listeners close after that */
		refused_while_stopping +=
		    connect(fd, (struct sockaddr *)&to, sizeof(to)) && errno == ECONNREFUSED;
	close(fd);
	return busy_turns-- > 0;
}

static void on_stop(evutil_socket_t fd, short what, void *ctx)
{
	raise(SIGTERM);
}

/* Stopping: nothing new is accepted, what is under way may end, and the loop ends with it. */
static void test_stop(void **state)
{
	static const struct timeval soon = {.tv_usec = 1000};
	struct err e = {0};

	configure(M, 'M', "model-owner", "ca");
	stop_port = start_listening(M, 0, ROLE_D);
	busy_turns = 3;
	refused_while_stopping = 0;
	net_on_stop(M->net, busy, NULL);
	event_base_once(net_base(M->net), -1, EV_TIMEOUT, on_stop, NULL, &soon);
	assert_int_equal(net_run(M->net, &e), 0);
	assert_int_equal(busy_turns, -1);
	assert_int_equal(refused_while_stopping, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, nets_begin, nets_end)
	    TEST(test_right_peer),
	    TEST(test_frames),
	    TEST(test_one_flush),
	    TEST(test_unix),
	    TEST(test_congestion),
	    TEST(test_nobody_there),
	    TEST(test_garbage),
	    TEST(test_hostile_frames),
	    TEST(test_slow_reader),
	    TEST(test_never_reads),
	    TEST(test_silence),
	    TEST(test_rest),
	    TEST(test_reconnect),
	    TEST(test_resumption),
	    TEST(test_resumption_without_list),
	    TEST(test_authority_is_replaced),
	    TEST(test_strangers_hold_places),
	    TEST(test_one_peer_holds_places),
	    TEST(test_stop),
	};

	return cmocka_run_group_tests(tests, nets_make, nets_remove);
}
