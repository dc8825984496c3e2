/* SPDX-License-Identifier: Apache-2.0 */
/* client/feed.h — where the images of a batch come from: files, standard input, or a work queue. */
#ifndef OBSCURA_CLIENT_FEED_H
#define OBSCURA_CLIENT_FEED_H

#include "client/image.h"

struct feed_item {
	char *name;	    /* owns; unique within a queue */
	struct image image; /* owns; no pixels when it cannot be read: then why says so */
	struct err why;
	void *receipt; /* the source's own, until it is acknowledged or freed */
};

/* One kind of source. All but next may be NULL. */
struct feed_ops {
	/* 1: the next item, 0: no more (a queue: none at the moment), -1. */
	int (*next)(void *ctx, struct feed_item *item, struct err *e);
	/* It is dealt with: it need not come again. */
	int (*acknowledge)(void *ctx, struct feed_item *item, struct err *e);
	/* It was not dealt with: a queue hands it to another worker. */
	void (*give_back)(void *ctx, struct feed_item *item);
	void (*close)(void *ctx);
};
struct feed;

/* SRC of CLI.md, files and standard input. */
int feed_files(struct feed **f, const char *src, uint64_t offset, uint64_t limit, struct err *e) MUST_USE;
/* A work queue (feed_queue.c); borrows q. */
struct queue;
int feed_queue(struct feed **f, struct queue *q, struct err *e) MUST_USE;
/* Of a queue: what an image is known by there. Borrows from the item. */
const char *feed_queue_id(const struct feed *f, const struct feed_item *item);

int feed_next(struct feed *f, struct feed_item *item, struct err *e) MUST_USE;
/* Frees the item too. */
int feed_acknowledge(struct feed *f, struct feed_item *item, struct err *e) MUST_USE;
void feed_give_back(struct feed *f, struct feed_item *item);
void feed_close(struct feed *f);

/* Files only: what tells this source from others; how many images; start over after the first n. */
int feed_identity(const struct feed *f, uint8_t identity[32], struct err *e) MUST_USE;
uint64_t feed_total(const struct feed *f);
int feed_restart(struct feed *f, uint64_t n, struct err *e) MUST_USE;

/* For kinds of source: takes ctx. */
struct feed *feed_new(const struct feed_ops *ops, void *ctx, struct err *e);
void *feed_ctx(const struct feed *f);

#endif
