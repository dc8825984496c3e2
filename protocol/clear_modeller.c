/* SPDX-License-Identifier: Apache-2.0 */
/* The model owner's end of a session of the clear personality. Memory is taken when it opens, none for an
 * inference. */
#include "protocol/clear.h"
#include "protocol/duo.h"

#include <stdlib.h>
#include "crypto/ring.h"
#include "crypto/secret.h"

#define INLINE_WORK 16000000u /* multiply-adds, about half a millisecond: more is a worker's */
#define TOGETHER 16	      /* images that go through a layer at once */

/* What a job reads, so that it outlives a session that ends meanwhile. */
struct desk {
	struct job job;		/* first */
	struct duo_modeller *m; /* NULL: the session has gone */
	int busy;
	const struct plan *plan;  /* borrows: of struct served */
	struct clear *clear;	  /* own */
	uint8_t *pixels, *answer; /* the answer has FRAME_HEADER bytes before it */
	int64_t *result;
	size_t batch, batch_max;
};

struct clear_modeller {
	struct duo_modeller duo;
	struct desk *desk;
};

static void desk_drop(struct desk *d)
{
	if (!d)
		return;
	d->m = NULL;
	if (d->busy)
		return;
	clear_free(d->clear);
	if (d->pixels)
		secret_wipe(d->pixels, d->batch_max * shape_size(d->plan->input));
	if (d->result)
		secret_wipe(d->result, d->batch_max * plan_words(d->plan) * sizeof(*d->result));
	free(d->pixels);
	free(d->answer);
	free(d->result);
	free(d);
}

static void free_session(struct duo_modeller *m)
{
	desk_drop(((struct clear_modeller *)m)->desk);
}

/* ---- opening ---- */

static int take_memory(struct duo_modeller *m, struct err *e)
{
	const struct plan *plan = m->served->plan;
	struct desk *d = ((struct clear_modeller *)m)->desk = calloc(1, sizeof(*d));

	if (!d)
		return err_set(e, ERR_ENV, "out of memory for a session");
	d->m = m;
	d->plan = plan;
	d->batch_max = m->batch_max = clear_batch(plan, m->options.max_batch, m->options.pool_bytes);
	if (!d->batch_max)
		return err_set(e, ERR_ENV,
			       "an image of model %s takes %zu bytes, more than pool_memory allows",
			       m->served->name, shape_size(plan->input));
	d->pixels = malloc(d->batch_max * shape_size(plan->input));
	d->answer = malloc(FRAME_HEADER + d->batch_max * clear_bytes(plan));
	d->result = calloc(d->batch_max * plan_words(plan), sizeof(*d->result));
	if (!d->pixels || !d->answer || !d->result)
		return err_set(e, ERR_ENV, "out of memory for %zu images of model %s", d->batch_max,
			       m->served->name);
	return clear_new(&d->clear, m->served->clear, d->batch_max < TOGETHER ? d->batch_max : TOGETHER, e);
}

static int open_session(struct duo_modeller *m, struct err *e)
{
	Wire__Opened opened = WIRE__OPENED__INIT;

	m->state = DUO_IDLE;
	if (!m->options.inline_work)
		m->options.inline_work = INLINE_WORK;
	if (take_memory(m, e))
		return -1;
	opened.max_batch = (uint32_t)m->batch_max;
	opened.lanes = 1;
	return opened_send(m->data_owner, m->session, m->served, &opened, e);
}

/* ---- inferences ---- */

static int on_begin(void *modeller, const struct frame *f, struct err *e)
{
	struct duo_modeller *m = modeller;
	struct desk *d = ((struct clear_modeller *)m)->desk;
	uint32_t n = duo_modeller_images(m, f, e);
	struct err why = {0};
	int allowed;

	if (!n)
		return -1;
	allowed = duo_modeller_allows(m, n, &why);
	m->lane = m->next++;
	d->batch = n;
	if (allowed)
		duo_modeller_await(m, 0, d->pixels, n * shape_size(d->plan->input));
	else
		duo_modeller_refuse(m, &why);
	return 0;
}

static void run(struct job *job)
{
	struct desk *d = (struct desk *)job;
	const struct tape *t = &d->plan->tape;
	unsigned k = t->values[t->rows[t->n_rows - 1].in[0]].k;
	size_t words = plan_words(d->plan), bytes = clear_bytes(d->plan);

	clear_infer(d->clear, d->pixels, d->batch, d->result);
	for (size_t b = 0; b < d->batch; b++)
		ring_pack(d->answer + FRAME_HEADER + b * bytes, (uint64_t *)d->result + b * words, words, k);
}

static void done(struct job *job)
{
	struct desk *d = (struct desk *)job;

	d->busy = 0;
	if (!d->m)
		desk_drop(d);
	else if (d->m->state == DUO_BUSY) {
		duo_modeller_send(d->m, d->answer + FRAME_HEADER, d->batch * clear_bytes(d->plan));
		duo_modeller_enter(d->m, DUO_IDLE);
	}
}

static void answer(struct duo_modeller *m)
{
	struct desk *d = ((struct clear_modeller *)m)->desk;

	d->job = (struct job){run, done, 1};
	d->busy = 1;
	if (clear_work(m->served->clear) * d->batch > m->options.inline_work) {
		m->host->submit(m->host->ctx, &d->job);
		return;
	}
	run(&d->job);
	done(&d->job);
}

#define IN(state) (1u << DUO_##state)
static const struct legal legal[] = {
    {FRAME_BEGIN, ROLE_D, IN(IDLE) | IN(SWALLOW), on_begin},
    {FRAME_STEP, ROLE_D, IN(ASKED) | IN(SWALLOW), duo_modeller_step},
};

const struct duo_modeller_kind clear_modeller_kind = {
    .bytes = sizeof(struct clear_modeller),
    .legals = {legal, sizeof(legal) / sizeof(legal[0]), duo_modeller_states},
    .open = open_session,
    .answer = answer,
    .free = free_session,
};
