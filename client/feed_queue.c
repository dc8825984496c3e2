/* SPDX-License-Identifier: Apache-2.0 */
/* Images from a work queue. What a worker has fetched and not acknowledged goes to another after ACK_WAIT_NS.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/feed.h"
#include "client/queue.h"

#define ACK_WAIT_NS ((int64_t)15 * 1000000000)
#define FETCH_MOST 64
#define FETCH_MS 1000
#define AGAIN_MS 2000 /* before what was given back is handed out again */

struct feed_queue {
	struct queue *queue; /* borrows */
	natsSubscription *sub;
	natsMsgList list; /* fetched; those before at are handed out */
	int at;
};

static int fetch(struct feed_queue *f, struct err *e)
{
	jsErrCode code = 0;
	natsStatus s;

	natsMsgList_Destroy(&f->list);
	memset(&f->list, 0, sizeof(f->list));
	f->at = 0;
	s = natsSubscription_Fetch(&f->list, f->sub, FETCH_MOST, FETCH_MS, &code);
	return s == NATS_OK || s == NATS_TIMEOUT ? 0 : queue_fail(f->queue, s, "fetch images", e);
}

const char *feed_queue_id(const struct feed *feed, const struct feed_item *item)
{
	const struct feed_queue *f = feed_ctx(feed);

	return natsMsg_GetSubject(item->receipt) + strlen(f->queue->stream) + strlen(".image.");
}

static int queue_next(void *ctx, struct feed_item *item, struct err *e)
{
	struct feed_queue *f = ctx;
	const char *name = NULL;
	natsMsg *m;

	if (f->at >= f->list.Count && fetch(f, e))
		return -1;
	if (f->at >= f->list.Count)
		return 0;
	m = f->list.Msgs[f->at];
	f->list.Msgs[f->at++] = NULL;
	item->receipt = m;
	if (natsMsgHeader_Get(m, QUEUE_NAME_HEADER, &name) != NATS_OK)
		name = natsMsg_GetSubject(m);
	item->name = strdup(name);
	if (!item->name) {
		natsMsg_Destroy(m);
		return err_set(e, ERR_ENV, "out of memory");
	}
	if (image_decode(&item->image, (const uint8_t *)natsMsg_GetData(m), (size_t)natsMsg_GetDataLength(m),
			 &item->why))
		memset(&item->image, 0, sizeof(item->image));
	return 1;
}

static int queue_acknowledge(void *ctx, struct feed_item *item, struct err *e)
{
	struct feed_queue *f = ctx;
	natsStatus s = natsMsg_Ack(item->receipt, NULL);

	natsMsg_Destroy(item->receipt);
	return s == NATS_OK ? 0 : queue_fail(f->queue, s, "acknowledge an image", e);
}

static void queue_give_back(void *ctx, struct feed_item *item)
{
	natsMsg_NakWithDelay(item->receipt, AGAIN_MS,
			     NULL); /* if this is lost, the wait for the acknowledgement ends */
	natsMsg_Destroy(item->receipt);
}

static void queue_feed_close(void *ctx)
{
	struct feed_queue *f = ctx;

	for (; f->at < f->list.Count; f->at++)
		natsMsg_Nak(f->list.Msgs[f->at], NULL);
	natsMsgList_Destroy(&f->list);
	natsSubscription_Destroy(f->sub);
	free(f);
}

int feed_queue(struct feed **feed, struct queue *q, struct err *e)
{
	static const struct feed_ops ops = {queue_next, queue_acknowledge, queue_give_back, queue_feed_close};
	struct feed_queue *f = calloc(1, sizeof(*f));
	jsSubOptions options;
	jsErrCode code = 0;
	char subject[64];
	natsStatus s;

	*feed = NULL;
	if (!f)
		return err_set(e, ERR_ENV, "out of memory");
	f->queue = q;
	snprintf(subject, sizeof(subject), "%s.image.>", q->stream);
	jsSubOptions_Init(&options);
	options.Stream = q->stream;
	options.Config.AckPolicy = js_AckExplicit;
	options.Config.AckWait = ACK_WAIT_NS;
	options.Config.MaxAckPending = 100000;
	s = js_PullSubscribe(&f->sub, q->js, subject, QUEUE_CONSUMER, NULL, &options, &code);
	if (s != NATS_OK)
		queue_fail(q, s, "subscribe", e);
	else
		*feed = feed_new(&ops, f, e);
	if (*feed)
		return 0;
	queue_feed_close(f);
	return -1;
}
