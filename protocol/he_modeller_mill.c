/* SPDX-License-Identifier: Apache-2.0 */
/* Tickets at the model owner: masks are answered one after another on a worker, beside the inferences. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "protocol/he_parts.h"

void he_secrets_free(uint64_t *secrets, const struct he_plan *hp)
{
	if (secrets)
		secret_wipe(secrets, he_ticket_secrets(hp) * 8);
	free(secrets);
}

static void mill_drop(struct responder *l)
{
	if (!l)
		return;
	l->m = NULL;
	if (l->busy)
		return;
	he_secrets_free(l->secrets, l->hp);
	free(l->request);
	free(l->answer);
	he_replier_free(l->replier);
	he_known_drop(l->known);
	free(l);
}

int he_responder_open(struct he_modeller *m, struct err *e)
{
	const struct he_plan *hp = m->duo.served->he_plan;
	struct responder *l = m->mill = calloc(1, sizeof(*l));

	m->capacity = m->duo.options.pool_bytes / (he_ticket_secrets(hp) * 8 + 1);
	if (m->capacity > HE_TICKETS_MAX)
		m->capacity = HE_TICKETS_MAX;
	if (!l || !m->capacity)
		return err_set(e, ERR_ENV, "no memory for a ticket of model %s", m->duo.served->name);
	l->m = m;
	l->hp = hp;
	l->request = malloc(he_ticket_request(hp) + 1);
	l->answer = malloc(FRAME_HEADER + he_ticket_answer(hp) + 1);
	m->pool = calloc(m->capacity, sizeof(*m->pool));
	if (!l->request || !l->answer || !m->pool)
		return err_set(e, ERR_ENV, "no memory for tickets of model %s", m->duo.served->name);
	return he_replier_new(&l->replier, m->duo.served->he_model, e);
}

void he_responder_take(struct he_modeller *m, uint32_t n, int keep)
{
	for (uint32_t i = 0; i < n; i++) {
		uint64_t **at = &m->pool[(m->duo.next + i) % m->capacity];

		if (keep)
			m->bench->secrets[i] = *at;
		else
			he_secrets_free(*at, m->duo.served->he_plan);
		*at = NULL;
	}
	rate_add(&m->rate, m->duo.host->now_us(m->duo.host->ctx), n);
}

static void mill_run(struct job *job)
{
	struct responder *l = (struct responder *)job;

	l->err = (struct err){0};
	l->status = he_ticket_reply(l->replier, l->known->pk, l->request, he_ticket_request(l->hp),
				    l->secrets, l->answer + FRAME_HEADER, &l->err);
}

static void milled(struct he_modeller *m)
{
	struct responder *l = m->mill;
	struct frame f = {.type = FRAME_HE_TICKET, .session = m->duo.session, .lane = (uint32_t)m->made};

	if (m->duo.state == DUO_OVER)
		return;
	if (l->status) {
		snprintf(l->err.peer, sizeof(l->err.peer), "%s", m->duo.data_owner->name);
		duo_modeller_fail(&m->duo, &l->err, NULL, NULL);
		return;
	}
	m->pool[m->made++ % m->capacity] = l->secrets;
	l->secrets = NULL;
	l->got = 0;
	send_step(m->duo.data_owner, f, l->answer + FRAME_HEADER, he_ticket_answer(l->hp), 0);
	m->duo.data_owner->ops->flush(m->duo.data_owner);
}

static void mill_done(struct job *job)
{
	struct responder *l = (struct responder *)job;

	l->busy = 0;
	if (l->m)
		milled(l->m);
	else
		mill_drop(l);
}

int he_responder_frame(void *modeller, const struct frame *f, struct err *e)
{
	struct he_modeller *m = modeller;
	struct responder *l = m->mill;
	size_t bytes;
	int whole;

	if (!l || l->busy || f->lane != (uint32_t)m->made || m->made - m->duo.next >= m->capacity)
		return error_of(e, m->duo.data_owner,
				"sent the masks of ticket %u; ticket %llu is next, %llu may be kept", f->lane,
				(unsigned long long)m->made, (unsigned long long)m->capacity);
	bytes = he_ticket_request(l->hp);
	whole = piece_take(l->request, &l->got, bytes, f);
	if (whole < 0)
		return error_of(e, m->duo.data_owner, "sent masks of another size than %zu bytes", bytes);
	if (!whole)
		return 0;
	if (!(l->secrets = malloc(he_ticket_secrets(l->hp) * 8)))
		return err_set(e, ERR_ENV, "out of memory for a ticket");
	if (!l->known) {
		l->known = m->bench->known;
		l->known->refs++;
	}
	l->busy = 1;
	l->job = (struct job){mill_run, mill_done, 0};
	m->duo.host->submit(m->duo.host->ctx, &l->job);
	return 0;
}

void he_responder_close(struct he_modeller *m)
{
	mill_drop(m->mill);
	for (uint64_t t = m->duo.next; m->pool && t < m->made; t++)
		he_secrets_free(m->pool[t % m->capacity], m->duo.served->he_plan);
	free(m->pool);
}

void he_modeller_pool(const struct duo_modeller *modeller, struct pool_status *s)
{
	const struct he_modeller *m = (const struct he_modeller *)modeller;

	if (!m->mill)
		return;
	*s = (struct pool_status){.depth = m->made - m->duo.next,
				  .high = m->capacity,
				  .bytes =
				      (m->made - m->duo.next) * he_ticket_secrets(m->duo.served->he_plan) * 8,
				  .made = m->made,
				  .burnt = m->duo.next,
				  .burn_rate = rate_read(&m->rate, m->duo.host->now_us(m->duo.host->ctx))};
}
