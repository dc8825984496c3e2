/* SPDX-License-Identifier: Apache-2.0 */
/* The model owner's end of a session of the clear personality. Memory is taken when it opens, none for an
 * inference. */
#include "protocol/clear.h"
#include "protocol/ends.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include "crypto/ring.h"
#include "crypto/secret.h"

#define INLINE_WORK 16000000u /* multiply-adds, about half a millisecond: more is a worker's */
#define TOGETHER 16	      /* images that go through a layer at once */

/* IDLE: between inferences; ASKED: pixels are received; BUSY: a worker computes; SWALLOW: what is still sent
 * of a refused inference is dropped. */
enum state { IDLE, ASKED, BUSY, SWALLOW, OVER, STATES };
static const char *const state_names[STATES] = {
    [IDLE] = "no inference runs",    [ASKED] = "pictures are received", [BUSY] = "an answer is computed",
    [SWALLOW] = "no inference runs", [OVER] = "the session is over",
};

/* What a job reads, so that it outlives a session that ends meanwhile. */
struct desk {
	struct job job;		  /* first */
	struct clear_modeller *m; /* NULL: the session has gone */
	int busy;
	const struct plan *plan;  /* borrows: of struct served */
	struct clear *clear;	  /* own */
	uint8_t *pixels, *answer; /* the answer has FRAME_HEADER bytes before it */
	int64_t *result;
	size_t batch, batch_max;
};

struct clear_modeller {
	const struct host *host;
	struct modeller_options options;
	const struct served *served;
	struct channel *data_owner;
	uint16_t session;
	enum state state;
	struct err err;
	uint64_t since_us;
	uint8_t token[16];
	uint32_t lane; /* the inference that runs, or is next */
	size_t got;
	struct desk *desk;
};

static uint64_t now_us(const struct clear_modeller *m)
{
	return m->host->now_us(m->host->ctx);
}

static void enter(struct clear_modeller *m, enum state to)
{
	m->state = to;
	m->since_us = now_us(m);
}

/* ---- the end ---- */

static void desk_drop(struct desk *d)
{
	size_t images;

	if (!d)
		return;
	d->m = NULL;
	if (d->busy)
		return;
	images = d->batch_max;
	clear_free(d->clear);
	if (d->pixels)
		secret_wipe(d->pixels, images * shape_size(d->plan->input));
	if (d->result)
		secret_wipe(d->result, images * clear_words(d->plan) * sizeof(*d->result));
	free(d->pixels);
	free(d->answer);
	free(d->result);
	free(d);
}

static int fail(struct clear_modeller *m, const struct err *why, const struct channel *told, struct err *e)
{
	if (m->state != OVER) {
		m->err = *why;
		host_log(m->host, why->code ? LOG_WARNING : LOG_DEBUG, "model %s (clear), %s: over: %s",
			 m->served->name, state_names[m->state], why->text);
		enter(m, OVER);
		if (m->data_owner && m->data_owner != told)
			end_send(m->data_owner, m->session, why, "");
	}
	if (e)
		*e = m->err;
	return -1;
}

static void free_session(void *modeller)
{
	struct clear_modeller *m = modeller;
	struct err closed = {0};

	if (!m)
		return;
	fail(m, &closed, NULL, NULL);
	desk_drop(m->desk);
	free(m);
}

/* ---- opening ---- */

static int take_memory(struct clear_modeller *m, struct err *e)
{
	const struct plan *plan = m->served->plan;
	struct desk *d = m->desk = calloc(1, sizeof(*d));

	if (!d)
		return err_set(e, ERR_ENV, "out of memory for a session");
	d->m = m;
	d->plan = plan;
	d->batch_max = clear_batch(plan, m->options.max_batch, m->options.pool_bytes);
	if (!d->batch_max)
		return err_set(e, ERR_ENV,
			       "an image of model %s takes %zu bytes, more than pool_memory allows",
			       m->served->name, shape_size(plan->input));
	d->pixels = malloc(d->batch_max * shape_size(plan->input));
	d->answer = malloc(FRAME_HEADER + d->batch_max * clear_bytes(plan));
	d->result = calloc(d->batch_max * clear_words(plan), sizeof(*d->result));
	if (!d->pixels || !d->answer || !d->result)
		return err_set(e, ERR_ENV, "out of memory for %zu images of model %s", d->batch_max,
			       m->served->name);
	return clear_new(&d->clear, m->served->clear, d->batch_max < TOGETHER ? d->batch_max : TOGETHER, e);
}

static int send_opened(struct clear_modeller *m, struct err *e)
{
	Wire__Opened opened = WIRE__OPENED__INIT;

	opened.max_batch = (uint32_t)m->desk->batch_max;
	opened.lanes = 1;
	return opened_send(m->data_owner, m->session, m->served, &opened, e);
}

static int open_session(void **out, const struct host *host, const struct modeller_options *options,
			const struct served *served, struct channel *data_owner, uint16_t session,
			struct err *e)
{
	struct clear_modeller *m = calloc(1, sizeof(*m));

	*out = NULL;
	if (!m)
		return err_set(e, ERR_ENV, "out of memory for a session");
	m->host = host;
	m->options = *options;
	if (!m->options.inline_work)
		m->options.inline_work = INLINE_WORK;
	m->served = served;
	m->data_owner = data_owner;
	m->session = session;
	m->since_us = now_us(m);
	randombytes_buf(m->token, sizeof(m->token));
	if (take_memory(m, e) || send_opened(m, e)) {
		m->state = OVER; /* the caller answers the OPEN */
		free_session(m);
		return -1;
	}
	*out = m;
	return 0;
}

/* ---- inferences ---- */

static int on_begin(void *modeller, const struct frame *f, struct err *e)
{
	struct clear_modeller *m = modeller;
	struct err why = {0};
	uint32_t n;

	if (f->length != BEGIN_BYTES || !same_bytes(f->body, m->served->epoch, 16))
		return error_of(e, m->data_owner, "began an inference of another epoch");
	n = begin_images(f->body);
	if (!n || n > m->desk->batch_max || f->lane != m->lane)
		return error_of(e, m->data_owner,
				"began inference %u of %u images; %u is next, at most %zu are allowed",
				f->lane, n, m->lane, m->desk->batch_max);
	m->desk->batch = n;
	m->got = 0;
	if (use_allowed(&m->options, m->served, m->data_owner, m->token, m->lane, n, &why)) {
		enter(m, ASKED);
		return 0;
	}
	enter(m, SWALLOW);
	m->lane++;
	abort_send(m->data_owner, m->session, f->lane, &why);
	return 0;
}

static void run(struct job *job)
{
	struct desk *d = (struct desk *)job;
	const struct tape *t = &d->plan->tape;
	unsigned k = t->values[t->rows[t->n_rows - 1].in[0]].k;
	size_t words = clear_words(d->plan), bytes = clear_bytes(d->plan);

	clear_infer(d->clear, d->pixels, d->batch, d->result);
	for (size_t b = 0; b < d->batch; b++)
		ring_pack(d->answer + FRAME_HEADER + b * bytes, (uint64_t *)d->result + b * words, words, k);
}

static void send_answer(struct clear_modeller *m)
{
	struct desk *d = m->desk;
	struct frame f = {.type = FRAME_STEP, .session = m->session, .lane = m->lane, .sequence = 1};

	send_step(m->data_owner, f, d->answer + FRAME_HEADER, d->batch * clear_bytes(d->plan), 0);
	m->data_owner->ops->flush(m->data_owner);
	m->lane++;
	enter(m, IDLE);
}

static void done(struct job *job)
{
	struct desk *d = (struct desk *)job;

	d->busy = 0;
	if (!d->m)
		desk_drop(d);
	else if (d->m->state == BUSY)
		send_answer(d->m);
}

static void answer(struct clear_modeller *m)
{
	struct desk *d = m->desk;

	enter(m, BUSY);
	d->job = (struct job){run, done, 1};
	d->busy = 1;
	if (clear_work(m->served->clear) * d->batch > m->options.inline_work) {
		m->host->submit(m->host->ctx, &d->job);
		return;
	}
	run(&d->job);
	done(&d->job);
}

static int on_step(void *modeller, const struct frame *f, struct err *e)
{
	struct clear_modeller *m = modeller;
	struct desk *d = m->desk;
	size_t bytes = d->batch * shape_size(d->plan->input);
	int whole;

	if (m->state == SWALLOW && f->lane == m->lane - 1)
		return 0;
	if (m->state != ASKED || f->lane != m->lane || f->sequence)
		return error_of(e, m->data_owner, "sent message %u of inference %u, which is not the next",
				f->sequence, f->lane);
	whole = piece_take(d->pixels, &m->got, bytes, f);
	if (whole < 0)
		return error_of(e, m->data_owner, "sent pictures of another size than %zu bytes", bytes);
	m->since_us = now_us(m);
	if (whole)
		answer(m);
	return 0;
}

/* ---- events ---- */

#define IN(state) (1u << (state))
static const struct legal legal[] = {
    {FRAME_BEGIN, ROLE_D, IN(IDLE) | IN(SWALLOW), on_begin},
    {FRAME_STEP, ROLE_D, IN(ASKED) | IN(SWALLOW), on_step},
};
static const struct legals legals = {legal, sizeof(legal) / sizeof(legal[0]), state_names};

static int frame_session(void *modeller, struct channel *from, const struct frame *f, struct err *e)
{
	struct clear_modeller *m = modeller;
	const struct channel *told = NULL;
	struct err why = {0};

	if (m->state == OVER)
		return fail(m, &m->err, NULL, e);
	if (frame_handle(m, &legals, m->state, from, f, NULL, &told, &why))
		return fail(m, &why, told, e);
	return m->state == OVER ? fail(m, &m->err, NULL, e) : 0;
}

static int tick_session(void *modeller, struct err *e)
{
	struct clear_modeller *m = modeller;
	struct err why = {0};

	if (m->state == OVER)
		return fail(m, &m->err, NULL, e);
	if (m->state != ASKED || now_us(m) - m->since_us < (uint64_t)m->options.step_ms * 1000)
		return 0;
	error_of(&why, m->data_owner, "did not go on within %u ms while %s", m->options.step_ms,
		 state_names[m->state]);
	return fail(m, &why, NULL, e);
}

static void lost_session(void *modeller, struct channel *c, const char *why)
{
	struct clear_modeller *m = modeller;
	struct err e = {0};

	if (c != m->data_owner)
		return;
	error_of(&e, c, "went away while %s%s%s", state_names[m->state], why && why[0] ? ": " : "",
		 why ? why : "");
	fail(m, &e, c, NULL);
	m->data_owner = NULL;
}

static void leave_session(void *modeller)
{
	struct clear_modeller *m = modeller;

	if (m->state != OVER && m->data_owner)
		close_send(m->data_owner, m->session, FRAME_LATER);
}

static void pool_session(const void *modeller, struct pool_status *s)
{
	*s = (struct pool_status){0}; /* nothing is kept ahead */
}

const struct modeller_kind clear_modeller_kind = {
    .open = open_session,
    .frame = frame_session,
    .tick = tick_session,
    .lost = lost_session,
    .leave = leave_session,
    .pool = pool_session,
    .free = free_session,
};
