/* SPDX-License-Identifier: Apache-2.0 */
/* The model owner's end of a session of two parties. */
#include "protocol/duo.h"

#include <sodium.h>
#include <stdlib.h>
#include <syslog.h>

const char *const duo_modeller_states[DUO_STATES] = {
    [DUO_KEYS] = "keys are exchanged",	   [DUO_IDLE] = "no inference runs",
    [DUO_ASKED] = "a request is received", [DUO_BUSY] = "a request is being answered",
    [DUO_SWALLOW] = "no inference runs",   [DUO_OVER] = "the session is over",
};

static uint64_t now_us(const struct duo_modeller *m)
{
	return m->host->now_us(m->host->ctx);
}

void duo_modeller_enter(struct duo_modeller *m, enum duo_state to)
{
	m->state = to;
	m->since_us = now_us(m);
}

/* ---- life ---- */

int duo_modeller_new(struct duo_modeller **modeller, const struct duo_modeller_kind *kind,
		     const struct host *host, const struct modeller_options *options,
		     const struct served *served, struct channel *data_owner, uint16_t session, struct err *e)
{
	struct duo_modeller *m = calloc(1, kind->bytes);

	*modeller = NULL;
	if (!m)
		return err_set(e, ERR_ENV, "out of memory for a session");
	m->kind = kind;
	m->host = host;
	m->options = *options;
	m->served = served;
	m->data_owner = data_owner;
	m->session = session;
	m->since_us = now_us(m);
	randombytes_buf(m->token, sizeof(m->token));
	if (kind->open(m, e)) {
		m->state = DUO_OVER; /* the caller answers the OPEN */
		duo_modeller_free(m);
		return -1;
	}
	*modeller = m;
	return 0;
}

int duo_modeller_fail(struct duo_modeller *m, const struct err *why, const struct channel *told,
		      struct err *e)
{
	if (m->state != DUO_OVER) {
		m->err = *why;
		host_log(m->host, why->code ? LOG_WARNING : LOG_DEBUG, "model %s (%s), %s: over: %s",
			 m->served->name, personality_name(m->served->personality),
			 duo_modeller_states[m->state], why->text);
		duo_modeller_enter(m, DUO_OVER);
		if (m->data_owner && m->data_owner != told)
			end_send(m->data_owner, m->session, why, "");
	}
	if (e)
		*e = m->err;
	return -1;
}

void duo_modeller_free(struct duo_modeller *m)
{
	struct err closed = {0};

	duo_modeller_fail(m, &closed, NULL, NULL);
	m->kind->free(m);
	free(m);
}

/* ---- inferences ---- */

uint32_t duo_modeller_images(const struct duo_modeller *m, const struct frame *f, struct err *e)
{
	uint32_t n;

	if (f->length != BEGIN_BYTES || !same_bytes(f->body, m->served->epoch, 16)) {
		error_of(e, m->data_owner, "began an inference of another epoch");
		return 0;
	}
	n = begin_images(f->body);
	if (n && n <= m->batch_max && f->lane == m->next)
		return n;
	error_of(e, m->data_owner, "began inference %u of %u images; %u is next, at most %zu are allowed",
		 f->lane, n, m->next, m->batch_max);
	return 0;
}

int duo_modeller_allows(const struct duo_modeller *m, uint32_t images, struct err *why)
{
	return use_allowed(&m->options, m->served, m->data_owner, m->token, m->next, images, why);
}

void duo_modeller_refuse(struct duo_modeller *m, const struct err *why)
{
	duo_modeller_enter(m, DUO_SWALLOW);
	abort_send(m->data_owner, m->session, m->lane, why);
}

void duo_modeller_await(struct duo_modeller *m, unsigned trip, uint8_t *request, size_t bytes)
{
	m->trip = trip;
	m->request = request;
	m->request_bytes = bytes;
	m->got = 0;
	duo_modeller_enter(m, DUO_ASKED);
}

void duo_modeller_send(struct duo_modeller *m, uint8_t *answer, size_t bytes)
{
	struct frame f = {
	    .type = FRAME_STEP, .session = m->session, .lane = m->lane, .sequence = 2 * m->trip + 1};

	send_step(m->data_owner, f, answer, bytes, 0);
	m->data_owner->ops->flush(m->data_owner);
}

/* ---- events ---- */

int duo_modeller_step(void *modeller, const struct frame *f, struct err *e)
{
	struct duo_modeller *m = modeller;
	int whole;

	if (m->state == DUO_SWALLOW && f->lane == m->lane)
		return 0;
	if (m->state != DUO_ASKED || f->lane != m->lane || f->sequence != 2 * m->trip)
		return error_of(e, m->data_owner, "sent request %u of inference %u, which is not the next",
				f->sequence, f->lane);
	whole = piece_take(m->request, &m->got, m->request_bytes, f);
	if (whole < 0)
		return error_of(e, m->data_owner, "sent a request of another size than %zu bytes",
				m->request_bytes);
	m->since_us = now_us(m);
	if (!whole)
		return 0;
	duo_modeller_enter(m, DUO_BUSY);
	m->kind->answer(m);
	return 0;
}

int duo_modeller_frame(struct duo_modeller *m, struct channel *from, const struct frame *f, struct err *e)
{
	const struct channel *told = NULL;
	struct err why = {0};

	if (m->state == DUO_OVER)
		return duo_modeller_fail(m, &m->err, NULL, e);
	if (frame_handle(m, &m->kind->legals, m->state, from, f, NULL, &told, &why))
		return duo_modeller_fail(m, &why, told, e);
	return m->state == DUO_OVER ? duo_modeller_fail(m, &m->err, NULL, e) : 0;
}

int duo_modeller_tick(struct duo_modeller *m, struct err *e)
{
	uint32_t ms = m->state == DUO_KEYS ? m->options.connect_ms : m->options.step_ms;
	struct err why = {0};

	if (m->state == DUO_OVER)
		return duo_modeller_fail(m, &m->err, NULL, e);
	if ((m->state != DUO_KEYS && m->state != DUO_ASKED) || now_us(m) - m->since_us < (uint64_t)ms * 1000)
		return 0;
	error_of(&why, m->data_owner, "did not go on within %u ms while %s", ms,
		 duo_modeller_states[m->state]);
	return duo_modeller_fail(m, &why, NULL, e);
}

int duo_modeller_rests(const struct duo_modeller *m)
{
	return m->state != DUO_KEYS && m->state != DUO_ASKED && m->state != DUO_OVER;
}

void duo_modeller_lost(struct duo_modeller *m, struct channel *c, const char *why)
{
	struct err e = {0};

	if (c != m->data_owner)
		return;
	error_of(&e, c, "went away while %s%s%s", duo_modeller_states[m->state], why && why[0] ? ": " : "",
		 why ? why : "");
	duo_modeller_fail(m, &e, c, NULL);
	m->data_owner = NULL;
}

void duo_modeller_leave(struct duo_modeller *m)
{
	if (m->state != DUO_OVER && m->data_owner)
		close_send(m->data_owner, m->session, FRAME_LATER);
}

void duo_modeller_pool(const struct duo_modeller *m, struct pool_status *s)
{
	*s = (struct pool_status){0};
	if (m->kind->pool)
		m->kind->pool(m, s);
}
