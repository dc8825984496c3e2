/* SPDX-License-Identifier: Apache-2.0 */
#include "client/queue.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define THEN(s, next) ((s) == NATS_OK ? (next) : (s))
#define TIMEOUT_MS 5000
#define RECONNECT_WAIT_MS 500
#define RESULTS_AGE_NS ((int64_t)30 * 86400 * 1000000000)
#define SUBJECT_EXCEEDED                                                                                     \
	10077 /* the server's code for "cannot store", among others: one a subject is there */

int queue_is_url(const char *text)
{
	return !strncmp(text, "nats://", 7) || !strncmp(text, "tls://", 6);
}

int queue_fail(const struct queue *q, natsStatus s, const char *what, struct err *e)
{
	const char *said = nats_GetLastError(NULL);
	int away = s == NATS_TIMEOUT || s == NATS_NO_SERVER || s == NATS_CONNECTION_CLOSED ||
		   s == NATS_CONNECTION_DISCONNECTED || s == NATS_NO_RESPONDERS || s == NATS_IO_ERROR ||
		   s == NATS_STALE_CONNECTION;

	if (said && *said == '(' && strstr(said, "): ")) /* (file of its source:line): */
		said = strstr(said, "): ") + 3;
	if (s == NATS_NO_RESPONDERS)
		said = "it has no JetStream: start it with -js";
	return err_set(e, away ? ERR_REACH : ERR_PEER, "the queue at %s: cannot %s: %s", q->server, what,
		       said && *said ? said : natsStatus_GetText(s));
}

/* ---- opening ---- */

/* Splits off STREAM; q->server is the part that may be shown. */
static int parse_url(struct queue *q, const char *url, char *server, size_t bytes, struct err *e)
{
	const char *host = strstr(url, "://") + 3, *slash = strchr(host, '/'), *at = strrchr(host, '@');
	size_t n = slash ? strlen(slash + 1) : 0;

	if (at && slash && at < slash)
		host = at + 1;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)slash[1 + i]) && !strchr("-_", slash[1 + i]))
			n = 0;
	if (!n || n >= sizeof(q->stream) || slash == host || (size_t)(slash - url) >= bytes ||
	    (size_t)(slash - host) >= sizeof(q->server))
		return err_set(e, ERR_USAGE,
			       "a queue is nats://HOST:PORT/STREAM, with letters, digits, - and _ in STREAM");
	snprintf(q->stream, sizeof(q->stream), "%s", slash + 1);
	snprintf(q->results, sizeof(q->results), "%s_RESULTS", q->stream);
	snprintf(q->server, sizeof(q->server), "%.*s", (int)(slash - host), host);
	snprintf(server, bytes, "%.*s", (int)(slash - url), url);
	return 0;
}

static natsStatus set_options(natsOptions *o, const char *server, const struct config *config)
{
	natsStatus s = natsOptions_SetURL(o, server);

	s = THEN(s, natsOptions_SetName(o, "obscura"));
	s = THEN(s, natsOptions_SetTimeout(o, TIMEOUT_MS));
	s = THEN(s, natsOptions_SetMaxReconnect(o, -1));
	s = THEN(s, natsOptions_SetReconnectWait(o, RECONNECT_WAIT_MS));
	s = THEN(s, natsOptions_SetFailRequestsOnDisconnect(o, true));
	if (strncmp(server, "tls://", 6))
		return s;
	s = THEN(s, natsOptions_SetSecure(o, true));
	s = THEN(s, natsOptions_LoadCATrustedCertificates(o, config->ca));
	s = THEN(s, natsOptions_LoadCertificatesChain(o, config->certificate, config->key));
	return s;
}

/* A stream that is there stays as somebody configured it. */
static int make_stream(struct queue *q, jsStreamConfig *c, struct err *e)
{
	jsStreamInfo *info = NULL;
	jsErrCode code = 0;
	natsStatus s = js_GetStreamInfo(&info, q->js, c->Name, NULL, &code);

	if (s == NATS_NOT_FOUND || (s != NATS_OK && code == JSStreamNotFoundErr))
		s = js_AddStream(&info, q->js, c, NULL, &code);
	jsStreamInfo_Destroy(info);
	return s == NATS_OK ? 0 : queue_fail(q, s, "make its stream", e);
}

static int make_streams(struct queue *q, struct err *e)
{
	char images[64], results[64];
	const char *subjects[2] = {images, results};
	jsStreamConfig c;

	snprintf(images, sizeof(images), "%s.image.>", q->stream);
	snprintf(results, sizeof(results), "%s.result.>", q->stream);
	for (int i = 0; i < 2; i++) {
		jsStreamConfig_Init(&c);
		c.Name = i ? q->results : q->stream;
		c.Subjects = &subjects[i];
		c.SubjectsLen = 1;
		c.Storage = js_FileStorage;
		c.Retention = i ? js_LimitsPolicy : js_WorkQueuePolicy;
		c.MaxAge = i ? RESULTS_AGE_NS : 0;
		c.MaxMsgsPerSubject = 1;
		c.Discard = js_DiscardNew;
		c.DiscardNewPerSubject = true;
		if (make_stream(q, &c, e))
			return -1;
	}
	return 0;
}

int queue_open(struct queue *q, const char *url, const struct config *config, struct err *e)
{
	natsOptions *o = NULL;
	char server[512];
	natsStatus s;

	memset(q, 0, sizeof(*q));
	if (parse_url(q, url, server, sizeof(server), e))
		return -1;
	s = natsOptions_Create(&o);
	s = THEN(s, set_options(o, server, config));
	s = THEN(s, natsConnection_Connect(&q->nc, o));
	natsOptions_Destroy(o);
	s = THEN(s, natsConnection_JetStream(&q->js, q->nc, NULL));
	if (s != NATS_OK)
		queue_fail(q, s, "connect", e);
	if (s == NATS_OK && !make_streams(q, e))
		return 0;
	queue_close(q);
	return -1;
}

void queue_close(struct queue *q)
{
	jsCtx_Destroy(q->js);
	natsConnection_Destroy(q->nc);
	q->js = NULL;
	q->nc = NULL;
}

/* ---- messages ---- */

/* "STREAM.image.ID" and the like, in text. -1: an ID that is too long or no subject. */
static int subject_of(const struct queue *q, const char *kind, const char *id, char *text, size_t bytes,
		      struct err *e)
{
	size_t n = (size_t)snprintf(text, bytes, "%s.%s.%s", q->stream, kind, id);

	if (n >= bytes || !*id || strpbrk(id, " \t\r\n*>"))
		return err_set(e, ERR_INPUT, "\"%.64s\" cannot be the name of an image in a queue", id);
	return 0;
}

static int publish(struct queue *q, natsMsg *m, const char *id, struct err *e)
{
	jsPubOptions options;
	jsPubAck *ack = NULL;
	jsErrCode code = 0;
	natsStatus s;
	int twice;

	jsPubOptions_Init(&options);
	options.MsgId = id;
	s = js_PublishMsg(&ack, q->js, m, &options, &code);
	twice = s == NATS_OK && ack->Duplicate;
	jsPubAck_Destroy(ack);
	if (s != NATS_OK && (int)code == SUBJECT_EXCEEDED && strstr(nats_GetLastError(NULL), "per subject"))
		return 0;
	return s == NATS_OK ? !twice : queue_fail(q, s, "store a message", e);
}

int queue_publish(struct queue *q, const char *kind, const char *id, const char *name, const void *bytes,
		  size_t n, struct err *e)
{
	int64_t most = natsConnection_GetMaxPayload(q->nc);
	natsMsg *m = NULL;
	char subject[256];
	natsStatus s;
	int r;

	if (subject_of(q, kind, id, subject, sizeof(subject), e))
		return -1;
	if (n > (size_t)most - 1024 || most < 1024)
		return err_set(
		    e, ERR_INPUT,
		    "%zu bytes are more than the queue takes: raise max_payload of the NATS server", n);
	s = natsMsg_Create(&m, subject, NULL, bytes, (int)n);
	if (name)
		s = THEN(s, natsMsgHeader_Set(m, QUEUE_NAME_HEADER, name));
	r = s == NATS_OK ? publish(q, m, id, e) : queue_fail(q, s, "make a message", e);
	natsMsg_Destroy(m);
	return r;
}

/* Without workers so far there is no consumer: all that is in the stream waits. */
static int stream_messages(struct queue *q, uint64_t *n, struct err *e)
{
	jsStreamInfo *info = NULL;
	jsErrCode code = 0;
	natsStatus s = js_GetStreamInfo(&info, q->js, q->stream, NULL, &code);

	*n = s == NATS_OK ? info->State.Msgs : 0;
	jsStreamInfo_Destroy(info);
	return s == NATS_OK ? 0 : queue_fail(q, s, "ask how many images wait", e);
}

/* The consumer is asked, not the stream: a server that was killed may have lost that an acknowledged message
 * is gone, which then stays in the stream and is never delivered. */
int queue_waiting(struct queue *q, uint64_t *n, struct err *e)
{
	jsConsumerInfo *info = NULL;
	jsErrCode code = 0;
	natsStatus s = js_GetConsumerInfo(&info, q->js, q->stream, QUEUE_CONSUMER, NULL, &code);

	if (s == NATS_NOT_FOUND || (s != NATS_OK && code == JSConsumerNotFoundErr))
		return stream_messages(q, n, e);
	*n = s == NATS_OK ? info->NumPending + (uint64_t)info->NumAckPending : 0;
	jsConsumerInfo_Destroy(info);
	return s == NATS_OK ? 0 : queue_fail(q, s, "ask how many images wait", e);
}
