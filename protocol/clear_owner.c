/* SPDX-License-Identifier: Apache-2.0 */
/* The data owner's end of a session of the clear personality. */
#include "protocol/clear.h"
#include "protocol/duo.h"

#include <stdlib.h>
#include <string.h>
#include "crypto/ring.h"

struct clear_owner {
	struct duo_owner duo;
	uint8_t *answer; /* owns; of batch_max images */
};

void clear_predict(struct program *predicted, const struct plan *plan)
{
	*predicted = (struct program){.tape = &plan->tape, .round_trips = 1, .n_messages = 2};
	predicted->online[P0] = shape_size(plan->input);
	predicted->online[P1] = clear_bytes(plan);
}

size_t clear_batch(const struct plan *plan, size_t most, uint64_t bytes)
{
	uint64_t fit = bytes / (shape_size(plan->input) + clear_bytes(plan));

	return fit < most ? (size_t)fit : most;
}

/* ---- opening ---- */

static int take_opened(void *owner, const Wire__Opened *in, struct err *e)
{
	struct clear_owner *c = owner;
	struct duo_owner *o = &c->duo;

	if (in->epoch.len != 16 || !in->plan || !in->max_batch)
		return error_of(e, o->model_owner, "opened the session without plan, epoch or batch");
	memcpy(o->epoch, in->epoch.data, 16);
	if (plan_take(&o->plan, in->plan, NULL, o->model_owner, e))
		return -1;
	clear_predict(&o->predicted, o->plan);
	o->batch_max = o->options.max_batch < in->max_batch ? o->options.max_batch : in->max_batch;
	o->batch_max = clear_batch(o->plan, o->batch_max, o->options.pool_bytes);
	c->answer = malloc(o->batch_max * o->predicted.online[P1] + 1);
	if (!o->batch_max || !c->answer)
		return err_set(e, ERR_ENV, "out of memory for an image of model %s", o->model);
	o->state = OWNER_READY;
	return 0;
}

static int on_opened(void *owner, const struct frame *f, struct err *e)
{
	const struct duo_owner *o = owner;

	return opened_read(owner, o->model_owner, PERSONALITY_CLEAR, f, take_opened, e);
}

/* ---- inferences ---- */

/* What the model owner will see is what there is. */
static void keep_view(struct inference *i, size_t pixels)
{
	if (!i->views || i->begun)
		return;
	i->masked = i->memory ? i->memory(i, pixels) : malloc(pixels);
	if (i->masked)
		memcpy(i->masked, i->pixels, pixels);
}

static void send_pixels(struct duo_owner *o, const uint8_t *pixels, size_t bytes)
{
	struct frame f = {.type = FRAME_STEP, .session = o->session, .lane = o->lane};

	for (; bytes; bytes -= f.length, pixels += f.length) {
		f.length = bytes < FRAME_BODY_MAX ? (uint32_t)bytes : FRAME_BODY_MAX;
		f.flags = f.length < bytes ? FRAME_MORE : 0;
		f.body = pixels;
		o->model_owner->ops->send(o->model_owner, &f);
	}
	o->model_owner->ops->flush(o->model_owner);
}

static void work(struct duo_owner *o)
{
	uint8_t *answer = ((struct clear_owner *)o)->answer;
	const uint8_t *pixels;
	size_t image, left;

	while (o->state == OWNER_READY && !o->part && o->head) {
		if (duo_owner_results(o))
			continue;
		image = shape_size(o->plan->input);
		keep_view(o->head, o->head->batch * image);
		left = o->head->batch - o->head->begun;
		pixels = duo_owner_part(o, left < o->batch_max ? left : o->batch_max);
		duo_owner_begin(o);
		send_pixels(o, pixels, o->part * image);
		duo_owner_wait(o, 0, o->part * image, answer, o->part * o->predicted.online[P1]);
	}
}

static void answered(struct duo_owner *o)
{
	const struct tape *t = &o->plan->tape;
	const struct row *last = &t->rows[t->n_rows - 1];
	size_t words = plan_words(o->plan);

	for (size_t b = 0; b < o->part; b++) {
		int64_t *y = o->head->result + (o->head->finished + b) * words;

		ring_unpack((uint64_t *)y, o->answer + b * o->predicted.online[P1], words,
			    t->values[last->in[0]].k);
		for (size_t j = 0; j < words; j++)
			y[j] = ring_signed((uint64_t)y[j], t->values[last->out].k);
	}
	duo_owner_done(o);
}

static void over(struct duo_owner *o)
{
	o->lane++;
}

static void free_session(struct duo_owner *o)
{
	plan_free(o->plan);
	free(((struct clear_owner *)o)->answer);
}

#define IN(state) (1u << OWNER_##state)
static const struct legal legal[] = {
    {FRAME_OPENED, ROLE_M, IN(OPENING), on_opened},
    {FRAME_STEP, ROLE_M, IN(READY), duo_owner_step},
    {FRAME_ABORT, ROLE_M, IN(READY), duo_owner_abort},
};

const struct duo_owner_kind clear_owner_kind = {
    .bytes = sizeof(struct clear_owner),
    .legals = {legal, sizeof(legal) / sizeof(legal[0]), duo_owner_states},
    .work = work,
    .answered = answered,
    .over = over,
    .free = free_session,
};
