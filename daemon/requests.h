/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/requests.h — private to the data owner: requests from their images to their answers, and batches of
 * them. */
#ifndef OBSCURA_DAEMON_REQUESTS_H
#define OBSCURA_DAEMON_REQUESTS_H

#include "daemon/data_owner.h"
#include "daemon/memory.h"

struct entry;

struct request {
	struct request *next;  /* in its entry or its batch */
	struct memory *memory; /* owns: the request itself, its pixels, its batch, its answers */
	uint8_t *pixels;       /* images × image_bytes */
	size_t images, image_bytes;
	int describe, views, answered;
	data_owner_reply reply;
	void *ctx;
	uint64_t asked_us, deadline_us, ready_us; /* ready: the session was there */
	uint8_t *packed;			  /* of an enclave: the question as it is sent */
	size_t packed_bytes;
	unsigned tries;
	size_t *total; /* borrows: pixels of all requests, which this one's are part of */
};

/* Requests that share the messages of one inference. */
struct group {
	struct group *next; /* in its entry */
	struct inference inference;
	struct entry *entry;
	struct request *requests; /* owns; the group lies in the first one's memory */
	size_t images;
	struct conn_wire before[2];		  /* model owner's and provider's connection when it began */
	struct counted wire_online, wire_offline; /* what TLS put on the sockets for it: owner_wire */
};

/* Copies the images; NULL with e when they are not of one size, or memory is short. */
struct request *request_new(struct memory_pool *pool, const Wire__Classify *classify, uint64_t now_us,
			    uint64_t deadline_ms, size_t *total, struct err *e);
void request_free(struct request *r); /* wipes; NULL is allowed */

/* Answers, once; later calls do nothing. */
void request_answer(struct request *r, const Wire__Classified *m);
void request_refuse(struct request *r, const struct err *e);
void request_describe(struct request *r, const char *model, const struct plan *plan,
		      const struct program *program, enum personality personality);

/* Takes the requests (a list; of one image size): their images in one piece. NULL with e; they remain the
 * caller's then. */
struct group *group_new(struct request *requests, struct err *e);
void group_free(struct group *g); /* its requests too; wipes */
/* The inference is done. */
void group_answer(struct group *g, const char *model, const struct plan *plan, const struct program *program,
		  enum personality personality, uint64_t now_us);
void group_refuse(struct group *g, const struct err *e);

#endif
