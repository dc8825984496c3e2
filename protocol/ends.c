/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/ends.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/* ---- opening ---- */

void open_send(struct channel *model_owner, uint16_t session, const struct owner_options *options)
{
	Wire__Open open = WIRE__OPEN__INIT;
	char *personalities[] = {(char *)(uintptr_t)personality_name(options->personality)};

	open.model = (char *)(uintptr_t)options->model;
	open.personalities = personalities;
	open.n_personalities = 1;
	open.optimise = options->optimise;
	open.reveal = options->reveal;
	open.max_batch = options->max_batch;
	open.he_offline = options->personality == PERSONALITY_HE && options->he_offline;
	channel_send_message(model_owner, FRAME_OPEN, session, 0, &open);
}

int opened_send(struct channel *data_owner, uint16_t session, const struct served *served,
		Wire__Opened *opened, struct err *e)
{
	opened->plan = wire__plan__unpack(NULL, served->plan_bytes, served->plan_packed);
	if (!opened->plan)
		return err_set(e, ERR_ENV, "out of memory for a plan");
	opened->epoch = (ProtobufCBinaryData){16, (uint8_t *)(uintptr_t)served->epoch};
	opened->personality = (char *)(uintptr_t)personality_name(served->personality);
	channel_send_message(data_owner, FRAME_OPENED, session, 0, opened);
	wire__plan__free_unpacked(opened->plan, NULL);
	opened->plan = NULL;
	return 0;
}

int opened_read(void *owner, const struct channel *model_owner, enum personality p, const struct frame *f,
		int (*take)(void *owner, const Wire__Opened *in, struct err *e), struct err *e)
{
	Wire__Opened *in = wire__opened__unpack(NULL, f->length, f->body);
	int status;

	if (!in)
		return error_of(e, model_owner, "sent an OPENED that is not a message of wire.proto");
	if (strcmp(in->personality, personality_name(p)) != 0)
		status = error_of(e, model_owner, "opened a session of another personality than %s",
				  personality_name(p));
	else
		status = take(owner, in, e);
	wire__opened__free_unpacked(in, NULL);
	return status;
}

int plan_take(struct plan **plan, const Wire__Plan *in, uint8_t digest[32], const struct channel *from,
	      struct err *e)
{
	size_t bytes = wire__plan__get_packed_size(in);
	uint8_t *packed = malloc(bytes + 1);
	int status;

	if (!packed)
		return err_set(e, ERR_ENV, "out of memory for a plan");
	wire__plan__pack(in, packed);
	if (digest)
		crypto_hash_sha256(digest, packed, bytes);
	status = plan_unpack(plan, packed, bytes, e);
	free(packed);
	return status < 0 ? err_context(e, "%s", from->name) : 0;
}

/* ---- inferences ---- */

void begin_write(uint8_t out[BEGIN_BYTES], const uint8_t epoch[16], size_t images)
{
	memcpy(out, epoch, 16);
	for (int b = 0; b < 4; b++)
		out[16 + b] = (uint8_t)(images >> (8 * b));
}

uint32_t begin_images(const uint8_t body[BEGIN_BYTES])
{
	return body[16] | (uint32_t)body[17] << 8 | (uint32_t)body[18] << 16 | (uint32_t)body[19] << 24;
}

int use_allowed(const struct modeller_options *options, const struct served *served,
		const struct channel *data_owner, const uint8_t token[16], uint32_t first, uint32_t n,
		struct err *why)
{
	const struct rules *rules = options->rules;
	struct use use = {.data_owner = data_owner,
			  .model = served->name,
			  .reveal = served->plan->reveal,
			  .session = token,
			  .first = first,
			  .n = n,
			  .whole = 1};

	return !rules || rules->take(rules->ctx, &use, why) == n;
}

int piece_take(uint8_t *message, size_t *got, size_t bytes, const struct frame *f)
{
	size_t left = bytes - *got;
	int more = f->flags & FRAME_MORE;

	if (more ? !f->length || f->length >= left : f->length != left)
		return -1;
	memcpy(message + *got, f->body, f->length);
	*got += f->length;
	return !more;
}

void inference_push(struct inference **head, struct inference **tail, struct inference *i)
{
	i->next = NULL;
	if (*tail)
		(*tail)->next = i;
	else
		*head = i;
	*tail = i;
}

struct inference *inference_pop(struct inference **head, struct inference **tail)
{
	struct inference *i = *head;

	*head = i->next;
	if (!*head)
		*tail = NULL;
	i->next = NULL;
	return i;
}

void inference_tell(struct inference *i, const struct err *why)
{
	if (why->code && !i->memory) {
		free(i->result);
		free(i->masked);
		free(i->times);
	}
	if (why->code) {
		i->result = NULL;
		i->masked = NULL;
		i->times = NULL;
	}
	i->err = *why;
	i->done(i);
}

/* ---- events ---- */

int frame_handle(void *end, const struct legals *legals, unsigned state, const struct channel *from,
		 const struct frame *f, int *leaving, const struct channel **told, struct err *why)
{
	const struct legal *row;

	*told = f->type == FRAME_ERROR || f->type == FRAME_CLOSE ? from : NULL;
	if (f->type == FRAME_ERROR)
		return error_read(why, from, f);
	if (f->type == FRAME_CLOSE && !leaving) {
		err_set(why, ERR_NONE, "%s closed the session", from->name);
		return -1;
	}
	if (f->type == FRAME_CLOSE && !(f->flags & FRAME_LATER))
		return error_of(why, from, "closed the session");
	if (f->type == FRAME_CLOSE) {
		*leaving = 1;
		return 0;
	}
	row = legal_find(legals->rows, legals->n, from, f, state, legals->states[state], why);
	if (row && row->handle(end, f, why) >= 0)
		return 0;
	return error_blame(why, from);
}

/* ---- the end ---- */

void close_send(struct channel *c, uint16_t session, uint8_t flags)
{
	struct frame f = {.type = FRAME_CLOSE, .flags = flags, .session = session};

	c->ops->send(c, &f);
	c->ops->flush(c);
}

void end_send(struct channel *c, uint16_t session, const struct err *why, const char *step)
{
	if (why->code)
		channel_send_error(c, session, why, step);
	else
		close_send(c, session, 0);
}
