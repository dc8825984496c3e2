/* SPDX-License-Identifier: Apache-2.0 */
/* The three roles: the data owner in this process, model owner and provider as processes of their own (this
 * program again). Any order of starting, both modes, merged requests, bad requests, deaths and returns, the
 * local API, stopping in order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <signal.h>
#include <sodium.h>
#include <spawn.h>
#include <sys/wait.h>

#include "daemon/data_owner.h"
#include "daemon/local.h"
#include "nets.h"

#define MODEL "digits_mlp"
#define MODEL_FILE "test/models/" MODEL ".onnx"
#define PIXELS (28 * 28)
#define REQUESTS_MAX 64

extern char **environ;
static pid_t pids[2];
static int ports[2];
enum { MO, CP };
static struct data_owner *owner;
static struct side *D = &sides[0];

/* ---- processes ---- */

/* The port of the last "listening on" of another process; 0 while there is none. */
static int port_in(const char *name)
{
	char line[512], *at;
	FILE *f = fopen(certs_path(name, ".log"), "r");
	int port = 0;

	while (f && fgets(line, sizeof(line), f))
		if ((at = strstr(line, "listening on 127.0.0.1:")))
			port = atoi(at + 23);
	if (f)
		fclose(f);
	return port;
}

/* Starts a role on its former port, or on a free one, and waits until it listens. */
static void run(int which)
{
	static const char *const names[] = {"model-owner", "provider"};
	const char *name = names[which];
	char flags[6][200], *argv[] = {"roles_test", (char *)(uintptr_t)name,
				       flags[0],     flags[1],
				       flags[2],     flags[3],
				       flags[4],     flags[5],
				       NULL};
	posix_spawn_file_actions_t actions;

	snprintf(flags[0], 200, "--ca=%s", certs_path("ca", ".pem"));
	snprintf(flags[1], 200, "--certificate=%s", certs_path(name, ".pem"));
	snprintf(flags[2], 200, "--key=%s", certs_path(name, ".key"));
	snprintf(flags[3], 200, "--listen=127.0.0.1:%d", ports[which]);
	snprintf(flags[4], 200, "--provider=127.0.0.1:%d", ports[CP]);
	snprintf(flags[5], 200, "--models=%s", MODEL_FILE);
	if (which == CP)
		argv[6] = NULL;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 2, certs_path(name, ".log"), O_WRONLY | O_CREAT | O_TRUNC,
					 0600);
	assert_int_equal(posix_spawn(&pids[which], "/proc/self/exe", &actions, NULL, argv, environ), 0);
	posix_spawn_file_actions_destroy(&actions);
	for (uint64_t end = now_ms() + PATIENCE_MS; !port_in(name) && now_ms() < end;)
		turn();
	ports[which] = port_in(name);
	assert_int_not_equal(ports[which], 0);
}

static int finish(int which, int sig)
{
	int status = 0;

	kill(pids[which], sig);
	assert_int_equal(waitpid(pids[which], &status, 0), pids[which]);
	pids[which] = 0;
	return status;
}

/* A port that nobody listens on now. */
static int free_port(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&at, n), 0);
	getsockname(fd, (struct sockaddr *)&at, &n);
	close(fd);
	return ntohs(at.sin_port);
}

/* ---- requests ---- */

struct asked {
	int answered;
	Wire__Classified *reply; /* owns */
};
static struct asked asked[REQUESTS_MAX];

static void keep_reply(struct asked *a, const Wire__Classified *reply)
{
	size_t n = wire__classified__get_packed_size(reply);
	uint8_t *packed = malloc(n + 1);

	wire__classified__pack(reply, packed);
	a->reply = wire__classified__unpack(NULL, n, packed);
	a->answered++;
	free(packed);
}

static void on_reply(void *ctx, const Wire__Classified *reply)
{
	keep_reply(ctx, reply);
}

/* An image that depends on its number: strokes that a classifier tells apart. */
static const uint8_t *image(unsigned number)
{
	static uint8_t pixels[PIXELS];

	for (unsigned i = 0; i < PIXELS; i++)
		pixels[i] = (i / 28 + number * (i % 28)) % (5 + number) < 2 && i % 28 > 4 && i % 28 < 24
				? (uint8_t)(200 + number)
				: 0;
	return pixels;
}

static void forget(struct asked *a)
{
	if (a->reply)
		wire__classified__free_unpacked(a->reply, NULL);
	*a = (struct asked){0};
}

static void ask(struct asked *a, const char *model, unsigned optimise, unsigned reveal, unsigned number,
		size_t bytes)
{
	Wire__Classify q = WIRE__CLASSIFY__INIT;
	ProtobufCBinaryData images[1] = {{bytes, (uint8_t *)(uintptr_t)image(number)}};

	forget(a);
	q.model = (char *)(uintptr_t)model;
	q.optimise = optimise;
	q.reveal = reveal;
	q.images = images;
	q.n_images = bytes != 0;
	q.describe = bytes == 0;
	data_owner_classify(owner, &q, on_reply, a);
}

static void check_counted(const Wire__Counted *got, const Wire__Counted *wanted)
{
	assert_int_equal(got->sent, wanted->sent);
	assert_int_equal(got->received, wanted->received);
	assert_int_equal(got->provider, wanted->provider);
}

/* A good answer: everything that it says of itself fits the plan. */
static void check_good(const struct asked *a)
{
	const Wire__Classified *m = a->reply;

	if (m->error)
		fail_msg("%s", m->error->text);
	for (size_t i = 0; i < m->n_results; i++) {
		const Wire__Result *r = m->results[i];

		assert_int_equal(r->n_scores, 10);
		assert_in_range(r->label, 0, 9);
		assert_int_equal(r->round_trips, m->predicted_round_trips);
		check_counted(r->bytes->online, m->predicted->online);
		check_counted(r->bytes->offline, m->predicted->offline);
		assert_true(r->wire->online->sent >= r->bytes->online->sent);
		assert_true(r->wire->online->received >= r->bytes->online->received);
		assert_true(r->online > 0 && r->total >= r->online);
	}
}

static uint32_t classify(unsigned optimise, unsigned reveal, unsigned number)
{
	struct asked *a = &asked[0];

	ask(a, MODEL, optimise, reveal, number, PIXELS);
	AWAIT(a->answered);
	check_good(a);
	assert_int_equal(a->reply->n_results, 1);
	return a->reply->results[0]->label;
}

/* ---- the world ---- */

static void start_owner(void)
{
	struct err e = {0};
	char address[64];

	configure(D, 'D', "data-owner", "ca");
	snprintf(address, sizeof(address), "127.0.0.1:%d", ports[MO]);
	set(&D->config, "model-owner", address);
	snprintf(address, sizeof(address), "127.0.0.1:%d", ports[CP]);
	set(&D->config, "provider", address);
	set(&D->config, "connect-ms", "15000");
	set(&D->config, "pool-high", "4");
	set(&D->config, "pool-low", "2");
	start(D);
	assert_int_equal(data_owner_new(&owner, D->net, &D->config, &e), 0);
}

static int begin(void **state)
{
	int status = certs_all();

	log_begin();
	ports[MO] = free_port();
	ports[CP] = free_port();
	return status;
}

static int end(void **state)
{
	for (int i = 0; i < 2; i++)
		if (pids[i])
			finish(i, SIGKILL);
	for (int i = 0; i < REQUESTS_MAX; i++)
		forget(&asked[i]);
	data_owner_free(owner);
	owner = NULL;
	for (int i = 0; i < SIDES; i++)
		if (sides[i].net)
			stop(&sides[i]);
	log_end();
	return certs_remove();
}

static void start_all(void)
{
	run(CP);
	run(MO);
	start_owner();
}

/* ---- tests ---- */

/* A request waits until the others are there. */
static void test_any_order(void **state)
{
	start_owner();
	ask(&asked[1], MODEL, PLAN_LATENCY, REVEAL_LOGITS, 1, PIXELS);
	turn_for(300);
	assert_false(asked[1].answered);
	run(MO);
	turn_for(300);
	assert_false(asked[1].answered);
	run(CP);
	AWAIT(asked[1].answered);
	check_good(&asked[1]);
	assert_true(asked[1].reply->results[0]->connect > 0.5);
}

static void test_modes(void **state)
{
	uint32_t label;

	start_all();
	for (unsigned number = 0; number < 3; number++) {
		label = classify(PLAN_LATENCY, REVEAL_LOGITS, number);
		assert_int_equal(classify(PLAN_BANDWIDTH, REVEAL_LOGITS, number), label);
		assert_int_equal(classify(PLAN_LATENCY, REVEAL_LABEL, number), label);
		assert_int_equal(classify(PLAN_BANDWIDTH, REVEAL_LABEL, number), label);
	}
	ask(&asked[0], "", PLAN_LATENCY, REVEAL_LOGITS, 0, 0); /* the only model, described */
	AWAIT(asked[0].answered);
	check_good(&asked[0]);
	assert_string_equal(asked[0].reply->model, MODEL);
	assert_int_equal(asked[0].reply->input->c, 1);
	assert_int_equal(asked[0].reply->input->h, 28);
	assert_int_equal(asked[0].reply->input->w, 28);
	assert_int_equal(asked[0].reply->n_results, 0);
	assert_true(asked[0].reply->setup_bytes > 0);
}

/* Many at once share messages, and each gets its own answer. */
static void test_merged(void **state)
{
	uint32_t labels[REQUESTS_MAX], most = 0;
	size_t kinds = 0;

	start_all();
	for (unsigned i = 0; i < REQUESTS_MAX; i++) {
		labels[i] = classify(PLAN_BANDWIDTH, REVEAL_LOGITS, i);
		kinds += i && labels[i] != labels[i - 1];
	}
	assert_true(kinds > 3); /* or the comparison below would prove little */
	for (unsigned i = 0; i < REQUESTS_MAX; i++)
		ask(&asked[i], MODEL, PLAN_BANDWIDTH, REVEAL_LOGITS, i, PIXELS);
	for (unsigned i = 0; i < REQUESTS_MAX; i++) {
		AWAIT(asked[i].answered);
		check_good(&asked[i]);
		assert_int_equal(asked[i].reply->results[0]->label, labels[i]);
		most = asked[i].reply->results[0]->batch > most ? asked[i].reply->results[0]->batch : most;
	}
	assert_in_range(most, 2, REQUESTS_MAX);
}

/* max_wait_us: requests wait for company, up to max_batch. */
static void test_gathered(void **state)
{
	start_all();
	set(&D->config, "max-wait-us", "3000000");
	set(&D->config, "max-batch", "3");
	for (unsigned i = 0; i < 3; i++)
		ask(&asked[i], MODEL, PLAN_BANDWIDTH, REVEAL_LOGITS, i, PIXELS);
	for (unsigned i = 0; i < 3; i++) {
		AWAIT(asked[i].answered);
		check_good(&asked[i]);
		assert_int_equal(asked[i].reply->results[0]->batch, 3);
	}
	set(&D->config, "max-wait-us", "20000");
	ask(&asked[0], MODEL, PLAN_BANDWIDTH, REVEAL_LOGITS, 0, PIXELS);
	AWAIT(asked[0].answered);
	check_good(&asked[0]);
	assert_int_equal(asked[0].reply->results[0]->batch, 1);
}

static void refused(const char *model, unsigned optimise, size_t bytes, enum err_code code, const char *says)
{
	ask(&asked[0], model, optimise, REVEAL_LOGITS, 0, bytes);
	AWAIT(asked[0].answered);
	assert_non_null(asked[0].reply->error);
	if (!strstr(asked[0].reply->error->text, says))
		fail_msg("\"%s\" does not say \"%s\"", asked[0].reply->error->text, says);
	assert_int_equal(asked[0].reply->error->code, code);
}

static void test_bad_requests(void **state)
{
	start_all();
	refused("nosuch", PLAN_LATENCY, PIXELS, ERR_PEER,
		"there is no model \"nosuch\"; this model owner serves " MODEL);
	refused(MODEL, PLAN_LATENCY, PIXELS - 1, ERR_INPUT, "takes 1×28×28");
	refused(MODEL, 7, PIXELS, ERR_USAGE, "unknown way to optimise");
	classify(PLAN_LATENCY, REVEAL_LOGITS, 1);
}

/* Killed, then asked, then started again, then asked at once. */
static void death(int which, const char *name)
{
	uint64_t asked_ms;

	finish(which, SIGKILL);
	asked_ms = now_ms();
	ask(&asked[0], MODEL, PLAN_LATENCY, REVEAL_LOGITS, 1, PIXELS);
	AWAIT(asked[0].answered);
	assert_non_null(asked[0].reply->error);
	assert_true(now_ms() - asked_ms < PATIENCE_MS / 2);
	if (!strstr(asked[0].reply->error->text, name))
		fail_msg("\"%s\" does not name the %s", asked[0].reply->error->text, name);
	run(which);
	classify(PLAN_LATENCY, REVEAL_LOGITS, 1);
}

static void test_deaths(void **state)
{
	start_all();
	classify(PLAN_LATENCY, REVEAL_LOGITS, 1);
	death(CP, "provider");
	death(MO, "model-owner");
	/* under load: all are answered, and whoever is refused is told who went */
	for (unsigned i = 0; i < 32; i++)
		ask(&asked[i], MODEL, PLAN_LATENCY, REVEAL_LOGITS, i, PIXELS);
	finish(CP, SIGKILL);
	for (unsigned i = 0; i < 32; i++) {
		AWAIT(asked[i].answered);
		if (asked[i].reply->error)
			assert_non_null(strstr(asked[i].reply->error->text, "provider"));
		else
			check_good(&asked[i]);
	}
}

/* SIGTERM: exit code 0 (and, in an asan build, nothing leaked). */
static void test_stopping(void **state)
{
	start_all();
	classify(PLAN_BANDWIDTH, REVEAL_LOGITS, 1);
	assert_int_equal(finish(CP, SIGTERM), 0);
	assert_int_equal(finish(MO, SIGTERM), 0);
}

/* ---- the local API ---- */

static struct asked local_asked;

static int local_frame(void *ctx, struct conn *c, const struct frame *f, struct err *e)
{
	Wire__Status *status;

	if (f->type == FRAME_CLASSIFIED) {
		local_asked.reply = wire__classified__unpack(NULL, f->length, f->body);
		local_asked.answered = (int)f->lane;
		return 0;
	}
	assert_int_equal(f->type, FRAME_STATUS_REPLY);
	status = wire__status__unpack(NULL, f->length, f->body);
	assert_non_null(status);
	assert_string_equal(status->role, "data-owner");
	assert_int_equal(status->n_peers, 2);
	assert_string_equal(status->peers[0]->state, "connected");
	assert_int_equal(status->n_pools, 1);
	assert_string_equal(status->pools[0]->model, MODEL);
	assert_int_equal(status->pools[0]->burnt, 1);
	wire__status__free_unpacked(status, NULL);
	sides[1].frames++;
	return 0;
}

static void test_local(void **state)
{
	static const struct net_handler client = {on_up, local_frame, NULL, on_down};
	Wire__Classify q = WIRE__CLASSIFY__INIT;
	ProtobufCBinaryData images[1] = {{PIXELS, (uint8_t *)(uintptr_t)image(3)}};
	struct side *L = &sides[1];
	struct local *local;
	struct channel *c;
	struct err e = {0};

	start_all();
	assert_int_equal(local_new(&local, D->net, certs_path("api", ""), owner, NULL, &e), 0);
	configure(L, 'L', "data-owner", "ca");
	start(L);
	assert_int_equal(net_connect_unix(L->net, certs_path("api", ""), &client, L, &e), 0);
	AWAIT(L->conn);
	q.model = (char *)(uintptr_t)MODEL;
	q.images = images;
	q.n_images = 1;
	q.views = 1;
	c = conn_channel(L->conn);
	channel_send_message(c, FRAME_CLASSIFY, 0, 77, &q);
	AWAIT(local_asked.answered);
	assert_int_equal(local_asked.answered, 77);
	check_good(&local_asked);
	assert_int_equal(local_asked.reply->results[0]->masked.len, PIXELS);
	assert_memory_not_equal(local_asked.reply->results[0]->masked.data, image(3), PIXELS);
	assert_int_equal(local_asked.reply->results[0]->label, classify(PLAN_LATENCY, REVEAL_LOGITS, 3) + 0u);
	forget(&local_asked);
	/* a client that goes before its answer comes hurts nobody */
	channel_send_message(c, FRAME_CLASSIFY, 0, 78, &q);
	stop(L);
	classify(PLAN_LATENCY, REVEAL_LOGITS, 3);
	data_owner_free(owner);
	owner = NULL;
	local_free(local);
}

static void test_status(void **state)
{
	static const struct net_handler client = {on_up, local_frame, NULL, on_down};
	struct side *L = &sides[1];
	struct local *local;
	struct err e = {0};

	start_all();
	classify(PLAN_LATENCY, REVEAL_LOGITS, 3);
	assert_int_equal(local_new(&local, D->net, certs_path("api", ""), owner, NULL, &e), 0);
	configure(L, 'L', "data-owner", "ca");
	start(L);
	assert_int_equal(net_connect_unix(L->net, certs_path("api", ""), &client, L, &e), 0);
	AWAIT(L->conn);
	conn_channel(L->conn)->ops->send(conn_channel(L->conn), &(struct frame){.type = FRAME_STATUS});
	conn_channel(L->conn)->ops->flush(conn_channel(L->conn));
	AWAIT(L->frames == 1);
	stop(L);
	data_owner_free(owner);
	owner = NULL;
	local_free(local);
}

/* This program as a role: roles_test model-owner|provider --name=value … */
static int role_main(int argc, char **argv)
{
	struct config c;
	struct err e = {0};
	int is_provider = !strcmp(argv[1], "provider"), code = ERR_USAGE, bad;

	log_open("info", argv[1]);
	bad = config_defaults(&c, is_provider ? 'C' : 'M', &e);
	for (int i = 2; i < argc && !bad; i++)
		bad = config_flag(&c, argv[i], &e);
	if (!bad && !config_check(&c, &e))
		code = is_provider ? provider_main(&c) : model_owner_main(&c);
	else
		fprintf(stderr, "%s\n", e.text);
	config_free(&c);
	return code;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	    TEST(test_any_order), TEST(test_modes),	   TEST(test_merged),
	    TEST(test_gathered),  TEST(test_bad_requests), TEST(test_deaths),
	    TEST(test_stopping),  TEST(test_local),	   TEST(test_status),
	};

	if (sodium_init() < 0)
		return 1;
	return argc > 1 ? role_main(argc, argv) : cmocka_run_group_tests(tests, NULL, NULL);
}
