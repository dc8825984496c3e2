/* SPDX-License-Identifier: Apache-2.0 */
/* The model owner's end of a session of the he personality. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "protocol/he_parts.h"

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

static void free_session(struct duo_modeller *m)
{
	bench_drop(((struct he_modeller *)m)->bench);
	he_responder_close((struct he_modeller *)m);
}

/* ---- opening ---- */

static int send_opened(struct he_modeller *m, struct err *e)
{
	const struct he_plan *hp = m->duo.served->he_plan;
	Wire__Opened opened = WIRE__OPENED__INIT;
	uint8_t widths[HE_WIDTH_BYTES * TAPE_MAX_ROWS];

	for (uint16_t i = 0; i < hp->n_steps; i++)
		he_width_pack(&hp->steps[i].width, widths + HE_WIDTH_BYTES * i);
	opened.max_batch = (uint32_t)m->duo.batch_max;
	opened.lanes = 1;
	opened.he_tickets = (uint32_t)m->capacity;
	opened.he_set = hp->set;
	opened.he_widths = (ProtobufCBinaryData){(size_t)HE_WIDTH_BYTES * hp->n_steps, widths};
	return opened_send(m->duo.data_owner, m->duo.session, m->duo.served, &opened, e);
}

static int open_session(struct duo_modeller *duo, struct err *e)
{
	struct he_modeller *m = (struct he_modeller *)duo;
	const struct he_plan *hp = duo->served->he_plan;
	uint64_t most = duo->options.pool_bytes / 2;

	duo->batch_max = duo->options.max_batch;
	while (duo->batch_max > 1 && he_longest(hp, duo->batch_max) > most)
		duo->batch_max /= 2;
	if (!duo->batch_max || he_longest(hp, 1) > most)
		return err_set(e, ERR_ENV,
			       "a message of model %s takes %zu bytes, and as much again to answer, more "
			       "than pool_memory allows",
			       duo->served->name, he_longest(hp, 1));
	if (!(m->bench = calloc(1, sizeof(*m->bench))))
		return err_set(e, ERR_ENV, "out of memory for a session");
	m->bench->m = m;
	m->bench->hp = hp;
	he_profile_open(&m->bench->profile, duo->served->plan);
	if (he_replier_new(&m->bench->replier, duo->served->he_model, e) ||
	    (duo->options.he_offline && he_responder_open(m, e)))
		return -1;
	return send_opened(m, e);
}

static void send_ready(struct he_modeller *m, int known)
{
	struct frame f = {.type = FRAME_HE_READY, .session = m->duo.session, .lane = known != 0};

	m->duo.data_owner->ops->send(m->duo.data_owner, &f);
	m->duo.data_owner->ops->flush(m->duo.data_owner);
	if (known)
		duo_modeller_enter(&m->duo, DUO_IDLE);
}

static int on_key(void *modeller, const struct frame *f, struct err *e)
{
	struct he_modeller *m = modeller;
	enum he_set set = m->duo.served->he_plan->set;

	if (!f->lane && (f->length != HE_DIGEST || m->announced))
		return error_of(e, m->duo.data_owner, "announced a key by %u bytes, or twice", f->length);
	if (f->lane && !m->announced)
		return error_of(e, m->duo.data_owner, "sent a key that it did not announce");
	if (f->lane) {
		m->bench->known =
		    he_known_add(set, m->duo.data_owner->fingerprint, m->digest, f->body, f->length, e);
		if (!m->bench->known)
			return -1;
	} else {
		memcpy(m->digest, f->body, HE_DIGEST);
		m->announced = 1;
		m->bench->known = he_known_find(set, m->duo.data_owner->fingerprint, m->digest);
	}
	send_ready(m, m->bench->known != NULL);
	return 0;
}

/* ---- inferences ---- */

static size_t request_bytes(const struct bench *b)
{
	return b->secrets ? he_masked_up(b->hp, b->level) * b->batch
			  : he_request_bytes(b->hp, b->level, b->batch);
}

static size_t answer_bytes(const struct bench *b)
{
	return b->secrets ? he_masked_down(b->hp, b->level) * b->batch
			  : he_answer_bytes(b->hp, b->level, b->batch);
}

static int take_buffers(struct he_modeller *m, size_t batch)
{
	struct bench *b = m->bench;
	size_t longest = he_longest(b->hp, batch);

	b->batch = batch;
	b->level = 0;
	he_replier_profile(b->replier, he_profile_begin(&b->profile));
	b->request = malloc(longest + 1);
	b->answer = malloc(FRAME_HEADER + longest + 1);
	if (m->mill && !(b->secrets = calloc(batch + 1, sizeof(*b->secrets))))
		return -1;
	return b->request && b->answer ? 0 : -1;
}

static int on_begin(void *modeller, const struct frame *f, struct err *e)
{
	struct he_modeller *m = modeller;
	struct duo_modeller *duo = &m->duo;
	uint32_t n = duo_modeller_images(duo, f, e);
	struct err why = {0};
	int kept;

	if (!n)
		return -1;
	if (m->mill && n > m->made - duo->next)
		return error_of(e, duo->data_owner,
				"began an inference on tickets up to %u; those below %llu are made",
				duo->next + n - 1, (unsigned long long)m->made);
	kept = duo_modeller_allows(duo, n, &why) && !take_buffers(m, n);
	if (m->mill)
		he_responder_take(m, n, kept);
	duo->lane = duo->next;
	duo->next += m->mill ? n : 1;
	if (kept) {
		duo_modeller_await(duo, 0, m->bench->request, request_bytes(m->bench));
		return 0;
	}
	if (!why.code)
		err_set(&why, ERR_ENV, "the model owner is out of memory for a batch of %u images", n);
	clear(m->bench);
	duo_modeller_refuse(duo, &why);
	return 0;
}

static void run(struct job *job)
{
	struct bench *b = (struct bench *)job;

	b->err = (struct err){0};
	if (b->secrets)
		b->status = he_masked_reply(b->replier, b->secrets, b->level, b->batch, b->request,
					    request_bytes(b), b->answer + FRAME_HEADER, &b->err);
	else
		b->status = he_reply(b->replier, b->known->pk, b->level, b->batch, b->request,
				     request_bytes(b), b->answer + FRAME_HEADER, &b->err);
}

static void answered(struct he_modeller *m)
{
	struct bench *b = m->bench;

	he_profile_job(&b->profile);
	if (m->duo.state != DUO_BUSY)
		return;
	if (b->status) {
		snprintf(b->err.peer, sizeof(b->err.peer), "%s", m->duo.data_owner->name);
		duo_modeller_fail(&m->duo, &b->err, NULL, NULL);
		return;
	}
	he_profile_start(&b->profile);
	duo_modeller_send(&m->duo, b->answer + FRAME_HEADER, answer_bytes(b));
	he_profile_lap(&b->profile, PROFILE_SEND, b->hp, b->level);
	if (++b->level < b->hp->levels) {
		duo_modeller_await(&m->duo, b->level, b->request, request_bytes(b));
		return;
	}
	he_profile_end(&b->profile, b->batch);
	clear(b);
	duo_modeller_enter(&m->duo, DUO_IDLE);
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

static void answer(struct duo_modeller *m)
{
	struct bench *b = ((struct he_modeller *)m)->bench;

	b->busy = 1;
	b->job = (struct job){run, done, 1};
	m->host->submit(m->host->ctx, &b->job);
}

#define IN(state) (1u << DUO_##state)
static const struct legal legal[] = {
    {FRAME_HE_KEY, ROLE_D, IN(KEYS), on_key},
    {FRAME_BEGIN, ROLE_D, IN(IDLE) | IN(SWALLOW), on_begin},
    {FRAME_STEP, ROLE_D, IN(ASKED) | IN(SWALLOW), duo_modeller_step},
    {FRAME_HE_TICKET, ROLE_D, IN(IDLE) | IN(ASKED) | IN(BUSY) | IN(SWALLOW), he_responder_frame},
};

const struct duo_modeller_kind he_modeller_kind = {
    .bytes = sizeof(struct he_modeller),
    .legals = {legal, sizeof(legal) / sizeof(legal[0]), duo_modeller_states},
    .open = open_session,
    .answer = answer,
    .pool = he_modeller_pool,
    .free = free_session,
};
