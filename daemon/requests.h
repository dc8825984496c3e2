/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/requests.h — private to the data owner: one request from its images to its answer. */
#ifndef OBSCURA_DAEMON_REQUESTS_H
#define OBSCURA_DAEMON_REQUESTS_H

#include "daemon/data_owner.h"

struct entry;

struct request {
	struct request *next; /* in its entry: waiting or running */
	struct entry *entry;
	uint8_t *pixels; /* owns: images × image_bytes */
	size_t images, image_bytes;
	int describe, running, answered;
	data_owner_reply reply;
	void *ctx;
	uint64_t asked_us, deadline_us, ready_us;
	struct inference inference;
	uint64_t wire[2][2]; /* at the start: [model owner, provider][sent, received] */
};

/* Copies the images; NULL with e when they are not of one size, or memory is short. */
struct request *request_new(const Wire__Classify *classify, uint64_t now_us, uint64_t deadline_ms, struct err *e);
void request_free(struct request *r); /* wipes */

/* Answers, once; later calls do nothing. */
void request_refuse(struct request *r, const struct err *e);
void request_describe(struct request *r, const char *model, const struct plan *plan, const struct program *program);
/* The inference is done. wire: as above, now. */
void request_answer(struct request *r, const char *model, const struct plan *plan, const struct program *program, uint64_t wire[2][2]);

#endif
