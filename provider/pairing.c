/* SPDX-License-Identifier: Apache-2.0 */
/* Two parties are brought together only if each named the other's certificate, under one token, for one plan
 * and epoch. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include "conf/text.h"
#include "protocol/ends.h"
#include "provider/parts.h"
#include "wire.pb-c.h"

#define OF_ONE_LEAST 8 /* sessions that any single peer may have */

struct end *end_find(const struct provider *p, const struct channel *c, uint16_t session)
{
	struct end *end = p->ends;

	while (end && (end->channel != c || end->session != session))
		end = end->next;
	return end;
}

/* ---- the end of a session ---- */
static void end_free(struct provider *p, struct end *end)
{
	struct end **at = &p->ends;

	while (*at && *at != end)
		at = &(*at)->next;
	if (*at)
		*at = end->next;
	if (end->plan)
		plan_free(end->plan);
	secret_free(end->arena);
	free(end);
}

static void end_tell(struct end *end, const struct err *why, const struct channel *told)
{
	if (end->channel != told)
		end_send(end->channel, end->session, why, end->pairing ? "at the provider" : "pairing");
}

void pairing_destroy(struct pairing *x)
{
	if (x->dealer)
		dealer_free(x->dealer);
	mask_unref(x->mask);
	secret_free(x->arena);
	free(x->buffers);
	free(x->corrections);
	free(x->tags);
	free(x->report);
	free(x);
}

static void pairing_end(struct provider *p, struct pairing *x, const struct err *why)
{
	struct pairing **at = &p->pairings;

	while (*at && *at != x)
		at = &(*at)->next;
	if (*at)
		*at = x->next;
	host_log(p->host, why->code ? LOG_WARNING : LOG_INFO,
		 "session of %s and %s ends after %llu tickets%s%s", x->data_owner->channel->name,
		 x->model_owner->channel->name, (unsigned long long)x->next_ticket, why->text[0] ? ": " : "",
		 why->text);
	x->over = 1;
	if (!x->busy)
		pairing_destroy(x);
}

void end_session(struct provider *p, struct end *end, const struct err *why, const struct channel *told)
{
	struct pairing *x = end->pairing;
	struct end *other = NULL;

	if (x) {
		other = x->data_owner == end ? x->model_owner : x->data_owner;
		end_tell(other, why, told);
	}
	end_tell(end, why, told);
	if (x)
		pairing_end(p, x, why);
	else if (why->code)
		host_log(p->host, LOG_WARNING, "%s: not paired: %s", end->channel->name, why->text);
	if (other)
		end_free(p, other);
	end_free(p, end);
}

/* ---- reading PAIR ---- */
static int quota(const struct provider *p, const struct channel *from, struct err *e)
{
	uint64_t of_one = p->options.sessions / 4 > OF_ONE_LEAST ? p->options.sessions / 4 : OF_ONE_LEAST;
	uint64_t all = 0, own = 0;

	for (const struct end *end = p->ends; end; end = end->next) {
		all++;
		own += same_bytes(end->channel->key, from->key, 32);
	}
	if (own >= of_one)
		return error_of(e, from,
				"has %llu sessions at this provider, no more are allowed to one peer",
				(unsigned long long)own);
	if (all >= 2 * (uint64_t)p->options.sessions)
		return err_set(e, ERR_PEER, "the provider has all the %u sessions that it allows",
			       p->options.sessions);
	return 0;
}

static int check_names(const struct channel *from, const Wire__Pair *in, struct err *e)
{
	if (in->token.len != 16 || in->epoch.len != 16 || in->plan_digest.len != 32 || in->peer.len != 32)
		return error_of(e, from, "sent a PAIR without token, epoch, plan digest or peer");
	if (same_bytes(in->peer.data, from->fingerprint, 32))
		return error_of(e, from, "names its own certificate as the other party");
	if (same_bytes(in->peer.data, from->self_fingerprint, 32) ||
	    same_bytes(from->fingerprint, from->self_fingerprint, 32))
		return error_of(e, from, "would have the provider be a party of the session");
	if (from->peer != ROLE_M && (in->plan || in->weight_seed.len))
		return error_of(e, from, "sent a plan or a weight seed; only the model owner does");
	if (from->peer == ROLE_M && (!in->plan || in->weight_seed.len != PRG_SEED_BYTES))
		return error_of(e, from, "sent a PAIR without plan or weight seed");
	return 0;
}

static int take_plan(struct end *end, const Wire__Pair *in, struct err *e)
{
	size_t bytes = wire__plan__get_packed_size(in->plan);
	uint8_t *packed = malloc(bytes + 1), digest[32];
	int status;

	end->arena = secret_new(PRG_SEED_BYTES, NULL);
	end->seed = end->arena ? secret_take(end->arena, PRG_SEED_BYTES) : NULL;
	if (!packed || !end->seed) {
		free(packed);
		return err_set(e, ERR_ENV, "the provider is out of memory");
	}
	memcpy(end->seed, in->weight_seed.data, PRG_SEED_BYTES);
	wire__plan__pack(in->plan, packed);
	crypto_hash_sha256(digest, packed, bytes);
	if (same_bytes(digest, end->digest, 32))
		status = plan_unpack(&end->plan, packed, bytes, e);
	else
		status = error_of(e, end->channel, "sent a plan with another digest than it says");
	free(packed);
	return status;
}

static int end_fill(struct end *end, const struct frame *f, const Wire__Pair *in, struct err *e)
{
	end->session = f->session;
	end->role = end->channel->peer;
	memcpy(end->token, in->token.data, 16);
	memcpy(end->epoch, in->epoch.data, 16);
	memcpy(end->digest, in->plan_digest.data, 32);
	memcpy(end->peer, in->peer.data, 32);
	snprintf(end->model, sizeof(end->model), "%s", in->model);
	text_clean(end->model);
	return in->plan ? take_plan(end, in, e) : 0;
}

/* ---- bringing two together ---- */
static int names(const struct end *a, const struct end *b)
{
	return same_bytes(a->peer, b->channel->fingerprint, 32);
}

/* The end that waits for this one; NULL without error when it has not come yet. */
static struct end *other_end(const struct provider *p, const struct end *end, struct err *e)
{
	int other_certificate = 0;

	for (struct end *o = p->ends; o; o = o->next) {
		if (o == end || o->pairing || o->role == end->role || !same_bytes(o->token, end->token, 16))
			continue;
		if (names(o, end) && names(end, o))
			return o;
		other_certificate = 1;
	}
	if (other_certificate)
		error_of(e, end->channel,
			 "is not the party that the other one named, or named another one itself");
	return NULL;
}

static int agree(const struct end *a, const struct end *b, struct err *e)
{
	if (!same_bytes(a->epoch, b->epoch, 16))
		return err_set(e, ERR_PEER, "%s and %s named different epochs", a->channel->name,
			       b->channel->name);
	if (!same_bytes(a->digest, b->digest, 32))
		return err_set(e, ERR_PEER, "%s and %s named different plans", a->channel->name,
			       b->channel->name);
	return 0;
}

static void send_paired(struct end *end, const uint8_t *seed)
{
	Wire__Paired paired = WIRE__PAIRED__INIT;

	paired.seed = (ProtobufCBinaryData){PRG_SEED_BYTES, (uint8_t *)(uintptr_t)seed};
	channel_send_message(end->channel, FRAME_PAIRED, end->session, 0, &paired);
}

/* The mask is there: fresh seeds for both, and tickets may be asked for. */
static int pairing_start(struct provider *p, struct pairing *x, struct err *e)
{
	struct secret *arena = secret_new(2 * PRG_SEED_BYTES + 64, NULL);
	uint8_t *p0, *p1;
	int status;

	if (!arena)
		return err_set(e, ERR_ENV, "the provider is out of memory");
	p0 = secret_take(arena, PRG_SEED_BYTES);
	p1 = secret_take(arena, PRG_SEED_BYTES);
	prg_seed(p0);
	prg_seed(p1);
	status = tickets_prepare(x, p0, p1, e);
	if (status == 0) {
		x->live = 1;
		send_paired(x->data_owner, p0);
		send_paired(x->model_owner, p1);
		host_log(p->host, LOG_INFO, "paired %s with %s, model %s", x->data_owner->channel->name,
			 x->model_owner->channel->name, x->model_owner->model);
	}
	secret_free(arena);
	return status;
}

void pairing_masked(struct provider *p, struct mask *mask)
{
	struct pairing *x = p->pairings;

	while (x) {
		struct err why = mask->err;

		if (x->mask != mask || x->live) {
			x = x->next;
			continue;
		}
		if (mask->layers && pairing_start(p, x, &why) == 0)
			continue;
		end_session(p, x->data_owner, &why, NULL);
		x = p->pairings; /* the list has changed */
	}
}

struct use use_of(const struct end *data_owner, const struct end *model_owner)
{
	return (struct use){.data_owner = data_owner->channel,
			    .model_owner = model_owner->channel,
			    .model = model_owner->model,
			    .session = model_owner->token};
}

static int may_open(const struct provider *p, const struct end *a, const struct end *b, struct err *e)
{
	const struct rules *rules = p->options.rules;
	struct use use = a->role == ROLE_M ? use_of(b, a) : use_of(a, b);

	return rules ? rules->open(rules->ctx, &use, e) : 0;
}

static int bring_together(struct provider *p, struct end *a, struct end *b, struct err *e)
{
	struct pairing *x, **at = &p->pairings;
	struct mask *mask;

	if (agree(a, b, e) < 0 || may_open(p, a, b, e) < 0 ||
	    mask_get(p, &mask, a->role == ROLE_M ? a : b, e) < 0)
		return -1;
	x = calloc(1, sizeof(*x));
	if (!x) {
		mask_unref(mask);
		return err_set(e, ERR_ENV, "the provider is out of memory");
	}
	x->provider = p;
	x->mask = mask;
	x->data_owner = a->role == ROLE_M ? b : a;
	x->model_owner = a->role == ROLE_M ? a : b;
	a->pairing = b->pairing = x;
	while (*at)
		at = &(*at)->next;
	*at = x;
	return mask->busy ? 0 : pairing_start(p, x, e);
}

static int add_end(struct provider *p, struct channel *from, const struct frame *f, const Wire__Pair *in,
		   struct err *e)
{
	struct end *end = calloc(1, sizeof(*end)), *other;
	struct err why = {0};

	if (!end)
		return err_set(e, ERR_ENV, "the provider is out of memory");
	end->channel = from;
	end->since_us = provider_now(p);
	end->next = p->ends;
	p->ends = end;
	if (end_fill(end, f, in, &why) < 0)
		goto refuse;
	other = other_end(p, end, &why);
	if (why.code)
		goto refuse;
	if (!other || bring_together(p, end, other, &why) == 0)
		return 0;
	/* Two that named each other but do not agree: neither will ever be paired. */
	if (!end->pairing)
		end_session(p, other, &why, NULL);
refuse:
	*e = why;
	end_session(p, end, &why, NULL);
	return -1;
}

int pair_frame(struct provider *p, struct channel *from, const struct frame *f, struct err *e)
{
	Wire__Pair *in = wire__pair__unpack(NULL, f->length, f->body);
	struct end *known = end_find(p, from, f->session);
	int status;

	if (known) {
		status = error_of(e, from, "sent PAIR twice in session %u", f->session);
		end_session(p, known, e, NULL);
	} else if (!in) {
		status = error_of(e, from, "sent a PAIR that is not a message of wire.proto");
		channel_send_error(from, f->session, e, "pairing");
	} else if (!f->session || check_names(from, in, e) < 0 || quota(p, from, e) < 0) {
		status = error_of(e, from, "sent a PAIR without a session");
		channel_send_error(from, f->session, e, "pairing");
	} else {
		status = add_end(p, from, f, in, e);
	}
	if (in && in->weight_seed.data)
		secret_wipe(in->weight_seed.data, in->weight_seed.len);
	if (in)
		wire__pair__free_unpacked(in, NULL);
	return status;
}
