/* SPDX-License-Identifier: Apache-2.0 */
/* The model owner's end of a session: opening, states, end. */
#include "protocol/duo.h"
#include "protocol/modeller.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#define INLINE_WORK 4000000u
#define TICKETS_END UINT64_C(0xffffffff)
#define TICKETS_MOST 8192	      /* of one session at once, however small they are */
#define QUEUE_BYTES ((size_t)4 << 20) /* masked weights wait while more than this has not left */

static const char *const state_names[MODELLER_STATES] = {
    [MODELLER_PAIRING] = "the provider pairs the parties",
    [MODELLER_READY] = "the session is ready",
    [MODELLER_OVER] = "the session is over",
};

static const uint32_t moves[MODELLER_STATES] = {
    [MODELLER_PAIRING] = 1u << MODELLER_READY | 1u << MODELLER_OVER,
    [MODELLER_READY] = 1u << MODELLER_OVER,
    [MODELLER_OVER] = 0,
};

static int modeller_paired(void *modeller, const struct frame *f, struct err *e);

#define IN(state) (1u << MODELLER_##state)
static const struct legal legal[] = {
    {FRAME_PAIRED, ROLE_C, IN(PAIRING), modeller_paired},
    {FRAME_CORRECTIONS, ROLE_C, IN(READY), stock_corrections},
    {FRAME_DELTA, ROLE_D, IN(READY), stock_delta},
    {FRAME_BEGIN, ROLE_D, IN(READY), answer_begin},
    {FRAME_STEP, ROLE_D, IN(READY), answer_step},
    {FRAME_ABORT, ROLE_D, IN(READY), answer_abort},
};
static const struct legals legals = {legal, sizeof(legal) / sizeof(legal[0]), state_names};

static void modeller_enter(struct modeller *m, enum modeller_state to)
{
	if (!(moves[m->state] & 1u << to)) {
		host_log(m->host, LOG_CRIT, "model %s: no move from \"%s\" to \"%s\"", m->served->name,
			 state_names[m->state], state_names[to]);
		abort(); /* a bug of ours: no peer can cause it */
	}
	host_log(m->host, m->err.code ? LOG_WARNING : LOG_DEBUG, "model %s for %s: %s -> %s%s%s",
		 m->served->name, m->data_owner ? m->data_owner->name : "a lost data owner",
		 state_names[m->state], state_names[to], m->err.text[0] ? ": " : "", m->err.text);
	m->state = to;
	m->since_us = m->host->now_us(m->host->ctx);
}

/* ---- the end ---- */
int modeller_fail(struct modeller *m, const struct err *why, const struct channel *told, struct err *e)
{
	char step[64] = "";

	if (m->state != MODELLER_OVER) {
		answer_waiting(m, step, sizeof(step));
		m->err = *why;
		modeller_enter(m, MODELLER_OVER);
		if (m->data_owner && m->data_owner != told)
			end_send(m->data_owner, m->session, why, step);
		if (m->provider && m->provider != told)
			end_send(m->provider, m->provider_session, why, step);
		for (size_t i = 0; i < MODELLER_LANES; i++)
			if (m->slots[i] && m->slots[i]->state == SLOT_WAIT)
				slot_clear(m->slots[i]);
	}
	if (e)
		*e = m->err;
	return -1;
}

void modeller_lost(struct modeller *m, struct channel *c, const char *why)
{
	char step[64] = "";
	struct err e = {0};

	if (m->duo) {
		duo_modeller_lost(m->duo, c, why);
		return;
	}
	if (c != m->data_owner && c != m->provider)
		return;
	answer_waiting(m, step, sizeof(step));
	if (!step[0])
		snprintf(step, sizeof(step), "while %s", state_names[m->state]);
	error_of(&e, c, "went away %s%s%s", step, why && why[0] ? ": " : "", why ? why : "");
	modeller_fail(m, &e, c, NULL);
	if (c == m->data_owner)
		m->data_owner = NULL;
	else
		m->provider = NULL;
}

void modeller_free(struct modeller *m)
{
	struct err closed = {0};

	if (!m)
		return;
	if (m->duo) {
		duo_modeller_free(m->duo);
		free(m);
		return;
	}
	if (m->state != MODELLER_OVER)
		modeller_fail(m, &closed, NULL, NULL);
	for (size_t i = 0; i < MODELLER_LANES; i++)
		slot_drop(m->slots[i]);
	if (m->ring)
		secret_wipe(m->ring, m->ring_size * sizeof(*m->ring));
	free(m->ring);
	prg_free(m->prg);
	core_unref(m->core);
	secret_wipe(m, sizeof(*m));
	free(m);
}

/* ---- opening ---- */
static int send_opened(struct modeller *m, struct err *e)
{
	Wire__Opened opened = WIRE__OPENED__INIT;

	opened.token = (ProtobufCBinaryData){16, m->token};
	opened.provider = (ProtobufCBinaryData){32, m->provider->fingerprint};
	opened.weights_bytes = m->served->program->setup;
	opened.max_batch = (uint32_t)m->batch_max;
	opened.lanes = m->options.lanes;
	return opened_send(m->data_owner, m->session, m->served, &opened, e);
}

static int send_pair(struct modeller *m, struct err *e)
{
	Wire__Pair pair = WIRE__PAIR__INIT;
	uint8_t digest[32];

	pair.plan = wire__plan__unpack(NULL, m->served->plan_bytes, m->served->plan_packed);
	if (!pair.plan)
		return err_set(e, ERR_ENV, "out of memory for a plan");
	crypto_hash_sha256(digest, m->served->plan_packed, m->served->plan_bytes);
	pair.token = (ProtobufCBinaryData){16, m->token};
	pair.epoch = (ProtobufCBinaryData){16, (uint8_t *)(uintptr_t)m->served->epoch};
	pair.plan_digest = (ProtobufCBinaryData){32, digest};
	pair.peer = (ProtobufCBinaryData){32, m->data_owner->fingerprint};
	pair.weight_seed =
	    (ProtobufCBinaryData){PRG_SEED_BYTES, (uint8_t *)(uintptr_t)m->served->weight_seed};
	pair.model = (char *)(uintptr_t)m->served->name;
	channel_send_message(m->provider, FRAME_PAIR, m->provider_session, 0, &pair);
	wire__plan__free_unpacked(pair.plan, NULL);
	return 0;
}

/* F in pieces, no more at once than the channel takes. */
static void send_weights(struct modeller *m)
{
	struct channel *c = m->data_owner;
	size_t total = m->served->program->setup;

	while (m->weights_sent < total && c->ops->queued(c) < QUEUE_BYTES) {
		size_t left = total - m->weights_sent, n = left < FRAME_BODY_MAX ? left : FRAME_BODY_MAX;
		struct frame f = {.type = FRAME_WEIGHTS,
				  .session = m->session,
				  .sequence = m->weights_piece++,
				  .length = (uint32_t)n,
				  .body = m->served->masked + m->weights_sent};

		c->ops->send(c, &f);
		m->weights_sent += n;
		c->ops->flush(c);
	}
}

/* The largest batch, and how many tickets, that the memory of a session allows. */
static int fit_memory(struct modeller *m, struct err *e)
{
	const struct program *p = m->served->program;
	uint64_t ticket = p->corrections + p->delta + 256, most = m->options.pool_bytes;

	m->batch_max = m->options.max_batch < 4094 ? m->options.max_batch : 4094;
	while (m->batch_max && (m->batch_max > most / ticket || lane_bytes(p, m->batch_max) > most))
		m->batch_max /= 2;
	if (!m->batch_max)
		return err_set(
		    e, ERR_ENV,
		    "one image of model %s takes %llu bytes of tickets and %zu of working memory, more than "
		    "the %llu that the model owner allows a session",
		    m->served->name, (unsigned long long)ticket, lane_bytes(p, 1), (unsigned long long)most);
	m->capacity = most / ticket < TICKETS_MOST ? most / ticket : TICKETS_MOST;
	return 0;
}

static int modeller_init(struct modeller *m, struct err *e)
{
	/* The provider holds B, the data owner F: one party with both would know the weights. */
	if (different(m->data_owner, m->provider, e) < 0)
		return -1;
	m->options.lanes = m->options.lanes < MODELLER_LANES ? m->options.lanes : MODELLER_LANES;
	if (!m->options.lanes || !m->options.max_batch)
		return err_set(e, ERR_USAGE, "lanes or max_batch is 0: nothing could be classified");
	m->core = core_new(e);
	if (!m->core)
		return -1;
	m->core->program = m->served->program;
	m->core->layers = m->served->layers;
	core_weigh(m->core, P1);
	randombytes_buf(m->token, sizeof(m->token));
	if (fit_memory(m, e) < 0 || stock_prepare(m, e) < 0)
		return -1;
	/* The provider first: if its message cannot be built, the data owner has heard of nothing. */
	if (send_pair(m, e) < 0)
		return -1;
	if (send_opened(m, e) < 0)
		return modeller_fail(m, e, m->data_owner, NULL);
	send_weights(m);
	return 0;
}

int modeller_new(struct modeller **modeller, const struct host *host, const struct modeller_options *options,
		 const struct served *served, struct channel *data_owner, uint16_t session,
		 struct channel *provider, uint16_t provider_session, struct err *e)
{
	const struct duo_modeller_kind *kind = duo_modeller_kind(served->personality);
	struct modeller *m = calloc(1, sizeof(*m));

	*modeller = NULL;
	if (!m)
		return err_set(e, ERR_ENV, "out of memory for a session");
	if (kind && duo_modeller_new(&m->duo, kind, host, options, served, data_owner, session, e)) {
		free(m);
		return -1;
	}
	if (kind) {
		*modeller = m;
		return 0;
	}
	m->host = host;
	m->options = *options;
	if (!m->options.inline_work)
		m->options.inline_work = INLINE_WORK;
	m->served = served;
	m->data_owner = data_owner;
	m->session = session;
	m->provider = provider;
	m->provider_session = provider_session;
	m->since_us = host->now_us(host->ctx);
	if (modeller_init(m, e) < 0) {
		m->state = MODELLER_OVER; /* the caller answers the OPEN */
		modeller_free(m);
		return -1;
	}
	*modeller = m;
	return 0;
}

static int modeller_paired(void *modeller, const struct frame *f, struct err *e)
{
	struct modeller *m = modeller;
	Wire__Paired *in = wire__paired__unpack(NULL, f->length, f->body);
	int status = 0;

	if (!in || in->seed.len != PRG_SEED_BYTES)
		status = error_of(e, m->provider, "sent a PAIRED without a seed");
	else
		m->prg = prg_new(in->seed.data, PRG_TICKET, e);
	if (in && in->seed.data)
		secret_wipe(in->seed.data, in->seed.len);
	if (in)
		wire__paired__free_unpacked(in, NULL);
	if (status < 0 || !m->prg)
		return -1;
	modeller_enter(m, MODELLER_READY);
	return modeller_credit(m, e);
}

int modeller_credit(struct modeller *m, struct err *e)
{
	struct frame f = {.type = FRAME_CREDIT, .session = m->provider_session};
	uint64_t to = m->answered + m->capacity;

	if (to > TICKETS_END)
		to = TICKETS_END;
	if (to == m->credit)
		return m->next < TICKETS_END
			   ? 0
			   : err_set(e, ERR_PEER, "all ticket numbers of the session are used");
	m->credit = to;
	f.lane = (uint32_t)to;
	m->provider->ops->send(m->provider, &f);
	m->provider->ops->flush(m->provider);
	return 0;
}

/* ---- events ---- */
int modeller_frame(struct modeller *m, struct channel *from, const struct frame *f, struct err *e)
{
	const struct channel *told = NULL;
	struct err why = {0};

	if (m->duo)
		return duo_modeller_frame(m->duo, from, f, e);
	if (m->state == MODELLER_OVER)
		return modeller_fail(m, &m->err, NULL, e);
	if (from != m->data_owner && from != m->provider)
		error_of(&why, from, "sent %s into a session that it has no part in", frame_name(f->type));
	else if (!frame_handle(m, &legals, m->state, from, f, NULL, &told, &why))
		return m->state == MODELLER_OVER ? modeller_fail(m, &m->err, NULL, e) : 0;
	return modeller_fail(m, &why, told, e);
}

int modeller_tick(struct modeller *m, struct err *e)
{
	struct err why = {0};
	uint64_t waited;
	int status = 0;

	if (m->duo)
		return duo_modeller_tick(m->duo, e);
	waited = m->host->now_us(m->host->ctx) - m->since_us;
	if (m->state == MODELLER_OVER)
		return modeller_fail(m, &m->err, NULL, e);
	send_weights(m);
	if (m->state == MODELLER_READY)
		status = answer_deadlines(m, &why);
	else if (waited >= (uint64_t)m->options.connect_ms * 1000)
		status = error_of(&why, m->provider, "did not pair us with %s within %u ms",
				  m->data_owner->name, m->options.connect_ms);
	return status < 0 ? modeller_fail(m, &why, NULL, e) : 0;
}

int modeller_rests(const struct modeller *m)
{
	if (m->duo)
		return duo_modeller_rests(m->duo);
	return m->state == MODELLER_READY && m->weights_sent == m->served->program->setup && answer_rests(m);
}

void modeller_leave(struct modeller *m)
{
	if (m->duo)
		duo_modeller_leave(m->duo);
	else if (m->state != MODELLER_OVER && m->data_owner)
		close_send(m->data_owner, m->session, FRAME_LATER);
}

void modeller_pool(const struct modeller *m, struct pool_status *s)
{
	if (m->duo) {
		duo_modeller_pool(m->duo, s);
		return;
	}
	*s = (struct pool_status){.depth = m->ready - m->next,
				  .high = m->capacity,
				  .bytes = m->core->stock.out * m->core->stock.item,
				  .made = m->corrections.ticket,
				  .burnt = m->next,
				  .burn_rate = rate_read(&m->rate, m->host->now_us(m->host->ctx))};
}
