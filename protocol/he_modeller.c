/* SPDX-License-Identifier: Apache-2.0 */
/* The model owner's end of a session of the he personality. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include "protocol/ends.h"
#include "protocol/he_parts.h"

static const char *const state_names[STATES] = {
    [KEYS] = "keys are exchanged",	    [IDLE] = "no inference runs",    [ASKED] = "a request is received",
    [BUSY] = "a request is being answered", [SWALLOW] = "no inference runs", [OVER] = "the session is over",
};

static uint64_t now_us(const struct he_modeller *m)
{
	return m->host->now_us(m->host->ctx);
}

static void enter(struct he_modeller *m, enum he_state to)
{
	m->state = to;
	m->since_us = now_us(m);
}

/* ---- memory ---- */

static void clear(struct bench *b)
{
	for (size_t i = 0; b->secrets && b->secrets[i]; i++)
		he_secrets_free(b->secrets[i], b->hp);
	free(b->secrets);
	b->secrets = NULL;
	free(b->request);
	free(b->answer);
	b->request = b->answer = NULL;
}

static void bench_drop(struct bench *b)
{
	if (!b)
		return;
	b->m = NULL;
	if (b->busy)
		return;
	clear(b);
	he_profile_close(&b->profile);
	he_replier_free(b->replier);
	he_known_drop(b->known);
	free(b);
}

/* ---- the end ---- */

int he_modeller_fail(struct he_modeller *m, const struct err *why, const struct channel *told, struct err *e)
{
	if (m->state != OVER) {
		m->err = *why;
		host_log(m->host, why->code ? LOG_WARNING : LOG_DEBUG, "model %s (he), %s: over: %s", m->served->name,
			 state_names[m->state], why->text);
		enter(m, OVER);
		if (m->data_owner && m->data_owner != told)
			end_send(m->data_owner, m->session, why, "");
	}
	if (e)
		*e = m->err;
	return -1;
}

static void lost_session(void *modeller, struct channel *c, const char *why)
{
	struct he_modeller *m = modeller;
	struct err e = {0};

	if (c != m->data_owner)
		return;
	error_of(&e, c, "went away while %s%s%s", state_names[m->state], why && why[0] ? ": " : "", why ? why : "");
	he_modeller_fail(m, &e, c, NULL);
	m->data_owner = NULL;
}

static void free_session(void *modeller)
{
	struct he_modeller *m = modeller;
	struct err closed = {0};

	if (!m)
		return;
	he_modeller_fail(m, &closed, NULL, NULL);
	bench_drop(m->bench);
	he_responder_close(m);
	free(m);
}

static void leave_session(void *modeller)
{
	struct he_modeller *m = modeller;

	if (m->state != OVER && m->data_owner)
		close_send(m->data_owner, m->session, FRAME_LATER);
}

/* ---- opening ---- */

static int send_opened(struct he_modeller *m, struct err *e)
{
	const struct he_plan *hp = m->served->he_plan;
	Wire__Opened opened = WIRE__OPENED__INIT;
	uint8_t widths[HE_WIDTH_BYTES * TAPE_MAX_ROWS];

	for (uint16_t i = 0; i < hp->n_steps; i++)
		he_width_pack(&hp->steps[i].width, widths + HE_WIDTH_BYTES * i);
	opened.max_batch = (uint32_t)m->batch_max;
	opened.lanes = 1;
	opened.he_tickets = (uint32_t)m->capacity;
	opened.he_set = hp->set;
	opened.he_widths = (ProtobufCBinaryData){(size_t)HE_WIDTH_BYTES * hp->n_steps, widths};
	return opened_send(m->data_owner, m->session, m->served, &opened, e);
}

static int init(struct he_modeller *m, struct err *e)
{
	const struct he_plan *hp = m->served->he_plan;

	m->batch_max = m->options.max_batch;
	while (m->batch_max > 1 && he_longest(hp, m->batch_max) > m->options.pool_bytes / 2)
		m->batch_max /= 2;
	if (!m->batch_max || he_longest(hp, 1) > m->options.pool_bytes / 2)
		return err_set(e, ERR_ENV,
			       "a message of model %s takes %zu bytes, and as much again to answer, more than pool_memory allows",
			       m->served->name, he_longest(hp, 1));
	if (!(m->bench = calloc(1, sizeof(*m->bench))))
		return err_set(e, ERR_ENV, "out of memory for a session");
	m->bench->m = m;
	m->bench->hp = hp;
	he_profile_open(&m->bench->profile, m->served->plan);
	randombytes_buf(m->token, sizeof(m->token));
	if (he_replier_new(&m->bench->replier, m->served->he_model, e) || (m->options.he_offline && he_responder_open(m, e)))
		return -1;
	return send_opened(m, e);
}

static int open_session(void **out, const struct host *host, const struct modeller_options *options, const struct served *served,
			struct channel *data_owner, uint16_t session, struct err *e)
{
	struct he_modeller *m = calloc(1, sizeof(*m));

	*out = NULL;
	if (!m)
		return err_set(e, ERR_ENV, "out of memory for a session");
	m->host = host;
	m->options = *options;
	m->served = served;
	m->data_owner = data_owner;
	m->session = session;
	m->since_us = now_us(m);
	if (init(m, e)) {
		m->state = OVER; /* the caller answers the OPEN */
		free_session(m);
		return -1;
	}
	*out = m;
	return 0;
}

static void send_ready(struct he_modeller *m, int known)
{
	struct frame f = {.type = FRAME_HE_READY, .session = m->session, .lane = known != 0};

	m->data_owner->ops->send(m->data_owner, &f);
	m->data_owner->ops->flush(m->data_owner);
	if (known)
		enter(m, IDLE);
}

static int on_key(void *modeller, const struct frame *f, struct err *e)
{
	struct he_modeller *m = modeller;
	enum he_set set = m->served->he_plan->set;

	if (!f->lane && (f->length != HE_DIGEST || m->announced))
		return error_of(e, m->data_owner, "announced a key by %u bytes, or twice", f->length);
	if (f->lane && !m->announced)
		return error_of(e, m->data_owner, "sent a key that it did not announce");
	if (f->lane) {
		m->bench->known = he_known_add(set, m->data_owner->fingerprint, m->digest, f->body, f->length, e);
		if (!m->bench->known)
			return -1;
	} else {
		memcpy(m->digest, f->body, HE_DIGEST);
		m->announced = 1;
		m->bench->known = he_known_find(set, m->data_owner->fingerprint, m->digest);
	}
	send_ready(m, m->bench->known != NULL);
	return 0;
}

/* ---- inferences ---- */

static int take_buffers(struct he_modeller *m, size_t batch)
{
	struct bench *b = m->bench;
	size_t longest = he_longest(b->hp, batch);

	b->batch = batch;
	b->level = 0;
	he_replier_profile(b->replier, he_profile_begin(&b->profile));
	m->got = 0;
	b->request = malloc(longest + 1);
	b->answer = malloc(FRAME_HEADER + longest + 1);
	if (m->mill && !(b->secrets = calloc(batch + 1, sizeof(*b->secrets))))
		return -1;
	return b->request && b->answer ? 0 : -1;
}

static int on_begin(void *modeller, const struct frame *f, struct err *e)
{
	struct he_modeller *m = modeller;
	uint32_t n;
	struct err why = {0};
	int kept;

	if (f->length != BEGIN_BYTES || !same_bytes(f->body, m->served->epoch, 16))
		return error_of(e, m->data_owner, "began an inference of another epoch");
	n = begin_images(f->body);
	if (!n || n > m->batch_max || f->lane != m->next)
		return error_of(e, m->data_owner, "began inference %u of %u images; %u is next, at most %zu are allowed", f->lane, n,
				m->next, m->batch_max);
	if (m->mill && n > m->made - m->next)
		return error_of(e, m->data_owner, "began an inference on tickets up to %u; those below %llu are made", m->next + n - 1,
				(unsigned long long)m->made);
	kept = use_allowed(&m->options, m->served, m->data_owner, m->token, m->next, n, &why) && !take_buffers(m, n);
	if (m->mill)
		he_responder_take(m, n, kept);
	m->lane = m->next;
	m->next += m->mill ? n : 1;
	if (kept) {
		enter(m, ASKED);
		return 0;
	}
	if (!why.code)
		err_set(&why, ERR_ENV, "the model owner is out of memory for a batch of %u images", n);
	clear(m->bench);
	enter(m, SWALLOW);
	abort_send(m->data_owner, m->session, f->lane, &why);
	return 0;
}

static size_t request_bytes(const struct bench *b)
{
	return b->secrets ? he_masked_up(b->hp, b->level) * b->batch : he_request_bytes(b->hp, b->level, b->batch);
}

static size_t answer_bytes(const struct bench *b)
{
	return b->secrets ? he_masked_down(b->hp, b->level) * b->batch : he_answer_bytes(b->hp, b->level, b->batch);
}

static void run(struct job *job)
{
	struct bench *b = (struct bench *)job;

	b->err = (struct err){0};
	if (b->secrets)
		b->status = he_masked_reply(b->replier, b->secrets, b->level, b->batch, b->request, request_bytes(b),
					    b->answer + FRAME_HEADER, &b->err);
	else
		b->status =
		    he_reply(b->replier, b->known->pk, b->level, b->batch, b->request, request_bytes(b), b->answer + FRAME_HEADER, &b->err);
}

static void answered(struct he_modeller *m)
{
	struct bench *b = m->bench;
	struct frame f = {.type = FRAME_STEP, .session = m->session, .lane = m->lane, .sequence = 2u * b->level + 1};

	he_profile_job(&b->profile);
	if (m->state != BUSY)
		return;
	if (b->status) {
		snprintf(b->err.peer, sizeof(b->err.peer), "%s", m->data_owner->name);
		he_modeller_fail(m, &b->err, NULL, NULL);
		return;
	}
	he_profile_start(&b->profile);
	send_step(m->data_owner, f, b->answer + FRAME_HEADER, answer_bytes(b), 0);
	m->data_owner->ops->flush(m->data_owner);
	he_profile_lap(&b->profile, PROFILE_SEND, b->hp, b->level);
	m->got = 0;
	if (++b->level < b->hp->levels) {
		enter(m, ASKED);
		return;
	}
	he_profile_end(&b->profile, b->batch);
	clear(b);
	enter(m, IDLE);
}

static void done(struct job *job)
{
	struct bench *b = (struct bench *)job;

	b->busy = 0;
	if (b->m)
		answered(b->m);
	else
		bench_drop(b);
}

static int on_step(void *modeller, const struct frame *f, struct err *e)
{
	struct he_modeller *m = modeller;
	struct bench *b = m->bench;
	size_t bytes;
	int whole;

	if (m->state == SWALLOW && f->lane == m->lane)
		return 0;
	if (m->state != ASKED || f->lane != m->lane || f->sequence != 2u * b->level)
		return error_of(e, m->data_owner, "sent request %u of inference %u, which is not the next", f->sequence, f->lane);
	bytes = request_bytes(b);
	whole = piece_take(b->request, &m->got, bytes, f);
	if (whole < 0)
		return error_of(e, m->data_owner, "sent a request of another size than %zu bytes", bytes);
	m->since_us = now_us(m);
	if (!whole)
		return 0;
	enter(m, BUSY);
	b->busy = 1;
	b->job = (struct job){run, done, 1};
	m->host->submit(m->host->ctx, &b->job);
	return 0;
}

/* ---- events ---- */

#define IN(state) (1u << (state))
static const struct legal legal[] = {
    {FRAME_HE_KEY, ROLE_D, IN(KEYS), on_key},
    {FRAME_BEGIN, ROLE_D, IN(IDLE) | IN(SWALLOW), on_begin},
    {FRAME_STEP, ROLE_D, IN(ASKED) | IN(SWALLOW), on_step},
    {FRAME_HE_TICKET, ROLE_D, IN(IDLE) | IN(ASKED) | IN(BUSY) | IN(SWALLOW), he_responder_frame},
};
static const struct legals legals = {legal, sizeof(legal) / sizeof(legal[0]), state_names};

static int frame_session(void *modeller, struct channel *from, const struct frame *f, struct err *e)
{
	struct he_modeller *m = modeller;
	const struct channel *told = NULL;
	struct err why = {0};

	if (m->state == OVER)
		return he_modeller_fail(m, &m->err, NULL, e);
	if (frame_handle(m, &legals, m->state, from, f, NULL, &told, &why))
		return he_modeller_fail(m, &why, told, e);
	return m->state == OVER ? he_modeller_fail(m, &m->err, NULL, e) : 0;
}

static int tick_session(void *modeller, struct err *e)
{
	struct he_modeller *m = modeller;
	uint32_t ms = m->state == KEYS ? m->options.connect_ms : m->options.step_ms;
	struct err why = {0};

	if (m->state == OVER)
		return he_modeller_fail(m, &m->err, NULL, e);
	if ((m->state != KEYS && m->state != ASKED) || now_us(m) - m->since_us < (uint64_t)ms * 1000)
		return 0;
	error_of(&why, m->data_owner, "did not go on within %u ms while %s", ms, state_names[m->state]);
	return he_modeller_fail(m, &why, NULL, e);
}

const struct modeller_kind he_modeller_kind = {
    .open = open_session,
    .frame = frame_session,
    .tick = tick_session,
    .lost = lost_session,
    .leave = leave_session,
    .pool = he_modeller_pool,
    .free = free_session,
};
