/* SPDX-License-Identifier: Apache-2.0 */
/* Paths and methods. */
#include "daemon/api_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/http.h>

#include "daemon/json.h"
#include "daemon/log.h"
#include "daemon/metrics.h"
#include "daemon/version.h"
#include "daemon/web.h"

/* ---- health and metadata ---- */

static void server_metadata(struct http_call *c)
{
	static const char *const extensions[] = {"binary_tensor_data", "classification"};
	struct json_object *o = json_object_new_object(), *list = json_object_new_array();

	json_text(o, "name", "obscura");
	json_text(o, "version", OBSCURA_VERSION);
	for (size_t i = 0; i < sizeof(extensions) / sizeof(extensions[0]); i++)
		json_object_array_add(list, json_object_new_string(extensions[i]));
	json_object_object_add(o, "extensions", list);
	http_reply_json(c, 200, o);
}

static void flag(struct json_object *o, const char *name, int value)
{
	json_object_object_add(o, name, json_object_new_boolean(value));
}

static void live(struct http_call *c)
{
	struct json_object *o = json_object_new_object();

	flag(o, "live", 1);
	http_reply_json(c, 200, o);
}

/* model: NULL for the server. */
static void ready(struct api *a, struct http_call *c, const char *model)
{
	struct json_object *o = json_object_new_object();
	struct err e = {0};
	int not_ready = data_owner_ready(a->owner, model, &e);

	if (model)
		json_text(o, "name", model);
	else
		flag(o, "live", 1);
	flag(o, "ready", !not_ready);
	if (not_ready && http_trusted(c)) /* it names hosts */
		json_text(o, "error", e.text);
	http_reply_json(c, not_ready ? 503 : 200, o);
}

/* ---- paths ---- */

static int is_get(struct http_call *c)
{
	if (http_method(c) == HTTP_GET)
		return 1;
	http_set(c, "Allow", "GET");
	http_refuse(c, 405, "this address is read with GET");
	return 0;
}

/* "digits%20a/infer" → model and "infer"; -1: no such thing. */
static int split_model(const char *path, char model[API_MODEL_MAX], const char **verb)
{
	size_t n = strcspn(path, "/"), size = 0;
	char *encoded = strndup(path, n), *name = encoded ? evhttp_uridecode(encoded, 0, &size) : NULL;
	int fits = name && size && size < API_MODEL_MAX && strlen(name) == size;

	if (fits)
		memcpy(model, name, size + 1);
	free(encoded);
	free(name);
	*verb = path + n + (path[n] == '/');
	return fits ? 0 : -1;
}

static void on_model(struct api *a, struct http_call *c, const char *path)
{
	char model[API_MODEL_MAX];
	const char *verb;
	int served = split_model(path, model, &verb) ? 0 : data_owner_knows(a->owner, model);

	if (!served)
		http_refuse(c, 404, "the model owner serves no model of this name");
	else if (!strcmp(verb, "infer") && http_method(c) != HTTP_POST)
		http_set(c, "Allow", "POST"), http_refuse(c, 405, "pictures are sent with POST");
	else if (!strcmp(verb, "infer"))
		api_infer(a, c, model);
	else if (strcmp(verb, "") && strcmp(verb, "ready"))
		http_refuse(c, 404,
			    strncmp(verb, "versions/", 9) ? "there is no such address"
							  : "models have no versions here");
	else if (!is_get(c))
		return;
	else if (*verb)
		ready(a, c, model);
	else
		api_metadata(a, c, model);
}

static void on_v2(struct api *a, struct http_call *c, const char *path)
{
	if (!strcmp(path, "/health/live") || !strcmp(path, "/health/ready")) {
		/* for probes, which have no token; they learn nothing else */
		if (!is_get(c))
			return;
		if (!strcmp(path, "/health/live"))
			live(c);
		else
			ready(a, c, NULL);
	} else if (!http_authorised(c)) {
		return;
	} else if (!strncmp(path, "/models/", 8)) {
		on_model(a, c, path + 8);
	} else if (strcmp(path, "") && strcmp(path, "/")) {
		http_refuse(c, 404, "there is no such address");
	} else if (is_get(c)) {
		server_metadata(c);
	}
}

/* The page: it has nothing secret, so that it can ask for the token. Scripts and pictures come from here
 * only. */
static int on_page(struct http_call *c, const char *path)
{
	for (size_t i = 0; i < web_count; i++) {
		if (strcmp(web_files[i].path, path))
			continue;
		if (!is_get(c))
			return 1;
		http_set(c, "Content-Security-Policy",
			 "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
			 "connect-src "
			 "'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'");
		http_set(c, "Referrer-Policy", "no-referrer");
		http_set(c, "Cross-Origin-Opener-Policy", "same-origin");
		http_set(c, "Cross-Origin-Resource-Policy", "same-origin");
		http_reply(c, 200, web_files[i].type, web_files[i].bytes, web_files[i].n);
		return 1;
	}
	return 0;
}

static void on_call(void *ctx, struct http_call *c)
{
	struct api *a = ctx;
	const char *path = http_path(c);

	if (!strncmp(path, "/v2", 3) && (path[3] == '/' || !path[3]))
		on_v2(a, c, path + 3);
	else if (on_page(c, path))
		return;
	else if (strcmp(path, "/status.json"))
		http_refuse(c, 404, "there is no such address");
	else if (is_get(c) && http_authorised(c))
		api_status(a, c);
}

static void on_answered(void *ctx, int status)
{
	char code[16];

	snprintf(code, sizeof(code), "%d", status);
	metrics_add(METRIC_http_requests_total, 1, METRIC_LABELS(code));
}

/* ---- life ---- */

/* Beside the socket of the local API: "/run/obscura/http.sock". NULL: none is wanted. */
static char *socket_path(const struct config *c)
{
	const char *slash = strrchr(c->socket, '/');
	char *path;

	if (!strcmp(c->http_socket, "none"))
		return NULL;
	if (*c->http_socket)
		return strdup(c->http_socket);
	if (asprintf(&path, "%.*shttp.sock", slash ? (int)(slash + 1 - c->socket) : 0, c->socket) < 0)
		return NULL;
	return path;
}

static int listen_all(struct api *a, struct err *e)
{
	const struct config *c = a->config;
	char *path = socket_path(c);
	int failed = 0;

	if (*c->http_token_file)
		failed = http_token(a->http, c->http_token_file, e);
	if (!failed && path) {
		failed = http_listen_unix(a->http, path, "http-socket", e);
		if (!failed)
			log_line(LOG_INFO, "HTTP on the socket %s", path);
	}
	free(path);
	if (!failed && *c->http_listen)
		failed = http_listen(a->http, c->http_listen, "http_listen", e);
	return failed;
}

static struct http_limits limits_of(const struct config *c)
{
	return (struct http_limits){.body = c->http_body_mib << 20,
				    .connections = (unsigned)c->http_connections,
				    .idle_us = c->http_idle_ms * 1000};
}

void api_reload(struct api *a)
{
	const struct config *c = a->config;
	struct http_limits limits = limits_of(c);
	struct err e = {0};

	http_limit(a->http, &limits);
	a->limits = (struct infer_limits){.images = c->http_images, .optimise = data_owner_mode(a->owner)};
	if (*c->http_token_file && http_token(a->http, c->http_token_file, &e))
		log_err(LOG_ERR, "the former token stays in force", &e);
}

int api_new(struct api **api, struct net *net, struct data_owner *d, struct decoder *decoder,
	    const struct config *config, struct err *e)
{
	struct http_limits limits = limits_of(config);
	struct api *a = calloc(1, sizeof(*a));

	*api = NULL;
	if (!a)
		return err_set(e, ERR_ENV, "out of memory for the HTTP API");
	*a = (struct api){.net = net, .owner = d, .decoder = decoder, .config = config};
	a->limits = (struct infer_limits){.images = config->http_images, .optimise = data_owner_mode(d)};
	if (http_new(&a->http, net_base(net), &limits, on_call, a, e) || listen_all(a, e)) {
		api_free(a);
		return -1;
	}
	http_count(a->http, on_answered);
	*api = a;
	return 0;
}

void api_stop(struct api *a)
{
	http_stop(a->http);
}

void api_end(struct api *a)
{
	if (a)
		a->owner = NULL;
}

void api_free(struct api *a)
{
	if (!a)
		return;
	while (a->calls)
		api_call_free(a->calls);
	http_free(a->http);
	free(a);
}
