/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/api_parts.h — private to the HTTP API: api.c knows the paths, api_infer.c takes a request through
 * its steps, api_answer.c writes what came out, api_status.c what the page shows. */
#ifndef OBSCURA_DAEMON_API_PARTS_H
#define OBSCURA_DAEMON_API_PARTS_H

#include "daemon/api.h"
#include "daemon/http.h"
#include "daemon/infer.h"

#define API_MODEL_MAX 128

struct api {
	struct net *net;
	struct data_owner *owner;
	struct decoder *decoder;
	const struct config *config;
	struct http *http;
	struct api_call *calls;
	struct infer_limits limits;
};

/* One infer, metadata or ready under way. */
struct api_call {
	struct job job; /* first: reading a long request */
	struct api_call *next;
	struct api *api;
	struct http_call *http; /* NULL: answered */
	char model[API_MODEL_MAX];
	struct infer_limits limits; /* when it came: a reload may change the API's while a worker reads */
	struct infer q;
	struct err unread; /* why q could not be read */
	/* the model */
	struct err refusal; /* of scores: then the label is asked for, if that will do */
	struct shape want;
	enum nn_resize resize;
	uint32_t classes;
	/* pictures */
	uint8_t *chw; /* owns: q.n × shape_size(want); NULL when q.pixels are used */
	size_t at;    /* the file that is decoded */
	struct decoding *decoding;
};

/* api_infer.c */
void api_infer(struct api *a, struct http_call *http, const char *model);
void api_metadata(struct api *a, struct http_call *http, const char *model);
void api_call_free(struct api_call *c);

/* api_answer.c */
/* Answers c->http. */
void api_answer(struct api_call *c, const Wire__Classified *m);
/* What a model takes and gives. */
void api_describe(struct http_call *http, const char *model, const Wire__Classified *m, int label_only);

/* api_status.c */
void api_status(struct api *a, struct http_call *http);

#endif
