/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/http_parts.h — private to the HTTP server: http.c listens and counts, http_call.c has a request and
 * its answer, http_guard.c says who may ask. */
#ifndef OBSCURA_DAEMON_HTTP_PARTS_H
#define OBSCURA_DAEMON_HTTP_PARTS_H

#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/listener.h>
#include "daemon/http.h"

#define HTTP_TOKEN_HASH 32

/* One address that is listened on, with an evhttp of its own. */
struct http_port {
	struct http_port *next;
	struct http *http;
	struct evhttp *evhttp;
	struct evconnlistener *listener;
	char *path;	/* owns; of a Unix socket, removed at the end; NULL: TCP */
	char host[256]; /* of TCP: as the option names it */
};

/* One connection. evhttp does not tell when it closes one, so we hold the bufferevent too and look. */
struct http_link {
	struct http_link *next;
	struct http_port *port;
	struct bufferevent *bev; /* a reference */
	uint64_t since_us;	 /* it was opened, or its last answer given */
	int serving;
};

struct http_call {
	struct http_call *next;
	struct http *http;
	struct http_port *port;
	struct http_link *link;
	struct evhttp_request *req;
};

struct http {
	struct event_base *base;
	struct http_limits limits;
	http_handler handler;
	void (*answered)(void *ctx, int status);
	void *ctx;
	struct http_port *ports;
	struct http_link *links;
	struct http_call *calls;
	unsigned n_links;
	int paused, stopped; /* paused: too many connections */
	struct event *tick;  /* while there are connections, or should be */
	uint64_t look_us;    /* when it is due; 0: it is not set */
	int guarded;	     /* there is a token */
	uint8_t token[HTTP_TOKEN_HASH];
};

/* Looks at the connections soon. */
void http_look(struct http *h);

/* http_call.c */
void http_on_request(struct evhttp_request *req, void *port);
void http_call_drop(struct http_call *c);

/* http_guard.c */
/* Whether a page of another site makes a browser ask (DNS rebinding, forged requests): then it has been
 * refused. */
int http_foreign(struct http_call *c);

#endif
