/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/http.h — a small HTTP/1.1 server on libevent's evhttp: Unix sockets and TCP, limits, a bearer token.
 * Every byte that comes is hostile; every limit is kept before memory is taken. */
#ifndef OBSCURA_DAEMON_HTTP_H
#define OBSCURA_DAEMON_HTTP_H

#include <event2/event.h>
#include <json-c/json.h>
#include "conf/err.h"

#define HTTP_ERROR_MAX 700 /* bytes of a reason */

struct http;
/* One request, from its last byte to its answer. The client may be gone before that. */
struct http_call;

struct http_limits {
	size_t body;	      /* bytes */
	unsigned connections; /* at once; others wait to be accepted */
	uint64_t idle_us;     /* for a request to arrive completely, and for its answer to be read */
};
/* Answers now or later, with one of http_reply…, once. */
typedef void (*http_handler)(void *ctx, struct http_call *c);

int http_new(struct http **h, struct event_base *base, const struct http_limits *limits, http_handler handler,
	     void *ctx, struct err *e) MUST_USE;
/* Other limits, from the next request or connection on. */
void http_limit(struct http *h, const struct http_limits *limits);
/* option: the name of the option that named the path or address, for messages. */
int http_listen_unix(struct http *h, const char *path, const char *option, struct err *e) MUST_USE;
/* Without a token (http_token) only loopback addresses are accepted. */
int http_listen(struct http *h, const char *address, const char *option, struct err *e) MUST_USE;
/* Requests on TCP must carry the token in this file: one line, 16 to 512 characters, readable by nobody else.
 */
int http_token(struct http *h, const char *file, struct err *e) MUST_USE;
/* Told of each answer: its status. */
void http_count(struct http *h, void (*answered)(void *ctx, int status));
/* Nothing is accepted any more. */
void http_stop(struct http *h);
/* Calls that wait are dropped: nobody may answer them any more. NULL is allowed. */
void http_free(struct http *h);

enum http_method { HTTP_GET, HTTP_POST, HTTP_OTHER };
enum http_method http_method(const struct http_call *c);
/* "/v2/models/a%20b": as it came, without the query; starts with '/'. */
const char *http_path(const struct http_call *c);
const char *http_header(const struct http_call *c, const char *name); /* NULL: there is none */
/* The body in one piece, borrowed until the call is answered. */
const uint8_t *http_body(const struct http_call *c, size_t *n);
/* Whether the token is there, or none is needed. */
int http_trusted(const struct http_call *c);
/* Likewise. If not, 401 has been sent and the call is over. */
int http_authorised(struct http_call *c);

/* Header of the answer, before it is sent. */
void http_set(struct http_call *c, const char *name, const char *value);
/* Each ends the call. */
void http_reply(struct http_call *c, int status, const char *type, const void *bytes, size_t n);
void http_reply_json(struct http_call *c, int status, struct json_object *o); /* takes o */
/* {"error":"…"}, the error form of the Open Inference Protocol. */
void http_refuse(struct http_call *c, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same with the status that fits the error's code. */
void http_refuse_err(struct http_call *c, const struct err *e);

#endif
