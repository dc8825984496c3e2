/* SPDX-License-Identifier: Apache-2.0 */
/* client/queue.h — a work queue on NATS JetStream: images go in under STREAM.image.ID, each is handed to one
 * worker until it is acknowledged, and its result is stored under STREAM.result.ID, once.
 *
 * Delivery is at least once. That a result is there once rests on the stream of results: it keeps one message
 * a subject and refuses a second (and Nats-Msg-Id says the same). */
#ifndef OBSCURA_CLIENT_QUEUE_H
#define OBSCURA_CLIENT_QUEUE_H

#include <nats/nats.h>

#include "conf/config.h"

#define QUEUE_NAME_HEADER "Obscura-Image"
#define QUEUE_CONSUMER "workers" /* one for all of them */

struct queue {
	natsConnection *nc;
	jsCtx *js;
	char stream[40], results[48]; /* names of the two streams */
	char server[300];	      /* for messages: without user and password */
};

/* url: nats://[USER:PASSWORD@]HOST[:PORT]/STREAM; tls:// for TLS with ca, certificate and key of config.
 * Makes the streams if there are none. */
int queue_open(struct queue *q, const char *url, const struct config *config, struct err *e) MUST_USE;
int queue_is_url(const char *text);
void queue_close(struct queue *q);

/* 1: stored, 0: there is one already, -1. name may be NULL. */
int queue_publish(struct queue *q, const char *kind, const char *id, const char *name, const void *bytes,
		  size_t n, struct err *e) MUST_USE;
/* Images that wait or are with a worker. */
int queue_waiting(struct queue *q, uint64_t *n, struct err *e) MUST_USE;
/* What NATS says of a failure: ERR_REACH when the server is away, else ERR_PEER. */
int queue_fail(const struct queue *q, natsStatus s, const char *what, struct err *e);

#endif
