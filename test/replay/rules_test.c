/* SPDX-License-Identifier: Apache-2.0 */
/* What a party's own rules refuse: who waits is told the reason at once, sessions live on, what is allowed
 * later works. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "test/replay/world.h"
#include "test/replay/nets.h"

static struct graph *graph;
static struct served *net;

static int setup(void **state)
{
	graph = nets_small(8);
	net = nets_serve(graph, PLAN_LATENCY, REVEAL_LOGITS);
	return net ? 0 : -1;
}

static int teardown(void **state)
{
	served_free(net);
	graph_free(graph);
	return 0;
}

/* Rules that give so many, and what they were asked. */
struct purse {
	struct rules rules;
	uint64_t left, next; /* next: ticket; recorded tickets rise by one */
	unsigned opened, refused;
	int closed;
	uint8_t session[16];
};

static int purse_open(void *ctx, const struct use *use, struct err *e)
{
	struct purse *p = ctx;

	p->opened++;
	memcpy(p->session, use->session, 16);
	assert_int_equal(use->data_owner->fingerprint[0], 10);
	assert_int_equal(use->model_owner->fingerprint[0], 2);
	return p->closed ? err_set(e, ERR_PEER, "not for you") : 0;
}

static uint32_t purse_take(void *ctx, const struct use *use, struct err *why)
{
	struct purse *p = ctx;
	uint32_t n = use->n < p->left ? use->n : (uint32_t)p->left;

	if (use->whole && n < use->n)
		n = 0;
	memcpy(p->session, use->session, 16);
	if (n < use->n) {
		p->refused++;
		err_set(why, ERR_PEER, "the purse is empty");
	}
	assert_true(use->first >= p->next); /* never one twice; those that were refused are burnt */
	p->next = use->first + n;
	p->left -= n;
	return n;
}

static struct purse purse_of(uint64_t left)
{
	struct purse p = {.left = left};

	return p;
}

static const struct rules *rules_of(struct purse *p)
{
	p->rules = (struct rules){p, purse_open, purse_take};
	return &p->rules;
}

struct request {
	struct inference i;
	uint8_t pixels[64 * 36];
	int told;
};

static void told(struct inference *i)
{
	((struct request *)i->ctx)->told++;
}

static void ask(struct world *w, struct request *r, size_t batch)
{
	memset(r, 0, sizeof(*r));
	r->i.batch = batch;
	r->i.pixels = r->pixels;
	r->i.done = told;
	r->i.ctx = r;
	owner_infer(w->owner[0], &r->i);
	world_settle(w);
}

/* Ended, well (says NULL) or for this reason of that peer; and frees it. */
static void ended(struct request *r, const char *peer, const char *says)
{
	assert_int_equal(r->told, 1);
	assert_int_equal(r->i.err.code, says ? ERR_PEER : ERR_NONE);
	if (says && (!strstr(r->i.err.text, says) || !strstr(r->i.err.text, peer)))
		fail_msg("\"%s\"", r->i.err.text);
	free(r->i.result);
	free(r->i.masked);
	free(r->i.times);
}

static void start(struct world *w)
{
	struct err e = {0};

	if (world_start(w, net, 1, &e) < 0)
		fail_msg("%s", e.text);
	world_settle(w);
}

static void model_owner_refuses(int deferred)
{
	struct purse purse = purse_of(5);
	struct request r;
	struct world w;

	world_defaults(&w);
	w.deferred = deferred;
	w.owner_options.inline_work = w.modeller_options.inline_work = deferred;
	w.modeller_options.rules = rules_of(&purse);
	start(&w);
	ask(&w, &r, 3);
	ended(&r, NULL, NULL);
	ask(&w, &r, 3);
	ended(&r, "model-owner", "the purse is empty");
	assert_int_equal(purse.left, 2);
	ask(&w, &r, 2);
	ended(&r, NULL, NULL);
	for (int i = 0; i < 20; i++) {
		ask(&w, &r, 1);
		ended(&r, "model-owner", "the purse is empty");
	}
	purse.left = 100;
	ask(&w, &r, 1);
	ended(&r, NULL, NULL);
	assert_int_equal(owner_state(w.owner[0]), OWNER_READY);
	world_end(&w);
}

static void an_inference_is_refused(void **state)
{
	model_owner_refuses(0);
	model_owner_refuses(1);
}

/* high 0: tickets only on demand. */
static void provider_holds(uint32_t high, int deferred)
{
	struct purse purse = purse_of(4);
	struct request r;
	struct world w;

	world_defaults(&w);
	w.deferred = deferred;
	w.owner_options.pool_low = w.owner_options.pool_high = high;
	w.provider_options.rules = rules_of(&purse);
	start(&w);
	assert_int_equal(purse.opened, 1);
	ask(&w, &r, 3);
	ended(&r, NULL, NULL);
	ask(&w, &r, 6);
	ended(&r, "provider", "the purse is empty");
	ask(&w, &r, 1); /* the fourth is there */
	ended(&r, NULL, NULL);
	ask(&w, &r, 1);
	ended(&r, "provider", "the purse is empty");
	world_sleep(&w, 5000); /* nobody waits: nothing is late */
	assert_int_equal(owner_state(w.owner[0]), OWNER_READY);
	ask(&w, &r, 1);
	ended(&r, "provider", "the purse is empty");
	purse.left = 40;
	world_sleep(&w, 300); /* it is asked again four times a second */
	ask(&w, &r, 7);
	ended(&r, NULL, NULL);
	assert_int_equal(owner_state(w.owner[0]), OWNER_READY);
	world_end(&w);
}

static void tickets_are_held_back(void **state)
{
	provider_holds(0, 0);
	provider_holds(0, 1);
	provider_holds(6, 0);
	provider_holds(6, 1);
}

/* One that waits already, when the provider comes to the end. */
static void whoever_waits_is_told(void **state)
{
	struct purse purse = purse_of(2);
	struct request r[3];
	struct world w;

	world_defaults(&w);
	w.deferred = 1;
	w.provider_options.rules = rules_of(&purse);
	start(&w);
	for (int i = 0; i < 3; i++) {
		memset(&r[i], 0, sizeof(r[i]));
		r[i].i.batch = 2;
		r[i].i.pixels = r[i].pixels;
		r[i].i.done = told;
		r[i].i.ctx = &r[i];
		owner_infer(w.owner[0], &r[i].i);
	}
	world_settle(&w);
	ended(&r[0], NULL, NULL);
	ended(&r[1], "provider", "the purse is empty");
	ended(&r[2], "provider", "the purse is empty");
	world_end(&w);
}

static void a_session_is_refused(void **state)
{
	struct purse purse = {.closed = 1};
	struct world w;

	world_defaults(&w);
	w.provider_options.rules = rules_of(&purse);
	start(&w);
	assert_int_equal(purse.opened, 1);
	assert_non_null(strstr(w.owner_err[0].text, "provider"));
	assert_non_null(strstr(w.owner_err[0].text, "not for you"));
	assert_non_null(strstr(w.modeller_err.text, "not for you"));
	world_end(&w);
}

/* Both parties' rules see the same session and the same numbers. */
static void records_agree(void **state)
{
	struct purse of_m = purse_of(1000), of_c = purse_of(1000);
	struct request r;
	struct world w;

	world_defaults(&w);
	w.modeller_options.rules = rules_of(&of_m);
	w.provider_options.rules = rules_of(&of_c);
	start(&w);
	for (size_t batch = 1; batch < 9; batch++) {
		ask(&w, &r, batch);
		ended(&r, NULL, NULL);
	}
	assert_int_equal(of_m.next, 36);
	assert_true(of_c.next >= 36);
	assert_int_equal(of_m.refused + of_c.refused, 0);
	assert_memory_equal(of_m.session, of_c.session, 16);
	world_end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_inference_is_refused), cmocka_unit_test(tickets_are_held_back),
	    cmocka_unit_test(whoever_waits_is_told),   cmocka_unit_test(a_session_is_refused),
	    cmocka_unit_test(records_agree),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
