/* SPDX-License-Identifier: Apache-2.0 */
/* Opening: OPENED, WEIGHTS, PAIR, PAIRED; at the end the session is ready. */
#include <stdlib.h>
#include <string.h>
#include "protocol/ends.h"
#include "protocol/owner.h"

/* Lengths, and that both use the same provider: with two, the randomness would not fit together. */
static int check_opened(const struct owner *o, const Wire__Opened *in, struct err *e)
{
	if (in->epoch.len != 16 || in->token.len != 16 || in->provider.len != 32 || !in->plan)
		return error_of(e, o->model_owner,
				"opened the session without plan, epoch, token or provider");
	if (!same_bytes(in->provider.data, o->provider->fingerprint, 32))
		return error_of(e, o->model_owner, "uses another crypto provider than we do (%s)",
				o->provider->name);
	if (!in->max_batch || !in->lanes)
		return error_of(e, o->model_owner, "allows no inference (max_batch %u, lanes %u)",
				in->max_batch, in->lanes);
	return 0;
}

static int take_plan(struct owner *o, const Wire__Plan *plan, struct err *e)
{
	if (plan_take(&o->core->plan, plan, o->digest, o->model_owner, e) < 0)
		return -1;
	if (program_new(&o->core->program, &o->core->plan->tape, e) < 0) {
		plan_free(o->core->plan);
		o->core->plan = NULL;
		return err_context(e, "plan of %s", o->model_owner->name);
	}
	core_weigh(o->core, P0);
	return 0;
}

/* The largest batch whose lane and whose tickets both fit the memory that a session may take. */
static int fit_memory(struct owner *o, struct err *e)
{
	const struct program *p = o->core->program;
	uint64_t most = o->options.pool_bytes;

	o->ticket_bytes = 8 * p->ahead + p->delta + 64;
	while (o->batch_max && (o->batch_max > most / o->ticket_bytes || lane_bytes(p, o->batch_max) > most))
		o->batch_max /= 2;
	if (!o->batch_max)
		return err_set(
		    e, ERR_ENV,
		    "one image of model %s takes %llu bytes of tickets and %zu of working memory, more than "
		    "the %llu allowed; raise pool_memory",
		    o->model, (unsigned long long)o->ticket_bytes, lane_bytes(p, 1),
		    (unsigned long long)most);
	return 0;
}

static void send_pair(struct owner *o)
{
	Wire__Pair pair = WIRE__PAIR__INIT;

	pair.token = (ProtobufCBinaryData){16, o->token};
	pair.epoch = (ProtobufCBinaryData){16, o->epoch};
	pair.plan_digest = (ProtobufCBinaryData){32, o->digest};
	pair.peer = (ProtobufCBinaryData){32, o->model_owner->fingerprint};
	pair.model = o->model;
	channel_send_message(o->provider, FRAME_PAIR, o->session, 0, &pair);
}

static int take_opened(void *owner, const Wire__Opened *in, struct err *e)
{
	struct owner *o = owner;

	if (check_opened(o, in, e) < 0 || take_plan(o, in->plan, e) < 0)
		return -1;
	memcpy(o->epoch, in->epoch.data, 16);
	memcpy(o->token, in->token.data, 16);
	o->batch_max = in->max_batch < o->options.max_batch ? in->max_batch : o->options.max_batch;
	if (o->batch_max > (65536 - 20) / 16)
		o->batch_max = (65536 - 20) / 16; /* tags that one BEGIN holds */
	o->lanes = in->lanes < OWNER_LANES ? in->lanes : OWNER_LANES;
	o->weights_bytes = in->weights_bytes;
	if (o->weights_bytes != o->core->program->setup || o->weights_bytes > OWNER_SETUP_MAX)
		return error_of(
		    e, o->model_owner, "announced %llu bytes of masked weights, the plan has %llu",
		    (unsigned long long)o->weights_bytes, (unsigned long long)o->core->program->setup);
	o->mill->weights = malloc(o->weights_bytes + 1);
	if (!o->mill->weights)
		return err_set(e, ERR_ENV, "out of memory for masked weights");
	if (fit_memory(o, e) < 0 || pool_init(o, e) < 0)
		return -1;
	owner_enter(o, OWNER_WEIGHTS);
	send_pair(o);
	if (!o->weights_bytes)
		mill_unmask(o->mill);
	return 0;
}

int owner_opened(void *owner, const struct frame *f, struct err *e)
{
	struct owner *o = owner;

	return opened_read(o, o->model_owner, PERSONALITY_SMPC, f, take_opened, e);
}

int owner_weights(void *owner, const struct frame *f, struct err *e)
{
	struct owner *o = owner;

	if (f->sequence != o->weights_piece || !f->length || f->length > o->weights_bytes - o->weights_got)
		return error_of(e, o->model_owner,
				"sent piece %u of the masked weights (%u bytes) where piece %u of %llu "
				"bytes was due",
				f->sequence, f->length, o->weights_piece,
				(unsigned long long)(o->weights_bytes - o->weights_got));
	memcpy(o->mill->weights + o->weights_got, f->body, f->length);
	o->weights_got += f->length;
	o->weights_piece++;
	o->since_us = o->host->now_us(o->host->ctx);
	if (o->weights_got == o->weights_bytes)
		mill_unmask(o->mill);
	return 0;
}

/* Both halves are here: F and the seed. */
static int enter_ready(struct owner *o, struct err *e)
{
	o->prg = prg_new(o->seed, PRG_TICKET, e);
	o->begin = malloc(FRAME_HEADER + 20 + 16 * o->batch_max);
	if (!o->begin)
		return err_set(e, ERR_ENV, "out of memory for a session");
	if (!o->prg || mill_prepare(o->mill, o->seed, e) < 0)
		return -1;
	secret_free(o->arena);
	o->arena = NULL;
	o->seed = NULL;
	owner_enter(o, OWNER_READY);
	return 0;
}

int owner_unmasked(struct owner *o, struct err *e)
{
	if (o->paired)
		return enter_ready(o, e);
	owner_enter(o, OWNER_PAIRING);
	return 0;
}

int owner_paired(void *owner, const struct frame *f, struct err *e)
{
	struct owner *o = owner;
	Wire__Paired *in = wire__paired__unpack(NULL, f->length, f->body);
	int status = 0;

	if (!in || in->seed.len != PRG_SEED_BYTES)
		status = error_of(e, o->provider, "sent a PAIRED without a seed");
	else if (o->paired)
		status = error_of(e, o->provider, "sent PAIRED twice");
	else
		memcpy(o->seed, in->seed.data, PRG_SEED_BYTES);
	if (in && in->seed.data)
		secret_wipe(in->seed.data, in->seed.len);
	if (in)
		wire__paired__free_unpacked(in, NULL);
	if (status < 0)
		return -1;
	o->paired = 1;
	return o->state == OWNER_PAIRING ? enter_ready(o, e) : 0;
}
