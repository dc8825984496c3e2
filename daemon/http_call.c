/* SPDX-License-Identifier: Apache-2.0 */
/* One request and its answer. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

#include <event2/buffer.h>
#include <event2/keyvalq_struct.h>
#include <sodium.h>

#include "daemon/http_parts.h"
#include "daemon/json.h"
#include "daemon/net_parts.h"

static const struct {
	int status;
	const char *reason;
} reasons[] = {
    {200, "OK"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {413, "Content Too Large"},
    {415, "Unsupported Media Type"},
    {500, "Internal Server Error"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
};

/* ---- the request ---- */

static struct http_link *link_of(const struct http *h, struct evhttp_request *req)
{
	struct evhttp_connection *connection = evhttp_request_get_connection(req);
	struct bufferevent *bev = evhttp_connection_get_bufferevent(connection);
	struct http_link *l = h->links;

	while (l && l->bev != bev)
		l = l->next;
	return l;
}

/* What another reader on the way might understand otherwise: where the request ends, or whom it is for. */
static int is_ambiguous(const struct http_call *c)
{
	unsigned hosts = 0, lengths = 0, codings = 0, unknown = 0;
	struct evkeyval *h;

	TAILQ_FOREACH(h, evhttp_request_get_input_headers(c->req), next)
	{
		int coding = !strcasecmp(h->key, "Transfer-Encoding");

		hosts += !strcasecmp(h->key, "Host");
		lengths += !strcasecmp(h->key, "Content-Length");
		codings += coding;
		unknown += coding && strcasecmp(h->value, "chunked");
	}
	return hosts > 1 || lengths + codings > 1 || unknown;
}

/* To these a peer expects no body, whatever the status. */
static int has_no_body(const struct http_call *c)
{
	enum evhttp_cmd_type command = evhttp_request_get_command(c->req);

	return command == EVHTTP_REQ_HEAD || command == EVHTTP_REQ_CONNECT;
}

static void begin(struct http_call *c)
{
	size_t n = evbuffer_get_length(evhttp_request_get_input_buffer(c->req));

	if (is_ambiguous(c)) {
		http_set(c, "Connection", "close"); /* what follows may be anything */
		http_refuse(
		    c, 400,
		    "the request says twice how long it is or whom it is for, or in an unknown coding");
		return;
	}
	if (http_foreign(c))
		return;
	if (n > c->http->limits.body)
		http_refuse(c, 413, "the body has %zu bytes; %zu are allowed (http_body_mib)", n,
			    c->http->limits.body);
	else if (!http_path(c))
		http_refuse(c, 400, "the address cannot be read");
	else
		c->http->handler(c->http->ctx, c);
}

void http_on_request(struct evhttp_request *req, void *port)
{
	struct http_port *p = port;
	struct http_call *c = calloc(1, sizeof(*c));

	if (!c) {
		evhttp_send_error(req, 503, NULL);
		return;
	}
	*c = (struct http_call){.next = p->http->calls, .http = p->http, .port = p, .req = req};
	p->http->calls = c;
	c->link = link_of(p->http, req);
	if (c->link)
		c->link->serving++;
	begin(c);
}

enum http_method http_method(const struct http_call *c)
{
	switch (evhttp_request_get_command(c->req)) {
	case EVHTTP_REQ_GET:
	case EVHTTP_REQ_HEAD:
		return HTTP_GET;
	case EVHTTP_REQ_POST:
		return HTTP_POST;
	default:
		return HTTP_OTHER;
	}
}

const char *http_path(const struct http_call *c)
{
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(c->req);
	const char *path = uri ? evhttp_uri_get_path(uri) : NULL;

	return path && *path == '/' ? path : NULL;
}

const char *http_header(const struct http_call *c, const char *name)
{
	return evhttp_find_header(evhttp_request_get_input_headers(c->req), name);
}

const uint8_t *http_body(const struct http_call *c, size_t *n)
{
	struct evbuffer *in = evhttp_request_get_input_buffer(c->req);
	const uint8_t *bytes = evbuffer_pullup(in, -1);

	*n = bytes ? evbuffer_get_length(in) : 0;
	return bytes ? bytes : (const uint8_t *)"";
}

/* ---- the end ---- */

/* What came holds pictures. */
static void wipe_body(struct http_call *c)
{
	struct evbuffer *in = evhttp_request_get_input_buffer(c->req);
	uint8_t *bytes = evbuffer_pullup(in, -1);

	if (bytes)
		sodium_memzero(bytes, evbuffer_get_length(in));
}

static void forget(struct http_call *c)
{
	struct http_call **at = &c->http->calls;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	free(c);
}

void http_call_drop(struct http_call *c)
{
	wipe_body(c);
	if (!evhttp_request_get_connection(c->req))
		evhttp_request_free(c->req); /* else its connection owns it */
	forget(c);
}

void http_set(struct http_call *c, const char *name, const char *value)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(c->req);

	evhttp_remove_header(headers, name);
	evhttp_add_header(headers, name, value);
}

static const char *reason_of(int status)
{
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return "Error";
}

void http_reply(struct http_call *c, int status, const char *type, const void *bytes, size_t n)
{
	struct evbuffer *out = evhttp_request_get_output_buffer(c->req);
	int dropped = !evhttp_request_get_connection(c->req);
	char length[24];

	http_set(c, "Content-Type", type);
	http_set(c, "X-Content-Type-Options", "nosniff");
	http_set(c, "Cache-Control", "no-store");
	snprintf(length, sizeof(length), "%zu", n);
	if (has_no_body(c)) /* else it would be read as the next answer */
		http_set(c, "Content-Length", length);
	else if (!dropped && evbuffer_add(out, bytes, n)) {
		evbuffer_drain(out, evbuffer_get_length(out));
		status = 500;
	}
	wipe_body(c);
	if (c->link && !dropped) {
		c->link->serving--;
		c->link->since_us = net_now();
		http_look(c->http); /* evhttp may close it now */
	}
	if (c->http->answered)
		c->http->answered(c->http->ctx, status);
	evhttp_send_reply(c->req, status, reason_of(status), NULL);
	forget(c);
}

void http_reply_json(struct http_call *c, int status, struct json_object *o)
{
	const char *text = json_plain(o);

	if (text)
		http_reply(c, status, "application/json", text, strlen(text));
	else
		http_reply(c, 500, "application/json", "{\"error\":\"out of memory\"}", 25);
	json_object_put(o);
}

void http_refuse(struct http_call *c, int status, const char *format, ...)
{
	struct json_object *o = json_object_new_object();
	char text[HTTP_ERROR_MAX];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	json_text(o, "error", text);
	http_reply_json(c, status, o);
}

void http_refuse_err(struct http_call *c, const struct err *e)
{
	static const int statuses[] = {
	    [ERR_RESULT] = 500, [ERR_USAGE] = 400,  [ERR_INPUT] = 400, [ERR_PEER] = 502,
	    [ERR_REACH] = 503,	[ERR_ATTEST] = 502, [ERR_ENV] = 503,
	};
	int status = e->code >= ERR_RESULT && e->code <= ERR_ENV ? statuses[e->code] : 500;

	http_refuse(c, status, "%s", e->text);
}
